"""What can be known without learning: closed form, least squares, the bound on both, and the leak of the peak."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import minimize_scalar

from labkit.effects.saturation import MEMORYLESS, SPACE, check_curve
from labkit.signal.declip import filled_tops

_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high
# Samples of the first, coarse search; the last one takes them all.
_FEW = 4096
# Of a wet signal at peak 1 whose peaks are flat: the heights of atanh(wet) up to which 16 bits can be trusted; what
# stands for the peak itself; the stretches that are filled in, with their surroundings; from where on it can be said.
_TRUSTED, _CLOSEST = (3.0, 3.7), 0.9998
_FROM, _FLAT_SHARE = 4.0, 0.1


@dataclass(frozen=True)
class PairFit:
    """What least squares found.

    Attributes:
        curve: its name.
        depth: 1..10.
        wet_amplitude: the factor on the curve's output.
        residual: energy that is left, as a share of the wet signal's.
    """

    curve: str
    depth: float
    wet_amplitude: float
    residual: float


def closed_form(
    clean: NDArray[np.floating], wet: NDArray[np.floating], *, limit: float = 0.9
) -> float:
    """Depth of wet = tanh(depth clean) from an aligned pair at known level.

    ``atanh(wet) = depth * clean`` is a straight line through 0. Near full scale an error of the wet signal grows by
    ``1 / (1 - wet^2)``, so each sample counts by that factor's inverse square, and those above `limit` not at all.

    Args:
        clean: (samples,) as it entered the curve.
        wet: (samples,) as it left it.
        limit: in 0..1.

    Returns:
        Depth, not limited to its range.

    Raises:
        ValueError: if shapes differ, or no sample of `wet` lies between 0 and `limit`.

    Source: weighted least squares (Aitken 1936) with the variances of first-order error propagation.
    """
    x, y = _pair(clean, wet)
    kept = np.abs(y) < limit
    weights = np.square(1 - np.square(y[kept]))
    energy = float((weights * np.square(x[kept])).sum())
    if energy == 0:
        raise ValueError(f"wet must hold samples below {limit} where clean is not 0, got none")
    return float((weights * x[kept] * np.arctanh(y[kept])).sum() / energy)


def least_squares(
    clean: NDArray[np.floating],
    wet: NDArray[np.floating],
    *,
    curve: str = "tanh",
    free_level: bool = True,
) -> PairFit:
    """Depth of wet = a * curve(depth * clean) from an aligned pair whose wet level is unknown.

    For each depth the best `a` is known (a quotient of sums), so one search along depth is left: a grid of ratios,
    then a bounded search around its best point.

    Args:
        clean: (samples,) as it entered the curve.
        wet: (samples,), not silent.
        curve: one without memory.
        free_level: False holds `a` at 1.

    Returns:
        The fit.

    Raises:
        ValueError: if shapes differ, the wet signal is silent, or the curve is unknown or has memory.

    Source: variable projection, Golub & Pereyra 1973, of which this is the case of one linear factor.
    """
    x, y = _pair(clean, wet)
    bend, energy = check_curve(curve).bend, float(np.square(y).sum())
    if bend is None:
        raise ValueError(f"curve must be one of {', '.join(MEMORYLESS)}, got {curve!r}")
    if energy == 0:
        raise ValueError("wet must not be silent")

    def level_and_rest(x: NDArray, y: NDArray, depth: float) -> tuple[float, float]:
        f = bend(torch.from_numpy(x) * depth).numpy()
        level = float((f * y).sum() / max((f * f).sum(), 1e-300)) if free_level else 1.0
        return level, float(np.square(y - level * f).sum())

    loud = np.argsort(-np.abs(x), kind="stable")[:: max(1, len(x) // _FEW)]
    grid = np.geomspace(_LOW, _HIGH, 48)
    best = int(np.argmin([level_and_rest(x[loud], y[loud], depth)[1] for depth in grid]))
    bounds = np.log(grid[max(best - 2, 0)]), np.log(grid[min(best + 2, 47)])
    found = minimize_scalar(
        lambda log_depth: level_and_rest(x, y, math.exp(log_depth))[1],
        bounds=bounds, method="bounded", options={"xatol": 1e-7},
    )  # fmt: skip
    depth = math.exp(found.x)
    level, rest = level_and_rest(x, y, depth)
    return PairFit(curve, depth, level, rest / energy)


def best_curve(clean: NDArray[np.floating], wet: NDArray[np.floating]) -> PairFit:
    """`least_squares` on every curve without memory; the one that leaves least. Args and errors as there."""
    return min(
        (least_squares(clean, wet, curve=name) for name in MEMORYLESS), key=lambda fit: fit.residual
    )


def cramer_rao(
    clean: NDArray[np.floating],
    depth: float,
    noise_rms: float,
    *,
    wet_amplitude: float | None = None,
) -> float:
    """The smallest standard deviation that an unbiased estimate of tanh's depth can have under white noise.

    Args:
        clean: (samples,) as it entered the curve.
        depth: the true one, > 0.
        noise_rms: of the noise on the wet signal, in its own units.
        wet_amplitude: None where the level of the wet signal is known to be 1; else its true factor, unknown to
            the estimator, which costs information.

    Returns:
        Standard deviation in units of depth; infinite where the pair says nothing.

    Raises:
        ValueError: for a depth or noise that is not positive.

    Source: Rao 1945, Cramer 1946; with the level unknown, the Schur complement of the 2 x 2 Fisher information.
    """
    if not (depth > 0 and noise_rms > 0):
        raise ValueError(f"depth and noise_rms must be positive, got {depth} and {noise_rms}")
    x = np.asarray(clean, dtype=np.float64)
    level = 1.0 if wet_amplitude is None else wet_amplitude
    out = np.tanh(depth * x)
    by_depth = level * x * (1 - out * out)
    information = float((by_depth * by_depth).sum())
    if wet_amplitude is not None:
        information -= float((by_depth * out).sum()) ** 2 / max(float((out * out).sum()), 1e-300)
    return noise_rms / math.sqrt(information) if information > 0 else math.inf


def peak_leak(wet: NDArray[np.floating]) -> float:
    """What the peak of a wet signal says of its depth when the clean one was normalised to peak 1: nothing is heard.

    Holds for tanh at the level at which it left the curve. A wet signal at any other level, as this system always
    hears it, gives nothing away.

    Args:
        wet: any shape.

    Returns:
        Depth; infinite where the peak has been rounded to 1.
    """
    peak = float(np.abs(wet).max())
    return math.atanh(peak) if peak < 1 else math.inf


def gaps_filled(wet: NDArray[np.floating]) -> float | None:
    """The depth of tanh from the wet signal alone: the curve is undone, and its peaks are filled in from both sides.

    From a depth of about 4 on the loudest peak is as good as the curve's limit, so that the level is known and the
    curve can be undone up to some height. What went higher is missing, and continues what is there. Nothing is learnt.

    Args:
        wet: (samples,), at any level, as it left the curve: noise or a codec on flat peaks makes them useless.

    Returns:
        Depth, 4 to 10; None where the peaks are not flat enough to say.

    Source: Janssen et al. 1986, as in `fill_gaps`, after declipping.
    """
    peak = float(np.abs(wet).max())
    if peak == 0:
        return None
    share = np.abs(wet) / peak
    high = (share > 0.98).sum()
    # Noise leaves next to nothing within a thousandth of the very highest sample.
    if (share > 0.9985).sum() < _FLAT_SHARE * high:
        return None
    undone = np.arctanh(np.clip(np.asarray(wet, np.float64) / peak, -_CLOSEST, _CLOSEST))
    tops = [
        min(filled_tops(undone, height).max(initial=height), 1.2 * _HIGH) for height in _TRUSTED
    ]
    depth = float(np.mean(tops))
    return min(depth, _HIGH) if depth > _FROM else None


def align(
    reference: NDArray[np.floating], wet: NDArray[np.floating]
) -> tuple[NDArray[np.floating], float]:
    """The part of a reference that sounds when the wet signal does, by cross-correlation of the signs.

    Args:
        reference: (samples + 2 * most,): the same performance, begun up to `most` samples earlier or later than
            its middle, or another performance.
        wet: (samples,).

    Returns:
        That part (samples,), and how alike the two are: their correlation, 0..1, whatever its sign; 0 for silence.

    Raises:
        ValueError: if the reference is shorter than the wet signal.

    Source: the polarity coincidence correlator, Wolff, Thomas & Williams 1962.
    """
    if reference.ndim != 1 or wet.ndim != 1 or len(reference) < len(wet):
        raise ValueError(
            f"reference must be (samples,), no shorter than wet, got {reference.shape} and {wet.shape}"
        )
    # Signs alone: a curve without memory changes every amplitude and no sign, so that they agree here best, however
    # deep it is. The waves themselves would agree better where the reference happens to be louder.
    signs = [np.sign(x).astype(np.float32) for x in (reference, wet)]
    # As long as the longer one is enough: what wraps around lands beyond the lags that are looked at.
    n = next_fast_len(len(reference), real=True)
    spectrum = rfft(signs[0], n) * np.conj(rfft(signs[1], n))
    start = int(np.abs(irfft(spectrum, n)[: len(reference) - len(wet) + 1]).argmax())
    clean = reference[start : start + len(wet)]
    energy = float(
        np.square(clean, dtype=np.float64).sum() * np.square(wet, dtype=np.float64).sum()
    )
    alike = (
        abs(float((clean * wet).sum(dtype=np.float64))) / math.sqrt(energy) if energy > 0 else 0.0
    )
    return clean, min(1.0, alike)


def _pair(
    clean: NDArray[np.floating], wet: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if clean.shape != wet.shape or clean.ndim != 1 or not clean.size:
        raise ValueError(
            f"clean and wet must be (samples,) of one length, got {clean.shape} and {wet.shape}"
        )
    return np.asarray(clean, dtype=np.float64), np.asarray(wet, dtype=np.float64)
