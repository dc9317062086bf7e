"""Sources of dry audio: shipped phrases, generated guitars and mixes, folders, and mixtures."""

import csv
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import signal

from labkit.signal.files import AudioError, AudioFileError, read_audio
from labkit.signal.guitar import GuitarModel, phrase
from labkit.signal.paths import data_dir, read_text, real_data_dir
from labkit.signal.pool import SPLITS, Clip, Source, check_split, ranges_of_splits
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

# Phrases that `tools/phrases.py` renders; "riff" is the one that travels through all notebooks.
_RENDERED = ("riff", "strum", "line", "arpeggio", "generated_chords", "generated_line")
# Recordings of real players, with licences in the folder's README. Nothing is trained on them.
TAKES = ("take_plucks", "take_jazz", "take_rock")

_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}
BASS_TUNING = (28, 33, 38, 43, 47, 52)  # MIDI numbers of the strings: a guitar's, an octave down
_MIX_DBFS = -20.0


class Generated:
    """Numbered groups (guitars, bands, voices); `counts` are those of the three splits."""

    kind = "generated"
    prefix = ""  # of the source ids

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        counts: tuple[int, int, int] = (4_000, 200, 400),
    ) -> None:
        if not seconds > 0 or min(counts) < 1:
            raise ValueError(f"seconds and counts must be above 0, got {seconds} and {counts}")
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate
        self._indices = ranges_of_splits(counts)

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        return [self._id(index) for index in self._indices[check_split(split)]]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A clip of a random group of the split."""
        indices = self._indices[check_split(split)]
        index = indices[int(rng.integers(len(indices)))]
        return Clip(self._render(rng, index), self.sample_rate, self._id(index), self.kind)

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        raise NotImplementedError

    def _id(self, index: int) -> str:
        return f"{self.prefix}/{self.seed}-{index:05d}"


class GeneratedGuitars(Generated):
    """Phrases on synthetic electric guitars; a group is one guitar."""

    prefix = "guitar"

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        model = GuitarModel.draw(generator(self.seed, "guitar model", index))
        return phrase(rng, model=model, sample_rate=self.sample_rate, seconds=self.seconds)


class GeneratedMixes(Generated):
    """Drums, a bass and two guitars at balanced levels, -20 dBFS RMS; a group is a band."""

    prefix = "band"

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        members = generator(self.seed, "band", self._id(index))
        sizes = {"sample_rate": self.sample_rate, "seconds": self.seconds}

        def guitar(*styles: str) -> np.ndarray:
            model = GuitarModel.draw(members)
            return phrase(rng, model=model, style=str(rng.choice(styles)), **sizes)

        beat = drums(rng, **sizes)
        bass_guitar = replace(GuitarModel.draw(members), tuning=BASS_TUNING)
        bass = phrase(rng, model=bass_guitar, style="line", **sizes)
        strings = guitar("strum", "chords"), guitar("line", "arpeggio")
        parts = zip((-1.0, -1.0, -4.0, -5.0), (beat, bass, *strings), strict=True)
        total = sum(
            set_rms(part, _MIX_DBFS + fader_db + rng.normal(0, 1.5))
            for fader_db, part in parts
            if np.abs(part).max() > 1e-4
        )
        return set_rms(np.asarray(total, np.float32), _MIX_DBFS).astype(np.float32)


def drums(rng: np.random.Generator, *, seconds: float, sample_rate: int) -> np.ndarray:
    """A beat of kick, snare and hi-hat with drawn sounds: float32 `(1, samples)`, peak 1."""
    samples = round(seconds * sample_rate)
    out = np.zeros(samples + sample_rate, np.float32)
    step = 60 / float(rng.uniform(75, 150)) / 4  # a sixteenth note
    kick, snare, hat = (make(rng, sample_rate) for make in (_kick, _snare, _hat))
    first = int(rng.integers(16))
    every = int(rng.choice([1, 2, 2, 4]))
    for k in range(int(seconds / step) + 1):
        beat = (k + first) % 16
        hits = []
        if beat in (0, 8) or (beat in (6, 10, 11, 14) and rng.random() < 0.3):
            hits.append(kick)
        if beat in (4, 12):
            hits.append(snare)
        if beat % every == 0:
            hits.append(hat)
        for sound in hits:
            start = round((k * step + abs(rng.normal(0, 0.004))) * sample_rate)
            sound = sound[: max(0, len(out) - start)]
            out[start : start + len(sound)] += sound * np.float32(rng.uniform(0.7, 1.0))
    return (out[:samples] / max(float(np.abs(out[:samples]).max()), 1e-6))[None]


def _decay(samples: int, sample_rate: int, seconds: float) -> np.ndarray:
    return np.exp(-np.arange(samples) / (seconds * sample_rate)).astype(np.float32)


def _kick(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 2
    lowest_hz, sweep_hz = rng.uniform(42, 62), rng.uniform(60, 200)
    pitch_hz = lowest_hz + sweep_hz * _decay(n, sample_rate, rng.uniform(0.01, 0.03))
    body = np.sin(2 * np.pi * np.cumsum(pitch_hz) / sample_rate)
    body = body * _decay(n, sample_rate, rng.uniform(0.06, 0.15))
    click = 0.2 * rng.standard_normal(n) * _decay(n, sample_rate, 0.003)
    return (body + click).astype(np.float32)


def filtered(audio: np.ndarray, order: int, edges_hz, kind: str, sample_rate: int) -> np.ndarray:
    """Through a Butterworth filter."""
    return signal.sosfilt(signal.butter(order, edges_hz, kind, fs=sample_rate, output="sos"), audio)


def _snare(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 2
    edges_hz = [rng.uniform(900, 1800), 9000]
    rattle = filtered(rng.standard_normal(n), 1, edges_hz, "bandpass", sample_rate)
    rattle = rattle * _decay(n, sample_rate, rng.uniform(0.04, 0.12))
    tone = np.sin(2 * np.pi * rng.uniform(160, 240) * np.arange(n) / sample_rate)
    return (0.7 * rattle + 0.6 * (tone * _decay(n, sample_rate, 0.05))).astype(np.float32)


def _hat(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 4
    edge_hz = min(rng.uniform(5500, 8000), 0.4 * sample_rate)
    hiss = 0.3 * filtered(rng.standard_normal(n), 2, edge_hz, "highpass", sample_rate)
    return (hiss * _decay(n, sample_rate, rng.uniform(0.015, 0.06))).astype(np.float32)


class AudioFolder:
    """The recordings in a folder and its subfolders, in mono; short ones are padded with silence.

    Args:
        split_all: put every file in this split; None splits 80 : 10 : 10 by a hash of the group's
            name, which does not change when files are added.
        group: what files share that must not be split, e.g. a player: "folder" or "folder:2" for
            the first or the first two folders of their paths, "prefix" or "prefix:-" for the name
            up to the first underscore or another sign, the name of a CSV file with the columns file
            and group, or a function of the path below the folder, without suffix and with "/". None
            makes each file a group.

    Files and folders whose names begin with a dot are passed over, and __MACOSX. Files of the same
    samples are one take: their groups become one. Raises AudioFileError naming all files that
    cannot be read, or if there is none; ValueError for another `group`, or a file that the CSV file
    lacks.
    """

    kind = "real"

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        split_all: str | None = None,
        group: Callable[[str], str] | str | None = None,
    ) -> None:
        self.path, self.seconds, self.sample_rate = Path(path), seconds, sample_rate
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        if split_all is not None:
            check_split(split_all)
        group_of = _grouping(group) if isinstance(group, str) else group or str
        names = {file: below.with_suffix("").as_posix() for file, below in self._found()}
        if not names:
            raise AudioFileError(f"{self.path}: no folder with files {' '.join(sorted(_SUFFIXES))}")
        groups = _without_copies({file: group_of(name) for file, name in names.items()}, self.path)
        self._splits: dict[str, dict[str, list[Path]]] = {split: {} for split in SPLITS}
        for file, key in groups.items():
            self._splits[split_all or _hashed_split(key)].setdefault(key, []).append(file)
        self._audio: dict[Path, np.ndarray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_audio": {}}  # each process reads for itself

    def _found(self) -> list[tuple[Path, Path]]:
        """The audio files, each with its path below the folder."""
        found = [(file, file.relative_to(self.path)) for file in sorted(self.path.rglob("*"))]
        return [
            (file, below)
            for file, below in found
            if file.suffix.lower() in _SUFFIXES
            and file.is_file()
            and not any(part[0] == "." or part == "__MACOSX" for part in below.parts)
        ]

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        return [f"file/{self.path.name}/{group}" for group in self._splits[check_split(split)]]

    def files(self, split: str) -> list[Path]:
        return [file for files in self._splits[check_split(split)].values() for file in files]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A random excerpt of a random file, if possible not a nearly silent one."""
        groups = self._splits[check_split(split)]
        if not groups:
            raise AudioError(
                f"{self.path}: none of its groups fell in {split!r}: add recordings of others"
            )
        group, files = list(groups.items())[rng.integers(len(groups))]
        audio = self._load(files[rng.integers(len(files))])
        piece = excerpt(rng, audio, round(self.seconds * self.sample_rate))
        return Clip(piece, self.sample_rate, f"file/{self.path.name}/{group}", self.kind)

    def _load(self, file: Path) -> np.ndarray:
        """A whole file; up to about 200 MB of them are kept in memory."""
        if file not in self._audio:
            if sum(audio.nbytes for audio in self._audio.values()) > 200_000_000:
                self._audio.clear()
            self._audio[file] = read_audio(file, sample_rate=self.sample_rate, mono=True)[0]
        return self._audio[file]


