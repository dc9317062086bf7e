"""Delay line and allpasses that move, on a GPU: the functions of `modulation`, for tensors."""

# ruff: noqa: N803, RUF005 -- constants of a kernel are capitals, as in the field; triton cannot unpack a tuple with *

from math import pi

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
    zeros,
)

TURN = fixed(2 * pi)
SILENT = fixed(constants.SILENT)
STAGES = fixed(constants.STAGES)
EVERY = fixed(constants.UPDATE_EVERY)
# Updates whose samples are read ahead.
UPDATES = ROWS // constants.UPDATE_EVERY
# Most samples of a delay line that are worked on at once.
ABREAST = 128


def accumulate(increment: Tensor, phase: Tensor) -> None:
    """As `modulation.accumulate`, for tensors of one device."""
    with written_by_time(phase) as (out,):
        _accumulate[grid(len(phase))](
            increment, out, *phase.shape, ROWS=ROWS, LANES=LANES, **LAUNCH
        )


def delay_line(audio: Tensor, delay: Tensor, feedback: Tensor, line: Tensor, wet: Tensor) -> None:
    """As `modulation.delay_line`, for tensors of one device.

    What the line gives within its shortest delay is in it already: so many samples are worked on at once, one lane to
    a program.
    """
    channels, samples = audio.shape[1:]
    lines, wets = (torch.empty_like(audio, memory_format=torch.contiguous_format) for _ in range(2))
    arrays = (audio.contiguous(), delay.contiguous(), feedback, lines, wets, channels, samples)
    _delay_line[(len(audio) * channels,)](*arrays, ABREAST=_abreast(delay), **LAUNCH)
    line.copy_(lines)
    wet.copy_(wets)


def delay_line_backward(
    delay: Tensor,
    feedback: Tensor,
    line: Tensor,
    grad_wet: Tensor,
    grad_audio: Tensor,
    grad_delay: Tensor,
    grad_feedback: Tensor,
) -> None:
    """As `modulation.delay_line_backward`, for tensors of one device.

    What several samples owe to one is added up in no fixed order: the last bit may differ from run to run.
    """
    items, channels, samples = line.shape
    of_audio = torch.zeros_like(line, memory_format=torch.contiguous_format)
    of_delay = torch.empty_like(of_audio)
    of_feedback = torch.empty(items * channels, dtype=torch.float64, device=line.device)
    arrays = (delay.contiguous(), feedback, line.contiguous(), grad_wet.contiguous())
    _delay_line_backward[(items * channels,)](
        *arrays,
        of_audio,
        of_delay,
        of_feedback,
        channels,
        samples,
        ABREAST=_abreast(delay),
        **LAUNCH,
    )
    grad_audio.copy_(of_audio)
    grad_delay.copy_(of_delay.sum(1))
    grad_feedback.copy_(of_feedback.view(items, channels).sum(1))


def allpasses(audio: Tensor, gain: Tensor, feedback: Tensor, wet: Tensor, states: Tensor) -> None:
    """As `modulation.allpasses`, for tensors of one device."""
    items, channels, samples = audio.shape
    ends = states.new_empty(states.shape)
    with written_by_time(wet) as (out,):
        arrays = (by_time(audio), by_time(gain), feedback, out, ends, items, channels, samples)
        _allpasses[grid(items * channels)](*arrays, UPDATES=UPDATES, LANES=LANES, **LAUNCH)
    states.copy_(ends)


def allpasses_backward(
    gain: Tensor,
    feedback: Tensor,
    wet: Tensor,
    states: Tensor,
    grad_wet: Tensor,
    grad_audio: Tensor,
    grad_gain: Tensor,
    grad_feedback: Tensor,
) -> None:
    """As `modulation.allpasses_backward`, for tensors of one device."""
    items, channels, samples = wet.shape
    last = gain.shape[1] - 1
    of_gain = torch.empty(last + 1, items, channels, dtype=gain.dtype, device=gain.device)
    of_feedback = torch.empty(items, channels, dtype=torch.float64, device=gain.device)
    with written_by_time(grad_audio) as (out,):
        # Each begins at the first sample of the last update.
        signals = [
            rows[last * constants.UPDATE_EVERY] for rows in (by_time(wet), by_time(grad_wet), out)
        ]
        arrays = (
            *signals,
            by_time(gain)[last],
            feedback,
            states.contiguous(),
            of_gain[last],
            of_feedback,
        )
        _allpasses_backward[grid(items * channels)](
            *arrays, items, channels, samples, LANES=LANES, **LAUNCH
        )
    grad_gain.copy_(of_gain.sum(2).movedim(0, -1))
    grad_feedback.copy_(of_feedback.sum(1))


