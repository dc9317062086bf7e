"""Pairs for the three tasks, made from seeds, and folders of recordings before and after."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from labkit.effects.effect import process
from labkit.effects.hosts.plugin import HostedPlugin
from labkit.learn.pool import ExampleCache
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioFileError, check_audio, read_audio
from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, new_files, replace_text
from labkit.signal.pool import check_split
from labkit.signal.seeds import generator
from labkit.signal.sources import Generated, GeneratedGuitars, GeneratedMixes, recordings
from labkit.signal.speech import Speaker, non_speech, speak
from labkit.signal.units import db_to_amplitude, set_rms
from labkit.systems.blackbox.config import Config, Task

# Raise it when what the seeds make changes: cached clips are made anew.
_VERSION = 3
GUITAR_DBFS, MIX_DBFS, MASTER_LUFS = -20.0, -20.0, -14.0
TEST_SECONDS = 2.0
# Kind and level of the real recordings.
_REAL = {"distortion": ("guitar_di", -20), "speech": ("speech", -22), "mastering": ("music", -20)}
# Dry, target and source of each recording.
Tests = tuple[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[str]]
_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")
# The target of *distortion*: guitarix's model of a TS9, at a level between clean and distorted.
TS9 = "http://guitarix.sourceforge.net/plugins/gxts9#ts9sim"
_TS9_SETTING, _TS9_DBFS = {"drive": 0.1, "tone": 0.5, "level": 0.8}, -34.0


@dataclass(frozen=True)
class Examples:
    """Recordings, disturbances that the task should remove, and targets, each (n, 1, samples)."""

    dry: np.ndarray
    disturbance: np.ndarray | None
    target: np.ndarray
    groups: tuple[str, ...] = ()  # n names; clips of one source share one. Cached clips have none.

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
    make = _maker(config, split, seed, config.sound.seconds if seconds is None else seconds)
    dry, disturbance, target, groups = zip(*map(make, range(n)), strict=True)
    disturbance = None if disturbance[0] is None else np.stack(disturbance)
    return Examples(np.stack(dry), disturbance, np.stack(target), groups)


def _maker(config: Config, split: str, seed: int, seconds: float) -> Callable[[int], tuple]:
    """Number -> dry, disturbance, target, name of the source."""
    check_split(split)
    task, rate = config.sound.task, config.sound.sample_rate
    source = _SOURCES[task](seconds=seconds, sample_rate=rate)

    def make(number: int) -> tuple:
        rng = generator(seed, "blackbox", task, split, number)
        clip = source.clip(rng, split)
        sound = clip.audio
        if task == "distortion":
            # A phrase that begins with silence has nothing to distort.
            while np.sqrt(np.mean(sound[:, : sound.shape[1] // 2] ** 2)) <= 1e-4:
                clip = source.clip(rng, split)
                sound = clip.audio
            sound = set_rms(sound, GUITAR_DBFS).astype(np.float32)
        return *made_from(sound, task, rng, rate), clip.source_id

    return make


class Speech(Generated):
    """Clean speech of synthetic speakers; a group is one speaker."""

    prefix = "voice"

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        speaker = Speaker.draw(generator(self.seed, "speaker", index))
        return speak(rng, speaker, seconds=self.seconds, sample_rate=self.sample_rate)


_SOURCES = {"distortion": GeneratedGuitars, "speech": Speech, "mastering": GeneratedMixes}


def made_from(
    sound: np.ndarray, task: str, rng: np.random.Generator, sample_rate: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """A recording (1, samples) as the task's dry sound, disturbance (or None) and target."""
    if task == "distortion":
        return sound, None, distorted(sound, sample_rate)
    if task == "speech":
        return sound, non_speech(rng, sound, sample_rate), sound
    return miscoloured(rng, sound, sample_rate), None, mastered(sound, sample_rate)


def generated_tests(config: Config, *, n: int, seed: int) -> Tests:
    """Clips of sources that are not trained on, at random levels."""
    made = examples(config, "test", seed, n=n, seconds=TEST_SECONDS)
    rng = generator(seed, "blackbox test", config.sound.task)
    dry, target = zip(*(made.draw(config.task, k, rng) for k in range(n)), strict=True)
    return dry, target, made.groups


def real_tests(config: Config, *, n: int, seed: int) -> Tests:
    """The same made of real recordings. Raises FileNotFoundError if there are none here."""
    task, rate = config.sound.task, config.sound.sample_rate
    kind, dbfs = _REAL[task]
    source = recordings((kind,), seconds=TEST_SECONDS, sample_rate=rate)
    rng, items = generator(seed, "blackbox real", task), []
    for _ in range(n):
        clip = source.clip(rng, "test")
        level = np.float32(db_to_amplitude(rng.uniform(*config.task.level_db)))
        sound = set_rms(clip.audio, dbfs).astype(np.float32)
        dry, disturbance, target = made_from(sound, task, rng, rate)
        dry = dry if disturbance is None else dry + disturbance
        target = target * level if config.task.level_moves_target else target
        items.append((dry * level, target, clip.source_id))
    return tuple(zip(*items, strict=True))


