"""Scores of predicted chains and of predicted sound."""

import math
from collections.abc import Callable, Sequence

import numpy as np

Names = Sequence[str]


def levenshtein(first: Names, second: Names) -> int:
    """Fewest insertions, deletions and substitutions of pedals that turn one chain into the other.

    Source: Levenshtein 1966; Wagner and Fischer's table, one row at a time.
    """
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def macro_f1(truth: Sequence[Names], predicted: Sequence[Names], pedals: Names) -> float:
    """F1 of each pedal's presence, averaged over the pedals.

    Args:
        truth: the true chains' pedals, order ignored.
        predicted: as many.
        pedals: the shelf. A pedal that neither occurs nor is predicted counts 1.

    Returns:
        0..1. A constant answer scores high wherever most chains hold most pedals: read it beside the floor.

    Raises:
        ValueError: if the lengths differ or are 0.
    """
    _check(truth, predicted)
    scores = []
    for pedal in pedals:
        is_there = np.array([pedal in names for names in truth])
        is_said = np.array([pedal in names for names in predicted])
        counted = int(is_there.sum() + is_said.sum())
        scores.append(2 * int((is_there & is_said).sum()) / counted if counted else 1.0)
    return float(np.mean(scores))


def chain_scores(truth: Sequence[Names], predicted: Sequence[Names]) -> dict[str, np.ndarray]:
    """Scores of each clip.

    Args:
        truth: the true canonical orders.
        predicted: the predicted canonical orders.

    Returns:
        ``exact`` and ``set`` (0/1), ``levenshtein``, each (clips,); ``order`` (0/1) on the clips whose set is right
        and holds at least two pedals, NaN elsewhere.

    Raises:
        ValueError: if the lengths differ or are 0.
    """
    _check(truth, predicted)
    exact = np.array(
        [tuple(a) == tuple(b) for a, b in zip(truth, predicted, strict=True)], dtype=float
    )
    same_set = np.array(
        [set(a) == set(b) for a, b in zip(truth, predicted, strict=True)], dtype=float
    )
    long = np.array([len(names) > 1 for names in truth])
    order = np.where((same_set > 0) & long, exact, np.nan)
    distance = np.array(
        [levenshtein(a, b) for a, b in zip(truth, predicted, strict=True)], dtype=float
    )
    return {"exact": exact, "set": same_set, "order": order, "levenshtein": distance}


def kendall_tau(truth: Names, predicted: Names, joined: Callable[[str, str], bool]) -> float:
    """Agreement of two orders on the pairs of pedals that both hold and whose order can be heard.

    Args:
        truth: the true order.
        predicted: another order, perhaps of other pedals.
        joined: whether swapping two pedals changes the sound.

    Returns:
        (pairs in the same order - pairs in the other) / pairs, -1..1; NaN without such a pair.

    Source: Kendall 1938, restricted to distinguishable pairs.
    """
    both = [name for name in truth if name in predicted]
    pairs = [(a, b) for i, a in enumerate(both) for b in both[i + 1 :] if joined(a, b)]
    signs = [1 if predicted.index(a) < predicted.index(b) else -1 for a, b in pairs]
    return float(np.mean(signs)) if signs else math.nan


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB.

    Args:
        reference: any shape.
        estimate: the same shape.

    Returns:
        dB; +inf for a scaled copy, -inf for a silent or orthogonal estimate.

    Raises:
        ValueError: if the shapes differ or the reference is silent.

    Source: Le Roux et al. 2019, eq. 3 and 4.
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


def _check(truth: Sequence[Names], predicted: Sequence[Names]) -> None:
    if len(truth) != len(predicted) or not len(truth):
        raise ValueError(
            f"truth and predicted must be equally long and not empty, got {len(truth)}, {len(predicted)}"
        )
