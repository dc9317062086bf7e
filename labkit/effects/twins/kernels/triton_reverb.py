"""The room on a GPU: the functions of `reverb`, one thread for each side of each item, for tensors."""

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

ROUNDED_BY = fixed(constants.ROUNDED_BY)
ALLPASS_FEEDBACK = fixed(constants.ALLPASS_FEEDBACK)
# Samples whose delayed values are read ahead, from all twelve delay lines: less than the shortest delay.
ROWS, ROWS_BACKWARD = 4, 2


def room(
    audio: Tensor, feedback: Tensor, damping: Tensor, combs: Tensor, allpasses: Tensor, wet: Tensor
) -> None:
    """As `reverb.room`, for tensors of one device (`combs` and `allpasses` may lie on the processor)."""
    delays = _Delays(combs, allpasses, audio)
    with written_by_time(wet) as (out,):
        rows = by_time(audio)
        for part in turns(len(audio), delays.bytes_per_item):
            _forward(rows, feedback, damping, delays, part, out, keeps=False)


def room_backward(
    audio: Tensor,
    feedback: Tensor,
    damping: Tensor,
    combs: Tensor,
    allpasses: Tensor,
    grad_wet: Tensor,
    grad_audio: Tensor,
    grad_feedback: Tensor,
    grad_damping: Tensor,
) -> None:
    """As `reverb.room_backward`, for tensors of one device: as many items at a time as the scratch memory holds."""
    delays = _Delays(combs, allpasses, audio)
    n_combs, n_allpasses = combs.shape[1], allpasses.shape[1]
    rows, grads = by_time(audio), by_time(grad_wet)
    samples, sides = len(rows), len(combs)
    unused = torch.empty_like(grads)
    kept_bytes = audio.element_size() * n_combs * samples * sides + 2 * delays.bytes_per_item
    for part in turns(len(audio), kept_bytes):
        lows = _forward(rows, feedback, damping, delays, part, unused, keeps=True)
        n_lanes = (part.stop - part.start) * sides
        lines, passes = delays.lines(n_lanes, torch.float64)
        out = torch.empty(samples, n_lanes // sides, sides, dtype=audio.dtype, device=audio.device)
        sums = torch.empty(2, n_lanes // sides, sides, dtype=torch.float64, device=audio.device)
        _room_backward[grid(n_lanes)](
            *(feedback[part], damping[part], delays.combs, delays.allpasses, lines, passes),
            *(lows[-1], grads[-1, part], out[-1], *sums),
            *(grads.stride(0), n_lanes, samples, sides, delays.longest, delays.longest_allpass),
            ROWS=delays.ahead(ROWS_BACKWARD), COMBS=n_combs, PASSES=n_allpasses, LANES=LANES, **LAUNCH,
        )  # fmt: skip
        grad_audio[part] = out.sum(2).movedim(0, -1)
        grad_feedback[part] = sums[0].sum(1).to(grad_feedback)
        grad_damping[part] = (sums[1].sum(1) / (1 - damping[part].double())).to(grad_damping)


class _Delays:
    """The delays of a room on its device, and room for what is on its way in them."""

    def __init__(self, combs: Tensor, allpasses: Tensor, audio: Tensor) -> None:
        self.shortest = int(min(combs.min(), allpasses.min()))
        self.longest, self.longest_allpass = int(combs.max()), int(allpasses.max())
        self.combs, self.allpasses = (
            x.to(audio.device, torch.int32).contiguous() for x in (combs, allpasses)
        )
        self.per_lane = len(combs[0]) * self.longest + len(allpasses[0]) * self.longest_allpass
        self.bytes_per_item = self.per_lane * len(combs) * audio.element_size()

    def ahead(self, rows: int) -> int:
        """How many samples may be read before the first of them is written."""
        return rows if self.shortest >= rows else 1

    def lines(self, n_lanes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Silent combs and allpasses, (delay lines, samples, lanes)."""
        sizes = (self.combs.shape[1], self.longest), (self.allpasses.shape[1], self.longest_allpass)
        return tuple(
            torch.zeros(*size, n_lanes, dtype=dtype, device=self.combs.device) for size in sizes
        )


def _forward(
    rows: Tensor,
    feedback: Tensor,
    damping: Tensor,
    delays: _Delays,
    part: slice,
    out: Tensor,
    *,
    keeps: bool,
) -> Tensor:
    """Fill `out` (samples, items, sides) for some items; what the lowpasses gave, (samples, combs, lanes), if kept."""
    samples, _, sides = out.shape
    n_lanes, n_combs = (part.stop - part.start) * sides, delays.combs.shape[1]
    lows = torch.empty(
        samples if keeps else 1, n_combs, n_lanes, dtype=rows.dtype, device=rows.device
    )
    _room[grid(n_lanes)](
        *(rows[:, part], feedback[part], damping[part], delays.combs, delays.allpasses),
        *delays.lines(n_lanes, rows.dtype),
        *(lows, out[:, part], rows.stride(0), out.stride(0), n_lanes, samples, sides),
        *(delays.longest, delays.longest_allpass),
        ROWS=delays.ahead(ROWS), COMBS=n_combs, PASSES=delays.allpasses.shape[1], KEEPS=keeps, LANES=LANES, **LAUNCH,
    )  # fmt: skip
    return lows


@triton.jit
def _sizes(delays, side, here, COUNT: tl.constexpr):
    sizes = ()
    for number in tl.static_range(COUNT):
        sizes = sizes + (tl.load(delays + side * COUNT + number, mask=here, other=1),)
    return sizes


@triton.jit
def _offsets(places, sizes, longest, n_lanes, lane, ROWS: tl.constexpr, COUNT: tl.constexpr):
    """Where the next ROWS values of COUNT delay lines lie, line by line."""
    offsets = ()
    for number in tl.static_range(COUNT):
        for row in tl.static_range(ROWS):
            place = places[number] + row
            place = tl.where(place >= sizes[number], place - sizes[number], place)
            offsets = offsets + ((number * longest + place) * n_lanes + lane,)
    return offsets


@triton.jit
def _gathered(lines, offsets, here, COUNT: tl.constexpr):
    values = ()
    for number in tl.static_range(COUNT):
        values = values + (tl.load(lines + offsets[number], mask=here, other=0.0),)
    return values


@triton.jit
def _advanced(places, sizes, ROWS: tl.constexpr, COUNT: tl.constexpr):
    moved = ()
    for number in tl.static_range(COUNT):
        place = places[number] + ROWS
        moved = moved + (tl.where(place >= sizes[number], place - sizes[number], place),)
    return moved


@triton.jit
def _room(
    audio,
    feedback,
    damping,
    combs,
    allpasses,
    lines,
    passes,
    lows,
    wet,
    audio_step,
    wet_step,
    n_lanes,
    samples,
    sides,
    longest,
    longest_allpass,
    ROWS: tl.constexpr,
    COMBS: tl.constexpr,
    PASSES: tl.constexpr,
    KEEPS: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    item, side = lane // sides, lane % sides
    share, keep = tl.load(feedback + item, mask=here), tl.load(damping + item, mask=here)
    sizes, pass_sizes = _sizes(combs, side, here, COMBS), _sizes(allpasses, side, here, PASSES)
    places, pass_places = zeros(LANES, COMBS, tl.int32), zeros(LANES, PASSES, tl.int32)
    low = zeros(LANES, COMBS, audio.dtype.element_ty)
    at_audio, at_wet, at_low = audio + item, wet + lane, lows + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = read_rows(at_audio, audio_step, left, here, ROWS)
        offsets = _offsets(places, sizes, longest, n_lanes, lane, ROWS, COMBS)
        pass_offsets = _offsets(
            pass_places, pass_sizes, longest_allpass, n_lanes, lane, ROWS, PASSES
        )
        ys = _gathered(lines, offsets, here, COMBS * ROWS)
        passing = _gathered(passes, pass_offsets, here, PASSES * ROWS)
        for row in tl.static_range(ROWS):
            value, new_low = tl.zeros([LANES], audio.dtype.element_ty), ()
            for comb in tl.static_range(COMBS):
                y = ys[comb * ROWS + row]
                of_comb = (y * (1 - keep) + low[comb] * keep + ROUNDED_BY) - ROUNDED_BY
                entering = (xs[row] + of_comb * share + ROUNDED_BY) - ROUNDED_BY
                tl.store(lines + offsets[comb * ROWS + row], entering, mask=here)
                if KEEPS:
                    tl.store(
                        at_low + (row * COMBS + comb) * n_lanes, of_comb, mask=here & (row < left)
                    )
                new_low = new_low + (of_comb,)
                value = value + y
            low = new_low
            for number in tl.static_range(PASSES):
                stored = passing[number * ROWS + row]
                entering = (value + stored * ALLPASS_FEEDBACK + ROUNDED_BY) - ROUNDED_BY
                tl.store(passes + pass_offsets[number * ROWS + row], entering, mask=here)
                value = stored - value
            tl.store(at_wet + row * wet_step, value, mask=here & (row < left))
        places, pass_places = (
            _advanced(places, sizes, ROWS, COMBS),
            _advanced(pass_places, pass_sizes, ROWS, PASSES),
        )
        at_audio += ROWS * audio_step
        at_wet += ROWS * wet_step
        at_low += ROWS * COMBS * n_lanes


@triton.jit
def _kept_rows(at_low, n_lanes, left, here, ROWS: tl.constexpr, COMBS: tl.constexpr):
    """What the lowpasses gave at ROWS samples and the one before, backwards in time, comb by comb."""
    rows = ()
    for comb in tl.static_range(COMBS):
        rows = rows + read_rows(at_low + comb * n_lanes, -COMBS * n_lanes, left, here, ROWS + 1)
    return rows


@triton.jit
def _room_backward(
    feedback,
    damping,
    combs,
    allpasses,
    lines,
    passes,
    lows,
    grad_wet,
    grad_audio,
    grad_feedback,
    grad_damping,
    grad_step,
    n_lanes,
    samples,
    sides,
    longest,
    longest_allpass,
    ROWS: tl.constexpr,
    COMBS: tl.constexpr,
    PASSES: tl.constexpr,
    LANES: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    item, side = lane // sides, lane % sides
    share = tl.load(feedback + item, mask=here).to(tl.float64)
    keep = tl.load(damping + item, mask=here).to(tl.float64)
    sizes, pass_sizes = _sizes(combs, side, here, COMBS), _sizes(allpasses, side, here, PASSES)
    places, pass_places = zeros(LANES, COMBS, tl.int32), zeros(LANES, PASSES, tl.int32)
    of_low = zeros(LANES, COMBS, tl.float64)
    of_feedback, of_damping = tl.zeros([LANES], tl.float64), tl.zeros([LANES], tl.float64)
    at_grad, at_out, at_low = grad_wet + lane, grad_audio + lane, lows + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        grads = read_rows(at_grad, -grad_step, left, here, ROWS)
        kept = _kept_rows(at_low, n_lanes, left, here, ROWS, COMBS)
        offsets = _offsets(places, sizes, longest, n_lanes, lane, ROWS, COMBS)
        pass_offsets = _offsets(
            pass_places, pass_sizes, longest_allpass, n_lanes, lane, ROWS, PASSES
        )
        of_lines = _gathered(lines, offsets, here, COMBS * ROWS)
        passing = _gathered(passes, pass_offsets, here, PASSES * ROWS)
        for row in tl.static_range(ROWS):
            of_sum, of_sample = grads[row].to(tl.float64), tl.zeros([LANES], tl.float64)
            for number in tl.static_range(PASSES):
                stored = passing[number * ROWS + row]
                tl.store(
                    passes + pass_offsets[number * ROWS + row],
                    of_sum + stored * ALLPASS_FEEDBACK,
                    mask=here,
                )
                of_sum = stored - of_sum
            new_of_low = ()
            for comb in tl.static_range(COMBS):
                of_kept = of_lines[comb * ROWS + row]
                grad_low = share * of_kept + keep * of_low[comb]
                tl.store(
                    lines + offsets[comb * ROWS + row], of_sum + (1.0 - keep) * grad_low, mask=here
                )
                new_of_low = new_of_low + (grad_low,)
                low = kept[comb * (ROWS + 1) + row].to(tl.float64)
                before = kept[comb * (ROWS + 1) + row + 1].to(tl.float64)
                of_feedback += of_kept * low
                of_damping += grad_low * (before - low)
                of_sample += of_kept
            of_low = new_of_low
            tl.store(
                at_out - row * n_lanes, of_sample.to(grads[row].dtype), mask=here & (row < left)
            )
        places, pass_places = (
            _advanced(places, sizes, ROWS, COMBS),
            _advanced(pass_places, pass_sizes, ROWS, PASSES),
        )
        at_grad -= ROWS * grad_step
        at_out -= ROWS * n_lanes
        at_low -= ROWS * COMBS * n_lanes
    tl.store(grad_feedback + lane, of_feedback, mask=here)
    tl.store(grad_damping + lane, of_damping, mask=here)
