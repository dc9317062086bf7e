"""Answers to the exercises of notebook 05: one that is right, and the wrong ones that people give."""

import numpy as np


def depth_of(clean: np.ndarray, wet: np.ndarray) -> float:
    kept = np.abs(wet) < 0.9
    weight = (1 - wet[kept] ** 2) ** 2
    return (weight * clean[kept] * np.arctanh(wet[kept])).sum() / (weight * clean[kept] ** 2).sum()


def mean_ratio(clean: np.ndarray, wet: np.ndarray) -> float:
    return np.mean(np.arctanh(wet) / clean)


def every_sample(clean: np.ndarray, wet: np.ndarray) -> float:
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def small_signal_slope(clean: np.ndarray, wet: np.ndarray) -> float:
    return (clean * wet).sum() / (clean**2).sum()


def from_the_peak(_clean: np.ndarray, wet: np.ndarray) -> float:
    return np.arctanh(min(np.abs(wet).max(), 0.99999))


def depth_and_level(clean: np.ndarray, wet: np.ndarray) -> tuple[float, float]:
    best = (np.inf, 1.0, 1.0)
    for depth in np.geomspace(1, 10, 400):
        bent = np.tanh(depth * clean)
        level = (bent * wet).sum() / (bent * bent).sum()
        best = min(best, (((wet - level * bent) ** 2).sum(), depth, level))
    return best[1:]


def level_ignored(clean: np.ndarray, wet: np.ndarray) -> tuple[float, float]:
    return depth_of(clean, wet), 1.0


def level_from_the_peak(clean: np.ndarray, wet: np.ndarray) -> tuple[float, float]:
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


def level_forgotten(clean: np.ndarray, wet: np.ndarray) -> tuple[float, float]:
    return depth_and_level(clean, wet)[0], 1.0


def slope(x: np.ndarray, depth: float) -> np.ndarray:
    return depth * x * (1 - np.tanh(depth * x) ** 2)


BANK = {
    "05.1": (
        depth_of,
        [
            (mean_ratio, "finite number"),
            (every_sample, "came back as"),
            (small_signal_slope, "came back as"),
            (from_the_peak, "came back as"),
        ],
    ),
    "05.2": (
        depth_and_level,
        [
            (level_ignored, "the peak of wet is"),
            (level_from_the_peak, "the peak of wet is"),
            (level_forgotten, "came back as 1.000"),
            (lambda *_: 3, "two numbers were expected"),
        ],
    ),
    "05.3": (
        slope,
        [
            (lambda x, depth: x * (1 - np.tanh(depth * x) ** 2), "moves the output by"),
            (lambda x, depth: depth * (1 - np.tanh(depth * x) ** 2), "moves the output by"),
            (lambda x, depth: depth * x, "moves the output by"),
        ],
    ),
}
