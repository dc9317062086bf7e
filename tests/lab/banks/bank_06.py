"""Wrong answers to notebook 06 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

import numpy as np

pairs_needed = RIGHT["06.2"]


def toss(params, eps, rng):
    signs = 2 * rng.integers(0, 2, len(params)) - 1
    return signs, np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)


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


WRONG = [
    ("06.1", halved_at_walls, "at [0.0, 0.6, 1.0, 0.4], [0.5, 0.99, 0.5, 1.01] of the slopes"),
    ("06.1", through_the_wall, "a knob stops at 0 and at 1"),
    ("06.1", sign_forgotten, "of the slopes: expected 2.1621, you say 0.066505 at 3"),
    ("06.1", one_by_one, "needs 2"),
    ("06.1", never_tossed, "toss with rng"),
    ("06.2", lambda _, d: d, "one pair less reaches 0.7071, and 0.5 was asked for"),
    ("06.2", lambda cosine, d: math.ceil(cosine * d), "the tosses reach a cosine of"),
    ("06.2", lambda c, d: math.floor(c**2 * (d - 1) / (1 - c**2)), "0.8992, 0.9 was asked for"),
    ("06.2", lambda cosine, d: pairs_needed(cosine, d) + 1, "one pair less reaches 0.5000"),
    ("06.2", lambda *_: 0, "cannot be rendered"),
]
