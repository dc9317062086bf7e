"""Answers to the exercises of notebook 06: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import math

import numpy as np


def _tosses(params, rng):
    return 2 * rng.integers(0, 2, len(params)) - 1


def spsa(f, params, eps, rng):
    signs = _tosses(params, rng)
    up, down = np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)
    return (f(up) - f(down)) / (up - down)


def halved_at_walls(f, params, eps, rng):
    signs = _tosses(params, rng)
    up, down = np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)
    return (f(up) - f(down)) / (2 * eps * signs)


def through_the_wall(f, params, eps, rng):
    signs = _tosses(params, rng)
    return (f(params + eps * signs) - f(params - eps * signs)) / (2 * eps * signs)


def sign_forgotten(f, params, eps, rng):
    signs = _tosses(params, rng)
    up, down = np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)
    return (f(up) - f(down)) / np.abs(up - down)


def one_by_one(f, params, eps, rng):
    steps = eps * np.eye(len(params))
    return np.array(
        [(f(np.clip(params + s, 0, 1)) - f(np.clip(params - s, 0, 1))) / (2 * eps) for s in steps]
    )


def never_tossed(f, params, eps, rng):
    up, down = np.clip(params + eps, 0, 1), np.clip(params - eps, 0, 1)
    return (f(up) - f(down)) / (up - down)


def pairs_needed(cosine, d):
    return math.ceil(cosine**2 * (d - 1) / (1 - cosine**2))


BANK = {
    "06.1": (
        spsa,
        [
            (halved_at_walls, "the ratio is 0."),
            (through_the_wall, "a knob stops at 0 and at 1"),
            (sign_forgotten, "for knob"),
            (one_by_one, "needs 2"),
            (never_tossed, "toss with rng"),
        ],
    ),
    "06.2": (
        pairs_needed,
        [
            (lambda _, d: d, "the tosses reach a cosine of"),
            (lambda cosine, d: math.ceil(cosine * d), "was asked for"),
            (lambda cosine, d: 2 * pairs_needed(cosine, d), "the tosses reach"),
            (lambda *_: 0, "cannot be rendered"),
        ],
    ),
}
