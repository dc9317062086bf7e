"""Gradients through a box that has none: what its renders say, or what a differentiable stand-in says.

Every estimator answers one question: how does a weighted sum of the box's output move when its knobs are turned? The
weights are the gradient that the loss sends back, so a box inside a network needs no more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# (items, channels, samples) float32 and knobs (items, d) in 0..1, float64 -> (items, ...).
Process = Callable[[np.ndarray, np.ndarray], np.ndarray]
# The same for tensors, with gradients.
TorchProcess = Callable[[Tensor, Tensor], Tensor]
# Rendered in one call: enough for a pool of workers to share, little enough for memory.
_MOST_ROWS = 64
# Beyond, differences one by one are a mistake: the input of a box has a coordinate for every sample.
_MOST_DIFFERENCES = 4096


@dataclass(frozen=True)
class Point:
    """Where a gradient is asked for, and the one way to learn more: trying other places.

    Attributes:
        at: (b, n), float64; each row is an item.
        value: (b,), the function there.
        probe: (k, b, n) -> (k, b), the function at k other places of every item; costs k renders an item.
        low: the wall below, or -inf.
        high: the wall above, or inf.
        passed: (b, n), what a box that does nothing would send back; None where output and `at` differ in kind.
    """

    at: np.ndarray
    value: np.ndarray
    probe: Callable[[np.ndarray], np.ndarray]
    low: float = 0.0
    high: float = 1.0
    passed: np.ndarray | None = None

    def clip(self, places: np.ndarray) -> np.ndarray:
        """The nearest legal places."""
        return np.clip(places, self.low, self.high)


class Estimator(Protocol):
    """What all estimators share."""

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        ...

    def renders(self, n: int) -> int:
        """Renders for one item beside the one that is heard, for `n` knobs."""
        ...


def _check_step(name: str, step: float) -> None:
    if not 0 < step <= 0.5:
        raise ValueError(f"{name} must lie in (0, 0.5], a share of the knob's range, got {step}")


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")


def _one_by_one(step: float, n: int) -> np.ndarray:
    """(n, 1, n): a step along each coordinate alone."""
    if n > _MOST_DIFFERENCES:
        raise ValueError(
            f"differences one by one take a render for each of {n} coordinates, at most {_MOST_DIFFERENCES} are "
            "sensible: use SPSA or StraightThrough for audio"
        )
    return step * np.eye(n)[:, None]


@dataclass(frozen=True)
class ForwardDifferences:
    """Each knob turned a little, one after the other: d renders; at the upper wall it is turned down.

    Attributes:
        eps: the turn, a share of the range, in (0, .5].

    Source: any text on numerical analysis. The best step grows with the square root of the rounding error.
    """

    eps: float = 1e-2

    def __post_init__(self) -> None:
        _check_step("eps", self.eps)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002 - nothing is drawn
        """The gradient at a point, (b, n)."""
        steps = _one_by_one(self.eps, point.at.shape[1])
        places = point.at + np.where(point.at + self.eps > point.high, -steps, steps)
        moved = np.einsum("kbk->kb", places - point.at)
        return ((point.probe(places) - point.value) / moved).T

    def renders(self, n: int) -> int:
        """Renders for one item beside the one that is heard."""
        return n


@dataclass(frozen=True)
class CentralDifferences:
    """Each knob turned up and down: 2 d renders, an error of the square of the step; one-sided at a wall.

    Attributes:
        eps: the turn to either side, a share of the range, in (0, .5].

    Source: as `ForwardDifferences`. The best step grows with the cube root of the rounding error.
    """

    eps: float = 1e-2

    def __post_init__(self) -> None:
        _check_step("eps", self.eps)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002 - nothing is drawn
        """The gradient at a point, (b, n)."""
        steps = _one_by_one(self.eps, point.at.shape[1])
        up, down = point.clip(point.at + steps), point.clip(point.at - steps)
        values = point.probe(np.concatenate([up, down]))
        moved = np.einsum("kbk->kb", up - down)
        return ((values[: len(up)] - values[len(up) :]) / moved).T

    def renders(self, n: int) -> int:
        """Renders for one item beside the one that is heard."""
        return 2 * n


@dataclass(frozen=True)
class SPSA:
    """Simultaneous perturbation: all knobs turned at once, each up or down by the toss of a coin.

    Two renders a pair, however many knobs. One pair points far off the gradient, but is right on average.

    Attributes:
        eps: the turn to either side, a share of the range, in (0, .5].
        pairs: tosses, averaged.
        corrected: divide by how far each knob really moved. At a wall that is less than 2 eps; dividing by 2 eps all
            the same, as DeepAFx does, gives half the gradient there. Only to be seen failing: leave it True.

    Source: Spall, IEEE Trans. Automatic Control 37(3), 1992, eq. 2.2; Ramírez et al., ICASSP 2021, eq. 3 (eps .01, one
        pair). Ours differs at the walls: for a quadratic it is, on average, the exact gradient half-way between the
        two renders.
    """

    eps: float = 1e-2
    pairs: int = 1
    corrected: bool = True

    def __post_init__(self) -> None:
        _check_step("eps", self.eps)
        _check_count("pairs", self.pairs)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        return self.along(point, 2.0 * rng.integers(0, 2, (self.pairs, *point.at.shape)) - 1.0)

    def along(self, point: Point, signs: np.ndarray) -> np.ndarray:
        """The same with the tosses given: (pairs, b, n) of -1 and 1."""
        up, down = point.clip(point.at + self.eps * signs), point.clip(point.at - self.eps * signs)
        values = point.probe(np.concatenate([up, down]))
        difference = (values[: len(up)] - values[len(up) :])[..., None]
        return (difference / (up - down if self.corrected else 2 * self.eps * signs)).mean(0)

    def renders(self, n: int) -> int:  # noqa: ARG002 - that is the point of it
        """Renders for one item beside the one that is heard."""
        return 2 * self.pairs


@dataclass(frozen=True)
class GaussianSmoothing:
    """The gradient of the function blurred by a normal law: random directions, weighted by what they gained.

    With `antithetic`, each direction is tried both ways (2 renders a draw). Without, it is the score-function
    estimator (REINFORCE, evolution strategies), with the render that is heard as its baseline.

    Attributes:
        sigma: width of the blur, a share of the range, in (0, .5].
        draws: directions, averaged.
        antithetic: try each direction both ways.

    Source: Nesterov and Spokoiny, Found. Comput. Math. 17, 2017, eq. 6; Williams 1992. Ours is a regression on how far
        each knob could move: at a wall that has another mean and variance than the draws.
    """

    sigma: float = 1e-2
    draws: int = 1
    antithetic: bool = True

    def __post_init__(self) -> None:
        _check_step("sigma", self.sigma)
        _check_count("draws", self.draws)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        steps = self.sigma * rng.standard_normal((self.draws, *point.at.shape))
        moved = self._moved(point, steps)
        if self.antithetic:
            values = point.probe(
                np.concatenate([point.clip(point.at + steps), point.clip(point.at - steps)])
            )
            gained = values[: len(steps)] - values[len(steps) :]
        else:
            gained = point.probe(point.at + moved) - point.value
        mean, variance = self._moments(point)
        return (gained[..., None] * (moved - mean)).mean(0) / variance

    def _moved(self, point: Point, steps: np.ndarray) -> np.ndarray:
        """How far the knobs come by steps that the walls cut short; both ways together."""
        away = point.clip(point.at - steps) if self.antithetic else point.at
        return point.clip(point.at + steps) - away

    def _moments(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (b, n) of `_moved`: nothing and sigma squared (or 4 times that) between the walls."""
        grid = np.linspace(-6, 6, 129)[:, None, None]
        weights = np.exp(-0.5 * grid**2) / np.exp(-0.5 * grid**2).sum()
        moved = np.broadcast_to(self._moved(point, self.sigma * grid), (129, *point.at.shape))
        mean = (weights * moved).sum(0)
        return mean, (weights * (moved - mean) ** 2).sum(0)

    def renders(self, n: int) -> int:  # noqa: ARG002 - however many knobs
        """Renders for one item beside the one that is heard."""
        return self.draws * (2 if self.antithetic else 1)


