"""Biquads and echoes, sample by sample, the biquad's reverse-time gradient, and the C library's float32 functions."""

from math import cos, sin, tan

import numba
import numpy as np
from numpy.typing import NDArray

from labkit.effects.twins.kernels.constants import BIQUAD_BLOCK as BLOCK
from labkit.effects.twins.kernels.constants import BIQUAD_DROPPED as DROPPED

# As `DROPPED`, for what is carried back in time, far below all that could matter and far above the subnormal numbers.
DROPPED_BACKWARD = 1e-150


@numba.njit(cache=True, nogil=True)
def biquad(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    coefficients: NDArray[np.float64],
    wet: NDArray[np.floating],
) -> None:
    """Fill `wet` with `audio` through one biquad per lane, transposed direct form II, from rest.

    All arithmetic is in the dtype of the audio, operation by operation like the original's: at low corner frequencies
    the rounding of float32 is the larger part of what two renders differ by.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples).
        coefficients: (lanes, 5) b0, b1, b2, a1, a2, with a0 = 1.
        wet: (lanes, samples), written.
    """
    real = audio.dtype.type
    for lane in range(first, stop):
        b0, b1, b2 = (
            real(coefficients[lane, 0]),
            real(coefficients[lane, 1]),
            real(coefficients[lane, 2]),
        )
        a1, a2 = real(coefficients[lane, 3]), real(coefficients[lane, 4])
        next_state, later_state = real(0), real(0)
        for start in range(0, audio.shape[1], BLOCK):
            for sample in range(start, min(start + BLOCK, audio.shape[1])):
                x = audio[lane, sample]
                y = x * b0 + next_state
                next_state = x * b1 - y * a1 + later_state
                later_state = x * b2 - y * a2
                wet[lane, sample] = y
            next_state = next_state if abs(next_state) > DROPPED else real(0)
            later_state = later_state if abs(later_state) > DROPPED else real(0)


@numba.njit(cache=True, nogil=True)
def biquad_backward(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    coefficients: NDArray[np.float64],
    wet: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_coefficients: NDArray[np.float64],
) -> None:
    """Fill the gradients of a loss with respect to what `biquad` took, from that with respect to what it gave.

    With s the gradient `grad_wet` through 1 / A(z), backwards in time: that of the audio is s through B(z), backwards
    too, that of b_k the sum of s[n] x[n-k], that of a_k minus the sum of s[n] y[n-k]. What is carried and summed is
    float64: the gradients of the five coefficients nearly cancel in that of a knob.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples), as in `biquad`.
        coefficients: (lanes, 5), as in `biquad`.
        wet: (lanes, samples), as `biquad` left it.
        grad_wet: (lanes, samples), of the loss with respect to `wet`.
        grad_audio: (lanes, samples), written.
        grad_coefficients: (lanes, 5), written.
    """
    samples = audio.shape[1]
    for lane in range(first, stop):
        b0, b1, b2, a1, a2 = coefficients[lane]
        s1, s2 = 0.0, 0.0  # s one and two samples later
        of_b0, of_b1, of_b2, of_a1, of_a2 = 0.0, 0.0, 0.0, 0.0, 0.0
        for end in range(samples, 0, -BLOCK):
            for sample in range(end - 1, max(end - BLOCK, 0) - 1, -1):
                s = grad_wet[lane, sample] - a1 * s1 - a2 * s2
                grad_audio[lane, sample] = b0 * s + b1 * s1 + b2 * s2
                x, y = audio[lane, sample], wet[lane, sample]
                of_b0 += s * x
                of_b1 += s1 * x
                of_b2 += s2 * x
                of_a1 -= s1 * y
                of_a2 -= s2 * y
                s1, s2 = s, s1
            s1 = s1 if abs(s1) > DROPPED_BACKWARD else 0.0
            s2 = s2 if abs(s2) > DROPPED_BACKWARD else 0.0
        grad_coefficients[lane] = of_b0, of_b1, of_b2, of_a1, of_a2


@numba.njit(cache=True, nogil=True)
def echo(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    feedback: NDArray[np.floating],
    delay: NDArray[np.int64],
    echoes: NDArray[np.floating],
) -> None:
    """Fill `echoes` with d[n] = x[n - D] + f d[n - D], from rest.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples), x.
        feedback: (lanes,), f.
        delay: (lanes,), D in samples, at least 1.
        echoes: (lanes, samples), d, written.
    """
    samples = audio.shape[1]
    for lane in range(first, stop):
        lag, share = delay[lane], feedback[lane]
        echoes[lane, : min(lag, samples)] = 0
        for sample in range(lag, samples):
            echoes[lane, sample] = audio[lane, sample - lag] + share * echoes[lane, sample - lag]


@numba.njit(cache=True, nogil=True)
def echo_backward(
    first: int,
    stop: int,
    feedback: NDArray[np.floating],
    delay: NDArray[np.int64],
    echoes: NDArray[np.floating],
    grad_echoes: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_feedback: NDArray[np.float64],
    grad_delay: NDArray[np.float64],
) -> None:
    """Fill the gradients of a loss with respect to what `echo` took, from that with respect to what it gave.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        feedback: (lanes,), as in `echo`.
        delay: (lanes,), as in `echo`.
        echoes: (lanes, samples), as `echo` left it.
        grad_echoes: (lanes, samples), of the loss with respect to `echoes`.
        grad_audio: (lanes, samples), written.
        grad_feedback: (lanes,), written.
        grad_delay: (lanes,), written: per sample of delay, of a line that interpolates between D and D + 1.
    """
    samples = echoes.shape[1]
    for lane in range(first, stop):
        lag, share = delay[lane], feedback[lane]
        of_feedback, of_delay = 0.0, 0.0
        # The gradient of what the line is read for, at the sample that was written into it: none comes back from
        # beyond the end.
        grad_audio[lane, max(samples - lag, 0) :] = 0
        for sample in range(samples - 1, lag - 1, -1):
            here = echoes[lane, sample]
            returning = grad_audio[lane, sample]
            read = grad_echoes[lane, sample] + share * returning
            grad_audio[lane, sample - lag] = read
            of_feedback += returning * here
            of_delay += read * (echoes[lane, sample - 1] - here)
        grad_feedback[lane] = of_feedback
        grad_delay[lane] = of_delay


@numba.vectorize(["float32(float32)"], cache=True)
def cosine(x: np.float32) -> np.float32:
    """The C library's cosf; numpy and torch have their own, which differ in the last digit."""
    return cos(x)


@numba.vectorize(["float32(float32)"], cache=True)
def sine(x: np.float32) -> np.float32:
    """The C library's sinf."""
    return sin(x)


@numba.vectorize(["float32(float32)"], cache=True)
def tangent(x: np.float32) -> np.float32:
    """The C library's tanf."""
    return tan(x)


@numba.vectorize(["float32(float32)"], cache=True)
def power_of_ten(x: np.float32) -> np.float32:
    """The C library's powf(10, x)."""
    return np.float32(10) ** x
