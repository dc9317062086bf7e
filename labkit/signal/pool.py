"""Dry clips: what a clip and a source are, and clips by number."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude

SPLITS = ("train", "validation", "test")
_PEAK = db_to_amplitude(-1.0)  # of a pool's clips, so that 16 bits are well used
_KEPT_BYTES = 200_000_000
# Guitars of fresh clips: nearly one a clip. Their seed is not that of the pools, so that they are
# no guitars of the pools' validation and test. Sampled programs are split by themselves.
_FRESH_GUITARS = (200_000, 200, 400)


@dataclass(frozen=True)
class Clip:
    """A piece of dry audio and where it comes from."""

    audio: np.ndarray  # float32 (1, samples), full scale 1
    sample_rate: int
    source_id: str  # its group, unique over all sources
    kind: str  # "generated", "sampled" or "real"


class Source(Protocol):
    """Dry audio in groups (a guitar, a program's phrase, a recording), each in one split only."""

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
    """Clips by number, never stored: clip `i` depends on the seed, the split and `i` alone."""

    def __init__(self, source: Source, split: str, seed: int) -> None:
        self.source, self.split, self.seed = source, check_split(split), seed

    def __len__(self) -> int:
        return 2**31 - 1

    def clip(self, index: int) -> Clip:
        """Clip `index`, as loud as the source makes it."""
        return self.source.clip(generator(self.seed, "fresh", self.split, index), self.split)


class DryPool:
    """`n` clips by number at a peak of -1 dBFS and 16 bits; each process keeps 200 MB of them."""

    def __init__(self, source: Source, split: str, n: int, seed: int) -> None:
        self.source, self.split, self.n, self.seed = source, check_split(split), n, seed
        self._kept: dict[int, Clip] = {}

    def __len__(self) -> int:
        return self.n

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": {}}

    def clip(self, index: int) -> Clip:
        """Clip `index`, from 0 to `n` - 1."""
        clip = self._kept.get(index) or self._render(index)
        if len(self._kept) * clip.audio.nbytes < _KEPT_BYTES:
            self._kept[index] = clip
        return replace(clip, audio=clip.audio.astype(np.float32) / np.float32(32767))

    def _render(self, index: int) -> Clip:
        """A clip whose samples are 16-bit integers."""
        rng = generator(self.seed, "pool", self.split, index)
        clip = self.source.clip(rng, self.split)
        peak = float(np.abs(clip.audio).max())
        gain = _PEAK * 32767 / peak if peak > 1e-6 else 0.0
        return replace(clip, audio=np.round(clip.audio * gain).astype(np.int16))


def dry_pool(
    kind: str, split: str, n: int, *, seconds: float, sample_rate: int, seed: int
) -> DryPool | FreshClips:
    """`n` dry "generated", "sampled" or "recorded" clips; for `n` = 0, always fresh ones."""
    from labkit.signal.recorded import RecordedGuitars
    from labkit.signal.sampled import Sampled
    from labkit.signal.sources import GeneratedGuitars

    make = {"generated": GeneratedGuitars, "sampled": Sampled, "recorded": RecordedGuitars}[kind]
    if n == 0:
        own = {"seed": seed + 1, "counts": _FRESH_GUITARS} if kind == "generated" else {}
        return FreshClips(make(seconds=seconds, sample_rate=sample_rate, **own), split, seed)
    return DryPool(make(seconds=seconds, sample_rate=sample_rate), split, n, seed)
