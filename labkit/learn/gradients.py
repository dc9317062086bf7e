"""Gradients through a black box: from its renders, or from a differentiable stand-in.

Every estimator differentiates a weighted sum of the box's output; the weights are the gradient that
the loss sends back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# (items, channels, samples) float32 and parameters (items, d) in 0..1, float64 -> (items, ...).
Process = Callable[[np.ndarray, np.ndarray], np.ndarray]
# The same for tensors, with gradients.
TorchProcess = Callable[[Tensor, Tensor], Tensor]
# Renders per call: enough for a pool of workers to share, little enough for memory.
_MAX_ROWS = 64
# Finite differences take a render for each coordinate, and audio has one for each sample.
_MAX_COORDINATES = 4096


@dataclass(frozen=True)
class Point:
    """Where a gradient is wanted: `at` (b, n) float64 and the `value` (b,) there.

    `probe` maps (k, b, n) to (k, b) for k renders of every item. `passed` (b, n) is what a box that
    does nothing would send back; None for parameters.
    """

    at: np.ndarray
    value: np.ndarray
    probe: Callable[[np.ndarray], np.ndarray]
    low: float = 0.0
    high: float = 1.0
    passed: np.ndarray | None = None

    def clip(self, places: np.ndarray) -> np.ndarray:
        """The nearest places within the bounds."""
        return np.clip(places, self.low, self.high)

    def pair(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps (k, b, n) to both sides: the moves (k, b, n) within the bounds and gains (k, b)."""
        up, down = self.clip(self.at + steps), self.clip(self.at - steps)
        values = self.probe(np.concatenate([up, down]))
        return up - down, values[: len(up)] - values[len(up) :]


class Estimator:
    """What all estimators have in common."""

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        raise NotImplementedError

    def renders(self, n: int) -> int:
        """Renders per item for `n` parameters, beside the one of the forward pass."""
        raise NotImplementedError


def _check(name: str, step: float, count: int = 1) -> None:
    if not 0 < step <= 0.5:
        raise ValueError(f"{name} must lie in (0, 0.5], a share of the range, got {step}")
    if count < 1:
        raise ValueError(f"the number of draws must be at least 1, got {count}")


def _one_by_one(step: float, n: int) -> np.ndarray:
    """(n, 1, n): a step along each coordinate alone."""
    if n > _MAX_COORDINATES:
        raise ValueError(
            f"finite differences take a render for each of {n} coordinates, at most "
            f"{_MAX_COORDINATES} are sensible: use SPSA or StraightThrough for audio"
        )
    return step * np.eye(n)[:, None]


@dataclass(frozen=True)
class ForwardDifferences(Estimator):
    """One parameter moved at a time by `eps`, in (0, 0.5]; backwards at the upper bound."""

    eps: float = 1e-2

    def __post_init__(self) -> None:
        _check("eps", self.eps)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """The gradient at a point, (b, n)."""
        steps = _one_by_one(self.eps, point.at.shape[1])
        places = point.at + np.where(point.at + self.eps > point.high, -steps, steps)
        moved = np.einsum("kbk->kb", places - point.at)
        return ((point.probe(places) - point.value) / moved).T

    def renders(self, n: int) -> int:
        """See `Estimator`."""
        return n


@dataclass(frozen=True)
class CentralDifferences(Estimator):
    """One parameter moved at a time by `eps` to both sides; one-sided at a bound."""

    eps: float = 1e-2

    def __post_init__(self) -> None:
        _check("eps", self.eps)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """The gradient at a point, (b, n)."""
        moved, gain = point.pair(_one_by_one(self.eps, point.at.shape[1]))
        return (gain / np.einsum("kbk->kb", moved)).T

    def renders(self, n: int) -> int:
        """See `Estimator`."""
        return 2 * n


