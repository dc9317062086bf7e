"""Pairs for the three tasks, made of recordings and from seeds; folders of before and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.signal import lfilter

from labkit.effects.effect import process
from labkit.effects.hosts.plugin import HostedPlugin
from labkit.learn.pool import ExampleCache
from labkit.signal.files import AudioFileError, check_audio, read_audio
from labkit.signal.optional import need
from labkit.signal.packaged import Packaged
from labkit.signal.paths import cache_dir
from labkit.signal.pool import Source, check_split
from labkit.signal.recorded import RecordedGuitars
from labkit.signal.seeds import generator
from labkit.signal.sources import Generated, GeneratedGuitars, GeneratedMixes, Mixture, recordings
from labkit.signal.speech import GeneratedSpeech, Speaker, non_speech, speak
from labkit.signal.units import amplitude_to_db, db_to_amplitude, rms_dbfs, set_rms
from labkit.systems.blackbox.config import (
    BANDS,
    GAIN_RANGE_DB,
    MASTER_RANGE_DB,
    NO_GAIN,
    Config,
    Task,
)

# Raise it when what the seeds make changes: cached clips are made anew.
_VERSION = 5
TEST_SECONDS = 3.0
# Of the recordings, before a level is drawn, in dB of full scale (RMS).
_DBFS = {"distortion": -20.0, "speech": -22.0, "mastering": -16.0}
_FLOOR_DBFS = -70.0
# Dry, target, source and answer of each recording.
Tests = tuple[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[str], Sequence[np.ndarray]]
_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")
# The target of *distortion*: guitarix's model of a TS9, at a level between clean and distorted.
TS9 = "http://guitarix.sourceforge.net/plugins/gxts9#ts9sim"
_TS9_SETTING, _TS9_DBFS = {"drive": 0.1, "tone": 0.5, "level": 0.8}, -34.0
# Bands are drawn within a third of an octave of the equaliser's, with the Q of its bells.
_OCTAVES, _Q = 1 / 3, 0.7
# What an engineer measures for each band, and how softly he begins where a spread ends.
_BANDS_HZ = ((20, 160), (350, 950), (1000, 2900), (4200, 16_000))
_KNEE_DB = 4.0
# An expander begins so far above the disturbance, or, where that is loud, so far below the speech.
_ABOVE_NOISE_DB, _BELOW_SPEECH_DB = 18.0, 16.0


@dataclass(frozen=True)
class Examples:
    """Recordings, what disturbs them, and targets, each (n, 1, samples)."""

    sound: np.ndarray
    disturbance: np.ndarray | None
    target: np.ndarray | None  # None: the recordings themselves
    groups: tuple[str, ...] = ()  # n names; clips of one source share one. Cached clips have none.
    drawn: bool = True  # False for pairs of a user: their level alone is drawn

    def draw(
        self, config: Config, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One example: dry sound and target (1, samples) float32, answer (knobs,); see `spoilt`."""
        sound, noise, target = (
            None if clips is None else clips[index].astype(np.float32)
            for clips in (self.sound, self.disturbance, self.target)
        )
        return spoilt(config, sound, rng, noise=noise, target=target, drawn=self.drawn)


def _gain(db: float) -> np.float32:
    return np.float32(db_to_amplitude(db))


