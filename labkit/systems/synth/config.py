"""The settings of synth matching, and what can be trained."""

from dataclasses import dataclass, field
from typing import Literal

from labkit.effects.synths.registry import SETS
from labkit.effects.synths.spec import SynthSpec
from labkit.learn.training import Plan
from labkit.systems import system

# The one parameter set without a synthesizer to install: `labkit.effects.synths.kosc`.
KOSC = "kosc"


@dataclass(frozen=True)
class Sound:
    """What the network hears.

    Attributes:
        parameters: name of the parameter set: one of a synthesizer, or kosc.
        seconds: length of the note that the network receives; that of the data set.
        noise_db: standard deviation of noise on the features in training.
        swap: whether equal oscillators change places at random in training.
        vary: whether notes are transposed and stretched in training.
        n_oscillators: of kosc.
        in_bands: of kosc: each oscillator has a band of frequencies to itself.
    """

    parameters: str = "vital_simple"
    seconds: float = 1.5
    noise_db: float = 2.0
    swap: bool = True
    vary: bool = True
    n_oscillators: int = 4
    in_bands: bool = False

    def __post_init__(self) -> None:
        if self.parameters not in (*SETS, KOSC):
            known = ", ".join((*SETS, KOSC))
            raise ValueError(f"parameters must be one of {known}, got {self.parameters!r}")

    @property
    def spec(self) -> SynthSpec:
        """The parameter set; a KeyError for kosc, whose parts are described by its own space."""
        return SETS[self.parameters]


@dataclass(frozen=True)
class Net:
    """The network: an encoder of the note, a flow that draws patches, and a regressor.

    Attributes:
        channels: of the encoder's convolutions.
        hidden: width of the encoder's other layers.
        condition: length of the encoded note.
        field: of the flow: a perceptron (mlp), a transformer on the oscillators (token), or one
            that must find out which settings belong together (learned). The last two are for kosc.
        width: of the field's and the regressor's layers; a transformer has a third of it.
        n_layers: of the field.
        draws: moments and noises of the flow for each note of a batch.
        drop: share of the draws whose condition is hidden, for guidance.
        dropout: on the encoded note.
        pairing: of noise and settings of kosc: ranked by frequency (equivariant optimal transport),
            random, or optimal in the batch.
        regression_weight: of the regressor's loss beside the flow's.
        averaging: share of the running mean of the weights that stays at a step.
    """

    channels: tuple[int, ...] = (24, 48, 96, 128)
    hidden: int = 192
    condition: int = 192
    field: Literal["mlp", "token", "learned"] = "mlp"
    width: int = 192
    n_layers: int = 3
    draws: int = 4
    drop: float = 0.1
    dropout: float = 0.2
    pairing: Literal["ranked", "random", "optimal"] = "random"
    regression_weight: float = 1.0
    averaging: float = 0.99


def _plan(**changes: int | float) -> Plan:
    usual = {"steps": 5000, "batch_size": 128, "learning_rate": 1e-3, "warmup_steps": 100}
    usual |= {"decay_share": 0.5, "weight_decay": 0.05, "checkpoint_every": 100}
    return Plan(**{**usual, **changes})


@dataclass(frozen=True)
class Config(system.Config):
    """See `labkit.systems.system.Config`."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(default_factory=_plan)


PRESETS = {
    "vital_simple": Config(),
    "vital_full": Config(Sound(parameters="vital_full"), Net(width=256), _plan(steps=8000)),
    "surge_simple": Config(Sound(parameters="surge_simple")),
    KOSC: Config(
        Sound(parameters=KOSC, seconds=1024 / 44_100),
        Net(hidden=320, field="token", draws=1, pairing="ranked"),
        _plan(steps=6000, learning_rate=2e-3, weight_decay=0.0, checkpoint_every=500),
    ),
}
