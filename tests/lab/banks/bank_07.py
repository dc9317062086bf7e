"""Wrong answers to notebook 07 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np

matched_error = RIGHT["07.1"]
midpoint = RIGHT["07.2"]


def costs(said, truth):
    return ((said[:, None] - truth[None]) ** 2).mean(-1)


def in_order(said, truth):
    return ((said - truth) ** 2).mean()


def sorted_by_first(said, truth):
    return in_order(said[said[:, 0].argsort()], truth[truth[:, 0].argsort()])


def clock_forgotten(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time)


def heun(velocity, x, time, size):
    first = velocity(x, time)
    return x + size / 2 * (first + velocity(x + size * first, time + size))


WRONG = [
    ("07.1", in_order, "in another order are no error"),
    ("07.1", lambda said, truth: costs(said, truth).min(1).mean(), "a partner of its own"),
    ("07.1", sorted_by_first, "is it the best pairing"),
    ("07.1", lambda said, truth: matched_error(said, truth) * said.size, "you say"),
    ("07.1", lambda said, truth: np.array([in_order(said, truth)] * 2), "one finite number"),
    ("07.2", lambda velocity, x, time, size: x + size * velocity(x, time), "asked 1 times"),
    ("07.2", clock_forgotten, "you asked 0.000, 0.000 after its start"),
    ("07.2", heun, "you asked 0.000, 0.348 after its start"),
    ("07.2", lambda f, x, t, size: midpoint(f, x, t, size / 2), "you asked 0.000, 0.087 after"),
]
