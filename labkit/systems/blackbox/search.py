"""What needs no training: draw settings, or let CMA-ES look for them, one recording at a time, by rendering."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from labkit.learn.minimise import minimise
from labkit.measure.alignment import aligned_distance
from labkit.measure.loudness import loudness_lufs
from labkit.systems.blackbox.rack import Rack
from labkit.systems.blackbox.rules import Style, style_of

# Settings (k, knobs) -> costs (k,). Each costs a render.
Cost = Callable[[np.ndarray], np.ndarray]
Method = Literal["random", "cma"]
_SIGMA = 0.2


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        setting: (knobs,) in 0..1, the best by the cost that the search was given.
        cost: of it.
        renders: spent.
    """

    setting: np.ndarray
    cost: float
    renders: int


def search(
    method: Method, cost: Cost, start: np.ndarray, renders: int, rng: np.random.Generator
) -> Found:
    """The best of some settings.

    Args:
        method: ``"random"`` draws evenly from the whole box; ``"cma"`` begins at `start` and follows what it renders
            (CMA-ES, step 0.2 of the range, inside the box).
        cost: of settings.
        start: (knobs,) in 0..1, the first that ``"cma"`` tries.
        renders: how many, >= 1.
        rng: of the draws.

    Returns:
        The best setting that was rendered.

    Raises:
        ValueError: for no renders.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial" (2016), by the package cma.
    """
    if renders < 1:
        raise ValueError(f"renders must be at least 1, got {renders}")
    if method == "random":
        tried = rng.uniform(0, 1, (renders, len(start)))
        costs = cost(tried)
        best = int(np.argmin(costs))
        return Found(tried[best], float(costs[best]), renders)
    own = np.random.RandomState(int(rng.integers(1, 2**31)))
    found = minimise(cost, start, evaluations=renders, rng=own, spread=_SIGMA)
    return Found(found.point, found.loss, found.evaluations)


def known_target(rack: Rack, dry: np.ndarray, target: np.ndarray) -> Cost:
    """The cost of one who holds the answer: the distance that the controller was trained to lower."""

    def cost(settings: np.ndarray) -> np.ndarray:
        wet = torch.from_numpy(rack.render([dry] * len(settings), settings))
        return aligned_distance(wet, torch.from_numpy(target)[None].expand_as(wet)).numpy()

    return cost


def known_style(rack: Rack, dry: np.ndarray, style: Style) -> Cost:
    """The blind cost: how far average spectrum (mean dB) and loudness (LU) are from those of a set of references."""

    def cost(settings: np.ndarray) -> np.ndarray:
        return np.array(
            [style_distance(wet, style) for wet in rack.render([dry] * len(settings), settings)]
        )

    return cost


def style_distance(audio: np.ndarray, style: Style) -> float:
    """Mean difference of the average spectra, dB, plus that of the loudness, LU; 100 for what cannot be heard."""
    if not loudness_lufs(audio, style.sample_rate) > -69:
        return 100.0
    own = style_of([audio], style.sample_rate)
    # Every bin from 40 Hz to 16 kHz counts by its share of an octave, as the ear hears them.
    frequency = np.linspace(0, style.sample_rate / 2, len(own.spectrum_db))
    weight = np.where((frequency > 40) & (frequency < 16_000), 1 / np.maximum(frequency, 1), 0)
    spectrum = float((weight * np.abs(own.spectrum_db - style.spectrum_db)).sum() / weight.sum())
    return spectrum + abs(own.loudness_lufs - style.loudness_lufs)