@dataclass(frozen=True)
class SPSA(Estimator):
    """Simultaneous perturbation: all parameters moved by `eps`, each up or down at random.

    Two renders a pair. We divide by how far each parameter moved: dividing by 2 eps, as DeepAFx
    does, halves the gradient at a bound. Source: Spall 1992, eq. 2.2; Ramírez et al. 2021, eq. 3.
    """

    eps: float = 1e-2
    pairs: int = 1

    def __post_init__(self) -> None:
        _check("eps", self.eps, self.pairs)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        return self.along(point, 2.0 * rng.integers(0, 2, (self.pairs, *point.at.shape)) - 1.0)

    def along(self, point: Point, signs: np.ndarray) -> np.ndarray:
        """The same for given directions (pairs, b, n) of -1 and 1."""
        moved, gain = point.pair(self.eps * signs)
        return (gain[..., None] / moved).mean(0)

    def renders(self, n: int) -> int:  # noqa: ARG002
        """See `Estimator`."""
        return 2 * self.pairs


@dataclass(frozen=True)
class GaussianSmoothing(Estimator):
    """The gradient of the function blurred by a normal distribution of width `sigma`.

    Without `antithetic` pairs it is the score-function estimator (REINFORCE), with the forward pass
    as baseline. Source: Nesterov and Spokoiny 2017, eq. 6; Williams 1992.
    """

    sigma: float = 1e-2
    draws: int = 1
    antithetic: bool = True

    def __post_init__(self) -> None:
        _check("sigma", self.sigma, self.draws)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        """The gradient at a point, (b, n)."""
        steps = self.sigma * rng.standard_normal((self.draws, *point.at.shape))
        if self.antithetic:
            moved, gain = point.pair(steps)
        else:
            moved = self._moved(point, steps)
            gain = point.probe(point.at + moved) - point.value
        # Mean and variance of the moves, by a sum over the normal density.
        grid = np.linspace(-6, 6, 129)[:, None, None]
        weights = np.exp(-0.5 * grid**2) / np.exp(-0.5 * grid**2).sum()
        moves = self._moved(point, self.sigma * np.broadcast_to(grid, (129, *point.at.shape)))
        mean = (weights * moves).sum(0)
        variance = (weights * (moves - mean) ** 2).sum(0)
        return (gain[..., None] * (moved - mean)).mean(0) / variance

    def _moved(self, point: Point, steps: np.ndarray) -> np.ndarray:
        """How far the parameters get by steps that the bounds cut short."""
        away = point.clip(point.at - steps) if self.antithetic else point.at
        return point.clip(point.at + steps) - away

    def renders(self, n: int) -> int:  # noqa: ARG002
        """See `Estimator`."""
        return self.draws * (2 if self.antithetic else 1)


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Audio's gradient is passed on unchanged. Source: Bengio et al. 2013, section 4."""

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """The gradient at a point, (b, n)."""
        if point.passed is None:
            raise ValueError(
                "StraightThrough passes audio's gradient on; parameters need another estimator"
            )
        return point.passed

    def renders(self, n: int) -> int:  # noqa: ARG002
        """None."""
        return 0


