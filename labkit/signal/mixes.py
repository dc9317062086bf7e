"""Small multitrack mixes from seeds: drums, bass and two guitars, faders set by a sober hand."""

from dataclasses import replace

import numpy as np
from scipy import signal

from labkit.signal.guitar import GuitarModel, phrase
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.signal.units import set_rms

_BASS = tuple(midi - 12 for midi in (40, 45, 50, 55, 59, 64))
_MIX_DBFS = -20.0


def drums(rng: np.random.Generator, *, seconds: float, sample_rate: int) -> np.ndarray:
    """A beat of kick, snare and hi-hat whose sounds are drawn too.

    Args:
        rng: the stream to draw from.
        seconds: length, > 0.
        sample_rate: Hz, >= 16000.

    Returns:
        (1, samples) float32, peak 1.
    """
    samples = round(seconds * sample_rate)
    out = np.zeros(samples + sample_rate, np.float32)
    step = 60 / float(rng.uniform(75, 150)) / 4
    sounds = {
        "kick": _kick(rng, sample_rate),
        "snare": _snare(rng, sample_rate),
        "hat": _hat(rng, sample_rate),
    }
    first = int(rng.integers(16))
    every = int(rng.choice([1, 2, 2, 4]))
    for k in range(int(seconds / step) + 1):
        beat = (k + first) % 16
        hit = {
            "kick": beat in (0, 8) or (beat in (6, 10, 11, 14) and rng.random() < 0.3),
            "snare": beat in (4, 12),
        }
        hit["hat"] = beat % every == 0
        for name in (name for name, is_hit in hit.items() if is_hit):
            start = round((k * step + abs(rng.normal(0, 0.004))) * sample_rate)
            sound = sounds[name][: len(out) - start] if start < len(out) else sounds[name][:0]
            out[start : start + len(sound)] += sound * np.float32(rng.uniform(0.7, 1.0))
    return (out[:samples] / max(float(np.abs(out[:samples]).max()), 1e-6))[None]


def _envelope(samples: int, sample_rate: int, seconds: float) -> np.ndarray:
    return np.exp(-np.arange(samples) / (seconds * sample_rate)).astype(np.float32)


def _kick(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 2
    sweep = rng.uniform(42, 62) + rng.uniform(60, 200) * _envelope(
        n, sample_rate, rng.uniform(0.01, 0.03)
    )
    body = np.sin(2 * np.pi * np.cumsum(sweep) / sample_rate) * _envelope(
        n, sample_rate, rng.uniform(0.06, 0.15)
    )
    return (body + 0.2 * rng.standard_normal(n) * _envelope(n, sample_rate, 0.003)).astype(
        np.float32
    )


def _snare(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 2
    band = signal.butter(
        1, [rng.uniform(900, 1800), 9000], "bandpass", fs=sample_rate, output="sos"
    )
    rattle = signal.sosfilt(band, rng.standard_normal(n)) * _envelope(
        n, sample_rate, rng.uniform(0.04, 0.12)
    )
    tone = np.sin(2 * np.pi * rng.uniform(160, 240) * np.arange(n) / sample_rate) * _envelope(
        n, sample_rate, 0.05
    )
    return (0.7 * rattle + 0.6 * tone).astype(np.float32)


def _hat(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    n = sample_rate // 4
    band = signal.butter(
        2, min(rng.uniform(5500, 8000), 0.4 * sample_rate), "highpass", fs=sample_rate, output="sos"
    )
    return (
        0.3
        * signal.sosfilt(band, rng.standard_normal(n))
        * _envelope(n, sample_rate, rng.uniform(0.015, 0.06))
    ).astype(np.float32)


class GeneratedMixes:
    """Drums, a bass and two guitars; a group is one band: its guitars, its bass, its kit.

    Args:
        seed: of the bands.
        seconds: length of a clip, > 0.
        sample_rate: Hz.
        bands: how many in train, validation and test.
    """

    kind = "generated"

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        bands: tuple[int, int, int] = (4_000, 200, 400),
    ) -> None:
        # The guitars' own source checks the numbers and deals the groups.
        self._guitars = GeneratedGuitars(
            seed=seed, seconds=seconds, sample_rate=sample_rate, guitars=bands
        )
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate

    def groups(self, split: str) -> list[str]:
        """The source ids of a split, one per band."""
        return [name.replace("guitar/", "band/") for name in self._guitars.groups(split)]

    def mix(self, rng: np.random.Generator, split: str) -> tuple[np.ndarray, str]:
        """A mix of a random band of the split: (1, samples) float32 at -20 dBFS RMS, and whose it is."""
        groups = self.groups(split)
        band = groups[int(rng.integers(len(groups)))]
        members = generator(self.seed, "band", band)
        sizes = {"sample_rate": self.sample_rate, "seconds": self.seconds}
        low = replace(GuitarModel.draw(members), tuning=_BASS)
        parts = {
            "drums": drums(rng, **sizes),
            "bass": phrase(rng, model=low, style="line", **sizes),
            "rhythm": phrase(
                rng,
                model=GuitarModel.draw(members),
                style=str(rng.choice(["strum", "chords"])),
                **sizes,
            ),
            "lead": phrase(
                rng,
                model=GuitarModel.draw(members),
                style=str(rng.choice(["line", "arpeggio"])),
                **sizes,
            ),
        }
        faders_db = {"drums": -1.0, "bass": -1.0, "rhythm": -4.0, "lead": -5.0}
        total = sum(
            set_rms(part, _MIX_DBFS + faders_db[name] + rng.normal(0, 1.5))
            for name, part in parts.items()
            if np.abs(part).max() > 1e-4
        )
        return set_rms(np.asarray(total, np.float32), _MIX_DBFS).astype(np.float32), band
