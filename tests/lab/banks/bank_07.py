"""Answers to the exercises of notebook 07: `RIGHT`, and `WRONG` ones that people give, with what is said."""

import numpy as np
from scipy.optimize import linear_sum_assignment


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


RIGHT = {
    "07.1": matched_error,
    "07.2": midpoint,
}
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
