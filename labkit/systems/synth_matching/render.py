"""Thousands of notes of a synthesizer with the patches that made them, by as many processes as there are."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.effects.synths.registry import Engine, synthesizer_of
from labkit.effects.synths.spec import SynthSpec
from labkit.effects.synths.vital import N_OSCILLATORS
from labkit.measure.loudness import loudness_lufs
from labkit.signal.optional import need
from labkit.signal.paths import replace_text
from labkit.signal.seeds import generator
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.schema import (
    SPLITS,
    Job,
    RenderConfig,
    Split,
    claim,
    columns,
    jobs,
    read_shard,
    write_shard,
)

_MOST_DRAWS = 50


@dataclass(frozen=True)
class Report:
    """What a rendering came to.

    Attributes:
        notes: in the data set now.
        redrawn_share: of all notes drawn, those that were too quiet and drawn again.
        seconds: wall-clock time of this run.
        rendered: notes of this run.
    """

    notes: int
    redrawn_share: float
    seconds: float
    rendered: int


def draw(
    config: RenderConfig, split: Split, index: int, attempt: int
) -> tuple[dict[str, float | str], np.ndarray]:
    """The patch of a note and where its oscillators start: a stream of its own for each split, note and attempt."""
    rng = generator(config.seed, "synth", config.parameters, split, index, attempt)
    return config.spec.draw(rng), rng.random(N_OSCILLATORS)


@cache
def _engine(parameters: str, oversampling: int) -> Engine:
    engine = synthesizer_of(parameters).engine
    return engine(parameters) if oversampling == 2 else engine(parameters, oversampling)


def render_job(job: Job, folder: str) -> int:
    """Render one file, in this process, from a fresh synthesizer: the same bytes every time. Returns its notes."""
    engine = _engine(job.config.parameters, job.config.oversampling)
    engine.restart()
    notes = [_note(job, engine, index) for index in range(job.start, job.stop)]
    rows = {
        name: np.stack([np.asarray(note[name]) for note in notes]) for name in columns(job.config)
    }
    write_shard(job.path(Path(folder)), job, rows)
    return len(notes)


def _note(job: Job, engine: Engine, index: int) -> dict[str, Any]:
    """The first draw that is loud enough."""
    config = job.config
    for attempt in range(_MOST_DRAWS):
        values, phases = draw(config, job.split, index, attempt)
        single = features.mono(engine.render(values, config.seconds, phases))
        loudness = loudness_lufs(single, features.SAMPLE_RATE)
        if loudness >= config.floor_lufs:
            heard = features.hear(single, loudness)
            row = {
                "parameters": config.spec.encode(values),
                "phases": phases,
                "index": index,
                "draws": attempt + 1,
            }
            return row | heard._asdict() | _sound(config, single)
    raise RuntimeError(
        f"{_MOST_DRAWS} patches in a row were below {config.floor_lufs} LUFS, at {job.split} {index}"
    )


def _sound(config: RenderConfig, single: np.ndarray) -> dict[str, np.ndarray]:
    if config.audio == "int16":
        return {"audio": np.round(np.clip(single[0], -1, 1) * 32767)}
    return {} if config.audio == "none" else {"audio": single[0]}


def render(
    config: RenderConfig,
    folder: str | Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    on_done: Callable[[int, int], None] | None = None,
) -> Report:
    """Render what of a data set is not there yet.

    Args:
        config: of the data set; the folder may hold a smaller one of the same config.
        folder: where the files go; every worker must reach it.
        workers: processes of a local cluster, >= 1.
        scheduler: address of a dask scheduler that is already there, e.g. ``"tcp://host:8786"``.
        on_done: called with the notes that are there and the notes wanted, after every file.

    Returns:
        What was done. `statistics.json` in the folder has mean and deviation of every mel band and line of the
        training split.

    Raises:
        ValueError: if the folder holds another data set, or workers < 1.
        RuntimeError: if the synthesizer killed its process three times on one file.
        ImportError, PluginError: if it is not installed.
    """
    folder = Path(folder)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    every = jobs(config)
    missing = [job for job in every if not job.path(folder).exists()]
    if missing:
        synthesizer_of(config.parameters).needed()
    claim(folder, config)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    there = wanted = sum(job.stop - job.start for job in every)
    there -= sum(job.stop - job.start for job in missing)
    started, rendered = time.perf_counter(), 0
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


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    distributed = need("distributed")
    if scheduler is not None:
        with distributed.Client(scheduler) as client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _done(client: Any, missing: list[Job], folder: str) -> Iterator[int]:
    """The notes of each file, as it gets ready."""
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
    """Mean and deviation of every mel band and every line over the training split, summed file by file."""
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


def split_patches(config: RenderConfig, n: int) -> dict[Split, list[bytes]]:
    """The first patches of every split as bytes, for the proof that the splits share none."""
    spec: SynthSpec = config.spec
    return {
        split: [spec.encode(draw(config, split, i, 0)[0]).tobytes() for i in range(n)]
        for split in SPLITS
    }
