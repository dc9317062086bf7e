"""Scores of predicted chains, sounds, sets and speech."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.units import rms_dbfs

Names = Sequence[str]


def levenshtein(first: Names, second: Names) -> int:
    """Fewest insertions, deletions and substitutions of pedals between two chains."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def macro_f1(truth: Sequence[Names], predicted: Sequence[Names], pedals: Names) -> float:
    """F1 of each pedal's presence, averaged; a pedal neither present nor predicted counts as 1."""
    scores = []
    for pedal in pedals:
        occurs = np.array([pedal in names for names in truth])
        named = np.array([pedal in names for names in predicted])
        counted = int(occurs.sum() + named.sum())
        scores.append(2 * int((occurs & named).sum()) / counted if counted else 1.0)
    return float(np.mean(scores))


def chain_scores(truth: Sequence[Names], predicted: Sequence[Names]) -> dict[str, np.ndarray]:
    """Scores of each clip, for canonical orders: ``exact``, ``set`` (0/1) and ``levenshtein``.

    ``order`` (0/1) is NaN unless the set is right and holds at least two pedals.
    """
    pairs = list(zip(truth, predicted, strict=True))
    exact = np.array([float(tuple(a) == tuple(b)) for a, b in pairs])
    same_set = np.array([float(set(a) == set(b)) for a, b in pairs])
    has_order = (same_set > 0) & np.array([len(names) > 1 for names in truth])
    distance = np.array([float(levenshtein(a, b)) for a, b in pairs])
    order = np.where(has_order, exact, np.nan)
    return {"exact": exact, "set": same_set, "order": order, "levenshtein": distance}


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio of two sounds of one shape, in dB.

    +inf for a scaled copy, -inf for a silent or orthogonal estimate. Source: Le Roux et al. 2019,
    eq. 3 and 4.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"shapes must agree, got {reference.shape} and {estimate.shape}")
    reference, estimate = reference.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
    # Sums of products, not `@`: BLAS threads on vectors this short cost more than they save.
    energy = (reference * reference).sum()
    if energy == 0:
        raise ValueError("reference must not be silent")
    target = (estimate * reference).sum() / energy * reference
    signal, distortion = (target**2).sum(), ((estimate - target) ** 2).sum()
    if signal == 0:
        return -np.inf
    return float(10 * np.log10(signal / distortion)) if distortion > 0 else np.inf


def relative_error_db(expected: np.ndarray | Tensor, given: np.ndarray | Tensor) -> float:
    """Energy of the difference of two sounds of one shape relative to that of `expected`, in dB.

    The energy of `expected` counts as at least 1e-12, and equal sounds have -300 dB.
    """
    expected, given = (np.asarray(x, dtype=np.float64) for x in (expected, given))
    if expected.shape != given.shape:
        raise ValueError(f"shapes must agree, got {expected.shape} and {given.shape}")
    floor = max(np.square(expected).sum(), 1e-12)
    return float(10 * np.log10(np.square(expected - given).sum() / floor + 1e-30))


def calibration_error(stated: ArrayLike, right: ArrayLike) -> float:
    """Mean gap between stated probabilities (n,) and how often they are right, over ten bins.

    Source: Guo et al. 2017, eq. 3 (expected calibration error).
    """
    stated, right = np.asarray(stated, float), np.asarray(right, float)
    place = np.minimum((stated * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, stated - right)).sum() / len(stated))


def calibration_noise(stated: ArrayLike, rng: np.random.Generator) -> float:
    """The mean `calibration_error` of someone whose stated probabilities (n,) are all true.

    It is not 0: of a few clips in a bin, more or fewer are right by chance.
    """
    stated = np.asarray(stated, float)
    lots = rng.random((200, len(stated))) < stated
    return float(np.mean([calibration_error(stated, right) for right in lots]))


def pesq_mos(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """PESQ of speech (1, samples), wideband: an opinion from 1 to 4.6 (ITU-T P.862.2)."""
    return need("pesq").pesq(16_000, *_at_16_khz(sample_rate, target, sound), "wb")


def stoi(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Intelligibility of speech (1, samples), 0 to 1 (Taal et al. 2011)."""
    return need("pystoi").stoi(*_at_16_khz(sample_rate, target, sound), 16_000)


def _at_16_khz(sample_rate: int, *sounds: np.ndarray) -> list[np.ndarray]:
    return [resample(np.ascontiguousarray(sound), sample_rate, 16_000)[0] for sound in sounds]


def pause_level_db(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Level in the target's pauses above that of the rest, mean of 10 ms in dB; NaN without one.

    The first 50 ms of a pause are the end of a word.
    """
    from labkit.signal.speech import pauses  # here: naming a chain loads this module, too

    hop, speech, quiet = sample_rate // 100, np.ones(sound.shape[1], bool), []
    for start, stop in pauses(target, sample_rate):
        speech[start:stop] = False
        first = start + 5 * hop
        frames = sound[0, first : first + (stop - first) // hop * hop].reshape(-1, hop)
        quiet += (10 * np.log10(np.square(frames).mean(1) + 1e-12)).tolist()
    return np.mean(quiet) - rms_dbfs(sound[:, speech]) if quiet else np.nan
