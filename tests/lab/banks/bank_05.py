"""Answers to the exercises of notebook 05: `RIGHT`, and `WRONG` ones that people give, with what is said."""

import numpy as np


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def depth_of(clean, wet):
    kept = np.abs(wet) < 0.9
    weight = (1 - wet[kept] ** 2) ** 2
    return (weight * clean[kept] * np.arctanh(wet[kept])).sum() / (weight * clean[kept] ** 2).sum()


def every_sample(clean, wet):
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def depth_and_level(clean, wet):
    best = (np.inf, 1.0, 1.0)
    for depth in np.geomspace(1, 10, 400):
        bent = np.tanh(depth * clean)
        level = (bent * wet).sum() / (bent * bent).sum()
        best = min(best, (((wet - level * bent) ** 2).sum(), depth, level))
    return best[1:]


def level_from_the_peak(clean, wet):
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


def slope(x, depth):
    return depth * x * (1 - np.tanh(depth * x) ** 2)


RIGHT = {
    "05.1": depth_of,
    "05.2": depth_and_level,
    "05.3": slope,
}
WRONG = [
    ("05.1", lambda clean, wet: np.mean(np.arctanh(wet) / clean), "holds 1 NaN or infinite"),
    ("05.1", every_sample, "expected 6.4, you say 6.393"),
    ("05.1", lambda x, wet: (x * wet).sum() / (x**2).sum(), "expected 1.3, you say 1.1274"),
    ("05.1", lambda _, wet: np.arctanh(min(np.abs(wet).max(), 0.99999)), "you say 6.103"),
    ("05.2", lambda clean, wet: (depth_of(clean, wet), 1.0), "the peak of wet is"),
    ("05.2", level_from_the_peak, "the peak of wet is"),
    ("05.2", lambda x, wet: (depth_and_level(x, wet)[0], 1.0), "level at depth 1.3: expected 0.31"),
    ("05.2", lambda *_: 3, "(depth, level) must be an array of shape (2,), got int 3"),
    ("05.3", lambda x, depth: slope(x, depth) / depth, "the slope over depth"),
    ("05.3", lambda x, depth: depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
    ("05.3", lambda x, depth: depth * x, "moves the output by"),
]
