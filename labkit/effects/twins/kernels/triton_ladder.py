"""The saturating ladder on a GPU: the functions of `ladder`, lane by lane, for tensors."""

# ruff: noqa: N803, RUF005 -- constants of a kernel are capitals, as in the field; triton cannot unpack a tuple with *

import torch
import triton
import triton.language as tl
from torch import Tensor

from labkit.effects.twins.kernels import constants
from labkit.effects.twins.kernels.triton_lanes import (
    LANES,
    LAUNCH,
    by_time,
    fixed,
    grid,
    read_rows,
    turns,
    written_by_time,
    zeros,
)

REACH = fixed(constants.REACH)
SCALE = fixed((constants.POINTS - 1) / (2 * constants.REACH))
MIDDLE = fixed((constants.POINTS - 1) / 2)
HERE, BEFORE = fixed(constants.HERE), fixed(constants.BEFORE)
STATES = fixed(constants.STATES)
BLOCK = fixed(constants.LADDER_BLOCK)
DROPPED = fixed(constants.LADDER_DROPPED)
LIMIT = fixed(constants.LIMIT_BACKWARD)
# Fewer rows ahead than elsewhere: each needs five states, and a thread has 255 registers.
ROWS, ROWS_BACKWARD = 8, 4


def ladder(audio: Tensor, knobs: Tensor, taps: Tensor, table: Tensor, wet: Tensor) -> None:
    """As `ladder.ladder`, for tensors of one device (`table` may lie on the processor)."""
    with written_by_time(wet) as (out,):
        _forward(by_time(audio), knobs.contiguous(), taps, table.to(audio.device), out, keeps=False)


def ladder_backward(
    audio: Tensor,
    knobs: Tensor,
    taps: Tensor,
    table: Tensor,
    grad_wet: Tensor,
    grad_audio: Tensor,
    grad_knobs: Tensor,
) -> None:
    """As `ladder.ladder_backward`, for tensors of one device: as many lanes at a time as the scratch memory holds."""
    table = table.to(audio.device)
    with written_by_time(grad_audio) as (of_audio,):
        rows, grads = by_time(audio), by_time(grad_wet)
        for part in turns(
            len(audio), audio.element_size() * audio.shape[-1] * (constants.STATES + 3)
        ):
            x, out = rows[:, part].contiguous(), grads[:, part].contiguous()
            of_x = torch.empty_like(x)
            states = _forward(
                x, knobs[part].contiguous(), taps, table, torch.empty_like(x), keeps=True
            )
            sums = torch.empty(x.shape[1], knobs.shape[1], dtype=torch.float64, device=x.device)
            arrays = (
                x[-1],
                out[-1],
                of_x[-1],
                states[-1],
                knobs[part].contiguous(),
                taps,
                table,
                sums,
            )
            shape = x.shape[1], len(x)
            _ladder_backward[grid(x.shape[1])](
                *arrays, *shape, ROWS=ROWS_BACKWARD, LANES=LANES, **LAUNCH
            )
            of_audio[:, part] = of_x
            grad_knobs[part] = sums.to(grad_knobs)


def _forward(
    rows: Tensor, knobs: Tensor, taps: Tensor, table: Tensor, out: Tensor, *, keeps: bool
) -> Tensor:
    """Fill `out` (samples, lanes); the states after each sample, (samples, STATES, lanes), if they are kept."""
    samples, n_lanes = rows.shape
    states = torch.empty(
        samples if keeps else 1, constants.STATES, n_lanes, dtype=rows.dtype, device=rows.device
    )
    arrays = (rows, knobs, taps, table, out, states, n_lanes, samples)
    _ladder[grid(n_lanes)](*arrays, ROWS=ROWS, KEEPS=keeps, LANES=LANES, **LAUNCH)
    return states


@triton.jit
def _place(value):
    """Where a value lies in the table."""
    return tl.minimum(tl.maximum(value, -REACH), REACH) * SCALE + MIDDLE


@triton.jit
def _saturated(value, table):
    index = _place(value)
    point = index.to(tl.int32)
    low, high = tl.load(table + point), tl.load(table + point + 1)
    # What is not a number has no place in the table.
    return tl.where(value == value, low + (index - point.to(value.dtype)) * (high - low), value)


@triton.jit
def _slope(value, table):
    point = _place(value).to(tl.int32)
    low, high = tl.load(table + point).to(tl.float64), tl.load(table + point + 1).to(tl.float64)
    return tl.where(tl.abs(value) < REACH, (high - low) * SCALE, 0.0)


@triton.jit
def _through_stages(sent, returned, old, pole, resonance, compensation):
    """The new states."""
    y = sent - resonance * (returned - sent * compensation)
    rest = 1 - pole
    here, before = rest * HERE, rest * BEFORE
    new = (y,)
    for stage in tl.static_range(1, STATES):
        y = before * old[stage - 1] + pole * old[stage] + here * y
        new = new + (y,)
    return new


@triton.jit
def _mixed(state, taps):
    total = state[0] * tl.load(taps)
    for stage in tl.static_range(1, STATES):
        total += state[stage] * tl.load(taps + stage)
    return total


@triton.jit
def _audible(state, stays):
    kept = ()
    for stage in tl.static_range(STATES):
        kept = kept + (tl.where(stays | (tl.abs(state[stage]) >= DROPPED), state[stage], 0.0),)
    return kept


