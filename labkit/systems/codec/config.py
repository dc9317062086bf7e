"""The settings of a codec."""

import math
from dataclasses import dataclass, field

from labkit.learn.training import Plan
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    """The clips of training."""

    sample_rate: int = 44_100  # of the codec
    clip_seconds: float = 2.5  # length of a clip when it goes through the pedals
    seconds: float = 1.0  # length of the piece of it that is coded, in whole frames
    wet_share: float = 0.7  # share of the clips that go through one to six random pedals


@dataclass(frozen=True)
class Net:
    """The network."""

    hop_length: int = 512  # samples per frame; the window of the transform has twice as many
    width: int = 384  # channels of the encoder's and decoder's blocks
    latent_dim: int = 96  # channels of a frame before quantisation
    # of the blocks of the encoder, and of those of the decoder
    dilations: tuple[int, ...] = (1, 3, 9)
    n_codebooks: int = 8  # stages of the residual quantiser
    codebook_size: int = 1024  # codewords in each
    # share of a batch that is decoded from a random number of codebooks
    quantizer_dropout: float = 0.5
    # the first codebooks, 1 to `n_codebooks`, from which the log-mel spectrogram is read off in
    # training, so that they say what does not depend on the phase
    mel_codebooks: int = 2


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
