"""Biquads and echoes on a GPU: the functions of `linear`, for tensors."""

# ruff: noqa: N803 -- constants of a kernel are capitals, as in the field

import torch
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

BLOCK = fixed(constants.BIQUAD_BLOCK)
DROPPED = fixed(constants.BIQUAD_DROPPED)
# Samples between two echoes that one program takes care of.
ABREAST = 256


def biquad(audio: Tensor, coefficients: Tensor, wet: Tensor) -> None:
    """As `linear.biquad`, for tensors of one device."""
    with written_by_time(wet) as (out,):
        inputs = by_time(audio), coefficients.contiguous()
        _biquad[grid(len(audio))](
            *inputs, out, len(audio), audio.shape[-1], ROWS=ROWS, LANES=LANES, **LAUNCH
        )


def biquad_backward(
    audio: Tensor,
    coefficients: Tensor,
    wet: Tensor,
    grad_wet: Tensor,
    grad_audio: Tensor,
    grad_coefficients: Tensor,
) -> None:
    """As `linear.biquad_backward`, for tensors of one device."""
    with written_by_time(grad_audio) as (out,):
        # Each begins at its last sample.
        signals = (by_time(audio)[-1], by_time(wet)[-1], by_time(grad_wet)[-1], out[-1])
        sums = torch.empty_like(coefficients, memory_format=torch.contiguous_format)
        arrays = (*signals, coefficients.contiguous(), sums, len(audio), audio.shape[-1])
        _biquad_backward[grid(len(audio))](*arrays, ROWS=ROWS, LANES=LANES, **LAUNCH)
    grad_coefficients.copy_(sums)


def echo(audio: Tensor, feedback: Tensor, delay: Tensor, echoes: Tensor) -> None:
    """As `linear.echo`, for tensors of one device.

    Samples that are one delay apart depend on each other, and no others do: every thread walks one such train, and
    neighbouring threads neighbouring trains.
    """
    _echo_along(audio.contiguous(), feedback, delay, echoes, is_reversed=False)


def echo_backward(
    feedback: Tensor,
    delay: Tensor,
    echoes: Tensor,
    grad_echoes: Tensor,
    grad_audio: Tensor,
    grad_feedback: Tensor,
    grad_delay: Tensor,
) -> None:
    """As `linear.echo_backward`, for tensors of one device: echoes backwards in time, then sums."""
    _echo_along(grad_echoes.contiguous(), feedback, delay, grad_audio, is_reversed=True)
    grad_feedback.copy_((grad_audio * echoes).sum(-1, dtype=torch.float64))
    read = grad_echoes + feedback[:, None] * grad_audio
    rise = echoes.diff(prepend=torch.zeros_like(echoes[..., :1]))
    grad_delay.copy_(-(read * rise).sum(-1, dtype=torch.float64))


def _echo_along(
    audio: Tensor, feedback: Tensor, delay: Tensor, echoes: Tensor, *, is_reversed: bool
) -> None:
    out = (
        echoes
        if echoes.is_contiguous()
        else torch.empty_like(echoes, memory_format=torch.contiguous_format)
    )
    n_lanes, samples = audio.shape
    trains = triton.cdiv(samples, ABREAST)
    arrays = (audio, feedback.contiguous(), delay.contiguous(), out, samples, trains)
    _echo[(n_lanes * trains,)](
        *arrays, IS_REVERSED=is_reversed, ABREAST=ABREAST, enable_fp_fusion=False
    )
    if out is not echoes:
        echoes.copy_(out)


