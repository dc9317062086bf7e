"""The three tasks of the controller: which plug-ins it turns, by which knobs, and the sizes of a training."""

from dataclasses import dataclass, field
from types import MappingProxyType

# Attack about 10 ms, release about 80 ms, ratio 4, knee 6 dB, crossovers at 160 Hz and 2.7 kHz; bands switched on.
_MULTIBAND = {
    **{f"attack{k}_ms": 0.1 for k in (1, 2, 3)},
    **{f"release{k}_ms": 0.16 for k in (1, 2, 3)},
    **{f"knee{k}_db": 0.75 for k in (1, 2, 3)},
    **{f"ratio{k}": 0.158 for k in (1, 2, 3)},
    **{f"zamcomp_{k}_on": 1.0 for k in (1, 2, 3)},
    "crossover_freq_1_hz": 0.1,
    "crossover_freq_2_hz": 0.1,
}


@dataclass(frozen=True)
class Knob:
    """One number that the controller sets.

    Attributes:
        name: for curves and tables.
        sliders: the plug-in's knobs that it turns together.
        start: where it stands before training, in 0..1 (exclusive): the plug-in's default, or near it.
    """

    name: str
    sliders: tuple[str, ...]
    start: float


@dataclass(frozen=True)
class Unit:
    """A plug-in of a task's chain.

    Attributes:
        plugin: what `open_plugin` takes.
        knobs: what is turned.
        fixed: other knobs' settings, 0..1.
    """

    plugin: str
    knobs: tuple[Knob, ...]
    fixed: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Task:
    """What is to be done, and by which chain.

    Attributes:
        name: in commands.
        units: the chain, first to last.
        stages: how many units are heard in each part of a progressive training.
        level_db: by how much, low and high, the recording's level varies in training.
        level_moves_target: whether the target follows that level.
    """

    name: str
    units: tuple[Unit, ...]
    stages: tuple[int, ...]
    level_db: tuple[float, float]
    level_moves_target: bool

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """Every knob, in the order of `params_unit`."""
        return tuple(knob for unit in self.units for knob in unit.knobs)

    @property
    def names(self) -> tuple[str, ...]:
        """``"plug-in: knob"`` for every knob."""
        return tuple(f"{unit.plugin}: {knob.name}" for unit in self.units for knob in unit.knobs)


@dataclass(frozen=True)
class Processor:
    """A processor whose sound *distortion* is after, at one setting.

    Attributes:
        title: in tables.
        plugin: what `open_plugin` takes.
        setting: knob -> 0..1.
        meets_dbfs: RMS of the guitar that it is given: between clean and distorted, where the level matters.
        gain_db: of what comes out, so that all processors are about as loud.
    """

    title: str
    plugin: str
    setting: MappingProxyType
    meets_dbfs: float
    gain_db: float = 0.0


PROCESSORS = MappingProxyType(
    {
        # guitarix's model of the circuit.
        "ts9": Processor(
            "TS9", "gxts9", MappingProxyType({"drive": 0.1, "tone": 0.5, "level": 0.8}), -34.0
        ),
        # A valve's curves behind a tone stack. As an LV2: the VST3 must be loaded anew for every render.
        "zamtube": Processor(
            "ZamTube",
            "urn:zamaudio:ZamTube",
            MappingProxyType({"tube_drive": 0.9, "input_level": 0.66}),
            -26.0,
            -10.0,
        ),
    }
)


def _one(name: str, start: float) -> Knob:
    return Knob(name, (name,), start)


def _multiband(threshold: float) -> Unit:
    thresholds = tuple(_one(f"threshold_{k}_db", threshold) for k in (1, 2, 3))
    makeups = tuple(_one(f"makeup_{k}_db", 0.05) for k in (1, 2, 3))
    return Unit("ZaMultiComp", thresholds + makeups, MappingProxyType(_MULTIBAND))


