"""Gradient estimators measured through real effects: how far they point off, how far they scatter, what they cost.

The exact gradient is that of the torch twins in float64, of an audio loss between the effect's sound and the sound of
another setting.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.learn.gradients import (
    SPSA,
    CentralDifferences,
    Estimator,
    ForwardDifferences,
    GaussianSmoothing,
    Point,
    Surrogate,
    black_box,
    cosine,
    each,
)
from labkit.learn.proxy import fresh_proxy, train_proxy
from labkit.measure.losses import log_spectral_distance
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.seeds import generator
from labkit.systems.blackbox.board import Board, Pedal, dry_guitar, equaliser

SAMPLE_RATE = 22_050
EPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Between rounding below and curvature above.
WINDOW = (1e-3, 1e-2, 1e-1)
PAIRS = (1, 2, 4, 8, 16, 32)


def boards() -> dict[str, Board]:
    """The effects of the zoo by name, from smooth to hard."""
    loose = {name: Board(tuple(map(Pedal, name.split(" > "))), SAMPLE_RATE) for name in _LOOSE}
    return {f"EQ, {n} gains": equaliser(n, SAMPLE_RATE) for n in (4, 10, 32)} | loose


_LOOSE = ("compressor", "distortion > compressor > reverb", "chorus")


@dataclass(frozen=True)
class Problem:
    """A sound to be matched by turning knobs.

    Attributes:
        board: the effect.
        dry: (1, samples), a guitar at -20 dBFS.
        target: (1, samples), the effect's sound at another setting.
        at: (d,), the knobs now.
    """

    board: Board
    dry: np.ndarray
    target: np.ndarray
    at: np.ndarray

    @classmethod
    def draw(cls, board: Board, index: int, seed: int, *, seconds: float = 0.5) -> "Problem":
        """A problem of its own for every index; settings lie in .1 to .9 of every range."""
        rng = generator(seed, "gradient problem", len(board), *board.names[:1], index)
        dry, _ = dry_guitar(rng, board.sample_rate, seconds=seconds)
        truth, at = 0.1 + 0.8 * rng.random((2, len(board)))
        return cls(board, dry, board.render(dry, truth), at)

    def exact(self) -> np.ndarray:
        """(d,): the gradient of the loss by autodiff through the twins, float64."""
        params = torch.from_numpy(self.at)[None].requires_grad_()
        out = self.board.twin(torch.from_numpy(self.dry)[None].double(), params)
        (found,) = torch.autograd.grad(self.loss(out).sum(), params)
        return found[0].numpy()

    def loss(self, out: Tensor) -> Tensor:
        """(b,): the spectral distance of (b, 1, samples) to the target."""
        return log_spectral_distance(
            out, torch.from_numpy(self.target)[None].to(out), n_ffts=(256, 1024, 4096)
        )

    def point(self, copies: int = 1) -> Point:
        """What estimators start from: the real effect, and the loss's gradient at its sound. Copies give draws."""
        out = torch.from_numpy(self.board.render(self.dry, self.at))[None].requires_grad_()
        (weights,) = torch.autograd.grad(self.loss(out).sum(), out)
        weights = weights[0].double().numpy()

        def value(row: np.ndarray) -> float:
            return float((self.board.render(self.dry, row).astype(np.float64) * weights).sum())

        def probe(places: np.ndarray) -> np.ndarray:
            return np.apply_along_axis(value, -1, places)

        return Point(np.tile(self.at, (copies, 1)), np.full(copies, value(self.at)), probe)


