"""Everything that a run of pedal order depends on, in one frozen record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.sampling import ChainSampler, Prior
from labkit.signal.augment import PARTS
from labkit.systems.pedal_order.tokens import ChainTokens

THREE = ("chorus", "distortion", "reverb")
SIX = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")


# pedalboard's own defaults for the knobs that the three-pedal protocol leaves alone.
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "chorus": {"rate_hz": 1.0, "depth": 0.25, "centre_delay_ms": 7.0, "feedback": 0.0},
    "reverb": {"room_size": 0.5, "damping": 0.5},
}


@dataclass(frozen=True)
class Protocol:
    """One way of drawing chains: what an accuracy is measured on.

    Attributes:
        name: short name in results.
        says: the sampling in words, for tables.
        pedals: the shelf.
        prior: see `ChainSampler`.
        max_length: longest chain.
        fixed: knobs that are not drawn: pedal -> {knob: value}.
    """

    name: str
    says: str
    pedals: tuple[str, ...]
    prior: Prior
    max_length: int
    fixed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def sampler(self) -> ChainSampler:
        """The sampler of this protocol's chains, all knobs drawn."""
        return ChainSampler(self.pedals, self.prior, self.max_length)

    def draw(self, rng: np.random.Generator) -> Chain:
        """One canonical chain."""
        steps = self.sampler.sample(rng).steps
        kept = (
            Step(step.effect, {**step.params, **self.fixed.get(step.effect, {})}) for step in steps
        )
        return Chain(tuple(kept)).canonical()


PROTOCOLS = {
    "three": Protocol(
        "three",
        "3 pedals, 16 ordered subsets evenly; drive and mixes drawn",
        THREE,
        "subsets",
        3,
        DEFAULTS,
    ),
    "wide": Protocol(
        "wide", "3 pedals, 16 ordered subsets evenly; every knob drawn", THREE, "subsets", 3
    ),
    "six": Protocol("six", "6 pedals, 1-5 of them shuffled; every knob drawn", SIX, "shuffled", 5),
}


@dataclass(frozen=True)
class Config:
    """Data, model and training of pedal order; the sizes are the shipped checkpoint's.

    Attributes:
        protocols: names in `PROTOCOLS`; every example draws one of them evenly, a name may stand twice.
        sample_rate: Hz, of all audio that the model hears.
        seconds: length of a clip.
        preroll_seconds: longest stretch that the chain has been running before the clip starts.
        input_rms_dbfs: level at which the dry sound enters the chain (drive is only known relative to it).
        input_jitter_db: half-width of a uniform change of that level, in training only; the knobs to be named are then
            those that do the same at `input_rms_dbfs`.
        augment_strength: of the dry signal's augmentation in training, 0 turns it off.
        augment_parts: of it, see `labkit.signal.augment.augment`.
        front_end: what is heard of a clip: a log-mel picture, or the codes or the latents of the shipped codec.
        fix_level: hear every clip at one loudness.
        hear_dry: hear the dry clip beside the wet one.
        n_fft, hop_length, n_mels, low_hz, high_hz: the log-mel front end.
        n_bins: cells per knob.
        width, n_heads, encoder_layers, decoder_layers, channels, dropout: the model.
        n_examples: different examples; a longer training shows each again, in another order and hidden elsewhere.
        first_example: number of the first of them: a run that goes on from another's weights hears others.
        steps, batch_size, learning_rate, warmup_steps, weight_decay, knob_weight: training; `knob_weight` is the
            weight of a knob token's loss beside an order token's, `hint_weight` that of the hints (see the model).
        mask: largest share of bands, and of frames, that training hides in one stripe each.
        tilt_db: half-width of a random straight tilt of the picture from its lowest to its highest band, in training.
        checkpoint_every: steps between checkpoints.
        n_workers: processes that render examples, beside each device.
        n_devices: GPUs, or processes where there is none, that share every batch.
        precision: Lightning Fabric's, ``"32-true"`` or ``"bf16-mixed"``.
        seed: of everything random.
    """

    protocols: tuple[str, ...] = ("six", "six", "three", "wide", "six")
    sample_rate: int = 44100
    seconds: float = 2.0
    preroll_seconds: float = 0.5
    input_rms_dbfs: float = -20.0
    input_jitter_db: float = 12.0
    augment_strength: float = 1.0
    augment_parts: tuple[str, ...] = PARTS
    front_end: Literal["mel", "codes", "latents"] = "mel"
    fix_level: bool = True
    hear_dry: bool = False
    n_fft: int = 4096
    hop_length: int = 1024
    n_mels: int = 128
    low_hz: float = 40.0
    high_hz: float = 14000.0
    n_bins: int = 16
    width: int = 192
    n_heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 3
    channels: tuple[int, ...] = (16, 32, 64, 112, 160)
    dropout: float = 0.0
    n_examples: int = 256000
    first_example: int = 0
    steps: int = 5000
    batch_size: int = 64
    learning_rate: float = 7e-4
    warmup_steps: int = 200
    weight_decay: float = 0.02
    knob_weight: float = 0.05
    hint_weight: float = 1.0
    mask: float = 0.05
    tilt_db: float = 3.0
    checkpoint_every: int = 200
    n_workers: int = 2
    n_devices: int = 1
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.protocols) - set(PROTOCOLS)
        if unknown or not self.protocols:
            raise ValueError(f"protocols must be among {tuple(PROTOCOLS)}, got {self.protocols}")
        if self.front_end not in ("mel", "codes", "latents"):
            raise ValueError(f"front_end must be mel, codes or latents, got {self.front_end!r}")
        for name in (
            "seconds",
            "steps",
            "batch_size",
            "sample_rate",
            "n_bins",
            "checkpoint_every",
            "n_examples",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def samples(self) -> int:
        """Samples of a clip."""
        return round(self.seconds * self.sample_rate)

    @property
    def tokens(self) -> ChainTokens:
        """The vocabulary: every pedal of every protocol, whether or not this run trains on it."""
        return ChainTokens(SIX, self.n_bins, max_pedals=5)
