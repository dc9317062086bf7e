"""What the exercises of notebook 06 ask for: each compares an attempt with a reference or a law."""

import math
from collections.abc import Callable

import numpy as np
import torch

from labkit.lab.exercises import Attempt, NotYet, as_array, compare, require
from labkit.signal.seeds import generator

_INSIDE, _AT_STOPS = np.array([0.3, 0.6, 0.5, 0.4]), np.array([0.0, 0.6, 1.0, 0.4])


def _quadratic(rng: np.random.Generator, *, stops: bool) -> tuple[Callable, Callable, list]:
    """f of four knobs, its exact gradient, and the list of the places where f was asked."""
    slope = np.array([2.0, -1.0, 0.5, 1.5])
    factor = rng.standard_normal((4, 4))
    hessian = factor @ factor.T / 4
    asked = []

    def f(params: np.ndarray) -> float:
        params = as_array(params, slope.shape, "what you give to f")
        inside = params.min() >= 0 and params.max() <= 1
        require(
            inside or not stops,
            f"f was asked at {params.round(3).tolist()}: a knob stops at 0 and at 1",
        )
        asked.append(params)
        return float(50 + 0.5 * params @ hessian @ params + slope @ params)

    return f, lambda params: hessian @ params + slope, asked


def _middle(params: np.ndarray, eps: float) -> np.ndarray:
    """The middle of a knob's move: at a stop it goes half the way, so it is not params."""
    return (np.clip(params + eps, 0, 1) + np.clip(params - eps, 0, 1)) / 2


def exercise_06_1(attempt: Attempt) -> str:
    """`central(f, params, eps)` -> (d,): the gradient of f by 2 d renders, within 0..1."""
    f, exact, asked = _quadratic(generator(0, "exercise 06.1"), stops=True)
    for params, eps in ((_INSIDE, 0.01), (_AT_STOPS, 0.02)):
        asked.clear()
        found = as_array(attempt(f, params, eps), (4,), "the gradient", of=np.ndarray)
        require(len(asked) <= 8, f"{len(asked)} renders for 4 knobs: 2 for each are enough")
        moved = np.abs(np.reshape(asked, (-1, 4)) - params) > 1e-6
        away = moved.sum(axis=1).max(initial=0)
        require(away <= 1, f"{away} knobs were turned in one render: turn one, leave the others")
        one_by_one = np.where(np.eye(4, dtype=bool), _middle(params, eps), params)
        expected = np.diag(np.array([exact(middle) for middle in one_by_one]))
        ratios = np.round(found / expected, 2).tolist()
        compare(found, expected, f"at {params.tolist()}, {ratios} of the slopes", near=1e-4)
    return "exact on a parabola, two renders for each knob; at a stop by the real move"


def exercise_06_2(attempt: Attempt) -> str:
    """`spsa(f, params, eps, rng)` -> (d,), the gradient of f estimated with two renders."""
    rng = generator(0, "exercise 06.1")
    f, exact_at, asked = _quadratic(rng, stops=True)
    eps = 0.01
    n_trials = 4000
    for params in (_INSIDE, _AT_STOPS):
        found = np.empty((n_trials, 4))
        for trial in range(n_trials):
            asked.clear()
            answer = attempt(f, params, eps, rng)
            found[trial] = as_array(answer, (4,), "the estimate", of=np.ndarray)
            n = len(asked)
            require(n <= 2, f"{n} renders for 4 knobs: SPSA turns all at once and needs 2")
        require(np.ptp(found, axis=0).any(), f"{n_trials} estimates are the same: toss with rng")
        exact = exact_at(_middle(params, eps))
        # An estimate scatters by at most twice the gradient's length, their mean by the root of
        # their number less; 4.5 of that are allowed.
        allowed = 9 * np.linalg.norm(exact) / math.sqrt(n_trials)
        ratios = np.round(found.mean(0) / exact, 2).tolist()
        case = f"the mean of {n_trials} estimates at {params.tolist()}, {ratios} of the slopes"
        compare(found.mean(0), exact, case, near=allowed)
    return "right on average with two renders, however many knobs; at a stop by the real move"


