"""Whether a stated confidence is the share that comes out right, and the one number that mends it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from labkit.measure.score import wilson_interval


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in one interval.

    Attributes:
        low: lower end of the interval, left out except at 0.
        high: upper end, included.
        n: answers.
        confidence: their mean confidence; NaN when there are none.
        share: of them that is right; NaN when there are none.
        interval: 95 % interval of that share; (0, 1) when there are none.
    """

    low: float
    high: float
    n: int
    confidence: float
    share: float
    interval: tuple[float, float]


def reliability(
    confidence: Sequence[float], correct: Sequence[bool], *, n_bins: int = 10
) -> list[Bin]:
    """Stated confidence beside the share that was right, for equally wide intervals of confidence.

    Args:
        confidence: (n,) in 0..1.
        correct: (n,) whether the answer was right.
        n_bins: intervals, >= 1.

    Returns:
        One `Bin` for each interval, from 0 to 1.

    Raises:
        ValueError: if the lengths differ or are 0, a confidence is out of range, or `n_bins` is not positive.

    Source: Guo et al. 2017, section 2 (reliability diagrams).
    """
    stated, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if stated.ndim != 1 or stated.shape != right.shape or not len(stated):
        raise ValueError(
            f"confidence and correct must be equally long and not empty, got {stated.shape} and {right.shape}"
        )
    if not ((stated >= 0) & (stated <= 1)).all():
        raise ValueError(f"confidence must lie in 0..1, got {stated.min()} to {stated.max()}")
    if n_bins < 1:
        raise ValueError(f"n_bins must be positive, got {n_bins}")
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.clip(np.searchsorted(edges, stated, side="left") - 1, 0, n_bins - 1)
    bins = []
    for k in range(n_bins):
        inside = place == k
        n = int(inside.sum())
        means = (
            (float(stated[inside].mean()), float(right[inside].mean())) if n else (np.nan, np.nan)
        )
        interval = wilson_interval(int(right[inside].sum()), n) if n else (0.0, 1.0)
        bins.append(Bin(float(edges[k]), float(edges[k + 1]), n, *means, interval))
    return bins


def expected_calibration_error(
    confidence: Sequence[float], correct: Sequence[bool], *, n_bins: int = 10
) -> float:
    """How far stated confidence lies from the share that was right, averaged over the answers.

    Args and errors as `reliability`. Few answers in a bin make it larger than it is: read it beside n.

    Returns:
        0..1, 0 for perfect calibration.

    Source: Guo et al. 2017, eq. 3.
    """
    filled = [b for b in reliability(confidence, correct, n_bins=n_bins) if b.n]
    return sum(b.n * abs(b.share - b.confidence) for b in filled) / sum(b.n for b in filled)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that makes softmax(logits / temperature) most probable on known answers.

    Args:
        logits: (n, classes), -inf for what cannot be; log-probabilities will do.
        labels: (n,) int, the true classes.

    Returns:
        Between 0.05 and 20; above 1 when the logits were too sure.

    Raises:
        ValueError: if the shapes differ or are empty, or a true class has logit -inf.

    Source: Guo et al. 2017, section 4.2. One number cannot change which class is the most probable.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits must be (n, classes) and labels (n,), n > 0, got {logits.shape} and {labels.shape}"
        )
    rows = np.arange(len(labels))
    if not np.isfinite(logits[rows, labels]).all():
        raise ValueError("labels must name classes with finite logits, got one that cannot be")

    def nats(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    # Convex in 1 / temperature, so one valley: a bounded search finds it.
    found = minimize_scalar(
        nats, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))
