"""Pairs for the three tasks: what comes in, and what another processor, or nobody's cough, made of it.

Everything is made from seeds; real recordings take the place of the sources in evaluation, and anybody's folders of
pairs in training.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from labkit.effects.effect import process
from labkit.effects.hosts import HostedPlugin, open_plugin
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioFileError, check_audio, read_audio
from labkit.signal.optional import need
from labkit.signal.paths import cache_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, GeneratedMixes, check_split
from labkit.signal.speech import Speaker, non_speech, speak
from labkit.signal.units import set_rms
from labkit.systems.blackbox.config import PROCESSORS, Config, Processor, Task

# Raise it when what the seeds make changes: cached clips are made anew.
_VERSION = 2
GUITAR_DBFS, MIX_DBFS = -20.0, -20.0
MASTER_LUFS = -14.0
_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")
_VOICES = {"train": range(4000), "validation": range(4000, 4200), "test": range(4200, 4600)}


@dataclass(frozen=True)
class Examples:
    """Recordings and what they should become.

    Attributes:
        signal: (n, 1, samples), what comes in, at the task's own level.
        extra: (n, 1, samples) that is heard on top of it and should go, or None.
        target: (n, 1, samples).
        groups: n names; clips of one source share one.
    """

    signal: np.ndarray
    extra: np.ndarray | None
    target: np.ndarray
    groups: tuple[str, ...]

    def dressed(
        self, task: Task, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One example at a random level, with more or less of what should go: dry and target, (1, samples) float32."""
        level = np.float32(10 ** (rng.uniform(*task.level_db) / 20))
        dry = self.signal[index].astype(np.float32)
        target = self.target[index].astype(np.float32)
        if self.extra is not None:
            dry = dry + self.extra[index].astype(np.float32) * np.float32(
                10 ** (rng.uniform(-3, 6) / 20)
            )
        return dry * level, target * level if task.level_moves_target else target


def examples(
    config: Config, split: str, seed: int, *, n: int, seconds: float | None = None
) -> Examples:
    """Pairs of the task from the sources of a split.

    Args:
        config: task, rate and length.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: of the clips.
        n: how many, >= 1.
        seconds: another length than the config's.

    Returns:
        The examples; example `i` does not depend on `n`.

    Raises:
        ValueError: for an unknown split.
        PluginError: where the processor that makes the targets is not installed (distortion: an LV2).
    """
    check_split(split)
    seconds = config.seconds if seconds is None else seconds
    maker = MAKERS[config.task](seconds, config)
    items = [maker(generator(seed, "blackbox", config.task, split, k), split) for k in range(n)]
    signal, extra, target, groups = zip(*items, strict=True)
    return Examples(
        np.stack(signal),
        None if extra[0] is None else np.stack(extra),
        np.stack(target),
        tuple(groups),
    )


Item = tuple[np.ndarray, np.ndarray | None, np.ndarray, str]


