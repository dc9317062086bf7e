"""Dry clips by number: a pool on disk, made once and read at the speed of memory, or fresh ones made when asked."""

import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from labkit.signal.files import AudioFileError
from labkit.signal.paths import cache_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import (
    Clip,
    GeneratedGuitars,
    Sampled,
    SingleNotes,
    Source,
    SplicedNotes,
    check_split,
)

_PEAK = 10 ** (-1 / 20)  # clips are stored at a peak of -1 dBFS, so that 16 bits are well used
_LIBRARIES = ("labkit", "numpy", "scipy", "soxr", "soundfile", "pyfluidsynth")


@dataclass(frozen=True)
class _Plan:
    """What a pool is made of: a resumed build must be told the same."""

    source: str
    split: str
    n: int
    seed: int
    samples: int
    sample_rate: int


def build_pool(
    path: str | os.PathLike,
    source: Source,
    split: str,
    n: int,
    seed: int,
    *,
    seconds: float | None = None,
    sample_rate: int | None = None,
) -> "DryPool":
    """Render clips into one file; a killed build goes on where it stopped, a finished one is only opened.

    Clip `i` comes from its own random stream, so the pool does not depend on how often it was interrupted.

    Args:
        path: ends in .npy; the manifest lies beside it as .json.
        source: where the clips come from.
        split: "train", "validation" or "test".
        n: how many clips, >= 1.
        seed: the seed of the draws.
        seconds: must be the source's clip length where given.
        sample_rate: must be the source's rate where given.

    Returns:
        The pool, opened.

    Raises:
        ValueError: bad arguments, or a file there that was built from others.
        AudioFileError: a damaged pool at `path`.
    """
    path = Path(path)
    if path.suffix != ".npy" or n < 1:
        raise ValueError(f"path must end in .npy and n be at least 1, got {path.name} and {n}")
    for name, wanted in (("seconds", seconds), ("sample_rate", sample_rate)):
        if wanted not in (None, getattr(source, name)):
            raise ValueError(
                f"{name} is {wanted}, and the source makes clips with {getattr(source, name)}"
            )
    samples = round(source.seconds * source.sample_rate)
    plan = _Plan(source.kind, check_split(split), n, seed, samples, source.sample_rate)
    if path.exists():
        pool = DryPool.open(path)
        _same_plan(pool.manifest["plan"], plan, path)
        return pool
    path.parent.mkdir(parents=True, exist_ok=True)
    _render(path, source, plan)
    return DryPool.open(path)


SOURCES: dict[str, type[Source]] = {
    source.kind: source for source in (GeneratedGuitars, Sampled, SingleNotes, SplicedNotes)
}
# Guitars of fresh clips: nearly one a clip. Their seed is not that of the pools, whose validation and test guitars
# they must not meet. Sampled programs are split by themselves.
_FRESH_GUITARS = (200_000, 200, 400)


def dry_pool(
    kind: str, split: str, n: int, *, seconds: float, sample_rate: int, seed: int
) -> "DryPool | FreshClips":
    """Dry clips: a pool in the cache, built when it is not there yet, or with `n` 0 a fresh clip at every number.

    Args:
        kind: ``"generated"``, ``"notes"``, ``"spliced"``, or ``"sampled"`` (needs a soundfont).
        split: "train", "validation" or "test".
        n: clips, or 0.
        seconds: length of a clip, > 0.
        sample_rate: Hz.
        seed: of the draws.

    Returns:
        The clips by number.

    Raises:
        ValueError: as `build_pool`.
        KeyError: for another kind.
    """
    sizes = {"seconds": seconds, "sample_rate": sample_rate}
    if n == 0:
        own = {} if kind == "sampled" else {"seed": seed + 1, "guitars": _FRESH_GUITARS}
        return FreshClips(SOURCES[kind](**sizes, **own), split, seed)
    return kept_pool(SOURCES[kind](**sizes), split, n, seed)


def kept_pool(source: Source, split: str, n: int, seed: int) -> "DryPool":
    """`build_pool` in the cache, under a name that says what it holds. Arguments and errors as there."""
    samples = round(source.seconds * source.sample_rate)
    name = f"{source.kind}-{split}-{n}x{samples}-{source.sample_rate}-seed{seed}.npy"
    return build_pool(cache_dir() / "pools" / name, source, split, n, seed)


def _same_plan(found: dict, plan: _Plan, path: Path) -> None:
    if found != asdict(plan):
        raise ValueError(
            f"{path} was built with {found}, asked for {asdict(plan)}: delete it, or take another path"
        )


