"""Wrong answers to notebook 05 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np

depth_of = RIGHT["05.1"]
depth_and_level = RIGHT["05.2"]
slope = RIGHT["05.3"]


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def every_sample(clean, wet):
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def level_from_the_peak(clean, wet):
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


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
