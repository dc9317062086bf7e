"""Data sets of notes with the patches that made them: HDF5 files, written by dask."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labkit.effects.synths import vital
from labkit.effects.synths.registry import SETS, synthesizer_of
from labkit.effects.synths.spec import SynthSpec
from labkit.measure.loudness import loudness_lufs
from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, replace_text, replacing
from labkit.signal.seeds import generator
from labkit.systems.synth.model import (
    N_LINES,
    N_MELS,
    SAMPLE_RATE,
    mono,
    n_frames,
    note_features,
)

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
        audio: whether the sound itself is kept, and in which format.
        seed: of everything.
    """

    parameters: str = "vital_simple"
    seconds: float = 1.5
    n_train: int = 20_480
    n_validation: int = 512
    n_test: int = 512
    shard_size: int = 128
    floor_lufs: float = -55.0
    audio: Literal["none", "float16", "int16"] = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parameters not in SETS:
            raise ValueError(
                f"parameters must be one of {', '.join(SETS)}, got {self.parameters!r}"
            )
        if self.audio not in ("none", "float16", "int16"):
            raise ValueError(f"audio must be none, float16 or int16, got {self.audio!r}")
        for name in ("seconds", "n_train", "n_validation", "n_test", "shard_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def spec(self) -> SynthSpec:
        """The parameter set."""
        return SETS[self.parameters]

    def count(self, split: Split) -> int:
        """Notes of a split."""
        return {"train": self.n_train, "validation": self.n_validation, "test": self.n_test}[split]

    @staticmethod
    def from_file(path: Path) -> "RenderConfig":
        """From a JSON file with any of the fields. Raises ValueError for another field."""
        try:
            return RenderConfig(**json.loads(Path(path).read_text()))
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from error


def default_folder(parameters: str) -> Path:
    """Where the data set of a parameter set is kept unless a folder is named."""
    return cache_dir() / "synth" / parameters


@dataclass(frozen=True)
class Job:
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
    size, found = config.shard_size, []
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
        "phases": ((3,), "float32"),
        "index": ((), "int64"),
        "draws": ((), "int16"),
    }
    if config.audio != "none":
        found["audio"] = ((round(config.seconds * SAMPLE_RATE),), config.audio)
    return found


def write_shard(path: Path, job: Job, rows: Mapping[str, np.ndarray]) -> None:
    """Write a file of a data set; the same rows give the same bytes.

    Raises:
        ValueError: if a column has another shape than `columns` says.
    """
    with replacing(path) as temporary, need("h5py").File(temporary, "w") as file:
        file.attrs["config"] = json.dumps(_lasting(job.config), sort_keys=True)
        file.attrs["spec"] = job.config.spec.to_json()
        for name, (shape, kind) in columns(job.config).items():
            data, wanted = np.asarray(rows[name], dtype=kind), (job.stop - job.start, *shape)
            if data.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {data.shape}")
            # Not lzf: h5py does not clear its hash table, so it may encode equal rows differently.
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            chunks = (min(32, len(data)), *shape)
            file.create_dataset(name, data=data, chunks=chunks, **packing)
            # Beside other threads h5py closes a column late, and its chunk would lie elsewhere.
            file.flush()