_PARAMETRIC_EQ = Unit(
    "ZamEQ2",
    (
        _one("boost_cut_l_db", 0.714),
        _one("boost_cut_1_db", 0.714),
        _one("boost_cut_2_db", 0.714),
        _one("boost_cut_h_db", 0.714),
        _one("master_gain_db", 0.5),
    ),
    # Shelves below 160 Hz and above 4.2 kHz, bells at 580 Hz and 1.7 kHz; full gain lies 0.714 from the lower stop.
    MappingProxyType(
        {
            "frequency_l_hz": 0.01,
            "frequency_1_hz": 0.04,
            "frequency_2_hz": 0.12,
            "frequency_h_hz": 0.3,
        }
        | {"bandwidth_1": 0.25, "bandwidth_2": 0.25}
    ),
)
_GATE = Unit(
    "ZamGate",
    (_one("threshold_db", 0.2), _one("max_gate_close_db", 0.6), _one("release_ms", 0.2)),
    MappingProxyType({"attack_ms": 0.004, "makeup_db": 0.5}),
)
# A compressor of 20:1 that attacks in 0.1 ms. ZamGEQ31 and ZaMaximX2 would be the mastering engineer's choice, but take
# 350 and 140 ms for a second of sound where these take 2 (measured on two busy cores).
_LIMITER = Unit(
    "ZamComp",
    (_one("threshold_db", 0.95), _one("release_ms", 0.16), _one("makeup_db", 0.05)),
    MappingProxyType({"attack_ms": 0.0, "ratio": 1.0, "knee_db": 0.25}),
)

TASKS = MappingProxyType(
    {
        "distortion": Task(
            "distortion",
            (
                Unit("gain", (_one("gain_db", 0.5),)),
                Unit("distortion", (_one("drive_db", 0.1),)),
                _PARAMETRIC_EQ,
                _multiband(0.9),
            ),
            (2, 3, 4),
            (-14.0, 8.0),
            False,
        ),
        "speech": Task("speech", (_GATE, _PARAMETRIC_EQ), (1, 2), (-12.0, 6.0), True),
        "mastering": Task(
            "mastering", (_PARAMETRIC_EQ, _multiband(0.8), _LIMITER), (1, 2, 3), (-12.0, 4.0), False
        ),
    }
)


ENCODERS = ("mobilenet",)


@dataclass(frozen=True)
class Config:
    """Everything that decides a controller.

    Attributes:
        task: of `TASKS`.
        processor: of `PROCESSORS`, whose sound *distortion* is after.
        encoder: of the picture: ``"mobilenet"``.
        sample_rate: Hz, of the sound that is heard and rendered.
        seconds: length of a training clip, > 0.25.
        n_clips: clips that training draws from, made once.
        n_fft, hop_length, n_mels: the picture.
        width: of the encoder.
        embedding: length of its vector.
        hidden: of the layer between that and the knobs.
        eps, pairs: of SPSA: the turn of the knobs, and tosses averaged.
        time_weight: of the time-domain term in the loss.
        steps, batch_size, learning_rate, warmup_steps, weight_decay, checkpoint_every, precision, seed: as in
            `labkit.learn.training.Plan`.
        n_workers: copies of each plug-in that share a batch.
    """

    task: str = "distortion"
    processor: str = "ts9"
    encoder: str = "mobilenet"
    sample_rate: int = 44_100
    seconds: float = 1.0
    n_clips: int = 500
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 64
    width: float = 0.35
    embedding: int = 64
    hidden: int = 128
    eps: float = 0.03
    pairs: int = 1
    time_weight: float = 2.0
    steps: int = 700
    batch_size: int = 12
    learning_rate: float = 1.5e-3
    warmup_steps: int = 20
    weight_decay: float = 0.0
    checkpoint_every: int = 100
    n_workers: int = 2
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if self.processor not in PROCESSORS:
            raise ValueError(
                f"processor must be one of {', '.join(PROCESSORS)}, got {self.processor!r}"
            )
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {self.encoder!r}")
        if not self.seconds > 0.25:
            raise ValueError(f"seconds must be above 0.25, got {self.seconds}")
        for name in (
            "n_clips",
            "steps",
            "batch_size",
            "n_workers",
            "pairs",
            "sample_rate",
            "width",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def chain(self) -> Task:
        """The task's record."""
        return TASKS[self.task]

    def units_heard(self, step: int) -> int:
        """How many units of the chain are played at a 0-based step: progressive training, one stage after another."""
        stages = self.chain.stages
        return stages[min(step * len(stages) // self.steps, len(stages) - 1)]


# What is trained where nothing else is asked for. Pauses need longer clips.
CONFIGS = MappingProxyType(
    {
        "distortion": Config(task="distortion", steps=500),
        "speech": Config(task="speech", seconds=1.5, batch_size=8),
        "mastering": Config(task="mastering"),
    }
)
