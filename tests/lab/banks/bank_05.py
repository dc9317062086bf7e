"""Answers to notebook 05 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np
import torch
from scipy.signal import resample, resample_poly

asymmetric = RIGHT["05.1"]
depth_of = RIGHT["05.3"]
depth_and_level = RIGHT["05.4"]
slope = RIGHT["05.5"]
nll = RIGHT["05.6"]


def every_sample(clean, wet):
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def without_weights(clean, wet):
    kept = np.abs(wet) < 0.9
    return (clean[kept] * np.arctanh(wet[kept])).sum() / (clean[kept] ** 2).sum()


def level_from_the_peak(clean, wet):
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


def unfiltered(curve, x, factor):
    return curve(resample(x, factor * len(x)))[::factor]


def late(curve, x, factor):
    return np.roll(resample(curve(resample(x, factor * len(x))), len(x)), 1)


def between_by_lines(curve, x, factor):
    places = np.arange(factor * len(x)) / factor
    return resample(curve(np.interp(places, np.arange(len(x)), x)), len(x))


def in_single_precision(x, depth, offset):
    return asymmetric(x.astype(np.float32), np.float32(depth), np.float32(offset))


def by_torch(x, depth):
    x = torch.from_numpy(x)
    return (depth * x / torch.cosh(depth * x) ** 2).numpy()


ALSO_RIGHT = [
    ("05.1", in_single_precision),
    ("05.2", lambda curve, x, k: resample_poly(curve(resample_poly(x, k, 1)), 1, k)),
    ("05.5", by_torch),
]
WRONG = [
    ("05.1", lambda x, d, o: np.tanh(d * (x + o)), "silence comes out at 0.48"),
    ("05.1", lambda x, d, o: asymmetric(x, d, o / d), "the offset is added before the depth"),
    ("05.1", lambda x, d, o: (y := np.tanh(d * (x + o))) - y.mean(), "the mean is 0 now"),
    ("05.2", lambda curve, x, _: curve(x), "exactly as without oversampling"),
    ("05.2", unfiltered, "filter before the extra samples are dropped"),
    ("05.2", lambda curve, x, _: RIGHT["05.2"](curve, x, 4), "the curve got 35284: which factor?"),
    ("05.2", lambda _, x, k: RIGHT["05.2"](lambda u: np.tanh(10 * u), x, k), "asked 0 times"),
    ("05.2", between_by_lines, "the curve u ** 3, factor 3: alias, loss and delay"),
    ("05.2", late, "together are -1.4 dB"),
    ("05.2", lambda curve, x, k: curve(np.repeat(x, k)).reshape(-1, k).mean(1), "are -12.6 dB"),
    ("05.2", lambda curve, x, k: curve(resample(x, k * len(x))), "must be an array of shape (88"),
    ("05.3", lambda clean, wet: np.mean(np.arctanh(wet) / clean), "holds 1 NaN or infinite"),
    ("05.3", every_sample, "times what 16 bits make inevitable"),
    ("05.3", without_weights, "times what 16 bits make inevitable"),
    ("05.3", lambda x, wet: (x * wet).sum() / (x**2).sum(), "depth 1.3: your error is"),
    ("05.3", lambda _, wet: np.arctanh(min(np.abs(wet).max(), 0.99999)), "how far can those"),
    ("05.4", lambda clean, wet: (depth_of(clean, wet), 1.0), "the peak of wet is"),
    ("05.4", level_from_the_peak, "the peak of wet is"),
    ("05.4", lambda x, wet: (depth_and_level(x, wet)[0], 1.0), "level at depth 1.3: expected 0.31"),
    ("05.4", lambda *_: 3, "(depth, level) must be an array of shape (2,), got int 3"),
    ("05.5", lambda x, depth: slope(x, depth) / depth, "the slope over depth"),
    ("05.5", lambda x, depth: depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
    ("05.5", lambda x, depth: depth * x, "moves the output by"),
    ("05.1", lambda *given: asymmetric(*given).tolist(), "must be a numpy.ndarray, got list"),
    ("05.3", lambda *given: [depth_of(*given)], "the depth must be 1 number, got shape (1,)"),
    ("05.6", lambda *given: nll(*given).detach(), "64 clips, in nats: the loss has no gradient"),
    ("05.6", lambda m, s, t: ((t - m) / s.exp()) ** 2 / 2, "an infinite spread costs nothing"),
    ("05.6", lambda m, s, t: ((t - m) / s.exp()) ** 2 / 2 + s, "only log(2 pi) / 2 is missing"),
    ("05.6", lambda m, s, t: -nll(m, s, t), "that is the log likelihood"),
    ("05.6", lambda m, s, t: nll(m, s, t).mean(), "must be an array of shape (64,)"),
    ("05.6", lambda m, s, t: nll(m, s.exp(), t), "64 clips, in nats: expected"),
    ("05.7", lambda e, s, p: np.mean(np.abs(e) < p * s), "not at the share"),
    ("05.7", lambda e, s, p: np.mean(e < -np.log(1 - p) * s), "an error can be negative"),
    ("05.7", lambda *given: given[2], "inside the interval that claims 20%: expected"),
]