@triton.jit
def _ladder(
    audio,
    knobs,
    taps,
    table,
    wet,
    states,
    n_lanes,
    samples,
    ROWS: tl.constexpr,
    KEEPS: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    pole, resonance = tl.load(knobs + 6 * lane, mask=here), tl.load(knobs + 6 * lane + 1, mask=here)
    drive, makeup = (
        tl.load(knobs + 6 * lane + 2, mask=here),
        tl.load(knobs + 6 * lane + 3, mask=here),
    )
    drive_back, makeup_back = (
        tl.load(knobs + 6 * lane + 4, mask=here),
        tl.load(knobs + 6 * lane + 5, mask=here),
    )
    compensation = tl.load(taps + STATES)
    state = zeros(LANES, STATES, audio.dtype.element_ty)
    at_audio, at_wet, at_state = audio + lane, wet + lane, states + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = read_rows(at_audio, n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            sent = makeup * _saturated(drive * rows[row], table)
            returned = makeup_back * _saturated(drive_back * state[STATES - 1], table)
            state = _through_stages(sent, returned, state, pole, resonance, compensation)
            if KEEPS:
                for stage in tl.static_range(STATES):
                    tl.store(
                        at_state + (row * STATES + stage) * n_lanes,
                        state[stage],
                        mask=here & (row < left),
                    )
            tl.store(at_wet + row * n_lanes, _mixed(state, taps), mask=here & (row < left))
        state = _audible(state, (start + ROWS) % BLOCK != 0)
        at_audio += ROWS * n_lanes
        at_wet += ROWS * n_lanes
        at_state += ROWS * STATES * n_lanes


@triton.jit
def _back_through_stages(grad, taps, carried, old, new, pole):
    """The gradients of the states before (the foot's without the loop), of y at the foot, and of the pole."""
    here, before = (1.0 - pole) * HERE, (1.0 - pole) * BEFORE
    above, of_pole = tl.zeros_like(pole), tl.zeros_like(pole)
    of_old = ()
    for stage in tl.static_range(STATES - 1, 0, -1):
        of_y = carried[stage] + grad * tl.load(taps + stage).to(tl.float64) + here * above
        of_pole += of_y * (old[stage] - HERE * new[stage - 1] - BEFORE * old[stage - 1])
        of_old = (pole * of_y + before * above,) + of_old
        above = of_y
    of_foot = carried[0] + grad * tl.load(taps).to(tl.float64) + here * above
    return (before * above,) + of_old, tl.minimum(tl.maximum(of_foot, -LIMIT), LIMIT), of_pole


@triton.jit
def _ladder_backward(
    audio,
    grad_wet,
    grad_audio,
    states,
    knobs,
    taps,
    table,
    sums,
    n_lanes,
    samples,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    pole = tl.load(knobs + 6 * lane, mask=here).to(tl.float64)
    resonance = tl.load(knobs + 6 * lane + 1, mask=here).to(tl.float64)
    drive, makeup = (
        tl.load(knobs + 6 * lane + 2, mask=here),
        tl.load(knobs + 6 * lane + 3, mask=here),
    )
    drive_back, makeup_back = (
        tl.load(knobs + 6 * lane + 4, mask=here),
        tl.load(knobs + 6 * lane + 5, mask=here),
    )
    compensation = tl.load(taps + STATES).to(tl.float64)
    carried, total = zeros(LANES, STATES, tl.float64), zeros(LANES, 6, tl.float64)
    at_audio, at_grad, at_out, at_state = (
        audio + lane,
        grad_wet + lane,
        grad_audio + lane,
        states + lane,
    )
    new = ()
    for stage in tl.static_range(STATES):
        new = new + (tl.load(at_state + stage * n_lanes, mask=here, other=0.0).to(tl.float64),)
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = read_rows(at_audio, -n_lanes, left, here, ROWS)
        grads = read_rows(at_grad, -n_lanes, left, here, ROWS)
        olds = ()
        for stage in tl.static_range(STATES):
            first = at_state + (stage - STATES) * n_lanes
            olds = olds + read_rows(first, -STATES * n_lanes, left - 1, here, ROWS)
        for row in tl.static_range(ROWS):
            x, last, there = xs[row], olds[(STATES - 1) * ROWS + row], row < left
            old, within = (), ()
            for stage in tl.static_range(STATES):
                old = old + (olds[stage * ROWS + row].to(tl.float64),)
                within = within + (tl.where(there, carried[stage], 0.0),)
            of_old, of_y, of_pole = _back_through_stages(
                grads[row].to(tl.float64), taps, within, old, new, pole
            )
            sent = _saturated(drive * x, table).to(tl.float64)
            returned = _saturated(drive_back * last, table).to(tl.float64)
            of_sent, of_returned = (1.0 + resonance * compensation) * of_y, -resonance * of_y
            of_driven = of_sent * makeup * _slope(drive * x, table)
            of_driven_back = of_returned * makeup_back * _slope(drive_back * last, table)
            total = (
                total[0] + of_pole,
                total[1] + of_y * (makeup * sent * compensation - makeup_back * returned),
                total[2] + of_driven * x,
                total[3] + of_sent * sent,
                total[4] + of_driven_back * last,
                total[5] + of_returned * returned,
            )
            tl.store(at_out - row * n_lanes, (of_driven * drive).to(x.dtype), mask=here & there)
            carried = (
                of_old[0],
                of_old[1],
                of_old[2],
                of_old[3],
                of_old[4] + of_driven_back * drive_back,
            )
            new = old
        at_audio -= ROWS * n_lanes
        at_grad -= ROWS * n_lanes
        at_out -= ROWS * n_lanes
        at_state -= ROWS * STATES * n_lanes
    for knob in tl.static_range(6):
        tl.store(sums + 6 * lane + knob, total[knob], mask=here)
