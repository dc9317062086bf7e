"""Everything that a run of sound matching depends on."""

from dataclasses import dataclass
from typing import Literal

from labkit.effects.synths.registry import SETS
from labkit.effects.synths.spec import SynthSpec
from labkit.systems.synth_matching import features


@dataclass(frozen=True)
class Config:
    """Data, model and training of sound matching.

    Attributes:
        parameters: name of the parameter set.
        seconds: of sound that the network hears; the data set's.
        ear: what looks at the picture: ``"convolutions"``, or ``"patches"``, a transformer.
        channels: of the picture's four convolutions.
        hidden: of the fine spectrum's layers.
        condition: length of what was heard.
        field: of the flow: ``"mlp"``, or ``"token"``, which treats like parts alike.
        width, n_layers: of the field.
        draws: moments and noises for every note of a batch: the field is cheaper than the ear.
        drop: share of draws whose condition is hidden, so that guidance is learnt.
        dropout: on what was heard.
        noise_db: deviation of noise on the features in training.
        swap: whether equal oscillators change places at random in training, which no sound can tell.
        vary: whether notes are transposed and stretched in training, see `data.Examples`.
        regression_weight: of the regressor's loss beside the flow's.
        averaging: share of the running mean of the weights that stays at a step.
        steps, batch_size, learning_rate, warmup_steps, decay_share, weight_decay, checkpoint_every, n_workers,
            precision, seed: as in `labkit.learn.training.Plan`.
    """

    parameters: str = "vital_simple"
    seconds: float = 1.5
    ear: Literal["convolutions", "patches"] = "convolutions"
    channels: tuple[int, int, int, int] = (24, 48, 96, 128)
    hidden: int = 192
    condition: int = 192
    field: Literal["mlp", "token"] = "mlp"
    width: int = 192
    n_layers: int = 3
    draws: int = 4
    drop: float = 0.1
    dropout: float = 0.2
    noise_db: float = 2.0
    swap: bool = True
    vary: bool = True
    regression_weight: float = 1.0
    averaging: float = 0.99
    steps: int = 750
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_share: float = 0.5
    weight_decay: float = 0.05
    checkpoint_every: int = 100
    n_workers: int = 0
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parameters not in SETS:
            raise ValueError(
                f"parameters must be one of {', '.join(SETS)}, got {self.parameters!r}"
            )
        if self.field not in ("mlp", "token"):
            raise ValueError(f"field must be mlp or token, got {self.field!r}")
        if self.ear not in ("convolutions", "patches"):
            raise ValueError(f"ear must be convolutions or patches, got {self.ear!r}")
        if len(self.channels) != 4:
            raise ValueError(f"channels must be four numbers, got {self.channels}")
        for name in (
            "seconds",
            "draws",
            "steps",
            "batch_size",
            "condition",
            "hidden",
            "width",
            "checkpoint_every",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def spec(self) -> SynthSpec:
        """The parameter set itself."""
        return SETS[self.parameters]

    @property
    def n_frames(self) -> int:
        """Frames of the mel picture."""
        return features.n_frames(self.seconds)
