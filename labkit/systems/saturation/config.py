"""Everything that a run of saturation depends on, and the conditions under which it is examined."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from labkit.effects.saturation import CURVES

NAMES = tuple(CURVES)


@dataclass(frozen=True)
class Condition:
    """What the listener is given.

    Attributes:
        name: short name in results.
        says: in words, for tables.
        reference: the clean signal of the same performance, that of another one, or none.
        curves: drawn from evenly; where there is one, the listener is told it.
        free_level: whether the level of the wet signal is unknown, as of any recording.
        snr_db: of white noise on the wet signal; None for no noise beside that of 16 bits.
        mp3: whether an MP3 codec stands between.
        shift_ms: largest misalignment of the reference either way.
    """

    name: str
    says: str
    reference: Literal["paired", "unpaired", "none"] = "paired"
    curves: tuple[str, ...] = ("tanh",)
    free_level: bool = True
    snr_db: float | None = None
    mp3: bool = False
    shift_ms: float = 0.0


def _noisy(snr_db: float) -> Condition:
    return Condition(
        f"noise_{snr_db:.0f}", f"clean and wet, level unknown, {snr_db:.0f} dB SNR", snr_db=snr_db
    )


_ALL = (
    Condition("exact", "clean and wet, level known", free_level=False),
    Condition("level", "clean and wet, level unknown"),
    *(_noisy(snr_db) for snr_db in (60.0, 40.0, 20.0, 10.0)),
    Condition("shift", "clean and wet, up to 30 ms apart", shift_ms=30.0),
    Condition("mp3", "clean and wet, up to 10 ms apart, MP3 between", shift_ms=10.0, mp3=True),
    Condition("curve", "clean and wet, one of five curves, 40 dB SNR", curves=NAMES, snr_db=40.0),
    Condition("unpaired", "wet and another clean performance", reference="unpaired"),
    Condition("wet", "wet only", reference="none"),
    Condition("wet_noise", "wet only, 40 dB SNR", reference="none", snr_db=40.0),
    Condition("wet_curve", "wet only, one of five curves", reference="none", curves=NAMES),
)
CONDITIONS = {condition.name: condition for condition in _ALL}


def draw_condition(rng: np.random.Generator) -> Condition:
    """What training meets: every reference, curve and disturbance, each on its own.

    Mostly the wet sound alone: a pair needs the network for little, least squares does the rest.
    """
    return Condition(
        "training",
        "all conditions mixed",
        reference=str(rng.choice(["paired", "unpaired", "none"], p=[0.3, 0.1, 0.6])),
        curves=(str(rng.choice(NAMES, p=[0.4, 0.15, 0.15, 0.15, 0.15])),),
        snr_db=float(rng.uniform(10, 60)) if rng.random() < 0.5 else None,
        mp3=bool(rng.random() < 0.15),
        shift_ms=30.0 if rng.random() < 0.5 else 0.0,
    )


@dataclass(frozen=True)
class Config:
    """Data, model and training of saturation; the defaults are the light model's.

    Attributes:
        sample_rate: Hz, of all audio that the model hears.
        samples: of a wet clip.
        margin_ms: by how much a reference reaches beyond the clip on both sides, the largest misalignment.
        clip_seconds: length of the dry clips that examples are cut from.
        augment_strength: of the dry signal's augmentation in training, 0 turns it off.
        picture: front end of the encoder: ``"mel"``, or ``"stft"``, magnitudes to the power of 0.3.
        standardise: shift and scale the power-law magnitudes to zero mean and unit deviation.
        n_fft, hop_length, n_mels, low_hz, high_hz: the front end.
        width: of the MobileNetV2.
        in_channels: into which the picture is repeated.
        embedding: length of the encoder's vector.
        hidden: of the controller's layers.
        dropout: in the controller.
        views: whether the controller also gets the figures of `views`.
        loss: ``"parameter"``, ``"audio"`` (through the processor and the multi-resolution STFT), or ``"both"``. The
            curve is always learnt by its name.
        curve_weight, audio_weight: of their parts of the loss.
        n_examples: different examples, kept on disk (10 kB each); a longer run shows each again. Sounds of a folder
            are always new, and so is what cannot be kept, see `keepable`.
        steps, batch_size, learning_rate, warmup_steps, weight_decay, checkpoint_every, n_workers, precision, seed:
            as in `labkit.learn.training.Plan`.
    """

    sample_rate: int = 44100
    samples: int = 65536
    margin_ms: float = 30.0
    clip_seconds: float = 2.5
    augment_strength: float = 0.5
    picture: Literal["mel", "stft"] = "mel"
    standardise: bool = False
    n_fft: int = 4096
    hop_length: int = 2048
    n_mels: int = 64
    low_hz: float = 40.0
    high_hz: float = 18000.0
    width: float = 0.5
    in_channels: int = 1
    embedding: int = 128
    hidden: int = 256
    dropout: float = 0.0
    views: bool = True
    loss: Literal["parameter", "audio", "both"] = "parameter"
    curve_weight: float = 0.3
    audio_weight: float = 1.0
    n_examples: int = 64000
    steps: int = 8000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    checkpoint_every: int = 200
    n_workers: int = 2
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("picture", ("mel", "stft")),
            ("loss", ("parameter", "audio", "both")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for name in (
            "samples",
            "steps",
            "batch_size",
            "sample_rate",
            "checkpoint_every",
            "width",
            "n_fft",
            "n_examples",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if round(self.clip_seconds * self.sample_rate) < self.samples + 4 * self.margin:
            raise ValueError(
                f"clip_seconds must hold {self.samples} samples and 4 margins of {self.margin}, got {self.clip_seconds}"
            )

    @property
    def keepable(self) -> bool:
        """Whether examples may be kept: log-mel pictures without their sound; STFTs are thirty times as large."""
        return self.picture == "mel" and self.loss == "parameter"

    @property
    def margin(self) -> int:
        """Samples by which a reference reaches beyond the clip on each side."""
        return round(self.margin_ms * self.sample_rate / 1000)


LIGHT = Config()
# The size of the network that this system was modelled on; it hears spectra and nothing else.
BIG = replace(LIGHT, width=2.0, in_channels=3, dropout=0.3, views=False, learning_rate=6e-4)
# With that network's own front end, which costs a processor twelve times as much (`results/saturation.json`, speed).
BIG_STFT = replace(BIG, picture="stft", standardise=True)
MODELS = {"light": LIGHT, "big": BIG, "big_stft": BIG_STFT}
