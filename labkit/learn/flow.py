"""Rectified flow: a network learns the velocity from noise to data; a solver follows it.

Axis letters: b batch, d values of a vector, c size of a condition.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Solver = Literal["euler", "midpoint", "rk4"]
Velocity = Callable[[Tensor, Tensor], Tensor]  # points (b, d), times (b,) -> (b, d)


def pair(noise: Tensor, target: Tensor) -> Tensor:
    """The rows of `noise` in the order of the targets (b, d) that suit them: optimal transport.

    Drawback: if the condition tells the targets apart, the paired noise does so too, but only in
    training, and the condition is not learnt. Source: Tong et al. 2024 (TMLR); Kuhn 1955.
    """
    cost = torch.cdist(target.detach().double(), noise.detach().double()).square().cpu().numpy()
    return noise[torch.from_numpy(linear_sum_assignment(cost)[1]).to(noise.device)]


def flow_loss(
    field: Callable[..., Tensor],
    target: Tensor,
    condition: Tensor | None,
    rng: torch.Generator,
    *,
    drop: float = 0.1,
    pairing: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean squared error of the velocity on the straight way from noise to `target` (b, d).

    `drop` is the share of rows whose condition the trained token replaces. `pairing` (noise,
    target) gives the noise to use for each target, e.g. `pair`; None pairs at random.
    Source: Liu et al. 2023 (rectified flow), eq. 1.
    """
    if target.ndim != 2:
        raise ValueError(f"target must be (batch, values), got {tuple(target.shape)}")
    noise = torch.randn(target.shape, generator=rng).to(target)
    time = torch.rand(len(target), generator=rng).to(target)
    kept = (torch.rand(len(target), generator=rng) >= drop).to(target.device)
    if pairing is not None:
        noise = pairing(noise, target)
    point = torch.lerp(noise, target, time[:, None])
    velocity = field(point, time, condition, kept)
    return (velocity - (target - noise)).square().mean()


def integrate(velocity: Velocity, start: Tensor, *, steps: int, solver: Solver = "rk4") -> Tensor:
    """The path (steps + 1, b, d) along a velocity from time 0 to 1; rk4 asks it 4 times a step."""
    if solver not in get_args(Solver):
        raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}, got {solver!r}")

    def at(x: Tensor, time: float) -> Tensor:
        return velocity(x, torch.full((len(x),), time, device=x.device, dtype=x.dtype))

    path, size = [start], 1.0 / steps
    for k in range(steps):
        path.append(path[-1] + size * _slope(at, path[-1], k * size, size, solver))
    return torch.stack(path)


def _slope(
    at: Callable[[Tensor, float], Tensor], x: Tensor, time: float, size: float, solver: Solver
) -> Tensor:
    first = at(x, time)
    if solver == "euler":
        return first
    second = at(x + size / 2 * first, time + size / 2)
    if solver == "midpoint":
        return second
    third = at(x + size / 2 * second, time + size / 2)
    return (first + 2 * second + 2 * third + at(x + size * third, time + size)) / 6


@torch.no_grad()
def sample(
    field: nn.Module,
    condition: Tensor,
    *,
    steps: int = 20,
    solver: Solver = "rk4",
    guidance: float = 1.0,
    rng: torch.Generator,
    n_samples: int = 1,
) -> Tensor:
    """Draw (b, n_samples, d) vectors for conditions (b, c), with noise of `rng` on the CPU.

    `guidance` 0 ignores the condition, 1 follows it, more exaggerates it (Ho and Salimans 2021).
    """
    rows = condition.repeat_interleave(n_samples, 0)
    start = torch.randn(len(rows), field.n_values, generator=rng).to(rows)
    path = integrate(guided(field, rows, guidance), start, steps=steps, solver=solver)
    return path[-1].unflatten(0, (len(condition), n_samples))


def guided(field: nn.Module, condition: Tensor, guidance: float) -> Velocity:
    """The velocity for fixed conditions (b, c) at one strength of guidance, for `integrate`."""
    if guidance == 1:
        return lambda x, time: field(x, time, condition)
    if guidance == 0:
        return lambda x, time: field(x, time, None)

    def both(x: Tensor, time: Tensor) -> Tensor:
        kept = torch.arange(2 * len(x), device=x.device) < len(x)
        rows = x.repeat(2, 1), time.repeat(2), condition.repeat(2, 1)
        conditioned, free = field(*rows, kept).chunk(2)
        return free + guidance * (conditioned - free)

    return both


class Averaged(nn.Module):
    """A model with the running mean of its weights: trained as the one, evaluated as the other."""

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        super().__init__()
        self.online = model
        self.mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.mean.requires_grad_(False)

    @property
    def best(self) -> nn.Module:
        """The averaged model itself."""
        return self.mean.module

    def follow(self) -> None:
        """Move the mean towards the model as it is; the first call copies it."""
        self.mean.update_parameters(self.online)

    def forward(self, *arguments: Tensor) -> Tensor:
        """The model in training, the mean in evaluation."""
        return (self.online if self.training else self.mean)(*arguments)
