"""What the GPU's kernels share: signals laid out sample by sample, and rows of many lanes read ahead.

One thread walks one lane through time, 32 lanes to a program. Neighbouring threads read neighbouring numbers when the
lanes of one sample lie side by side, which is why the kernels want (samples, lanes).
"""

# ruff: noqa: N803, RUF005 -- constants of a kernel are capitals, as in the field; triton cannot unpack a tuple with *

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import triton
import triton.language as tl
from torch import Tensor

# Threads of a warp.
LANES = 32
# Samples that are read before the first of them is worked on: the reads wait together instead of one by one.
ROWS = 16
# Every product is rounded before something is added to it, as on the processor.
LAUNCH = {"num_warps": 1, "enable_fp_fusion": False}
# How much memory a kernel takes beside its inputs and outputs; more lanes than fit are walked in turns.
SCRATCH_BYTES = 4 * 2**30


def fixed(value: float) -> float:
    """A number that kernels know beforehand; the interpreter cannot calculate with triton's own kind."""
    return value if triton.knobs.runtime.interpret else tl.constexpr(value)


def by_time(signal: Tensor) -> Tensor:
    """(..., samples) -> contiguous (samples, ...); no copy where it lies so already."""
    return signal.movedim(-1, 0).contiguous()


@contextmanager
def written_by_time(*outputs: Tensor) -> Iterator[list[Tensor]]:
    """Contiguous (samples, ...) buffers for outputs (..., samples); the outputs themselves where they lie so."""
    views = [output.movedim(-1, 0) for output in outputs]
    buffers = [
        view
        if view.is_contiguous()
        else torch.empty_like(view, memory_format=torch.contiguous_format)
        for view in views
    ]
    yield buffers
    for view, buffer in zip(views, buffers, strict=True):
        if buffer is not view:
            view.copy_(buffer)


def grid(n_lanes: int) -> tuple[int]:
    """One program for every 32 lanes."""
    return (triton.cdiv(n_lanes, LANES),)


def turns(n_lanes: int, bytes_per_lane: int) -> Iterator[slice]:
    """Slices of lanes whose scratch memory stays within `SCRATCH_BYTES`, at least one lane each."""
    size = max(1, SCRATCH_BYTES // bytes_per_lane)
    for first in range(0, n_lanes, size):
        yield slice(first, min(first + size, n_lanes))


@triton.jit
def read_rows(at, step, left, here, COUNT: tl.constexpr):
    """The values at `at`, `at + step`, ...: COUNT rows, of which only `left` lie within the signal; zeros beyond."""
    rows = ()
    for row in tl.static_range(COUNT):
        rows = rows + (tl.load(at + row * step, mask=here & (row < left), other=0.0),)
    return rows


@triton.jit
def zeros(LANES: tl.constexpr, COUNT: tl.constexpr, dtype: tl.constexpr):
    """COUNT times (LANES,) zeros."""
    rows = ()
    for _ in tl.static_range(COUNT):
        rows = rows + (tl.zeros([LANES], dtype),)
    return rows