def _grouping(kind: str) -> Callable[[str], str]:
    """The function that a word or the name of a CSV file stands for, see `AudioFolder`."""
    word, _, detail = kind.partition(":")
    if word == "folder" and (not detail or detail.isdigit()):
        return lambda name: "/".join(name.split("/")[:-1][: int(detail or 1)]) or name
    if word == "prefix":
        return lambda name: name.split("/")[-1].partition(detail or "_")[0]
    if not kind.lower().endswith(".csv"):
        raise ValueError(
            f"groups must be folder, folder:2, prefix, prefix:- or a file.csv, got {kind!r}"
        )
    rows = list(csv.DictReader(io.StringIO(read_text(kind), newline="")))
    if not rows or not all(row.get("file") and row.get("group") for row in rows):
        raise ValueError(f"{kind}: a table with file and group in every row was expected")
    table = {}
    for row in rows:
        path = Path(row["file"])
        known = path.suffix.lower() in _SUFFIXES
        table[(path.with_suffix("") if known else path).as_posix()] = row["group"]

    def group_of(name: str) -> str:
        if name not in table:
            raise ValueError(f"{kind} has no row for the file {name}")
        return table[name]

    return group_of


def _without_copies(groups: Mapping[Path, str], folder: Path) -> dict[Path, str]:
    """The groups of files, where those that hold the same samples have become one."""
    first: dict[bytes, str] = {}
    merged: dict[str, str] = {}
    bad = []

    def root(group: str) -> str:
        while group in merged:
            group = merged[group]
        return group

    for file, group in groups.items():
        try:
            digest = _digest(file, file.stat().st_mtime_ns)
        except AudioError as error:
            bad.append(str(error))
            continue
        here = root(group)
        there = root(first.setdefault(digest, here)) if digest else here
        if here != there:
            merged[max(here, there)] = min(here, there)
    if bad:
        raise AudioFileError(
            f"{len(bad)} of {len(groups)} files in {folder} cannot be used: {'; '.join(bad)}"
        )
    return {file: root(group) for file, group in groups.items()}


