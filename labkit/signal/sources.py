"""Dry audio behind one face: generated guitars, recorded instruments, folders of files, and mixtures.

Every source knows its groups (a guitar model, an instrument's phrase, a recording) and gives each group to
one split only, so that a model is never tested on a string that it has heard.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labkit.signal.files import AudioError, AudioFileError, read_audio
from labkit.signal.paths import real_data_dir
from labkit.signal.sampled import SPLITS, SampledInstruments
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude

if TYPE_CHECKING:
    from labkit.signal.guitar import GuitarModel

_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}


@dataclass(frozen=True)
class Clip:
    """A piece of dry audio and where it comes from.

    Attributes:
        audio: float32 `(1, samples)`, full scale 1.
        sample_rate: Hz.
        source_id: its group, unique over all sources.
        kind: "generated", "sampled" or "real"; "notes" or "spliced" where the generator plays single notes.
    """

    audio: np.ndarray
    sample_rate: int
    source_id: str
    kind: str


class Source(Protocol):
    """What everything that makes examples asks of a source of dry audio."""

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


def disjoint(source: Source) -> dict[str, int]:
    """Prove that no source id is in two splits.

    Args:
        source: any source.

    Returns:
        The number of groups in each split.

    Raises:
        ValueError: naming an id that is in two splits.
    """
    found = {split: set(source.groups(split)) for split in SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = sorted(found[first] & found[second])
        if shared:
            raise ValueError(
                f"{len(shared)} groups are both in {first} and in {second}, e.g. {shared[0]}"
            )
    return {split: len(ids) for split, ids in found.items()}


class GeneratedGuitars:
    """Phrases on synthetic electric guitars; a group is one guitar.

    Args:
        seed: the seed of the guitars.
        seconds: length of a clip, > 0.
        sample_rate: Hz.
        guitars: how many in train, validation and test.

    Raises:
        ValueError: bad `seconds` or `guitars`.
    """

    kind = "generated"

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        guitars: tuple[int, int, int] = (4_000, 200, 400),
    ) -> None:
        if not seconds > 0 or len(guitars) != 3 or min(guitars) < 1:
            raise ValueError(
                f"seconds must be above 0 and guitars three counts, got {seconds} and {guitars}"
            )
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate
        edges = np.cumsum((0, *guitars)).tolist()
        self._guitars = {split: range(*edges[i : i + 2]) for i, split in enumerate(SPLITS)}

    def groups(self, split: str) -> list[str]:
        """The source ids of a split, one per guitar."""
        return [self._id(index) for index in self._guitars[check_split(split)]]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A phrase on a random guitar of the split."""
        from labkit.signal.guitar import GuitarModel

        guitars = self._guitars[check_split(split)]
        index = guitars[int(rng.integers(len(guitars)))]
        model = GuitarModel.draw(generator(self.seed, "guitar model", index))
        return Clip(self._play(rng, model), self.sample_rate, self._id(index), self.kind)

    def _play(self, rng: np.random.Generator, model: "GuitarModel") -> np.ndarray:
        from labkit.signal.guitar import phrase

        return phrase(rng, model=model, sample_rate=self.sample_rate, seconds=self.seconds)

    def _id(self, index: int) -> str:
        return f"guitar/{self.seed}-{index:05d}"


class SingleNotes(GeneratedGuitars):
    """One note in each clip, as in collections of single notes; arguments and errors as `GeneratedGuitars`."""

    kind = "notes"

    def _play(self, rng: np.random.Generator, model: "GuitarModel") -> np.ndarray:
        note = self._note(rng, model, self.seconds, float(rng.uniform(-33, -3)))
        late = int(rng.uniform(0, 0.5 * min(1.0, self.seconds)) * self.sample_rate)
        return np.pad(note, ((0, 0), (late, 0)))[:, : note.shape[1]]

    def _note(
        self, rng: np.random.Generator, model: "GuitarModel", seconds: float, peak_dbfs: float
    ) -> np.ndarray:
        from labkit.signal.guitar import pluck

        frequency_hz = 440.0 * 2.0 ** ((rng.integers(40, 85) - 69) / 12)
        sizes = {"sample_rate": self.sample_rate, "seconds": seconds, "model": model, "rng": rng}
        muted = 0.6 * float(rng.random() < 0.2)
        return pluck(frequency_hz, velocity=db_to_amplitude(peak_dbfs), mute=muted, **sizes)


class SplicedNotes(SingleNotes):
    """Single notes cut off and put one behind the other until the clip is full; arguments and errors as before."""

    kind = "spliced"

    def _play(self, rng: np.random.Generator, model: "GuitarModel") -> np.ndarray:
        samples, notes, filled = round(self.seconds * self.sample_rate), [], 0
        loudest_dbfs = float(rng.uniform(-24, -3))
        while filled < samples:
            note = self._note(
                rng, model, float(rng.uniform(0.12, 0.8)), loudest_dbfs - float(rng.uniform(0, 9))
            )
            fade = min(
                note.shape[1], round(0.005 * self.sample_rate)
            )  # a cut without it is a click
            note[:, note.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            notes.append(note)
            filled += note.shape[1]
        return np.concatenate(notes, axis=1)[:, :samples]


class Sampled(SampledInstruments):
    """`labkit.signal.sampled.SampledInstruments` as a source of clips; a group is a program's phrase."""

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A phrase on a random instrument of the split."""
        audio, source_id = self.draw(rng, check_split(split))
        return Clip(audio, self.sample_rate, source_id, self.kind)


class AudioFolder:
    """The recordings in a folder, mixed down to mono; a group is a file, or several that belong together.

    Args:
        path: a folder, searched with its subfolders for wav, flac, mp3, ogg, opus, m4a and aiff.
        seconds: length of a clip, > 0; shorter files are padded with silence at the end.
        sample_rate: Hz; files at other rates are resampled.
        split_all: put every file in this split; None splits 80 : 10 : 10 by a hash of the group's name, which
            is the same on every machine and does not change when files are added.
        group: gives the group of a file from its path below the folder, without suffix and with "/", e.g.
            ``lambda name: name[:2]`` for a player; None makes each file a group of its own. Recordings
            of one performance, one guitar or one player belong together.

    Raises:
        AudioFileError: no such folder, or no audio in it.
    """

    kind = "real"

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        split_all: str | None = None,
        group: Callable[[str], str] | None = None,
    ) -> None:
        self.path, self.seconds, self.sample_rate = Path(path), seconds, sample_rate
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        if split_all is not None:
            check_split(split_all)
        if not self.path.is_dir():
            raise AudioFileError(f"{self.path}: a folder of audio files was expected")
        files = sorted(
            file
            for file in self.path.rglob("*")
            if file.suffix.lower() in _SUFFIXES and file.is_file()
        )
        if not files:
            raise AudioFileError(
                f"{self.path}: no audio files in this folder (looked for {' '.join(sorted(_SUFFIXES))})"
            )
        self._groups: dict[str, list[Path]] = {}
        for file in files:
            name = file.relative_to(self.path).with_suffix("").as_posix()
            self._groups.setdefault(group(name) if group else name, []).append(file)
        self._splits: dict[str, list[str]] = {split: [] for split in SPLITS}
        for key in self._groups:
            self._splits[split_all or _hashed_split(key)].append(key)
        self._audio: dict[Path, np.ndarray] = {}

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        return [f"file/{self.path.name}/{group}" for group in self._splits[check_split(split)]]

    def files(self, split: str) -> list[Path]:
        """The files of a split."""
        return [file for group in self._splits[check_split(split)] for file in self._groups[group]]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A random excerpt of a random file; up to eight places are tried for one that is not nearly silent.

        Raises:
            AudioError: if the split has no file.
            AudioFileError: if the file cannot be read.
        """
        groups = self._splits[check_split(split)]
        if not groups:
            raise AudioError(
                f"{self.path}: none of its files fell in {split!r}; use split_all, or more files"
            )
        group = groups[rng.integers(len(groups))]
        audio = self._load(self._groups[group][rng.integers(len(self._groups[group]))])
        samples = round(self.seconds * self.sample_rate)
        return Clip(
            _excerpt(rng, audio, samples),
            self.sample_rate,
            f"file/{self.path.name}/{group}",
            self.kind,
        )

    def _load(self, file: Path) -> np.ndarray:
        if file not in self._audio:
            if sum(audio.nbytes for audio in self._audio.values()) > 200_000_000:
                self._audio.clear()
            self._audio[file] = read_audio(file, sample_rate=self.sample_rate, mono=True)[0]
        return self._audio[file]


def _hashed_split(name: str) -> str:
    """80 : 10 : 10 by a stable hash of the name."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % 10
    return {0: "validation", 1: "test"}.get(place, "train")


def _excerpt(rng: np.random.Generator, audio: np.ndarray, samples: int) -> np.ndarray:
    if audio.shape[1] <= samples:
        return np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))
    floor = 0.03 * float(
        np.sqrt(np.mean(np.square(audio)))
    )  # 30 dB below the recording's own level
    for _ in range(8):
        start = int(rng.integers(audio.shape[1] - samples + 1))
        piece = audio[:, start : start + samples]
        if float(np.sqrt(np.mean(np.square(piece)))) > floor:
            break
    return piece.copy()


def recordings(folders: Sequence[str], *, seconds: float, sample_rate: int) -> "Mixture":
    """The real recordings for evaluation, all of them test material, every file equally likely.

    Args:
        folders: names below `real_data_dir()`.
        seconds: length of a clip, > 0.
        sample_rate: Hz.

    Raises:
        FileNotFoundError: if there are no real recordings here.
        AudioFileError: for a folder without audio.
    """
    found = real_data_dir()
    if found is None:
        raise FileNotFoundError(
            f"no real recordings here: set LABKIT_REAL_DATA to a folder that holds {folders[0]}"
        )
    sizes = {"seconds": seconds, "sample_rate": sample_rate, "split_all": "test"}
    sources = [AudioFolder(found / name, **sizes) for name in folders]
    return Mixture(sources, [len(source.groups("test")) for source in sources])


class Mixture:
    """Several sources as one: each clip comes from one of them.

    Args:
        sources: at least one; all with the same sample rate and clip length.
        weights: how often each is drawn, >= 0, relative to each other; None is equally often.

    Raises:
        ValueError: no sources, weights that do not fit, or sources that differ in rate or length.
    """

    kind = "mixture"

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(sources) if weights is None else list(weights)
        if not sources or len(weights) != len(sources) or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"sources and weights must pair up, weights >= 0, got {len(sources)} and {weights}"
            )
        if len({(source.sample_rate, source.seconds) for source in sources}) != 1:
            described = [(source.kind, source.sample_rate, source.seconds) for source in sources]
            raise ValueError(
                f"all sources must have one sample_rate and one length, got {described}"
            )
        self.sources = tuple(sources)
        self.seconds, self.sample_rate = sources[0].seconds, sources[0].sample_rate
        self._shares = np.asarray(weights, float) / sum(weights)

    def groups(self, split: str) -> list[str]:
        """The source ids of all sources in a split."""
        return [group for source in self.sources for group in source.groups(split)]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A clip from one of the sources."""
        return self.sources[rng.choice(len(self.sources), p=self._shares)].clip(
            rng, check_split(split)
        )