@dataclass(frozen=True)
class StraightThrough:
    """The box taken for a wire: what comes back from behind is handed on. For audio only, and for no renders.

    Source: Bengio, Léonard and Courville 2013, section 4. For a knob with few positions see `stepped`.
    """

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002 - nothing is drawn
        """The gradient at a point, (b, n)."""
        if point.passed is None:
            raise ValueError(
                "StraightThrough hands audio's gradient on; knobs need an estimator that renders"
            )
        return point.passed

    def renders(self, n: int) -> int:  # noqa: ARG002 - none at all
        """Renders for one item beside the one that is heard."""
        return 0


@dataclass(frozen=True)
class Surrogate:
    """A differentiable function stands in for the box: its twin (autodiff), or a network that imitates it (a proxy).

    Attributes:
        function: (audio (b, c, t), params_unit (b, d)) -> like the box's output, differentiable in both.
        forward: whether its sound is heard, too. Otherwise the box is heard, and the stand-in gives the gradient
            alone, taken at the stand-in's own output.

    Source: Steinmetz et al., JAES 70(9), 2022, sections 2.3 (proxies, full and half) and 2.5 (autodiff).
    """

    function: TorchProcess
    forward: bool = False

    def renders(self, n: int) -> int:  # noqa: ARG002 - a pass forth and back instead
        """Renders of the box for one item beside the one that is heard."""
        return 0


