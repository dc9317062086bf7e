"""Data sets of notes with the patches that made them: HDF5 files, written by dask."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from labkit.effects.synths.registry import SETS, synthesizer_of
from labkit.effects.synths.spec import SynthSpec
from labkit.effects.synths.vital import N_OSCILLATORS
from labkit.measure.loudness import loudness_lufs
from labkit.signal.optional import need
from labkit.signal.paths import alone, cache_dir, replace_text, replacing
from labkit.signal.seeds import generator
from labkit.systems.synth.model import N_LINES, N_MELS, SAMPLE_RATE, mono, n_frames, note_features

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Quieter notes are drawn again, so many times.
_FLOOR_LUFS = -55.0
_MOST_DRAWS = 50
# Bytes before the HDF5 part of a file, as few as HDF5 allows: they hold a hash of that part.
_USER_BLOCK = 512


@dataclass(frozen=True)
class RenderConfig:
    """What a data set holds."""

    parameters: str = "vital_simple"  # name of the parameter set
    seconds: float = 1.5  # length of every note's sound
    n_train: int = 20_480  # notes of the training split
    n_validation: int = 512  # notes of the validation split
    n_test: int = 512  # notes of the test split
    shard_size: int = 128  # notes of a file; rendering resumes file by file

    def __post_init__(self) -> None:
        synthesizer_of(self.parameters)
        for name in ("seconds", "n_train", "n_validation", "n_test", "shard_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def spec(self) -> SynthSpec:
        return SETS[self.parameters]

    def count(self, split: Split) -> int:
        return getattr(self, f"n_{split}")


def default_folder(parameters: str) -> Path:
    """The usual folder of a parameter set's data."""
    return cache_dir() / "synth" / parameters


class Job(NamedTuple):
    """One file to render: notes `start` to `stop` of a split."""

    config: RenderConfig
    split: Split
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        """The file in a data set's folder."""
        return Path(folder) / f"{self.split}-{self.start:07d}-{self.stop:07d}.h5"


def jobs(config: RenderConfig) -> list[Job]:
    """Every file of a data set, the small splits first."""
    size = config.shard_size
    found = []
    for split in reversed(SPLITS):
        n = config.count(split)
        found += [Job(config, split, k, min(k + size, n)) for k in range(0, n, size)]
    return found


class Notes(NamedTuple):
    """Rendered notes: the columns of a file, one row a note."""

    parameters: np.ndarray  # (n, size), the encoded patches
    mel: np.ndarray  # (n, N_MELS, frames) float16, see `model.Features`
    lines: np.ndarray  # (n, N_LINES) float16, likewise
    phases: np.ndarray  # (n, 3), where the oscillators started


