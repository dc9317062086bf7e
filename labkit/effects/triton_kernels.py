"""The kernels on a CUDA device, by triton: every public function is the `Kernel` of the same name.

They take the tensors of one device. One thread walks one lane through time, 32 lanes to a program.
Neighbouring threads read neighbouring numbers when the lanes of one sample lie side by side, so
signals are laid out by sample, as `kernels.for_kernel` lays them out; outputs must come so.
"""

# ruff: noqa: D103, N803, RUF005 -- the docstring of a kernel stands at its `Kernel`; constants are
# capitals, as in the field; triton cannot unpack a tuple with *

from collections.abc import Iterator
from math import pi

import torch
import triton
import triton.language as tl
from torch import Tensor

from labkit.effects import ambience, dynamics, filters, modulation

# Threads of a warp.
WARP = 32
# Samples that are read before the first of them is processed, so that the reads wait together.
ROWS_AHEAD = 16
# The same for a room, from all twelve delay lines: less than the shortest delay.
ROOM_AHEAD, ROOM_AHEAD_BACKWARD = 4, 2
# Samples between two echoes that one program takes care of; those of a delay line, at most.
ECHOES_AT_ONCE, SAMPLES_AT_ONCE = 256, 128
# How much memory a room takes beside inputs and outputs; more lanes than fit are done in turns.
SCRATCH_BYTES = 4 * 2**30
# Every product is rounded before something is added to it, as on the processor.
OPTIONS = {"num_warps": 1, "enable_fp_fusion": False}


def _fixed(value: float) -> float:
    """A constant of kernels; the interpreter cannot calculate with triton's own kind."""
    return value if triton.knobs.runtime.interpret else tl.constexpr(value)


