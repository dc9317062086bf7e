"""What a wave did where it was cut off: filled in from what it did before and after."""

import numpy as np
from scipy.linalg import solve_toeplitz, solveh_banded


def fill_gaps(
    audio: np.ndarray, missing: np.ndarray, *, order: int = 48, rounds: int = 3
) -> np.ndarray:
    """A stretch of sound whose missing samples continue the rest as an autoregressive process would.

    In turns: the predictor that fits the present guess, then the samples that leave it the least error.

    Args:
        audio: (samples,) float; what stands at missing places is where the guess begins.
        missing: (samples,) bool.
        order: of the predictor, below the number of samples.
        rounds: turns.

    Returns:
        (samples,) float64; known samples as they were.

    Raises:
        ValueError: if the shapes differ or the stretch is no longer than `order`.

    Source: Janssen, Veldhuis and Vries, IEEE Trans. ASSP 34(2), 1986, eq. 8 and 15.
    """
    if audio.shape != missing.shape or len(audio) <= order:
        raise ValueError(
            f"audio and missing must hold the same {order + 1} samples or more, got {audio.shape}"
        )
    found, places = audio.astype(np.float64), np.flatnonzero(missing)
    if not len(places):
        return found
    window, known = np.hanning(len(found)), np.where(missing, 0.0, found)
    # Samples further apart than the order do not meet: row m holds the distance to the m-th missing one after each.
    later = np.arange(order + 1)[:, None] + np.arange(len(places))
    apart = places[np.minimum(later, len(places) - 1)] - places
    meet = (later < len(places)) & (apart <= order)
    for _ in range(rounds):
        predictor = _predictor(found * window, order)
        b = np.convolve(predictor, predictor[::-1])[order:]
        normal = np.where(meet, b[np.minimum(apart, order)], 0.0)
        normal[0] *= 1 + 1e-9
        pull = np.convolve(known, np.concatenate([b[:0:-1], b]), mode="same")[places]
        found[places] = -solveh_banded(normal[: len(places)], pull, lower=True)
    return found


def filled_tops(
    audio: np.ndarray, height: float, *, stretches: int = 6, around: int = 500
) -> np.ndarray:
    """How high a wave went where it is missing above a height, in the stretches most likely to hold the highest peak.

    Args:
        audio: (samples,) float, to be trusted up to `height` on either side of 0.
        height: > 0.
        stretches: most of them; the ones that are steep at their ends and long.
        around: samples that are heard before and after each.

    Returns:
        (k,) float64, k <= `stretches`: the highest sample of each by `fill_gaps`; none where nothing is missing.
    """
    missing = np.abs(audio) > height
    edges = np.diff(np.concatenate([[0], missing.view(np.int8), [0]]))
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    inside = (begin >= 2) & (end <= len(audio) - 2)
    begin, end = begin[inside], end[inside]
    loud, tops = np.abs(audio), []
    steep = loud[begin - 1] - loud[begin - 2] + loud[end] - loud[end + 1]
    for k in np.argsort(-steep * (end - begin), kind="stable")[:stretches]:
        part = slice(max(0, begin[k] - around), end[k] + around)
        filled = np.abs(fill_gaps(audio[part], missing[part]))
        tops.append(filled[begin[k] - part.start : end[k] - part.start].max())
    return np.array(tops)


def _predictor(audio: np.ndarray, order: int) -> np.ndarray:
    """(order + 1,) coefficients of the prediction error filter, by the autocorrelation method."""
    lags = np.array([audio[: len(audio) - lag] @ audio[lag:] for lag in range(order + 1)])
    lags[0] = lags[0] * (1 + 1e-7) + 1e-12
    return np.concatenate([[1.0], -solve_toeplitz(lags[:-1], lags[1:])])
