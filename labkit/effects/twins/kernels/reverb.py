"""The room of Schroeder and Moorer, sample by sample: combs in parallel, allpasses in series; and its gradient."""

import numba
import numpy as np
from numpy.typing import NDArray

from labkit.effects.twins.kernels.constants import ALLPASS_FEEDBACK, ROUNDED_BY

# As `ROUNDED_BY` for what is carried back in time, in float64, where it rounds to multiples of 1e-116.
ROUNDED_BACKWARD_BY = 1e-100
# Samples that go through all combs before they go through the allpasses.
BLOCK = 1024


@numba.njit(cache=True, nogil=True)
def room(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    feedback: NDArray[np.floating],
    damping: NDArray[np.floating],
    combs: NDArray[np.int64],
    allpasses: NDArray[np.int64],
    wet: NDArray[np.floating],
) -> None:
    """Fill `wet` with the echoes of a room, from rest.

    Every comb gives y[n] = t[n - D] and keeps t[n] = x[n] + f l[n] with l[n] = (1 - d) y[n] + d l[n-1]. Their sum goes
    through the allpasses one after the other, each w[n] = v[n - D] - s[n] with v[n] = s[n] + v[n - D] / 2.

    Args:
        first: item to begin with.
        stop: item to stop before.
        audio: (items, samples), x, heard on every side of the item.
        feedback: (items,), f.
        damping: (items,), d, below 1.
        combs: (sides, combs), D in samples, at least 1.
        allpasses: (sides, allpasses), D in samples, at least 1.
        wet: (items, sides, samples), written.
    """
    sides, n_combs = combs.shape
    n_allpasses = allpasses.shape[1]
    lows = np.empty((BLOCK + 1, n_combs), audio.dtype)
    lines = np.empty((n_combs, combs.max()), audio.dtype)
    passes = np.empty((n_allpasses, allpasses.max()), audio.dtype)
    for item in range(first, stop):
        for side in range(sides):
            lows[-1], lines[:], passes[:] = 0, 0, 0
            at, at_pass = np.zeros(n_combs, np.int64), np.zeros(n_allpasses, np.int64)
            for start in range(0, audio.shape[1], BLOCK):
                x, out = audio[item, start : start + BLOCK], wet[item, side, start : start + BLOCK]
                lows[0] = lows[-1]
                _through_combs(x, feedback[item], damping[item], combs[side], lines, at, lows, out)
                _through_allpasses(out, allpasses[side], passes, at_pass)


@numba.njit(cache=True, nogil=True)
def room_backward(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    feedback: NDArray[np.floating],
    damping: NDArray[np.floating],
    combs: NDArray[np.int64],
    allpasses: NDArray[np.int64],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_feedback: NDArray[np.floating],
    grad_damping: NDArray[np.floating],
) -> None:
    """Fill the gradients of a loss with respect to what `room` took, from that with respect to what it gave.

    Nothing of the way forward is kept: one side of one item at a time is run again for its l[n], `audio`'s dtype times
    combs times samples. Backwards in time an allpass is itself, and a comb nearly so. What is carried back and summed
    is float64.

    Args:
        first: item to begin with.
        stop: item to stop before.
        audio: (items, samples), as in `room`.
        feedback: (items,), as in `room`.
        damping: (items,), as in `room`.
        combs: (sides, combs), as in `room`.
        allpasses: (sides, allpasses), as in `room`.
        grad_wet: (items, sides, samples), of the loss with respect to `wet`.
        grad_audio: (items, samples), written.
        grad_feedback: (items,), written.
        grad_damping: (items,), written.
    """
    sides, n_combs = combs.shape
    samples = audio.shape[1]
    lows = np.empty((samples + 1, n_combs), audio.dtype)
    lines = np.empty((n_combs, combs.max()), audio.dtype)
    unused = np.empty(samples, audio.dtype)
    for item in range(first, stop):
        grad_audio[item], of_feedback, of_damping = 0, 0.0, 0.0
        for side in range(sides):
            lows[0], lines[:] = 0, 0
            at = np.zeros(n_combs, np.int64)
            _through_combs(
                audio[item], feedback[item], damping[item], combs[side], lines, at, lows, unused
            )
            sums = _one_side_backward(
                float(feedback[item]),
                float(damping[item]),
                combs[side],
                allpasses[side],
                lows,
                grad_wet[item, side],
                grad_audio[item],
            )
            of_feedback += sums[0]
            of_damping += sums[1]
        grad_feedback[item], grad_damping[item] = of_feedback, of_damping


