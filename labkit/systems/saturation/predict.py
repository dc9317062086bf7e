"""From a recording, or a clean and a wet one, to a curve and its depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from scipy.fft import irfft, next_fast_len, rfft
from torch.utils.data import default_collate

from labkit.effects.saturation import CURVES, MEMORYLESS, SPACE, check_curve, saturate
from labkit.measure.align import align_signs, lag_of, overlap
from labkit.signal.augment import fit as cut
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.systems.saturation.model import CURVE_NAMES, Prediction, SaturationModel, network_inputs

_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high
# The largest share of the wet energy that a fit may leave: twice what noise at -10 dB leaves.
_LARGEST_RESIDUAL = 0.2
_COARSE_SAMPLES = 4096
# 80 % of the depths that are drawn lie within this range: a wider interval says nothing.
_ANY_DEPTH = 0.8 * (_HIGH - _LOW)
_LEAST_SECONDS = 0.1
_LARGEST_MEAN = 0.15  # beside its RMS: one of 300 validation clips has more
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
        if self.line < _LEAST_OF_LINE:
            return "no saturation: wet is clean at another level"
        if self.explained:
            return f"{best.curve}, depth {best.depth:.2f}: {left}"
        if abs(self.likeness) < LEAST_LIKENESS:
            return (
                f"not aligned: within {MAX_LAG_SECONDS:.0f} s, wet and clean correlate by "
                f"{abs(self.likeness):.2f} at most; a pair has {LEAST_LIKENESS} to 1"
            )
        return f"no curve explains this: with the best one, {best.curve}, {left}"


@dataclass(frozen=True)
class Identification:
    """The curve and depth of a recording."""

    curve: str  # the most probable one, or the one that was given
    depth: float  # 1..10, relative to a clean signal of peak 1
    low: float  # ends of the 80 % interval
    high: float
    shares: dict[str, float]  # the probability of each curve
    fit: PairFit | None = None  # least squares after alignment, with a clean signal
    pair: Pair | None = None  # what `predict` finds of a whole clean recording

    @property
    def answer(self) -> tuple[str, float] | None:
        """Curve and depth; None if no curve fits a pair, or if the interval is too wide."""
        if self.pair is not None:
            best = self.pair.fits[0]
            return (best.curve, best.depth) if self.pair.explained else None
        return (self.curve, self.depth) if self.high - self.low < _ANY_DEPTH else None

    @property
    def verdict(self) -> str:
        """The answer in a sentence, and how sure it is."""
        if self.pair is not None:
            return self.pair.verdict
        interval = f"80 % interval {self.low:.2f} to {self.high:.2f}"
        if self.answer is None:
            return f"the depth cannot be told ({interval}): give the clean recording too, --clean"
        return f"{self.curve}, depth {self.depth:.2f}, {interval}"

    @property
    def refined(self) -> tuple[str, float]:
        """For a pair the network decides if the curve has memory; least squares does the rest."""
        fit = self.fit
        if fit is not None and fit.residual <= _LARGEST_RESIDUAL and self.curve in MEMORYLESS:
            return fit.curve, fit.depth
        return self.curve, self.depth


@torch.no_grad()
def predict_batch(model: SaturationModel, inputs: Mapping[str, torch.Tensor]) -> Prediction:
    """The network's prediction for any number of clips, on the CPU."""
    device = next(model.parameters()).device
    parts = []
    for i in range(0, len(inputs["given"]), 32):
        names = ("wet", "reference", "features", "given")
        parts.append(model({name: inputs[name][i : i + 32].to(device) for name in names}))
    return Prediction(*(torch.cat(fields).cpu() for fields in zip(*parts, strict=True)))


def identify(
    model: SaturationModel, clips: Sequence[tuple[np.ndarray, np.ndarray | None]], curve: str | None
) -> list[Identification]:
    """The curve (or the given one) and depth of clips (wet, reference), see `network_inputs`."""
    inputs = default_collate([network_inputs(model.config, *clip) for clip in clips])
    prediction = predict_batch(model, inputs)
    shares = prediction.curve_logits.softmax(1)
    index = shares.argmax(1)
    if curve is not None:
        index = torch.full_like(index, CURVE_NAMES.index(curve))
    center = prediction.of(index)
    # The 80 % quantile of a Laplace density on either side.
    half = -math.log(0.2) * model.spread_factor * prediction.log_spread.exp()
    ends = torch.stack([center, center - half, center + half], 1).exp().clamp(_LOW, _HIGH)
    found = []
    for i, (wet, reference) in enumerate(clips):
        named = dict(zip(CURVE_NAMES, shares[i].tolist(), strict=True))
        fit = None
        if reference is not None and curve in (None, *MEMORYLESS):
            fit = least_squares(reference, wet, MEMORYLESS if curve is None else (curve,))
        found.append(Identification(CURVE_NAMES[index[i]], *ends[i].tolist(), named, fit))
    return found


def least_squares(reference: NDArray, wet: NDArray, curves: Sequence[str] = MEMORYLESS) -> PairFit:
    """The best fit of wet = a * curve(depth * clean) over memoryless curves.

    The reference, as long as wet or longer, is aligned first. For each depth the best `a` is a
    quotient of two sums, so only the depth is searched (variable projection, Golub & Pereyra 1973):
    on a grid of equal ratios, then between its neighbours.
    """
    x = align_signs(reference, wet)[0].astype(np.float64)
    x /= max(float(np.abs(x).max()), 1e-9)
    y = wet.astype(np.float64)
    fits = [_fit(x, y, curve) for curve in curves]
    return min(fits, key=lambda fit: fit.residual)


