"""The settings of a codec."""

import math
from dataclasses import dataclass, field

from labkit.learn.training import Plan
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    """The clips of training.

    Attributes:
        sample_rate: of the codec.
        clip_seconds: length of a clip when it goes through the pedals.
        seconds: length of the piece of it that is coded, in whole frames.
    """

    sample_rate: int = 44_100
    clip_seconds: float = 2.0
    seconds: float = 0.5


@dataclass(frozen=True)
class Net:
    """The network.

    Attributes:
        rates: strides of the encoder's stages, even; their product is the hop in samples.
        encoder_dim: channels at the full sample rate; each stage doubles them.
        latent_dim: channels of a frame before quantisation.
        decoder_dim: channels at the start of the decoder; each stage halves them.
        n_codebooks: stages of the residual quantiser.
        codebook_size: codewords in each.
        codebook_dim: dimension in which codewords are looked up.
        quantizer_dropout: share of a batch that is decoded from a random number of codebooks.

    Source: Kumar et al. 2023 (Descript Audio Codec), section 3; ours is smaller.
    """

    rates: tuple[int, ...] = (4, 4, 4, 8)
    encoder_dim: int = 8
    latent_dim: int = 128
    decoder_dim: int = 128
    n_codebooks: int = 8
    codebook_size: int = 1024
    codebook_dim: int = 8
    quantizer_dropout: float = 0.5

    def __post_init__(self) -> None:
        if not self.rates or any(rate < 2 or rate % 2 for rate in self.rates):
            raise ValueError(f"rates must be even strides >= 2, got {self.rates}")
        if self.decoder_dim % 2 ** len(self.rates):
            raise ValueError(
                f"decoder_dim must be divisible by {2 ** len(self.rates)}, got {self.decoder_dim}"
            )


_PLAN = Plan(
    steps=20_000,
    batch_size=8,
    learning_rate=5e-4,
    warmup_steps=100,
    decay_share=0.2,
    clip_norm=10.0,
)


@dataclass(frozen=True)
class Config(system.Config):
    """Sound, network and plan of a codec; the defaults are the shipped one's."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.net.rates)

    @property
    def frames_per_second(self) -> float:
        """Frames of codes per second."""
        return self.sound.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        """Bits per second of plain codes."""
        bits = self.net.n_codebooks * math.log2(self.net.codebook_size)
        return bits * self.frames_per_second