def _distortion(seconds: float, config: Config) -> Callable[[np.random.Generator, str], Item]:
    source = GeneratedGuitars(seconds=seconds, sample_rate=config.sample_rate)
    processor, plugin = PROCESSORS[config.processor], opened(config.processor)

    def make(rng: np.random.Generator, split: str) -> Item:
        while True:
            clip = source.clip(rng, split)
            if np.sqrt(np.mean(clip.audio[:, : clip.audio.shape[1] // 2] ** 2)) > 1e-4:
                break
        dry = set_rms(clip.audio, GUITAR_DBFS).astype(np.float32)
        return dry, None, driven(processor, plugin, dry, config.sample_rate), clip.source_id

    return make


def opened(processor: str) -> HostedPlugin:
    """One of `PROCESSORS`, open. Raises PluginError where it is not installed."""
    return open_plugin(PROCESSORS[processor].plugin, parameters=list(PROCESSORS[processor].setting))


def driven(
    processor: Processor, plugin: HostedPlugin, dry: np.ndarray, sample_rate: int
) -> np.ndarray:
    """A guitar of any level through the processor, which it meets at its own.

    Args:
        processor: its setting and levels.
        plugin: the same, open.
        dry: (channels, samples), audible.
        sample_rate: Hz.

    Returns:
        (channels, samples) float32.
    """
    placed = set_rms(dry, processor.meets_dbfs).astype(np.float32)
    wet = plugin.process(placed, sample_rate, np.array(list(processor.setting.values())))
    return wet * np.float32(10 ** (processor.gain_db / 20))


def _speech(seconds: float, config: Config) -> Callable[[np.random.Generator, str], Item]:
    def make(rng: np.random.Generator, split: str) -> Item:
        voices = _VOICES[split]
        voice = voices[int(rng.integers(len(voices)))]
        speaker = Speaker.draw(generator(0, "speaker", voice))
        clean = speak(rng, speaker, seconds=seconds, sample_rate=config.sample_rate)
        return clean, non_speech(rng, clean, config.sample_rate), clean, f"voice/{voice:04d}"

    return make


def _mastering(seconds: float, config: Config) -> Callable[[np.random.Generator, str], Item]:
    source, sample_rate = (
        GeneratedMixes(seconds=seconds, sample_rate=config.sample_rate),
        config.sample_rate,
    )

    def make(rng: np.random.Generator, split: str) -> Item:
        clip = source.clip(rng, split)
        mix, band = clip.audio, clip.source_id
        return miscoloured(rng, mix, sample_rate), None, mastered(mix, sample_rate), band

    return make


MAKERS = {"distortion": _distortion, "speech": _speech, "mastering": _mastering}


def miscoloured(rng: np.random.Generator, mix: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mix as a bad room makes one send it: shelves and a bell askew by up to 8 dB, at -20 dBFS RMS."""
    board = need("pedalboard")
    plugins = [
        board.LowShelfFilter(float(rng.uniform(90, 250)), float(rng.uniform(-8, 8)), 0.7),
        board.PeakFilter(
            float(np.exp(rng.uniform(np.log(250), np.log(4000)))), float(rng.uniform(-7, 7)), 0.8
        ),
        board.HighShelfFilter(float(rng.uniform(3000, 8000)), float(rng.uniform(-8, 5)), 0.7),
    ]
    return set_rms(process(board.Pedalboard(plugins), mix, sample_rate), MIX_DBFS).astype(
        np.float32
    )


def mastered(mix: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mix through the hidden chain: a house equaliser, a compressor, a limiter, at about -14 LUFS.

    Args:
        mix: (channels, samples) as it should have been sent.
        sample_rate: Hz.

    Returns:
        (channels, samples) float32.
    """
    board = need("pedalboard")
    eq = [
        board.HighpassFilter(28.0),
        board.LowShelfFilter(95.0, 2.0, 0.7),
        board.PeakFilter(330.0, -2.5, 0.8),
        board.HighShelfFilter(7500.0, 3.5, 0.7),
    ]
    squeeze = board.Compressor(threshold_db=-24.0, ratio=2.5, attack_ms=15.0, release_ms=120.0)
    limit = board.Limiter(threshold_db=-1.0, release_ms=100.0)
    raised = mix * np.float32(10 ** ((-20.0 - loudness_lufs(mix, sample_rate)) / 20))
    pressed = process(board.Pedalboard([*eq, squeeze]), raised, sample_rate)
    # The limiter adds 4.75 dB of its own.
    pressed = pressed * np.float32(
        10 ** ((MASTER_LUFS - 4.75 - loudness_lufs(pressed, sample_rate)) / 20)
    )
    return process(limit, pressed, sample_rate)


def cached(config: Config, split: str, *, n: int) -> Examples:
    """`examples` of the config's seed, kept in half precision in the cache folder, so that they are made once."""
    names = ("task", "processor", "sample_rate", "seconds", "seed")
    plan = {name: getattr(config, name) for name in names} | {
        "split": split,
        "n": n,
        "version": _VERSION,
    }
    key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_dir() / "blackbox" / f"{config.task}-{split}-{key}.npz"
    if not path.exists():
        made = examples(config, split, config.seed, n=n)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.npz")
        arrays = {
            k: v.astype(np.float16) for k, v in asdict(made).items() if isinstance(v, np.ndarray)
        }
        np.savez(temporary, groups=np.array(made.groups), **arrays)
        os.replace(temporary, path)
    with np.load(path) as file:
        return Examples(
            file["signal"], file.get("extra"), file["target"], tuple(file["groups"].tolist())
        )


def paired_files(dry: str | Path, wet: str | Path) -> list[tuple[Path, Path]]:
    """Recordings before and after, found by their names in two folders.

    Names agree once the folder's own name, and ``dry`` or ``wet``, at their ends is left out: ``a.wav`` and ``a.flac``,
    ``a_dry.wav`` and ``a_wet.wav``, or as in DAPS ``cleanraw/f1_script1_cleanraw.wav`` and
    ``clean/f1_script1_clean.wav``. Both folders may be one.

    Args:
        dry: folder of what comes in.
        wet: folder of what it should become.

    Returns:
        (dry, wet) paths, by name.

    Raises:
        AudioFileError: for a folder that is none, or without a pair.
    """
    found = []
    for folder, word in ((Path(dry), "dry"), (Path(wet), "wet")):
        if not folder.is_dir():
            raise AudioFileError(f"{folder}: a folder of audio files was expected")
        other = "wet" if word == "dry" else "dry"
        # Archives made on a Mac hold a ._twin of every file, which is no sound.
        files = [
            p
            for p in sorted(folder.iterdir())
            if p.suffix.lower() in _AUDIO and not p.name.startswith(".")
        ]
        keys = {_key(p, folder.name, word): p for p in files if not p.stem.endswith(f"_{other}")}
        found.append(keys)
    names = sorted(set(found[0]) & set(found[1]))
    names = [name for name in names if found[0][name] != found[1][name]]
    if not names:
        raise AudioFileError(
            f"no recording of {dry} has the name of one in {wet}: e.g. a_dry.wav and a_wet.wav"
        )
    return [(found[0][name], found[1][name]) for name in names]


def source_of(stem: str) -> str:
    """Whose a recording is, by its name up to the first underscore: ``f1`` of DAPS' ``f1_script1_cleanraw``."""
    return stem.partition("_")[0]


def held_out(pairs: list[tuple[Path, Path]], share: float = 0.1) -> tuple[list, list]:
    """Pairs to train on and pairs to validate on, of different sources; one source alone is cut by its pairs.

    Args:
        pairs: from `paired_files`, at least one.
        share: of the pairs that are kept for validation, at least.

    Returns:
        (to train on, kept); with a single pair, it is both.
    """
    kept, wanted = [], max(1, round(share * len(pairs)))
    sources = list(dict.fromkeys(source_of(dry.stem) for dry, _ in pairs))
    for source in sources[:-1]:
        if len(kept) < wanted:
            kept += [pair for pair in pairs if source_of(pair[0].stem) == source]
    kept = kept or pairs[:wanted]
    return [pair for pair in pairs if pair not in kept] or pairs, kept


def _key(path: Path, folder: str, word: str) -> str:
    return path.stem.removesuffix(f"_{folder}").removesuffix(f"_{word}")


def from_pairs(
    config: Config,
    pairs: list[tuple[Path, Path]],
    seed: int,
    *,
    n: int,
    group: Callable[[str], str] = source_of,
) -> Examples:
    """Clips of anybody's pairs of recordings.

    Args:
        config: rate and length.
        pairs: from `paired_files`.
        seed: of the places that clips are taken from.
        n: how many clips.
        group: gives the group of a pair, e.g. its speaker, from the dry file's stem.

    Returns:
        The examples; what is shorter than a clip is filled up with silence.

    Raises:
        AudioFileError: for a file that cannot be read.
        ValueError: for a pair whose lengths differ by more than a tenth of a second.
    """
    samples, rng = round(config.seconds * config.sample_rate), generator(seed, "pairs")
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    chosen = rng.integers(len(pairs), size=n)
    for index in np.unique(chosen):  # pair by pair: a data set of hours is never in memory
        a, b = _alike(pairs[index], config.sample_rate)
        for k in np.flatnonzero(chosen == index):
            start = int(rng.integers(max(1, a.shape[1] - samples + 1)))
            cut = [x[:, start : start + samples] for x in (a, b)]
            found[int(k)] = tuple(np.pad(x, ((0, 0), (0, samples - x.shape[1]))) for x in cut)
    dry, wet = (np.stack([found[k][side] for k in range(n)]) for side in (0, 1))
    return Examples(dry, None, wet, tuple(group(pairs[index][0].stem) for index in chosen))


def _alike(pair: tuple[Path, Path], sample_rate: int) -> list[np.ndarray]:
    """Both recordings, mono, (1, samples), cut to the shorter one's length."""
    sounds = [read_audio(path, sample_rate=sample_rate, mono=True)[0] for path in pair]
    lengths = [sound.shape[1] for sound in sounds]
    if abs(lengths[0] - lengths[1]) > sample_rate / 10:
        raise ValueError(
            f"{pair[0].name} and {pair[1].name} must be equally long, got {lengths[0]}, {lengths[1]} samples"
        )
    return [check_audio(sound[:, : min(lengths)], sample_rate) for sound in sounds]
