"""What the exercises of notebook 06 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, as_array, as_count, compare, require
from labkit.signal.seeds import generator


def exercise_06_1(attempt: Attempt) -> str:
    """`spsa(f, params, eps, rng)` -> (d,), the gradient of f estimated with two renders."""
    rng = generator(0, "exercise 06.1")
    eps = 0.01
    n_trials = 4000
    slope = np.array([2.0, -1.0, 0.5, 1.5])
    factor = rng.standard_normal((4, 4))
    hessian = factor @ factor.T / 4
    asked = []

    def f(params: np.ndarray) -> float:
        params = as_array(params, slope.shape, "what you give to f")
        inside = params.min() >= 0 and params.max() <= 1
        require(inside, f"f was asked at {params.round(3).tolist()}: a knob stops at 0 and at 1")
        asked.append(params)
        return float(0.5 * params @ hessian @ params + slope @ params)

    for params in (np.array([0.3, 0.6, 0.5, 0.4]), np.array([0.0, 0.6, 1.0, 0.4])):
        found = np.empty((n_trials, 4))
        for trial in range(n_trials):
            asked.clear()
            found[trial] = as_array(attempt(f, params, eps, rng), (4,), "the estimate")
            n = len(asked)
            require(n <= 2, f"{n} renders for 4 knobs: SPSA turns all at once and needs 2")
        require(np.ptp(found, axis=0).any(), f"{n_trials} estimates are the same: toss with rng")
        # At a wall the knob moves half the way, so the middle of the move is no longer params.
        center = (np.clip(params + eps, 0, 1) + np.clip(params - eps, 0, 1)) / 2
        exact = hessian @ center + slope
        # An estimate scatters by at most twice the gradient's length, their mean by the root of
        # their number less; 4.5 of that are allowed.
        allowed = 9 * np.linalg.norm(exact) / math.sqrt(n_trials)
        ratios = np.round(found.mean(0) / exact, 2).tolist()
        case = f"the mean of {n_trials} estimates at {params.tolist()}, {ratios} of the slopes"
        compare(found.mean(0), exact, case, near=allowed)
    return "right on average with two renders, however many knobs; at a wall by the real move"


def exercise_06_2(attempt: Attempt) -> str:
    """`pairs_needed(cosine, d)` -> SPSA pairs to average until the mean cosine is that high."""
    for wanted, d in ((0.5, 10), (0.9, 10), (0.9, 32), (0.7, 4), (0.95, 100)):
        found = as_count(attempt(wanted, d), "pairs_needed")
        require(found >= 1, f"{found} pairs cannot be rendered, 1 is the least")
        reached, fewer = (math.sqrt(n / (n + d - 1)) for n in (found, found - 1))
        case = f"d = {d}: averaged over {found} pairs the tosses reach a cosine of {reached:.4f}"
        require(reached > wanted - 1e-9, f"{case}, {wanted} was asked for")
        require(
            fewer < wanted, f"{case}; one pair less reaches {fewer:.4f}, and {wanted} was asked for"
        )
    return "two renders a pair: beyond a cosine of .7 differences one by one are cheaper"
