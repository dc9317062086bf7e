"""The saturating ladder of four one-poles, sample by sample and several lanes abreast; and its gradient."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from labkit.effects.twins.kernels.constants import (
    BEFORE,
    HERE,
    LIMIT_BACKWARD,
    POINTS,
    REACH,
    STATES,
)
from labkit.effects.twins.kernels.constants import LADDER_BLOCK as BLOCK
from labkit.effects.twins.kernels.constants import LADDER_DROPPED as DROPPED

# Lanes that are walked together: each sample waits for the one before, so the processor has time for others.
ABREAST = 4
# As `DROPPED`, for what is carried back in time: far below all that could matter, far above the subnormal numbers.
DROPPED_BACKWARD = 1e-150


@numba.njit(cache=True)
def saturation_table() -> NDArray[np.float32]:
    """(POINTS + 1,) float32: tanh at the points, the last one twice, from single-precision arithmetic."""
    table, real = np.empty(POINTS + 1, np.float32), np.float32
    for point in range(POINTS):
        table[point] = math.tanh(real(-REACH) + real(2 * REACH) * real(point) / real(POINTS - 1))
    table[POINTS] = table[POINTS - 1]
    return table


@numba.njit(cache=True, nogil=True)
def ladder(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    knobs: NDArray[np.floating],
    taps: NDArray[np.floating],
    table: NDArray[np.floating],
    wet: NDArray[np.floating],
) -> None:
    """Fill `wet` with `audio` through the ladder, from rest.

    With S the table, p the pole, k the resonance, and u the drive and g its make-up gain, of the input (1) and of what
    is fed back (2): s[n] = g1 S(u1 x[n]), y0[n] = s[n] - k (g2 S(u2 y4[n-1]) - c s[n]); for the stages i = 1 to 4,
    yi[n] = (1 - p) (0.77 y(i-1)[n] + 0.23 y(i-1)[n-1]) + p yi[n-1]. The output is a sum of y0 to y4.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples), x.
        knobs: (lanes, 6): p, k, u1, g1, u2, g2.
        taps: (6,): weights of y0 to y4, and c.
        table: (POINTS + 1,), as `saturation_table` gives it, in the dtype of the audio.
        wet: (lanes, samples), written.
    """
    states = np.empty((BLOCK + 1, ABREAST, STATES), audio.dtype)
    for lane in range(first, stop, ABREAST):
        group = slice(lane, min(lane + ABREAST, stop))
        states[-1] = 0
        for start in range(0, audio.shape[1], BLOCK):
            states[0] = states[-1]
            block = slice(start, start + BLOCK)
            _through_stages(audio[group, block], knobs[group], taps, table, states)
            _mix(states, taps, wet[group, block])
            _drop(states[-1], DROPPED)


@numba.njit(cache=True, nogil=True)
def ladder_backward(
    first: int,
    stop: int,
    audio: NDArray[np.floating],
    knobs: NDArray[np.floating],
    taps: NDArray[np.floating],
    table: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    grad_knobs: NDArray[np.floating],
) -> None:
    """Fill the gradients of a loss with respect to what `ladder` took, from that with respect to what it gave.

    Nothing of the way forward is kept: a few lanes at a time are run again for their states. The slope of S is that of
    the straight line, 0 beyond the table. What is carried back and summed is float64, and its way around the loop is
    held within `LIMIT_BACKWARD`.

    Args:
        first: lane to begin with.
        stop: lane to stop before.
        audio: (lanes, samples), as in `ladder`.
        knobs: (lanes, 6), as in `ladder`.
        taps: (6,), as in `ladder`.
        table: (POINTS + 1,), as in `ladder`.
        grad_wet: (lanes, samples), of the loss with respect to `wet`.
        grad_audio: (lanes, samples), written.
        grad_knobs: (lanes, 6), written.
    """
    samples = audio.shape[1]
    states = np.empty((samples + 1, ABREAST, STATES), audio.dtype)
    carried, sums = np.empty((ABREAST, STATES)), np.empty((ABREAST, 6))
    for lane in range(first, stop, ABREAST):
        group = slice(lane, min(lane + ABREAST, stop))
        states[0], carried[:], sums[:] = 0, 0, 0
        for start in range(0, samples, BLOCK):
            block = slice(start, start + BLOCK)
            _through_stages(audio[group, block], knobs[group], taps, table, states[start:])
            if start + BLOCK <= samples:
                _drop(states[start + BLOCK], DROPPED)
        for start in range((samples - 1) // BLOCK * BLOCK, -1, -BLOCK):
            x, out, of_x = (
                audio[group, start : start + BLOCK],
                grad_wet[group, start : start + BLOCK],
                grad_audio[group, start : start + BLOCK],
            )
            _back_through_stages(
                x, knobs[group], taps, table, states[start:], out, of_x, carried, sums
            )
            _drop(carried, DROPPED_BACKWARD)
        grad_knobs[group] = sums[: min(ABREAST, stop - lane)]


@numba.njit(cache=True, nogil=True)
def _index(value: float, table: NDArray[np.floating]) -> float:
    """Where a value lies in the table, 0 to POINTS - 1."""
    real = table.dtype.type
    scale = real((POINTS - 1) / (2 * REACH))
    return scale * min(max(value, real(-REACH)), real(REACH)) + real(REACH) * scale


@numba.njit(cache=True, nogil=True)
def _saturated(value: float, table: NDArray[np.floating]) -> float:
    if value != value:
        return value  # no place in the table
    index = _index(value, table)
    point = int(index)
    return table[point] + (index - table.dtype.type(point)) * (table[point + 1] - table[point])


@numba.njit(cache=True, nogil=True)
def _slope(value: float, table: NDArray[np.floating]) -> float:
    if not abs(value) < REACH:
        return 0.0
    point = int(_index(value, table))
    return (float(table[point + 1]) - float(table[point])) * ((POINTS - 1) / (2 * REACH))


@numba.njit(cache=True, nogil=True)
def _through_stages(
    audio: NDArray[np.floating],
    knobs: NDArray[np.floating],
    taps: NDArray[np.floating],
    table: NDArray[np.floating],
    states: NDArray[np.floating],
) -> None:
    """Fill `states` (1 + samples, ABREAST, STATES) after row 0, which is where the lanes stand."""
    real = audio.dtype.type
    for sample in range(audio.shape[1]):
        for lane in range(len(audio)):
            old, new = states[sample, lane], states[sample + 1, lane]
            pole, resonance = knobs[lane, 0], knobs[lane, 1]
            here, before = (real(1) - pole) * real(HERE), (real(1) - pole) * real(BEFORE)
            sent = knobs[lane, 3] * _saturated(knobs[lane, 2] * audio[lane, sample], table)
            returned = knobs[lane, 5] * _saturated(knobs[lane, 4] * old[4], table)
            y = sent - resonance * (returned - sent * taps[STATES])
            new[0] = y
            for stage in range(1, STATES):
                y = before * old[stage - 1] + pole * old[stage] + here * y
                new[stage] = y


@numba.njit(cache=True, nogil=True)
def _mix(
    states: NDArray[np.floating], taps: NDArray[np.floating], wet: NDArray[np.floating]
) -> None:
    for sample in range(wet.shape[1]):
        for lane in range(len(wet)):
            total = states[sample + 1, lane, 0] * taps[0]
            for stage in range(1, STATES):
                total += states[sample + 1, lane, stage] * taps[stage]
            wet[lane, sample] = total


@numba.njit(cache=True, nogil=True)
def _drop(values: NDArray[np.floating], below: float) -> None:
    for lane in range(values.shape[0]):
        for stage in range(values.shape[1]):
            if abs(values[lane, stage]) < below:
                values[lane, stage] = 0


@numba.njit(cache=True, nogil=True)
def _back_through_stages(
    audio: NDArray[np.floating],
    knobs: NDArray[np.floating],
    taps: NDArray[np.floating],
    table: NDArray[np.floating],
    states: NDArray[np.floating],
    grad_wet: NDArray[np.floating],
    grad_audio: NDArray[np.floating],
    carried: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Fill `grad_audio`, bring `carried` (the loss by the states) from the last row to row 0, and add to `sums`."""
    comp = float(taps[STATES])
    for sample in range(audio.shape[1] - 1, -1, -1):
        for lane in range(len(audio)):
            old, new, of, total = (
                states[sample, lane],
                states[sample + 1, lane],
                carried[lane],
                sums[lane],
            )
            pole, resonance = float(knobs[lane, 0]), float(knobs[lane, 1])
            here, before = (1.0 - pole) * HERE, (1.0 - pole) * BEFORE
            above = 0.0
            for stage in range(STATES - 1, 0, -1):
                of_y = of[stage] + grad_wet[lane, sample] * taps[stage] + here * above
                total[0] += of_y * (old[stage] - HERE * new[stage - 1] - BEFORE * old[stage - 1])
                of[stage] = pole * of_y + before * above
                above = of_y
            of_y = of[0] + grad_wet[lane, sample] * taps[0] + here * above
            of_y = min(max(of_y, -LIMIT_BACKWARD), LIMIT_BACKWARD)
            of[0] = before * above
            driven, driven_back = (
                knobs[lane, 2] * audio[lane, sample],
                knobs[lane, 4] * old[STATES - 1],
            )
            sent, returned = _saturated(driven, table), _saturated(driven_back, table)
            of_sent, of_returned = (1.0 + resonance * comp) * of_y, -resonance * of_y
            total[1] += of_y * (knobs[lane, 3] * sent * comp - knobs[lane, 5] * returned)
            total[3] += of_sent * sent
            total[5] += of_returned * returned
            of_driven = of_sent * knobs[lane, 3] * _slope(driven, table)
            of_driven_back = of_returned * knobs[lane, 5] * _slope(driven_back, table)
            total[2] += of_driven * audio[lane, sample]
            total[4] += of_driven_back * old[STATES - 1]
            grad_audio[lane, sample] = of_driven * knobs[lane, 2]
            of[STATES - 1] += of_driven_back * knobs[lane, 4]
