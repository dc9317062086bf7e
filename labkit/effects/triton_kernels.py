"""The kernels on a CUDA device, by triton: every public function is the `Kernel` of the same name.

They take the tensors of one device. Three recurrences do all: a walk from sample to sample, a line
with a moving delay, and a comb. What runs backwards in time is a walk from the end, or a comb on
the flipped signal. Unlike the processor, a GPU is not slowed down by subnormal numbers, so nothing
is rounded to silence here.
"""

# ruff: noqa: D103, N803, RUF005 -- the docstring of a kernel stands at its `Kernel`; constants are
# capitals, as in the field; triton cannot unpack a tuple with *

from collections.abc import Sequence
from math import pi

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from labkit.effects import ambience, dynamics, modulation

# Threads of a warp: lanes that one program walks.
WARP = 32
# Samples that are read before the first of them is processed, so that the reads wait together.
ROWS_AHEAD = 16
# Samples that a program calculates at once at the most, in a moving delay line and in a comb.
LINE_AT_ONCE, COMB_AT_ONCE = 128, 1024
# Every product is rounded before something is added to it, as on the processor.
OPTIONS = {"enable_fp_fusion": False}


def _fixed(value: float) -> float:
    """A constant of kernels; the interpreter cannot calculate with triton's own kind."""
    return value if triton.knobs.runtime.interpret else tl.constexpr(value)


LANES, ROWS = _fixed(WARP), _fixed(ROWS_AHEAD)
TURN, FLOOR, STAGES = _fixed(2 * pi), _fixed(dynamics.FLOOR), _fixed(modulation.STAGES)


# Walks


def _walked(
    step,
    reads: Sequence[Tensor],
    knobs: Tensor,
    begin: Tensor,
    writes: Sequence[Tensor],
    *,
    backwards: bool = False,
) -> Tensor:
    """Fill `writes` sample by sample, from the last one on if `backwards`; return the last state.

    `step` maps what is read at a sample, the state and the knobs to what is written and the next
    state. Signals are (lanes, samples) in any number of axes; knobs and states are (n, lanes).
    """
    samples, (n_states, n_lanes) = writes[0].shape[-1], begin.shape
    # Neighbouring threads read neighbouring numbers where the lanes of a sample lie side by side.
    rows = [signal.movedim(-1, 0).reshape(samples, n_lanes) for signal in reads]
    inputs = torch.stack(rows) if rows else begin
    outputs = writes[0].new_empty(len(writes), samples, n_lanes)
    ends = torch.empty_like(begin)
    arrays = (inputs, knobs.contiguous(), begin.contiguous(), outputs, ends, n_lanes, samples)
    sizes = {"READS": len(rows), "KNOBS": len(knobs), "STATES": n_states, "WRITES": len(writes)}
    options = {**sizes, "STEP": step, "BACKWARDS": backwards, "num_warps": 1, **OPTIONS}
    _walk[(triton.cdiv(n_lanes, WARP),)](*arrays, **options)
    for signal, output in zip(writes, outputs, strict=True):
        signal.copy_(output.T.reshape(signal.shape))
    return ends


@triton.jit
def _column(at, step, left, here, COUNT: tl.constexpr):
    """COUNT rows at `at`, `at + step`, ..., zeros beyond the `left` that lie within the signal."""
    rows = ()
    for row in tl.static_range(COUNT):
        rows = rows + (tl.load(at + row * step, mask=here & (row < left), other=0),)
    return rows


@triton.jit
def _walk(
    inputs,
    knobs,
    begin,
    outputs,
    ends,
    n_lanes,
    samples,
    STEP: tl.constexpr,
    READS: tl.constexpr,
    KNOBS: tl.constexpr,
    STATES: tl.constexpr,
    WRITES: tl.constexpr,
    BACKWARDS: tl.constexpr,
):
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    here = lane < n_lanes
    fixed = _column(knobs + lane, n_lanes, KNOBS, here, KNOBS)
    state = _column(begin + lane, n_lanes, STATES, here, STATES)
    size = samples.to(tl.int64) * n_lanes
    way = -n_lanes if BACKWARDS else n_lanes
    at = (size - n_lanes + lane) if BACKWARDS else lane.to(tl.int64)
    for start in range(0, samples, ROWS):
        left = samples - start
        rows = ()
        for number in tl.static_range(READS):
            rows = rows + _column(inputs + number * size + at, way, left, here, ROWS)
        for row in tl.static_range(ROWS):
            read = ()
            for number in tl.static_range(READS):
                read = read + (rows[number * ROWS + row],)
            written, after = STEP(read, state, fixed)
            for number in tl.static_range(WRITES):
                value = written[number].to(outputs.dtype.element_ty)
                there = outputs + number * size + at + row * way
                tl.store(there, value, mask=here & (row < left))
            kept = ()
            for number in tl.static_range(STATES):
                kept = kept + (tl.where(row < left, after[number], state[number]),)
            state = kept
        at += ROWS * way
    for number in tl.static_range(STATES):
        tl.store(ends + number * n_lanes + lane, state[number], mask=here)


