"""From anybody's recording, or a clean and a wet one, to a curve and its depth."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import default_collate

from labkit.effects.saturation import SPACE, check_curve
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.systems.saturation.config import NAMES, Config
from labkit.systems.saturation.model import Answer, SaturationModel
from labkit.systems.saturation.views import hear


@dataclass(frozen=True)
class Identification:
    """What was heard.

    Attributes:
        curve: the most probable one, or the one that was given.
        depth: 1..10, relative to a clean signal whose peak is 1.
        low: lower end of the interval that holds the truth four times out of five.
        high: upper end.
        shares: the probability of each curve.
    """

    curve: str
    depth: float
    low: float
    high: float
    shares: dict[str, float]


def interval(answer: Answer, curve: torch.Tensor, factor: float, *, confidence: float = 0.8) -> torch.Tensor:
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
        torch.stack([middle - half, middle, middle + half], dim=1).exp().clamp(SPACE["depth"].low, SPACE["depth"].high)
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

    Notebook: 05.
    """
    if curve is not None:
        check_curve(curve)
    config = model.config
    heard_wet = _mono(wet, sample_rate, config, "wet")
    start = int(np.clip(np.abs(heard_wet).argmax() - config.samples // 2, 0, max(0, len(heard_wet) - config.samples)))
    reference = None
    if clean is not None:
        given = _mono(clean, clean_rate or sample_rate, config, "clean")
        reference = _cut(given, start - config.margin, config.samples + 2 * config.margin)
    batch = default_collate([hear(config, _cut(heard_wet, start, config.samples), reference)])
    with torch.no_grad():
        answer = model(batch)
    shares = answer.curve_logits.softmax(1)[0]
    named = NAMES.index(curve) if curve is not None else int(shares.argmax())
    low, depth, high = interval(answer, torch.tensor([named]), float(model.spread_factor))[0].tolist()
    return Identification(NAMES[named], depth, low, high, dict(zip(NAMES, shares.tolist(), strict=True)))


def _mono(audio: np.ndarray, sample_rate: int, config: Config, name: str) -> np.ndarray:
    mono = resample(to_mono(check_audio(audio, sample_rate, name=name)), sample_rate, config.sample_rate)[0]
    if float(np.abs(mono).max()) < 1e-5:
        raise AudioError(f"{name} is silent (peak below -100 dBFS): there is no curve to hear")
    return mono


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """`samples` from `start` on, with silence where there is no sound."""
    kept = audio[max(0, start) : max(0, start + samples)]
    before = max(0, -start)
    return np.pad(kept, (before, max(0, samples - before - len(kept))))[:samples]
