"""Exercises of notebook 06: SPSA that is right at the walls, and how many renders a direction costs."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_count
from labkit.signal.seeds import generator

EPS = 0.01
N_TRIALS = 4000


class _Watched:
    """A quadratic of four knobs that keeps count, and will not be played outside 0..1."""

    def __init__(self, slope: np.ndarray, hessian: np.ndarray) -> None:
        self.slope, self.hessian, self.calls = slope, hessian, 0

    def __call__(self, params: np.ndarray) -> float:
        params = as_array(params, self.slope.shape, "what you give to f")
        if params.min() < 0 or params.max() > 1:
            raise NotYet(
                f"f was asked at {np.round(params, 3).tolist()}: a knob stops at 0 and at 1"
            )
        self.calls += 1
        return float(0.5 * params @ self.hessian @ params + self.slope @ params)


def exercise_06_1(attempt: Attempt) -> str:
    """SPSA with two renders: `spsa(f, params, eps, rng)` -> (d,), the gradient of f as estimated; params in 0..1."""
    rng = generator(0, "exercise 06.1")
    slope, factor = np.array([2.0, -1.0, 0.5, 1.5]), rng.standard_normal((4, 4))
    f = _Watched(slope, factor @ factor.T / 4)
    for name, params in {
        "inside": np.array([0.3, 0.6, 0.5, 0.4]),
        "at the walls": np.array([0.0, 0.6, 1.0, 0.4]),
    }.items():
        estimates = _estimates(attempt, f, params, rng)
        middle = (np.clip(params + EPS, 0, 1) + np.clip(params - EPS, 0, 1)) / 2
        exact, mean = f.hessian @ middle + slope, estimates.mean(0)
        # An estimate scatters by at most twice the gradient's length (a knob at a wall moves half as far as others),
        # their mean by the root of their number less; beyond 4.5 of that it is no chance.
        allowed = 9 * np.linalg.norm(exact) / math.sqrt(N_TRIALS)
        wrong = int(np.abs(mean - exact).argmax())
        if abs(mean[wrong] - exact[wrong]) > allowed:
            raise NotYet(
                f"{name}, {N_TRIALS} estimates at {params.tolist()} average to {mean[wrong]:.2f} for knob {wrong}; its "
                f"slope is {exact[wrong]:.2f} (the ratio is {mean[wrong] / exact[wrong]:.2f})"
            )
    return "right on average with two renders, however many knobs; at a wall by how far the knob really moved"


def _estimates(
    attempt: Attempt, f: _Watched, params: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N_TRIALS, d): what the reader's function says, and that two renders were enough for it."""
    found = np.empty((N_TRIALS, len(params)))
    for trial in range(N_TRIALS):
        f.calls = 0
        found[trial] = as_array(attempt(f, params.copy(), EPS, rng), params.shape, "the estimate")
        if f.calls > 2:
            raise NotYet(
                f"{f.calls} renders for {len(params)} knobs: SPSA turns all of them at once and needs 2"
            )
        if trial == 20 and (np.ptp(found[:trial], axis=0) == 0).all():
            raise NotYet(
                f"{trial} estimates came out the same, {np.round(found[0], 2).tolist()}: toss with rng"
            )
    return found


def exercise_06_2(attempt: Attempt) -> str:
    """What a direction costs: `pairs_needed(cosine, d)` -> SPSA pairs to average until the mean cosine is that high."""
    for wanted, d in ((0.5, 10), (0.9, 10), (0.9, 32), (0.7, 4), (0.95, 100)):
        said = as_count(attempt(wanted, d), "pairs_needed")
        law = wanted**2 * (d - 1) / (1 - wanted**2)
        if said < 1:
            raise NotYet(f"{said} pairs cannot be rendered, 1 is the least")
        if abs(said - law) > max(1.0, 0.02 * law):
            raise NotYet(
                f"d = {d}: averaged over {said} pairs the tosses reach a cosine of {_tossed(said, d):.2f}, "
                f"{wanted} was asked for"
            )
    return "two renders a pair: beyond a cosine of .7 differences one by one are cheaper, so never average, step instead"


def _tossed(pairs: int, d: int) -> float:
    """The mean cosine for a random linear function, by experiment."""
    rng = generator(0, "exercise 06.2", pairs, d)
    pairs, scores = min(pairs, 4000), []
    for _ in range(40):
        gradient = rng.standard_normal(d)
        signs = 2 * rng.integers(0, 2, (pairs, d)) - 1
        mean = (signs @ gradient) @ signs / pairs
        scores.append(mean @ gradient / np.linalg.norm(mean) / np.linalg.norm(gradient))
    return float(np.mean(scores))