def exercise_06_3(attempt: Attempt) -> str:
    """`score_function(f, params, sigma, draws, rng)` -> (d,): one-sided draws and a baseline."""
    rng = generator(0, "exercise 06.3")
    f, exact, asked = _quadratic(rng, stops=False)
    params, sigma, n_draws, n_trials = _INSIDE, 0.02, 4, 2000
    found = np.empty((n_trials, 4))
    for trial in range(n_trials):
        asked.clear()
        answer = attempt(f, params, sigma, n_draws, rng)
        found[trial] = as_array(answer, (4,), "the estimate", of=np.ndarray)
        n = len(asked)
        case = f"{n} renders for {n_draws} draws"
        require(n_draws <= n <= n_draws + 1, f"{case}: one for each, and one for the baseline")
    require(np.ptp(found, axis=0).any(), f"{n_trials} estimates are the same: draw with rng")
    gradient = exact(params)
    length = np.linalg.norm(gradient)
    spread = found.std(0).max() / length
    require(
        spread < 3,
        f"one estimate scatters by {spread:.3g} times the gradient's length: f is 50 or more here; "
        "subtract a baseline before you multiply",
    )
    ratios = np.round(found.mean(0) / gradient, 2).tolist()
    case = f"the mean of {n_trials} estimates, {ratios} of the slopes"
    # A draw scatters by at most 1.5 lengths; 5 standard errors are allowed.
    compare(found.mean(0), gradient, case, near=7.5 * length / math.sqrt(n_trials * n_draws))
    return "right on average, and it asks for nothing but f at random places: no pairs, no stops"


def exercise_06_4(attempt: Attempt) -> str:
    """`plug_in(knobs, render, estimate)` -> the sound, whose backward pass is an estimate."""
    rng = generator(0, "exercise 06.4")
    dry = torch.from_numpy(rng.standard_normal((1, 64)))

    def effect(knobs: torch.Tensor) -> torch.Tensor:  # the same sound with an exact gradient
        return torch.tanh(3 * knobs[0] * dry) + knobs[1] * torch.sin(dry)

    def render(knobs: np.ndarray) -> np.ndarray:
        require(
            isinstance(knobs, np.ndarray),
            f"render was given a {type(knobs).__name__}, not an array",
        )
        return effect(torch.from_numpy(knobs)).numpy()

    def estimate(f: Callable, at: np.ndarray) -> np.ndarray:
        steps = 1e-5 * np.eye(2)
        return np.array([(f(at + step) - f(at - step)) / 2e-5 for step in steps])

    def gradient(process: Callable) -> np.ndarray:
        knobs = torch.tensor([0.4, 0.7], dtype=torch.float64, requires_grad=True)
        sound = process(knobs)
        require(torch.is_tensor(sound), f"the sound must be a tensor, got {type(sound).__name__}")
        require(
            sound.requires_grad, "the sound must know of the 2 knobs: return PlugIn.apply(knobs)"
        )
        compare(sound.detach().numpy(), effect(knobs.detach()).numpy(), "the sound")
        try:
            ((sound - 0.3) ** 2).sum().backward()
        except RuntimeError as error:  # torch found something wrong in the reader's `backward`
            raise NotYet(f"your backward raised {type(error).__name__}: {error}") from error
        require(knobs.grad is not None, "backward gave 0 of 2 gradients: return one for each input")
        return as_array(knobs.grad.numpy(), (2,), "the gradient of the knobs")

    exact = gradient(effect)
    found = gradient(lambda knobs: attempt(knobs, render, estimate))
    alone = np.array(
        [
            torch.autograd.functional.jacobian(
                effect, torch.tensor([0.4, 0.7], dtype=torch.float64)
            )
            .sum((0, 1))
            .numpy()
        ]
    )
    words = "that is the slope of the sum of the samples: weigh them by what comes from above"
    compare(found, exact, "the gradient", near=1e-4, hints=[(alone[0], words)])
    return "torch trains through it as through any layer: forward renders, backward estimates"


