"""What the exercises of notebook 05 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np

from labkit.effects.saturation import saturate
from labkit.lab.exercises import Attempt, as_array, compare
from labkit.signal.seeds import generator


DEPTHS = (1.3, 2.8, 6.4, 9.5)


def _tone(name: str, n: int = 4000) -> np.ndarray:
    """A decaying tone with peak 1 and a silent beginning."""
    phases = generator(0, "exercise", name).random(5)
    t, k = np.arange(n) / n, np.arange(1, 6)[:, None]
    tone = (np.sin(2 * np.pi * (31 * k * t + phases[:, None])) * np.exp(-3 * k * t) / k).sum(0)
    tone[: n // 20] = 0.0
    return tone / np.abs(tone).max()


def exercise_05_1(attempt: Attempt) -> str:
    """`depth_of(clean, wet)` -> the depth of wet = tanh(depth clean), (samples,), 16 bits."""
    clean = _tone("05.1")
    for depth in DEPTHS:
        wet = np.round(saturate(clean, depth) * 32767) / 32767
        share = f"{np.mean(np.abs(wet) > 0.999):.0%}"
        case = f"the depth of a wet sound of which {share} are above .999, where 16 bits are coarse"
        # Weighted, 16 bits leave an error of 1e-3; plain sums of ratios more than ten times that.
        compare(attempt(clean, wet), depth, case, near=5e-3)
    return "three lines and no training: whatever is learnt must be worth more than this"


def exercise_05_2(attempt: Attempt) -> str:
    """`depth_and_level(clean, wet)` -> (depth, level) of wet = level * tanh(depth clean)."""
    clean = _tone("05.2")
    for depth, level in zip(DEPTHS, (0.31, 0.9, 0.12, 0.55), strict=True):
        wet = level * saturate(clean, depth)
        found = as_array(attempt(clean, wet), (2,), "(depth, level)")
        peak = f"the peak of wet is {np.abs(wet).max():.3f}"
        compare(found[0], depth, f"depth at level {level}; {peak}", near=0.03 * depth)
        compare(found[1], level, f"level at depth {depth}", near=0.03 * level)
    return "the best level of each depth is a quotient of two sums: only the depth is searched"


def exercise_05_3(attempt: Attempt) -> str:
    """`slope(x, depth)` -> d tanh(depth x) / d log(depth) for samples x, shape of x."""
    x = _tone("05.3", 600)
    step = 1e-5
    for depth in DEPTHS:
        up, down = (np.tanh(depth * math.exp(sign * step) * x) for sign in (1, -1))
        hints = [
            (depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
            (x * (1 - np.tanh(depth * x) ** 2), "that is the slope over depth, not its logarithm"),
        ]
        case = f"depth {depth}: what a small step of log(depth) moves the output by, a unit"
        compare(attempt(x, depth), (up - down) / (2 * step), case, near=1e-6, hints=hints)
    return "a sample deep in the curve moves no more: only quiet samples tell the depth there"
