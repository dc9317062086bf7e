"""The envelope follower that compressor, limiter and gate share, sample by sample, and its reverse-time gradient."""

import numba
import numpy as np
from numpy.typing import NDArray

from labkit.effects.twins.kernels.constants import FLOOR


@numba.njit(cache=True, nogil=True)
def follow(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    attack: NDArray[np.floating],
    release: NDArray[np.floating],
    level: NDArray[np.floating],
) -> None:
    """Fill `level` with the envelope of `audio`, from rest.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples).
        attack: (lanes,) share of the old level that a sample keeps while the input is above it, 0 to 1.
        release: (lanes,) the same while the input is at or below it.
        level: (lanes, samples), written.
    """
    real = audio.dtype.type
    floor = real(FLOOR)
    for lane in range(first, stop):
        rising, falling = attack[lane], release[lane]
        state = real(0)
        for sample in range(audio.shape[1]):
            rectified = abs(audio[lane, sample]) + floor
            keep = rising if rectified > state else falling
            state = rectified + keep * (state - rectified)
            level[lane, sample] = state


@numba.njit(cache=True, nogil=True)
def follow_backward(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    attack: NDArray[np.floating],
    release: NDArray[np.floating],
    level: NDArray[np.floating],
    grad_level: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_attack: NDArray[np.floating],
    grad_release: NDArray[np.floating],
) -> None:
    """Fill the gradients of a loss with respect to what `follow` took, from that with respect to what it gave.

    A sample's branch (rising or falling) is taken as given: its own derivative is zero wherever it has one. What is
    carried back through time and summed is float64, so that long decays neither lose digits nor turn subnormal.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples), as in `follow`.
        attack: (lanes,), as in `follow`.
        release: (lanes,), as in `follow`.
        level: (lanes, samples), as `follow` left it.
        grad_level: (lanes, samples), of the loss with respect to `level`.
        grad_audio: (lanes, samples), written.
        grad_attack: (lanes,), written.
        grad_release: (lanes,), written.
    """
    real = audio.dtype.type
    floor = real(FLOOR)
    for lane in range(first, stop):
        rising, falling = attack[lane], release[lane]
        carried, of_attack, of_release = 0.0, 0.0, 0.0
        for sample in range(audio.shape[1] - 1, -1, -1):
            here = audio[lane, sample]
            rectified = abs(here) + floor
            state = level[lane, sample - 1] if sample > 0 else real(0)
            total = grad_level[lane, sample] + carried
            of_keep = total * (state - rectified)
            is_rising = rectified > state
            keep = rising if is_rising else falling
            of_attack += of_keep if is_rising else 0.0
            of_release += 0.0 if is_rising else of_keep
            grad_audio[lane, sample] = np.sign(here) * (1.0 - keep) * total
            carried = keep * total
        grad_attack[lane] = of_attack
        grad_release[lane] = of_release
