"""The envelope follower on a GPU: the functions of `dynamics`, lane by lane, for tensors."""

# ruff: noqa: N803 -- constants of a kernel are capitals, as in the field

import triton
import triton.language as tl
from torch import Tensor

from labkit.effects.twins.kernels import constants
from labkit.effects.twins.kernels.triton_lanes import (
    LANES,
    LAUNCH,
    ROWS,
    by_time,
    fixed,
    grid,
    read_rows,
    written_by_time,
)

FLOOR = fixed(constants.FLOOR)


def follow(audio: Tensor, attack: Tensor, release: Tensor, level: Tensor) -> None:
    """As `dynamics.follow`, for tensors of one device."""
    with written_by_time(level) as (out,):
        shape = len(audio), audio.shape[-1]
        _follow[grid(len(audio))](
            by_time(audio), attack, release, out, *shape, ROWS=ROWS, LANES=LANES, **LAUNCH
        )


def follow_backward(
    audio: Tensor,
    attack: Tensor,
    release: Tensor,
    level: Tensor,
    grad_level: Tensor,
    grad_audio: Tensor,
    grad_attack: Tensor,
    grad_release: Tensor,
) -> None:
    """As `dynamics.follow_backward`, for tensors of one device."""
    with written_by_time(grad_audio) as (out,):
        # Each begins at its last sample.
        signals = (by_time(audio)[-1], by_time(level)[-1], by_time(grad_level)[-1], out[-1])
        knobs = (attack, release, grad_attack, grad_release)
        shape = len(audio), audio.shape[-1]
        _follow_backward[grid(len(audio))](
            *signals, *knobs, *shape, ROWS=ROWS, LANES=LANES, **LAUNCH
        )


@triton.jit
def _follow(
    audio, attack, release, level, n_lanes, samples, ROWS: tl.constexpr, LANES: tl.constexpr
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    rising, falling = tl.load(attack + lane, mask=here), tl.load(release + lane, mask=here)
    state = tl.zeros([LANES], audio.dtype.element_ty)
    at_audio, at_level = audio + lane, level + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = read_rows(at_audio, n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            rectified = tl.abs(rows[row]) + FLOOR
            keep = tl.where(rectified > state, rising, falling)
            state = rectified + keep * (state - rectified)
            tl.store(at_level + row * n_lanes, state, mask=here & (row < left))
        at_audio += ROWS * n_lanes
        at_level += ROWS * n_lanes


@triton.jit
def _follow_backward(
    audio,
    level,
    grad_level,
    grad_audio,
    attack,
    release,
    grad_attack,
    grad_release,
    n_lanes,
    samples,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    rising, falling = tl.load(attack + lane, mask=here), tl.load(release + lane, mask=here)
    carried = tl.zeros([LANES], tl.float64)
    of_attack, of_release = tl.zeros([LANES], tl.float64), tl.zeros([LANES], tl.float64)
    at_audio, at_before = audio + lane, level + lane - n_lanes
    at_grad, at_out = grad_level + lane, grad_audio + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = read_rows(at_audio, -n_lanes, left, here, ROWS)
        states = read_rows(at_before, -n_lanes, left - 1, here, ROWS)
        grads = read_rows(at_grad, -n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            rectified = tl.abs(xs[row]) + FLOOR
            total = tl.where(row < left, grads[row].to(tl.float64) + carried, 0.0)
            of_keep = total * (states[row] - rectified).to(tl.float64)
            is_rising = rectified > states[row]
            keep = tl.where(is_rising, rising, falling).to(tl.float64)
            of_attack += tl.where(is_rising, of_keep, 0.0)
            of_release += tl.where(is_rising, 0.0, of_keep)
            falls = (1.0 - keep) * total
            out = tl.where(xs[row] > 0, falls, tl.where(xs[row] < 0, -falls, 0.0))
            tl.store(at_out - row * n_lanes, out.to(xs[row].dtype), mask=here & (row < left))
            carried = keep * total
        at_audio -= ROWS * n_lanes
        at_before -= ROWS * n_lanes
        at_grad -= ROWS * n_lanes
        at_out -= ROWS * n_lanes
    tl.store(grad_attack + lane, of_attack.to(rising.dtype), mask=here)
    tl.store(grad_release + lane, of_release.to(rising.dtype), mask=here)