def exercise_06_5(attempt: Attempt) -> str:
    """`descend(loss, start, steps, learning_rate)` -> (steps + 1, d): the knobs at every step."""
    start, slope, rate, n_steps = (
        np.array([0.5, 0.1, 0.9]),
        torch.tensor([1.0, 3.0, -2.0]).double(),
        0.05,
        6,
    )

    def loss(knobs: torch.Tensor) -> torch.Tensor:
        at = knobs.detach()
        outside = torch.maximum(-at, at - 1).max().item()
        words = f"loss was asked where a knob is {outside:.3g} beyond its stop"
        require(outside <= 0, f"{words}: clamp the knobs themselves after each step")
        return (slope * knobs).sum()

    answer = attempt(loss, start, n_steps, rate)
    path = as_array(answer, (n_steps + 1, 3), "the path", of=np.ndarray)
    compare(path[0], start, "the first row of the path")
    require(
        np.ptp(path[1:], axis=0).any(),
        f"{n_steps} rows are the same: keep a copy of each, and step",
    )
    outside = max(-path.min(), path.max() - 1)
    require(outside <= 0, f"a knob went {outside:.3g} beyond its stop: clamp to 0..1")
    # On a straight slope Adam moves every knob by the learning rate, whatever the slope.
    expected = np.clip(
        start - rate * np.arange(n_steps + 1)[:, None] * np.sign(slope.numpy()), 0, 1
    )
    rows = "on a straight slope (Adam: every step as long as the learning rate)"
    compare(path, expected, rows, near=1e-4 * rate)
    goal = torch.tensor([0.2, 0.6, 0.7]).double()
    path = as_array(
        attempt(lambda knobs: ((knobs - goal) ** 2).sum(), start, 200, rate), (201, 3), "the path"
    )
    left = float(np.abs(path[-1] - goal.numpy()).max())
    require(left < 0.01, f"after 200 steps a knob is {left:.3f} off the lowest point of a parabola")
    return "knobs that turn themselves: slope, step, stop, and again"


def exercise_06_6(attempt: Attempt) -> str:
    """`controls(loss, settings, sources)` -> mean loss at own, another source's, mean setting."""
    rng = generator(0, "exercise 06.6")
    sources = ["anna", "anna", "ben", "ben", "ben", "cleo"]
    settings, best = rng.random((2, 6, 3))
    asked = []

    def loss(places: np.ndarray) -> np.ndarray:
        asked.append(as_array(places, (6, 3), "what you give to loss"))
        return ((places - best) ** 2).sum(1)

    found = as_array(attempt(loss, settings, sources), (3,), "own, another's, mean")
    own, mean = loss(settings).mean(), loss(np.tile(settings.mean(0), (6, 1))).mean()
    compare(
        found[[0, 2]],
        np.array([own, mean]),
        "own and mean setting",
        hints=[([own, own], "the mean is over files, axis 0")],
    )
    for places in asked[:-2]:
        rows = [np.flatnonzero((settings == row).all(1)) for row in places]
        if all(len(row) for row in rows) and not np.array_equal(places, settings):
            given = [sources[row[0]] for row in rows]
            same = sum(a == b for a, b in zip(given, sources, strict=True))
            require(not same, f"{same} of 6 files got a setting of their own source: no control")
            compare(found[1], float(loss(places).mean()), "another source's setting")
            return "own below both: it listens; own equal to the mean: it does not"
    require(len(asked) > 4, f"loss was asked {len(asked) - 2} times: own, another's, mean are 3")
    require(False, "no file got the setting of another file: 0 of 6")
