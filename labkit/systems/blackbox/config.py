"""The three tasks of the controller: which plug-ins it turns, and the sizes of a training."""

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from labkit.effects.hosts.plugin import Unit
from labkit.learn.training import Plan
from labkit.systems import system

# Shelves below 160 Hz and above 4.2 kHz, bells at 580 Hz and 1.7 kHz; 0.714 is no gain.
_FREQUENCIES = {"l": 0.01, "1": 0.04, "2": 0.12, "h": 0.3}
_PARAMETRIC_EQ = Unit(
    "ZamEQ2",
    {**{f"boost_cut_{band}_db": 0.714 for band in _FREQUENCIES}, "master_gain_db": 0.5},
    {
        **{f"frequency_{band}_hz": value for band, value in _FREQUENCIES.items()},
        **{f"bandwidth_{band}": 0.25 for band in "12"},
    },
)
_GAIN, _DISTORTION = Unit("gain", {"gain_db": 0.5}), Unit("distortion", {"drive_db": 0.1})
_GATE = Unit(
    "ZamGate",
    {"threshold_db": 0.2, "max_gate_close_db": 0.6, "release_ms": 0.2},
    {"attack_ms": 0.004, "makeup_db": 0.5},
)
# A compressor of 20:1 that attacks in 0.1 ms. ZamGEQ31 and ZaMaximX2 would be the mastering
# engineer's choice, but take 350 and 140 ms for a second of sound where these take 2.
_LIMITER = Unit(
    "ZamComp",
    {"threshold_db": 0.95, "release_ms": 0.16, "makeup_db": 0.05},
    {"attack_ms": 0.0, "ratio": 1.0, "knee_db": 0.25},
)


def _multiband(threshold: float) -> Unit:
    """A compressor in three bands: attack 10 ms, release 80 ms, ratio 4, knee 6 dB."""
    bands = (1, 2, 3)
    knobs = {f"threshold_{k}_db": threshold for k in bands}
    knobs |= {f"makeup_{k}_db": 0.05 for k in bands}
    fixed = {"crossover_freq_1_hz": 0.1, "crossover_freq_2_hz": 0.1}  # 160 Hz and 2.7 kHz
    for k in bands:
        fixed |= {f"attack{k}_ms": 0.1, f"release{k}_ms": 0.16, f"knee{k}_db": 0.75}
        fixed |= {f"ratio{k}": 0.158, f"zamcomp_{k}_on": 1.0}
    return Unit("ZaMultiComp", knobs, fixed)


@dataclass(frozen=True)
class Task:
    """Plug-ins in a row, and how they are trained."""

    units: tuple[Unit, ...]
    stages: tuple[int, ...]  # how many units play in each part of a progressive training
    level_db: tuple[float, float]  # range of the recording's level in training
    level_moves_target: bool = False  # the target follows that level

    @property
    def names(self) -> tuple[str, ...]:
        """``"plug-in: parameter"`` in the order of `params_unit`."""
        return tuple(f"{unit.plugin}: {name}" for unit in self.units for name in unit.knobs)

    @property
    def start(self) -> np.ndarray:
        """(knobs,): the values before training, inside 0..1: the plug-ins' defaults, or near."""
        return np.array([value for unit in self.units for value in unit.knobs.values()])


TASKS = MappingProxyType(
    {
        "distortion": Task(
            (_GAIN, _DISTORTION, _PARAMETRIC_EQ, _multiband(0.9)), (2, 3, 4), (-14.0, 8.0)
        ),
        "speech": Task((_GATE, _PARAMETRIC_EQ), (1, 2), (-12.0, 6.0), level_moves_target=True),
        "mastering": Task((_PARAMETRIC_EQ, _multiband(0.8), _LIMITER), (1, 2, 3), (-12.0, 4.0)),
    }
)


@dataclass(frozen=True)
class Sound:
    """The task, its training clips and their log-mel spectrograms."""

    task: str = "distortion"  # distortion, speech or mastering
    sample_rate: int = 44_100
    seconds: float = 1.0  # length of a training clip, > 0.25
    n_clips: int = 500  # made once, drawn again and again
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 64

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if not self.seconds > 0.25 or self.n_clips < 1:
            raise ValueError(
                f"seconds must be above 0.25 and n_clips positive, got {self.seconds} and "
                f"{self.n_clips}"
            )


@dataclass(frozen=True)
class Net:
    """The controller, and how its gradient is estimated."""

    width: float = 0.35  # of the encoder
    embedding: int = 64  # length of its vector
    hidden: int = 128  # width of the layers between that and the parameters
    eps: float = 0.03  # SPSA's step
    pairs: int = 1  # SPSA's perturbations, averaged
    time_weight: float = 2.0  # of the time-domain term in the loss
    n_copies: int = 2  # of each plug-in; they share a batch


_PLAN = Plan(steps=700, batch_size=12, learning_rate=1.5e-3, warmup_steps=20, checkpoint_every=100)


@dataclass(frozen=True)
class Config(system.Config):
    """Everything that decides a controller."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(default_factory=lambda: _PLAN)

    @property
    def task(self) -> Task:
        """The task's record."""
        return TASKS[self.sound.task]

    def units_playing(self, step: int) -> tuple[Unit, ...]:
        """Progressive training: the plug-ins that play at a 0-based step."""
        stages = self.task.stages
        n = stages[min(step * len(stages) // self.plan.steps, len(stages) - 1)]
        return self.task.units[:n]


PRESETS = MappingProxyType(
    {
        "distortion": Config().but(steps=500),
        # Pauses need longer clips.
        "speech": Config().but(task="speech", seconds=1.5, batch_size=8),
        "mastering": Config().but(task="mastering"),
    }
)
