"""Wrong answers to notebook 08 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

import numpy as np
import torch
from torch.nn import functional as F

bell_db = RIGHT["08.1"]
gains_for = RIGHT["08.2"]
info_nce = RIGHT["08.4"]
cross_attention = RIGHT["08.5"]
degree = RIGHT["08.6"]


def gaussian(hz, centre_hz, gain_db, q):
    return gain_db * math.exp(-((q * math.log2(hz / centre_hz)) ** 2))


def in_hertz(hz, centre_hz, gain_db, q):
    return gain_db / (1 + (q * (hz - centre_hz) / centre_hz) ** 2)


def softmax_mean(scores, values):
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def nearest(asked, keys, values, width):
    return values[((keys - asked) ** 2).sum(1).argmin()]


def without_square(asked, keys, values, width):
    return softmax_mean(-np.linalg.norm(keys - asked, axis=1) / width, values)


def dot_products(asked, keys, values, width):
    return softmax_mean(keys @ asked / width, values)


def without_penalty(basis, wanted_db, penalty):
    return np.linalg.lstsq(basis.T, wanted_db)[0]


def one_by_one(basis, wanted_db, penalty):
    return basis @ wanted_db / (basis**2).sum(1)


def inverted(basis, wanted_db, penalty):
    return basis @ wanted_db


def one_way(text, sound, temperature):
    return F.cross_entropy(text @ sound.T / temperature, torch.arange(len(text)))


def only_pull(text, sound, temperature):
    return (1 - (text * sound).sum(-1)).mean()


def without_temperature(text, sound, temperature):
    return info_nce(text, sound, 1.0)


def cut_off(text, sound, temperature):
    return info_nce(text, sound, temperature).item()


def without_mask(queries, keys, values, present):
    scores = queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
    return scores.softmax(-1) @ values


def masked_late(queries, keys, values, present):
    scores = queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
    return (scores.softmax(-1) * present) @ values


def masked_with_zero(queries, keys, values, present):
    scores = queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
    return scores.masked_fill(~present, 0.0).softmax(-1) @ values


def unscaled(queries, keys, values, present):
    return cross_attention(queries * keys.shape[-1] ** 0.5, keys, values, present)


WRONG = [
    ("08.1", gaussian, "octaves from a bell of"),
    ("08.1", in_hertz, "below the centre must be as"),
    ("08.1", lambda hz, centre, gain, q: 2 * bell_db(hz, centre, gain, q), "at its centre"),
    ("08.2", without_penalty, "the penalty changes nothing"),
    ("08.2", one_by_one, "they share frequencies"),
    ("08.2", inverted, "divide by what they share"),
    ("08.3", nearest, "all memories count alike, in a mean"),
    ("08.3", without_square, "softmax"),
    ("08.3", dot_products, "nearest memory"),
    ("08.4", one_way, "only from text to sound"),
    ("08.4", only_pull, "the other pairs of the batch must push away"),
    ("08.4", without_temperature, "you say 0.54237: the temperature changes nothing"),
    ("08.4", cut_off, "get no gradient"),
    ("08.5", without_mask, "hide them before the softmax"),
    ("08.5", masked_late, "no longer add up to one"),
    ("08.5", masked_with_zero, "4 of 6 places hold a word"),
    ("08.5", unscaled, "square root of the width"),
    ("08.6", lambda _: 1.0, "the weight of"),
    ("08.6", lambda words: degree(words[-2:]), "expected 1.96"),
    ("08.6", lambda words: abs(degree(words)), "expected -1,"),
]