def spoilt(
    config: Config,
    sound: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: np.ndarray | None = None,
    target: np.ndarray | None = None,
    drawn: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the task's plug-ins get for a recording (1, samples), their target, and the answer.

    The dry sound has noise, other dynamics, another colour and another level, as far as the task
    draws them; one in five has nothing but the level. Where the task has a balance, the target is
    the sound of that colour without noise, as `engineered` has it. The answer (knobs,) is what the
    engineer sets, NaN for knobs of which nothing is known.
    """
    task, rate = config.task, config.sound.sample_rate
    level_db = float(rng.uniform(*task.level_db))
    known = {"gain: gain_db": 0.5 - level_db / 36}
    dry, target = sound, sound if target is None else target
    if drawn and task.balance_db is not None:
        strength = float(rng.uniform(0.5, 1.0) if rng.random() < 0.8 else 0.0)
        parts = [sound, expanded(sound, strength * task.expansion, rate)]
        if noise is not None:
            noise_db = float(rng.uniform(*task.noise_db)) if strength else -np.inf
            parts.append(noise * _gain(noise_db))
        gains_db = strength * rng.uniform(-task.colour_db, task.colour_db, len(BANDS))
        octaves = rng.uniform(-_OCTAVES, _OCTAVES, len(BANDS))
        parts = equalised(np.concatenate(parts), gains_db, rate, octaves)
        if not task.level_moves_target:
            parts = parts * _gain(_DBFS[config.sound.task] + level_db - rms_dbfs(parts[1:].sum(0)))
            level_db = 0.0
        clean, dry = parts[:1], parts[1:].sum(0, keepdims=True)
        target, setting = engineered(config, dry, clean)
        known |= setting
        if noise is not None:
            above_db = max(rms_dbfs(parts[2:]), -90.0) + _ABOVE_NOISE_DB
            threshold_db = min(above_db, rms_dbfs(dry) - _BELOW_SPEECH_DB) + level_db
            known["expander: threshold_db"] = (threshold_db + 80) / 70
    target = target * _gain(level_db) if task.level_moves_target else target
    answer = np.array([known.get(name, np.nan) if drawn else np.nan for name in task.names])
    return dry * _gain(level_db), target, np.clip(answer, 0.005, 0.995).astype(np.float32)


def engineered(
    config: Config, dry: np.ndarray, clean: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """A sound (1, samples) as an engineer has it, and what he sets.

    He takes off noise, and of grown dynamics what makes the crest factor too high (`clean` is
    without both), brings the bands nearer to the task's balance, and the level between its ends.
    """
    task, setting = config.task, {}
    if task.crest_db is not None:
        high_db, low_db = crest_db(dry), crest_db(clean)
        excess_db = -float(outside_db(high_db, -np.inf, task.crest_db))
        clean = dry + (clean - dry) * np.clip(excess_db / max(high_db - low_db, 0.1), 0, 1)
        if excess_db < 1.0:
            setting |= {name: 1.0 for name in task.names if "threshold" in name}
    gains_db = engineer(clean, task, config.sound.sample_rate)
    target = equalised(clean, gains_db, config.sound.sample_rate)
    for band, gain_db in zip(BANDS, gains_db, strict=True):
        setting[f"ZamEQ2: boost_cut_{band}_db"] = NO_GAIN + gain_db / GAIN_RANGE_DB
    if task.rms_dbfs is not None:
        level_dbfs = rms_dbfs(dry)
        gain_db = level_dbfs + float(outside_db(level_dbfs, *task.rms_dbfs)) - rms_dbfs(target)
        target = target * _gain(gain_db)
        setting["ZamEQ2: master_gain_db"] = 0.5 + gain_db / MASTER_RANGE_DB
    return target.astype(np.float32), setting


def equalised(
    audio: np.ndarray, gains_db: Sequence[float], sample_rate: int, octaves: Sequence[float] = ()
) -> np.ndarray:
    """Through two shelves and two bells at the equaliser's bands, or so many octaves above them."""
    board = need("pedalboard")
    kinds = {"l": board.LowShelfFilter, "h": board.HighShelfFilter}
    plugins = []
    for k, (band, (middle_hz, _)) in enumerate(BANDS.items()):
        hz = float(middle_hz * 2 ** (octaves[k] if len(octaves) else 0.0))
        plugins.append(kinds.get(band, board.PeakFilter)(hz, float(gains_db[k]), _Q))
    return process(board.Pedalboard(plugins), np.ascontiguousarray(audio), sample_rate)


def band_levels_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(4,): a sound's level (1, samples) in the equaliser's bands, in dB of its whole level."""
    power = np.square(np.abs(np.fft.rfft(audio[0])))
    hz = np.fft.rfftfreq(audio.shape[1], 1 / sample_rate)
    parts = [power[(hz >= low_hz) & (hz < high_hz)].sum() for low_hz, high_hz in _BANDS_HZ]
    return 10 * np.log10(np.array(parts) / power.sum() + 1e-9)


def crest_db(audio: np.ndarray) -> float:
    """Peak over RMS level of a sound that is not silent."""
    return float(amplitude_to_db(np.abs(audio).max())) - rms_dbfs(audio)


def outside_db(level_db: ArrayLike, low_db: ArrayLike, high_db: ArrayLike) -> np.ndarray:
    """What brings levels back between two ends: 0 inside, softly at the ends if they are apart."""
    knee_db = np.minimum(_KNEE_DB, np.subtract(high_db, low_db))

    def beyond(over_db: np.ndarray) -> np.ndarray:
        in_knee = np.clip(over_db / np.maximum(knee_db, 1e-9) + 0.5, 0, 1) ** 2 * knee_db / 2
        return np.where(over_db < knee_db / 2, in_knee, over_db)

    return beyond(np.subtract(low_db, level_db)) - beyond(np.subtract(level_db, high_db))


def engineer(audio: np.ndarray, task: Task, sample_rate: int) -> np.ndarray:
    """(4,): gains in dB that bring a sound's bands nearer to, or into, the task's balance."""
    levels_db = band_levels_db(audio, sample_rate)
    missing_db = outside_db(levels_db, *np.transpose(task.balance_db))
    missing_db = np.where(levels_db > task.absent_db, missing_db, 0.0)
    return np.clip(task.share * missing_db, -task.most_db, task.most_db)


def expanded(audio: np.ndarray, more: float, sample_rate: int) -> np.ndarray:
    """Dynamics grown by a share, at the old RMS, by at most 12 dB: what a compressor undoes."""
    pole = np.exp(-1 / (0.05 * sample_rate))
    power = lfilter([1 - pole], [1, -pole], np.square(audio, dtype=np.float64)) + 1e-9
    gain = np.clip((power / power.mean()) ** (more / 2), 0.25, 4.0)
    return set_rms(audio * gain, rms_dbfs(audio)).astype(np.float32)


def examples(
    config: Config, split: str, seed: int, *, n: int, seconds: float | None = None
) -> Examples:
    """Clips of the task from the sources of a split; clip `i` does not depend on `n`.

    Raises PluginError where the plug-in that makes the targets is not installed.
    """
    make = _maker(config, split, seed, config.sound.seconds if seconds is None else seconds)
    *sounds, groups = zip(*map(make, range(n)), strict=True)
    return Examples(*(None if clips[0] is None else np.stack(clips) for clips in sounds), groups)


def _maker(config: Config, split: str, seed: int, seconds: float) -> Callable[[int], tuple]:
    """Number -> recording, disturbance, target, name of the source.

    Clips are generated, or recorded where recordings are installed and wanted.
    """
    sound, recorded = config.sound, _recorded(config, check_split(split), seconds)
    source = _GENERATED[sound.task](seconds=seconds, sample_rate=sound.sample_rate)
    if recorded is not None:
        source = Mixture([source, recorded], [1 - sound.real_share, sound.real_share])

    def make(number: int) -> tuple:
        rng = generator(seed, "blackbox", sound.task, split, number)
        return _material(config, source, split, rng)

    return make


def _material(config: Config, source: Source, split: str, rng: np.random.Generator) -> tuple:
    """A recording at the task's level, its disturbance, its target, and its source."""
    task, rate = config.sound.task, config.sound.sample_rate
    clip = source.clip(rng, split)
    # A clip that begins with silence has nothing to treat.
    while rms_dbfs(clip.audio[:, : clip.audio.shape[1] // 2]) < -80:
        clip = source.clip(rng, split)
    sound = set_rms(clip.audio, _DBFS[task]).astype(np.float32)
    noise = non_speech(rng, sound, rate) if task == "speech" else None
    if task == "speech":  # digital silence has no logarithm: every recording has a floor
        floor = _gain(_FLOOR_DBFS) * rng.standard_normal(sound.shape).astype(np.float32)
        sound = sound + floor
    target = distorted(sound, rate) if task == "distortion" else None
    return sound, noise, target, clip.source_id


class Speech(Generated):
    """Clean speech of synthetic speakers; a group is one speaker."""

    prefix = "voice"

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        speaker = Speaker.draw(generator(self.seed, "speaker", index))
        return speak(rng, speaker, seconds=self.seconds, sample_rate=self.sample_rate)


_GENERATED = {
    "distortion": GeneratedGuitars,
    "speech": lambda **sizes: Mixture([Speech(**sizes), GeneratedSpeech(**sizes)]),
    "mastering": GeneratedMixes,
}
_RECORDED = {
    "distortion": RecordedGuitars,
    "speech": lambda **sizes: Packaged("speech", **sizes),
    "mastering": lambda **sizes: Packaged("music", **sizes),
}
# Of `real_data_dir()`, all for tests.
_FOLDERS = {"distortion": "guitar_di", "speech": "speech", "mastering": "music"}


def _recorded(config: Config, split: str, seconds: float) -> Source | None:
    """Recordings of a split, where they are installed and wanted."""
    sound = config.sound
    try:
        found = _RECORDED[sound.task](seconds=seconds, sample_rate=sound.sample_rate)
        return found if sound.real_share and found.groups(split) else None
    except FileNotFoundError:
        return None


def generated_tests(config: Config, *, n: int, seed: int) -> Tests:
    """Clips of sources that are not trained on, spoilt."""
    made = examples(config.but(real_share=0.0), "test", seed, n=n, seconds=TEST_SECONDS)
    rng = generator(seed, "blackbox test", config.sound.task)
    dry, target, answers = zip(*(made.draw(config, k, rng) for k in range(n)), strict=True)
    return dry, target, made.groups, answers


def real_tests(config: Config, *, n: int, seed: int) -> Tests:
    """The same made of recordings. Raises FileNotFoundError if there are none here."""
    source = _real_source(config, TEST_SECONDS)
    rng, items = generator(seed, "blackbox real", config.sound.task), []
    for _ in range(n):
        sound, noise, target, name = _material(config, source, "test", rng)
        dry, target, answer = spoilt(config, sound, rng, noise=noise, target=target)
        items.append((dry, target, name, answer))
    return tuple(zip(*items, strict=True))


def finished_tests(config: Config, *, n: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Recordings as they are, (1, samples) of 6 s, and their sources; see `real_tests`."""
    source, rng = _real_source(config, 2 * TEST_SECONDS), generator(seed, "blackbox finished")
    clips = [source.clip(rng, "test") for _ in range(n)]
    return [clip.audio.astype(np.float32) for clip in clips], [clip.source_id for clip in clips]


def _real_source(config: Config, seconds: float) -> Source:
    """Recordings for the test."""
    sizes = {"seconds": seconds, "sample_rate": config.sound.sample_rate}
    recorded = _recorded(config.but(real_share=1.0), "test", seconds)
    sources = [recordings((_FOLDERS[config.sound.task],), **sizes), recorded]
    return Mixture([source for source in sources if source is not None])


@cache
def _ts9() -> HostedPlugin:
    return HostedPlugin(TS9, parameters=[*_TS9_SETTING])


def distorted(dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """A guitar of any level through the TS9, which always gets it at one level."""
    placed = set_rms(dry, _TS9_DBFS).astype(np.float32)
    return _ts9().process(placed, sample_rate, np.array([*_TS9_SETTING.values()]))


def cached(config: Config, split: str, *, n: int) -> Examples:
    """`examples` of the plan's seed, kept in the cache folder in half precision."""
    sound, seed = config.sound, config.plan.seed
    share = 0.0 if _recorded(config, split, sound.seconds) is None else sound.real_share
    sizes = f"{n}x{sound.seconds:g}s-{sound.sample_rate}-real{share:g}"
    folder = cache_dir() / "blackbox" / f"{sound.task}-{split}-{sizes}-seed{seed}-{_VERSION}"
    fields = {"speech": ("sound", "disturbance"), "distortion": ("sound", "target")}
    names = fields.get(sound.task, ("sound",))
    shape = (1, round(sound.seconds * sound.sample_rate))
    store = ExampleCache(folder, n, dict.fromkeys(names, shape))
    made = _maker(config, split, seed, sound.seconds)

    def make(number: int) -> dict[str, torch.Tensor]:
        sounds = dict(zip(("sound", "disturbance", "target"), made(number), strict=False))
        return {name: torch.from_numpy(sounds[name]) for name in names}

    clips = [store.get(number, make) for number in range(n)]
    stacked = {name: torch.stack([clip[name] for clip in clips]).numpy() for name in names}
    return Examples(stacked["sound"], stacked.get("disturbance"), stacked.get("target"))


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
    groups = tuple(source_of(pairs[k]) for k in chosen)
    return Examples(clips[0], None, clips[1], groups, drawn=False)