def biquad(audio, coefficients, wet):
    _walked(_biquad, [audio], coefficients.T.to(audio.dtype), audio.new_zeros(2, len(audio)), [wet])


@triton.jit
def _biquad(read, state, knobs):
    x = read[0]
    b0, b1, b2, a1, a2 = knobs
    y = x * b0 + state[0]
    return (y,), (x * b1 - y * a1 + state[1], x * b2 - y * a2)


def biquad_backward(audio, coefficients, wet, grad_wet, grad_audio, grad_coefficients):
    begin = coefficients.new_zeros(7, len(audio))
    reads, writes = [audio, wet, grad_wet], [grad_audio]
    ends = _walked(_biquad_backward, reads, coefficients.T, begin, writes, backwards=True)
    grad_coefficients.copy_(ends[2:].T)


@triton.jit
def _biquad_backward(read, state, knobs):
    x, y, grad = read[0].to(tl.float64), read[1].to(tl.float64), read[2].to(tl.float64)
    b0, b1, b2, a1, a2 = knobs
    s1, s2, of_b0, of_b1, of_b2, of_a1, of_a2 = state
    s = grad - a1 * s1 - a2 * s2
    of_numerator = (of_b0 + s * x, of_b1 + s1 * x, of_b2 + s2 * x)
    return (b0 * s + b1 * s1 + b2 * s2,), (s, s1) + of_numerator + (of_a1 - s1 * y, of_a2 - s2 * y)


def follow(audio, attack, release, level):
    _walked(
        _follow, [audio], torch.stack([attack, release]), audio.new_zeros(1, len(audio)), [level]
    )


@triton.jit
def _follow(read, state, knobs):
    rectified, level = tl.abs(read[0]) + FLOOR, state[0]
    level = rectified + tl.where(rectified > level, knobs[0], knobs[1]) * (level - rectified)
    return (level,), (level,)


def follow_backward(
    audio, attack, release, level, grad_level, grad_audio, grad_attack, grad_release
):
    reads = [audio, pad(level, (1, -1)), grad_level]
    begin = torch.zeros(3, len(audio), dtype=torch.float64, device=audio.device)
    knobs = torch.stack([attack, release])
    ends = _walked(_follow_backward, reads, knobs, begin, [grad_audio], backwards=True)
    grad_attack.copy_(ends[1])
    grad_release.copy_(ends[2])


@triton.jit
def _follow_backward(read, state, knobs):
    x, before, grad = read
    rectified = tl.abs(x) + FLOOR
    is_rising = rectified > before
    keep = tl.where(is_rising, knobs[0], knobs[1]).to(tl.float64)
    total = grad.to(tl.float64) + state[0]
    of_keep = total * (before - rectified).to(tl.float64)
    of_attack = state[1] + tl.where(is_rising, of_keep, 0.0)
    of_release = state[2] + tl.where(is_rising, 0.0, of_keep)
    falls = (1.0 - keep) * total
    of_audio = tl.where(x > 0, falls, tl.where(x < 0, -falls, 0.0))
    return (of_audio,), (keep * total, of_attack, of_release)


def accumulate(increment, phase):
    _walked(_accumulate, [], increment[None], torch.zeros_like(increment)[None], [phase])


@triton.jit
def _accumulate(_read, state, knobs):
    angle = state[0] + knobs[0]
    return (state[0],), (tl.where(angle >= TURN, angle - TURN, angle),)


def allpasses(audio, gain, feedback, wet, states):
    items, channels, _ = audio.shape
    begin = audio.new_zeros(modulation.STAGES + 1, items * channels)
    back = feedback.repeat_interleave(channels)[None]
    ends = _walked(_allpasses, [audio, _each_sample(gain, audio)], back, begin, [wet])
    states.copy_(ends[:-1].T.reshape(states.shape))


def _each_sample(gain: Tensor, audio: Tensor) -> Tensor:
    """The gain of every update, (items, updates), for every sample of `audio`."""
    every = gain.repeat_interleave(modulation.UPDATE_EVERY, -1)[:, : audio.shape[-1]]
    return every[:, None].expand(audio.shape)