def read_shard(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of a file."""
    with need("h5py").File(path, "r") as file:
        return {name: file[name][:] for name in names}


def claim(folder: Path, config: RenderConfig) -> None:
    """Mark a folder as a data set's; only the numbers of notes may differ from last time.

    Raises:
        ValueError: if it holds another data set.
    """
    path = Path(folder) / "config.json"
    if path.exists() and _lasting(RenderConfig.from_file(path)) != _lasting(config):
        raise ValueError(f"{folder} holds a data set of another config; give another folder")
    replace_text(path, json.dumps(asdict(config), indent=1))


def _lasting(config: RenderConfig) -> dict:
    """The settings on which a file's content depends."""
    return asdict(replace(config, n_train=1, n_validation=1, n_test=1))


_READ = ("parameters", "mel", "lines", "loudness_lufs", "phases", "index")


@dataclass(frozen=True)
class Notes:
    """A split in memory: arrays as in `columns`, one row a note."""

    parameters: np.ndarray
    mel: np.ndarray
    lines: np.ndarray
    loudness_lufs: np.ndarray
    phases: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


def read_notes(folder: Path, split: Split, *, n: int | None = None) -> Notes:
    """The first `n` notes of a split, or all.

    Raises:
        ValueError: if the folder holds no data set, or fewer notes.
    """
    folder, advice = Path(folder), "`labkit data render-synth`"
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
    parts = [read_shard(path, _READ) for path in paths]
    return Notes(
        **{name: np.concatenate([part[name] for part in parts])[:wanted] for name in _READ}
    )


def draw(
    config: RenderConfig, split: Split, index: int, attempt: int
) -> tuple[dict[str, float | str], np.ndarray]:
    """A patch and its oscillators' start phases, from a random stream of its own."""
    rng = generator(config.seed, "synth", config.parameters, split, index, attempt)
    return config.spec.draw(rng), rng.random(vital.N_OSCILLATORS)


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
            row = {"parameters": config.spec.encode(values), "phases": phases, "index": index}
            row |= {"draws": attempt + 1, **note_features(single, loudness)._asdict()}
            whole = config.audio == "int16"
            row["audio"] = np.round(np.clip(single[0], -1, 1) * 32767) if whole else single[0]
            return row
    raise RuntimeError(
        f"{_MOST_DRAWS} patches in a row were below {config.floor_lufs} LUFS, "
        f"at {job.split} {index}"
    )


@dataclass(frozen=True)
class Report:
    """The result of a rendering.

    Attributes:
        notes: in the data set now.
        redrawn_share: of all patches drawn, those that were too quiet.
        seconds: wall-clock time of this run.
        rendered: notes of this run.
    """

    notes: int
    redrawn_share: float
    seconds: float
    rendered: int


def render(
    config: RenderConfig,
    folder: str | Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    on_done: Callable[[int, int], None] | None = None,
) -> Report:
    """Render what is missing of a data set.

    Args:
        config: of the data set; the folder may hold a smaller one.
        folder: of the files; every worker must reach it.
        workers: processes of a local cluster, >= 1.
        scheduler: address of a dask scheduler that already runs, e.g. ``"tcp://host:8786"``.
        on_done: called with the notes done and the notes wanted, after every file.

    Returns:
        What was done. `statistics.json` in the folder gets mean and deviation of every mel band and
        line of the training split.

    Raises:
        ValueError: if the folder holds another data set, or workers < 1.
        RuntimeError: if the synthesizer killed its process three times on one file.
        ImportError, PluginError: if the synthesizer is not installed.
    """
    folder, started = Path(folder), time.perf_counter()
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    every = jobs(config)
    missing = [job for job in every if not job.path(folder).exists()]
    if missing:
        synthesizer_of(config.parameters).needed()
    claim(folder, config)
    for leftover in folder.glob(".*.part.h5"):  # of a run that was killed
        leftover.unlink()
    wanted = sum(job.stop - job.start for job in every)
    there = wanted - sum(job.stop - job.start for job in missing)
    rendered = 0
    if missing:
        with _client(workers, scheduler) as client:
            for n in _done(client, missing, str(folder.resolve())):
                rendered += n
                if on_done:
                    on_done(there + rendered, wanted)
    seconds = time.perf_counter() - started
    replace_text(folder / "statistics.json", json.dumps(statistics(config, folder)))
    draws = np.concatenate([read_shard(job.path(folder), ("draws",))["draws"] for job in every])
    return Report(wanted, float(1 - len(draws) / draws.sum()), seconds, rendered)


def render_with_progress(
    *,
    config: Path | None = None,
    parameters: str | None = None,
    n: int | None = None,
    out: Path | None = None,
    workers: int = 2,
    scheduler: str | None = None,
) -> str:
    """Render a synthesizer's notes for training, or continue; returns a line that sums it up.

    Args:
        config: JSON file with settings of `RenderConfig`; its defaults when None.
        parameters: the parameter set, instead of the file's.
        n: notes of the training split, instead of the file's.
        out: folder of the data set; the set's usual one when None.
        workers: processes on this machine.
        scheduler: address of a dask scheduler that already runs, instead.

    Raises:
        ValueError, RuntimeError, ImportError, PluginError: as `render`.
    """
    from tqdm import tqdm

    wanted = RenderConfig.from_file(config) if config else RenderConfig()
    wanted = replace(
        wanted, parameters=parameters or wanted.parameters, n_train=n or wanted.n_train
    )
    folder = out or default_folder(wanted.parameters)
    with tqdm(unit=" notes") as bar:

        def show(there: int, total: int) -> None:
            bar.total = total
            bar.update(there - bar.n)

        report = render(wanted, folder, workers=workers, scheduler=scheduler, on_done=show)
    rate = f", {report.rendered / report.seconds:.1f} a second" if report.rendered else ""
    return (
        f"{report.notes} notes in {folder}; {report.rendered} rendered now{rate}; "
        f"{report.redrawn_share:.1%} redrawn"
    )


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    distributed = need("distributed")
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            scheduler = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.ERROR,
                )
            )
        yield stack.enter_context(distributed.Client(scheduler))


def _done(client: Any, missing: list[Job], folder: str) -> Iterator[int]:
    """The number of notes of each file, once it is ready."""
    distributed = need("distributed")
    futures = [client.submit(render_job, job, folder, pure=False, retries=1) for job in missing]
    for future in distributed.as_completed(futures):
        try:
            yield future.result()
        except distributed.scheduler.KilledWorker as error:
            raise RuntimeError(
                f"the synthesizer ended its process again and again: {error}"
            ) from error


def statistics(config: RenderConfig, folder: Path) -> dict[str, Any]:
    """Mean and deviation of every mel band and every line over the training split."""
    sums = {name: [0.0, 0.0, 0] for name in ("mel", "lines")}
    for job in jobs(config):
        if job.split != "train":
            continue
        for name, rows in read_shard(job.path(folder), ("mel", "lines")).items():
            flat = np.moveaxis(rows.astype(np.float64), 1, -1).reshape(-1, rows.shape[1])
            for k, part in enumerate((flat.sum(0), np.square(flat).sum(0), len(flat))):
                sums[name][k] = sums[name][k] + part
    return {name: _moments(*found) for name, found in sums.items()}


def _moments(total: np.ndarray, squares: np.ndarray, n: int) -> dict[str, list[float]]:
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 1e-6))
    return {"mean": mean.tolist(), "deviation": deviation.tolist()}


def read_statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """`statistics` of a rendered data set."""
    return json.loads((Path(folder) / "statistics.json").read_text())
