"""Recordings cut in two, A and B, treated alike; and five styles that everybody knows by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.effect import process
from labkit.signal.augment import colour, draw_response, noise
from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, replacing
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, GeneratedGuitars, Sampled, Source, recordings
from labkit.signal.speech import GeneratedSpeech
from labkit.systems.blackbox.style import Box, Config, at_peak, hear

# Real recordings, all of them test material.
REAL = {"speech": ("speech",), "music": ("music",), "guitar": ("guitar_di",)}


@dataclass(frozen=True)
class Examples:
    """Recordings, each cut in two.

    Attributes:
        plain: (n, samples), A as it was recorded.
        target: (n, samples), A as it was treated.
        reference: (n, reference samples), B as it was treated.
        truth: (n, 9), the knobs, 0..1.
        groups: n names; recordings of one source share one.
    """

    plain: np.ndarray
    target: np.ndarray
    reference: np.ndarray
    truth: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.plain)


def sources(kind: str, *, seconds: float, sample_rate: int) -> Source:
    """Dry recordings: ``"voices"``, ``"generated"`` guitars, ``"sampled"`` instruments, or a key of `REAL`.

    Raises:
        KeyError: for another kind.
        FileNotFoundError: for real ones where there are none.
    """
    if kind in REAL:
        return recordings(REAL[kind], seconds=seconds, sample_rate=sample_rate)
    made = {"voices": GeneratedSpeech, "generated": GeneratedGuitars, "sampled": Sampled}
    return made[kind](seconds=seconds, sample_rate=sample_rate)


def examples(
    config: Config, kinds: Sequence[str], split: str, seed: int, *, n: int, seconds: float = 5.0
) -> Examples:
    """Recordings of a split, cut in two and treated by the box at random settings, even over its whole range.

    Args:
        config: the rate.
        kinds: of recordings, see `sources`; taken in turn.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: of recordings and settings.
        n: how many.
        seconds: of A, and of B.

    Returns:
        The examples.
    """
    box, rows = Box(config.sample_rate), []
    for clip, plain, other in _halves(config, kinds, split, seed, n, seconds):
        truth = generator(seed, "style setting", split, len(rows)).uniform(0, 1, len(box.board))
        rows.append(
            (
                plain[0],
                *(box.render(part, truth)[0] for part in (plain, other)),
                truth,
                clip.source_id,
            )
        )
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
) -> Iterator[tuple[Clip, np.ndarray, np.ndarray]]:
    """Recordings, the kinds in turn, with their parts A and B at -12 dBFS, both with sound in them."""
    found = {
        kind: sources(kind, seconds=2 * seconds, sample_rate=config.sample_rate) for kind in kinds
    }
    for index in range(n):
        rng = generator(seed, "style recording", split, *kinds, index)
        for _ in range(20):
            clip = found[kinds[index % len(kinds)]].clip(rng, split)
            audio = _coloured(rng, clip.audio, config.sample_rate) if coloured else clip.audio
            parts = np.array_split(audio, 2, axis=1)
            if min(float(np.abs(part).max()) for part in parts) > 0.05 * float(np.abs(audio).max()):
                break
        else:
            raise ValueError(
                f"{kinds[index % len(kinds)]} recordings must have sound in both halves of {2 * seconds} s"
            )
        yield clip, *map(at_peak, parts)


def _coloured(rng: np.random.Generator, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """As another microphone hears it in a room with noise, and as files keep it: often without the highest treble."""
    out = colour(audio, draw_response(sample_rate, rng, strength=0.8))
    out = out + _floor(rng, out, rng.uniform(-85, -45))
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(out, axis=1)
        hz = np.fft.rfftfreq(out.shape[1], 1 / sample_rate)
        limit_hz = rng.choice((4000.0, 5500.0, 8000.0, 8000.0)) * rng.uniform(0.9, 1.0)
        out = np.fft.irfft(
            spectrum * np.clip((limit_hz * 1.05 - hz) / (0.05 * limit_hz), 0, 1),
            out.shape[1],
            axis=1,
        )
    return (out + _floor(rng, out, rng.uniform(-105, -80))).astype(np.float32)


def _floor(rng: np.random.Generator, audio: np.ndarray, level_db: float) -> np.ndarray:
    """Noise, so many dB below a peak: real recordings are never digitally silent."""
    floor = noise(rng, audio.shape[1], pink=bool(rng.integers(2)))
    return floor * (np.abs(audio).max() * 10 ** (level_db / 20) / np.sqrt(np.mean(floor**2)))


class Drawn(Dataset):
    """Examples by number, drawn from a set that is made once: what `labkit.learn.training.fit` asks for.

    Both parts of a recording are heard whole, but only a piece of A is treated. Each recording serves for several
    settings. The set is kept in the cache.

    Args:
        config: sizes and seed.
    """

    _VARIANTS = 4
    _FIELDS = ("plain", "target", "heard_plain", "heard_reference", "truth")

    def __init__(self, config: Config) -> None:
        self.config = config
        sizes = (
            f"{config.heard_seconds:g}s-{config.seconds:g}s-{config.n_mels}-{config.sample_rate}"
        )
        path = cache_dir() / "pools" / f"style-{config.n_examples}x{sizes}-seed{config.seed}.pt"
        if not path.exists():
            rows = list(self._made())
            stacked = {
                name: torch.stack(column)
                for name, column in zip(self._FIELDS, zip(*rows, strict=True), strict=True)
            }
            with replacing(path) as temporary:
                torch.save(stacked, temporary)
        self.tensors = torch.load(path, weights_only=True, mmap=True)

    def _made(self) -> Iterator[tuple[Tensor, ...]]:
        config, box = self.config, Box(self.config.sample_rate)
        kinds, n = (
            ("voices", "generated", "voices", "sampled"),
            -(-config.n_examples // self._VARIANTS),
        )
        halves = _halves(
            config, kinds, "train", config.seed, n, config.heard_seconds, coloured=True
        )
        for k, (_, whole, other) in enumerate(halves):
            rng = generator(config.seed, "style settings", k)
            plain, heard_plain = (
                _piece(rng, whole, round(config.seconds * config.sample_rate)),
                _heard(config, whole),
            )
            for truth in rng.uniform(
                0, 1, (min(self._VARIANTS, config.n_examples - k * self._VARIANTS), len(box.board))
            ):
                target, reference = (
                    torch.from_numpy(box.render(part, truth)) for part in (plain, other)
                )
                heard_reference = hear(config, reference)[0].half()
                yield (
                    torch.from_numpy(plain),
                    target,
                    heard_plain,
                    heard_reference,
                    torch.from_numpy(truth).float(),
                )

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        slot = int(
            generator(self.config.seed, "style draw", index).integers(len(self.tensors["truth"]))
        )
        return {"index": torch.tensor(index)} | {
            name: self.tensors[name][slot].float() for name in self._FIELDS
        }


def _heard(config: Config, audio: np.ndarray) -> Tensor:
    return hear(config, torch.from_numpy(audio))[0].half()


def _piece(rng: np.random.Generator, audio: np.ndarray, samples: int) -> np.ndarray:
    """A piece around which there is sound: the loudest of three, as it stands."""
    starts = rng.integers(0, audio.shape[1] - samples + 1, 3)
    return max(
        (audio[:, start : start + samples] for start in starts),
        key=lambda piece: float(np.square(piece).sum()),
    )


def style_names() -> tuple[str, ...]:
    """The five styles."""
    return tuple(_STYLES)


def in_style(
    name: str, audio: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A recording in one of five styles, each drawn anew within its bounds.

    Args:
        name: of `style_names`.
        audio: (channels, samples).
        sample_rate: Hz.
        rng: of the settings.

    Returns:
        (channels, samples), peak -12 dBFS.

    Raises:
        KeyError: for another style.

    Source: the five styles of Steinmetz, Bryan and Reiss 2022, section 5.3; the settings are ours.
    """
    plugins = [getattr(need("pedalboard"), plugin)(**knobs) for plugin, knobs in _STYLES[name](rng)]
    return at_peak(process(need("pedalboard").Pedalboard(plugins), at_peak(audio), sample_rate))


