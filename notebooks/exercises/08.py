"""What the exercises of notebook 08 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, as_number, compare
from labkit.signal.seeds import generator


def exercise_08_1(attempt: Attempt) -> str:
    """`bell_db(hz, centre_hz, gain_db, q)` -> the gain in dB of a bell at one frequency."""
    rng = generator(0, "exercise 08.1")
    for _ in range(30):
        centre, gain, q = 100 * 2 ** rng.uniform(0, 6), rng.uniform(-12, 12), rng.uniform(0.4, 4)
        compare(
            attempt(centre, centre, gain, q), gain, "the gain of a bell at its centre", near=1e-6
        )
        ratio = 2 ** rng.uniform(0.2, 3)
        # |H(jx)| of (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), by complex arithmetic.
        s, amplitude = 1j * ratio, 10 ** (gain / 40)
        response = (s * s + s * amplitude / q + 1) / (s * s + s / (amplitude * q) + 1)
        expected = 20 * math.log10(abs(response))
        place = f"{np.log2(ratio):.2f} octaves"
        up = as_number(attempt(centre * ratio, centre, gain, q), "bell_db")
        down = attempt(centre / ratio, centre, gain, q)
        compare(down, up, f"{place} below the centre must be as {place} above", near=1e-6)
        compare(up, expected, f"{place} from a bell of {gain:.2f} dB and Q {q:.2f}", near=1e-6)
    return "gradients pass through this formula, so a network learns an equaliser without filtering"


def exercise_08_2(attempt: Attempt) -> str:
    """`recall(asked, keys, values, width)` -> values averaged by softmax of nearness."""
    rng = generator(0, "exercise 08.2")
    for _ in range(20):
        keys, values = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
        asked = keys[2] + 0.01 * rng.normal(size=3)
        weights = np.exp(-((keys - asked) ** 2).sum(1) / (2 * 0.8**2))
        for width, expected, near, rule in (
            (0.02, values[2], 1e-3, "the nearest memory is recalled as it is"),
            (1e4, values.mean(0), 1e-3, "all memories count alike, in a mean"),
            (0.8, weights @ values / weights.sum(), 1e-6, "softmax(-distance^2 / (2 width^2))"),
        ):
            compare(
                attempt(asked, keys, values, width), expected, f"{width = :g}, {rule}", near=near
            )
    return "kernel regression is attention with distances for scores: it knows what it remembers"


def exercise_08_3(attempt: Attempt) -> str:
    """`degree(words)` -> the signed weight of the last word."""
    for words, expected in {
        "bright": 1.0,
        "very bright": 1.5,
        "slightly bright": 0.5,
        "less bright": -1.0,
        "slightly less bright": -0.5,
        "not bright": -0.5,
        "not very bright": -0.75,
        "not less bright": 0.5,
    }.items():
        compare(attempt(words.split()), expected, f"the weight of {words!r}")
    return "signs and degrees multiply: one rule answers sentences that no data set holds"