def _cosines(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    return cosine(torch.from_numpy(found), torch.from_numpy(exact).expand(*found.shape)).numpy()


def _row(
    protocol: str,
    name: str,
    metric: str,
    values: Sequence[float] | np.ndarray,
    seed: int,
    **beside: float,
) -> Row:
    """A mean over problems, with its interval; several values of a problem are averaged first."""
    values = np.asarray(values, dtype=np.float64)
    low, high = (
        bootstrap_interval(values, np.arange(len(values)), seed=seed)
        if len(values) > 1
        else (None, None)
    )
    unit = beside.pop("unit", "")
    shared = {"sources": "generated", "n": len(values), "seed": seed} | beside
    return Row(
        protocol,
        name,
        metric=metric,
        unit=unit,
        ours=float(values.mean()),
        low=low,
        high=high,
        **shared,
    )


def eps_rows(
    board: Board, title: str, *, n: int, seed: int, eps: Sequence[float] = EPS
) -> list[Row]:
    """Differences one by one against the size of the turn.

    Args:
        board: the effect.
        title: its name.
        n: problems.
        seed: of the problems.
        eps: turns, shares of the range.

    Returns:
        For forward and central differences the cosine at every turn, and the least of `WINDOW`.
    """
    problems = [Problem.draw(board, index, seed) for index in range(n)]
    points = [(problem.point(), problem.exact()) for problem in problems]
    rows = []
    for name, kind in (
        ("central differences", CentralDifferences),
        ("forward differences", ForwardDifferences),
    ):
        found = {}
        for step in eps:
            estimates = [
                (kind(step).estimate(point, generator(seed))[0], exact) for point, exact in points
            ]
            found[step] = [float(_cosines(estimate, exact)) for estimate, exact in estimates]
            rows.append(_row(title, name, f"cosine: eps {step:.0e}", found[step], seed))
        window = [step for step in eps if step in WINDOW]
        worst = min(window, key=lambda step: float(np.mean(found[step])))
        rows.append(_row(title, name, "cosine, worst of eps 1e-3 to 1e-1", found[worst], seed))
    return rows


def pair_rows(board: Board, title: str, *, n: int, seed: int, eps: float = 1e-2) -> list[Row]:
    """SPSA and Gaussian smoothing against the number of their draws, beside what theory says.

    Args:
        board: the effect.
        title: its name.
        n: problems.
        seed: of problems and draws.
        eps: the turn.

    Returns:
        Cosines. `reference` is theory: sqrt(2 / (pi d)) for one draw, sqrt(k / (k + d - 1)) for k; `oracle` is what
        tosses of a coin give with the exact gradient of these very problems.

    Source: Spall 1992; for k draws the cosine of a mean whose error falls with k.
    """
    d, most = len(board), max(PAIRS)
    scores: dict[tuple[str, int], list[float]] = {}
    tossed = []
    for index in range(n):
        problem = Problem.draw(board, index, seed)
        point, exact = problem.point(most), problem.exact()
        rng = generator(seed, "draws", d, index)
        tossed.append(_toss(exact, generator(seed, "tosses", d, index)))
        for name, estimator in (
            ("SPSA", SPSA(eps)),
            ("Gaussian smoothing", GaussianSmoothing(eps)),
        ):
            found = estimator.estimate(point, rng)
            for k in PAIRS:
                # Groups of k draws each: all that was rendered counts.
                means = found.reshape(-1, k, d).mean(1)
                scores.setdefault((name, k), []).append(float(_cosines(means, exact).mean()))
    rows = []
    for (name, k), values in scores.items():
        theory = math.sqrt(2 / (math.pi * d)) if k == 1 else math.sqrt(k / (k + d - 1))
        beside = {"reference": theory} | (
            {"oracle": float(np.mean(tossed))} if k == 1 and name == "SPSA" else {}
        )
        metric = "cosine, 2 renders" if k == 1 else f"cosine: {2 * k} renders"
        rows.append(_row(title, name, metric, values, seed, **beside))
    return rows


def _toss(exact: np.ndarray, rng: np.random.Generator) -> float:
    """The mean cosine of SPSA for a linear function with this gradient: all tosses, or 4096 of them."""
    d = len(exact)
    signs = (
        np.array(list(itertools.product((-1, 1), repeat=d)))
        if d <= 12
        else 2 * rng.integers(0, 2, (4096, d)) - 1
    )
    return float(np.abs(signs @ exact).mean() / (np.linalg.norm(exact) * math.sqrt(d)))


def bias_rows(board: Board, title: str, *, n: int, seed: int, draws: int = 64) -> list[Row]:
    """Bias and spread of every estimator against the turn, as shares of the exact gradient's length.

    SPSA's expectation is taken over all tosses, so that its bias holds no chance.

    Args:
        board: the effect, of few knobs: its 2 ** d tosses are all rendered.
        title: its name.
        n: problems.
        seed: of problems and draws.
        draws: of Gaussian smoothing; its bias is known to a spread by the root of their number.

    Returns:
        For each turn, ``bias`` and ``spread``.
    """
    d = len(board)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=d)))[None]
    found: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for index in range(n):
        problem = Problem.draw(board, index, seed)
        exact, rng = problem.exact(), generator(seed, "bias", index)
        one, tosses, many = problem.point(), problem.point(2**d), problem.point(draws)
        for eps in EPS:
            estimates = {
                "forward differences": ForwardDifferences(eps).estimate(one, rng),
                "central differences": CentralDifferences(eps).estimate(one, rng),
                "SPSA": SPSA(eps).along(tosses, signs),
                "Gaussian smoothing": GaussianSmoothing(eps).estimate(many, rng),
            }
            for name, rows in estimates.items():
                mean, length = rows.mean(0), np.linalg.norm(exact)
                spread = math.sqrt(((rows - mean) ** 2).sum(1).mean())
                found.setdefault((name, eps), []).append(
                    (np.linalg.norm(mean - exact) / length, spread / length)
                )
    return [
        _row(title, name, f"{word}: eps {eps:.0e}", [pair[k] for pair in pairs], seed)
        for (name, eps), pairs in found.items()
        for k, word in enumerate(("bias", "spread"))
    ]


