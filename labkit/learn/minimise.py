"""One search for the lowest point of a loss over vectors in 0..1: by gradient, SPSA or CMA-ES."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labkit.learn.gradients import SPSA, Point
from labkit.signal.optional import need

Method = Literal["gradient", "spsa", "cma"]


@dataclass(frozen=True)
class Found:
    """The lowest `point` (n,) that a search evaluated, and its loss."""

    point: np.ndarray
    loss: float
    evaluations: int


class _Search:
    """Counts evaluations and keeps the best point."""

    def __init__(self, loss: Callable, evaluations: int, seconds: float, ranks: bool) -> None:
        self.loss, self.ranks = loss, ranks
        self.until = time.thread_time() + seconds
        self.left = evaluations
        self.best = np.inf, np.empty(0)

    def may_evaluate(self, n: int) -> bool:
        return self.left >= n and time.thread_time() < self.until

    def evaluate(self, points: np.ndarray) -> np.ndarray:
        """(k, n) -> (k,)."""
        return self.keep(np.asarray(self.loss(points), dtype=np.float64), points)

    def keep(self, losses: np.ndarray, points: np.ndarray) -> np.ndarray:
        failed = np.isnan(losses)
        if failed.all() or (failed.any() and not self.ranks):
            raise FloatingPointError(f"loss must be a number, got {losses} at {points}")
        losses = np.where(failed, np.inf, losses)  # among ranks, one that fails is the worst
        self.left -= len(points)
        lowest = int(np.argmin(losses))
        if losses[lowest] < self.best[0]:
            self.best = float(losses[lowest]), points[lowest].copy()
        return losses


def minimise(
    loss: Callable[[Any], Any],
    start: np.ndarray,
    *,
    method: Method = "cma",
    evaluations: int,
    rng: np.random.Generator | np.random.RandomState,
    seconds: float = np.inf,
    learning_rate: float = 0.02,
    spread: float = 0.3,
    population: int | None = None,
    bounded: bool = True,
) -> Found:
    """Search from `start` (n,) until `evaluations` or this thread's processor `seconds` are spent.

    Args:
        loss: points (k, n) -> losses (k,): float64 arrays, or for ``"gradient"`` tensors.
        method: ``"gradient"``, ``"spsa"``: Adam within 0..1, by autograd or two more evaluations.
            ``"cma"``: CMA-ES in whole generations until it converges; it alone uses what follows.
        spread: standard deviation of the first generation.
        population: points per generation; 4 + 3 log(n) when None.
        bounded: whether points stay within 0..1.

    Source: Kingma and Ba 2015; Spall 1992; Hansen 2016.
    """
    if method not in ("gradient", "spsa", "cma"):
        raise ValueError(f"method must be gradient, spsa or cma, got {method!r}")
    if evaluations < 1:
        raise ValueError(f"evaluations must be at least 1, got {evaluations}")
    start = np.asarray(start, dtype=np.float64)
    search = _Search(loss, evaluations, seconds, ranks=method == "cma")
    if method == "gradient":
        _descend(search, start, learning_rate)
    elif method == "spsa":
        _descend(search, start, learning_rate, rng)
    else:
        search.evaluate(start[None])
        options = {"bounds": [0, 1]} if bounded else {}
        options["popsize"] = population or 4 + int(3 * np.log(len(start)))
        _evolve(search, start, rng, spread, options)
    return Found(search.best[1], search.best[0], evaluations - search.left)


def _descend(search: _Search, start: np.ndarray, learning_rate: float, rng: Any = None) -> None:
    point = torch.from_numpy(start[None].copy()).requires_grad_()
    optimizer = torch.optim.Adam([point], learning_rate)
    while not len(search.best[1]) or search.may_evaluate(1):
        here = point.detach().numpy()
        if rng is None:
            value: Tensor = search.loss(point)
            search.keep(value.detach().numpy(), here)
            (point.grad,) = torch.autograd.grad(value.sum(), point)
        else:
            losses = search.evaluate(here)
            if not search.may_evaluate(2):
                return
            at = Point(here, losses, lambda places: search.evaluate(places[:, 0])[:, None])
            point.grad = torch.from_numpy(SPSA().estimate(at, rng))
        optimizer.step()
        with torch.no_grad():
            point.clamp_(0, 1)


def _evolve(search: _Search, start: np.ndarray, rng: Any, spread: float, options: dict) -> None:
    # A seed of NaN leaves NumPy's global generator alone: draws come from `rng`.
    fixed = {"verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape)}
    # cma fails on one bounded number: beside it stands a second one, without effect.
    first = np.append(start, 0.5) if len(start) == 1 else start
    evolution = need("cma").CMAEvolutionStrategy(first, spread, {**fixed, **options})
    while search.may_evaluate(options["popsize"]) and not evolution.stop():
        points = evolution.ask()
        evolution.tell(points, search.evaluate(np.stack(points)[:, : len(start)]).tolist())
