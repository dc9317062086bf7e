"""Rectified flow: a field learns the straight way from noise to data, and a solver follows it.

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
    """Points (b, d), times (b,), conditions (b, c), rows kept (b,) -> velocities (b, d)."""

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
    """The rows of `noise` (b, d), each given to the row of `target` (b, d) that it shall become.

    The assignment has the least total squared distance. Its price: where the condition tells the
    targets apart, the noise then does so too, but only in training, and a field of few values
    learns to read the noise instead of the condition.

    Source: Tong et al. 2024 (TMLR), minibatch optimal transport; Kuhn 1955.
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
    """Mean squared error of the velocity on the straight way from noise to target, at random times.

    Args:
        field: (points, times, condition, rows kept) -> velocities.
        target: (b, d), about standard normal, as the noise is.
        condition: what the field takes, b rows, or None.
        rng: on the CPU.
        drop: share of rows whose condition is replaced by the trained token.
        pairing: which noise goes with which target: ``"random"``, ``"optimal"`` (see `pair`), or a
            function of noise and target that gives the noise to use.

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
        velocity: (points (b, d), times (b,)) -> (b, d).
        start: (b, d).
        solver: ``"euler"`` evaluates the field once a step, ``"midpoint"`` twice, ``"rk4"`` four
            times.

    Returns:
        (steps + 1, b, d), the whole path.

    Raises:
        ValueError: for another solver or less than one step.
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
    """Draw (b, n_samples, d) vectors for conditions (b, c).

    Args:
        field: in evaluation mode.
        steps: of the solver.
        guidance: 0 ignores the condition, 1 follows it, more exaggerates it.
        rng: of the noise, on the CPU.

    Source: Ho and Salimans 2021, for velocities: (1 - g) of none + g of the condition.
    """
    rows = condition.repeat_interleave(n_samples, 0)
    start = torch.randn(len(rows), field.n_values, generator=rng).to(rows)
    path = integrate(guided(field, rows, guidance), start, steps=steps, solver=solver)
    return path[-1].unflatten(0, (len(condition), n_samples))


def guided(field: Field, condition: Tensor, guidance: float) -> Velocity:
    """The velocity for fixed conditions (b, c) at one strength of guidance, for `integrate`."""
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
    """A model with the running mean of its weights: trained as the one, evaluated as the other.

    Both are in the checkpoints of `training.fit`; the loss calls `follow` at every step.

    Source: Polyak and Juditsky 1992.
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
        """The model in training, the mean in evaluation."""
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
