"""The torch pedals on a bare GPU machine: python tests/benchmarks/twins_on_gpu.py [cuda | cpu]

Needs torch, NumPy and SciPy alone. Every recursion and its gradients are compared with the same recursion written out
in float64.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.effects.twins import dynamics, filters, ladder, modulation, reverb
from labkit.effects.twins.delay import _Echoes
from labkit.effects.twins.kernels.constants import (
    ALLPASS_FEEDBACK,
    BEFORE,
    HERE,
    POINTS,
    REACH,
    STAGES,
    UPDATE_EVERY,
)

RATE = 44_100
DRAW = torch.Generator().manual_seed(0)


def share(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=DRAW, dtype=torch.float64)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW, dtype=torch.float64)


def biquad(x: Tensor, k: Tensor) -> Tensor:
    b0, b1, b2, a1, a2 = k.unbind(-1)
    s1 = s2 = torch.zeros_like(b0)
    out = []
    for n in x.unbind(-1):
        y = n * b0 + s1
        s1, s2 = n * b1 - y * a1 + s2, n * b2 - y * a2
        out.append(y)
    return torch.stack(out, -1)


def follow(x: Tensor, rising: Tensor, falling: Tensor) -> Tensor:
    state, out = torch.zeros_like(rising), []
    for n in x.abs().unbind(-1):
        state = n + torch.where(n > state, rising, falling) * (state - n)
        out.append(state)
    return torch.stack(out, -1)


def echo(x: Tensor, feedback: Tensor, delay: Tensor) -> Tensor:
    rows = []
    for item, f, lag in zip(x, feedback, delay.long().tolist(), strict=True):
        out: list[Tensor] = []
        for n in range(x.shape[-1]):
            out.append(
                item[:, n - lag] + f * out[n - lag] if n >= lag else torch.zeros_like(item[:, 0])
            )
        rows.append(torch.stack(out, -1))
    return torch.stack(rows)


def delay_line(x: Tensor, delay: Tensor, feedback: Tensor) -> Tensor:
    rows = []
    for item, lags, f in zip(x, delay, feedback, strict=True):
        line, out = [], []
        for n, lag in enumerate(lags):
            whole = int(lag)
            line.append(item[:, n] - f * out[-1] if n else item[:, 0])
            newer, older = (
                line[at] if at >= 0 else torch.zeros_like(item[:, 0])
                for at in (n - whole, n - whole - 1)
            )
            out.append(newer + (lag - whole) * (older - newer))
        rows.append(torch.stack(out, -1))
    return torch.stack(rows)


def allpasses(x: Tensor, gain: Tensor, feedback: Tensor) -> Tensor:
    states, out = [torch.zeros_like(x[..., 0])] * STAGES, []
    for n in range(x.shape[-1]):
        g = gain[:, n // UPDATE_EVERY, None]
        value = x[..., n] - feedback[:, None] * out[-1] if n else x[..., 0]
        for stage, state in enumerate(states):
            half = g * (value - state)
            states[stage] = state + 2 * half
            value = 2 * (half + state) - value
        out.append(value)
    return torch.stack(out, -1)


def room(x: Tensor, feedback: Tensor, damping: Tensor, combs: Tensor, passes: Tensor) -> Tensor:
    sides = []
    for sizes, pass_sizes in zip(combs.tolist(), passes.tolist(), strict=True):
        zero, total = torch.zeros_like(feedback), 0
        for size in sizes:
            low, line = zero, [zero] * size
            for n in x.unbind(-1):
                low = (1 - damping) * line[-size] + damping * low
                line.append(n + feedback * low)
            total = total + torch.stack(line[: x.shape[-1]], -1)
        for size in pass_sizes:
            line = [zero] * size
            for n in total.unbind(-1):
                line.append(n + ALLPASS_FEEDBACK * line[-size])
            total = torch.stack(line[: x.shape[-1]], -1) - total
        sides.append(total)
    return torch.stack(sides, 1)


def saturated(x: Tensor, table: Tensor) -> Tensor:
    index = (x.clamp(-REACH, REACH) + REACH) * ((POINTS - 1) / (2 * REACH))
    point = index.detach().long()
    return table[point] + (index - point) * (table[point + 1] - table[point])


def through_ladder(x: Tensor, knobs: Tensor, taps: Tensor) -> Tensor:
    pole, loop, drive, makeup, drive_back, makeup_back = knobs.unbind(-1)
    table = ladder._table(torch.float64)
    y, out = [torch.zeros_like(pole)] * 5, []
    for n in x.unbind(-1):
        sent = makeup * saturated(drive * n, table)
        new = [sent - loop * (makeup_back * saturated(drive_back * y[4], table) - taps[5] * sent)]
        for stage in range(1, 5):
            new.append((1 - pole) * (HERE * new[-1] + BEFORE * y[stage - 1]) + pole * y[stage])
        y = new
        out.append(sum(tap * state for tap, state in zip(taps[:5], y, strict=True)))
    return torch.stack(out, -1)


def cases() -> list[
    tuple[str, Callable[..., Tensor], Callable[..., Tensor], list[Tensor], list[Tensor]]
]:
    """Name, the recursion, the twins' own, what takes gradients, and what does not."""
    poles = torch.tensor([0.2, 0.3, 0.1, -1.5, 0.7], dtype=torch.float64) * share(3, 1)
    sides = torch.arange(2)[:, None] * 3
    combs, passes = (
        torch.tensor([[9, 11, 12, 13, 14, 15, 16, 17]]) + sides,
        torch.tensor([[12, 9, 8, 7]]) + sides,
    )
    knobs = torch.stack(
        [share(5), share(5, high=4.0), *(share(5, low=0.5, high=2.0) for _ in range(4))], -1
    )
    taps = torch.tensor([0.0, 0.0, 1.2, -0.5, 0.3, 0.5], dtype=torch.float64)
    back, n = share(3, low=-0.9, high=0.9), 150

    def echoes(x: Tensor, f: Tensor, delay: Tensor) -> Tensor:
        return _Echoes.apply(x, f, delay, RATE)

    return [
        ("biquad", biquad, filters._Biquad.apply, [noise(3, n), poles], []),
        ("envelope", follow, dynamics._Envelope.apply, [noise(70, n), share(70), share(70)], []),
        (
            "echoes",
            echo,
            echoes,
            [noise(3, 2, n), share(3)],
            [torch.tensor([3.0, 40.0, 500.0]).double()],
        ),
        (
            "delay line",
            delay_line,
            modulation._DelayLine.apply,
            [noise(3, 2, n), share(3, n, high=30.0), back],
            [],
        ),
        (
            "8 at once",
            delay_line,
            modulation._DelayLine.apply,
            [noise(3, 2, n), share(3, n, low=8, high=30), back],
            [],
        ),
        (
            "allpasses",
            allpasses,
            modulation._Allpasses.apply,
            [noise(3, 2, n), share(3, -(-n // 4)), back],
            [],
        ),
        (
            "room",
            room,
            reverb._Room.apply,
            [noise(3, n), share(3, high=0.98), share(3, high=0.4)],
            [combs, passes],
        ),
        ("ladder", through_ladder, ladder._Ladder.apply, [3 * noise(5, n), knobs], [taps]),
    ]


def relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / one.norm()).item()


def compare(device: torch.device) -> None:
    """The worst relative error of outputs and gradients, float64 and float32, beside the float64 recursion."""
    for name, reference, ours, leaves, rest in cases():
        expected = outcome(reference, leaves, rest)
        line = f"{name:12s}"
        for dtype in (torch.float64, torch.float32):
            moved = [leaf.to(device, dtype) for leaf in leaves]
            if name == "biquad":
                moved[1] = leaves[1].to(device)  # coefficients stay in float64
            others = [x.to(device, dtype) if name == "ladder" else x for x in rest]
            others = [x.to(device) for x in others] if name == "echoes" else others
            found = outcome(ours, moved, others)
            errors = [
                relative(one, other.cpu().double())
                for one, other in zip(expected, found, strict=True)
            ]
            line += f"  {str(dtype)[6:]}: out {errors[0]:.1e}, gradients {max(errors[1:]):.1e}"
        print(line, flush=True)


def outcome(
    function: Callable[..., Tensor], leaves: list[Tensor], rest: list[Tensor]
) -> list[Tensor]:
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    wet = function(*leaves, *rest)
    weights = torch.linspace(-1, 1, wet.shape[-1], dtype=wet.dtype, device=wet.device)
    return [wet.detach(), *torch.autograd.grad((wet * weights).sum(), leaves)]


def main() -> None:
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    started = time.perf_counter()
    print(device, torch.__version__)
    compare(device)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
