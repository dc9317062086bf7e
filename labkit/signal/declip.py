"""The missing samples of a wave, continued from both sides as an autoregressive process."""

import numpy as np
from scipy.linalg import solve_toeplitz, solveh_banded

_ORDER = 48  # of the predictor


def fill_gaps(audio: np.ndarray, missing: np.ndarray, *, rounds: int = 3) -> np.ndarray:
    """Audio (samples,) in float64 with the samples marked in `missing` (samples,) filled in.

    By turns: the predictor that fits the present guess, then the samples with the least prediction
    error. What `audio` holds at missing places is the first guess.

    Source: Janssen, Veldhuis and Vries, IEEE Trans. ASSP 34(2), 1986, eq. 8 and 15.
    """
    if audio.shape != missing.shape or len(audio) <= _ORDER:
        raise ValueError(
            f"audio and missing must hold the same {_ORDER + 1} samples or more, got {audio.shape}"
        )
    found, places = audio.astype(np.float64), np.flatnonzero(missing)
    if not len(places):
        return found
    window, known = np.hanning(len(found)), np.where(missing, 0.0, found)
    # Missing samples further apart than the order are not coupled: the normal equations are banded.
    # Row m of `apart` is the distance from each missing sample to the m-th one after it.
    later = np.arange(_ORDER + 1)[:, None] + np.arange(len(places))
    apart = places[np.minimum(later, len(places) - 1)] - places
    coupled = (later < len(places)) & (apart <= _ORDER)
    for _ in range(rounds):
        predictor = _predictor(found * window)
        b = np.convolve(predictor, predictor[::-1])[_ORDER:]
        normal = np.where(coupled, b[np.minimum(apart, _ORDER)], 0.0)
        normal[0] *= 1 + 1e-9  # keeps the matrix positive definite
        pull = np.convolve(known, np.concatenate([b[:0:-1], b]), mode="same")[places]
        found[places] = -solveh_banded(normal[: len(places)], pull, lower=True)
    return found


def filled_tops(audio: np.ndarray, height: float, *, stretches: int = 6) -> np.ndarray:
    """How high a wave (samples,) went where it is missing above `height` on either side of 0.

    One value by `fill_gaps` for each of at most `stretches` stretches, the long and steep ones.
    """
    missing = np.abs(audio) > height
    edges = np.diff(np.concatenate([[0], missing.view(np.int8), [0]]))
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    inside = (begin >= 2) & (end <= len(audio) - 2)
    begin, end = begin[inside], end[inside]
    loud, tops = np.abs(audio), []
    steep = loud[begin - 1] - loud[begin - 2] + loud[end] - loud[end + 1]
    for k in np.argsort(-steep * (end - begin), kind="stable")[:stretches]:
        part = slice(max(0, begin[k] - 500), end[k] + 500)
        filled = np.abs(fill_gaps(audio[part], missing[part]))
        tops.append(filled[begin[k] - part.start : end[k] - part.start].max())
    return np.array(tops)


def _predictor(audio: np.ndarray) -> np.ndarray:
    """(49,) coefficients of the prediction error filter, by the autocorrelation method."""
    lags = np.array([audio[: len(audio) - lag] @ audio[lag:] for lag in range(_ORDER + 1)])
    lags[0] = lags[0] * (1 + 1e-7) + 1e-12
    return np.concatenate([[1.0], -solve_toeplitz(lags[:-1], lags[1:])])
