"""Answers to the exercises of notebook 08: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import math

import numpy as np


def bell_db(hz: float, centre_hz: float, gain_db: float, q: float) -> float:
    x, amplitude = hz / centre_hz, 10 ** (gain_db / 40)
    near = (1 - x * x) ** 2
    return 10 * math.log10((near + (x * amplitude / q) ** 2) / (near + (x / (amplitude * q)) ** 2))


def gaussian(hz: float, centre_hz: float, gain_db: float, q: float) -> float:
    return gain_db * math.exp(-((q * math.log2(hz / centre_hz)) ** 2))


def in_hertz(hz: float, centre_hz: float, gain_db: float, q: float) -> float:
    return gain_db / (1 + (q * (hz - centre_hz) / centre_hz) ** 2)


def twice(hz: float, centre_hz: float, gain_db: float, q: float) -> float:
    return 2 * bell_db(hz, centre_hz, gain_db, q)


def recall(asked: np.ndarray, keys: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    scores = -((keys - asked) ** 2).sum(1) / (2 * width**2)
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def nearest(asked: np.ndarray, keys: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    return values[((keys - asked) ** 2).sum(1).argmin()]


def without_square(
    asked: np.ndarray, keys: np.ndarray, values: np.ndarray, width: float
) -> np.ndarray:
    scores = -np.linalg.norm(keys - asked, axis=1) / width
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def dot_products(
    asked: np.ndarray, keys: np.ndarray, values: np.ndarray, width: float
) -> np.ndarray:
    scores = keys @ asked / width
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


FACTORS = {"very": 1.5, "slightly": 0.5, "less": -1.0, "not": -0.5}


def degree(words: list[str]) -> float:
    return math.prod(FACTORS[word] for word in words[:-1])


BANK = {
    "08.1": (
        bell_db,
        [(gaussian, "octaves from a"), (in_hertz, "must be alike"), (twice, "at its centre")],
    ),
    "08.2": (
        recall,
        [
            (nearest, "the mean was expected"),
            (without_square, "softmax"),
            (dot_products, "nearest memory"),
        ],
    ),
    "08.3": (
        degree,
        [
            (lambda _: 1.0, "must weigh"),
            (lambda words: -0.5 if "not" in words else degree(words), "must weigh -0.75"),
            (lambda words: abs(degree(words)), "must weigh -1.00"),
        ],
    ),
}