def black_box(
    process: Process,
    audio: Tensor,
    params_unit: Tensor,
    estimator: Estimator | Surrogate,
    rng: np.random.Generator,
    *,
    audio_estimator: Estimator | None = None,
) -> Tensor:
    """A box as a layer: its sound forth, an estimated gradient back.

    Args:
        process: renders a batch; `each` makes one of a function for single items.
        audio: (b, channels, samples).
        params_unit: (b, d) in 0..1, one row of knobs for each item.
        estimator: of the gradient of the knobs.
        rng: for the estimator's draws.
        audio_estimator: of the gradient of `audio`; None sends zeros. A `Surrogate` gives both at once.

    Returns:
        What `process` gives, (b, ...), with the dtype and device of `audio`.

    Raises:
        ValueError: for shapes that do not fit, knobs outside 0..1, or a box that returns anything but finite numbers,
            one row for each item.
    """
    if audio.ndim < 2 or params_unit.ndim != 2 or len(audio) != len(params_unit):
        raise ValueError(
            "audio must be (b, channels, samples) and params_unit (b, d), "
            f"got {tuple(audio.shape)} and {tuple(params_unit.shape)}"
        )
    if not bool(((params_unit >= 0) & (params_unit <= 1)).all()):
        raise ValueError("params_unit must lie in 0..1: end the network in a sigmoid, or clamp")
    if isinstance(estimator, Surrogate) and estimator.forward:
        return estimator.function(audio, params_unit)
    return _BlackBox.apply(audio, params_unit, process, estimator, audio_estimator, rng)


class _BlackBox(torch.autograd.Function):
    """Renders forth; back, the estimators' answers."""

    @staticmethod
    def forward(
        ctx: Any,
        audio: Tensor,
        params_unit: Tensor,
        process: Process,
        estimator: Estimator | Surrogate,
        audio_estimator: Estimator | None,
        rng: np.random.Generator,
    ) -> Tensor:
        out = torch.from_numpy(
            _rendered(process, _numpy(audio, np.float32), _numpy(params_unit, np.float64))
        )
        out = out.to(audio)
        ctx.save_for_backward(audio, params_unit, out)
        ctx.process, ctx.estimators, ctx.rng = process, (estimator, audio_estimator), rng
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        audio, params_unit, out = ctx.saved_tensors
        estimator, audio_estimator = ctx.estimators
        if isinstance(estimator, Surrogate):
            return (
                *_through(estimator.function, audio, params_unit, upstream),
                None,
                None,
                None,
                None,
            )
        sound, knobs = _numpy(audio, np.float32), _numpy(params_unit, np.float64)
        weights = _numpy(upstream, np.float64).reshape(len(sound), -1)
        value = (weights * _numpy(out, np.float64).reshape(len(sound), -1)).sum(1)
        grad_audio = grad_params = None
        if ctx.needs_input_grad[1]:
            probe = _probe(lambda rows, items: (sound[items], rows), ctx.process, weights)
            grad_params = estimator.estimate(Point(knobs, value, probe), ctx.rng)
            grad_params = torch.from_numpy(grad_params).to(params_unit)
        if ctx.needs_input_grad[0] and audio_estimator is not None:
            shape = sound.shape[1:]
            probe = _probe(
                lambda rows, items: (_as_audio(rows, shape), knobs[items]), ctx.process, weights
            )
            at = sound.reshape(len(sound), -1).astype(np.float64)
            passed = weights if weights.shape == at.shape else None
            point = Point(at, value, probe, -np.inf, np.inf, passed)
            grad_audio = torch.from_numpy(
                audio_estimator.estimate(point, ctx.rng).reshape(sound.shape)
            ).to(audio)
        return grad_audio, grad_params, None, None, None, None


