"""The settings of synth matching, and what can be trained."""

from dataclasses import dataclass, field

from labkit.effects.synths.registry import SETS
from labkit.effects.synths.spec import SynthSpec
from labkit.learn.training import Plan
from labkit.systems import system

# The parameter set that needs no synthesizer installed: `labkit.effects.synths.kosc`.
KOSC = "kosc"


@dataclass(frozen=True)
class Sound:
    """What the network hears."""

    parameters: str = "vital_simple"  # parameter set: vital_..., surge_simple, or kosc
    seconds: float = 1.5  # length of the note at the network's input, as in the data set
    n_oscillators: int = 2  # number of oscillators of kosc

    def __post_init__(self) -> None:
        if self.parameters not in (*SETS, KOSC):
            known = ", ".join((*SETS, KOSC))
            raise ValueError(f"parameters must be one of {known}, got {self.parameters!r}")

    @property
    def spec(self) -> SynthSpec:
        return SETS[self.parameters]


@dataclass(frozen=True)
class Net:
    """The network: an encoder of the note, a flow that draws patches, and a regressor."""

    channels: tuple[int, ...] = (24, 48, 96, 128)  # channels of the encoder's convolutions
    hidden: int = 192  # width of the encoder's other layers
    condition: int = 192  # length of the vector that the encoder returns
    # width of the layers of flow and regressor; the flow of kosc has a third of it
    width: int = 192
    n_layers: int = 3  # layers of the flow
    dropout: float = 0.2  # dropout rate of the encoder's vector, 0 to 1
    averaging: float = 0.99  # share of the running mean of the weights that each step keeps


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
    "surge_simple": Config(Sound(parameters="surge_simple", seconds=4.0)),
    KOSC: Config(
        Sound(parameters=KOSC),
        Net(hidden=192),
        _plan(steps=2000, learning_rate=2e-3, weight_decay=0.0),
    ),
}