def wall_rows(*, n: int = 200, seed: int = 1, eps: float = 1e-2) -> list[Row]:
    """SPSA at the wall: a random quadratic of four knobs whose best legal setting has one of them on its wall.

    Args:
        n: quadratics.
        seed: of them.
        eps: the turn.

    Returns:
        The slope of the knob at the wall, averaged over all tosses, by the exact one: 1 is right. Ours (corrected),
        and one that divides by 2 eps whatever the wall has cut off.
    """
    title = "quadratic, optimum on the wall"
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=4)))[:, None]
    shares: dict[str, list[float]] = {}
    for index in range(n):
        rng = generator(seed, "wall", index)
        factor = rng.standard_normal((4, 4))
        hessian = factor @ factor.T / 4 + 0.5 * np.eye(4)
        at = np.array([0.0, *rng.uniform(0.2, 0.8, 3)])
        # At the constrained optimum the other slopes are zero, and the wall's points out of the box.
        slope = np.array([rng.uniform(0.5, 2.0), 0.0, 0.0, 0.0]) - hessian @ at

        def value(
            places: np.ndarray, hessian: np.ndarray = hessian, slope: np.ndarray = slope
        ) -> np.ndarray:
            return 0.5 * np.einsum("...i,ij,...j->...", places, hessian, places) + places @ slope

        point = Point(at[None], value(at[None]), value)
        exact = (hessian @ at + slope)[0]
        for name, corrected in (("SPSA", True), ("SPSA that divides by 2 eps", False)):
            found = SPSA(eps, corrected=corrected).along(point, signs)[0, 0]
            shares.setdefault(name, []).append(float(found / exact))
    return [
        _row(title, name, "slope at the wall by the exact one", found, seed)
        for name, found in shares.items()
    ]


def estimators(eps: float = 1e-2) -> dict[str, Estimator]:
    """Those that render, by name."""
    return {
        "forward differences": ForwardDifferences(eps),
        "central differences": CentralDifferences(eps),
        "SPSA": SPSA(eps),
        "Gaussian smoothing": GaussianSmoothing(eps),
        "score function": GaussianSmoothing(eps, antithetic=False),
    }


