"""From a recording, or a clean and a wet one, to a curve and its depth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from torch.utils.data import default_collate

from labkit.effects.saturation import MEMORYLESS, SPACE, check_curve
from labkit.measure.align import align_signs
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.systems.saturation.config import CURVE_NAMES
from labkit.systems.saturation.model import Prediction, SaturationModel, network_inputs
from labkit.systems.saturation.oracles import PairFit, best_curve, gaps_filled, least_squares

# The largest share of the wet energy that a fit may leave: twice what noise at -10 dB leaves.
_LARGEST_RESIDUAL = 0.2
# Weight of `gaps_filled` beside the network, on log depth; chosen on validation sources.
_FILLED_WEIGHT = 0.5


@dataclass(frozen=True)
class Identification:
    """The curve and depth of a recording."""

    curve: str  # the most probable one, or the one that was given
    depth: float  # 1..10, relative to a clean signal of peak 1
    low: float  # ends of the 80 % interval
    high: float
    shares: dict[str, float]  # the probability of each curve
    fit: PairFit | None = None  # least squares after alignment, with a clean signal
    filled: float | None = None  # the depth of tanh by `gaps_filled`

    @property
    def refined(self) -> tuple[str, float]:
        """Curve and depth from network and formulas together, see `refine`."""
        return refine(self.curve, self.depth, self.fit, self.filled)


@torch.no_grad()
def predict_batch(
    model: SaturationModel, inputs: Mapping[str, torch.Tensor], *, batch_size: int = 32
) -> Prediction:
    """The network's prediction for any number of clips, on the CPU."""
    device = next(model.parameters()).device
    names = ("wet", "reference", "features", "given")
    parts = [
        model({name: inputs[name][i : i + batch_size].to(device) for name in names})
        for i in range(0, len(inputs["given"]), batch_size)
    ]
    return Prediction(*(torch.cat(fields).cpu() for fields in zip(*parts, strict=True)))


def refine(
    curve: str, depth: float, fit: PairFit | None, filled: float | None
) -> tuple[str, float]:
    """Curve and depth from the network's, a fit and a filled peak.

    Of a pair, the network decides whether the curve has memory, and least squares the rest. Without
    a good fit, the depth of a tanh with flat peaks is a mean of the network's and `filled`.
    """
    if fit is not None and fit.residual <= _LARGEST_RESIDUAL and curve in MEMORYLESS:
        return fit.curve, fit.depth
    if filled is not None and curve == "tanh":
        return curve, depth ** (1 - _FILLED_WEIGHT) * filled**_FILLED_WEIGHT
    return curve, depth


def interval(
    prediction: Prediction, curve: torch.Tensor, factor: float, *, confidence: float = 0.8
) -> torch.Tensor:
    """(b, 3) lower end, depth, upper end for curve indices (b,); `factor`: `spread_factor`."""
    half = -math.log(1 - confidence) * factor * prediction.log_spread.exp()  # a Laplace quantile
    center = prediction.of(curve)
    ends = torch.stack([center - half, center, center + half], dim=1).exp()
    return ends.clamp(SPACE["depth"].low, SPACE["depth"].high)


def predict(
    model: SaturationModel,
    wet: np.ndarray,
    sample_rate: int,
    *,
    clean: np.ndarray | None = None,
    clean_rate: int | None = None,
    curve: str | None = None,
) -> Identification:
    """Identify the saturation of a recording, in the clip around its loudest place.

    Args:
        wet: (channels, samples) float32, any length, level and channel count.
        clean: the same performance before saturation, at most 30 ms off, or another one.
        clean_rate: Hz; `sample_rate` when None.
        curve: its name if it is known.

    Raises:
        AudioError: if audio is empty, silent or not finite.
        ValueError: for an unknown curve.
    """
    if curve is not None:
        check_curve(curve)
    sound = model.config.sound
    wet = _mono(wet, sample_rate, sound.sample_rate, "wet")
    if clean is not None:
        clean = _mono(clean, clean_rate or sample_rate, sound.sample_rate, "clean")
    start = _loudest(wet, clean, sound.margin) - sound.samples // 2
    start = int(np.clip(start, 0, max(0, len(wet) - sound.samples)))
    wet = _cut(wet, start, sound.samples)
    fit = reference = None
    if clean is not None:
        reference = _cut(clean, start - sound.margin, sound.samples + 2 * sound.margin)
        fit = pair_fit(reference, wet, curve)
    inputs = default_collate([network_inputs(model.config, wet, reference)])
    prediction = predict_batch(model, inputs)
    shares = prediction.curve_logits.softmax(1)[0]
    index = int(shares.argmax()) if curve is None else CURVE_NAMES.index(curve)
    ends = interval(prediction, torch.tensor([index]), float(model.spread_factor))
    low, depth, high = ends[0].tolist()
    named = dict(zip(CURVE_NAMES, shares.tolist(), strict=True))
    return Identification(CURVE_NAMES[index], depth, low, high, named, fit, gaps_filled(wet))


def pair_fit(reference: np.ndarray, wet: np.ndarray, curve: str | None) -> PairFit | None:
    """Least squares after alignment, for one curve or the best; None for memory or silence."""
    clean, _ = align_signs(reference, wet)
    peak = float(np.abs(clean).max())
    if peak < 1e-6 or curve not in (None, *MEMORYLESS):
        return None
    if curve is None:
        return best_curve(clean / peak, wet)
    return least_squares(clean / peak, wet, curve=curve)


def _loudest(wet: np.ndarray, clean: np.ndarray | None, margin: int) -> int:
    """The sample of the wet peak; of several equal (clipped) ones, the highest clean peak."""
    amplitude = np.abs(wet)
    if clean is None:
        return int(amplitude.argmax())
    clean_peak = maximum_filter1d(np.abs(_cut(clean, 0, len(wet))), 2 * margin + 1)
    return int(np.where(amplitude >= 0.99 * amplitude.max(), clean_peak, -1.0).argmax())


def _mono(audio: np.ndarray, sample_rate: int, target_rate: int, name: str) -> np.ndarray:
    audio = to_mono(check_audio(audio, sample_rate, name=name))
    mono = resample(audio, sample_rate, target_rate)[0]
    if float(np.abs(mono).max()) < 1e-5:
        raise AudioError(f"{name} is silent (peak below -100 dBFS): no curve can be identified")
    return mono


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """`samples` from `start` on, with zeros outside the recording."""
    kept = audio[max(0, start) : max(0, start + samples)]
    before = max(0, -start)
    return np.pad(kept, (before, max(0, samples - before - len(kept))))[:samples]
