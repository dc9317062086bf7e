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

    sample_rate: int = 44100
    seconds: float = 2.0
    n_mels: int = 32
    n_frames: int = 12


@dataclass(frozen=True)
class Net:
    """Sizes and regularisation.

    Attributes:
        sentences: sentence encoder: minilm, or mpnet (see `labkit.learn.text`).
        hint_dropout: share of training sentences that lose their hints from the lexicon.
        piece_dropout: share of training sentences that lose their word pieces.
        hint_noise: standard deviation of the noise on hints in training.
        taught: stems of the words whose curves the network has seen; training fills it in.
        trusted: those of them that ten people or more set, likewise.
    """

    sentences: Literal["minilm", "mpnet"] = "minilm"
    width: int = 48
    n_heads: int = 4
    n_layers: int = 1
    dropout: float = 0.05
    hint_dropout: float = 0.05
    piece_dropout: float = 0.1
    hint_noise: float = 0.05
    taught: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

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