def cost_rows(board: Board, title: str, *, seed: int, repeats: int = 5) -> list[Row]:
    """Renders and processor time of one gradient, the render that is heard and the loss included.

    Args:
        board: the effect.
        title: its name.
        seed: of the problem.
        repeats: timed; the fastest counts.

    Returns:
        Two rows for each estimator, and two for the twins.
    """
    problem = Problem.draw(board, 0, seed)
    runs: dict[str, Estimator | Surrogate] = {
        **estimators(),
        "twins, autodiff": Surrogate(board.twin, forward=True),
    }
    rows = []
    for name, estimator in runs.items():
        times = []
        for _ in range(repeats + 1):
            begun = time.process_time()
            gradient(problem, problem.at, estimator, generator(seed, "cost"))
            times.append(time.process_time() - begun)
        counted = 1 + estimator.renders(len(board))
        rows += [
            _row(title, name, "renders for a gradient", [counted], seed),
            _row(
                title,
                name,
                "processor time for a gradient",
                [1000 * min(times[1:])],
                seed,
                unit="ms",
            ),
        ]
    return rows


def gradient(
    problem: Problem, at: np.ndarray, estimator: Estimator | Surrogate, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """The loss at a setting (d,) and its gradient (d,), through the layer, as a network would meet them."""
    audio = torch.from_numpy(problem.dry)[None]
    params = torch.from_numpy(at)[None].requires_grad_()
    out = black_box(each(problem.board.render), audio, params, estimator, rng)
    value = problem.loss(out).sum()
    value.backward()
    return value.item(), params.grad[0].numpy()


def descend(
    problem: Problem,
    estimator: Estimator | Surrogate,
    *,
    renders: int,
    seed: int,
    learning_rate: float = 0.05,
) -> tuple[np.ndarray, float]:
    """Adam on the knobs until so many renders are spent; a pass of the twins counts as one.

    Args:
        problem: where it starts, and what it is to match.
        estimator: of the gradient.
        renders: to spend, at least those of one gradient.
        seed: of the draws.
        learning_rate: at first; falls to a tenth along a straight line.

    Returns:
        The knobs (d,) it ends at, and the loss there by that at the start.
    """
    steps = renders // (1 + estimator.renders(len(problem.board)))
    if steps < 1:
        raise ValueError(f"renders must pay for one gradient, got {renders}")
    rng, knobs = generator(seed, "descend"), torch.from_numpy(problem.at.copy())
    optimizer, first = torch.optim.Adam([knobs], lr=learning_rate), None
    for step in range(steps):
        value, found = gradient(problem, knobs.numpy(), estimator, rng)
        first = value if first is None else first
        knobs.grad = torch.from_numpy(found)
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - 0.9 * step / steps)
        optimizer.step()
        knobs.clamp_(0, 1)
    out = torch.from_numpy(problem.board.render(problem.dry, knobs.numpy()))[None]
    return knobs.numpy(), float(problem.loss(out)) / first


def descent_rows(board: Board, title: str, *, n: int, renders: int, seed: int) -> list[Row]:
    """What is left of the loss after equally many renders.

    Args:
        board: the effect.
        title: its name.
        n: problems.
        renders: to spend on each.
        seed: of problems and draws.

    Returns:
        A row for each estimator, and for the twins. Lower is better; 1 is where it began.
    """
    runs: dict[str, Estimator | Surrogate] = {
        **estimators(),
        "twins, autodiff": Surrogate(board.twin, forward=True),
    }
    problems = [Problem.draw(board, 1000 + index, seed) for index in range(n)]
    metric = f"loss left after {renders} renders"
    return [
        _row(
            title,
            name,
            metric,
            [descend(p, run, renders=renders, seed=seed)[1] for p in problems],
            seed,
        )
        for name, run in runs.items()
    ]


