"""A delay line that moves and a cascade of allpasses that moves, sample by sample, and their reverse-time gradients."""

import numba
import numpy as np
from numpy.typing import NDArray

from labkit.effects.twins.kernels.constants import SILENT, STAGES, UPDATE_EVERY


@numba.njit(cache=True, nogil=True)
def accumulate(
    first: int, stop: int, increment: NDArray[np.floating], phase: NDArray[np.floating]
) -> None:
    """Fill `phase` with 0, 1, 2, ... times the increment, wrapped at two pi, added up and rounded step by step.

    In float32 the roundings add up to another frequency, some 0.1 % away at 1 Hz: they are part of the sound.

    Args:
        first: item to begin with.
        stop: item to stop before.
        increment: (items,) rad, 0 to 2 pi.
        phase: (items, steps) rad, written.
    """
    turn = phase.dtype.type(2 * np.pi)
    for item in range(first, stop):
        step, here = increment[item], phase.dtype.type(0)
        for index in range(phase.shape[1]):
            phase[item, index] = here
            here += step
            if here >= turn:
                here -= turn


@numba.njit(cache=True, nogil=True)
def delay_line(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    delay: NDArray[np.floating],
    feedback: NDArray[np.floating],
    line: NDArray[np.floating],
    wet: NDArray[np.floating],
) -> None:
    """Fill `wet` with what a line gives at a moving delay; its input is the audio less the last output times feedback.

    Args:
        first: item to begin with.
        stop: item to stop before.
        audio: (items, channels, samples).
        delay: (items, samples), at least 0 samples; between two samples of the line a straight line is drawn.
        feedback: (items,), -1 to 1.
        line: (items, channels, samples), written: what went into the line.
        wet: (items, channels, samples), written.
    """
    real = audio.dtype.type
    silent = real(SILENT)
    for item in range(first, stop):
        back = feedback[item]
        for channel in range(audio.shape[1]):
            dry, past, out = audio[item, channel], line[item, channel], wet[item, channel]
            returned = real(0)
            for sample in range(audio.shape[2]):
                entering = dry[sample] - returned
                past[sample] = real(0) if abs(entering) < silent else entering
                # A delay that is not a number makes the output so, and reads nothing outside the line.
                whole = int(delay[item, sample]) if delay[item, sample] >= 0 else 0
                share = delay[item, sample] - real(whole)
                newer = past[sample - whole] if sample >= whole else real(0)
                older = past[sample - whole - 1] if sample > whole else real(0)
                out[sample] = newer + share * (older - newer)
                returned = out[sample] * back


@numba.njit(cache=True, nogil=True)
def delay_line_backward(
    first: int,
    stop: int,
    delay: NDArray[np.floating],
    feedback: NDArray[np.floating],
    line: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_delay: NDArray[np.floating],
    grad_feedback: NDArray[np.floating],
) -> None:
    """Fill the gradients of a loss with respect to what `delay_line` took, from that with respect to `wet`.

    Where a delay is a whole number of samples its slope is that towards longer delays.

    Args:
        first: item to begin with.
        stop: item to stop before.
        delay: (items, samples), as in `delay_line`.
        feedback: (items,), as in `delay_line`.
        line: (items, channels, samples), as `delay_line` left it.
        grad_wet: (items, channels, samples), of the loss with respect to `wet`.
        grad_audio: (items, channels, samples), written.
        grad_delay: (items, samples), written.
        grad_feedback: (items,), written.
    """
    real = line.dtype.type
    silent = real(SILENT)
    for item in range(first, stop):
        back, of_feedback = feedback[item], 0.0
        grad_delay[item] = 0
        for channel in range(line.shape[1]):
            past, of_wet, of_line = (
                line[item, channel],
                grad_wet[item, channel],
                grad_audio[item, channel],
            )
            of_line[:] = 0
            later = real(0)  # of the sample that enters the line next
            for sample in range(line.shape[2] - 1, -1, -1):
                whole = int(delay[item, sample]) if delay[item, sample] >= 0 else 0
                share = delay[item, sample] - real(whole)
                newer = past[sample - whole] if sample >= whole else real(0)
                older = past[sample - whole - 1] if sample > whole else real(0)
                total = of_wet[sample] - back * later
                of_feedback -= later * (newer + share * (older - newer))
                grad_delay[item, sample] += total * (older - newer)
                if sample >= whole:
                    of_line[sample - whole] += (real(1) - share) * total
                if sample > whole:
                    of_line[sample - whole - 1] += share * total
                later = real(0) if abs(of_line[sample]) < silent else of_line[sample]
        grad_feedback[item] = of_feedback