@triton.jit
def _biquad(audio, coefficients, wet, n_lanes, samples, ROWS: tl.constexpr, LANES: tl.constexpr):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    real = audio.dtype.element_ty
    b0 = tl.load(coefficients + 5 * lane, mask=here).to(real)
    b1 = tl.load(coefficients + 5 * lane + 1, mask=here).to(real)
    b2 = tl.load(coefficients + 5 * lane + 2, mask=here).to(real)
    a1 = tl.load(coefficients + 5 * lane + 3, mask=here).to(real)
    a2 = tl.load(coefficients + 5 * lane + 4, mask=here).to(real)
    following, later = tl.zeros([LANES], real), tl.zeros([LANES], real)
    at_audio, at_wet = audio + lane, wet + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = read_rows(at_audio, n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            x = rows[row]
            y = x * b0 + following
            following = x * b1 - y * a1 + later
            later = x * b2 - y * a2
            tl.store(at_wet + row * n_lanes, y, mask=here & (row < left))
        stays = (start + ROWS) % BLOCK != 0
        following = tl.where(stays | (tl.abs(following) > DROPPED), following, 0.0)
        later = tl.where(stays | (tl.abs(later) > DROPPED), later, 0.0)
        at_audio += ROWS * n_lanes
        at_wet += ROWS * n_lanes


@triton.jit
def _biquad_backward(
    audio,
    wet,
    grad_wet,
    grad_audio,
    coefficients,
    grad_coefficients,
    n_lanes,
    samples,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    b0, b1 = (
        tl.load(coefficients + 5 * lane, mask=here),
        tl.load(coefficients + 5 * lane + 1, mask=here),
    )
    b2, a1 = (
        tl.load(coefficients + 5 * lane + 2, mask=here),
        tl.load(coefficients + 5 * lane + 3, mask=here),
    )
    a2 = tl.load(coefficients + 5 * lane + 4, mask=here)
    s1, s2 = tl.zeros([LANES], tl.float64), tl.zeros([LANES], tl.float64)
    of_b0, of_b1, of_b2 = (
        tl.zeros([LANES], tl.float64),
        tl.zeros([LANES], tl.float64),
        tl.zeros([LANES], tl.float64),
    )
    of_a1, of_a2 = tl.zeros([LANES], tl.float64), tl.zeros([LANES], tl.float64)
    at_audio, at_wet, at_grad, at_out = audio + lane, wet + lane, grad_wet + lane, grad_audio + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = read_rows(at_audio, -n_lanes, left, here, ROWS)
        ys = read_rows(at_wet, -n_lanes, left, here, ROWS)
        grads = read_rows(at_grad, -n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            s = grads[row].to(tl.float64) - a1 * s1 - a2 * s2
            out = b0 * s + b1 * s1 + b2 * s2
            tl.store(at_out - row * n_lanes, out.to(xs[row].dtype), mask=here & (row < left))
            x, y = xs[row].to(tl.float64), ys[row].to(tl.float64)
            of_b0 += s * x
            of_b1 += s1 * x
            of_b2 += s2 * x
            of_a1 -= s1 * y
            of_a2 -= s2 * y
            s2 = s1
            s1 = s
        at_audio -= ROWS * n_lanes
        at_wet -= ROWS * n_lanes
        at_grad -= ROWS * n_lanes
        at_out -= ROWS * n_lanes
    tl.store(grad_coefficients + 5 * lane, of_b0, mask=here)
    tl.store(grad_coefficients + 5 * lane + 1, of_b1, mask=here)
    tl.store(grad_coefficients + 5 * lane + 2, of_b2, mask=here)
    tl.store(grad_coefficients + 5 * lane + 3, of_a1, mask=here)
    tl.store(grad_coefficients + 5 * lane + 4, of_a2, mask=here)


@triton.jit
def _echo(
    audio,
    feedback,
    delay,
    echoes,
    samples,
    trains,
    IS_REVERSED: tl.constexpr,
    ABREAST: tl.constexpr,
):
    lane = tl.program_id(0) // trains
    first = tl.program_id(0) % trains * ABREAST
    lag = tl.minimum(tl.load(delay + lane), samples).to(tl.int32)
    share = tl.load(feedback + lane)
    begin = lane.to(tl.int64) * samples
    place = first + tl.arange(0, ABREAST)
    is_train = place < lag
    state = tl.zeros([ABREAST], audio.dtype.element_ty)
    # Programs beyond the delay have no train to walk.
    turns = tl.where(first < lag, tl.cdiv(samples - first, lag), 0)
    for _ in range(0, turns):
        there = is_train & (place < samples)
        at = begin + (samples - 1 - place if IS_REVERSED else place)
        tl.store(echoes + at, state, mask=there)
        state = tl.load(audio + at, mask=there, other=0.0) + share * state
        place += lag