def proxy_rows(
    board: Board, title: str, *, n: int, steps: int, seed: int, batch: int = 4
) -> list[Row]:
    """A proxy taught by the effect's own renders: how well its gradient points.

    Args:
        board: the effect.
        title: its name.
        n: problems, of guitars that the proxy has not heard.
        steps: of its training.
        seed: of everything.
        batch: renders a step.

    Returns:
        The cosine of the proxy's gradient where it is heard itself (full), and where the effect is heard and the
        proxy gives the gradient alone (half); and the loss of its imitation.
    """
    rng = generator(seed, "proxy examples")
    clips = [dry_guitar(rng, board.sample_rate, seconds=0.5, split="train")[0] for _ in range(32)]

    def examples(_step: int) -> tuple[Tensor, Tensor, Tensor]:
        dry = np.stack([clips[k] for k in rng.integers(0, len(clips), batch)])
        knobs = rng.random((batch, len(board)))
        wet = each(board.render)(dry, knobs)
        return torch.from_numpy(dry), torch.from_numpy(knobs).float(), torch.from_numpy(wet)

    proxy = fresh_proxy(len(board), seed)
    losses = train_proxy(proxy, examples, log_spectral_distance, steps=steps)
    full, half = Surrogate(_in_float32(proxy), forward=True), Surrogate(_in_float32(proxy))
    scores: dict[str, list[float]] = {"proxy, heard": [], "proxy, gradient alone": []}
    for index in range(n):
        problem = Problem.draw(board, index, seed)
        exact = problem.exact()
        for name, estimator in zip(scores, (full, half), strict=True):
            found = gradient(problem, problem.at, estimator, generator(seed))[1]
            scores[name].append(float(_cosines(found, exact)))
    metric = f"cosine, taught by {steps * batch} renders"
    rows = [_row(title, name, metric, values, seed) for name, values in scores.items()]
    return [
        *rows,
        _row(title, "proxy, heard", "loss of the imitation (nepers)", losses[-20:], seed),
    ]


def _in_float32(proxy: torch.nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda audio, params_unit: proxy(audio.float(), params_unit.float())


def evaluate(
    *,
    n: int = 48,
    n_eps: int = 12,
    n_descents: int = 8,
    renders: int = 126,
    proxy_steps: int = 100,
    seed: int = 1,
) -> list[Row]:
    """The zoo, as `labkit evaluate gradients` writes it.

    Args:
        n: problems where chance is measured, at least 2.
        n_eps: problems where the turn is swept, at least 2.
        n_descents: problems that each estimator descends on, at least 2.
        renders: spent by every descent.
        proxy_steps: of the proxy's training.
        seed: of everything.

    Returns:
        The rows. Those whose metric holds a colon give curves point by point.

    Raises:
        ValueError: for fewer than two problems.
    """
    if min(n, n_eps, n_descents) < 2:
        raise ValueError(
            f"n, n_eps and n_descents must be at least 2, got {n}, {n_eps} and {n_descents}"
        )
    zoo = boards()
    smooth: Mapping[str, Board] = {
        title: board for title, board in zoo.items() if title.startswith("EQ")
    }
    jobs: list[Callable[[], list[Row]]] = [
        *(
            lambda t=title, b=board: eps_rows(b, t, n=n_eps, seed=seed)
            for title, board in zoo.items()
        ),
        *(
            lambda t=title, b=board: pair_rows(b, t, n=n, seed=seed)
            for title, board in smooth.items()
        ),
        lambda: bias_rows(zoo["EQ, 4 gains"], "EQ, 4 gains", n=n_eps, seed=seed),
        lambda: wall_rows(seed=seed),
        lambda: cost_rows(zoo["EQ, 32 gains"], "EQ, 32 gains", seed=seed),
        lambda: descent_rows(
            zoo["EQ, 10 gains"], "EQ, 10 gains", n=n_descents, renders=renders, seed=seed
        ),
        lambda: proxy_rows(
            zoo["EQ, 4 gains"], "EQ, 4 gains", n=n_eps, steps=proxy_steps, seed=seed
        ),
    ]
    rows = []
    for job in jobs:
        begun = time.perf_counter()
        made = job()
        seconds = time.perf_counter() - begun
        rows += [replace(row, seconds=seconds) for row in made]
    return rows
