"""Music and speech that Debian's packages bring: real sound for training, where it is installed.

Albums and voices are split in `data/packaged_groups.json`, which names the packages. Nothing of
them is kept in the repository.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from labkit.signal.files import resample, to_mono
from labkit.signal.optional import need
from labkit.signal.paths import data_dir
from labkit.signal.pool import Clip, check_split
from labkit.signal.sources import excerpt

_SHARE = Path("/usr/share")
# Prompts of a word or two are too short to hear a voice in; below this level all is silence.
_SHORTEST_SECONDS, _SILENT_RMS, _TRIES = 2.0, 0.003, 12


@dataclass(frozen=True)
class Group:
    """An album or a voice."""

    kind: str  # music or speech
    split: str
    package: str  # of Debian
    files: str  # a pattern below /usr/share

    def recordings(self) -> list[tuple[Path, ...]]:
        """The installed recordings of at least two seconds; stems in one folder are one."""
        stems: dict[Path, list[Path]] = {}
        for file in sorted(_SHARE.glob(self.files)):
            if _seconds(file) < _SHORTEST_SECONDS:
                continue
            together = file.parent if file.stem in ("guitar", "rhythm", "song") else file
            stems.setdefault(together, []).append(file)
        return [tuple(parts) for parts in stems.values()]


def groups() -> Mapping[str, Group]:
    """Every group by its name, installed or not."""
    table = json.loads((data_dir() / "packaged_groups.json").read_text(encoding="utf-8"))
    return {name: Group(**facts) for name, facts in table.items()}


class Packaged:
    """Clips of one kind, "music" or "speech"; a group is an album or a voice, in one split only.

    Raises FileNotFoundError, naming the packages, where a split is asked for that has none here.
    """

    kind = "packaged"

    def __init__(self, kind: str, *, seconds: float, sample_rate: int) -> None:
        self.seconds, self.sample_rate, self._kind = seconds, sample_rate, kind

    def groups(self, split: str) -> list[str]:
        """The source ids of a split that are installed."""
        return sorted({f"packaged/{name}" for name, _ in self._recordings(split)})

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """An excerpt of a random recording, not a silent one."""
        found = self._recordings(split)
        for _ in range(_TRIES):
            name, parts = found[int(rng.integers(len(found)))]
            audio = _excerpt(rng, parts, self.seconds, self.sample_rate)
            if np.sqrt(np.mean(audio**2)) > _SILENT_RMS:
                break
        return Clip(audio, self.sample_rate, f"packaged/{name}", self.kind)

    def _recordings(self, split: str) -> tuple[tuple[str, tuple[Path, ...]], ...]:
        found = _installed(self._kind, check_split(split))
        if not found:
            packages = {
                g.package for g in groups().values() if (g.kind, g.split) == (self._kind, split)
            }
            raise FileNotFoundError(
                f"no recorded {self._kind} for {split} here: apt-get install {' '.join(packages)}"
            )
        return found


@lru_cache
def _installed(kind: str, split: str) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    chosen = {n: g for n, g in groups().items() if (g.kind, g.split) == (kind, split)}
    return tuple((name, parts) for name, group in chosen.items() for parts in group.recordings())


@lru_cache(maxsize=4096)
def _seconds(file: Path) -> float:
    if file.suffix == ".g722":
        return file.stat().st_size / 8000
    return need("soundfile").info(file).duration


def _excerpt(
    rng: np.random.Generator, parts: tuple[Path, ...], seconds: float, sample_rate: int
) -> np.ndarray:
    """A random place of a recording, its stems added, (1, samples); only that much is read."""
    samples = round(seconds * sample_rate)
    if parts[0].suffix == ".g722":
        return excerpt(rng, resample(_decoded(parts[0]), 16_000, sample_rate), samples)
    start_seconds = float(rng.uniform(0, max(0.0, min(map(_seconds, parts)) - seconds - 0.1)))
    total = np.zeros((1, samples), np.float32)
    for file in parts:
        with need("soundfile").SoundFile(file) as sound:
            sound.seek(int(start_seconds * sound.samplerate))
            read = sound.read(round((seconds + 0.1) * sound.samplerate), "float32", always_2d=True)
            audio = resample(to_mono(read.T), sound.samplerate, sample_rate)[:, :samples]
        total[:, : audio.shape[1]] += audio
    return total


def _decoded(file: Path) -> np.ndarray:
    """A G.722 file, the telephone's codec at 16 kHz, by ffmpeg: (1, samples)."""
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "s16le", "-ac", "1", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.int16)[None].astype(np.float32) / np.float32(32768)
