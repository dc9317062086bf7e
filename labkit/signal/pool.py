"""Dry clips: what a clip and a source are; clips by number, stored on disk or made when asked."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from labkit.signal.files import AudioFileError
from labkit.signal.paths import cache_dir, replacing
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude

SPLITS = ("train", "validation", "test")
_PEAK = db_to_amplitude(-1.0)  # of stored clips, so that 16 bits are well used
# Guitars of fresh clips: nearly one a clip. Their seed is not that of the pools, so that they do
# not meet the pools' validation and test guitars. Sampled programs are split by themselves.
_FRESH_GUITARS = (200_000, 200, 400)


@dataclass(frozen=True)
class Clip:
    """A piece of dry audio and where it comes from."""

    audio: np.ndarray  # float32 (1, samples), full scale 1
    sample_rate: int
    source_id: str  # its group, unique over all sources
    kind: str  # "generated", "sampled" or "real"


class Source(Protocol):
    """What everything that makes examples needs of a source of dry audio.

    A source has groups (a guitar, a program's phrase, a recording), and each group is in one split
    only, so that a model is never tested on a string that it was trained on.
    """

    kind: str
    seconds: float
    sample_rate: int

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A random clip of `seconds` from the groups of `split`."""
        ...

    def groups(self, split: str) -> list[str]:
        """The source ids that belong to `split`."""
        ...


def check_split(split: str) -> str:
    """The split, or a ValueError that lists the three there are."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split


def ranges_of_splits(counts: tuple[int, int, int]) -> dict[str, range]:
    """Consecutive numbers for train, validation and test."""
    edges = np.cumsum((0, *counts)).tolist()
    return {split: range(*edges[i : i + 2]) for i, split in enumerate(SPLITS)}


class FreshClips:
    """Clips by number, rendered when asked for and never stored.

    Clip `i` depends on the seed, the split and `i` alone.
    """

    def __init__(self, source: Source, split: str, seed: int) -> None:
        self.source, self.split, self.seed = source, check_split(split), seed

    def __len__(self) -> int:
        return 2**31 - 1

    def clip(self, index: int) -> Clip:
        """Clip `index`, as loud as the source makes it."""
        return self.source.clip(generator(self.seed, "fresh", self.split, index), self.split)


class DryPool:
    """Clips by number from the file of `build_pool`, mapped into memory in each process anew.

    An AudioFileError refuses a file without its .json manifest, or of another size than it says.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._clips: np.ndarray | None = None
        try:
            self.manifest = json.loads(self.path.with_suffix(".json").read_text())
            self.plan = self.manifest["plan"]
            expected = (self.plan["n"], self.plan["samples"])
            found = np.load(self.path, mmap_mode="r").shape
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise AudioFileError(
                f"{path}: a pool of clips and its .json manifest were expected ({error})"
            ) from error
        if found != expected:
            raise AudioFileError(f"{path}: the manifest promises shape {expected}, found {found}")
        self.sample_rate: int = self.plan["sample_rate"]

    def __len__(self) -> int:
        return self.plan["n"]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_clips": None}  # a map of memory belongs to one process

    def clip(self, index: int) -> Clip:
        """Clip `index`, peak -1 dBFS, or an IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, got {index}")
        if self._clips is None:
            self._clips = np.load(self.path, mmap_mode="r")
        audio = self._clips[index][None].astype(np.float32) / np.float32(32767)
        names = (self.manifest[key][index] for key in ("source_ids", "kinds"))
        return Clip(audio, self.sample_rate, *names)


def build_pool(path: str | os.PathLike, source: Source, split: str, n: int, seed: int) -> DryPool:
    """Render `n` clips into a .npy file as 16-bit samples, unless they are there already.

    Clip `i` comes from its own random stream. A ValueError refuses bad arguments, and a file that
    was built from others.
    """
    path = Path(path)
    if path.suffix != ".npy" or n < 1:
        raise ValueError(f"path must end in .npy and n be at least 1, got {path.name} and {n}")
    samples = round(source.seconds * source.sample_rate)
    plan = {"source": source.kind, "split": check_split(split), "n": n, "seed": seed}
    plan |= {"samples": samples, "sample_rate": source.sample_rate}
    if path.exists():
        pool = DryPool(path)
        if pool.plan != plan:
            raise ValueError(f"{path} was built with {pool.plan}, asked for {plan}: delete it")
        return pool
    manifest = {"plan": plan, "source_ids": [], "kinds": []}
    # The clips are renamed last, so that a pool is there only when all of it is.
    with replacing(path) as part, replacing(path.with_suffix(".json")) as facts:
        clips = np.lib.format.open_memmap(part, "w+", np.int16, (n, samples))
        for index in range(n):
            clip = source.clip(generator(seed, "pool", split, index), split)
            peak = float(np.abs(clip.audio).max())
            gain = _PEAK * 32767 / peak if peak > 1e-6 else 0.0
            clips[index] = np.round(clip.audio[0] * gain).astype(np.int16)
            manifest["source_ids"].append(clip.source_id)
            manifest["kinds"].append(clip.kind)
        clips.flush()
        facts.write_text(json.dumps(manifest))
    return DryPool(path)


def dry_pool(
    kind: str, split: str, n: int, *, seconds: float, sample_rate: int, seed: int
) -> DryPool | FreshClips:
    """`n` dry clips in a pool in the cache, built when needed, or for `n` = 0 fresh clips.

    `kind` is ``"generated"``, or ``"sampled"``, which needs a soundfont.
    """
    from labkit.signal.sources import GeneratedGuitars, Sampled

    make = {"generated": GeneratedGuitars, "sampled": Sampled}[kind]
    if n == 0:
        own = {"seed": seed + 1, "counts": _FRESH_GUITARS} if kind == "generated" else {}
        return FreshClips(make(seconds=seconds, sample_rate=sample_rate, **own), split, seed)
    name = f"{kind}-{split}-{n}x{round(seconds * sample_rate)}-{sample_rate}-seed{seed}.npy"
    source = make(seconds=seconds, sample_rate=sample_rate)
    return build_pool(cache_dir() / "pools" / name, source, split, n, seed)
