"""The three tasks of the controller: which plug-ins it turns, and the sizes of a training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np
from torch import Tensor

from labkit.effects.hosts.plugin import Unit
from labkit.learn.training import Plan
from labkit.measure.align import aligned_distance
from labkit.systems import system

# Shelves below 160 Hz and above 4.2 kHz, bells at 580 Hz and 1.7 kHz: the plug-in's names of its
# bands, their frequencies in Hz, and where its knobs of frequency stand.
BANDS = {"l": (160.0, 0.01), "1": (580.0, 0.04), "2": (1700.0, 0.12), "h": (4200.0, 0.3)}
# Its gains go from -50 to 20 dB, its master gain from -12 to 12 dB.
NO_GAIN, GAIN_RANGE_DB, MASTER_RANGE_DB = 50 / 70, 70.0, 24.0


def _equaliser(*more: str) -> Unit:
    """Four gains, and further knobs that start in their middles."""
    knobs = {f"boost_cut_{band}_db": NO_GAIN for band in BANDS} | dict.fromkeys(more, 0.5)
    fixed = {f"frequency_{band}_hz": place for band, (_, place) in BANDS.items()}
    return Unit("ZamEQ2", knobs, fixed | {f"bandwidth_{band}": 0.25 for band in "12"})


_GAIN, _DISTORTION = Unit("gain", {"gain_db": 0.5}), Unit("distortion", {"drive_db": 0.1})
# Ratio 2.5, attack 1 ms, release 100 ms. ZamGate, which shuts, costs more intelligibility.
_EXPANDER = Unit(
    "expander", {"threshold_db": 0.3}, {"ratio": 0.398, "attack_ms": 1 / 3, "release_ms": 0.5}
)
# A compressor of 20:1 that attacks in 0.1 ms. ZamGEQ31 and ZaMaximX2 would be the mastering
# engineer's choice, but take 350 and 140 ms for a second of sound where these take 2.
_LIMITER = Unit(
    "ZamComp",
    {"threshold_db": 0.99},
    {"attack_ms": 0.0, "release_ms": 0.16, "makeup_db": 0.0, "ratio": 1.0, "knee_db": 0.25},
)


def _multiband(threshold: float) -> Unit:
    """A compressor in three bands: attack 10 ms, release 80 ms, ratio 4, knee 6 dB."""
    fixed = {"crossover_freq_1_hz": 0.1, "crossover_freq_2_hz": 0.1}  # 160 Hz and 2.7 kHz
    for k in (1, 2, 3):
        fixed |= {f"attack{k}_ms": 0.1, f"release{k}_ms": 0.16, f"knee{k}_db": 0.75}
        fixed |= {f"ratio{k}": 0.158, f"makeup_{k}_db": 0.0, f"zamcomp_{k}_on": 1.0}
    return Unit("ZaMultiComp", {f"threshold_{k}_db": threshold for k in (1, 2, 3)}, fixed)


# About the medians over recordings for training; treble that a telephone has lost is not counted.
_SPEECH = tuple((level_db, level_db) for level_db in (-18.0, -3.0, -13.0, -20.0))
# Eight tenths of two seconds of finished music for training and validation lie between these.
_MUSIC = (-14.0, -1.8), (-14.5, -4.0), (-22.0, -7.0), (-37.0, -11.5)


@dataclass(frozen=True)
class Task:
    """Plug-ins in a row, how they are trained, and what is done to a recording for them to undo."""

    units: tuple[Unit, ...]
    stages: tuple[int, ...]  # how many units play in each part of a progressive training
    level_db: tuple[float, float]  # range of the recording's level in training
    level_moves_target: bool = False  # the target follows that level
    # what an engineer leaves as it is: lowest and highest level of the equaliser's bands, in dB of
    # the whole level; RMS level in dB of full scale; the highest crest factor in dB
    balance_db: tuple[tuple[float, float], ...] | None = None
    rms_dbfs: tuple[float, float] | None = None
    crest_db: float | None = None
    share: float = 0.6  # of what a band lacks, he adds this, but not more than
    most_db: float = 9.0
    absent_db: float = -90.0  # he leaves a lower band as it is: a telephone has no treble
    colour_db: float = 0.0  # the most that an equaliser adds to a band before, or takes off
    expansion: float = 0.0  # the most that the dynamics grow: 0.5 makes 20 dB of them 30
    noise_db: tuple[float, float] | None = None  # range of the disturbance's level
    floor_db: float = -80.0  # of `aligned_distance`: hiss and pauses lie below -80 dB
    anchor: float = 0.0  # weight of imitation while the plug-ins play

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
        "distortion": Task((_GAIN, _DISTORTION, _equaliser()), (2, 3), (-15.0, 15.0)),
        "speech": Task(
            (_EXPANDER, _equaliser()),
            (2,),
            (-12.0, 6.0),
            level_moves_target=True,
            balance_db=_SPEECH,
            absent_db=-36.0,
            colour_db=20.0,
            noise_db=(-30.0, 0.0),
            floor_db=-110.0,
            anchor=1.0,
        ),
        "mastering": Task(
            (_equaliser("master_gain_db"), _multiband(0.99), _LIMITER),
            (1, 2, 3),
            (-18.0, 8.0),
            balance_db=_MUSIC,
            rms_dbfs=(-24.0, -10.0),
            crest_db=15.5,
            share=1.0,
            most_db=15.0,
            colour_db=24.0,
            expansion=0.5,
            anchor=1.0,
        ),
    }
)


@dataclass(frozen=True)
class Sound:
    """The task, its training clips and their log-mel spectrograms."""

    task: str = "distortion"  # distortion, speech or mastering
    sample_rate: int = 44_100  # Hz
    seconds: float = 2.0  # length of a training clip, above 0.25
    n_clips: int = 600  # number of different training clips, which are used repeatedly
    real_share: float = 0.7  # share of them, 0 to 1, that are recordings (if these are installed)
    n_fft: int = 2048  # FFT length of the log-mel spectrogram, samples
    hop_length: int = 512  # step between its frames, samples
    n_mels: int = 64  # number of its mel bands

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if not self.seconds > 0.25 or self.n_clips < 1 or not 0 <= self.real_share <= 1:
            raise ValueError(
                "seconds must be above 0.25, n_clips positive and real_share 0 to 1, "
                f"got {self.seconds}, {self.n_clips} and {self.real_share}"
            )


@dataclass(frozen=True)
class Net:
    """The controller, and how its gradient is estimated."""

    width: float = 0.35  # size of the encoder (MobileNetV2): factor on its number of channels
    embedding: int = 64  # length of the vector that the encoder returns
    hidden: int = 128  # width of the layers that turn this vector into knob positions
    eps: float = 0.03  # SPSA: how far each knob moves, as a share of its range
    pairs: int = 2  # SPSA: pairs of renders for each example, whose gradients are averaged
    imitation: float = 0.6  # share of first steps that imitate known settings, without rendering
    n_copies: int = 2  # open copies of each plug-in, which render a batch in parallel


_PLAN = Plan(steps=1600, batch_size=8, learning_rate=1.5e-3, warmup_steps=20, checkpoint_every=100)


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

    @property
    def distance(self) -> Callable[..., Tensor]:
        """What is trained by: `aligned_distance` with the task's floor."""
        return partial(aligned_distance, floor_db=self.task.floor_db)

    def units_playing(self, step: int) -> tuple[Unit, ...]:
        """The plug-ins that play at a 0-based step: none while it imitates, then more and more."""
        stages, first = self.task.stages, round(self.net.imitation * self.plan.steps)
        if step < first:
            return ()
        n = stages[min((step - first) * len(stages) // (self.plan.steps - first), len(stages) - 1)]
        return self.task.units[:n]


PRESETS = MappingProxyType(
    {
        # Of its knobs the draw knows one: there is little to imitate.
        "distortion": Config().but(steps=700, imitation=0.2),
        "speech": Config().but(task="speech", steps=600),
        # Right gains are mostly within 1 dB of nothing, where a step of SPSA is 2 dB.
        "mastering": Config().but(task="mastering", imitation=1.0, decay_share=0.5),
    }
)
