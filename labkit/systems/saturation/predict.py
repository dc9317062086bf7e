"""From anybody's recording, or a clean and a wet one, to a curve and its depth."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from torch.utils.data import default_collate

from labkit.effects.saturation import MEMORYLESS, SPACE, check_curve
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.systems.saturation.config import NAMES, Config
from labkit.systems.saturation.model import Answer, SaturationModel
from labkit.systems.saturation.oracles import PairFit, align, best_curve, gaps_filled, least_squares
from labkit.systems.saturation.views import hear

# Of the wet energy, what a fit may leave over: twice what noise 10 dB below leaves.
_EXPLAINED = 0.2
# How much the filled gaps count beside the network, on the logarithm of the depth; chosen on validation sources.
_FILLED_WEIGHT = 0.5


@dataclass(frozen=True)
class Identification:
    """What was heard.

    Attributes:
        curve: the most probable one, or the one that was given.
        depth: 1..10, relative to a clean signal whose peak is 1.
        low: lower end of the interval that holds the truth four times out of five.
        high: upper end.
        shares: the probability of each curve.
        fit: with a clean signal, what least squares finds after sliding, which is exact where it applies.
        filled: the depth of tanh by `gaps_filled`, from the wet signal alone; None where it cannot say.
    """

    curve: str
    depth: float
    low: float
    high: float
    shares: dict[str, float]
    fit: PairFit | None = None
    filled: float | None = None

    @property
    def refined(self) -> tuple[str, float]:
        """Curve and depth by network and formulas together.

        Of a pair, the network says whether there is a memory, which no fit here has, and least squares the rest.
        Without a clean signal, or where the fit leaves much of the wet one over (another performance), the network
        names the curve; if that is tanh and its peaks are flat, the depth is a mean of the network's and `filled`.
        """
        return refine(self.curve, self.depth, self.fit, self.filled)


def refine(
    curve: str, depth: float, fit: PairFit | None, filled: float | None
) -> tuple[str, float]:
    """See `Identification.refined`."""
    if fit is not None and fit.residual <= _EXPLAINED and curve in MEMORYLESS:
        return fit.curve, fit.depth
    if filled is not None and curve == "tanh":
        return curve, depth ** (1 - _FILLED_WEIGHT) * filled**_FILLED_WEIGHT
    return curve, depth


def interval(
    answer: Answer, curve: torch.Tensor, factor: float, *, confidence: float = 0.8
) -> torch.Tensor:
    """(b, 3): lower end, depth and upper end for the curves with these indices (b,), held within the range.

    Args:
        answer: of the model.
        curve: (b,).
        factor: the model's `spread_factor`.
        confidence: in (0, 1).
    """
    half = -math.log(1 - confidence) * factor * answer.log_spread.exp()
    middle = answer.of(curve)
    return (
        torch.stack([middle - half, middle, middle + half], dim=1)
        .exp()
        .clamp(SPACE["depth"].low, SPACE["depth"].high)
    )


def predict(
    model: SaturationModel,
    wet: np.ndarray,
    sample_rate: int,
    *,
    clean: np.ndarray | None = None,
    clean_rate: int | None = None,
    curve: str | None = None,
) -> Identification:
    """The curve and depth behind a recording.

    The clip that is heard holds the loudest place of the recording, because there the clean signal was at its peak.

    Args:
        model: from `load` or `train`.
        wet: (channels, samples) float32, any length, level and channel count.
        sample_rate: Hz.
        clean: the same performance before, at most 30 ms off, or another one; None for nothing.
        clean_rate: Hz; `sample_rate` when None.
        curve: its name where it is known.

    Returns:
        The identification.

    Raises:
        AudioError: if audio is empty, silent or not finite.
        ValueError: for an unknown curve.
    """
    if curve is not None:
        check_curve(curve)
    config = model.config
    heard_wet = _mono(wet, sample_rate, config, "wet")
    given = None if clean is None else _mono(clean, clean_rate or sample_rate, config, "clean")
    middle = _loudest(heard_wet, given, config.margin)
    start = int(np.clip(middle - config.samples // 2, 0, max(0, len(heard_wet) - config.samples)))
    reference = None
    if given is not None:
        reference = _cut(given, start - config.margin, config.samples + 2 * config.margin)
    cut = _cut(heard_wet, start, config.samples)
    batch = default_collate([hear(config, cut, reference)])
    with torch.no_grad():
        answer = model(batch)
    shares = answer.curve_logits.softmax(1)[0]
    named = NAMES.index(curve) if curve is not None else int(shares.argmax())
    low, depth, high = interval(answer, torch.tensor([named]), float(model.spread_factor))[
        0
    ].tolist()
    told = dict(zip(NAMES, shares.tolist(), strict=True))
    found = Identification(NAMES[named], depth, low, high, told, filled=gaps_filled(cut))
    return found if reference is None else replace(found, fit=pair_fit(reference, cut, curve))


def pair_fit(reference: np.ndarray, wet: np.ndarray, curve: str | None) -> PairFit | None:
    """Least squares after sliding, for one curve or for the best one; None for a curve with memory, or silence.

    Args:
        reference: (samples + 2 margins,).
        wet: (samples,), not silent.
        curve: its name where it is known.
    """
    clean, _ = align(reference, wet)
    peak = float(np.abs(clean).max())
    if peak < 1e-6 or curve not in (None, *MEMORYLESS):
        return None
    return (
        best_curve(clean / peak, wet)
        if curve is None
        else least_squares(clean / peak, wet, curve=curve)
    )


def _loudest(wet: np.ndarray, clean: np.ndarray | None, margin: int) -> int:
    """Where the wet signal is at its peak; where a curve has cut it off at many, that at which the clean one was."""
    loud = np.abs(wet)
    if clean is None:
        return int(loud.argmax())
    around = maximum_filter1d(np.abs(_cut(clean, 0, len(wet))), 2 * margin + 1)
    return int(np.where(loud >= 0.99 * loud.max(), around, -1.0).argmax())


def _mono(audio: np.ndarray, sample_rate: int, config: Config, name: str) -> np.ndarray:
    mono = resample(
        to_mono(check_audio(audio, sample_rate, name=name)), sample_rate, config.sample_rate
    )[0]
    if float(np.abs(mono).max()) < 1e-5:
        raise AudioError(f"{name} is silent (peak below -100 dBFS): there is no curve to hear")
    return mono


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """`samples` from `start` on, with silence where there is no sound."""
    kept = audio[max(0, start) : max(0, start + samples)]
    before = max(0, -start)
    return np.pad(kept, (before, max(0, samples - before - len(kept))))[:samples]