@numba.njit(cache=True, nogil=True)
def _through_combs(
    x: NDArray[np.floating],
    share: float,
    keep: float,
    sizes: NDArray[np.int64],
    lines: NDArray[np.floating],
    at: NDArray[np.int64],
    lows: NDArray[np.floating],
    out: NDArray[np.floating],
) -> None:
    """Fill `out` with the sum of the combs, and `lows` (1 + samples, combs) with l, after row 0, which is the state."""
    real = x.dtype.type
    rounded, leave = real(ROUNDED_BY), real(1) - keep
    for sample in range(len(x)):
        total = real(0)
        for comb in range(len(sizes)):
            here = at[comb]
            y = lines[comb, here]
            low = (y * leave + lows[sample, comb] * keep + rounded) - rounded
            lines[comb, here] = (x[sample] + low * share + rounded) - rounded
            lows[sample + 1, comb] = low
            at[comb] = here + 1 if here + 1 < sizes[comb] else 0
            total += y
        out[sample] = total


@numba.njit(cache=True, nogil=True)
def _through_allpasses(
    out: NDArray[np.floating],
    sizes: NDArray[np.int64],
    lines: NDArray[np.floating],
    at: NDArray[np.int64],
) -> None:
    """Send `out` through all allpasses, one after the other, in place."""
    real = out.dtype.type
    rounded, half = real(ROUNDED_BY), real(ALLPASS_FEEDBACK)
    for sample in range(len(out)):
        value = out[sample]
        for number in range(len(sizes)):
            here = at[number]
            stored = lines[number, here]
            lines[number, here] = (value + stored * half + rounded) - rounded
            at[number] = here + 1 if here + 1 < sizes[number] else 0
            value = stored - value
        out[sample] = value


@numba.njit(cache=True, nogil=True)
def _one_side_backward(
    share: float,
    keep: float,
    combs: NDArray[np.int64],
    allpasses: NDArray[np.int64],
    lows: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
) -> tuple[float, float]:
    """Add to `grad_audio`, and return the gradients of feedback and damping, from one side of one item."""
    lines, at = np.zeros((len(combs), combs.max())), np.zeros(len(combs), np.int64)
    passes, at_pass = (
        np.zeros((len(allpasses), allpasses.max())),
        np.zeros(len(allpasses), np.int64),
    )
    of_low = np.zeros(len(combs))
    of_feedback, of_damping = 0.0, 0.0
    for sample in range(len(grad_wet) - 1, -1, -1):
        of_sum = float(grad_wet[sample])
        for number in range(len(allpasses)):
            here = at_pass[number]
            stored = passes[number, here]
            passes[number, here] = (
                of_sum + stored * ALLPASS_FEEDBACK + ROUNDED_BACKWARD_BY
            ) - ROUNDED_BACKWARD_BY
            at_pass[number] = here + 1 if here + 1 < allpasses[number] else 0
            of_sum = stored - of_sum
        of_sample = 0.0
        for comb in range(len(combs)):
            here = at[comb]
            of_kept = lines[comb, here]
            grad_low = (
                share * of_kept + keep * of_low[comb] + ROUNDED_BACKWARD_BY
            ) - ROUNDED_BACKWARD_BY
            lines[comb, here] = of_sum + (1.0 - keep) * grad_low
            of_low[comb] = grad_low
            at[comb] = here + 1 if here + 1 < combs[comb] else 0
            low = lows[sample + 1, comb]
            of_feedback += of_kept * low
            of_damping += grad_low * (lows[sample, comb] - low)
            of_sample += of_kept
        grad_audio[sample] += of_sample
    # Of d: l[n-1] - y[n], which is (l[n-1] - l[n]) / (1 - d) without y.
    return of_feedback, of_damping / (1.0 - keep)