@numba.njit(cache=True, nogil=True)
def allpasses(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    gain: NDArray[np.floating],
    feedback: NDArray[np.floating],
    wet: NDArray[np.floating],
    states: NDArray[np.floating],
) -> None:
    """Fill `wet` with the output of six allpasses in series; into the first goes audio less last output times feedback.

    Each is a trapezoidal integrator with state s inside its loop: for input u, v = G (u - s) is half of what the
    integrator takes up, the lowpass is v + s, the allpass twice that less u, and s becomes s + 2 v.

    Args:
        first: item to begin with.
        stop: item to stop before.
        audio: (items, channels, samples).
        gain: (items, updates) G of all six, 0 to 1, each for `UPDATE_EVERY` samples.
        feedback: (items,), -1 to 1.
        wet: (items, channels, samples), written.
        states: (items, channels, STAGES), written: the states after the last sample.
    """
    real = audio.dtype.type
    silent, two = real(SILENT), real(2)
    samples = audio.shape[2]
    for item in range(first, stop):
        back, state, returned = feedback[item], states[item], np.zeros(audio.shape[1], audio.dtype)
        state[:] = 0
        for update in range(gain.shape[1]):
            g = gain[item, update]
            # Channels inside: the processor works on a few at a time, as none waits for another.
            for channel in range(audio.shape[1]):
                for stage in range(STAGES):
                    if abs(state[channel, stage]) < silent:
                        state[channel, stage] = 0
                for sample in range(
                    update * UPDATE_EVERY, min((update + 1) * UPDATE_EVERY, samples)
                ):
                    value = audio[item, channel, sample] - returned[channel]
                    for stage in range(STAGES):
                        half = g * (value - state[channel, stage])
                        low = half + state[channel, stage]
                        state[channel, stage] = low + half
                        value = two * low - value
                    wet[item, channel, sample] = value
                    returned[channel] = value * back


@numba.njit(cache=True, nogil=True)
def allpasses_backward(
    first: int,
    stop: int,
    gain: NDArray[np.floating],
    feedback: NDArray[np.floating],
    wet: NDArray[np.floating],
    states: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_gain: NDArray[np.floating],
    grad_feedback: NDArray[np.floating],
) -> None:
    """Fill the gradients of a loss with respect to what `allpasses` took, from that with respect to `wet`.

    Six states per sample need not be kept. With output o and new state t, an allpass can be run backwards: its state
    was t - 2 G (t - o), a recursion as stable as the one forwards (|1 - 2 G| < 1), and its input state + t - o.
    All of it in float64.

    Args:
        first: item to begin with.
        stop: item to stop before.
        gain: (items, updates), as in `allpasses`.
        feedback: (items,), as in `allpasses`.
        wet: (items, channels, samples), as `allpasses` left it.
        states: (items, channels, STAGES), as `allpasses` left it.
        grad_wet: (items, channels, samples), of the loss with respect to `wet`.
        grad_audio: (items, channels, samples), written.
        grad_gain: (items, updates), written.
        grad_feedback: (items,), written.
    """
    channels, samples = wet.shape[1:]
    for item in range(first, stop):
        back, of_feedback = feedback[item], 0.0
        state, of_state = states[item].astype(np.float64), np.zeros((channels, STAGES))
        later = np.zeros(channels)  # of the samples that enter the first allpass next
        for update in range(gain.shape[1] - 1, -1, -1):
            g, of_gain = np.float64(gain[item, update]), 0.0
            for channel in range(channels):
                for sample in range(
                    min((update + 1) * UPDATE_EVERY, samples) - 1, update * UPDATE_EVERY - 1, -1
                ):
                    value = np.float64(wet[item, channel, sample])
                    total = grad_wet[item, channel, sample] - back * later[channel]
                    of_feedback -= later[channel] * value
                    for stage in range(STAGES - 1, -1, -1):
                        new, of_new = state[channel, stage], of_state[channel, stage]
                        old = new - 2 * g * (new - value)
                        value = old + new - value
                        of_gain += 2 * (value - old) * (total + of_new)
                        of_state[channel, stage] = 2 * (1 - g) * total + (1 - 2 * g) * of_new
                        total = (2 * g - 1) * total + 2 * g * of_new
                        state[channel, stage] = old
                    grad_audio[item, channel, sample] = total
                    later[channel] = total
            grad_gain[item, update] = of_gain
        grad_feedback[item] = of_feedback