LANES, ROWS, ECHOES = _fixed(WARP), _fixed(ROWS_AHEAD), _fixed(ECHOES_AT_ONCE)
TURN = _fixed(2 * pi)
BLOCK, DROPPED = _fixed(filters.BLOCK), _fixed(filters.DROPPED)
FLOOR = _fixed(dynamics.FLOOR)
SILENT = _fixed(modulation.SILENT)
STAGES, EVERY = _fixed(modulation.STAGES), _fixed(modulation.UPDATE_EVERY)
UPDATES = _fixed(ROWS_AHEAD // modulation.UPDATE_EVERY)
ROUNDED_BY, ALLPASS_FEEDBACK = _fixed(ambience.ROUNDED_BY), _fixed(ambience.ALLPASS_FEEDBACK)
COMBS, PASSES = _fixed(len(ambience.COMBS)), _fixed(len(ambience.ALLPASSES))


def _by_sample(signal: Tensor) -> Tensor:
    """(..., samples) -> contiguous (samples, ...); no copy where it lies so already."""
    return signal.movedim(-1, 0).contiguous()


def _to_fill(output: Tensor) -> Tensor:
    """The same for a tensor that a kernel writes into, which cannot be a copy."""
    rows = output.movedim(-1, 0)
    if not rows.is_contiguous():
        raise ValueError(f"an output must be laid out by sample, got strides {output.stride()}")
    return rows


def _launch(kernel, n_lanes: int, *arguments: object, **constants: object) -> None:
    """One program for every 32 lanes."""
    kernel[(triton.cdiv(n_lanes, WARP),)](*arguments, **constants, **OPTIONS)


@triton.jit
def _lanes():
    return tl.program_id(0) * LANES + tl.arange(0, LANES)


@triton.jit
def _read_rows(at, step, left, here, COUNT: tl.constexpr):
    """COUNT rows at `at`, `at + step`, ..., zeros beyond the `left` that lie within the signal."""
    rows = ()
    for row in tl.static_range(COUNT):
        rows = rows + (tl.load(at + row * step, mask=here & (row < left), other=0),)
    return rows


@triton.jit
def _zeros(COUNT: tl.constexpr, dtype: tl.constexpr):
    rows = ()
    for _ in tl.static_range(COUNT):
        rows = rows + (tl.zeros([LANES], dtype),)
    return rows


# Biquads


def biquad(audio, coefficients, wet):
    signals = _by_sample(audio), coefficients.contiguous(), _to_fill(wet)
    _launch(_biquad, len(audio), *signals, len(audio), audio.shape[-1])


@triton.jit
def _biquad(audio, coefficients, wet, n_lanes, samples):
    lane = _lanes()
    here = lane < n_lanes
    real = audio.dtype.element_ty
    exact = _read_rows(coefficients + 5 * lane, 1, 5, here, 5)
    b0, b1, b2 = exact[0].to(real), exact[1].to(real), exact[2].to(real)
    a1, a2 = exact[3].to(real), exact[4].to(real)
    following, later = _zeros(2, real)
    at_audio, at_wet = audio + lane, wet + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = _read_rows(at_audio, n_lanes, left, here, ROWS)
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


def biquad_backward(audio, coefficients, wet, grad_wet, grad_audio, grad_coefficients):
    # Each begins at its last sample.
    signals = [_by_sample(x)[-1] for x in (audio, wet, grad_wet)]
    sums = torch.empty_like(coefficients, memory_format=torch.contiguous_format)
    arrays = (*signals, _to_fill(grad_audio)[-1], coefficients.contiguous(), sums)
    _launch(_biquad_backward, len(audio), *arrays, len(audio), audio.shape[-1])
    grad_coefficients.copy_(sums)


@triton.jit
def _biquad_backward(audio, wet, grad_wet, grad_audio, coefficients, sums, n_lanes, samples):
    lane = _lanes()
    here = lane < n_lanes
    b0, b1, b2, a1, a2 = _read_rows(coefficients + 5 * lane, 1, 5, here, 5)
    s1, s2 = _zeros(2, tl.float64)
    of_b0, of_b1, of_b2, of_a1, of_a2 = _zeros(5, tl.float64)
    at_audio, at_wet, at_grad, at_out = audio + lane, wet + lane, grad_wet + lane, grad_audio + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = _read_rows(at_audio, -n_lanes, left, here, ROWS)
        ys = _read_rows(at_wet, -n_lanes, left, here, ROWS)
        grads = _read_rows(at_grad, -n_lanes, left, here, ROWS)
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
    of_coefficients = (of_b0, of_b1, of_b2, of_a1, of_a2)
    for number in tl.static_range(5):
        tl.store(sums + 5 * lane + number, of_coefficients[number], mask=here)


# Envelopes


def follow(audio, attack, release, level):
    arrays = _by_sample(audio), attack, release, _to_fill(level)
    _launch(_follow, len(audio), *arrays, len(audio), audio.shape[-1])


@triton.jit
def _follow(audio, attack, release, level, n_lanes, samples):
    lane = _lanes()
    here = lane < n_lanes
    rising, falling = tl.load(attack + lane, mask=here), tl.load(release + lane, mask=here)
    state = tl.zeros([LANES], audio.dtype.element_ty)
    at_audio, at_level = audio + lane, level + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = _read_rows(at_audio, n_lanes, left, here, ROWS)
        for row in tl.static_range(ROWS):
            rectified = tl.abs(rows[row]) + FLOOR
            keep = tl.where(rectified > state, rising, falling)
            state = rectified + keep * (state - rectified)
            tl.store(at_level + row * n_lanes, state, mask=here & (row < left))
        at_audio += ROWS * n_lanes
        at_level += ROWS * n_lanes


def follow_backward(
    audio, attack, release, level, grad_level, grad_audio, grad_attack, grad_release
):
    # Each begins at its last sample.
    signals = [_by_sample(x)[-1] for x in (audio, level, grad_level)]
    knobs = (attack, release, grad_attack, grad_release)
    arrays = (*signals, _to_fill(grad_audio)[-1], *knobs)
    _launch(_follow_backward, len(audio), *arrays, len(audio), audio.shape[-1])


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
):
    lane = _lanes()
    here = lane < n_lanes
    rising, falling = tl.load(attack + lane, mask=here), tl.load(release + lane, mask=here)
    carried, of_attack, of_release = _zeros(3, tl.float64)
    at_audio, at_before = audio + lane, level + lane - n_lanes
    at_grad, at_out = grad_level + lane, grad_audio + lane
    for start in range(0, samples, ROWS):
        left = samples - start
        xs = _read_rows(at_audio, -n_lanes, left, here, ROWS)
        states = _read_rows(at_before, -n_lanes, left - 1, here, ROWS)
        grads = _read_rows(at_grad, -n_lanes, left, here, ROWS)
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


