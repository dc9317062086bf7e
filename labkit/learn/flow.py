"""Rectified flow: a field learns the straight way from noise to data, and a solver walks it.

Axis letters: b batch, d values of a vector, c size of a condition.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Pairing = Literal["optimal", "random"]
Solver = Literal["euler", "midpoint", "rk4"]
Velocity = Callable[[Tensor, Tensor], Tensor]


class Field(Protocol):
    """What `labkit.learn.fields` holds: points (b, d), moments (b,), conditions, rows kept -> velocities (b, d)."""

    n_values: int

    def __call__(
        self,
        x: Tensor,
        time: Tensor,
        condition: Tensor | None = None,
        kept: Tensor | None = None,
        /,
    ) -> Tensor:
        """Velocity at every point."""
        ...


def pair(noise: Tensor, target: Tensor) -> Tensor:
    """Hand out noise so that the ways to the targets are short: the assignment with the least squared distance in all.

    Args:
        noise: (b, d).
        target: (b, d).

    Returns:
        (b, d): the rows of `noise`, in the order of the targets that they are to become.

    Source: Tong et al. 2024 (TMLR), minibatch optimal transport; Kuhn 1955. Where the condition tells the targets
        apart, the noise then tells them apart too, but only in training: a field of few values learns to ask the
        noise instead of the condition. Many values and small batches hide this; random pairs do not have it.
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
    pairing: Pairing | Callable[[Tensor, Tensor], Tensor] = "random",
) -> Tensor:
    """Mean squared error of the velocity on the straight way from noise to target, at random moments.

    Args:
        field: (points, moments, condition, rows kept) -> velocities.
        target: (b, d); the noise is standard normal, so the values should be about as large.
        condition: what the field takes, b rows, or None.
        rng: on the CPU; of noise, moments and dropped conditions.
        drop: share of rows whose condition is replaced by the trained token.
        pairing: which noise goes with which target: ``"random"``, ``"optimal"`` (see `pair` for its price), or a
            function of noise and target that gives the noise to use; over all targets it must stay standard normal.

    Returns:
        A scalar.

    Raises:
        ValueError: if `target` is not (b, d), or for another pairing.

    Source: Liu et al. 2023 (rectified flow), eq. 1; Lipman et al. 2023.
    """
    if target.ndim != 2:
        raise ValueError(f"target must be (batch, values), got {tuple(target.shape)}")
    if not callable(pairing) and pairing not in ("optimal", "random"):
        raise ValueError(f"pairing must be optimal or random, got {pairing!r}")
    noise = torch.randn(target.shape, generator=rng).to(target)
    time = torch.rand(len(target), generator=rng).to(target)
    kept = (torch.rand(len(target), generator=rng) >= drop).to(target.device)
    if pairing != "random":
        noise = (pairing if callable(pairing) else pair)(noise, target)
    point = torch.lerp(noise, target, time[:, None])
    said = field(point, time, condition, kept)
    return (said - (target - noise)).square().mean()


def integrate(velocity: Velocity, start: Tensor, *, steps: int, solver: Solver = "rk4") -> Tensor:
    """Follow a field from time 0 to 1 in equal steps.

    Args:
        velocity: (points (b, d), moments (b,)) -> (b, d).
        start: (b, d).
        steps: 1 or more.
        solver: ``"euler"`` asks the field once a step, ``"midpoint"`` twice, ``"rk4"`` four times.

    Returns:
        (steps + 1, b, d), the whole path; the last is the end.

    Raises:
        ValueError: for another solver or less than one step.

    Source: Runge 1895, Kutta 1901.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if solver not in _STEPS:
        raise ValueError(f"solver must be one of {', '.join(_STEPS)}, got {solver!r}")
    path, size = [start], 1.0 / steps
    for k in range(steps):
        path.append(path[-1] + size * _STEPS[solver](_at(velocity), path[-1], k * size, size))
    return torch.stack(path)


@torch.no_grad()
def sample(
    field: Field,
    condition: Tensor,
    *,
    steps: int = 20,
    solver: Solver = "rk4",
    guidance: float = 1.0,
    rng: torch.Generator,
    n_samples: int = 1,
) -> Tensor:
    """Draw vectors for every condition.

    Args:
        field: of `labkit.learn.fields`, in evaluation mode.
        condition: (b, c).
        steps: of the solver.
        solver: see `integrate`.
        guidance: 0 does not look at the condition, 1 follows it, more exaggerates what it changes.
        rng: on the CPU; of the noise.
        n_samples: vectors for each condition.

    Returns:
        (b, n_samples, d).

    Raises:
        ValueError: as `integrate`.

    Source: Ho and Salimans 2021, for velocities: (1 - g) of none + g of the condition.
    """
    rows = condition.repeat_interleave(n_samples, 0)
    start = torch.randn(len(rows), field.n_values, generator=rng).to(rows)
    path = integrate(guided(field, rows, guidance), start, steps=steps, solver=solver)
    return path[-1].unflatten(0, (len(condition), n_samples))


def guided(field: Field, condition: Tensor, guidance: float) -> Velocity:
    """The field as `integrate` wants it: for fixed conditions (b, c), at one strength of guidance."""
    if guidance == 1:
        return lambda x, time: field(x, time, condition)
    if guidance == 0:
        return lambda x, time: field(x, time, None)

    def both(x: Tensor, time: Tensor) -> Tensor:
        kept = torch.arange(2 * len(x), device=x.device) < len(x)
        told, free = field(x.repeat(2, 1), time.repeat(2), condition.repeat(2, 1), kept).chunk(2)
        return free + guidance * (told - free)

    return both


class Averaged(nn.Module):
    """A model with the running mean of its weights beside it: trained as the one, evaluated as the other.

    Put into `labkit.learn.training.fit`, both are in the checkpoint; the loss calls `follow` at every step.

    Args:
        model: the one that is trained.
        decay: share of the mean that stays at a step.

    Source: Polyak and Juditsky 1992; the mean is torch's `AveragedModel`.
    """

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
        """Move the mean towards the model; the first call copies it."""
        self.mean.update_parameters(self.online)

    def forward(self, *arguments: Tensor) -> Tensor:
        """What the model says while training, and what the mean says in evaluation mode."""
        return (self.online if self.training else self.mean)(*arguments)


def _at(velocity: Velocity) -> Callable[[Tensor, float], Tensor]:
    return lambda x, time: velocity(x, torch.full((len(x),), time, device=x.device, dtype=x.dtype))


def _euler(v: Callable[[Tensor, float], Tensor], x: Tensor, time: float, _size: float) -> Tensor:
    return v(x, time)


def _midpoint(v: Callable[[Tensor, float], Tensor], x: Tensor, time: float, size: float) -> Tensor:
    return v(x + size / 2 * v(x, time), time + size / 2)


def _rk4(v: Callable[[Tensor, float], Tensor], x: Tensor, time: float, size: float) -> Tensor:
    first = v(x, time)
    second = v(x + size / 2 * first, time + size / 2)
    third = v(x + size / 2 * second, time + size / 2)
    return (first + 2 * second + 2 * third + v(x + size * third, time + size)) / 6


_STEPS = {"euler": _euler, "midpoint": _midpoint, "rk4": _rk4}
