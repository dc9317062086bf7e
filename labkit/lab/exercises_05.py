"""Exercises of notebook 05: the closed form, the fit that knows no level, and the slope that a deep curve leaves."""

import math
from collections.abc import Sequence

import numpy as np

from labkit.effects.saturation import saturate
from labkit.lab.exercises import Attempt, NotYet, as_array, as_number
from labkit.signal.seeds import generator

DEPTHS = (1.3, 2.8, 6.4, 9.5)


def _clean(name: str, n: int = 4000) -> np.ndarray:
    """A decaying tone with a silent beginning, peak 1: silence and samples near full scale are both in it."""
    rng, t = generator(0, "exercise", name), np.arange(n) / n
    tone = sum(
        np.sin(2 * np.pi * (31 * k * t + rng.random())) * np.exp(-3 * k * t) / k
        for k in range(1, 6)
    )
    tone[: n // 20] = 0.0
    return tone / np.abs(tone).max()


def _in_16_bits(audio: np.ndarray) -> np.ndarray:
    return np.round(audio * 32767) / 32767


def exercise_05_1(attempt: Attempt) -> str:
    """The closed form: `depth_of(clean, wet)` -> the depth of wet = tanh(depth clean), both (samples,), 16 bits."""
    clean = _clean("05.1")
    for depth in DEPTHS:
        wet = _in_16_bits(saturate(clean, depth))
        with np.errstate(all="ignore"):
            said = as_number(attempt(clean.copy(), wet.copy()), f"depth_of at depth {depth}")
        # Weighted, 16 bits leave 1e-3 of an error here; plain sums of ratios leave more than ten times that.
        if abs(said - depth) > 5e-3:
            loud = float((np.abs(wet) > 0.999).mean())
            raise NotYet(
                f"depth {depth} came back as {said:.4f}; {loud:.0%} of the samples lie above .999, where one step of "
                f"16 bits moves atanh by up to {3.05e-5 / (1 - 0.9995**2):.3f}, and {(clean == 0).mean():.0%} are 0"
            )
    return "three lines and no training: whatever is learnt must be worth more than this"


def exercise_05_2(attempt: Attempt) -> str:
    """The level is unknown: `depth_and_level(clean, wet)` -> (depth, level) of wet = level * tanh(depth clean)."""
    clean = _clean("05.2")
    for depth, level in zip(DEPTHS, (0.31, 0.9, 0.12, 0.55), strict=True):
        wet = level * saturate(clean, depth)
        with np.errstate(all="ignore"):
            said = attempt(clean.copy(), wet.copy())
        if not isinstance(said, Sequence | np.ndarray) or isinstance(said, str):
            raise NotYet(f"two numbers were expected, (depth, level), got {str(said)[:40]}")
        found = as_array(said, (2,), "(depth, level)")
        if not math.isclose(found[0], depth, rel_tol=0.03):
            hint = f"the peak of wet is {np.abs(wet).max():.3f}, and tanh({depth}) is {math.tanh(depth):.3f}"
            raise NotYet(f"depth {depth} at level {level} came back as {found[0]:.3f}; {hint}")
        if not math.isclose(found[1], level, rel_tol=0.03):
            raise NotYet(f"at depth {depth} the level {level} came back as {found[1]:.3f}")
    return "for each depth the best level is a quotient of two sums, so that one search along depth is all there is"


def exercise_05_3(attempt: Attempt) -> str:
    """What is left of a gradient: `slope(x, depth)` -> d tanh(depth x) / d log(depth) for samples x, shape of x."""
    x = _clean("05.3", 600)
    for depth in DEPTHS:
        said = as_array(attempt(x.copy(), depth), x.shape, "slope")
        step = 1e-5
        right = (np.tanh(depth * math.exp(step) * x) - np.tanh(depth * math.exp(-step) * x)) / (
            2 * step
        )
        worst = int(np.abs(said - right).argmax())
        if abs(said[worst] - right[worst]) > 1e-6:
            raise NotYet(
                f"at depth {depth} and x = {x[worst]:.3f} a small step of log(depth) moves the output by "
                f"{right[worst]:.5f} a unit; you say {said[worst]:.5f}"
            )
    return "a sample deep in the curve moves no more: what a deep curve tells of its depth, quiet samples tell"
