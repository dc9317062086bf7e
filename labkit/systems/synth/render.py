"""Data sets of notes with the patches that made them: HDF5 files, written by dask."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
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
from labkit.signal.paths import cache_dir, replace_text, replacing
from labkit.signal.seeds import generator
from labkit.systems.synth.model import N_LINES, N_MELS, SAMPLE_RATE, mono, n_frames, note_features

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Patches to try for one note before giving up.
_MOST_DRAWS = 50


@dataclass(frozen=True)
class RenderConfig:
    """What a data set holds.

    Attributes:
        parameters: name of the parameter set.
        seconds: length of every note's sound.
        n_train: notes of the training split.
        n_validation: notes of the validation split.
        n_test: notes of the test split.
        shard_size: notes of a file; rendering resumes file by file.
        floor_lufs: quieter notes are drawn again.
        audio: whether the sound itself is kept, in half precision.
        seed: of everything.
    """

    parameters: str = "vital_simple"
    seconds: float = 1.5
    n_train: int = 20_480
    n_validation: int = 512
    n_test: int = 512
    shard_size: int = 128
    floor_lufs: float = -55.0
    audio: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        synthesizer_of(self.parameters)
        for name in ("seconds", "n_train", "n_validation", "n_test", "shard_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def spec(self) -> SynthSpec:
        """The parameter set."""
        return SETS[self.parameters]

    def count(self, split: Split) -> int:
        """Notes of a split."""
        return getattr(self, f"n_{split}")

    @staticmethod
    def from_file(path: Path) -> "RenderConfig":
        """From a JSON file with any of the fields. Raises ValueError for another field."""
        try:
            return RenderConfig(**json.loads(Path(path).read_text()))
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from error


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


def columns(config: RenderConfig) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name of each column of a file -> shape of one note's row, and type."""
    found = {
        "parameters": ((config.spec.size,), "float32"),
        "mel": ((N_MELS, n_frames(config.seconds)), "float16"),
        "lines": ((N_LINES,), "float16"),
        "loudness_lufs": ((), "float32"),
        "phases": ((N_OSCILLATORS,), "float32"),
    }
    if config.audio:
        found["audio"] = ((round(config.seconds * SAMPLE_RATE),), "float16")
    return found


def write_shard(path: Path, job: Job, rows: Mapping[str, np.ndarray]) -> None:
    """Write a file of a data set; the same rows give the same bytes.

    Raises ValueError if a column has another shape than `columns` says.
    """
    # Not lzf: h5py does not clear its hash table, so it may encode equal rows differently.
    packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    with replacing(path) as temporary, need("h5py").File(temporary, "w") as file:
        file.attrs["config"] = json.dumps(_lasting(job.config), sort_keys=True)
        file.attrs["names"] = list(job.config.spec.names)
        for name, (shape, kind) in columns(job.config).items():
            data = np.asarray(rows[name], dtype=kind)
            wanted = (job.stop - job.start, *shape)
            if data.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {data.shape}")
            file.create_dataset(name, data=data, chunks=(min(32, len(data)), *shape), **packing)
            # Beside other threads h5py closes a column late, and its chunk would lie elsewhere.
            file.flush()


def read_shard(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of a file."""
    with need("h5py").File(path, "r") as file:
        return {name: file[name][:] for name in names}


def claim(folder: Path, config: RenderConfig) -> None:
    """Mark a folder as a data set's, or raise ValueError if it holds another one.

    Only the numbers of notes may differ from last time.
    """
    path = Path(folder) / "config.json"
    if path.exists() and _lasting(RenderConfig.from_file(path)) != _lasting(config):
        raise ValueError(f"{folder} holds a data set of another config; give another folder")
    replace_text(path, json.dumps(asdict(config), indent=1))


def _lasting(config: RenderConfig) -> dict:
    """The settings on which a file's content depends."""
    return asdict(replace(config, n_train=1, n_validation=1, n_test=1))


@dataclass(frozen=True)
class Notes:
    """A split in memory: arrays as in `columns`, one row a note."""

    parameters: np.ndarray
    mel: np.ndarray
    lines: np.ndarray
    loudness_lufs: np.ndarray
    phases: np.ndarray

    def __len__(self) -> int:
        return len(self.parameters)


def read_notes(folder: Path, split: Split, *, n: int | None = None) -> Notes:
    """The first `n` notes of a split, or all; ValueError if they are not there."""
    folder = Path(folder)
    advice = "`labkit data render-synth`"
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} holds no data set: make one with {advice}")
    config = RenderConfig.from_file(folder / "config.json")
    wanted = config.count(split) if n is None else n
    if wanted > config.count(split):
        raise ValueError(f"n must be at most {config.count(split)}, the notes of {split}, got {n}")
    paths = [job.path(folder) for job in jobs(config) if job.split == split and job.start < wanted]
    if absent := [path.name for path in paths if not path.exists()]:
        raise ValueError(
            f"{folder} lacks {len(absent)} files, e.g. {absent[0]}: continue with {advice}"
        )
    names = tuple(Notes.__dataclass_fields__)
    parts = [read_shard(path, names) for path in paths]
    return Notes(*(np.concatenate([part[name] for part in parts])[:wanted] for name in names))