def _columns(config: RenderConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type of every column's numbers, and shape of one row."""
    shapes = ((config.spec.size,), (N_MELS, n_frames(config.seconds)), (N_LINES,), (N_OSCILLATORS,))
    kinds = ("float32", "float16", "float16", "float32")
    return dict(zip(Notes._fields, zip(kinds, shapes, strict=True), strict=True))


def _column(file: Any, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """A column that lies in the file itself, with this type and shape, or a ValueError."""
    here = isinstance(file.get(name, getlink=True), need("h5py").HardLink)
    column = file[name] if here else None
    facts = getattr(column, "dtype", None), getattr(column, "shape", None)
    if facts != (np.dtype(kind), shape) or column.external or column.is_virtual:
        raise ValueError(
            f"{file.filename}: a column {name} of {kind} {shape} was expected, found {facts}"
        )
    return column[:]


def write_shard(path: Path, job: Job, notes: Notes) -> None:
    """Write a file of a data set; the same notes give the same bytes."""
    n, config = job.stop - job.start, job.config
    # Not lzf: h5py does not clear its hash table, so it may encode equal rows differently.
    packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    with replacing(path) as temporary:
        with need("h5py").File(temporary, "w", userblock_size=_USER_BLOCK) as file:
            file.attrs["config"] = json.dumps(_lasting(config), sort_keys=True)
            file.attrs["names"] = list(config.spec.names)
            for name, (kind, shape) in _columns(config).items():
                data, chunks = getattr(notes, name), (min(32, n), *shape)
                file.create_dataset(name, (n, *shape), kind, data, chunks=chunks, **packing)
                # Beside other threads h5py closes a column late: its chunk would lie elsewhere.
                file.flush()
        content = temporary.read_bytes()[_USER_BLOCK:]
        with open(temporary, "r+b") as block:
            block.write(hashlib.sha256(content).digest())


def read_shard(path: Path, job: Job) -> Notes:
    """What `write_shard` wrote, or a ValueError if the file is damaged or another job's."""
    n = job.stop - job.start
    content = path.read_bytes()
    # Checked first: HDF5 can crash on a damaged file. Those of earlier versions have no hash.
    digest = hashlib.sha256(content[_USER_BLOCK:]).digest()
    if not content.startswith((digest, b"\x89HDF")):
        raise ValueError(f"{path} is damaged")
    try:
        with need("h5py").File(path, "r") as file:
            columns = _columns(job.config).items()
            return Notes(*(_column(file, name, kind, (n, *row)) for name, (kind, row) in columns))
    except (OSError, LookupError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def _is_there(job: Job, folder: Path) -> bool:
    """Whether a file is whole; a damaged one is named."""
    path = job.path(folder)
    try:
        return path.exists() and bool(read_shard(path, job))
    except ValueError as error:
        print(f"{error}: rendered again")
        return False


def claim(folder: Path, config: RenderConfig) -> None:
    """Mark a folder as a data set's, or raise ValueError if it holds another one.

    Only the numbers of notes may differ from last time.
    """
    path = Path(folder) / "config.json"
    if path.exists() and _lasting(_read_config(path)) != _lasting(config):
        raise ValueError(f"{folder} holds a data set of another config; give another folder")
    replace_text(path, json.dumps(asdict(config), indent=1))


def _read_config(path: Path) -> RenderConfig:
    try:
        return RenderConfig(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} describes no data set ({error}): give another folder; if a crash damaged it, "
            "delete it and continue with `labkit data render-synth`"
        ) from error


def _lasting(config: RenderConfig) -> dict:
    """The settings on which a file's content depends."""
    return asdict(replace(config, n_train=1, n_validation=1, n_test=1))


def read_notes(folder: Path, split: Split, *, n: int | None = None) -> Notes:
    """The first `n` notes of a split, or all; ValueError if they are not there."""
    folder = Path(folder)
    advice = "`labkit data render-synth`"
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} holds no data set: make one with {advice}")
    config = _read_config(folder / "config.json")
    wanted = config.count(split) if n is None else n
    if wanted > config.count(split):
        raise ValueError(f"n must be at most {config.count(split)}, the notes of {split}, got {n}")
    needed = [job for job in jobs(config) if job.split == split and job.start < wanted]
    if absent := [job.path(folder).name for job in needed if not job.path(folder).exists()]:
        raise ValueError(
            f"{folder} lacks {len(absent)} files, e.g. {absent[0]}: continue with {advice}"
        )
    try:
        parts = [read_shard(job.path(folder), job) for job in needed]
    except ValueError as error:
        raise ValueError(f"{error}: continue with {advice}") from error
    return Notes(*(np.concatenate(column)[:wanted] for column in zip(*parts, strict=True)))


def draw(
    parameters: str, split: Split, index: int, attempt: int
) -> tuple[dict[str, float | str], np.ndarray]:
    """A patch and its oscillators' start phases, from a random stream of its own."""
    rng = generator(0, "synth", parameters, split, index, attempt)
    return SETS[parameters].draw(rng), rng.random(N_OSCILLATORS)


@cache
def _engine(parameters: str) -> Any:
    return synthesizer_of(parameters).engine(parameters)


def render_job(job: Job, folder: str) -> int:
    """Render one file in this process with a fresh synthesizer; returns its number of notes."""
    engine = _engine(job.config.parameters)
    engine.restart()
    notes = [_note(job, engine, index) for index in range(job.start, job.stop)]
    columns = zip(*notes, strict=True)
    write_shard(job.path(Path(folder)), job, Notes(*(np.stack(column) for column in columns)))
    return len(notes)


def _note(job: Job, engine: Any, index: int) -> Notes:
    """The first patch that is loud enough."""
    config = job.config
    for attempt in range(_MOST_DRAWS):
        values, phases = draw(config.parameters, job.split, index, attempt)
        single = mono(engine.render(values, config.seconds, phases))
        loudness = loudness_lufs(single, SAMPLE_RATE)
        if loudness >= _FLOOR_LUFS:
            mel, lines = note_features(single, loudness)
            return Notes(config.spec.encode(values), mel, lines, phases)
    where = f"{job.split} {index}"
    raise RuntimeError(f"{_MOST_DRAWS} patches in a row below {_FLOOR_LUFS} LUFS, at {where}")


def render(config: RenderConfig, folder: str | Path, *, workers: int = 2) -> int:
    """Render what is missing of a data set by a local dask cluster; returns how many notes.

    `folder` may hold a smaller set; `workers` are processes. Raises ValueError if the folder holds
    another data set or is in use; RuntimeError if the synthesizer killed its process again and
    again on one file; ImportError or PluginError if it is not installed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    folder = Path(folder)
    if not all(job.path(folder).exists() for job in jobs(config)):
        synthesizer_of(config.parameters).needed()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        claim(folder, config)
        missing = [job for job in jobs(config) if not _is_there(job, folder)]
        return _render_missing(missing, folder, workers) if missing else 0


def _render_missing(missing: list[Job], folder: Path, workers: int) -> int:
    from tqdm import tqdm

    distributed = need("distributed")
    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.ERROR}
    total, where = sum(job.stop - job.start for job in missing), str(folder.resolve())
    with (
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster) as client,
        tqdm(total=total, unit=" notes") as progress,
    ):
        futures = [client.submit(render_job, job, where, pure=False, retries=1) for job in missing]
        for future in distributed.as_completed(futures):
            try:
                progress.update(future.result())
            except distributed.scheduler.KilledWorker as error:
                raise RuntimeError(
                    f"the synthesizer ended its process again and again: {error}"
                ) from error
    return total