@dataclass(frozen=True)
class Surrogate:
    """A differentiable stand-in: the box's reimplementation, or a network that imitates it.

    With `forward` it gives the output too; otherwise the gradient alone, at its own output.
    Source: Steinmetz et al., JAES 70(9), 2022, sections 2.3 (proxies) and 2.5.
    """

    function: TorchProcess
    forward: bool = False

    def renders(self, n: int) -> int:  # noqa: ARG002
        """None of the box."""
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
    """A black box as a layer: its output forward, an estimated gradient backward.

    Args:
        process: renders a batch; `each` makes one of a function for single items.
        audio: (b, channels, samples).
        params_unit: (b, d) in 0..1.
        audio_estimator: of the gradient of `audio`; None sends none. A `Surrogate` gives both.
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
        sound, knobs = _numpy(audio, np.float32), _numpy(params_unit, np.float64)
        out = torch.from_numpy(_rendered(process, sound, knobs)).to(audio)
        ctx.save_for_backward(audio, params_unit, out)
        ctx.process = process
        ctx.estimators = estimator, audio_estimator
        ctx.rng = rng
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        audio, params_unit, out = ctx.saved_tensors
        estimator, audio_estimator = ctx.estimators
        rest = (None, None, None, None)
        if isinstance(estimator, Surrogate):
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in (audio, params_unit)]
                stand_in = estimator.function(*leaves)
                return *torch.autograd.grad(stand_in, leaves, upstream, allow_unused=True), *rest
        sound, knobs = _numpy(audio, np.float32), _numpy(params_unit, np.float64)
        weights = _numpy(upstream, np.float64).reshape(len(sound), -1)
        value = (weights * _numpy(out, np.float64).reshape(len(sound), -1)).sum(1)
        grad_audio = grad_params = None
        if ctx.needs_input_grad[1]:
            probe = _probe(lambda rows, items: (sound[items], rows), ctx.process, weights)
            estimate = estimator.estimate(Point(knobs, value, probe), ctx.rng)
            grad_params = torch.from_numpy(estimate).to(params_unit)
        if ctx.needs_input_grad[0] and audio_estimator is not None:

            def inputs(rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                return rows.reshape(-1, *sound.shape[1:]).astype(np.float32), knobs[items]

            at = sound.reshape(len(sound), -1).astype(np.float64)
            passed = weights if weights.shape == at.shape else None
            probe = _probe(inputs, ctx.process, weights)
            point = Point(at, value, probe, -np.inf, np.inf, passed)
            estimate = audio_estimator.estimate(point, ctx.rng)
            grad_audio = torch.from_numpy(estimate.reshape(sound.shape)).to(audio)
        return grad_audio, grad_params, *rest


def _numpy(tensor: Tensor, dtype: type) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(dtype)


def _rendered(process: Process, sound: np.ndarray, knobs: np.ndarray) -> np.ndarray:
    out = np.asarray(process(sound, knobs))
    if out.ndim < 2 or len(out) != len(sound) or not np.isfinite(out).all():
        raise ValueError(
            "process must return finite numbers, "
            f"one row for each of {len(sound)} items, got {out.shape}"
        )
    return out


def _probe(
    inputs: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    process: Process,
    weights: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """(k, b, n) -> (k, b): weighted sums of renders; in float64, as differences are small."""

    def probe(places: np.ndarray) -> np.ndarray:
        k, b, n = places.shape
        rows = places.reshape(k * b, n)
        items = np.tile(np.arange(b), k)
        values = np.empty(k * b)
        for first in range(0, k * b, _MAX_ROWS):
            part = slice(first, first + _MAX_ROWS)
            out = _rendered(process, *inputs(rows[part], items[part]))
            flat = out.reshape(len(out), -1).astype(np.float64)
            values[part] = np.einsum("ij,ij->i", flat, weights[items[part]])
        return values.reshape(k, b)

    return probe


def each(render: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Process:
    """A batch renderer out of one for single items: (channels, samples) and (d,)."""
    return lambda audio, params_unit: np.stack(
        [render(*item) for item in zip(audio, params_unit, strict=True)]
    )


def stepped(params_unit: Tensor, n_values: int) -> Tensor:
    """Parameters rounded to `n_values` positions from 0 to 1, with a straight-through gradient."""
    if n_values < 2:
        raise ValueError(f"n_values must be at least 2, got {n_values}")
    rounded = torch.round(params_unit * (n_values - 1)) / (n_values - 1)
    return params_unit + (rounded - params_unit).detach()


def cosine(estimate: Tensor, exact: Tensor) -> Tensor:
    """Cosine between gradients (..., d) -> (...); 0 where one of them is zero."""
    pair = estimate.double(), exact.double()
    return torch.nn.functional.cosine_similarity(*pair, dim=-1, eps=1e-30)


def log_gradient(
    writer: Any, step: int, estimate: Tensor, exact: Tensor | None = None, *, name: str = "gradient"
) -> Mapping[str, float]:
    """Mean norm of a gradient (b, d) and cosine to the exact one, for a TensorBoard writer."""
    figures = {"norm": float(estimate.norm(dim=-1).mean())}
    if exact is not None:
        figures["cosine"] = float(cosine(estimate, exact).mean())
    for key, value in figures.items() if writer is not None else ():
        writer.add_scalar(f"{name}/{key}", value, step)
    return figures