def _render(path: Path, source: Source, plan: _Plan) -> None:
    part, log = path.with_suffix(".part.npy"), path.with_suffix(".part.jsonl")
    done = _resume(part, log, plan)
    shape = (plan.n, plan.samples)
    clips = np.lib.format.open_memmap(
        part, "r+" if done else "w+", None if done else np.int16, None if done else shape
    )
    if not done:
        log.write_text(json.dumps(asdict(plan)) + "\n")
    with open(log, "a") as lines:
        for index in range(len(done), plan.n):
            clip = source.clip(generator(plan.seed, "pool", plan.split, index), plan.split)
            clips[index] = _quantise(clip.audio)
            lines.write(json.dumps([clip.source_id, clip.kind]) + "\n")
            lines.flush()
            done.append([clip.source_id, clip.kind])
    clips.flush()
    del clips
    manifest = {
        "plan": asdict(plan),
        "sha256": _sha256(part),
        "source_ids": [source_id for source_id, _ in done],
        "kinds": [kind for _, kind in done],
        "libraries": _versions(),
    }
    temporary = path.with_suffix(".part.json")
    temporary.write_text(json.dumps(manifest))
    os.replace(temporary, path.with_suffix(".json"))
    os.replace(part, path)  # last, so that a pool is there only when all of it is
    log.unlink()


def _resume(part: Path, log: Path, plan: _Plan) -> list[list[str]]:
    """The clips that an interrupted build has already written: the complete lines of its log."""
    if not (part.exists() and log.exists()):
        return []
    lines = log.read_text().split("\n")[:-1]
    if not lines:
        return []
    _same_plan(json.loads(lines[0]), plan, part)
    log.write_text("\n".join(lines) + "\n")
    return [json.loads(line) for line in lines[1:]]


def _quantise(audio: np.ndarray) -> np.ndarray:
    peak = float(np.abs(audio).max())
    gain = _PEAK * 32767 / peak if peak > 1e-6 else 0.0
    return np.round(audio[0] * gain).astype(np.int16)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions()}
    return {name: found[name] for name in _LIBRARIES if name in found}


class FreshClips:
    """Clips by number like a `DryPool`, but rendered when asked for and never stored: no two examples share one.

    Args:
        source: where the clips come from.
        split: "train", "validation" or "test".
        seed: clip `i` depends on it, the split and `i` alone.
    """

    def __init__(self, source: Source, split: str, seed: int) -> None:
        self.source, self.split, self.seed = source, check_split(split), seed

    def __len__(self) -> int:
        return 2**31 - 1

    def clip(self, index: int) -> Clip:
        """Clip `index`, 0 to `len(self)` - 1, as loud as the source makes it."""
        return self.source.clip(generator(self.seed, "fresh", self.split, index), self.split)


class DryPool:
    """Dry clips in a file, read without loading it: `pool.clip(i)`, `len(pool)`, and the manifest.

    Args:
        path: the .npy file of `build_pool`.
        manifest: its manifest.

    Attributes:
        manifest: plan, sha256, source_ids, kinds and library versions.
        sample_rate: Hz.
    """

    def __init__(self, path: Path, manifest: dict) -> None:
        self.path, self.manifest = path, manifest
        self.sample_rate: int = manifest["plan"]["sample_rate"]
        self._clips: np.ndarray | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> "DryPool":
        """The pool at `path`.

        Args:
            path: the .npy file.

        Returns:
            The pool; its file is mapped into memory at the first clip, in each process anew.

        Raises:
            AudioFileError: no pool there, no manifest, or a size that does not fit the manifest.
        """
        path = Path(path)
        try:
            manifest = json.loads(path.with_suffix(".json").read_text())
            plan = manifest["plan"]
            shape = np.load(path, mmap_mode="r").shape
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise AudioFileError(
                f"{path}: a pool of clips and its .json manifest were expected ({error})"
            ) from error
        if shape != (plan["n"], plan["samples"]) or len(manifest["source_ids"]) != plan["n"]:
            raise AudioFileError(
                f"{path}: the manifest promises {plan['n']} clips of {plan['samples']}, found {shape}"
            )
        return cls(path, manifest)

    def __len__(self) -> int:
        return self.manifest["plan"]["n"]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_clips": None}  # a map of memory belongs to one process

    def clip(self, index: int) -> Clip:
        """Clip `index`, 0 to `len(pool)` - 1: float32 `(1, samples)`, peak -1 dBFS.

        Raises:
            IndexError: if there is no such clip.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, got {index}")
        if self._clips is None:
            self._clips = np.load(self.path, mmap_mode="r")
        audio = self._clips[index][None].astype(np.float32) / np.float32(32767)
        return Clip(
            audio,
            self.sample_rate,
            self.manifest["source_ids"][index],
            self.manifest["kinds"][index],
        )

    def verify(self) -> None:
        """Compare the file with the hash in its manifest.

        Raises:
            AudioFileError: if they differ.
        """
        if _sha256(self.path) != self.manifest["sha256"]:
            raise AudioFileError(
                f"{self.path}: its sha256 is not the manifest's: delete it and build it again"
            )