def _numpy(tensor: Tensor, dtype: type) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(dtype)


def _as_audio(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return rows.reshape(len(rows), *shape).astype(np.float32)


def _rendered(process: Process, sound: np.ndarray, knobs: np.ndarray) -> np.ndarray:
    out = np.asarray(process(sound, knobs))
    if out.ndim < 2 or len(out) != len(sound) or not np.isfinite(out).all():
        raise ValueError(
            f"process must return finite numbers, one row for each of {len(sound)} items, got {out.shape}"
        )
    return out


def _probe(
    inputs: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    process: Process,
    weights: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """(k, b, n) -> (k, b): renders at other places, weighed in float64 (their differences are small)."""

    def probe(places: np.ndarray) -> np.ndarray:
        k, b, n = places.shape
        rows, items, values = places.reshape(k * b, n), np.tile(np.arange(b), k), np.empty(k * b)
        for first in range(0, k * b, _MOST_ROWS):
            part = slice(first, first + _MOST_ROWS)
            out = _rendered(process, *inputs(rows[part], items[part]))
            values[part] = np.einsum(
                "ij,ij->i", out.reshape(len(out), -1).astype(np.float64), weights[items[part]]
            )
        return values.reshape(k, b)

    return probe


def _through(
    function: TorchProcess, audio: Tensor, params_unit: Tensor, upstream: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The stand-in's gradients for audio and knobs; its own weights get none."""
    with torch.enable_grad():
        leaves = [audio.detach().requires_grad_(), params_unit.detach().requires_grad_()]
        found = torch.autograd.grad(function(*leaves), leaves, upstream, allow_unused=True)
    return found[0], found[1]


def each(render: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Process:
    """A batch renderer out of one for single items.

    Args:
        render: (audio (channels, samples), params_unit (d,)) -> (channels, samples).

    Returns:
        A `Process` that takes them one after the other.
    """
    return lambda audio, params_unit: np.stack(
        [render(*item) for item in zip(audio, params_unit, strict=True)]
    )


def stepped(params_unit: Tensor, n_values: int) -> Tensor:
    """Knobs with few positions: rounded to the nearest forth, straight through back.

    A turn smaller than a step changes nothing, so that every difference is zero. Round here, and let the estimator
    turn by a whole step: ``eps = 1 / (n_values - 1)``.

    Args:
        params_unit: any shape, in 0..1.
        n_values: positions, evenly spaced from 0 to 1, at least 2.

    Returns:
        The same shape.

    Raises:
        ValueError: if `n_values` is below 2.

    Source: Bengio, Léonard and Courville 2013, section 4.
    """
    if n_values < 2:
        raise ValueError(f"n_values must be at least 2, got {n_values}")
    rounded = torch.round(params_unit * (n_values - 1)) / (n_values - 1)
    return params_unit + (rounded - params_unit).detach()


def cosine(estimate: Tensor, exact: Tensor) -> Tensor:
    """How far two gradients agree in direction.

    Args:
        estimate: (..., d).
        exact: the same shape.

    Returns:
        (...) in -1..1; 0 where one of them is zero.
    """
    return torch.nn.functional.cosine_similarity(
        estimate.double(), exact.double(), dim=-1, eps=1e-30
    )


def log_gradient(
    writer: Any, step: int, estimate: Tensor, exact: Tensor | None = None, *, name: str = "gradient"
) -> Mapping[str, float]:
    """Write a gradient's size, and how well it points where the exact one is known, to TensorBoard.

    Args:
        writer: a TensorBoard `SummaryWriter`, or None to have the figures alone.
        step: of the optimiser.
        estimate: (b, d), one row for each item.
        exact: the same shape, or None.
        name: before the slash of the curves' names.

    Returns:
        ``norm`` and, with `exact`, ``cosine``: means over the items.
    """
    facts = {"norm": float(estimate.norm(dim=-1).mean())}
    if exact is not None:
        facts["cosine"] = float(cosine(estimate, exact).mean())
    for key, value in facts.items() if writer is not None else ():
        writer.add_scalar(f"{name}/{key}", value, step)
    return facts
