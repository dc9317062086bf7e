"""Gradients through a black box: from its renders, or from a differentiable stand-in.

Every estimator differentiates a weighted sum of the box's output with respect to its parameters;
the weights are the gradient that the loss sends back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from labkit.signal.seeds import seeded

if TYPE_CHECKING:
    from labkit.learn.training import Loss

# (items, channels, samples) float32 and parameters (items, d) in 0..1, float64 -> (items, ...).
Process = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Renders per call: enough for a pool of workers to share, little enough for memory.
_MAX_ROWS = 64


@dataclass(frozen=True)
class Point:
    """Where a gradient is wanted: `at` (b, d) in 0..1, float64, and the `value` (b,) there.

    `probe` maps (k, b, d) to (k, b): the function at k other places of every item, for k renders.
    """

    at: np.ndarray
    value: np.ndarray
    probe: Callable[[np.ndarray], np.ndarray]

    def moves(self, steps: np.ndarray, *, both: bool = True) -> np.ndarray:
        """How far the parameters move by steps (k, b, d), both ways or one way, within 0..1."""
        away = np.clip(self.at - steps, 0, 1) if both else self.at
        return np.clip(self.at + steps, 0, 1) - away

    def gains(self, steps: np.ndarray) -> np.ndarray:
        """Difference (k, b) of the function between both ends of steps (k, b, d)."""
        places = np.concatenate([self.at + steps, self.at - steps])
        values = self.probe(np.clip(places, 0, 1))
        return values[: len(steps)] - values[len(steps) :]


def _check(name: str, step: float, count: int = 1) -> None:
    if not 0 < step <= 0.5:
        raise ValueError(f"{name} must lie in (0, 0.5], a share of the range, got {step}")
    if count < 1:
        raise ValueError(f"the number of draws must be at least 1, got {count}")


@dataclass(frozen=True)
class CentralDifferences:
    """Central differences: one parameter at a time moves by `eps` both ways; one way at a bound."""

    eps: float = 1e-2

    def __post_init__(self) -> None:
        _check("eps", self.eps)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """The gradient at a point, (b, d); so in the others."""
        steps = self.eps * np.eye(point.at.shape[1])[:, None]
        return (point.gains(steps) / np.einsum("kbk->kb", point.moves(steps))).T


@dataclass(frozen=True)
class SPSA:
    """Simultaneous perturbation: all parameters moved by `eps`, each up or down at random.

    Two renders a pair. We divide by how far each parameter moved: dividing by 2 eps, as DeepAFx
    does, halves the gradient at a bound. Source: Spall 1992, eq. 2.2; Ramírez et al. 2021, eq. 3.
    """

    eps: float = 1e-2
    pairs: int = 1

    def __post_init__(self) -> None:
        _check("eps", self.eps, self.pairs)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        return self.along(point, 2.0 * rng.integers(0, 2, (self.pairs, *point.at.shape)) - 1.0)

    def along(self, point: Point, signs: np.ndarray) -> np.ndarray:
        """The same for given directions (pairs, b, d) of -1 and 1."""
        steps = self.eps * signs
        return (point.gains(steps)[..., None] / point.moves(steps)).mean(0)


@dataclass(frozen=True)
class GaussianSmoothing:
    """The gradient of the function smoothed by a normal distribution of width `sigma`.

    Without `antithetic` pairs it is the score-function estimator (REINFORCE), with the forward
    pass as baseline. Source: Nesterov and Spokoiny 2017, eq. 6; Williams 1992.
    """

    sigma: float = 1e-2
    draws: int = 1
    antithetic: bool = True

    def __post_init__(self) -> None:
        _check("sigma", self.sigma, self.draws)

    def estimate(self, point: Point, rng: np.random.Generator) -> np.ndarray:
        both = self.antithetic
        steps = self.sigma * rng.standard_normal((self.draws, *point.at.shape))
        moved = point.moves(steps, both=both)
        gains = point.gains(steps) if both else point.probe(point.at + moved) - point.value
        # Mean and variance of the moves that the bounds allow, by a sum over the normal density.
        grid = np.linspace(-6, 6, 129)[:, None, None]
        weights = np.exp(-0.5 * grid**2) / np.exp(-0.5 * grid**2).sum()
        moves = point.moves(np.broadcast_to(self.sigma * grid, (129, *point.at.shape)), both=both)
        mean = (weights * moves).sum(0)
        variance = (weights * (moves - mean) ** 2).sum(0)
        return (gains[..., None] * (moved - mean)).mean(0) / variance


Estimator = CentralDifferences | SPSA | GaussianSmoothing


@dataclass(frozen=True)
class Surrogate:
    """A differentiable stand-in: the box's reimplementation, or a network that imitates it.

    `function` (audio, params_unit) gives the gradient, at its own output.
    Source: Steinmetz et al., JAES 70(9), 2022, sections 2.3 (half proxies) and 2.5 (autodiff).
    """

    function: Callable[[Tensor, Tensor], Tensor]


def black_box(
    process: Process,
    audio: Tensor,
    params_unit: Tensor,
    estimator: Estimator | Surrogate,
    rng: np.random.Generator,
) -> Tensor:
    """A black box as a layer: its output forward, an estimated gradient backward.

    For audio (b, channels, samples), of which only a `Surrogate` has a gradient, and parameters
    (b, d) in 0..1. `each` makes a `process` out of a function for single items.
    """
    if audio.ndim < 2 or params_unit.ndim != 2 or len(audio) != len(params_unit):
        raise ValueError(
            "audio must be (b, channels, samples) and params_unit (b, d), "
            f"got {tuple(audio.shape)} and {tuple(params_unit.shape)}"
        )
    if not bool(((params_unit >= 0) & (params_unit <= 1)).all()):
        raise ValueError("params_unit must lie in 0..1: end the network in a sigmoid, or clamp")
    return _BlackBox.apply(audio, params_unit, process, estimator, rng)


class _BlackBox(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        audio: Tensor,
        params_unit: Tensor,
        process: Process,
        estimator: Estimator | Surrogate,
        rng: np.random.Generator,
    ) -> Tensor:
        sound, knobs = _numpy(audio, np.float32), _numpy(params_unit, np.float64)
        out = torch.from_numpy(_rendered(process, sound, knobs)).to(audio)
        ctx.save_for_backward(audio, params_unit, out)
        ctx.settings = process, estimator, rng
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        audio, params_unit, out = ctx.saved_tensors
        process, estimator, rng = ctx.settings
        if isinstance(estimator, Surrogate):
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in (audio, params_unit)]
                stand_in = estimator.function(*leaves)
                found = torch.autograd.grad(stand_in, leaves, upstream, allow_unused=True)
            return *found, None, None, None
        sound, knobs = _numpy(audio, np.float32), _numpy(params_unit, np.float64)
        weights = _numpy(upstream, np.float64).reshape(len(sound), -1)
        value = (weights * _numpy(out, np.float64).reshape(len(sound), -1)).sum(1)
        point = Point(knobs, value, _probe(process, sound, weights))
        estimate = torch.from_numpy(estimator.estimate(point, rng)).to(params_unit)
        return None, estimate, None, None, None


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
    process: Process, sound: np.ndarray, weights: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """(k, b, d) -> (k, b): weighted sums of renders; in float64, as differences are small."""

    def probe(places: np.ndarray) -> np.ndarray:
        k, b, d = places.shape
        rows = places.reshape(k * b, d)
        items = np.tile(np.arange(b), k)
        values = np.empty(k * b)
        for first in range(0, k * b, _MAX_ROWS):
            part = slice(first, first + _MAX_ROWS)
            out = _rendered(process, sound[items[part]], rows[part])
            flat = out.reshape(len(out), -1).astype(np.float64)
            values[part] = np.einsum("ij,ij->i", flat, weights[items[part]])
        return values.reshape(k, b)

    return probe


def each(render: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Process:
    """A batch renderer out of one for single items: (channels, samples) and (d,)."""
    return lambda audio, params_unit: np.stack(
        [render(*item) for item in zip(audio, params_unit, strict=True)]
    )


def cosine(estimate: Tensor, exact: Tensor) -> Tensor:
    """Cosine between gradients (..., d) -> (...); 0 where one of them is zero."""
    pair = estimate.double(), exact.double()
    return torch.nn.functional.cosine_similarity(*pair, dim=-1, eps=1e-30)


# A network that imitates an effect with its parameters, as a stand-in


class _Block(nn.Module):
    """A dilated causal convolution that the parameters scale and shift (FiLM); a shortcut."""

    def __init__(self, channels: int, kernel: int, dilation: int, width: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.convolution = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.film = nn.Linear(width, 2 * channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        filtered = self.convolution(nn.functional.pad(x, (self.past, 0)))
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return x + self.mix(torch.tanh(filtered * (1 + scale) + shift))


class ProxyTCN(nn.Module):
    """A conditioned temporal convolutional network: dry audio and parameters to wet audio.

    It begins as the identity and keeps a direct path from dry to wet. Each block is 6 times as
    dilated as the one before. Source: Steinmetz and Reiss, AES 152, 2022; Perez et al. 2018 (FiLM).
    """

    def __init__(self, n_params: int) -> None:
        super().__init__()
        width, channels, kernel = 32, 12, 7
        self.condition = nn.Sequential(
            nn.Linear(n_params, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.enter = nn.Conv1d(1, channels, 1)
        self.blocks = nn.ModuleList(_Block(channels, kernel, 6**k, width) for k in range(4))
        self.leave = nn.Conv1d(channels, 1, 1)
        self.straight = nn.Linear(width, 1)
        for layer in (self.leave, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, audio: Tensor, params_unit: Tensor) -> Tensor:
        """(b, channels, samples) and (b, d) in 0..1 -> wet audio, each channel alone."""
        batch, channels, samples = audio.shape
        condition = self.condition(2 * params_unit - 1).repeat_interleave(channels, 0)
        dry = audio.reshape(batch * channels, 1, samples)
        x = self.enter(dry)
        for block in self.blocks:
            x = block(x, condition)
        wet = self.leave(x) + (1 + self.straight(condition)[..., None]) * dry
        return wet.view(batch, channels, samples)


def fresh_proxy(n_params: int, seed: int) -> ProxyTCN:
    """A proxy with weights from a seed of its own."""
    return seeded(lambda: ProxyTCN(n_params), seed, "proxy")


def imitation_loss(distance: Callable[[Tensor, Tensor], Tensor]) -> "Loss":
    """The loss of batches of ``dry``, ``params_unit`` and ``wet``.

    `distance` (imitated, wet) -> (b,) is e.g. spectral; the wave's relative error is added.
    """

    def loss(proxy: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        wet = batch["wet"]
        imitated = proxy(batch["dry"], batch["params_unit"])
        error = (imitated - wet).square().mean((1, 2)) / (wet.square().mean((1, 2)) + 1e-8)
        return (distance(imitated, wet) + error).mean(), {}

    return loss
