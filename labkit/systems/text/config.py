"""Settings of the network that turns a sentence and a sound into settings of effects."""

from dataclasses import dataclass, field
from typing import Literal

from labkit.learn.training import Plan
from labkit.systems import system

# Width of each sentence encoder's vectors.
SENTENCE_WIDTHS = {"minilm": 384, "mpnet": 768}


@dataclass(frozen=True)
class Sound:
    """The log-mel spectrogram of the recording's loudest part, averaged into a few frames."""

    sample_rate: int = 44100  # Hz
    seconds: float = 2.0  # length of that part
    n_mels: int = 32  # number of mel bands
    n_frames: int = 12  # number of frames after averaging


@dataclass(frozen=True)
class Net:
    """Sizes and regularisation."""

    sentences: Literal["minilm", "mpnet"] = "minilm"  # sentence encoder, see `labkit.learn.text`
    width: int = 48  # width of the transformer
    n_heads: int = 4  # attention heads
    n_layers: int = 1  # cross-attention layers
    dropout: float = 0.05  # dropout rate, 0 to 1
    hint_dropout: float = 0.05  # share of training sentences without their hints from the lexicon
    piece_dropout: float = 0.1  # share of training sentences without their word pieces
    hint_noise: float = 0.05  # standard deviation of the noise on hints in training
    taught: tuple[str, ...] = ()  # stems of the words that were trained; training sets it
    trusted: tuple[str, ...] = ()  # those of them that ten people or more set; training sets it

    def __post_init__(self) -> None:
        if self.sentences not in SENTENCE_WIDTHS:
            known = ", ".join(SENTENCE_WIDTHS)
            raise ValueError(f"sentences must be one of {known}, got {self.sentences!r}")


_PLAN = Plan(steps=2000, batch_size=64, learning_rate=2e-3, warmup_steps=20, weight_decay=0.05)


@dataclass(frozen=True)
class Config(system.Config):
    """Everything that decides the network; the defaults are the shipped model's."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN
