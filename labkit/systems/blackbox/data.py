"""Pairs for the three tasks, made from seeds, and folders of recordings before and after."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from labkit.effects.effect import process
from labkit.effects.hosts import HostedPlugin, open_plugin
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioFileError, check_audio, read_audio
from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, replacing
from labkit.signal.pool import check_split
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, GeneratedMixes
from labkit.signal.speech import Speaker, non_speech, speak
from labkit.signal.units import db_to_amplitude, set_rms
from labkit.systems.blackbox.config import Config, Task

# Raise it when what the seeds make changes: cached clips are made anew.
_VERSION = 2
GUITAR_DBFS, MIX_DBFS, MASTER_LUFS = -20.0, -20.0, -14.0
_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")
_VOICES = {"train": range(4000), "validation": range(4000, 4200), "test": range(4200, 4600)}
# The target of *distortion*: guitarix's model of a TS9, at a level between clean and distorted.
_TS9, _TS9_SETTING, _TS9_DBFS = "gxts9", {"drive": 0.1, "tone": 0.5, "level": 0.8}, -34.0

# Dry sound, disturbance on top of it or None, target: each (1, samples); and the source's name.
Item = tuple[np.ndarray, np.ndarray | None, np.ndarray, str]


@dataclass(frozen=True)
class Examples:
    """Recordings, disturbances that the task should remove, and targets, each (n, 1, samples).

    Attributes:
        groups: n names; clips of one source share one.
    """

    dry: np.ndarray
    disturbance: np.ndarray | None
    target: np.ndarray
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.groups)

    def draw(
        self, task: Task, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One example at a random level and disturbance: dry and target, (1, samples) float32."""
        level = _gain(rng.uniform(*task.level_db))
        dry = self.dry[index].astype(np.float32)
        target = self.target[index].astype(np.float32)
        if self.disturbance is not None:
            dry = dry + self.disturbance[index].astype(np.float32) * _gain(rng.uniform(-3, 6))
        return dry * level, target * level if task.level_moves_target else target


def _gain(db: float) -> np.float32:
    return np.float32(db_to_amplitude(db))


def examples(
    config: Config, split: str, seed: int, *, n: int, seconds: float | None = None
) -> Examples:
    """Pairs of the task from the sources of a split; example `i` does not depend on `n`.

    Raises PluginError where the plug-in that makes the targets is not installed.
    """
    check_split(split)
    task, rate = config.sound.task, config.sound.sample_rate
    make = _MAKERS[task](config.sound.seconds if seconds is None else seconds, rate)
    items = [make(generator(seed, "blackbox", task, split, k), split) for k in range(n)]
    dry, disturbance, target, groups = zip(*items, strict=True)
    disturbance = None if disturbance[0] is None else np.stack(disturbance)
    return Examples(np.stack(dry), disturbance, np.stack(target), groups)


