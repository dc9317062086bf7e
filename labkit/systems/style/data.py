"""Recordings divided into two halves, both treated alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.learn.pool import ExampleCache
from labkit.signal.augment import colour, draw_response, noise
from labkit.signal.packaged import Packaged
from labkit.signal.paths import cache_dir
from labkit.signal.pool import Source
from labkit.signal.recorded import RecordedGuitars
from labkit.signal.sampled import Sampled
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, recordings
from labkit.signal.speech import GeneratedSpeech
from labkit.signal.units import db_to_amplitude
from labkit.systems.style.model import NAMES, Config, at_peak, features, render

_SOURCES = {
    "voices": GeneratedSpeech,
    "generated": GeneratedGuitars,
    "sampled": Sampled,
    "prompts": partial(Packaged, "speech"),
    "albums": partial(Packaged, "music"),
    "players": RecordedGuitars,
    # Real recordings, all of them test material.
    "speech": partial(recordings, ("speech",)),
    "music": partial(recordings, ("music",)),
    "guitar": partial(recordings, ("guitar_di",)),
}
_TRAINED_ON = ("voices", "generated", "voices", "sampled")
_RECORDED = ("prompts", "players", "prompts", "albums")
_SETTINGS_PER_RECORDING = 4


@dataclass(frozen=True)
class Examples:
    """Recordings, each divided into halves A and B: (n, samples)."""

    plain: np.ndarray  # A as recorded
    target: np.ndarray  # A treated
    reference: np.ndarray  # B treated
    truth: np.ndarray  # (n, 9), the parameters, 0..1
    groups: np.ndarray  # (n,) names of the sources


@cache
def source(kind: str, seconds: float, sample_rate: int) -> Source:
    """Voices, generated guitars, sampled instruments; real speech, music or guitars.

    Raises FileNotFoundError for real ones where there are none.
    """
    return _SOURCES[kind](seconds=seconds, sample_rate=sample_rate)


@cache
def trained_on() -> tuple[str, ...]:
    """The kinds that are trained on in turn; half of them are recordings where these are here."""
    try:
        for kind in _RECORDED:
            source(kind, 1.0, 22_050).groups("train")
    except FileNotFoundError:
        return _TRAINED_ON
    return _TRAINED_ON + _RECORDED


def examples(
    config: Config, kinds: Sequence[str], split: str, seed: int, *, n: int, seconds: float = 5.0
) -> Examples:
    """Recordings of a split, the `kinds` (see `source`) in turn, at uniform random parameters."""
    rate, rows = config.sound.sample_rate, []
    for k in range(n):
        group, plain, other = _halves(rate, tuple(kinds), split, seed, k, seconds)
        truth = generator(seed, "style setting", split, k).uniform(0, 1, len(NAMES))
        target, reference = (render(half, rate, truth)[0] for half in (plain, other))
        rows.append((plain[0], target, reference, truth, group))
    return Examples(*(np.stack(column) for column in zip(*rows, strict=True)))


@lru_cache(maxsize=2)
def _halves(
    rate: int,
    kinds: tuple[str, ...],
    split: str,
    seed: int,
    index: int,
    seconds: float,
    *,
    coloured: bool = False,
) -> tuple[str, np.ndarray, np.ndarray]:
    """Name of the source, and two halves of one recording at -12 dBFS, each with sound in it."""
    kind = kinds[index % len(kinds)]
    rng = generator(seed, "style recording", split, *kinds, index)
    for _ in range(20):
        clip = source(kind, 2 * seconds, rate).clip(rng, split)
        audio = _coloured(rng, clip.audio, rate) if coloured else clip.audio
        halves = np.array_split(audio, 2, axis=1)
        if min(np.abs(half).max() for half in halves) > 0.05 * np.abs(audio).max():
            return clip.source_id, *map(at_peak, halves)
    raise ValueError(f"{kind} recordings must have sound in both halves of {2 * seconds} s")


def _coloured(rng: np.random.Generator, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """As of another microphone, with noise, and often without the highest treble."""
    out = colour(audio, draw_response(sample_rate, rng, strength=0.8))
    out = out + _noise_floor(rng, out, rng.uniform(-85, -45))
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(out, axis=1)
        hz = np.fft.rfftfreq(out.shape[1], 1 / sample_rate)
        limit_hz = rng.choice((4000.0, 5500.0, 8000.0, 8000.0)) * rng.uniform(0.9, 1.0)
        lowpass = np.clip((limit_hz * 1.05 - hz) / (0.05 * limit_hz), 0, 1)
        out = np.fft.irfft(spectrum * lowpass, out.shape[1], axis=1)
    # Real recordings are never digitally silent.
    return (out + _noise_floor(rng, out, rng.uniform(-105, -80))).astype(np.float32)


def _noise_floor(rng: np.random.Generator, audio: np.ndarray, level_db: float) -> np.ndarray:
    """Noise at a level relative to the audio's peak."""
    floor = noise(rng, audio.shape[1], pink=bool(rng.integers(2)))
    return floor * (np.abs(audio).max() * db_to_amplitude(level_db) / np.sqrt(np.mean(floor**2)))


class DrawnExamples(Dataset):
    """Training examples by index, drawn from a set that is made once and kept in the cache.

    The encoder gets both halves whole, but only a piece of A is treated.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        sound, seed = config.sound, config.plan.seed
        sizes = f"{sound.encoder_seconds:g}s-{sound.seconds:g}s-{sound.n_mels}-{sound.sample_rate}"
        name = f"style-{len(trained_on())}-{sound.n_examples}x{sizes}-seed{seed}"
        folder = cache_dir() / "pools" / name
        shapes = {name: tuple(value.shape) for name, value in self._made(0).items()}
        self._store = ExampleCache(folder, sound.n_examples, shapes)
        for number in range(sound.n_examples):
            self.example(number)

    def example(self, number: int) -> dict[str, Tensor]:
        kept = self._store.get(number, self._made)
        return {name: tensor.float() for name, tensor in kept.items()}

    def _made(self, number: int) -> dict[str, Tensor]:
        config, sound, seed = self.config, self.config.sound, self.config.plan.seed
        rate, (recording, k) = sound.sample_rate, divmod(number, _SETTINGS_PER_RECORDING)
        _, whole, other = _halves(
            rate, trained_on(), "train", seed, recording, sound.encoder_seconds, coloured=True
        )
        rng = generator(seed, "style settings", recording)
        plain = _loud_piece(rng, whole, round(sound.seconds * rate))
        truth = rng.uniform(0, 1, (_SETTINGS_PER_RECORDING, len(NAMES)))[k]
        reference = torch.from_numpy(render(other, rate, truth))
        return {
            "plain": torch.from_numpy(plain),
            "target": torch.from_numpy(render(plain, rate, truth)),
            "plain_features": features(config, torch.from_numpy(whole))[0],
            "reference_features": features(config, reference)[0],
            "truth": torch.from_numpy(truth),
        }

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.config.plan.seed, "style draw", index)
        item = self.example(int(rng.integers(self.config.sound.n_examples)))
        return {**item, "index": torch.tensor(index)}


def _loud_piece(rng: np.random.Generator, audio: np.ndarray, samples: int) -> np.ndarray:
    """The loudest of three pieces."""
    starts = rng.integers(0, audio.shape[1] - samples + 1, 3)
    pieces = [audio[:, start : start + samples] for start in starts]
    return max(pieces, key=lambda piece: float(np.square(piece).sum()))