def write_example(
    folder: Path,
    name: str,
    sounds: Sequence[np.ndarray],
    sample_rate: int,
    curves: Mapping[str, list[float]],
) -> None:
    """NAME_dry.wav, NAME_target.wav, NAME_wet.wav in 32-bit float, and the knobs' NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    *paths, facts = new_files(folder, name, "_dry.wav", "_target.wav", "_wet.wav", ".json")
    for path, sound in zip(paths, sounds, strict=True):
        need("soundfile").write(path, sound.T, sample_rate, "FLOAT")
    replace_text(facts, json.dumps(curves, indent=1) + "\n")


@cache
def _ts9() -> HostedPlugin:
    return HostedPlugin(TS9, parameters=[*_TS9_SETTING])


def distorted(dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """A guitar of any level through the TS9, which always gets it at one level."""
    placed = set_rms(dry, _TS9_DBFS).astype(np.float32)
    return _ts9().process(placed, sample_rate, np.array([*_TS9_SETTING.values()]))


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
    sizes = f"{n}x{sound.seconds:g}s-{sound.sample_rate}"
    folder = cache_dir() / "blackbox" / f"{sound.task}-{split}-{sizes}-seed{seed}-{_VERSION}"
    names = ("dry", "disturbance", "target") if sound.task == "speech" else ("dry", "target")
    shape = (1, round(sound.seconds * sound.sample_rate))
    store = ExampleCache(folder, n, dict.fromkeys(names, shape))
    made = _maker(config, split, seed, sound.seconds)

    def make(number: int) -> dict[str, torch.Tensor]:
        dry, disturbance, target, _ = made(number)
        sounds = {"dry": dry, "disturbance": disturbance, "target": target}
        return {name: torch.from_numpy(sounds[name]) for name in names}

    clips = [store.get(number, make) for number in range(n)]
    stacked = {name: torch.stack([clip[name] for clip in clips]).numpy() for name in names}
    return Examples(stacked["dry"], stacked.get("disturbance"), stacked["target"])


def paired_files(dry: Path, wet: Path) -> list[tuple[Path, Path]]:
    """Recordings before and after, found by their names in two folders, which may be one.

    Names agree without the folder's own name, ``dry`` or ``wet`` at their ends: ``a.wav`` and
    ``a.flac``; ``a_dry.wav`` and ``a_wet.wav``; DAPS' ``cleanraw/f1_script1_cleanraw.wav`` and
    ``clean/f1_script1_clean.wav``. Raises AudioFileError for a missing folder, or two without a
    pair.
    """
    before, after = _files_by_name(dry, "dry", "wet"), _files_by_name(wet, "wet", "dry")
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


def source_of(pair: tuple[Path, Path]) -> str:
    """The source of a pair: its name up to the first underscore, in DAPS the speaker."""
    return pair[0].stem.partition("_")[0]


def held_out(pairs: list[tuple[Path, Path]]) -> tuple[list, list]:
    """Pairs to train on, and those of a tenth of the sources to validate on; one source is both."""
    sources = list(dict.fromkeys(map(source_of, pairs)))
    kept = sources[: max(1, round(0.1 * len(sources)))]
    validation = [pair for pair in pairs if source_of(pair) in kept]
    return [pair for pair in pairs if pair not in validation] or pairs, validation


def from_pairs(config: Config, pairs: list[tuple[Path, Path]], *, n: int) -> Examples:
    """`n` clips from random places of pairs of recordings; short ones end in silence.

    Raises AudioFileError for a file that cannot be read; ValueError for a pair whose lengths differ
    by more than a tenth of a second.
    """
    rate, rng = config.sound.sample_rate, generator(config.plan.seed, "pairs")
    samples = round(config.sound.seconds * rate)
    chosen = rng.integers(len(pairs), size=n)
    clips = np.zeros((2, n, 1, samples), np.float32)
    for index in np.unique(chosen):  # pair by pair: a data set of hours is never in memory
        sounds = [read_audio(path, sample_rate=rate, mono=True)[0] for path in pairs[index]]
        lengths = [sound.shape[1] for sound in sounds]
        if abs(lengths[0] - lengths[1]) > rate / 10:
            names = " and ".join(path.name for path in pairs[index])
            raise ValueError(f"{names} must be equally long, got {lengths} samples")
        sounds = np.stack([check_audio(sound[:, : min(lengths)], rate) for sound in sounds])
        for k in np.flatnonzero(chosen == index):
            start = int(rng.integers(max(1, sounds.shape[-1] - samples + 1)))
            part = sounds[..., start : start + samples]
            clips[:, k, :, : part.shape[-1]] = part
    return Examples(clips[0], None, clips[1], tuple(source_of(pairs[k]) for k in chosen))