def draw(
    config: RenderConfig, split: Split, index: int, attempt: int
) -> tuple[dict[str, float | str], np.ndarray]:
    """A patch and its oscillators' start phases, from a random stream of its own."""
    rng = generator(config.seed, "synth", config.parameters, split, index, attempt)
    return config.spec.draw(rng), rng.random(N_OSCILLATORS)


@cache
def _engine(parameters: str) -> Any:
    return synthesizer_of(parameters).engine(parameters)


def render_job(job: Job, folder: str) -> int:
    """Render one file in this process with a fresh synthesizer; returns its number of notes."""
    engine = _engine(job.config.parameters)
    engine.restart()
    notes = [_note(job, engine, index) for index in range(job.start, job.stop)]
    rows = {name: np.stack([note[name] for note in notes]) for name in columns(job.config)}
    write_shard(job.path(Path(folder)), job, rows)
    return len(notes)


def _note(job: Job, engine: Any, index: int) -> dict[str, Any]:
    """The first patch that is loud enough."""
    config = job.config
    for attempt in range(_MOST_DRAWS):
        values, phases = draw(config, job.split, index, attempt)
        single = mono(engine.render(values, config.seconds, phases))
        loudness = loudness_lufs(single, SAMPLE_RATE)
        if loudness >= config.floor_lufs:
            features = note_features(single, loudness)._asdict()
            code = config.spec.encode(values)
            return {"parameters": code, "phases": phases, "audio": single[0], **features}
    raise RuntimeError(
        f"{_MOST_DRAWS} patches in a row were below {config.floor_lufs} LUFS, "
        f"at {job.split} {index}"
    )


def render(
    config: RenderConfig, folder: str | Path, *, workers: int = 2, scheduler: str | None = None
) -> int:
    """Render what is missing of a data set; returns how many notes that were.

    Args:
        folder: of the files; every worker must reach it. It may hold a smaller set.
        workers: processes of a local cluster, >= 1.
        scheduler: address of a dask scheduler that already runs, e.g. ``"tcp://host:8786"``.

    Raises:
        ValueError: if the folder holds another data set, or workers < 1.
        RuntimeError: if the synthesizer killed its process again and again on one file.
        ImportError, PluginError: if it is not installed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    folder = Path(folder)
    every = jobs(config)
    missing = [job for job in every if not job.path(folder).exists()]
    if missing:
        synthesizer_of(config.parameters).needed()
    claim(folder, config)
    for leftover in folder.glob(".*.part.h5"):  # of a run that was killed
        leftover.unlink()
    rendered = sum(_rendered(missing, folder, workers, scheduler)) if missing else 0
    replace_text(folder / "statistics.json", json.dumps(statistics(config, folder)))
    return rendered


def _rendered(
    missing: list[Job], folder: Path, workers: int, scheduler: str | None
) -> Iterator[int]:
    """The number of notes of each file, once it is ready."""
    from tqdm import tqdm

    distributed = need("distributed")
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            options = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.ERROR}
            scheduler = stack.enter_context(
                distributed.LocalCluster(n_workers=workers, threads_per_worker=1, **options)
            )
        client = stack.enter_context(distributed.Client(scheduler))
        options = {"pure": False, "retries": 1}
        where = str(folder.resolve())
        futures = [client.submit(render_job, job, where, **options) for job in missing]
        progress = stack.enter_context(
            tqdm(total=sum(job.stop - job.start for job in missing), unit=" notes")
        )
        for future in distributed.as_completed(futures):
            try:
                n = future.result()
            except distributed.scheduler.KilledWorker as error:
                raise RuntimeError(
                    f"the synthesizer ended its process again and again: {error}"
                ) from error
            progress.update(n)
            yield n


def render_set(
    *,
    config: Path | None = None,
    parameters: str | None = None,
    n: int | None = None,
    out: Path | None = None,
    workers: int = 2,
    scheduler: str | None = None,
) -> str:
    """`render` for a config file (or the defaults), changed by `parameters` and `n` for training.

    Returns a line that sums it up; `out` is the set's usual folder when None.
    """
    wanted = RenderConfig.from_file(config) if config else RenderConfig()
    changes = {"parameters": parameters, "n_train": n}
    wanted = replace(wanted, **{x: value for x, value in changes.items() if value is not None})
    folder = out or default_folder(wanted.parameters)
    rendered = render(wanted, folder, workers=workers, scheduler=scheduler)
    return f"{sum(map(wanted.count, SPLITS))} notes in {folder}; {rendered} rendered now"


def statistics(config: RenderConfig, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation of every mel band and every line over the training split."""
    paths = [job.path(folder) for job in jobs(config) if job.split == "train"]
    found = {}
    for name in ("mel", "lines"):
        total, squares, n = 0.0, 0.0, 0
        for path in paths:
            values = read_shard(path, (name,))[name].astype(np.float64)
            flat = np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])  # (frames, bands)
            total = total + flat.sum(0)
            squares = squares + np.square(flat).sum(0)
            n = n + len(flat)
        mean = total / n
        deviation = np.sqrt(np.maximum(squares / n - mean**2, 1e-6))
        found[name] = {"mean": mean.tolist(), "deviation": deviation.tolist()}
    return found


def read_statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """`statistics` of a rendered data set."""
    return json.loads((Path(folder) / "statistics.json").read_text())
