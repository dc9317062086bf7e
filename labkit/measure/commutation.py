"""Which orders of two pedals can be told apart: both orders rendered, and their distance measured."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from labkit.effects.registry import effect
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

INPUT_RMS_DBFS = -20.0
# Two renders this close count as the same sound.
ALIKE_DB = 30.0


@dataclass(frozen=True)
class Swap:
    """Two pedals, swapped in random settings on several clips.

    Attributes:
        first: a pedal's name.
        second: the other one's.
        si_sdr_db: median over the draws of the SI-SDR between the two orders; of two middle draws the lower. +inf where
            both orders are the same sound or both silent, -inf where only one is silent.
        alike_share: share of draws above `ALIKE_DB`.
        inert_share: share of draws in which one of the two alone changes nothing but the level (its output is within
            `ALIKE_DB` of its input), so that no order could be heard.
        n: draws.
    """

    first: str
    second: str
    si_sdr_db: float
    alike_share: float
    inert_share: float
    n: int

    @property
    def alike(self) -> bool:
        """Whether the two orders count as one sound: the median lies above `ALIKE_DB`."""
        return self.si_sdr_db > ALIKE_DB

    def __str__(self) -> str:
        return (
            f"{self.first:10} {self.second:10} {self.si_sdr_db:6.1f} dB  alike {self.alike_share:4.0%}  "
            f"inert {self.inert_share:4.0%}  n={self.n}"
        )


def swap_si_sdr_db(
    first: str,
    second: str,
    *,
    dry: Sequence[np.ndarray],
    sample_rate: int,
    n: int = 24,
    seed: int = 0,
) -> float:
    """How alike two pedals sound in their two orders: the median of `table` for one pair.

    Args:
        first: a pedal's name.
        second: another pedal's name.
        dry: clips (channels, samples), float, none silent; used in turn.
        sample_rate: Hz, of all clips.
        n: random settings, >= 1.
        seed: of the settings.

    Returns:
        dB. The same, up to rounding, for (second, first).

    Raises:
        ValueError, KeyError: as `table`.

    Source: Le Roux et al. 2019, eq. 3 and 4, for SI-SDR. It depends on the angle between the two sounds alone, so that
    neither order is the reference.
    """
    return table([first, second], dry=dry, sample_rate=sample_rate, n=n, seed=seed)[0].si_sdr_db


def table(
    names: Sequence[str], *, dry: Sequence[np.ndarray], sample_rate: int, n: int = 24, seed: int = 0
) -> list[Swap]:
    """Every pair of pedals, rendered in both orders.

    Every clip enters at `INPUT_RMS_DBFS`, because a drive or a threshold is only defined relative to its input. In
    draw k a pedal has the same clip and the same random setting in every pair.

    Args:
        names: two or more distinct pedals.
        dry: clips (channels, samples), float, none silent; used in turn.
        sample_rate: Hz, of all clips.
        n: random settings, >= 1.
        seed: of the settings.

    Returns:
        One `Swap` per pair, in the order of `itertools.combinations(names, 2)`.

    Raises:
        ValueError: for fewer than two or repeated names, no or a silent clip, or `n` below 1.
        KeyError: for an unknown pedal.
    """
    if len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(f"names must be two or more distinct pedals, got {list(names)}")
    if not len(dry) or not all(np.any(clip) for clip in dry):
        raise ValueError(f"dry must hold clips that sound, got {len(dry)} clips, silent or none")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    pairs = list(itertools.combinations(names, 2))
    draws = [
        _draw(names, set_rms(dry[k % len(dry)], INPUT_RMS_DBFS), sample_rate, k, seed)
        for k in range(n)
    ]
    rows = []
    for pair in pairs:
        alike_db = [distances[pair] for distances, _ in draws]
        inert = [bool(idle & set(pair)) for _, idle in draws]
        alike_share = float(np.mean([db > ALIKE_DB for db in alike_db]))
        rows.append(Swap(*pair, median_low(alike_db), alike_share, float(np.mean(inert)), n))
    return rows


def _draw(
    names: Sequence[str], dry: np.ndarray, sample_rate: int, k: int, seed: int
) -> tuple[dict[tuple[str, str], float], set[str]]:
    """Distance of every pair's two orders in draw `k`, and the pedals that do nothing there."""
    settings = {name: effect(name).space.sample(generator(seed, "swap", name, k)) for name in names}
    alone = {name: effect(name).render(dry, sample_rate, **settings[name]) for name in names}
    distances = {pair: _alike_db(*both) for pair, both in _swapped(alone, settings, sample_rate)}
    return distances, {name for name in names if _alike_db(dry, alone[name]) > ALIKE_DB}


def _swapped(
    alone: Mapping[str, np.ndarray], settings: Mapping[str, Mapping[str, float]], sample_rate: int
) -> Iterator[tuple[tuple[str, str], tuple[np.ndarray, np.ndarray]]]:
    for first, second in itertools.combinations(alone, 2):
        ahead = effect(second).render(alone[first], sample_rate, **settings[second])
        behind = effect(first).render(alone[second], sample_rate, **settings[first])
        yield (first, second), (ahead, behind)


def _alike_db(one: np.ndarray, other: np.ndarray) -> float:
    """SI-SDR as `labkit.measure.metrics.si_sdr_db`, with silence allowed.

    By sums instead of `@`: BLAS wakes its threads for every product, which on a busy machine makes thousands of short
    ones some twenty times slower.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    energy, other_energy = float((one * one).sum()), float((other * other).sum())
    if not energy or not other_energy:
        return math.inf if energy == other_energy else -math.inf
    target = (one * other).sum() / energy * one
    signal, distortion = float((target * target).sum()), float(((other - target) ** 2).sum())
    if not signal:
        return -math.inf
    return 10 * math.log10(signal / distortion) if distortion else math.inf
