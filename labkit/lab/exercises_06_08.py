"""Exercises of notebooks 06 to 08: gradients by renders, sets and flows, words and curves."""

import itertools
import math

import numpy as np

from labkit.lab.exercises import Attempt, agree, as_array, as_count, as_number, require
from labkit.signal.seeds import generator

EPS = 0.01
N_TRIALS = 4000


def exercise_06_1(attempt: Attempt) -> str:
    """`spsa(f, params, eps, rng)` -> (d,), the gradient of f estimated with two renders."""
    rng = generator(0, "exercise 06.1")
    slope = np.array([2.0, -1.0, 0.5, 1.5])
    factor = rng.standard_normal((4, 4))
    hessian = factor @ factor.T / 4
    calls = []

    def f(params: np.ndarray) -> float:
        params = as_array(params, (4,), "what you give to f")
        asked = f"f was asked at {np.round(params, 3).tolist()}: a knob stops at 0 and at 1"
        require(params.min() >= 0 and params.max() <= 1, asked)
        calls.append(params)
        return float(0.5 * params @ hessian @ params + slope @ params)

    cases = {"inside": [0.3, 0.6, 0.5, 0.4], "at the walls": [0.0, 0.6, 1.0, 0.4]}
    for name, place in cases.items():
        params = np.array(place)
        found = np.empty((N_TRIALS, 4))
        for trial in range(N_TRIALS):
            calls.clear()
            found[trial] = as_array(attempt(f, params.copy(), EPS, rng), (4,), "the estimate")
            n = len(calls)
            require(n <= 2, f"{n} renders for 4 knobs: SPSA turns all at once and needs 2")
        same = f"{N_TRIALS} estimates are the same, {np.round(found[0], 2)}: toss with rng"
        require(np.ptp(found, axis=0).any(), same)
        mean = found.mean(0)
        center = (np.clip(params + EPS, 0, 1) + np.clip(params - EPS, 0, 1)) / 2
        exact = hessian @ center + slope
        # An estimate scatters by at most twice the gradient's length, their mean by the root of
        # their number less; 4.5 of that are allowed.
        allowed = 9 * np.linalg.norm(exact) / math.sqrt(N_TRIALS)
        wrong = int(np.abs(mean - exact).argmax())
        require(
            abs(mean[wrong] - exact[wrong]) <= allowed,
            f"{name}: {N_TRIALS} estimates average to {mean[wrong]:.2f} for knob {wrong}; its "
            f"slope is {exact[wrong]:.2f} (the ratio is {mean[wrong] / exact[wrong]:.2f})",
        )
    return "right on average with two renders, however many knobs; at a wall by the real move"


def exercise_06_2(attempt: Attempt) -> str:
    """`pairs_needed(cosine, d)` -> SPSA pairs to average until the mean cosine is that high."""
    for wanted, d in ((0.5, 10), (0.9, 10), (0.9, 32), (0.7, 4), (0.95, 100)):
        found = as_count(attempt(wanted, d), "pairs_needed")
        require(found >= 1, f"{found} pairs cannot be rendered, 1 is the least")
        law = wanted**2 * (d - 1) / (1 - wanted**2)
        reached = math.sqrt(found / (found + d - 1))
        require(
            abs(found - law) <= max(1.0, 0.02 * law),
            f"d = {d}: {found} pairs reach a cosine of {reached:.2f}, {wanted} was asked for",
        )
    return "two renders a pair: beyond a cosine of .7 differences one by one are cheaper"


def exercise_07_1(attempt: Attempt) -> str:
    """`matched_error(said, truth)` -> mean squared error of the best pairing; both (k, v)."""
    rng = generator(0, "exercise 07.1")
    for trial in range(40):
        k, v = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        truth = rng.random((k, v))
        shuffled = truth[rng.permutation(k)]
        what = "matched_error of the same parts in another order"
        same = as_number(attempt(shuffled.copy(), truth.copy()), what)
        agree(same, 0.0, f"the same {k} parts in another order are no error")
        # Parts near one of the true ones: an answer that takes the nearest takes it twice.
        guess = truth[:1] + 0.1 * rng.standard_normal((k, v)) if trial % 2 else rng.random((k, v))
        found = as_number(attempt(guess.copy(), truth.copy()), "matched_error")
        orders = itertools.permutations(range(k))
        best = min(((guess[list(order)] - truth) ** 2).mean() for order in orders)
        low = "less: does every part have a partner of its own?"
        low = low if found < best else "more: is it the best pairing?"
        require(
            abs(found - best) <= 1e-9,
            f"{k} parts of {v} values: the best of all pairings leaves {best:.4f}, "
            f"you say {found:.4f}, {low}",
        )
    return (
        "exchangeable parts are compared as sets; of k! pairings Kuhn finds the best in k^3 steps"
    )


