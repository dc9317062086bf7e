"""Exercises of notebook 07: an error that does not care for order, and a step that looks ahead."""

import itertools

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_number
from labkit.signal.seeds import generator


def exercise_07_1(attempt: Attempt) -> str:
    """Order set aside: `matched_error(said, truth)` -> mean squared error of the best pairing; both (k, v)."""
    rng = generator(0, "exercise 07.1")
    for trial in range(40):
        k, v = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        truth = rng.random((k, v))
        shuffled = truth[rng.permutation(k)]
        same = as_number(
            attempt(shuffled.copy(), truth.copy()),
            "matched_error of the same parts in another order",
        )
        if abs(same) > 1e-9:
            raise NotYet(
                f"the same {k} parts in another order are no error: 0 was expected, you say {same:.4f}"
            )
        # Parts that crowd around one of the true ones: whoever takes the nearest takes it twice.
        said = truth[:1] + 0.1 * rng.standard_normal((k, v)) if trial % 2 else rng.random((k, v))
        found = as_number(attempt(said.copy(), truth.copy()), "matched_error")
        best = min(
            ((said[list(order)] - truth) ** 2).mean() for order in itertools.permutations(range(k))
        )
        if abs(found - best) > 1e-9:
            low = (
                "less: does every part have a partner of its own?"
                if found < best
                else "more: is it the best pairing?"
            )
            raise NotYet(
                f"{k} parts of {v} values: the best of all pairings leaves {best:.4f}, you say {found:.4f}, {low}"
            )
    return "parts that can be exchanged are compared as sets; k! pairings, and Kuhn finds the best in k^3 steps"


def exercise_07_2(attempt: Attempt) -> str:
    """A step that looks ahead: `midpoint(velocity, x, time, size)` -> x after one step; velocity(x, time) -> (d,)."""
    rng = generator(0, "exercise 07.2")
    for _ in range(20):
        a, b, c = rng.standard_normal((3, 3))
        x, time, size = rng.standard_normal(3), float(rng.random()), float(rng.uniform(0.05, 0.5))
        asked: list[float] = []

        def velocity(
            at: object,
            when: object,
            a: np.ndarray = a,
            b: np.ndarray = b,
            c: np.ndarray = c,
            asked: list = asked,
        ) -> np.ndarray:
            asked.append(as_number(when, "the moment you ask for"))
            return a * np.sin(as_array(at, (3,), "the point you ask at")) + b * asked[-1] + c

        found = as_array(attempt(velocity, x.copy(), time, size), (3,), "midpoint")
        if len(asked) != 2:
            raise NotYet(
                f"the field was asked {len(asked)} times for one step: midpoint asks 2 times"
            )
        middle = x + size / 2 * (a * np.sin(x) + b * time + c)
        right = x + size * (a * np.sin(middle) + b * (time + size / 2) + c)
        if (off := np.abs(found - right).max()) > 1e-9:
            places = ", ".join(f"{one - time:.3f}" for one in asked)
            raise NotYet(
                f"a step of {size:.3f} is {off:.4f} off; you asked {places} after its start"
            )
    return (
        "two questions a step, and half the step leaves a quarter of the error; Euler's leaves half"
    )
