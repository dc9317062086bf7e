"""Settings of a saturation network, and the conditions under which it is scored."""

from dataclasses import dataclass, field
from typing import Literal

from labkit.effects.saturation import CURVES
from labkit.learn.training import Plan
from labkit.systems import system

CURVE_NAMES = tuple(CURVES)


@dataclass(frozen=True)
class Condition:
    """Whether the network gets the clean signal too, and what happens to the wet one."""

    name: str
    description: str  # for tables
    paired: bool = True
    curves: tuple[str, ...] = ("tanh",)  # one is drawn for each example; a single one is known
    snr_db: float | None = None  # of white noise on the wet signal
    mp3: bool = False  # whether the wet signal goes through a codec
    shift_ms: float = 0.0  # largest misalignment of the clean signal either way


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

    sample_rate: int = 44100
    samples: int = 65536  # length of a wet clip
    # the reference is this much longer on both sides: the largest misalignment
    margin_ms: float = 30.0
    clip_seconds: float = 2.5  # length of the dry clips that examples are cut from
    augment_strength: float = 0.5  # of the dry signal's augmentation in training; 0 turns it off
    n_fft: int = 4096
    hop_length: int = 2048
    n_mels: int = 64
    low_hz: float = 40.0
    high_hz: float = 18000.0
    # different examples, kept on disk (10 kB each) and repeated in longer runs
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

    width: float = 0.5  # of the MobileNetV2, a factor on its channels
    in_channels: int = 1  # the spectrogram is repeated into this many channels
    embedding: int = 128  # length of the encoder's vector
    hidden: int = 256  # width of the controller's layers
    dropout: float = 0.0  # in the controller
    features: bool = True  # whether the controller also gets the measured features of the waves
    # of the depth: parameter, audio (multi-resolution STFT after the differentiable processor) or
    # both. The curve is always learnt from its name.
    loss: Literal["parameter", "audio", "both"] = "parameter"


_PLAN = Plan(
    steps=8000, batch_size=32, learning_rate=1e-3, warmup_steps=200, weight_decay=0.01, n_workers=2
)


@dataclass(frozen=True)
class Config(system.Config):
    """Everything that decides a saturation network; the defaults are the light model's."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN


LIGHT = Config()
# The size of the network that this system was modelled on; it gets spectrograms only.
BIG = LIGHT.but(width=2.0, in_channels=3, dropout=0.3, features=False, learning_rate=6e-4)