def _abreast(delay: Tensor) -> int:
    """The largest power of two of samples none of which needs what another of them puts into the line."""
    shortest = int(torch.where(delay >= 0, delay, 0).amin().clamp_max(ABREAST))
    return min(ABREAST, 1 << ((1 + shortest).bit_length() - 1))


@triton.jit
def _accumulate(increment, phase, n_items, steps, ROWS: tl.constexpr, LANES: tl.constexpr):
    item = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = item < n_items
    step = tl.load(increment + item, mask=here, other=0.0)
    angle = tl.zeros([LANES], phase.dtype.element_ty)
    at = phase + item
    for start in range(0, steps, ROWS):
        for row in tl.static_range(ROWS):
            tl.store(at + row * n_items, angle, mask=here & (row < steps - start))
            angle += step
            angle = tl.where(angle >= TURN, angle - TURN, angle)
        at += ROWS * n_items


@triton.jit
def _read_line(line, delay, sample, there):
    """Of a line at its moving delay: share of the older sample, the newer one, the older one, whole samples."""
    lag = tl.load(delay + sample, mask=there, other=0.0)
    whole = tl.where(lag >= 0, lag, 0.0).to(tl.int32)
    newer = tl.load(line + sample - whole, mask=there & (sample >= whole), other=0.0)
    older = tl.load(line + sample - whole - 1, mask=there & (sample > whole), other=0.0)
    return lag - whole.to(lag.dtype), newer, older, whole


