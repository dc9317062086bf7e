"""The settings of a codec."""

import math
from dataclasses import dataclass, field

from labkit.learn.training import Plan
from labkit.signal.files import check_rate
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    """The clips of training.

    Attributes:
        sample_rate: of the codec.
        clip_seconds: length of a clip when it goes through the pedals.
        seconds: length of the piece of it that is coded, in whole frames.
        wet_share: share of the clips that go through one to six random pedals.
    """

    sample_rate: int = 44_100
    clip_seconds: float = 2.0
    seconds: float = 0.5
    wet_share: float = 0.5

    def __post_init__(self) -> None:
        check_rate(self.sample_rate)
        if not 0 <= self.wet_share <= 1 or not 0 < self.seconds <= self.clip_seconds:
            raise ValueError(
                "need wet_share in 0..1 and 0 < seconds <= clip_seconds, "
                f"got {self.wet_share}, {self.seconds} and {self.clip_seconds}"
            )


@dataclass(frozen=True)
class Net:
    """The network and its loss.

    Attributes:
        rates: strides of the encoder's stages, even; their product is the hop in samples.
        encoder_dim: channels at the full sample rate; each stage doubles them.
        latent_dim: channels of a frame before quantisation.
        decoder_dim: channels at the start of the decoder; each stage halves them.
        n_codebooks: stages of the residual quantiser.
        codebook_size: codewords in each.
        codebook_dim: dimension in which codewords are looked up.
        quantizer_dropout: share of a batch that is decoded from a random number of codebooks.
        mel_weight, stft_weight, wave_weight: of these parts of the loss.
        commitment_weight, codebook_weight: of the quantiser's two losses.
        codeword_rate: how far a codeword moves per step towards the mean of its frames.
        expire_after: unused codewords are replaced after this many times `codebook_size` frames.

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
    mel_weight: float = 1.0
    stft_weight: float = 2.0
    wave_weight: float = 2.0
    commitment_weight: float = 0.25
    codebook_weight: float = 1.0
    codeword_rate: float = 0.1
    expire_after: float = 8.0

    def __post_init__(self) -> None:
        if not self.rates or any(rate < 2 or rate % 2 for rate in self.rates):
            raise ValueError(f"rates must be even strides >= 2, got {self.rates}")
        if self.decoder_dim % 2 ** len(self.rates):
            raise ValueError(
                f"decoder_dim must be divisible by {2 ** len(self.rates)}, got {self.decoder_dim}"
            )
        sizes = (self.encoder_dim, self.latent_dim, self.n_codebooks, self.codebook_dim)
        if min(sizes) < 1 or self.codebook_size < 2:
            raise ValueError(
                "sizes must be at least 1 and codebook_size at least 2, "
                f"got {sizes} and {self.codebook_size}"
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
    def context_frames(self) -> int:
        """Frames to either side of a frame that its codes can depend on."""
        reach = 3  # in samples: a kernel of 7 reaches 3 to either side
        stride = 1
        for rate in self.net.rates:
            # Three residual units with dilations 1, 3 and 9, then the strided convolution.
            reach += stride * (3 * (1 + 3 + 9) + rate)
            stride *= rate
        return math.ceil((reach + stride) / stride)  # the last kernel of 3 adds one frame

    def bits_per_second(self, n_codebooks: int | None = None) -> float:
        """Bits per second of plain codes of the first `n_codebooks`, or all when None."""
        n = self.net.n_codebooks if n_codebooks is None else n_codebooks
        return n * math.log2(self.net.codebook_size) * self.frames_per_second