def exercise_07_2(attempt: Attempt) -> str:
    """`midpoint(velocity, x, time, size)` -> x after one step; velocity(x, time) -> (d,)."""
    rng = generator(0, "exercise 07.2")
    for _ in range(20):
        a, b, c = rng.standard_normal((3, 3))
        x, time, size = rng.standard_normal(3), float(rng.random()), float(rng.uniform(0.05, 0.5))
        asked: list[float] = []

        def field(at: np.ndarray, when: float, a: np.ndarray = a, b=b, c=c) -> np.ndarray:
            return a * np.sin(at) + b * when + c

        def velocity(at: object, when: object, field=field, asked=asked) -> np.ndarray:
            asked.append(as_number(when, "the moment you ask for"))
            return field(as_array(at, (3,), "the point you ask at"), asked[-1])

        found = as_array(attempt(velocity, x.copy(), time, size), (3,), "midpoint")
        require(
            len(asked) == 2,
            f"the field was asked {len(asked)} times for one step: midpoint asks 2 times",
        )
        right = x + size * field(x + size / 2 * field(x, time), time + size / 2)
        off = np.abs(found - right).max()
        places = ", ".join(f"{one - time:.3f}" for one in asked)
        require(
            off <= 1e-9,
            f"a step of {size:.3f} is {off:.4f} off; you asked {places} after its start",
        )
    return (
        "two questions a step, and half the step leaves a quarter of the error; Euler's leaves half"
    )


def exercise_08_1(attempt: Attempt) -> str:
    """`bell_db(hz, centre_hz, gain_db, q)` -> the gain in dB of a bell at one frequency."""
    rng = generator(0, "exercise 08.1")
    for _ in range(30):
        centre, gain, q = 100 * 2 ** rng.uniform(0, 6), rng.uniform(-12, 12), rng.uniform(0.4, 4)
        ratio = 2 ** rng.uniform(0.2, 3)
        octaves = f"{np.log2(ratio):.2f} octaves"

        def bell_db(ratio: float, gain: float, centre: float = centre, q: float = q) -> float:
            return as_number(attempt(centre * ratio, centre, gain, q), "bell_db")

        found = bell_db(1.0, gain)
        agree(found, gain, f"a bell of {gain:.2f} dB at its centre", near=1e-6)
        up, down, cut = bell_db(ratio, gain), bell_db(1 / ratio, gain), bell_db(ratio, -gain)
        agree(down, up, f"{octaves} below the centre must be as {octaves} above", near=1e-6)
        agree(cut, -up, "a cut must undo the boost of the same size, in dB", near=1e-6)
        case = f"{octaves} from a {gain:.2f} dB bell of Q {q:.2f}"
        agree(up, _bell_db(ratio, gain, q), case, near=1e-6)
    return "gradients pass through this formula, so a network learns an equaliser without filtering"


def _bell_db(ratio: float, gain_db: float, q: float) -> float:
    """|H(jx)| of (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), by complex arithmetic."""
    s, amplitude = 1j * ratio, 10 ** (gain_db / 40)
    response = (s * s + s * amplitude / q + 1) / (s * s + s / (amplitude * q) + 1)
    return 20 * math.log10(abs(response))


def exercise_08_2(attempt: Attempt) -> str:
    """`recall(asked, keys, values, width)` -> values averaged by softmax of nearness."""
    rng = generator(0, "exercise 08.2")
    for _ in range(20):
        keys, values = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
        asked = keys[2] + 0.01 * rng.normal(size=3)
        weights = np.exp(-((keys - asked) ** 2).sum(1) / (2 * 0.8**2))
        for width, expected, near, rule in (
            (0.02, values[2], 1e-3, "the nearest memory must be recalled as it is"),
            (1e4, values.mean(0), 1e-3, "all memories count alike: the mean was expected"),
            (0.8, weights @ values / weights.sum(), 1e-6,
             "weights are softmax(-distance^2 / (2 width^2))"),
        ):  # fmt: skip
            off = np.abs(as_array(attempt(asked, keys, values, width), (4,), "recall") - expected)
            require(off.max() <= near, f"with width {width:g} {rule}; you are {off.max():.3f} off")
    return "kernel regression is attention with distances for scores: it knows what it remembers"


def exercise_08_3(attempt: Attempt) -> str:
    """`degree(words)` -> the signed weight of the last word."""
    cases = {
        "bright": 1.0,
        "very bright": 1.5,
        "slightly bright": 0.5,
        "less bright": -1.0,
        "slightly less bright": -0.5,
        "not bright": -0.5,
        "not very bright": -0.75,
        "not less bright": 0.5,
    }
    for words, expected in cases.items():
        found = as_number(attempt(words.split()), "degree")
        agree(found, expected, f"the weight of {words!r}")
    return "signs and degrees multiply: one rule answers sentences that no data set holds"
