"""Wrong answers to notebook 08 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import itertools
import math

import numpy as np

bell_db = RIGHT["08.1"]
degree = RIGHT["08.3"]


def count(pedals, pairs):
    def lowest(order):
        """Always the alphabetically first pedal that can move to the front: one form per sound."""
        left, made = list(order), []
        while left:
            free = [p for k, p in enumerate(left) if all({p, q} in pairs for q in left[:k])]
            left.remove(min(free))
            made.append(min(free))
        return tuple(made)

    return len({lowest(order) for order in itertools.permutations(pedals)})


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


WRONG = [
    ("08.1", gaussian, "octaves from a bell of"),
    ("08.1", in_hertz, "below the centre must be as"),
    ("08.1", lambda hz, centre, gain, q: 2 * bell_db(hz, centre, gain, q), "at its centre"),
    ("08.2", nearest, "all memories count alike, in a mean"),
    ("08.2", without_square, "softmax"),
    ("08.2", dot_products, "nearest memory"),
    ("08.3", lambda _: 1.0, "the weight of"),
    ("08.3", lambda words: -0.5 if "not" in words else degree(words), "expected -0.75"),
    ("08.3", lambda words: abs(degree(words)), "expected -1,"),
]
