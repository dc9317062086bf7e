"""Recordings divided into two halves, both treated alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.signal.augment import colour, draw_response, noise
from labkit.signal.paths import cache_dir, replacing
from labkit.signal.pool import Source
from labkit.signal.sampled import Sampled
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, recordings
from labkit.signal.speech import GeneratedSpeech
from labkit.signal.units import db_to_amplitude
from labkit.systems.style.model import Config, Processor, at_peak, features

# Real recordings, all of them test material.
REAL = {"speech": ("speech",), "music": ("music",), "guitar": ("guitar_di",)}
_GENERATED = {"voices": GeneratedSpeech, "generated": GeneratedGuitars, "sampled": Sampled}
_TRAINED_ON = ("voices", "generated", "voices", "sampled")
_SETTINGS_PER_RECORDING = 4
_FIELDS = ("plain", "target", "plain_features", "reference_features", "truth")


@dataclass(frozen=True)
class Examples:
    """Recordings, each divided into halves A and B: (n, samples)."""

    plain: np.ndarray  # A as recorded
    target: np.ndarray  # A treated
    reference: np.ndarray  # B treated
    truth: np.ndarray  # (n, 9), the parameters, 0..1
    groups: np.ndarray  # (n,) names of the sources


def source(kind: str, *, seconds: float, sample_rate: int) -> Source:
    """Dry ``"voices"``, ``"generated"`` guitars, ``"sampled"`` instruments, or a key of `REAL`.

    Raises FileNotFoundError for real ones where there are none.
    """
    if kind in REAL:
        return recordings(REAL[kind], seconds=seconds, sample_rate=sample_rate)
    return _GENERATED[kind](seconds=seconds, sample_rate=sample_rate)


def examples(
    config: Config, kinds: Sequence[str], split: str, seed: int, *, n: int, seconds: float = 5.0
) -> Examples:
    """Recordings of a split, the `kinds` (see `source`) in turn, at uniform random parameters."""
    processor, rows = Processor(config.sound.sample_rate), []
    halves = _halves(config, kinds, split, seed, n, seconds)
    for k, (group, plain, other) in enumerate(halves):
        truth = generator(seed, "style setting", split, k).uniform(0, 1, len(processor.names))
        target, reference = (processor.render(half, truth)[0] for half in (plain, other))
        rows.append((plain[0], target, reference, truth, group))
    return Examples(*(np.stack(column) for column in zip(*rows, strict=True)))


def _halves(
    config: Config,
    kinds: Sequence[str],
    split: str,
    seed: int,
    n: int,
    seconds: float,
    *,
    coloured: bool = False,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Sources and halves at -12 dBFS, each with sound in it."""
    rate = config.sound.sample_rate
    found = {kind: source(kind, seconds=2 * seconds, sample_rate=rate) for kind in kinds}
    for index in range(n):
        kind = kinds[index % len(kinds)]
        rng = generator(seed, "style recording", split, *kinds, index)
        for _ in range(20):
            clip = found[kind].clip(rng, split)
            audio = _coloured(rng, clip.audio, rate) if coloured else clip.audio
            halves = np.array_split(audio, 2, axis=1)
            if min(np.abs(half).max() for half in halves) > 0.05 * np.abs(audio).max():
                break
        else:
            raise ValueError(f"{kind} recordings must have sound in both halves of {2 * seconds} s")
        yield clip.source_id, *map(at_peak, halves)


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
        path = cache_dir() / "pools" / f"style-{sound.n_examples}x{sizes}-seed{seed}.pt"
        if not path.exists():
            columns = zip(*self._made(), strict=True)
            made = dict(zip(_FIELDS, map(torch.stack, columns), strict=True))
            with replacing(path) as temporary:
                torch.save(made, temporary)
        self.tensors = torch.load(path, weights_only=True, mmap=True)

    def _made(self) -> Iterator[tuple[Tensor, ...]]:
        """The tensors of `_FIELDS`; each recording serves for several settings."""
        config, sound, seed = self.config, self.config.sound, self.config.plan.seed
        processor, left = Processor(sound.sample_rate), sound.n_examples
        samples = round(sound.seconds * sound.sample_rate)
        n = -(-left // _SETTINGS_PER_RECORDING)
        halves = _halves(
            config, _TRAINED_ON, "train", seed, n, sound.encoder_seconds, coloured=True
        )
        for k, (_, whole, other) in enumerate(halves):
            rng = generator(seed, "style settings", k)
            plain = _loud_piece(rng, whole, samples)
            plain_features = features(config, torch.from_numpy(whole))[0].half()
            n_settings = min(_SETTINGS_PER_RECORDING, left - k * _SETTINGS_PER_RECORDING)
            for truth in rng.uniform(0, 1, (n_settings, len(processor.names))):
                target, reference = (
                    torch.from_numpy(processor.render(part, truth)) for part in (plain, other)
                )
                yield (
                    torch.from_numpy(plain),
                    target,
                    plain_features,
                    features(config, reference)[0].half(),
                    torch.from_numpy(truth).float(),
                )

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.config.plan.seed, "style draw", index)
        slot = int(rng.integers(len(self.tensors["truth"])))
        item = {name: self.tensors[name][slot].float() for name in _FIELDS}
        return {**item, "index": torch.tensor(index)}


def _loud_piece(rng: np.random.Generator, audio: np.ndarray, samples: int) -> np.ndarray:
    """The loudest of three pieces."""
    starts = rng.integers(0, audio.shape[1] - samples + 1, 3)
    pieces = [audio[:, start : start + samples] for start in starts]
    return max(pieces, key=lambda piece: float(np.square(piece).sum()))
