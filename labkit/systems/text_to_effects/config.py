"""Everything that a run of text to effects depends on."""

from dataclasses import dataclass
from typing import Literal

# Sizes of a sentence encoder's vectors.
SENTENCE_WIDTHS = {"minilm": 384, "mpnet": 768}


@dataclass(frozen=True)
class Config:
    """Data, model and training; the defaults are the shipped model's.

    Attributes:
        sample_rate: Hz, of the audio that the model hears.
        seconds: of a clip that it hears.
        sentences: which encoder reads sentences: ``"minilm"``, or ``"mpnet"`` (see `labkit.learn.pretrained`).
        n_mels, n_frames: of the picture: mel bands, and moments that the clip is averaged into.
        width, n_heads, n_layers: of the network.
        dropout: everywhere in it.
        db_per_unit: dB of one standard deviation of people's curves, which are shapes without a level.
        hint_dropout, piece_dropout: shares of training sentences without their hints, or without their pieces.
        hint_noise: standard deviation of what is added to hints in training.
        eq_weight, reverb_weight, prior_weight, dynamics_weight: of the parts of the loss.
        sound_weight: of the change that is measured in the rendered sound, beside the curve's own formula.
        sound_items: sentences of a batch that are rendered for it.
        taught: stems of the words whose curves a model has seen; `train` fills it in.
        steps, batch_size, learning_rate, warmup_steps, weight_decay, checkpoint_every, n_workers, precision, seed:
            as in `labkit.learn.training.Plan`.
    """

    sample_rate: int = 44100
    seconds: float = 2.0
    sentences: Literal["minilm", "mpnet"] = "minilm"
    n_mels: int = 32
    n_frames: int = 12
    width: int = 48
    n_heads: int = 4
    n_layers: int = 1
    dropout: float = 0.05
    db_per_unit: float = 6.0
    hint_dropout: float = 0.05
    piece_dropout: float = 0.1
    hint_noise: float = 0.05
    eq_weight: float = 1.0
    reverb_weight: float = 1.0
    prior_weight: float = 0.3
    dynamics_weight: float = 0.3
    sound_weight: float = 0.0
    sound_items: int = 8
    taught: tuple[str, ...] = ()
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 20
    weight_decay: float = 0.05
    checkpoint_every: int = 200
    n_workers: int = 0
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "sample_rate",
            "seconds",
            "n_mels",
            "n_frames",
            "width",
            "steps",
            "batch_size",
            "db_per_unit",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.sentences not in SENTENCE_WIDTHS:
            raise ValueError(
                f"sentences must be one of {', '.join(SENTENCE_WIDTHS)}, got {self.sentences!r}"
            )
        if self.width % self.n_heads:
            raise ValueError(
                f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}"
            )