@triton.jit
def _allpasses(read, state, knobs):
    value, g, after = read[0] - state[STAGES], read[1], ()
    for stage in tl.static_range(STAGES):
        half = g * (value - state[stage])
        low = half + state[stage]
        after = after + (low + half,)
        value = 2 * low - value
    return (value,), after + (value * knobs[0],)


def allpasses_backward(gain, feedback, wet, states, grad_wet, grad_audio, grad_gain, grad_feedback):
    items, channels, samples = wet.shape
    # The states of all stages, the last stage first, their gradients, that of the sample that
    # enters next, and that of the feedback.
    begin = torch.zeros(2 * modulation.STAGES + 2, items * channels, dtype=torch.float64)
    begin = begin.to(wet.device)
    begin[: modulation.STAGES] = states.flatten(0, 1).T.flip(0)
    back, of_gain = feedback.repeat_interleave(channels)[None].double(), torch.empty_like(wet)
    reads, writes = [wet, grad_wet, _each_sample(gain, wet)], [grad_audio, of_gain]
    ends = _walked(_allpasses_backward, reads, back, begin, writes, backwards=True)
    updates = pad(of_gain.sum(1), (0, -samples % modulation.UPDATE_EVERY))
    grad_gain.copy_(updates.unflatten(-1, (-1, modulation.UPDATE_EVERY)).sum(-1))
    grad_feedback.copy_(ends[-1].view(items, channels).sum(1))


@triton.jit
def _allpasses_backward(read, state, knobs):
    value, g = read[0].to(tl.float64), read[2].to(tl.float64)
    later = state[2 * STAGES]
    of_feedback = state[2 * STAGES + 1] - later * value
    total = read[1].to(tl.float64) - knobs[0] * later
    before, of_before, of_gain = (), (), tl.zeros_like(total)
    for stage in tl.static_range(STAGES):
        new, of_new = state[stage], state[STAGES + stage]
        old = new - 2 * g * (new - value)
        value = old + new - value
        of_gain += 2 * (value - old) * (total + of_new)
        of_before = of_before + (2 * (1 - g) * total + (1 - 2 * g) * of_new,)
        total = (2 * g - 1) * total + 2 * g * of_new
        before = before + (old,)
    return (total, of_gain), before + of_before + (total, of_feedback)


# Moving delay lines: one program for each lane, some samples at once


def _at_once(shortest: Tensor, most: int) -> int:
    """The largest power of two up to `most` and the shortest delay, at least 1."""
    return 1 << (max(1, int(shortest.amin().clamp_max(most))).bit_length() - 1)


def delay_line(audio, delay, feedback, line, wet):
    channels, samples = audio.shape[1:]
    lines, wets = (torch.empty_like(audio, memory_format=torch.contiguous_format) for _ in range(2))
    arrays = (audio.contiguous(), delay.contiguous(), feedback, lines, wets, channels, samples)
    # What enters the line needs what it gave one sample before.
    options = {"ABREAST": _at_once(1 + delay.nan_to_num(), LINE_AT_ONCE), "num_warps": 1, **OPTIONS}
    _delay_line[(len(audio) * channels,)](*arrays, **options)
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
    options = {"ABREAST": _at_once(1 + delay.nan_to_num(), LINE_AT_ONCE), "num_warps": 1, **OPTIONS}
    _delay_line_backward[(items * channels,)](*arrays, *grads, **options)
    grad_audio.copy_(of_audio)
    grad_delay.copy_(of_delay.sum(1))
    grad_feedback.copy_(of_feedback.view(items, channels).sum(1))


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
        tl.store(line + sample, entering, mask=there)
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
        total = tl.load(grad_wet + sample, mask=there, other=0.0) - back * later
        of_feedback -= (later * (newer + share * (older - newer))).to(tl.float64)
        tl.store(grad_delay + sample, total * (older - newer), mask=there)
        at, to_new, to_old = grad_audio + sample - whole, (1 - share) * total, share * total
        tl.atomic_add(at, to_new, mask=there & (sample >= whole), sem="relaxed", scope="cta")
        tl.atomic_add(at - 1, to_old, mask=there & (sample > whole), sem="relaxed", scope="cta")
        tl.debug_barrier()
    tl.store(grad_feedback + lane, tl.sum(of_feedback, 0))


# Combs: echoes and rooms