# Echoes


def echo(audio, feedback, delay, echoes):
    """Fill `echoes`.

    Samples that are one delay apart depend on each other, and no others do: every thread walks one
    such train of samples, and neighbouring threads walk neighbouring trains.
    """
    _echo_along(audio, feedback, delay, echoes, IS_REVERSED=False)


def echo_backward(feedback, delay, echoes, grad_echoes, grad_audio, grad_feedback, grad_delay):
    """As `ambience.echo_backward`: echoes backwards in time, then sums."""
    _echo_along(grad_echoes, feedback, delay, grad_audio, IS_REVERSED=True)
    grad_feedback.copy_((grad_audio * echoes).sum(-1, dtype=torch.float64))
    read = grad_echoes + feedback[:, None] * grad_audio
    rise = echoes.diff(prepend=torch.zeros_like(echoes[..., :1]))
    grad_delay.copy_(-(read * rise).sum(-1, dtype=torch.float64))


def _echo_along(
    audio: Tensor, feedback: Tensor, delay: Tensor, echoes: Tensor, **way: bool
) -> None:
    audio = audio.contiguous()
    out = torch.empty_like(audio)
    n_lanes, samples = audio.shape
    trains = triton.cdiv(samples, ECHOES_AT_ONCE)
    arrays = (audio, feedback.contiguous(), delay.long(), out, samples, trains)
    _echo[(n_lanes * trains,)](*arrays, enable_fp_fusion=False, **way)
    echoes.copy_(out)


@triton.jit
def _echo(audio, feedback, delay, echoes, samples, trains, IS_REVERSED: tl.constexpr):
    lane = tl.program_id(0) // trains
    first = tl.program_id(0) % trains * ECHOES
    lag = tl.minimum(tl.load(delay + lane), samples).to(tl.int32)
    share = tl.load(feedback + lane)
    begin = lane.to(tl.int64) * samples
    place = first + tl.arange(0, ECHOES)
    is_train = place < lag
    state = tl.zeros([ECHOES], audio.dtype.element_ty)
    # Programs beyond the delay have no train to walk.
    turns = tl.where(first < lag, tl.cdiv(samples - first, lag), 0)
    for _ in range(0, turns):
        there = is_train & (place < samples)
        at = begin + (samples - 1 - place if IS_REVERSED else place)
        tl.store(echoes + at, state, mask=there)
        state = tl.load(audio + at, mask=there, other=0.0) + share * state
        place += lag


# Oscillators and moving delay lines


def accumulate(increment, phase):
    rows = torch.empty(phase.T.shape, dtype=phase.dtype, device=phase.device)
    _launch(_accumulate, len(phase), increment, rows, *phase.shape)
    phase.copy_(rows.T)


@triton.jit
def _accumulate(increment, phase, n_items, steps):
    item = _lanes()
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


def delay_line(audio, delay, feedback, line, wet):
    """Fill `line` and `wet`.

    What the line gives within its shortest delay is in it already: so many samples are processed at
    once, one lane to a program.
    """
    channels, samples = audio.shape[1:]
    lines, wets = (torch.empty_like(audio, memory_format=torch.contiguous_format) for _ in range(2))
    arrays = (audio.contiguous(), delay.contiguous(), feedback, lines, wets, channels, samples)
    _delay_line[(len(audio) * channels,)](*arrays, ABREAST=_at_once(delay), **OPTIONS)
    line.copy_(lines)
    wet.copy_(wets)


def delay_line_backward(delay, feedback, line, grad_wet, grad_audio, grad_delay, grad_feedback):
    """Fill the gradients.

    The contributions of several samples to one are added up in no fixed order: the last bit may
    differ from run to run.
    """
    items, channels, samples = line.shape
    of_audio = torch.zeros_like(line, memory_format=torch.contiguous_format)
    of_delay = torch.empty_like(of_audio)
    of_feedback = torch.empty(items * channels, dtype=torch.float64, device=line.device)
    arrays = (delay.contiguous(), feedback, line.contiguous(), grad_wet.contiguous())
    grads = (of_audio, of_delay, of_feedback, channels, samples)
    programs = (items * channels,)
    _delay_line_backward[programs](*arrays, *grads, ABREAST=_at_once(delay), **OPTIONS)
    grad_audio.copy_(of_audio)
    grad_delay.copy_(of_delay.sum(1))
    grad_feedback.copy_(of_feedback.view(items, channels).sum(1))