@lru_cache(maxsize=100_000)
def _digest(file: Path, _changed: int) -> bytes:
    """A hash of the samples of a file; empty for silence, which is no take."""
    audio = read_audio(file, mono=True)[0]
    return hashlib.sha256(audio).digest() if audio.any() else b""


def _hashed_split(name: str) -> str:
    """80 : 10 : 10 by a stable hash of the name."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % 10
    return {0: "validation", 1: "test"}.get(place, "train")


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))


def excerpt(rng: np.random.Generator, audio: np.ndarray, samples: int) -> np.ndarray:
    """One of up to eight random places that lies less than 30 dB below the recording's level."""
    if audio.shape[1] <= samples:
        return np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))
    floor = 0.03 * _rms(audio)
    for _ in range(8):
        start = int(rng.integers(audio.shape[1] - samples + 1))
        piece = audio[:, start : start + samples]
        if _rms(piece) > floor:
            break
    return piece.copy()


def recordings(folders: Sequence[str], *, seconds: float, sample_rate: int) -> "Mixture":
    """Recordings in folders below `real_data_dir()`, all test material, or a FileNotFoundError."""
    found = real_data_dir()
    if found is None:
        raise FileNotFoundError(
            f"no real recordings here: set LABKIT_REAL_DATA to a folder that holds {folders[0]}"
        )
    sizes = {"seconds": seconds, "sample_rate": sample_rate, "split_all": "test"}
    sources = [AudioFolder(found / name, **sizes) for name in folders]
    return Mixture(sources, [len(source.groups("test")) for source in sources])


class Mixture:
    """Several sources of one rate and clip length as one, drawn by `weights` or equally often."""

    kind = "mixture"

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(sources) if weights is None else list(weights)
        sizes = {(source.sample_rate, source.seconds) for source in sources}
        if len(sizes) != 1 or len(weights) != len(sources):
            raise ValueError(
                f"sources must have one rate and length, and a weight each, got {sizes}, {weights}"
            )
        self.sources = tuple(sources)
        self.seconds, self.sample_rate = sources[0].seconds, sources[0].sample_rate
        self._shares = np.asarray(weights, float) / sum(weights)

    def groups(self, split: str) -> list[str]:
        """The source ids of all sources in a split."""
        return [group for source in self.sources for group in source.groups(split)]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A clip from one of the sources."""
        source = self.sources[rng.choice(len(self.sources), p=self._shares)]
        return source.clip(rng, check_split(split))


def phrase_names() -> tuple[str, ...]:
    """Names of the phrases that are rendered."""
    return _RENDERED


def phrase_path(name: str) -> Path:
    """The shipped file of a phrase or of one of `TAKES`; a ValueError lists their names."""
    known = (*_RENDERED, *TAKES)
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    return data_dir() / "phrases" / f"{name}.flac"


def load_phrase(name: str = "riff") -> tuple[np.ndarray, int]:
    """A dry guitar phrase that ships with the course: float32 `(1, samples)`, and 44,100 Hz."""
    return read_audio(phrase_path(name))