def _fit(x: NDArray, y: NDArray, curve: str) -> PairFit:
    def rest(x: NDArray, y: NDArray, depth: float) -> float:
        out = CURVES[curve].apply(torch.from_numpy(x) * depth).numpy()
        level = float((out * y).sum() / max((out * out).sum(), 1e-300))
        return float(np.square(y - level * out).sum())

    some = np.argsort(-np.abs(x), kind="stable")[:: max(1, len(x) // _COARSE_SAMPLES)]
    grid = np.geomspace(_LOW, _HIGH, 48)
    best = int(np.argmin([rest(x[some], y[some], depth) for depth in grid]))
    found = optimize.minimize_scalar(
        lambda log_depth: rest(x, y, math.exp(log_depth)),
        bounds=(np.log(grid[max(best - 2, 0)]), np.log(grid[min(best + 2, 47)])),
        method="bounded",
        options={"xatol": 1e-7},
    )
    depth = math.exp(found.x)
    return PairFit(curve, depth, rest(x, y, depth) / float(np.square(y).sum()))


def predict(
    model: SaturationModel,
    wet: np.ndarray,
    sample_rate: int,
    *,
    clean: np.ndarray | None = None,
    clean_rate: int | None = None,
    curve: str | None = None,
) -> Identification:
    """Identify the saturation of 0.1 s of sound or more, in the clip around its loudest place.

    `clean` is the same performance before saturation, up to a second early or late (`clean_rate` is
    `sample_rate` when None); polarity, level and a constant offset do not matter. `curve` is its
    name if it is known. Raises AudioError if audio is too short, silent or not finite; ValueError
    for an unknown curve.
    """
    if curve is not None:
        check_curve(curve)
    sound = model.config.sound
    rate = sound.sample_rate
    wet = _mono(wet, sample_rate, rate, "wet")
    if clean is None:
        if abs(wet.mean()) > _LARGEST_MEAN * wet.std():
            wet = wet - wet.mean()
        clip = cut(wet, sound.samples, offset=_start(wet, sound.samples))
        return identify(model, [(clip, None)], curve)[0]
    clean = _mono(clean, clean_rate or sample_rate, rate, "clean")
    wet, clean, lag, likeness = aligned(wet, clean, rate)
    # A depth counts from the clean peak.
    start, n = _start(clean, sound.samples), min(sound.samples, len(wet))
    y, x = wet[start : start + n], cut(clean, LEAD + n + EDGE, offset=start - LEAD)
    for name, part in (("wet", y), ("clean", x[LEAD:-EDGE])):
        if n < _LEAST_SECONDS * rate or float(np.ptp(part)) < 1e-5:
            raise AudioError(f"{name} is silent or absent where wet and clean should overlap")
    curves = CURVE_NAMES if curve is None else (curve,)
    pair = explain(y, x, curves, lag_ms=1000 * lag / rate, likeness=likeness)
    clean = clean - np.float32(clean.mean())
    reference = cut(clean, sound.samples + 2 * sound.margin, offset=start - sound.margin)
    clip = cut(y - np.float32(pair.offset), sound.samples, offset=0)
    return replace(identify(model, [(clip, reference)], curve)[0], pair=pair)


def _start(audio: np.ndarray, samples: int) -> int:
    """Where so many samples around the loudest place begin."""
    return max(0, min(int(np.abs(audio).argmax()) - samples // 2, len(audio) - samples))


def _mono(audio: np.ndarray, sample_rate: int, target_rate: int, name: str) -> np.ndarray:
    audio = to_mono(check_audio(audio, sample_rate, name=name))
    mono = resample(audio, sample_rate, target_rate)[0]
    if float(np.ptp(mono)) < 1e-5:
        raise AudioError(f"{name} is silent (below -100 dBFS): no curve can be identified")
    if len(mono) < _LEAST_SECONDS * target_rate:
        seconds = len(mono) / target_rate
        raise AudioError(
            f"{name} is too short: {_LEAST_SECONDS} s or more expected, got {seconds:.3f}"
        )
    return mono


# A clean and a wet recording: their alignment, and the curve that explains the wet one


def aligned(wet: NDArray, clean: NDArray, sample_rate: int) -> tuple[NDArray, NDArray, int, float]:
    """Both recordings (samples,) where they overlap, and `labkit.measure.align.lag_of` them.

    Ten seconds around the loudest place are aligned. Opposite polarity is corrected.
    """
    length = round(_ALIGNED_SECONDS * sample_rate)
    start = _start(wet[: len(clean)], length)
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
    found = sorted((_fit_pair(x, y, curve) for curve in curves), key=lambda one: one[0].residual)
    _, level, offset = found[0]
    target, straight = y - y.mean(), x[LEAD:-EDGE] - x[LEAD:-EDGE].mean()
    share = float(target @ straight) ** 2 / float((target @ target) * (straight @ straight))
    return Pair(tuple(fit for fit, *_ in found), max(0.0, 1.0 - share), level, offset, **facts)


def _fit_pair(x: NDArray, y: NDArray, curve: str) -> tuple[PairFit, float, float]:
    """The fit of one curve, its level and its offset.

    The best level and offset of a setting are sums, so only depth, constant and the rest of the
    lag are searched (variable projection, Golub & Pereyra 1973): on a grid of depths, then down.
    """

    def around(n: int) -> slice:
        start = _start(x[LEAD:-EDGE], n)
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
    found = optimize.least_squares(
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
