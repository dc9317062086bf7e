"""Delay and reverb: linear and time-invariant, with a long memory."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from labkit.effects.effect import Effect
from labkit.effects.kernels import (
    Kernel,
    Recurrence,
    batched,
    for_kernel,
    lanes,
    over_time,
    per_lane,
)
from labkit.effects.parameters import space

# The delay line of pedalboard.
LONGEST_SECONDS = 30

# The room: delays of the left side in samples at 44.1 kHz; the right side's are longer by SPREAD.
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (556, 441, 341, 225)
SPREAD = 23
TUNED_AT = 44_100
# What goes into the room, so that eight resonating combs do not overload.
ROOM_GAIN = 0.015
# Below this rate the shortest delay is less than a sample, which ends pedalboard's process.
LOWEST_RATE = 196
ALLPASS_FEEDBACK = 0.5
# pedalboard adds and subtracts this wherever it stores a sample of a room. That rounds it to a
# multiple of 7.5e-9 in float32: a decaying room ends in silence instead of subnormal numbers.
ROUNDED_BY = 0.1
# The same for what is carried back in time, in float64, where it rounds to multiples of 1e-116.
ROUNDED_BACKWARD_BY = 1e-100
# Samples that go through all combs before they go through the allpasses.
BLOCK = 1024


@Kernel
def echo(first, stop, audio, feedback, delay, echoes):
    """Fill `echoes` with d[n] = x[n - D] + f d[n - D], from rest; D >= 1, cut to whole samples."""
    samples = audio.shape[1]
    for lane in range(first, stop):
        lag, share = int(delay[lane]), feedback[lane]
        echoes[lane, : min(lag, samples)] = 0
        for sample in range(lag, samples):
            echoes[lane, sample] = audio[lane, sample - lag] + share * echoes[lane, sample - lag]


@Kernel
def echo_backward(
    first, stop, feedback, delay, echoes, grad_echoes, grad_audio, grad_feedback, grad_delay
):
    """The gradient of `echo`; of the delay, the slope towards a delay of D + 1."""
    samples = echoes.shape[1]
    for lane in range(first, stop):
        lag, share = int(delay[lane]), feedback[lane]
        of_feedback, of_delay = 0.0, 0.0
        # What is written into the line this late never comes out before the end.
        grad_audio[lane, max(samples - lag, 0) :] = 0
        for sample in range(samples - 1, lag - 1, -1):
            here = echoes[lane, sample]
            returning = grad_audio[lane, sample]
            read = grad_echoes[lane, sample] + share * returning
            grad_audio[lane, sample - lag] = read
            of_feedback += returning * here
            of_delay += read * (echoes[lane, sample - 1] - here)
        grad_feedback[lane] = of_feedback
        grad_delay[lane] = of_delay


ECHO = Recurrence(echo, echo_backward)


@batched
def delay(
    audio: Tensor, sample_rate: int, *, delay_seconds: Tensor, feedback: Tensor, mix: Tensor
) -> Tensor:
    """The sound and its echoes, each `feedback` times the one before. As `pedalboard.Delay`.

    With D the delay in whole samples, the fraction cut off, the wet part is
    d[n] = x[n - D] + feedback d[n - D], the output (1 - mix) x[n] + mix d[n]. A delay of 0 s
    returns the input; one shorter than a sample reads the oldest sample of a line of 30 s.

    The output is a staircase in `delay_seconds` (held to 0..30 and to float32). Its gradient here
    is the slope from the step D to D + 1, which points the right way as long as the error of the
    delay is short against the periods in the sound.

    Source: the feedback comb filter of Schroeder (JAES 10(3), 1962).
    """
    seconds = delay_seconds.clamp(0, LONGEST_SECONDS).float()
    samples = seconds.double() * sample_rate
    # A read before the write of the same sample finds what was written one turn of the line ago.
    one_turn = int(LONGEST_SECONDS * sample_rate) + 1
    samples = torch.where(samples >= 1, samples, one_turn)
    wet = ECHO(lanes(audio), per_lane(feedback, audio), per_lane(samples, audio)).view(audio.shape)
    is_delayed = seconds.detach().ceil().clamp_max(1)  # 0 or 1; NaN shows in the output
    share = over_time(mix * is_delayed)
    return audio * (1 - share) + share * wet


@Kernel
def room(first, stop, audio, feedback, damping, combs, allpasses, wet):
    """Fill `wet` (items, sides, samples) with the echoes of a room, from rest."""
    # Every comb gives y[n] = t[n - D] and keeps t[n] = x[n] + f l[n] with l[n] = (1 - d) y[n] + d
    # l[n-1]. Their sum goes through the allpasses one after the other, each w[n] = v[n - D] - s[n]
    # with v[n] = s[n] + v[n - D] / 2. `audio` x is (items, samples), the same on every side;
    # `feedback` f and `damping` d, below 1, are (items,); `combs` and `allpasses` (sides, n) are
    # the delays D in samples.
    sides, n_combs = combs.shape
    n_allpasses = allpasses.shape[1]
    lows = np.empty((BLOCK + 1, n_combs), audio.dtype)
    lines = np.empty((n_combs, combs.max()), audio.dtype)
    passes = np.empty((n_allpasses, allpasses.max()), audio.dtype)
    for item in range(first, stop):
        for side in range(sides):
            lows[-1], lines[:], passes[:] = 0, 0, 0
            at, at_pass = np.zeros(n_combs, np.int64), np.zeros(n_allpasses, np.int64)
            for start in range(0, audio.shape[1], BLOCK):
                x, out = audio[item, start : start + BLOCK], wet[item, side, start : start + BLOCK]
                lows[0] = lows[-1]
                share, keep = feedback[item], damping[item]
                through_combs(x, share, keep, combs[side], lines, at, lows, out, ROUNDED_BY)
                through_allpasses(out, allpasses[side], passes, at_pass, ROUNDED_BY)


@Kernel
def room_backward(
    first,
    stop,
    audio,
    feedback,
    damping,
    combs,
    allpasses,
    grad_wet,
    grad_audio,
    grad_feedback,
    grad_damping,
):
    """The gradient of `room`, in float64.

    A room is linear and does not change, so this is the room itself, backwards in time.
    """
    sides, n_combs = combs.shape
    samples = audio.shape[1]
    lows, of_lows = np.empty((samples + 1, n_combs)), np.empty((samples + 1, n_combs))
    lines, passes = np.empty((n_combs, combs.max())), np.empty((len(ALLPASSES), allpasses.max()))
    out = np.empty(samples)
    for item in range(first, stop):
        grad_audio[item], of_feedback, of_damping = 0, 0.0, 0.0
        share, keep, x = float(feedback[item]), float(damping[item]), audio[item].astype(np.float64)
        for side in range(sides):
            lows[0], lines[:], at = 0, 0, np.zeros(n_combs, np.int64)
            through_combs(x, share, keep, combs[side], lines, at, lows, out, ROUNDED_BY)
            of_lows[0], lines[:], at[:], passes[:] = 0, 0, 0, 0
            of_wet = grad_wet[item, side, ::-1].astype(np.float64)
            at_pass = np.zeros(len(ALLPASSES), np.int64)
            through_allpasses(of_wet, allpasses[side], passes, at_pass, ROUNDED_BACKWARD_BY)
            small = ROUNDED_BACKWARD_BY
            through_combs(of_wet, share, keep, combs[side], lines, at, of_lows, out, small)
            grad_audio[item] += out[::-1]
            for sample in range(samples):
                back = samples - 1 - sample
                for comb in range(n_combs):
                    # What the comb kept, t[n], is found from l as y[n] is, which makes the
                    # gradient of d l[n-1] - y[n] = (l[n-1] - l[n]) / (1 - d).
                    low, of_low = lows[sample + 1, comb], of_lows[back + 1, comb]
                    of_feedback += (of_low - keep * of_lows[back, comb]) * low
                    of_damping += of_low * (lows[sample, comb] - low)
        grad_feedback[item] = of_feedback / (1.0 - keep)
        grad_damping[item] = of_damping * share / (1.0 - keep) ** 2


@Kernel
def through_combs(x, share, keep, sizes, lines, at, lows, out, rounded_by):
    """Fill `out` with the sum of the combs, and `lows` (1 + samples, combs) from row 1 with l."""
    real = x.dtype.type
    rounded, leave = real(rounded_by), real(1) - keep
    for sample in range(len(x)):
        total = real(0)
        for comb in range(len(sizes)):
            here = at[comb]
            y = lines[comb, here]
            low = (y * leave + lows[sample, comb] * keep + rounded) - rounded
            lines[comb, here] = (x[sample] + low * share + rounded) - rounded
            lows[sample + 1, comb] = low
            at[comb] = here + 1 if here + 1 < sizes[comb] else 0
            total += y
        out[sample] = total


@Kernel
def through_allpasses(out, sizes, lines, at, rounded_by):
    """Send `out` through all allpasses, one after the other, in place."""
    real = out.dtype.type
    rounded, half = real(rounded_by), real(ALLPASS_FEEDBACK)
    for sample in range(len(out)):
        value = out[sample]
        for number in range(len(sizes)):
            here = at[number]
            stored = lines[number, here]
            lines[number, here] = (value + stored * half + rounded) - rounded
            at[number] = here + 1 if here + 1 < sizes[number] else 0
            value = stored - value
        out[sample] = value


ROOM = Recurrence(
    room,
    room_backward,
    lambda audio, _feedback, _damping, combs, _allpasses: (
        for_kernel(audio.new_empty(len(audio), len(combs), audio.shape[-1])),
    ),
)


@batched
def reverb(
    audio: Tensor, sample_rate: int, *, room_size: Tensor, damping: Tensor, mix: Tensor
) -> Tensor:
    """The sound in a room: `1 - mix` of it dry, `mix` of it as echoes that get dense and die away.

    As ``pedalboard.Reverb(room_size, damping, wet_level=mix / 2, dry_level=(1 - mix) / 2,
    width=1)``. The channels, summed, go into one room per side: eight combs in parallel, each with
    a one-pole lowpass in its loop, then four allpasses in series. A mono sound has the left side
    alone. With r = room_size and d = damping, a comb returns 0.7 + 0.28 r of its lowpassed echo,
    whose lowpass keeps 0.4 d of its last output; the room's output counts 1.5 mix. Raises
    ValueError for more than 2 channels, or a rate below 196 Hz.

    Source: Schroeder (JAES 10(3), 1962), with the combs of Moorer (Computer Music Journal 3(2),
    1979) and the tuning of Freeverb (Smith, "Physical audio signal processing", 2010).
    """
    if audio.shape[1] not in (1, 2):
        raise ValueError(f"audio must have 1 or 2 channels for a reverb, got {audio.shape[1]}")
    if sample_rate < LOWEST_RATE:
        raise ValueError(
            f"sample_rate must be at least {LOWEST_RATE} Hz for a reverb, got {sample_rate} Hz"
        )
    # Of combs (sides, 8) and allpasses (sides, 4) in samples; the left side first.
    spread = SPREAD * torch.arange(audio.shape[1])[:, None]
    combs, allpasses = (
        int(sample_rate) * (torch.tensor(line) + spread) // TUNED_AT for line in (COMBS, ALLPASSES)
    )
    share = over_time(mix)
    dry = audio.sum(1) * ROOM_GAIN
    wet = ROOM(dry, room_size * 0.28 + 0.7, damping * 0.4, combs, allpasses)
    # In the order of pedalboard, whose levels are halves of these.
    return wet * (0.5 * share * 3) + audio * (1 - share)


DELAY = Effect(
    name="delay",
    space=space(delay_seconds=(0.12, 0.6, "log"), feedback=(0.1, 0.6), mix=(0.2, 0.5)),
    plugin="Delay",
    differentiable=delay,
    linear=True,
)


def _reverb_arguments(params: Mapping[str, float]) -> dict[str, float]:
    # pedalboard's reverb multiplies dry_level by 2 and wet_level by 3: halving both keeps mix = 0
    # neutral.
    knobs, mix = dict(params), params["mix"]
    del knobs["mix"]
    return {**knobs, "wet_level": 0.5 * mix, "dry_level": 0.5 * (1 - mix), "width": 1.0}


REVERB = Effect(
    name="reverb",
    space=space(room_size=(0.2, 0.95), damping=(0.1, 0.9), mix=(0.15, 0.6)),
    plugin="Reverb",
    differentiable=reverb,
    linear=True,
    arguments=_reverb_arguments,
)