@triton.jit
def _delay_line(audio, delay, feedback, line, wet, channels, samples, ABREAST: tl.constexpr):
    lane = tl.program_id(0).to(tl.int64)
    audio += lane * samples
    line += lane * samples
    wet += lane * samples
    delay += lane // channels * samples
    back = tl.load(feedback + lane // channels)
    for start in range(0, samples, ABREAST):
        sample = start + tl.arange(0, ABREAST)
        there = sample < samples
        share, newer, older, _ = _read_line(line, delay, sample - 1, there & (sample > 0))
        entering = (
            tl.load(audio + sample, mask=there, other=0.0)
            - (newer + share * (older - newer)) * back
        )
        tl.store(line + sample, tl.where(tl.abs(entering) < SILENT, 0.0, entering), mask=there)
        tl.debug_barrier()
        share, newer, older, _ = _read_line(line, delay, sample, there)
        tl.store(wet + sample, newer + share * (older - newer), mask=there)


@triton.jit
def _delay_line_backward(
    delay,
    feedback,
    line,
    grad_wet,
    grad_audio,
    grad_delay,
    grad_feedback,
    channels,
    samples,
    ABREAST: tl.constexpr,
):
    lane = tl.program_id(0).to(tl.int64)
    line += lane * samples
    grad_wet += lane * samples
    grad_audio += lane * samples
    grad_delay += lane * samples
    delay += lane // channels * samples
    back = tl.load(feedback + lane // channels)
    of_feedback = tl.zeros([ABREAST], tl.float64)
    blocks = tl.cdiv(samples, ABREAST)
    for block in range(0, blocks):
        sample = (blocks - 1 - block) * ABREAST + tl.arange(0, ABREAST)
        there = sample < samples
        share, newer, older, whole = _read_line(line, delay, sample, there)
        # Past the first cache, which does not see what other threads add.
        later = tl.load(
            grad_audio + sample + 1, mask=sample + 1 < samples, other=0.0, cache_modifier=".cg"
        )
        later = tl.where(tl.abs(later) < SILENT, 0.0, later)
        total = tl.load(grad_wet + sample, mask=there, other=0.0) - back * later
        of_feedback -= (later * (newer + share * (older - newer))).to(tl.float64)
        tl.store(grad_delay + sample, total * (older - newer), mask=there)
        at = grad_audio + sample - whole
        tl.atomic_add(
            at, (1 - share) * total, mask=there & (sample >= whole), sem="relaxed", scope="cta"
        )
        tl.atomic_add(
            at - 1, share * total, mask=there & (sample > whole), sem="relaxed", scope="cta"
        )
        tl.debug_barrier()
    tl.store(grad_feedback + lane, tl.sum(of_feedback, 0))


@triton.jit
def _allpasses(
    audio,
    gain,
    feedback,
    wet,
    ends,
    n_items,
    channels,
    samples,
    UPDATES: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_items * channels
    back = tl.load(feedback + lane // channels, mask=here)
    returned = tl.zeros([LANES], audio.dtype.element_ty)
    state = zeros(LANES, STAGES, audio.dtype.element_ty)
    at_audio, at_wet, at_gain, step = (
        audio + lane,
        wet + lane,
        gain + lane // channels,
        n_items * channels,
    )
    for start in range(0, samples, UPDATES * EVERY):
        left = samples - start
        rows = read_rows(at_audio, step, left, here, UPDATES * EVERY)
        gains = read_rows(at_gain, n_items, tl.cdiv(left, EVERY), here, UPDATES)
        for row in tl.static_range(UPDATES * EVERY):
            if row % EVERY == 0:
                state = _audible(state)
            value, new = _through_stages(rows[row] - returned, state, gains[row // EVERY])
            state = _chosen(row < left, new, state)
            tl.store(at_wet + row * step, value, mask=here & (row < left))
            returned = value * back
        at_audio += UPDATES * EVERY * step
        at_wet += UPDATES * EVERY * step
        at_gain += UPDATES * n_items
    for stage in tl.static_range(STAGES):
        tl.store(ends + lane * STAGES + stage, state[stage], mask=here)


@triton.jit
def _audible(state):
    kept = ()
    for stage in tl.static_range(STAGES):
        kept = kept + (tl.where(tl.abs(state[stage]) < SILENT, 0.0, state[stage]),)
    return kept


@triton.jit
def _chosen(is_first, first, second):
    chosen = ()
    for stage in tl.static_range(STAGES):
        chosen = chosen + (tl.where(is_first, first[stage], second[stage]),)
    return chosen


@triton.jit
def _through_stages(value, state, g):
    """What comes out of all allpasses, and their new states."""
    new = ()
    for stage in tl.static_range(STAGES):
        half = g * (value - state[stage])
        low = half + state[stage]
        new = new + (low + half,)
        value = 2 * low - value
    return value, new


@triton.jit
def _back_through_stages(value, total, state, of_state, g):
    """The gradient of what went in and of G, the states before, and their gradients; last stage first in all tuples."""
    old_states, of_old, of_gain = (), (), tl.zeros_like(total)
    for stage in tl.static_range(STAGES):
        new, of_new = state[stage], of_state[stage]
        old = new - 2 * g * (new - value)
        value = old + new - value
        of_gain += 2 * (value - old) * (total + of_new)
        of_old = of_old + (2 * (1 - g) * total + (1 - 2 * g) * of_new,)
        total = (2 * g - 1) * total + 2 * g * of_new
        old_states = old_states + (old,)
    return total, of_gain, old_states, of_old


@triton.jit
def _allpasses_backward(
    wet,
    grad_wet,
    grad_audio,
    gain,
    feedback,
    ends,
    grad_gain,
    grad_feedback,
    n_items,
    channels,
    samples,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_items * channels
    back = tl.load(feedback + lane // channels, mask=here).to(tl.float64)
    later, of_feedback = tl.zeros([LANES], tl.float64), tl.zeros([LANES], tl.float64)
    state, of_state = (), zeros(LANES, STAGES, tl.float64)
    for stage in tl.static_range(STAGES):
        state = state + (
            tl.load(ends + lane * STAGES + (STAGES - 1 - stage), mask=here, other=0.0).to(
                tl.float64
            ),
        )
    step = n_items * channels
    at_wet, at_grad, at_out = wet + lane, grad_wet + lane, grad_audio + lane
    at_gain, at_of_gain = gain + lane // channels, grad_gain + lane
    real = grad_gain.dtype.element_ty
    updates = tl.cdiv(samples, EVERY)
    for update in range(0, updates):
        left = samples - (updates - 1 - update) * EVERY
        values = read_rows(at_wet, step, left, here, EVERY)
        grads = read_rows(at_grad, step, left, here, EVERY)
        g = tl.load(at_gain, mask=here, other=0.0).to(tl.float64)
        of_gain = tl.zeros([LANES], tl.float64)
        for row in tl.static_range(EVERY - 1, -1, -1):
            there = row < left
            value = values[row].to(tl.float64)
            total = grads[row].to(tl.float64) - back * later
            of_feedback -= tl.where(there, later * value, 0.0)
            total, of_g, old, of_old = _back_through_stages(value, total, state, of_state, g)
            of_gain += tl.where(there, of_g, 0.0)
            state = _chosen(there, old, state)
            of_state = _chosen(there, of_old, of_state)
            later = tl.where(there, total, later)
            tl.store(at_out + row * step, total.to(real), mask=here & there)
        tl.store(at_of_gain, of_gain.to(real), mask=here)
        at_wet -= EVERY * step
        at_grad -= EVERY * step
        at_out -= EVERY * step
        at_gain -= n_items
        at_of_gain -= step
    tl.store(grad_feedback + lane, of_feedback, mask=here)
