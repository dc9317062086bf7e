"""What needs no training: alignment, least squares, closed form, and filled peaks."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from labkit.effects.saturation import MEMORYLESS, SPACE, check_curve
from labkit.signal.declip import filled_tops

Audio = NDArray[np.floating]
_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high
_COARSE_SAMPLES = 4096
# `gaps_filled`: levels of atanh(wet) up to which 16 bits are trusted, the value for the peak
# itself, the smallest depth it can tell, and the share of loud samples that must be flat.
_TRUSTED_LEVELS, _CLOSEST = (3.0, 3.7), 0.9998
_LEAST_DEPTH, _FLAT_SHARE = 4.0, 0.1


@dataclass(frozen=True)
class PairFit:
    """A least-squares fit of a pair; `residual` is the share of the wet energy that is left."""

    curve: str
    depth: float
    wet_amplitude: float
    residual: float


def closed_form(clean: Audio, wet: Audio, *, limit: float = 0.9) -> float:
    """Depth (not limited to its range) of wet = tanh(depth clean) from an aligned pair.

    Weighted least squares (Aitken 1936) on the straight line ``atanh(wet) = depth * clean``.

    Raises:
        ValueError: if shapes differ, or no sample of `wet` lies between 0 and `limit`.
    """
    x, y = _pair(clean, wet)
    kept = np.abs(y) < limit
    # An error of wet grows by 1 / (1 - wet^2) in atanh: the weight is the inverse square of that.
    weights = np.square(1 - np.square(y[kept]))
    energy = float((weights * np.square(x[kept])).sum())
    if energy == 0:
        raise ValueError(f"wet must hold samples below {limit} where clean is not 0, got none")
    return float((weights * x[kept] * np.arctanh(y[kept])).sum() / energy)


def least_squares(clean: Audio, wet: Audio, *, curve: str = "tanh") -> PairFit:
    """The fit of wet = a * curve(depth * clean) to an aligned pair (samples,).

    The best `a` of a depth is a quotient of two sums, so only the depth is searched (variable
    projection, Golub & Pereyra 1973): on a grid of equal ratios, then between its neighbours.

    Raises:
        ValueError: if shapes differ, wet is silent, or the curve is unknown or has memory.
    """
    x, y = _pair(clean, wet)
    bend = check_curve(curve).apply
    energy = float(np.square(y).sum())
    if bend is None:
        raise ValueError(f"curve must be one of {', '.join(MEMORYLESS)}, got {curve!r}")
    if energy == 0:
        raise ValueError("wet must not be silent")

    def level_and_rest(x: NDArray, y: NDArray, depth: float) -> tuple[float, float]:
        out = bend(torch.from_numpy(x) * depth).numpy()
        level = float((out * y).sum() / max((out * out).sum(), 1e-300))
        return level, float(np.square(y - level * out).sum())

    some = np.argsort(-np.abs(x), kind="stable")[:: max(1, len(x) // _COARSE_SAMPLES)]
    grid = np.geomspace(_LOW, _HIGH, 48)
    best = int(np.argmin([level_and_rest(x[some], y[some], depth)[1] for depth in grid]))
    found = minimize_scalar(
        lambda log_depth: level_and_rest(x, y, math.exp(log_depth))[1],
        bounds=(np.log(grid[max(best - 2, 0)]), np.log(grid[min(best + 2, 47)])),
        method="bounded",
        options={"xatol": 1e-7},
    )
    depth = math.exp(found.x)
    level, rest = level_and_rest(x, y, depth)
    return PairFit(curve, depth, level, rest / energy)


def best_curve(clean: Audio, wet: Audio) -> PairFit:
    """`least_squares` of every memoryless curve; the one with the smallest residual."""
    fits = [least_squares(clean, wet, curve=name) for name in MEMORYLESS]
    return min(fits, key=lambda fit: fit.residual)


def gaps_filled(wet: Audio) -> float | None:
    """The depth of tanh, 4..10, from the wet signal (samples,) alone, at any level.

    None where the peaks are not flat enough, as after noise or a codec. From a depth of about 4 the
    loudest peak reaches the curve's limit, so the level is known, the curve can be inverted up to
    some level, and higher peaks are filled in from both sides (`labkit.signal.declip`).
    """
    peak = float(np.abs(wet).max())
    if peak == 0:
        return None
    share = np.abs(wet) / peak
    # Noise leaves very few samples within a thousandth of the highest one.
    if (share > 0.9985).sum() < _FLAT_SHARE * (share > 0.98).sum():
        return None
    inverted = np.arctanh(np.clip(np.asarray(wet, np.float64) / peak, -_CLOSEST, _CLOSEST))
    tops = [filled_tops(inverted, level).max(initial=level) for level in _TRUSTED_LEVELS]
    depth = float(np.mean(np.minimum(tops, 1.2 * _HIGH)))
    return min(depth, _HIGH) if depth > _LEAST_DEPTH else None


def _pair(clean: Audio, wet: Audio) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if clean.shape != wet.shape or clean.ndim != 1 or not clean.size:
        raise ValueError(
            f"clean and wet must be (samples,) of one length, got {clean.shape} and {wet.shape}"
        )
    return np.asarray(clean, dtype=np.float64), np.asarray(wet, dtype=np.float64)
