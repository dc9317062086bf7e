"""A clean and a wet recording: their alignment, and the curve that explains the wet one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import least_squares

from labkit.effects.saturation import MEMORYLESS, SPACE, saturate
from labkit.measure.align import lag_of, overlap

_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high
# The best curve must leave less than this share of the wet energy, and less than this part of what
# a straight line leaves; a pair that is less alike is not aligned. All three are chosen on
# generated pairs: `tests/systems/test_saturation.py` draws others and holds them.
MOST_LEFT, MOST_OF_LINE, LEAST_LIKENESS = 0.2, 0.7, 0.2
MAX_LAG_SECONDS, _ALIGNED_SECONDS = 1.0, 10.0
# Less than this is rounding: the wet recording is the clean one at another level.
_LEAST_OF_LINE = 1e-9
LEAD, EDGE = 2048, 64  # clean samples before and behind those that are compared
_LOGS = (math.log(_LOW), math.log(_HIGH))
_N_GRID, _GRID_SAMPLES, _MEMORY_SAMPLES = 16, 8192, 16384


@dataclass(frozen=True)
class PairFit:
    """A least-squares fit of a pair; `residual` is the share of the wet energy that is left."""

    curve: str
    depth: float
    residual: float


@dataclass(frozen=True)
class Pair:
    """What a clean and a wet recording together tell."""

    fits: tuple[PairFit, ...]  # one a curve, the best first
    line: float  # the share that a straight line leaves
    level: float  # of the wet recording, as a factor on the best curve's output
    offset: float  # the wet recording's constant part
    lag_ms: float = 0.0  # of the wet recording behind the clean one
    likeness: float = 1.0  # of their slopes, -1..1; negative for opposite polarity

    @property
    def bar(self) -> float:
        """The largest share that the best curve may leave; 0 if a straight line leaves nothing."""
        return 0.0 if self.line < _LEAST_OF_LINE else min(MOST_LEFT, MOST_OF_LINE * self.line)

    @property
    def explained(self) -> bool:
        """Whether the best curve leaves little, and much less than a straight line."""
        return self.fits[0].residual < self.bar

    @property
    def verdict(self) -> str:
        best = self.fits[0]
        left = f"{best.residual:.2%} of the wet energy is left over; a straight line leaves "
        left += f"{self.line:.2%}, the limit is {self.bar:.2%}"
        if self.explained:
            return f"{best.curve}, depth {best.depth:.2f}: {left}"
        if abs(self.likeness) < LEAST_LIKENESS:
            return (
                f"not aligned: within {MAX_LAG_SECONDS:.0f} s, wet and clean correlate by "
                f"{abs(self.likeness):.2f} at most; a pair has {LEAST_LIKENESS} to 1"
            )
        return f"no curve explains this: with the best one, {best.curve}, {left}"


def aligned(wet: NDArray, clean: NDArray, sample_rate: int) -> tuple[NDArray, NDArray, int, float]:
    """Both recordings (samples,) where they overlap, and `labkit.measure.align.lag_of` them.

    Ten seconds around the loudest place are aligned. Opposite polarity is corrected.
    """
    n, length = min(len(wet), len(clean)), round(_ALIGNED_SECONDS * sample_rate)
    start = max(0, min(int(np.abs(wet[:n]).argmax()) - length // 2, n - length))
    window = slice(start, start + length)
    lag, likeness = lag_of(wet[window], clean[window], round(MAX_LAG_SECONDS * sample_rate))
    wet, clean = overlap(wet, clean, lag)
    return (wet if likeness >= 0 else -wet), clean, lag, likeness


def explain(wet: NDArray, clean: NDArray, curves: tuple[str, ...], **facts: float) -> Pair:
    """The best fit of each curve to a pair that is `aligned` but for up to three samples.

    `wet` is (samples,), `clean` as long with `LEAD` more before and `EDGE` behind. The fit is
    wet = level * curve(depth * (clean - constant)) + offset; `facts` are the others of `Pair`.
    """
    y = wet.astype(np.float64)
    x = clean.astype(np.float64)
    heard = x[LEAD:-EDGE]
    x = x - heard.mean()
    x /= max(float(np.abs(heard - heard.mean()).max()), 1e-9)
    found = sorted((_fit(x, y, curve) for curve in curves), key=lambda one: one[0].residual)
    _, level, offset = found[0]
    target, straight = y - y.mean(), x[LEAD:-EDGE] - x[LEAD:-EDGE].mean()
    share = float(target @ straight) ** 2 / float((target @ target) * (straight @ straight))
    return Pair(tuple(fit for fit, *_ in found), 1.0 - share, level, offset, **facts)


def _fit(x: NDArray, y: NDArray, curve: str) -> tuple[PairFit, float, float]:
    """The fit of one curve, its level and its offset.

    The best level and offset of a setting are sums, so only depth, constant and the rest of the
    lag are searched (variable projection, Golub & Pereyra 1973): on a grid of depths, then down.
    """
    center = int(np.abs(x[LEAD:-EDGE]).argmax())

    def around(n: int) -> slice:
        start = max(0, min(center - n // 2, len(y) - n))
        return slice(start, start + n)

    def bent(setting: NDArray, part: slice) -> NDArray:
        seen = x[part.start : min(part.stop, len(y)) + LEAD + EDGE]
        n = next_fast_len(len(seen), real=True)
        turn = np.exp(2j * np.pi * setting[2] * np.arange(n // 2 + 1) / n)
        moved = irfft(rfft(seen, n) * turn, n)[: len(seen)] - setting[1]
        return saturate(moved, float(np.clip(math.exp(setting[0]), _LOW, _HIGH)), curve=curve)

    def left(setting: NDArray, part: slice) -> NDArray:
        out, target = bent(setting, part)[LEAD:-EDGE], y[part]
        out, target = out - out.mean(), target - target.mean()
        return target - out * (out @ target) / max(float(out @ out), 1e-300)

    few, whole = around(_GRID_SAMPLES), slice(0, len(y))
    grid = [np.array([log_depth, 0.0, 0.0]) for log_depth in np.linspace(*_LOGS, _N_GRID)]
    found = least_squares(
        left,
        min(grid[1:-1], key=lambda setting: float(np.square(left(setting, few)).sum())),
        args=(whole if curve in MEMORYLESS else around(_MEMORY_SAMPLES),),
        bounds=([_LOGS[0], -0.5, -3.0], [_LOGS[1], 0.5, 3.0]),
        x_scale=[0.1, 0.01, 0.1],
        diff_step=1e-4,
        max_nfev=20,
    )
    out = bent(found.x, whole)[LEAD:-EDGE]
    residual = float(np.square(left(found.x, whole)).sum() / np.square(y - y.mean()).sum())
    level = float((out - out.mean()) @ y) / max(float(np.square(out - out.mean()).sum()), 1e-300)
    # A depth counts from the peak of what enters the curve.
    depth = math.exp(found.x[0]) * float(np.abs(x[LEAD:-EDGE] - found.x[1]).max())
    fit = PairFit(curve, float(np.clip(depth, _LOW, _HIGH)), residual)
    return fit, level, float(y.mean() - level * out.mean())