def _distortion(seconds: float, sample_rate: int) -> Callable[[np.random.Generator, str], Item]:
    source = GeneratedGuitars(seconds=seconds, sample_rate=sample_rate)
    plugin = open_ts9()

    def make(rng: np.random.Generator, split: str) -> Item:
        while True:  # until the phrase does not begin with silence
            clip = source.clip(rng, split)
            if np.sqrt(np.mean(clip.audio[:, : clip.audio.shape[1] // 2] ** 2)) > 1e-4:
                break
        dry = set_rms(clip.audio, GUITAR_DBFS).astype(np.float32)
        return dry, None, distorted(plugin, dry, sample_rate), clip.source_id

    return make


def open_ts9() -> HostedPlugin:
    """The plug-in that makes *distortion*'s targets. Raises PluginError where it is missing."""
    return open_plugin(_TS9, parameters=[*_TS9_SETTING])


def distorted(plugin: HostedPlugin, dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """A guitar of any level through `open_ts9`'s plug-in, which always gets it at one level."""
    placed = set_rms(dry, _TS9_DBFS).astype(np.float32)
    return plugin.process(placed, sample_rate, np.array([*_TS9_SETTING.values()]))


def _speech(seconds: float, sample_rate: int) -> Callable[[np.random.Generator, str], Item]:
    def make(rng: np.random.Generator, split: str) -> Item:
        voices = _VOICES[split]
        voice = voices[int(rng.integers(len(voices)))]
        speaker = Speaker.draw(generator(0, "speaker", voice))
        clean = speak(rng, speaker, seconds=seconds, sample_rate=sample_rate)
        return clean, non_speech(rng, clean, sample_rate), clean, f"voice/{voice:04d}"

    return make


def _mastering(seconds: float, sample_rate: int) -> Callable[[np.random.Generator, str], Item]:
    source = GeneratedMixes(seconds=seconds, sample_rate=sample_rate)

    def make(rng: np.random.Generator, split: str) -> Item:
        clip = source.clip(rng, split)
        mix, band = clip.audio, clip.source_id
        return miscoloured(rng, mix, sample_rate), None, mastered(mix, sample_rate), band

    return make


_MAKERS = {"distortion": _distortion, "speech": _speech, "mastering": _mastering}


def miscoloured(rng: np.random.Generator, mix: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mix with wrong shelves and a wrong bell (up to 8 dB), as from a bad room, at -20 dBFS."""
    board = need("pedalboard")
    plugins = [
        board.LowShelfFilter(float(rng.uniform(90, 250)), float(rng.uniform(-8, 8)), 0.7),
        board.PeakFilter(
            float(np.exp(rng.uniform(np.log(250), np.log(4000)))), float(rng.uniform(-7, 7)), 0.8
        ),
        board.HighShelfFilter(float(rng.uniform(3000, 8000)), float(rng.uniform(-8, 5)), 0.7),
    ]
    coloured = process(board.Pedalboard(plugins), mix, sample_rate)
    return set_rms(coloured, MIX_DBFS).astype(np.float32)


def mastered(mix: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mix (channels, samples) through the hidden chain, at about -14 LUFS, float32."""
    board = need("pedalboard")
    compressed = [
        board.HighpassFilter(28.0),
        board.LowShelfFilter(95.0, 2.0, 0.7),
        board.PeakFilter(330.0, -2.5, 0.8),
        board.HighShelfFilter(7500.0, 3.5, 0.7),
        board.Compressor(threshold_db=-24.0, ratio=2.5, attack_ms=15.0, release_ms=120.0),
    ]
    limiter = board.Limiter(threshold_db=-1.0, release_ms=100.0)
    out = mix * _gain(-20.0 - loudness_lufs(mix, sample_rate))
    out = process(board.Pedalboard(compressed), out, sample_rate)
    # The limiter adds 4.75 dB of its own.
    out = out * _gain(MASTER_LUFS - 4.75 - loudness_lufs(out, sample_rate))
    return process(limiter, out, sample_rate)


def cached(config: Config, split: str, *, n: int) -> Examples:
    """`examples` of the plan's seed, kept in the cache folder in half precision."""
    sound, seed = config.sound, config.plan.seed
    plan = [sound.task, sound.sample_rate, sound.seconds, seed, split, n, _VERSION]
    key = hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:16]
    path = cache_dir() / "blackbox" / f"{sound.task}-{split}-{key}.npz"
    if not path.exists():
        arrays = asdict(examples(config, split, seed, n=n))
        groups = np.array(arrays.pop("groups"))
        half = {name: a.astype(np.float16) for name, a in arrays.items() if a is not None}
        with replacing(path) as temporary:
            np.savez(temporary, groups=groups, **half)
    with np.load(path) as file:
        groups = tuple(file["groups"].tolist())
        return Examples(file["dry"], file.get("disturbance"), file["target"], groups)


def paired_files(dry: str | Path, wet: str | Path) -> list[tuple[Path, Path]]:
    """Recordings before and after, found by their names in two folders, which may be one.

    Names agree without the folder's own name, ``dry`` or ``wet`` at their ends: ``a.wav`` and
    ``a.flac``; ``a_dry.wav`` and ``a_wet.wav``; DAPS' ``cleanraw/f1_script1_cleanraw.wav`` and
    ``clean/f1_script1_clean.wav``.

    Raises:
        AudioFileError: for a missing folder, or two without a pair.
    """
    before, after = _files_by_name(Path(dry), "dry", "wet"), _files_by_name(Path(wet), "wet", "dry")
    names = sorted(before.keys() & after.keys())
    pairs = [(before[name], after[name]) for name in names if before[name] != after[name]]
    if not pairs:
        raise AudioFileError(
            f"no recording of {dry} has the name of one in {wet}: e.g. a_dry.wav and a_wet.wav"
        )
    return pairs


def _files_by_name(folder: Path, word: str, other: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: a folder of audio files was expected")
    found = {}
    for path in sorted(folder.iterdir()):
        # Archives made on a Mac hold a file ._NAME for every file, which is no audio.
        is_audio = path.suffix.lower() in _AUDIO and not path.name.startswith(".")
        if is_audio and not path.stem.endswith(f"_{other}"):
            found[path.stem.removesuffix(f"_{folder.name}").removesuffix(f"_{word}")] = path
    return found


def source_of(path: Path) -> str:
    """The source of a recording: its name up to the first underscore, in DAPS the speaker."""
    return path.stem.partition("_")[0]


def held_out(pairs: list[tuple[Path, Path]], share: float = 0.1) -> tuple[list, list]:
    """Pairs to train on and pairs to validate on (at least `share`), of different sources.

    One source alone is divided by its pairs; a single pair is both.
    """
    kept, wanted = [], max(1, round(share * len(pairs)))
    sources = list(dict.fromkeys(source_of(dry) for dry, _ in pairs))
    for source in sources[:-1]:
        if len(kept) < wanted:
            kept += [pair for pair in pairs if source_of(pair[0]) == source]
    kept = kept or pairs[:wanted]
    return [pair for pair in pairs if pair not in kept] or pairs, kept


def from_pairs(config: Config, pairs: list[tuple[Path, Path]], seed: int, *, n: int) -> Examples:
    """`n` clips from random places of pairs of recordings; short ones end in silence.

    Raises:
        AudioFileError: for a file that cannot be read.
        ValueError: for a pair whose lengths differ by more than a tenth of a second.
    """
    rate = config.sound.sample_rate
    samples, rng = round(config.sound.seconds * rate), generator(seed, "pairs")
    chosen = rng.integers(len(pairs), size=n)
    clips = np.zeros((2, n, 1, samples), np.float32)
    for index in np.unique(chosen):  # pair by pair: a data set of hours is never in memory
        sounds = _aligned(pairs[index], rate)
        for k in np.flatnonzero(chosen == index):
            start = int(rng.integers(max(1, sounds.shape[-1] - samples + 1)))
            part = sounds[..., start : start + samples]
            clips[:, k, :, : part.shape[-1]] = part
    return Examples(clips[0], None, clips[1], tuple(source_of(pairs[k][0]) for k in chosen))


def _aligned(pair: tuple[Path, Path], sample_rate: int) -> np.ndarray:
    """Both recordings, mono, cut to the shorter one: (2, 1, samples)."""
    sounds = [read_audio(path, sample_rate=sample_rate, mono=True)[0] for path in pair]
    lengths = [sound.shape[1] for sound in sounds]
    if abs(lengths[0] - lengths[1]) > sample_rate / 10:
        raise ValueError(
            f"{pair[0].name} and {pair[1].name} must be equally long, "
            f"got {lengths[0]} and {lengths[1]} samples"
        )
    return np.stack([check_audio(sound[:, : min(lengths)], sample_rate) for sound in sounds])
