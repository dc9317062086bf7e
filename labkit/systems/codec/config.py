"""The settings of a codec."""

import math
from dataclasses import dataclass, field

from labkit.learn.training import Plan
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    """The clips of training."""

    sample_rate: int = 44_100  # Hz
    clip_seconds: float = 2.5  # length of a clip that goes through the pedals
    seconds: float = 1.0  # length of the piece of that clip which is coded
    wet_share: float = 0.7  # share of the clips, 0 to 1, that go through one to six random pedals


@dataclass(frozen=True)
class Net:
    """The network."""

    hop_length: int = 512  # samples per frame; the MDCT window is twice as long
    width: int = 384  # channels of the convolution blocks
    latent_dim: int = 96  # length of a frame's vector before quantisation
    # dilation of each convolution block, in the encoder and again in the decoder
    dilations: tuple[int, ...] = (1, 3, 9)
    n_codebooks: int = 8  # codebooks of the residual quantiser
    codebook_size: int = 1024  # codewords in each codebook
    # share of a batch, 0 to 1, that is decoded from a random number of codebooks
    quantizer_dropout: float = 0.5
    # training predicts the log-mel spectrogram, which has no phase, from this many first codebooks,
    # 1 to n_codebooks
    mel_codebooks: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.mel_codebooks <= self.n_codebooks:
            n = self.n_codebooks
            raise ValueError(
                f"mel_codebooks must be 1 to n_codebooks {n}, got {self.mel_codebooks}"
            )


_PLAN = Plan(
    steps=12_000,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=200,
    decay_share=0.6,
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
        return self.net.hop_length

    @property
    def frames_per_second(self) -> float:
        return self.sound.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        bits = self.net.n_codebooks * math.log2(self.net.codebook_size)
        return bits * self.frames_per_second
