"""The one layout of a rendered data set, for who writes it and who reads it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from labkit.effects.synths import vital
from labkit.effects.synths.registry import SETS
from labkit.effects.synths.spec import SynthSpec
from labkit.signal.optional import need
from labkit.signal.paths import replace_text
from labkit.systems.synth_matching import features

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Stored = Literal["none", "float16", "int16"]


@dataclass(frozen=True)
class RenderConfig:
    """What a data set is.

    Attributes:
        parameters: name of the parameter set.
        seconds: length of every note's sound.
        n_train, n_validation, n_test: notes of each split.
        shard_size: notes of a file; rendering resumes file by file.
        floor_lufs: quieter notes are drawn again.
        audio: whether the sound itself is kept, and how.
        oversampling: of Vital, 1 or 2; with 1 it is faster, and another sound.
        seed: of everything.
    """

    parameters: str = "vital_simple"
    seconds: float = 1.5
    n_train: int = 3_328
    n_validation: int = 512
    n_test: int = 512
    shard_size: int = 128
    floor_lufs: float = -55.0
    audio: Stored = "none"
    oversampling: Literal[1, 2] = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parameters not in SETS:
            raise ValueError(
                f"parameters must be one of {', '.join(SETS)}, got {self.parameters!r}"
            )
        if self.audio not in ("none", "float16", "int16"):
            raise ValueError(f"audio must be none, float16 or int16, got {self.audio!r}")
        if self.oversampling not in ((1, 2) if self.parameters in vital.SETS else (2,)):
            raise ValueError(
                f"oversampling must be 2, or 1 for a set of Vital, got {self.oversampling}"
            )
        for name in ("seconds", "n_train", "n_validation", "n_test", "shard_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def spec(self) -> SynthSpec:
        """The parameter set itself."""
        return SETS[self.parameters]

    def count(self, split: Split) -> int:
        """Notes of a split."""
        return {"train": self.n_train, "validation": self.n_validation, "test": self.n_test}[split]

    @staticmethod
    def from_file(path: Path) -> "RenderConfig":
        """Of a JSON file with any of the fields. Raises ValueError for another field."""
        plain = json.loads(Path(path).read_text())
        try:
            return RenderConfig(**plain)
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Job:
    """One file to render: notes `start` to `stop` of a split."""

    config: RenderConfig
    split: Split
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Where it goes."""
        return Path(folder) / f"{self.split}-{self.start:07d}-{self.stop:07d}.h5"


def jobs(config: RenderConfig) -> list[Job]:
    """Every file of a data set, the small splits first."""
    size = config.shard_size
    return [
        Job(config, split, start, min(start + size, config.count(split)))
        for split in reversed(SPLITS)
        for start in range(0, config.count(split), size)
    ]


def columns(config: RenderConfig) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name of each data set in a file -> shape of one note's row, and type."""
    sound = (
        {}
        if config.audio == "none"
        else {"audio": ((round(config.seconds * features.SAMPLE_RATE),), config.audio)}
    )
    return {
        "parameters": ((config.spec.size,), "float32"),
        "mel": ((features.N_MELS, features.n_frames(config.seconds)), "float16"),
        "lines": ((features.N_LINES,), "float16"),
        "loudness_lufs": ((), "float32"),
        "phases": ((3,), "float32"),
        "index": ((), "int64"),
        "draws": ((), "int16"),
        **sound,
    }


def write_shard(path: Path, job: Job, rows: Mapping[str, np.ndarray]) -> None:
    """A file of a data set, under a temporary name and then renamed; the same rows give the same bytes."""
    h5py = need("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with h5py.File(temporary, "w") as file:
        file.attrs["config"] = json.dumps(_lasting(job.config), sort_keys=True)
        file.attrs["spec"] = job.config.spec.to_json()
        for name, (shape, kind) in columns(job.config).items():
            data = np.asarray(rows[name], dtype=kind)
            if data.shape != (job.stop - job.start, *shape):
                raise ValueError(
                    f"{name} must have shape {(job.stop - job.start, *shape)}, got {data.shape}"
                )
            chunks = (min(32, len(data)), *shape)
            # Not lzf, whose hash table is never cleared (INIT_HTAB 0 in h5py): it may encode equal rows in two ways.
            file.create_dataset(
                name, data=data, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
            )
            file.flush()  # beside other threads h5py closes a data set late: its chunk would come to lie elsewhere
    temporary.replace(path)


def read_shard(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of a file, whole."""
    with need("h5py").File(path, "r") as file:
        return {name: file[name][:] for name in names}


def claim(folder: Path, config: RenderConfig) -> None:
    """Make a folder a data set's own, or see that it is: only the numbers of notes may differ from last time.

    Raises:
        ValueError: if it holds another data set.
    """
    path = Path(folder) / "config.json"
    if path.exists() and _lasting(RenderConfig.from_file(path)) != _lasting(config):
        raise ValueError(f"{folder} holds a data set of another config; give another folder")
    replace_text(path, json.dumps(asdict(config), indent=1))


def _lasting(config: RenderConfig) -> dict:
    """The config without the numbers of notes: what a file's content depends on."""
    plain = asdict(replace(config, n_train=1, n_validation=1, n_test=1))
    if (
        config.oversampling == 2
    ):  # what it was before it could be chosen: older files say nothing of it
        del plain["oversampling"]
    return plain
