"""Everything that a run on k oscillators depends on."""

from dataclasses import dataclass
from typing import Literal, get_args

Pairing = Literal["ranked", "random", "optimal"]
Head = Literal["regression", "chamfer", "sorted", "mlp flow", "equivariant flow", "learned flow"]
HEADS: tuple[Head, ...] = get_args(Head)
FLOWS: tuple[Head, ...] = ("mlp flow", "equivariant flow", "learned flow")


@dataclass(frozen=True)
class Config:
    """Task, model and training; the defaults are the notebook's.

    Attributes:
        k: oscillators.
        broken: whether each has a band of frequencies of its own.
        head: what turns the map that the encoder hears into settings: a regression with one of three losses, or a
            flow whose field is a perceptron, a transformer that knows which settings belong together, or one that
            has to learn it.
        pairing: of noise and settings: ``"ranked"`` by frequency, see `kosc.train.ranked`, or one of
            `labkit.learn.flow.flow_loss`; it is random where the symmetry is broken.
        n_map: frequencies of the map.
        encoder_width, encoder_layers: of the network that hears the map.
        width, n_layers: of a perceptron head; a transformer has a third of the width.
        n_train: sounds that heads learn from.
        encoder_steps, encoder_batch: of the encoder's training, and half of `learning_rate`.
        steps, batch_size, learning_rate: of the head's.
        sampler_steps: of Runge and Kutta's, when a flow is asked.
        n_best: answers of a flow that are rendered, the nearest to be kept.
        guidance: of the condition, when a flow is asked.
        seed: of the head and of what it draws from the training set.
        data_seed: of the encoder, its sounds and the training set.
    """

    k: int = 4
    broken: bool = False
    head: Head = "equivariant flow"
    pairing: Pairing = "ranked"
    n_map: int = 128
    encoder_width: int = 320
    encoder_layers: int = 2
    width: int = 192
    n_layers: int = 3
    n_train: int = 40_000
    encoder_steps: int = 6000
    encoder_batch: int = 128
    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 2e-3
    sampler_steps: int = 32
    n_best: int = 8
    guidance: float = 2.0
    seed: int = 0
    data_seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "k",
            "n_map",
            "encoder_width",
            "width",
            "n_train",
            "encoder_steps",
            "encoder_batch",
            "steps",
            "batch_size",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {self.head!r}")
        if self.pairing not in get_args(Pairing):
            raise ValueError(
                f"pairing must be one of {', '.join(get_args(Pairing))}, got {self.pairing!r}"
            )
