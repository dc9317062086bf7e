"""Answers to the exercises of notebooks 06 to 08: right ones, and the wrong ones people give."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import math

import numpy as np
from scipy.optimize import linear_sum_assignment


def toss(params, eps, rng):
    signs = 2 * rng.integers(0, 2, len(params)) - 1
    return signs, np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)


def spsa(f, params, eps, rng):
    _, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / (up - down)


def halved_at_walls(f, params, eps, rng):
    signs, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / (2 * eps * signs)


def through_the_wall(f, params, eps, rng):
    signs, *_ = toss(params, eps, rng)
    return (f(params + eps * signs) - f(params - eps * signs)) / (2 * eps * signs)


def sign_forgotten(f, params, eps, rng):
    _, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / np.abs(up - down)


def one_by_one(f, params, eps, rng):
    steps = eps * np.eye(len(params))
    pairs = [(np.clip(params + s, 0, 1), np.clip(params - s, 0, 1)) for s in steps]
    return np.array([(f(up) - f(down)) / (2 * eps) for up, down in pairs])


def never_tossed(f, params, eps, rng):
    up, down = np.clip(params + eps, 0, 1), np.clip(params - eps, 0, 1)
    return (f(up) - f(down)) / (up - down)


def pairs_needed(cosine, d):
    return math.ceil(cosine**2 * (d - 1) / (1 - cosine**2))


def costs(said, truth):
    return ((said[:, None] - truth[None]) ** 2).mean(-1)


def matched_error(said, truth):
    cost = costs(said, truth)
    return cost[linear_sum_assignment(cost)].mean()


def in_order(said, truth):
    return ((said - truth) ** 2).mean()


def sorted_by_first(said, truth):
    return in_order(said[said[:, 0].argsort()], truth[truth[:, 0].argsort()])


def midpoint(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)


def clock_forgotten(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time)


def heun(velocity, x, time, size):
    first = velocity(x, time)
    return x + size / 2 * (first + velocity(x + size * first, time + size))


def bell_db(hz, centre_hz, gain_db, q):
    x, amplitude = hz / centre_hz, 10 ** (gain_db / 40)
    near = (1 - x * x) ** 2
    return 10 * math.log10((near + (x * amplitude / q) ** 2) / (near + (x / (amplitude * q)) ** 2))


def gaussian(hz, centre_hz, gain_db, q):
    return gain_db * math.exp(-((q * math.log2(hz / centre_hz)) ** 2))


def in_hertz(hz, centre_hz, gain_db, q):
    return gain_db / (1 + (q * (hz - centre_hz) / centre_hz) ** 2)


def softmax_mean(scores, values):
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def recall(asked, keys, values, width):
    return softmax_mean(-((keys - asked) ** 2).sum(1) / (2 * width**2), values)


def nearest(asked, keys, values, width):
    return values[((keys - asked) ** 2).sum(1).argmin()]


def without_square(asked, keys, values, width):
    return softmax_mean(-np.linalg.norm(keys - asked, axis=1) / width, values)


def dot_products(asked, keys, values, width):
    return softmax_mean(keys @ asked / width, values)


def degree(words):
    factors = {"very": 1.5, "slightly": 0.5, "less": -1.0, "not": -0.5}
    return math.prod(factors[word] for word in words[:-1])


RIGHT = {
    "06.1": spsa,
    "06.2": pairs_needed,
    "07.1": matched_error,
    "07.2": midpoint,
    "08.1": bell_db,
    "08.2": recall,
    "08.3": degree,
}
WRONG = [
    ("06.1", halved_at_walls, "the ratio is 0."),
    ("06.1", through_the_wall, "a knob stops at 0 and at 1"),
    ("06.1", sign_forgotten, "for knob"),
    ("06.1", one_by_one, "needs 2"),
    ("06.1", never_tossed, "toss with rng"),
    ("06.2", lambda _, d: d, "reach a cosine of"),
    ("06.2", lambda cosine, d: math.ceil(cosine * d), "was asked for"),
    ("06.2", lambda cosine, d: 2 * pairs_needed(cosine, d), "pairs reach"),
    ("06.2", lambda *_: 0, "cannot be rendered"),
    ("07.1", in_order, "in another order are no error"),
    ("07.1", lambda said, truth: costs(said, truth).min(1).mean(), "a partner of its own"),
    ("07.1", sorted_by_first, "is it the best pairing"),
    ("07.1", lambda said, truth: matched_error(said, truth) * said.size, "you say"),
    ("07.1", lambda said, truth: np.array([in_order(said, truth)] * 2), "one finite number"),
    ("07.2", lambda velocity, x, time, size: x + size * velocity(x, time), "asked 1 times"),
    ("07.2", clock_forgotten, "you asked 0.000, 0.000 after its start"),
    ("07.2", heun, "off; you asked"),
    ("07.2", lambda velocity, x, t, size: midpoint(velocity, x, t, size / 2), "off; you asked"),
    ("08.1", gaussian, "octaves from a"),
    ("08.1", in_hertz, "below the centre must be as"),
    ("08.1", lambda hz, centre, gain, q: 2 * bell_db(hz, centre, gain, q), "at its centre"),
    ("08.2", nearest, "the mean was expected"),
    ("08.2", without_square, "softmax"),
    ("08.2", dot_products, "nearest memory"),
    ("08.3", lambda _: 1.0, "the weight of"),
    ("08.3", lambda words: -0.5 if "not" in words else degree(words), "expected -0.75"),
    ("08.3", lambda words: abs(degree(words)), "expected -1,"),
]