def _at_once(delay: Tensor) -> int:
    """The largest power of two of samples none of which needs what another puts into the line."""
    shortest = int(torch.where(delay >= 0, delay, 0).amin().clamp_max(SAMPLES_AT_ONCE))
    return min(SAMPLES_AT_ONCE, 1 << ((1 + shortest).bit_length() - 1))


@triton.jit
def _read_line(line, delay, sample, there):
    """Of a line at its moving delay: share of the older sample, the newer, the older, whole lag."""
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
        returned = (newer + share * (older - newer)) * back
        entering = tl.load(audio + sample, mask=there, other=0.0) - returned
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
        there, is_before = sample < samples, sample + 1 < samples
        share, newer, older, whole = _read_line(line, delay, sample, there)
        # Past the first cache, which does not see what other threads add.
        entered = grad_audio + sample + 1
        later = tl.load(entered, mask=is_before, other=0.0, cache_modifier=".cg")
        later = tl.where(tl.abs(later) < SILENT, 0.0, later)
        total = tl.load(grad_wet + sample, mask=there, other=0.0) - back * later
        of_feedback -= (later * (newer + share * (older - newer))).to(tl.float64)
        tl.store(grad_delay + sample, total * (older - newer), mask=there)
        at, to_new, to_old = grad_audio + sample - whole, (1 - share) * total, share * total
        tl.atomic_add(at, to_new, mask=there & (sample >= whole), sem="relaxed", scope="cta")
        tl.atomic_add(at - 1, to_old, mask=there & (sample > whole), sem="relaxed", scope="cta")
        tl.debug_barrier()
    tl.store(grad_feedback + lane, tl.sum(of_feedback, 0))


# Moving allpasses


def allpasses(audio, gain, feedback, wet, states):
    """As `modulation.allpasses`; `states` is contiguous."""
    items, channels, samples = audio.shape
    arrays = (_by_sample(audio), _by_sample(gain), feedback, _to_fill(wet), states)
    _launch(_allpasses, items * channels, *arrays, items, channels, samples)


