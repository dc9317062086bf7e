"""Answers to the exercises of notebook 07: one that is right, and the wrong ones that people give."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def matched_error(said, truth):
    cost = ((said[:, None] - truth[None]) ** 2).mean(-1)
    return cost[linear_sum_assignment(cost)].mean()


def in_order(said, truth):
    return ((said - truth) ** 2).mean()


def nearest(said, truth):
    return ((said[:, None] - truth[None]) ** 2).mean(-1).min(1).mean()


def sorted_by_first(said, truth):
    return ((said[said[:, 0].argsort()] - truth[truth[:, 0].argsort()]) ** 2).mean()


def summed(said, truth):
    return matched_error(said, truth) * said.size


def midpoint(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)


def euler(velocity, x, time, size):
    return x + size * velocity(x, time)


def clock_forgotten(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time)


def heun(velocity, x, time, size):
    first = velocity(x, time)
    return x + size / 2 * (first + velocity(x + size * first, time + size))


BANK = {
    "07.1": (
        matched_error,
        [
            (in_order, "in another order are no error"),
            (nearest, "does every part have a partner of its own"),
            (sorted_by_first, "is it the best pairing"),
            (summed, "you say"),
            (lambda said, truth: np.array([in_order(said, truth)] * 2), "one finite number"),
        ],
    ),
    "07.2": (
        midpoint,
        [
            (euler, "asked 1 times"),
            (clock_forgotten, "you asked 0.000, 0.000 after its start"),
            (heun, "off; you asked"),
            (
                lambda velocity, x, time, size: midpoint(velocity, x, time, size / 2),
                "off; you asked",
            ),
        ],
    ),
}
