"""Recorded guitars and basses: their single notes played as phrases, and their phrases as they are.

The folder `train_audio` of the recordings holds them, with a table that names each note's pitch,
velocity and articulation. Instruments and players are split in `data/recorded_groups.json`.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from labkit.signal.files import read_audio
from labkit.signal.guitar import STANDARD_TUNING, add, release, semitones_of, warp
from labkit.signal.paths import data_dir, real_data_dir
from labkit.signal.pool import Clip, check_split
from labkit.signal.sources import BASS_TUNING, excerpt
from labkit.signal.strokes import Stroke, play

_FOLDER = "train_audio"
_LIMIT_BYTES = 400_000_000  # of recordings kept in memory, as 16 bits


@dataclass(frozen=True)
class _Take:
    """One recording: a note (`midi` is its pitch, in fractions) or a phrase (`midi` is 0)."""

    file: Path
    midi: float
    velocity: float  # 0..1, the middle of its layer
    muted: bool


class RecordedGuitars:
    """Clips of recorded instruments; a group is an instrument or a player, in one split only.

    Raises FileNotFoundError if the folder `train_audio` is not among the recordings.
    """

    kind = "recorded"

    def __init__(self, *, seconds: float = 2.5, sample_rate: int = 44_100) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        self.seconds, self.sample_rate = seconds, sample_rate
        self._takes = _takes(_folder())
        self._kept: dict[Path, np.ndarray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": {}}  # each process reads for itself

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        return [f"recorded/{group}" for group in recorded_groups(split)]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A phrase of a random group of the split."""
        groups = [group for group in recorded_groups(split) if group in self._takes]
        group = groups[int(rng.integers(len(groups)))]
        takes = self._takes[group]
        if takes[0].midi:
            audio = self._played(rng, takes)
        else:
            whole = self._read(takes[int(rng.integers(len(takes)))].file)
            audio = excerpt(rng, whole[None], round(self.seconds * self.sample_rate))
        return Clip(audio, self.sample_rate, f"recorded/{group}", self.kind)

    def _played(self, rng: np.random.Generator, takes: Sequence[_Take]) -> np.ndarray:
        """Drawn strokes, each string the nearest recorded note, (1, samples)."""
        pitches = np.array([take.midi for take in takes])
        tuning = BASS_TUNING if np.median(pitches) < 48 else STANDARD_TUNING
        mix = np.zeros(round(self.seconds * self.sample_rate), np.float32)
        release_seconds = float(rng.uniform(0.03, 0.15))
        for stroke in play(rng, None, self.seconds, tuning):
            for index, (string, fret) in enumerate(stroke.frets):
                delay = stroke.spread_seconds * index / max(len(stroke.frets) - 1, 1)
                midi = _within(tuning[string] + fret, pitches)
                take = _choose(rng, takes, midi, stroke)
                wave = self._note(take, midi - take.midi, stroke, release_seconds)
                wave = wave * np.float32(np.exp(rng.normal(0, 0.1)))
                add(mix, wave, round((stroke.onset_seconds + delay) * self.sample_rate))
        if not mix.any():  # every note was over before the clip began
            take = takes[int(rng.integers(len(takes)))]
            add(mix, self._read(take.file), 0)
        return mix[None]

    def _note(
        self, take: _Take, semitones: float, stroke: Stroke, release_seconds: float
    ) -> np.ndarray:
        """A note of the stroke's length, repitched, bent, shaken and damped at its end."""
        samples = round((stroke.duration_seconds + release_seconds) * self.sample_rate)
        wave = self._read(take.file)
        curve = semitones_of(stroke, samples, self.sample_rate, 0.0) + np.float32(semitones)
        wave = warp(wave, curve) if curve.any() else wave[:samples].copy()
        return wave * release(len(wave), self.sample_rate, stroke.duration_seconds, release_seconds)

    def _read(self, file: Path) -> np.ndarray:
        """A whole file as float32 (samples,)."""
        if file not in self._kept:
            if sum(audio.nbytes for audio in self._kept.values()) > _LIMIT_BYTES:
                self._kept.clear()
            audio, _ = read_audio(file, sample_rate=self.sample_rate, mono=True)
            self._kept[file] = np.round(audio[0] * 32767).astype(np.int16)
        return self._kept[file].astype(np.float32) / np.float32(32767)


def recorded_groups(split: str) -> list[str]:
    """The instruments and players of a split, fixed in `data/recorded_groups.json`."""
    table = (data_dir() / "recorded_groups.json").read_text(encoding="utf-8")
    return json.loads(table)[check_split(split)]


def recorded_notes(split: str, each: int) -> list[tuple[str, Path, float]]:
    """Group, file and key of `each` notes, or all, of every group, evenly in the order of keys."""
    found = []
    for group in recorded_groups(split):
        notes = [take for take in _takes(_folder()).get(group, ()) if take.midi]
        notes.sort(key=lambda take: (take.midi, take.file))
        places = np.linspace(0, len(notes) - 1, min(each, len(notes))).round().astype(int)
        found += [(group, notes[k].file, notes[k].midi) for k in places]
    return found


def _folder() -> Path:
    found = real_data_dir()
    if found is None or not (found / _FOLDER).is_dir():
        raise FileNotFoundError(
            f"no recorded guitars here: set LABKIT_REAL_DATA to a folder that holds {_FOLDER}"
        )
    return found / _FOLDER


@lru_cache
def _takes(folder: Path) -> dict[str, tuple[_Take, ...]]:
    """Group -> its recordings, without noises of handling."""
    found: dict[str, list[_Take]] = {}
    with open(folder / "MANIFEST.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "note" and not row["midi"]:
                continue
            midi = float(row["midi"] or 0) + float(row["cents"] or 0) / 100
            velocity = (float(row["vel_lo"] or 0) + float(row["vel_hi"] or 127)) / 254
            muted = row["articulation"] in ("muted", "staccato")
            take = _Take(folder / row["file"], midi, velocity, muted)
            found.setdefault(row["group"], []).append(take)
    return {group: tuple(takes) for group, takes in found.items()}


def _within(midi: float, pitches: np.ndarray) -> float:
    """The pitch, octaves up or down where that brings it nearer to what was recorded."""
    octaves = midi + 12.0 * np.arange(-4, 5)
    distance = np.abs(octaves[:, None] - pitches).min(1) // 2  # within two semitones all are alike
    return float(octaves[np.lexsort((np.abs(octaves - midi), distance))[0]])


def _choose(rng: np.random.Generator, takes: Sequence[_Take], midi: float, stroke: Stroke) -> _Take:
    """One of the takes that are nearest in pitch, then in muting, then in velocity."""

    def far(take: _Take) -> tuple[float, bool, float]:
        muted = take.muted != (stroke.mute > 0.3)
        return round(abs(take.midi - midi)), muted, round(abs(take.velocity - stroke.velocity), 1)

    nearest = min(map(far, takes))
    alike = [take for take in takes if far(take) == nearest]
    return alike[int(rng.integers(len(alike)))]