@triton.jit
def _allpasses(audio, gain, feedback, wet, ends, n_items, channels, samples):
    lane, step = _lanes(), n_items * channels
    here = lane < step
    back = tl.load(feedback + lane // channels, mask=here)
    returned = tl.zeros([LANES], audio.dtype.element_ty)
    state = _zeros(STAGES, audio.dtype.element_ty)
    at_audio, at_wet, at_gain = audio + lane, wet + lane, gain + lane // channels
    for start in range(0, samples, UPDATES * EVERY):
        left = samples - start
        rows = _read_rows(at_audio, step, left, here, UPDATES * EVERY)
        gains = _read_rows(at_gain, n_items, tl.cdiv(left, EVERY), here, UPDATES)
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
    """The output of all allpasses, and their new states."""
    new = ()
    for stage in tl.static_range(STAGES):
        half = g * (value - state[stage])
        low = half + state[stage]
        new = new + (low + half,)
        value = 2 * low - value
    return value, new


def allpasses_backward(gain, feedback, wet, states, grad_wet, grad_audio, grad_gain, grad_feedback):
    items, channels, samples = wet.shape
    last = gain.shape[1] - 1
    of_gain = torch.empty(last + 1, items, channels, dtype=gain.dtype, device=gain.device)
    of_feedback = torch.empty(items, channels, dtype=torch.float64, device=gain.device)
    # Each begins at the first sample of the last update.
    begin = last * modulation.UPDATE_EVERY
    signals = [x[begin] for x in (_by_sample(wet), _by_sample(grad_wet), _to_fill(grad_audio))]
    knobs = (_by_sample(gain)[last], feedback, states.contiguous(), of_gain[last], of_feedback)
    shape = (items, channels, samples)
    _launch(_allpasses_backward, items * channels, *signals, *knobs, *shape)
    grad_gain.copy_(of_gain.sum(2).movedim(0, -1))
    grad_feedback.copy_(of_feedback.sum(1))


@triton.jit
def _back_through_stages(value, total, state, of_state, g):
    """Gradients of the input and of G, the states before, their gradients; last stage first."""
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
):
    lane, step = _lanes(), n_items * channels
    here = lane < step
    back = tl.load(feedback + lane // channels, mask=here).to(tl.float64)
    later, of_feedback = _zeros(2, tl.float64)
    state, of_state = (), _zeros(STAGES, tl.float64)
    for stage in tl.static_range(STAGES):
        end = tl.load(ends + lane * STAGES + (STAGES - 1 - stage), mask=here, other=0.0)
        state = state + (end.to(tl.float64),)
    at_wet, at_grad, at_out = wet + lane, grad_wet + lane, grad_audio + lane
    at_gain, at_of_gain = gain + lane // channels, grad_gain + lane
    real = grad_gain.dtype.element_ty
    updates = tl.cdiv(samples, EVERY)
    for update in range(0, updates):
        left = samples - (updates - 1 - update) * EVERY
        values = _read_rows(at_wet, step, left, here, EVERY)
        grads = _read_rows(at_grad, step, left, here, EVERY)
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


# Rooms: one thread for each side of each item


class _Delays:
    """The delays of a room on its device, and memory for what is on its way in them."""

    def __init__(self, combs: Tensor, allpasses: Tensor, audio: Tensor) -> None:
        self.shortest = int(min(combs.min(), allpasses.min()))
        self.longest = int(combs.max()), int(allpasses.max())
        both = (x.to(audio.device, torch.int32).contiguous() for x in (combs, allpasses))
        self.combs, self.allpasses = both
        per_lane = combs.shape[1] * self.longest[0] + allpasses.shape[1] * self.longest[1]
        self.bytes_per_item = per_lane * len(combs) * audio.element_size()

    def ahead(self, rows: int) -> int:
        """How many samples may be read before the first of them is written."""
        return rows if self.shortest >= rows else 1

    def lines(self, n_lanes: int, dtype: torch.dtype) -> list[Tensor]:
        """Silent combs and allpasses, (delay lines, samples, lanes)."""
        both = zip((self.combs, self.allpasses), self.longest, strict=True)
        sizes = [(delays.shape[1], longest, n_lanes) for delays, longest in both]
        return [torch.zeros(size, dtype=dtype, device=self.combs.device) for size in sizes]


def _turns(n_items: int, bytes_per_item: int) -> Iterator[slice]:
    """Slices of items whose scratch memory stays within `SCRATCH_BYTES`, at least one item each."""
    size = max(1, SCRATCH_BYTES // bytes_per_item)
    for first in range(0, n_items, size):
        yield slice(first, min(first + size, n_items))


def room(audio, feedback, damping, combs, allpasses, wet):
    """As `ambience.room`; `combs` and `allpasses` may lie on the processor."""
    delays = _Delays(combs, allpasses, audio)
    rows, out = _by_sample(audio), _to_fill(wet)
    for part in _turns(len(audio), delays.bytes_per_item):
        knobs = feedback[part], damping[part]
        _room_forward(rows[:, part], *knobs, delays, out[:, part], keeps=False)


def room_backward(
    audio, feedback, damping, combs, allpasses, grad_wet, grad_audio, grad_feedback, grad_damping
):
    """As `ambience.room_backward`: as many items at a time as the scratch memory holds."""
    delays = _Delays(combs, allpasses, audio)
    rows, grads = _by_sample(audio), _by_sample(grad_wet)
    samples, sides = len(rows), len(combs)
    unused = torch.empty_like(grads)
    kept_bytes = audio.element_size() * combs.shape[1] * samples * sides
    for part in _turns(len(audio), kept_bytes + 2 * delays.bytes_per_item):
        knobs = feedback[part], damping[part]
        lows = _room_forward(rows[:, part], *knobs, delays, unused[:, part], keeps=True)
        n_items = part.stop - part.start
        lines = delays.lines(n_items * sides, torch.float64)
        out = torch.empty(samples, n_items, sides, dtype=audio.dtype, device=audio.device)
        sums = torch.empty(2, n_items, sides, dtype=torch.float64, device=audio.device)
        arrays = (*knobs, delays.combs, delays.allpasses, *lines, lows[-1], grads[-1, part])
        sizes = (grads.stride(0), n_items * sides, samples, sides, *delays.longest)
        ahead = delays.ahead(ROOM_AHEAD_BACKWARD)
        _launch(_room_backward, n_items * sides, *arrays, out[-1], *sums, *sizes, AHEAD=ahead)
        grad_audio[part] = out.sum(2).movedim(0, -1)
        grad_feedback[part] = sums[0].sum(1).to(grad_feedback)
        grad_damping[part] = (sums[1].sum(1) / (1 - damping[part].double())).to(grad_damping)


def _room_forward(
    rows: Tensor, feedback: Tensor, damping: Tensor, delays: _Delays, out: Tensor, *, keeps: bool
) -> Tensor:
    """Fill `out` (samples, items, sides); the lowpasses' output (samples, combs, lanes) if kept."""
    samples, n_items, sides = out.shape
    n_lanes, n_combs = n_items * sides, delays.combs.shape[1]
    shape = (samples if keeps else 1, n_combs, n_lanes)
    lows = torch.empty(shape, dtype=rows.dtype, device=rows.device)
    lines = delays.lines(n_lanes, rows.dtype)
    arrays = (rows, feedback, damping, delays.combs, delays.allpasses, *lines, lows, out)
    sizes = (rows.stride(0), out.stride(0), n_lanes, samples, sides, *delays.longest)
    _launch(_room, n_lanes, *arrays, *sizes, AHEAD=delays.ahead(ROOM_AHEAD), KEEPS=keeps)
    return lows


@triton.jit
def _read_ahead(
    lines, places, sizes, longest, n_lanes, lane, here, AHEAD: tl.constexpr, COUNT: tl.constexpr
):
    """Where the next AHEAD values of COUNT delay lines lie; the values; the places after them."""
    offsets, values, moved = (), (), ()
    for number in tl.static_range(COUNT):
        for row in tl.static_range(AHEAD + 1):
            place = places[number] + row
            place = tl.where(place >= sizes[number], place - sizes[number], place)
            offset = (number * longest + place) * n_lanes + lane
            if row < AHEAD:
                offsets = offsets + (offset,)
                values = values + (tl.load(lines + offset, mask=here, other=0.0),)
            else:
                moved = moved + (place,)
    return offsets, values, moved


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
    AHEAD: tl.constexpr,
    KEEPS: tl.constexpr,
):
    lane = _lanes()
    here = lane < n_lanes
    item, side = lane // sides, lane % sides
    share, keep = tl.load(feedback + item, mask=here), tl.load(damping + item, mask=here)
    sizes = _read_rows(combs + side * COMBS, 1, COMBS, here, COMBS)
    pass_sizes = _read_rows(allpasses + side * PASSES, 1, PASSES, here, PASSES)
    places, pass_places = _zeros(COMBS, tl.int32), _zeros(PASSES, tl.int32)
    low = _zeros(COMBS, audio.dtype.element_ty)
    at_audio, at_wet, at_low = audio + item, wet + lane, lows + lane
    for start in range(0, samples, AHEAD):
        left = samples - start
        xs = _read_rows(at_audio, audio_step, left, here, AHEAD)
        at, ys, places = _read_ahead(
            lines, places, sizes, longest, n_lanes, lane, here, AHEAD, COMBS
        )
        at_pass, passing, pass_places = _read_ahead(
            passes, pass_places, pass_sizes, longest_allpass, n_lanes, lane, here, AHEAD, PASSES
        )
        for row in tl.static_range(AHEAD):
            inside = here & (row < left)
            value, new_low = tl.zeros([LANES], audio.dtype.element_ty), ()
            for comb in tl.static_range(COMBS):
                y = ys[comb * AHEAD + row]
                of_comb = (y * (1 - keep) + low[comb] * keep + ROUNDED_BY) - ROUNDED_BY
                entering = (xs[row] + of_comb * share + ROUNDED_BY) - ROUNDED_BY
                tl.store(lines + at[comb * AHEAD + row], entering, mask=here)
                if KEEPS:
                    tl.store(at_low + (row * COMBS + comb) * n_lanes, of_comb, mask=inside)
                new_low = new_low + (of_comb,)
                value = value + y
            low = new_low
            for number in tl.static_range(PASSES):
                stored = passing[number * AHEAD + row]
                entering = (value + stored * ALLPASS_FEEDBACK + ROUNDED_BY) - ROUNDED_BY
                tl.store(passes + at_pass[number * AHEAD + row], entering, mask=here)
                value = stored - value
            tl.store(at_wet + row * wet_step, value, mask=inside)
        at_audio += AHEAD * audio_step
        at_wet += AHEAD * wet_step
        at_low += AHEAD * COMBS * n_lanes


@triton.jit
def _kept_rows(at_low, n_lanes, left, here, COUNT: tl.constexpr):
    """The lowpasses' output at COUNT samples, backwards in time, comb by comb."""
    rows = ()
    for comb in tl.static_range(COMBS):
        rows = rows + _read_rows(at_low + comb * n_lanes, -COMBS * n_lanes, left, here, COUNT)
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
    AHEAD: tl.constexpr,
):
    lane = _lanes()
    here = lane < n_lanes
    item, side = lane // sides, lane % sides
    share = tl.load(feedback + item, mask=here).to(tl.float64)
    keep = tl.load(damping + item, mask=here).to(tl.float64)
    sizes = _read_rows(combs + side * COMBS, 1, COMBS, here, COMBS)
    pass_sizes = _read_rows(allpasses + side * PASSES, 1, PASSES, here, PASSES)
    places, pass_places = _zeros(COMBS, tl.int32), _zeros(PASSES, tl.int32)
    of_low = _zeros(COMBS, tl.float64)
    of_feedback, of_damping = _zeros(2, tl.float64)
    at_grad, at_out, at_low = grad_wet + lane, grad_audio + lane, lows + lane
    for start in range(0, samples, AHEAD):
        left = samples - start
        grads = _read_rows(at_grad, -grad_step, left, here, AHEAD)
        kept = _kept_rows(at_low, n_lanes, left, here, AHEAD + 1)
        at, of_lines, places = _read_ahead(
            lines, places, sizes, longest, n_lanes, lane, here, AHEAD, COMBS
        )
        at_pass, passing, pass_places = _read_ahead(
            passes, pass_places, pass_sizes, longest_allpass, n_lanes, lane, here, AHEAD, PASSES
        )
        for row in tl.static_range(AHEAD):
            of_sum, of_sample = grads[row].to(tl.float64), tl.zeros([LANES], tl.float64)
            for number in tl.static_range(PASSES):
                stored = passing[number * AHEAD + row]
                entering = of_sum + stored * ALLPASS_FEEDBACK
                tl.store(passes + at_pass[number * AHEAD + row], entering, mask=here)
                of_sum = stored - of_sum
            new_of_low = ()
            for comb in tl.static_range(COMBS):
                of_kept = of_lines[comb * AHEAD + row]
                grad_low = share * of_kept + keep * of_low[comb]
                entering = of_sum + (1.0 - keep) * grad_low
                tl.store(lines + at[comb * AHEAD + row], entering, mask=here)
                new_of_low = new_of_low + (grad_low,)
                low = kept[comb * (AHEAD + 1) + row].to(tl.float64)
                before = kept[comb * (AHEAD + 1) + row + 1].to(tl.float64)
                of_feedback += of_kept * low
                of_damping += grad_low * (before - low)
                of_sample += of_kept
            of_low = new_of_low
            out = of_sample.to(grads[row].dtype)
            tl.store(at_out - row * n_lanes, out, mask=here & (row < left))
        at_grad -= AHEAD * grad_step
        at_out -= AHEAD * n_lanes
        at_low -= AHEAD * COMBS * n_lanes
    tl.store(grad_feedback + lane, of_feedback, mask=here)
    tl.store(grad_damping + lane, of_damping, mask=here)
