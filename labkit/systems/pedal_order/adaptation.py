"""What a player's own wet recordings are worth without labels: the network before and after, on files it never met.

The real recordings are split in two by file. Those of the first half, each eight seconds through a chain that is kept
from the network, play the user's archive; the second half is examined, two seconds at a time. Beside it stand as many
steps on rendered chains alone, and the same archive with its chains told.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from labkit.effects.chain import Chain
from labkit.measure.score import Row
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, recordings
from labkit.systems.pedal_order.baselines import canonical_names
from labkit.systems.pedal_order.checkpoint import load, shipped_path
from labkit.systems.pedal_order.config import PROTOCOLS, Config, Protocol
from labkit.systems.pedal_order.data import render, seen
from labkit.systems.pedal_order.examination import REAL_FOLDERS, EvaluationSet
from labkit.systems.pedal_order.train import train
from labkit.systems.pedal_order.unlabelled import SURE, Heard, heard
from labkit.systems.pedal_order.variants import chain_rows

_ARCHIVE_SECONDS = 8.0
_RENDERED = 2400


def half(config: Config, k: int, n: int, seconds: float, seed: int) -> list[Clip]:
    """`n` dry clips from one half of the real recordings' files, `k` 0 or 1: every other file, by name.

    Raises:
        FileNotFoundError: if there are no real recordings here, or a single file.
    """
    sizes = {"seconds": seconds + config.preroll_seconds, "sample_rate": config.sample_rate}
    mixture, rng = recordings(REAL_FOLDERS, **sizes), generator(seed, "halves", round(seconds))
    files = sorted(group for source in mixture.sources for group in source.groups("test"))
    if len(files) < 2:
        raise FileNotFoundError(
            f"two real recordings or more are needed, one for each half, got {len(files)}"
        )
    wanted, found = set(files[k::2]), []
    while len(found) < n:
        clip = mixture.clip(rng, "test")
        if clip.source_id in wanted:
            found.append(clip)
    return found


def archive(
    config: Config, protocol: Protocol, clips: list[Clip], seed: int
) -> list[tuple[np.ndarray, Chain]]:
    """Each clip through a random chain: the sound (1, samples), and the chain."""
    long, made = replace(config, seconds=_ARCHIVE_SECONDS), []
    for i, clip in enumerate(clips):
        example = render(
            long, clip, protocol, generator(seed, "archive", protocol.name, i), training=False
        )
        made.append((example.wet, example.chain))
    return made


def evaluate_adaptation(
    run_dir: Path,
    *,
    steps: int = 300,
    start: Path | None = None,
    protocol: str = "three",
    n: int = 200,
    n_recordings: int = 120,
    kinds: tuple[str, ...] = ("generated", "sampled"),
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train on an archive without labels, on none, and on one with labels, and examine all on other files.

    Args:
        run_dir: a folder for each run lies in it; a run that was stopped goes on.
        steps: optimiser steps of each run.
        start: the checkpoint that all begin from; the shipped one when None.
        protocol: of the archive and the examination.
        n: clips of the examination.
        n_recordings: of the archive.
        kinds: dry sources of the rendered chains.
        seed: of archive and examination; training's is the config's.
        say: told about progress.

    Returns:
        Exact chains and right sets of each; the share of the archive that is learnt from, and how often it is right.

    Raises:
        ValueError, FloatingPointError, AudioError: as `train`.
        FileNotFoundError: if there are no real recordings here.
    """
    start = start or shipped_path()
    model, chains = load(start), PROTOCOLS[protocol]
    config = replace(
        model.config, steps=steps, learning_rate=1e-4, n_examples=_RENDERED, warmup_steps=30
    )
    wets = archive(config, chains, half(config, 0, n_recordings, _ARCHIVE_SECONDS, seed), seed)
    guessed = heard(model, [(wet, config.sample_rate) for wet, _ in wets], shelf=chains.pedals)
    told = [
        replace(one, chain=chain, probability=1.0)
        for one, (_, chain) in zip(guessed, wets, strict=True)
    ]
    tests = _examination(config, chains, half(config, 1, n, config.seconds, seed), seed)
    task = f"{chains.name}, two seconds of files beside the archive"
    rows = _guess_rows(guessed, told, seed, task)
    runs: dict[str, list[Heard] | None] = {
        "as it ships": None,
        "rendered chains alone": [],
        "own": guessed,
        "own, told": told,
    }
    names = {
        "own": f"{n_recordings} recordings guessed",
        "own, told": f"{n_recordings} recordings told",
    }
    for key, beside in runs.items():
        started, name = time.perf_counter(), names.get(key, key)
        if beside is not None:
            folder = run_dir / key.replace(", ", "-").replace(" ", "_")
            model = train(config, folder, kinds=kinds, start=start, recordings=beside)
        found = chain_rows(model, tests, task=task, name=name, seed=seed)
        rows += [replace(row, seconds=time.perf_counter() - started) for row in found]
        say(f"{name}: " + ", ".join(f"{row.metric} {row.ours:.3f}" for row in found))
    return rows


def _examination(config: Config, protocol: Protocol, clips: list[Clip], seed: int) -> EvaluationSet:
    made = [
        render(
            config, clip, protocol, generator(seed, "adaptation", protocol.name, i), training=False
        )
        for i, clip in enumerate(clips)
    ]
    return EvaluationSet(
        protocol, "real", made, torch.stack([seen(example, config) for example in made])
    )


def _guess_rows(guessed: list[Heard], told: list[Heard], seed: int, protocol: str) -> list[Row]:
    sure = [one.probability >= SURE for one in guessed]
    right = [
        canonical_names(one.chain.names) == canonical_names(true.chain.names)
        for one, true, kept in zip(guessed, told, sure, strict=True)
        if kept
    ]
    facts = {
        "protocol": protocol,
        "name": "archive",
        "sources": "real",
        "unit": "",
        "low": None,
        "high": None,
    }
    facts |= {"seed": seed}
    shares = {"learnt from": sure, "of these guessed right": right}
    return [
        Row(metric=key, ours=float(np.mean(one)), n=len(one), **facts)
        for key, one in shares.items()
        if one
    ]