def _shelf(plugin: str, hz: float, gain_db: float) -> tuple[str, dict[str, float]]:
    return plugin, {"cutoff_frequency_hz": hz, "gain_db": gain_db, "q": 0.7}


def _squeeze(threshold_db: float, ratio: float) -> tuple[str, dict[str, float]]:
    return "Compressor", {
        "threshold_db": threshold_db,
        "ratio": ratio,
        "attack_ms": 5.0,
        "release_ms": 80.0,
    }


def _telephone(rng: np.random.Generator) -> list[tuple[str, dict[str, float]]]:
    low, high = (
        {"cutoff_frequency_hz": rng.uniform(300, 500)},
        {"cutoff_frequency_hz": rng.uniform(2500, 3500)},
    )
    return (
        [("HighpassFilter", low)] * 2
        + [("LowpassFilter", high)] * 2
        + [_squeeze(rng.uniform(-30, -20), 4.0)]
    )


def _warm(rng: np.random.Generator) -> list[tuple[str, dict[str, float]]]:
    return [
        _shelf("LowShelfFilter", rng.uniform(150, 350), rng.uniform(4, 10)),
        _shelf("HighShelfFilter", rng.uniform(2500, 4500), rng.uniform(-12, -5)),
        _squeeze(rng.uniform(-30, -20), rng.uniform(1.5, 3)),
    ]


def _bright(rng: np.random.Generator) -> list[tuple[str, dict[str, float]]]:
    return [
        _shelf("LowShelfFilter", rng.uniform(150, 350), rng.uniform(-8, -2)),
        _shelf("HighShelfFilter", rng.uniform(2500, 4500), rng.uniform(6, 14)),
        _squeeze(rng.uniform(-30, -20), rng.uniform(1.5, 3)),
    ]


def _broadcast(rng: np.random.Generator) -> list[tuple[str, dict[str, float]]]:
    return [
        _shelf("LowShelfFilter", rng.uniform(100, 200), rng.uniform(3, 7)),
        _shelf("HighShelfFilter", rng.uniform(3500, 6000), rng.uniform(3, 7)),
        _squeeze(rng.uniform(-48, -38), rng.uniform(5, 10)),
    ]


def _neutral(rng: np.random.Generator) -> list[tuple[str, dict[str, float]]]:
    return [
        _shelf("LowShelfFilter", rng.uniform(150, 350), rng.uniform(-1, 1)),
        _shelf("HighShelfFilter", rng.uniform(2500, 4500), rng.uniform(-1, 1)),
        _squeeze(rng.uniform(-20, -14), 1.5),
    ]


_STYLES: dict[str, Callable[[np.random.Generator], list[tuple[str, dict[str, float]]]]] = {
    "telephone": _telephone,
    "warm": _warm,
    "bright": _bright,
    "broadcast": _broadcast,
    "neutral": _neutral,
}
