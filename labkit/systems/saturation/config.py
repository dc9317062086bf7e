"""Settings of a saturation network, and the conditions in which it is scored."""

from dataclasses import dataclass, field
from typing import Literal

from labkit.effects.saturation import CURVES
from labkit.learn.training import Plan
from labkit.systems import system

CURVE_NAMES = tuple(CURVES)


@dataclass(frozen=True)
class Condition:
    """Whether the network gets the clean signal too, and what is done to the wet one."""

    name: str
    description: str  # for tables
    paired: bool = True
    curves: tuple[str, ...] = ("tanh",)  # each example draws one; the network is told a single one
    snr_db: float | None = None  # of white noise on the wet signal
    mp3: bool = False  # whether the wet signal is coded as MP3
    shift_ms: float = 0.0  # largest time shift of the clean signal, either way


_ALL = (
    Condition("level", "clean and wet, level unknown"),
    Condition("mp3", "clean and wet, up to 10 ms apart, MP3 between", shift_ms=10.0, mp3=True),
    Condition(
        "curve", "clean and wet, one of five curves, 40 dB SNR", curves=CURVE_NAMES, snr_db=40.0
    ),
    Condition("wet", "wet only", paired=False),
    Condition("wet_curve", "wet only, one of five curves", paired=False, curves=CURVE_NAMES),
)
CONDITIONS = {condition.name: condition for condition in _ALL}


@dataclass(frozen=True)
class Sound:
    """Clips and the encoder's log-mel spectrogram."""

    sample_rate: int = 44100  # Hz
    samples: int = 65536  # length of a wet clip
    # the clean clip is this much longer at both ends: the largest time shift between the two
    margin_ms: float = 30.0
    clip_seconds: float = 2.5  # length of the dry clips from which examples are cut
    augment_strength: float = 0.5  # strength of the augmentation of dry training sound; 0 is off
    n_fft: int = 4096  # FFT length of the log-mel spectrogram, samples
    hop_length: int = 2048  # step between its frames, samples
    n_mels: int = 64  # number of its mel bands
    low_hz: float = 40.0  # lower edge of its lowest band
    high_hz: float = 18000.0  # upper edge of its highest band
    # number of different examples (10 kB each on disk); a longer training repeats them
    n_examples: int = 64000

    def __post_init__(self) -> None:
        least = self.samples + 4 * self.margin
        if round(self.clip_seconds * self.sample_rate) < least:
            raise ValueError(f"clip_seconds must hold {least} samples, got {self.clip_seconds}")

    @property
    def margin(self) -> int:
        """Samples by which a reference is longer than the clip on each side."""
        return round(self.margin_ms * self.sample_rate / 1000)


@dataclass(frozen=True)
class Net:
    """Sizes and loss."""

    width: float = 0.5  # size of the encoder (MobileNetV2): factor on its number of channels
    in_channels: int = 1  # copies of the spectrogram at the input of the encoder
    embedding: int = 128  # length of the vector that the encoder returns
    hidden: int = 256  # width of the layers that turn this vector into curve and depth
    dropout: float = 0.0  # dropout rate of these layers, 0 to 1
    features: bool = True  # give these layers statistics of the waveform too
    # what the depth is learnt from: parameter (error of the number), audio (MR-STFT distance after
    # the differentiable processor) or both. The curve is always learnt from its name
    loss: Literal["parameter", "audio", "both"] = "parameter"


_PLAN = Plan(
    steps=8000, batch_size=32, learning_rate=1e-3, warmup_steps=200, weight_decay=0.01, n_workers=2
)


@dataclass(frozen=True)
class Config(system.Config):
    """All settings of a saturation network; the defaults are those of the light model."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN


LIGHT = Config()
# The size of the network that this system was modelled on; it gets spectrograms only.
BIG = LIGHT.but(width=2.0, in_channels=3, dropout=0.3, features=False, learning_rate=6e-4)
