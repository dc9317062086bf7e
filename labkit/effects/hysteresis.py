"""Magnetic tape's own curve: a state that lags behind the field, walked through as a differential equation."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

# In units of the saturation magnetisation. A shape of 1/3 gives the curve without lag slope 1 at 0, as `tanh` has.
SHAPE = 1.0 / 3.0
COERCIVITY = 0.3
COUPLING = 1e-3
# Longest piece of the field's way that one Runge-Kutta step takes: a quarter of the shape.
STEP = SHAPE / 4.0


def magnetise(field: NDArray[np.floating], *, bias: float = 0.3) -> NDArray[np.float64]:
    """The magnetisation that a field leaves on tape: Jiles and Atherton's equation, from a demagnetised start.

    The equation has no clock, only a way: it is solved along the field itself, which runs straight from sample to
    sample, by Runge and Kutta's fourth-order rule in steps of at most `STEP`. That oversamples exactly where the
    field moves fast.

    Args:
        field: (samples,) drive times signal, finite.
        bias: 0..1, how much of the lag the recorder's bias takes away: the reversible share of the magnetisation. 1
            leaves a curve without memory.

    Returns:
        (samples,) within -1..1.

    Raises:
        ValueError: for another shape, values that are not finite, or a bias out of range.

    Source: Jiles & Atherton 1986; in the form of Chowdhury, DAFx 2019, eq. 14 to 18, of which ours differs by
        integrating over the field instead of time, and by standing for the bias through its effect on the lag.
    """
    field = np.ascontiguousarray(field, dtype=np.float64)
    if field.ndim != 1 or not np.isfinite(field).all():
        raise ValueError(f"field must be (samples,) and finite, got shape {field.shape}")
    if not 0 <= bias <= 1:
        raise ValueError(f"bias must lie in 0..1, got {bias}")
    out = np.empty_like(field)
    _walk(field, out, float(bias))
    return out


@numba.njit(cache=True, nogil=True)
def _slope(field: float, magnetisation: float, sign: float, bias: float) -> float:
    u = (field + COUPLING * magnetisation) / SHAPE
    if abs(u) < 1e-2:  # the difference of two large numbers below: its series is exact to 1e-9
        level, steepness = u / 3.0, 1.0 / 3.0 - u * u / 15.0
    else:
        coth = 1.0 / math.tanh(u)
        level, steepness = coth - 1.0 / u, 1.0 / (u * u) - coth * coth + 1.0
    lag = level - magnetisation
    reversible = bias * steepness / SHAPE
    # Domain walls move towards the curve without lag only: against it the irreversible part rests.
    irreversible = 0.0
    if lag * sign > 0.0 and bias < 1.0:
        irreversible = (1.0 - bias) * lag / ((1.0 - bias) * sign * COERCIVITY - COUPLING * lag)
    return (irreversible + reversible) / (1.0 - COUPLING * reversible)


@numba.njit(cache=True, nogil=True)
def _walk(field: NDArray[np.float64], out: NDArray[np.float64], bias: float) -> None:
    h, m = 0.0, 0.0
    for n in range(len(field)):
        way = field[n] - h
        sign = 1.0 if way > 0.0 else -1.0
        parts = math.ceil(abs(way) / STEP)
        for _ in range(parts):
            dh = way / parts
            first = _slope(h, m, sign, bias)
            second = _slope(h + 0.5 * dh, m + 0.5 * dh * first, sign, bias)
            third = _slope(h + 0.5 * dh, m + 0.5 * dh * second, sign, bias)
            fourth = _slope(h + dh, m + dh * third, sign, bias)
            m += dh / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
            h += dh
        h = field[n]
        out[n] = m
