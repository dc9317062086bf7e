"""What the exercises of notebook 07 ask for: each compares an attempt with a reference or a law."""

import itertools

import numpy as np

from labkit.lab.exercises import Attempt, as_array, as_number, compare, require
from labkit.signal.seeds import generator


def exercise_07_1(attempt: Attempt) -> str:
    """`matched_error(said, truth)` -> mean squared error of the best pairing; both (k, v)."""
    rng = generator(0, "exercise 07.1")
    for trial in range(40):
        k, v = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        truth = rng.random((k, v))
        same = attempt(truth[rng.permutation(k)], truth)
        compare(same, 0.0, f"the same {k} parts in another order are no error")
        # Parts near one of the true ones: an answer that takes the nearest takes it twice.
        guess = truth[:1] + 0.1 * rng.standard_normal((k, v)) if trial % 2 else rng.random((k, v))
        found = as_number(attempt(guess, truth), "matched_error")
        orders = itertools.permutations(range(k))
        best = min(((guess[list(order)] - truth) ** 2).mean() for order in orders)
        low = "less: does every part have a partner of its own?"
        hints = [(found, low if found < best else "more: is it the best pairing?")]
        compare(found, best, f"{k} parts of {v} values, the best of all pairings", hints=hints)
    return (
        "exchangeable parts are compared as sets; of k! pairings Kuhn finds the best in k^3 steps"
    )


def exercise_07_2(attempt: Attempt) -> str:
    """`midpoint(velocity, x, time, size)` -> x after one step; velocity(x, time) -> (d,)."""
    rng = generator(0, "exercise 07.2")
    for _ in range(20):
        a, b, c, x = rng.standard_normal((4, 3))
        time, size = float(rng.random()), float(rng.uniform(0.05, 0.5))
        asked = []

        def velocity(at: object, when: object, a=a, b=b, c=c, asked=asked) -> np.ndarray:
            asked.append(as_number(when, "the moment you ask for"))
            return a * np.sin(as_array(at, (3,), "the point you ask at")) + b * asked[-1] + c

        found = as_array(attempt(velocity, x, time, size), (3,), "midpoint")
        times = ", ".join(f"{one - time:.3f}" for one in asked)
        n = len(asked)
        require(n == 2, f"the field was asked {n} times for one step: midpoint asks 2 times")
        right = x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)
        compare(found, right, f"a step of {size:.3f}; you asked {times} after its start")
    return "two questions a step, and half the step leaves a quarter of the error; Euler's a half"