def _combed(audio: Tensor, feedback: Tensor, damping: Tensor, lag: Tensor) -> Tensor:
    """What circulates in a comb with a lowpass, for (lanes, samples) and knobs (lanes,).

    l[n] = (1 - d) y[n] + d l[n-1], where the comb gives y[n] = x[n - D] + f l[n - D].
    """
    audio, low = audio.contiguous(), torch.empty_like(audio, memory_format=torch.contiguous_format)
    lag = lag.to(audio.device).expand(len(audio)).clamp_max(audio.shape[-1]).int().contiguous()
    arrays = (audio, feedback.contiguous(), damping.contiguous(), lag, low, audio.shape[-1])
    _comb[(len(audio),)](*arrays, ABREAST=_at_once(lag, COMB_AT_ONCE), **OPTIONS)
    return low


@triton.jit
def _then(keep, low, next_keep, next_low):
    return keep * next_keep, low * next_keep + next_low


@triton.jit
def _comb(audio, feedback, damping, lags, lows, samples, ABREAST: tl.constexpr):
    lane = tl.program_id(0).to(tl.int64)
    audio += lane * samples
    lows += lane * samples
    share, keep = tl.load(feedback + lane), tl.load(damping + lane)
    lag, last, place = tl.load(lags + lane), share * 0, tl.arange(0, ABREAST)
    for start in range(0, samples, ABREAST):
        sample = start + place
        there = sample < samples
        returns = there & (sample >= lag)
        x = tl.load(audio + sample - lag, mask=returns, other=0.0)
        y = x + share * tl.load(lows + sample - lag, mask=returns, other=0.0)
        # The lowpass of all these samples, from silence, and what is left of the one before them.
        powers, low = tl.associative_scan((keep + y * 0, (1 - keep) * y), 0, _then)
        low += powers * last
        tl.store(lows + sample, low, mask=there)
        tl.debug_barrier()
        last = tl.sum(tl.where(place == ABREAST - 1, low, 0.0), 0)


def _delayed(signal: Tensor, lag: int) -> Tensor:
    return pad(signal, (lag, 0))[..., : signal.shape[-1]]


def echo(audio, feedback, delay, echoes):
    echoes.copy_(_combed(audio, feedback, torch.zeros_like(feedback), delay))


def echo_backward(feedback, delay, echoes, grad_echoes, grad_audio, grad_feedback, grad_delay):
    # Echoes are linear and do not change: their gradient is the same echoes, backwards in time.
    undamped = torch.zeros_like(feedback)
    grad_audio.copy_(_combed(grad_echoes.flip(-1), feedback, undamped, delay).flip(-1))
    grad_feedback.copy_((grad_audio * echoes).sum(-1, dtype=torch.float64))
    read = grad_echoes + feedback[:, None] * grad_audio
    rise = echoes.diff(prepend=torch.zeros_like(echoes[..., :1]))
    grad_delay.copy_(-(read * rise).sum(-1, dtype=torch.float64))


def room(audio, feedback, damping, combs, allpasses, wet):
    for lags, passes, out in zip(combs, allpasses, wet.unbind(1), strict=True):
        total = torch.zeros_like(audio)
        for lag in lags:
            low = _combed(audio, feedback, damping, lag)
            total += _delayed(audio + feedback[:, None] * low, int(lag))
        out.copy_(_through_allpasses(total, passes))


def _through_allpasses(signal: Tensor, lags: Tensor) -> Tensor:
    share = signal.new_full((len(signal),), ambience.ALLPASS_FEEDBACK)
    for lag in lags:
        signal = _combed(signal, share, torch.zeros_like(share), lag) - signal
    return signal


def room_backward(
    audio, feedback, damping, combs, allpasses, grad_wet, grad_audio, grad_feedback, grad_damping
):
    """As `ambience.room_backward`: the room on the flipped gradient, one comb at a time."""
    dry, share, keep = audio.double(), feedback.double(), damping.double()
    of_audio, of_feedback = torch.zeros_like(dry), torch.zeros_like(share)
    of_damping = torch.zeros_like(share)
    for lags, passes, grad in zip(combs, allpasses, grad_wet.unbind(1), strict=True):
        late = _through_allpasses(grad.double().flip(-1), passes)
        for lag in lags:
            low = _combed(dry, share, keep, lag)
            of_low = _combed(late, share, keep, lag)
            of_kept = _delayed(late + share[:, None] * of_low, int(lag)).flip(-1)
            of_audio += of_kept
            of_feedback += (of_kept * low).sum(-1)
            fall = -low.diff(prepend=torch.zeros_like(low[:, :1]))
            of_damping += (of_low.flip(-1) * fall).sum(-1)
    grad_audio.copy_(of_audio)
    grad_feedback.copy_(of_feedback)
    grad_damping.copy_(of_damping * share / (1 - keep).square())
