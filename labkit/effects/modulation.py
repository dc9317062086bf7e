"""Linear effects that move: chorus, flanger, vibrato, phaser and tremolo.

pedalboard, which has all but the tremolo, adds up the phase of an oscillator in float32, whose
roundings detune the rate by up to 0.3 %. float32 audio gets the same sum here, float64 audio a
float64 one; gradients are those of an exact phase.
"""

from dataclasses import replace
from math import ceil, pi

import numpy as np
import torch
from torch import Tensor

from labkit.effects.effect import Effect
from labkit.effects.kernels import Kernel, Recurrence, batched, over_time
from labkit.effects.parameters import space

# What circulates below this (-600 dB) is taken for silence.
SILENT = 1e-30
# The phaser: its allpasses, and the samples for which they keep their coefficient.
STAGES = 6
UPDATE_EVERY = 4
# The chorus: how far its delay swings at depth 1, the shortest centre, the longest centre.
SWING_MS = 10.0
SHORTEST_MS = 1.0
LONGEST_MS = 100.0
# The phaser: its frequencies lie between these, and below this share of the rate.
LOWEST_HZ = 20.0
HIGHEST_HZ = 20_000.0
HIGHEST_SHARE = 0.49
# The knobs of a chorus that plays a vibrato.
ALL_WET = {"centre_delay_ms": 7.0, "feedback": 0.0, "mix": 1.0}


@Kernel
def accumulate(first, stop, increment, phase):
    """Fill `phase` (items, steps) with the sums of the increment, wrapped at two pi."""
    turn = phase.dtype.type(2 * np.pi)
    for item in range(first, stop):
        step, here = increment[item], phase.dtype.type(0)
        for index in range(phase.shape[1]):
            phase[item, index] = here
            here += step
            if here >= turn:
                here -= turn


@Kernel
def delay_line(first, stop, audio, delay, feedback, line, wet):
    """Fill `wet` with what a line gives at a moving delay, and `line` with what went into it."""
    # Into the line goes the audio (items, channels, samples) less the last output times the
    # feedback (items,). The delay (items, samples), at least 0 samples, interpolates linearly.
    real = audio.dtype.type
    silent = real(SILENT)
    for item in range(first, stop):
        back = feedback[item]
        for channel in range(audio.shape[1]):
            dry, past, out = audio[item, channel], line[item, channel], wet[item, channel]
            returned = real(0)
            for sample in range(audio.shape[2]):
                entering = dry[sample] - returned
                past[sample] = real(0) if abs(entering) < silent else entering
                # A delay of NaN makes the output NaN, and reads nothing outside the line.
                whole = int(delay[item, sample]) if delay[item, sample] >= 0 else 0
                share = delay[item, sample] - real(whole)
                newer = past[sample - whole] if sample >= whole else real(0)
                older = past[sample - whole - 1] if sample > whole else real(0)
                out[sample] = newer + share * (older - newer)
                returned = out[sample] * back


@Kernel
def delay_line_backward(
    first, stop, delay, feedback, line, grad_wet, grad_audio, grad_delay, grad_feedback
):
    """The gradient of `delay_line`; at a delay of whole samples, that towards longer delays."""
    real = line.dtype.type
    silent = real(SILENT)
    for item in range(first, stop):
        back, of_feedback = feedback[item], 0.0
        grad_delay[item] = 0
        for channel in range(line.shape[1]):
            past, of_wet = line[item, channel], grad_wet[item, channel]
            of_line = grad_audio[item, channel]
            of_line[:] = 0
            later = real(0)  # of the sample that enters the line next
            for sample in range(line.shape[2] - 1, -1, -1):
                whole = int(delay[item, sample]) if delay[item, sample] >= 0 else 0
                share = delay[item, sample] - real(whole)
                newer = past[sample - whole] if sample >= whole else real(0)
                older = past[sample - whole - 1] if sample > whole else real(0)
                total = of_wet[sample] - back * later
                of_feedback -= later * (newer + share * (older - newer))
                grad_delay[item, sample] += total * (older - newer)
                if sample >= whole:
                    of_line[sample - whole] += (real(1) - share) * total
                if sample > whole:
                    of_line[sample - whole - 1] += share * total
                later = real(0) if abs(of_line[sample]) < silent else of_line[sample]
        grad_feedback[item] = of_feedback


@Kernel
def allpasses(first, stop, audio, gain, feedback, wet, states):
    """Fill `wet` with the output of six allpasses in series, and `states` with their last ones."""
    # Into the first goes the audio (items, channels, samples) less the last output times the
    # feedback (items,). Each is a trapezoidal integrator with state s inside its loop: for input u,
    # v = G (u - s), the lowpass is v + s, the allpass twice that less u, and s becomes s + 2 v.
    # `gain` (items, updates) is the G of all six, 0 to 1, each for `UPDATE_EVERY` samples.
    real = audio.dtype.type
    silent, two = real(SILENT), real(2)
    samples = audio.shape[2]
    for item in range(first, stop):
        back, state, returned = feedback[item], states[item], np.zeros(audio.shape[1], audio.dtype)
        state[:] = 0
        for update in range(gain.shape[1]):
            g = gain[item, update]
            start, end = update * UPDATE_EVERY, min((update + 1) * UPDATE_EVERY, samples)
            # Channels inside: the processor works on a few at a time, as none waits for another.
            for channel in range(audio.shape[1]):
                for stage in range(STAGES):
                    if abs(state[channel, stage]) < silent:
                        state[channel, stage] = 0
                for sample in range(start, end):
                    value = audio[item, channel, sample] - returned[channel]
                    for stage in range(STAGES):
                        half = g * (value - state[channel, stage])
                        low = half + state[channel, stage]
                        state[channel, stage] = low + half
                        value = two * low - value
                    wet[item, channel, sample] = value
                    returned[channel] = value * back


@Kernel
def allpasses_backward(
    first, stop, gain, feedback, wet, states, grad_wet, grad_audio, grad_gain, grad_feedback
):
    """The gradient of `allpasses`, in float64."""
    # Six states per sample need not be kept, because an allpass can be run backwards. With output o
    # and new state t its state was t - 2 G (t - o), a recursion as stable as the one forwards
    # (|1 - 2 G| < 1), and its input state + t - o.
    channels, samples = wet.shape[1:]
    for item in range(first, stop):
        back, of_feedback = feedback[item], 0.0
        state, of_state = states[item].astype(np.float64), np.zeros((channels, STAGES))
        later = np.zeros(channels)  # of the samples that enter the first allpass next
        for update in range(gain.shape[1] - 1, -1, -1):
            g, of_gain = np.float64(gain[item, update]), 0.0
            start, end = update * UPDATE_EVERY, min((update + 1) * UPDATE_EVERY, samples)
            for channel in range(channels):
                for sample in range(end - 1, start - 1, -1):
                    value = np.float64(wet[item, channel, sample])
                    total = grad_wet[item, channel, sample] - back * later[channel]
                    of_feedback -= later[channel] * value
                    for stage in range(STAGES - 1, -1, -1):
                        new, of_new = state[channel, stage], of_state[channel, stage]
                        old = new - 2 * g * (new - value)
                        value = old + new - value
                        of_gain += 2 * (value - old) * (total + of_new)
                        of_state[channel, stage] = 2 * (1 - g) * total + (1 - 2 * g) * of_new
                        total = (2 * g - 1) * total + 2 * g * of_new
                        state[channel, stage] = old
                    grad_audio[item, channel, sample] = total
                    later[channel] = total
            grad_gain[item, update] = of_gain
        grad_feedback[item] = of_feedback


DELAY_LINE = Recurrence(
    delay_line,
    delay_line_backward,
    lambda audio, *_: (torch.empty_like(audio), torch.empty_like(audio)),
)
ALLPASSES = Recurrence(
    allpasses,
    allpasses_backward,
    lambda audio, *_: (torch.empty_like(audio), audio.new_empty(*audio.shape[:2], STAGES)),
)


class _Phase(torch.autograd.Function):
    """Increments (batch,) in rad -> phases (batch, steps); its gradient is the ideal phase's."""

    @staticmethod
    def forward(_ctx, increment: Tensor, steps: int) -> Tensor:
        phase = increment.new_empty(len(increment), steps)
        accumulate((increment.contiguous(),), (phase,))
        return phase

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_ctx, grad_phase: Tensor) -> tuple[Tensor, None]:
        # In float64: late samples weigh most and cancel over every turn.
        steps = torch.arange(grad_phase.shape[-1], dtype=torch.float64, device=grad_phase.device)
        return (grad_phase.double() @ steps).to(grad_phase.dtype), None


@batched
def chorus(
    audio: Tensor,
    sample_rate: int,
    *,
    rate_hz: Tensor,
    depth: Tensor,
    centre_delay_ms: Tensor,
    feedback: Tensor,
    mix: Tensor,
) -> Tensor:
    """The sound beside a copy of itself whose delay swings. As `pedalboard.Chorus`.

    The delay is the centre (held between 1 and 100 ms) plus a sine of 10 ms times `depth`, never
    below 1 ms. It is the same for both channels, starts at the centre and gets shorter.

    Source: Dattorro, "Effect design, part 2" (JAES 45(10), 1997), with linear interpolation and
    negative feedback, as JUCE has it.
    """
    swing = _sine(rate_hz, sample_rate, audio.shape[-1]) * (depth / 2)[:, None]
    held_ms = centre_delay_ms.clamp(SHORTEST_MS, LONGEST_MS)
    delay_ms = (swing * (2 * SWING_MS) + held_ms[:, None]).clamp_min(SHORTEST_MS)
    # Rounded once, from float64: a delay of thousands of samples has no digit to lose.
    delay = (delay_ms.double() * sample_rate / 1000).to(swing.dtype)
    delay = delay.clamp_max(ceil((SWING_MS + LONGEST_MS) * sample_rate / 1000))
    return _mixed(audio, DELAY_LINE(audio, delay, feedback), mix)


@batched
def phaser(
    audio: Tensor,
    sample_rate: int,
    *,
    rate_hz: Tensor,
    depth: Tensor,
    centre_frequency_hz: Tensor,
    feedback: Tensor,
    mix: Tensor,
) -> Tensor:
    """The sound beside a copy whose phase is turned: three notches that sweep.

    As `pedalboard.Phaser`: six first-order allpasses of one frequency in series. The frequency
    follows a sine of `depth` / 2 around the centre on a logarithmic scale on which 20 Hz is 0 and
    20 kHz is 1, held at both ends; it is the same for both channels, starts at the centre, going
    down, and is set anew every 4th sample. Below a rate of 40.8 kHz the scale ends at 49 % of the
    rate, but the centre is still placed as if it ended at 20 kHz, because pedalboard learns its
    rate too late.

    Source: the allpass of Zavalishin, "The art of VA filter design" (rev. 2.1.2, 2018), chapter 3,
    as JUCE has it.
    """
    updates = ceil(audio.shape[-1] / UPDATE_EVERY)
    swing = _sine(rate_hz, sample_rate / UPDATE_EVERY, updates) * (depth / 2)[:, None]
    ends_hz = (LOWEST_HZ, HIGHEST_HZ, min(HIGHEST_HZ, HIGHEST_SHARE * sample_rate))
    low, high, high_here = torch.tensor(ends_hz, dtype=swing.dtype).log10()
    centre = (centre_frequency_hz.log10() - low.item()) / (high - low).item()
    place = (swing + centre[:, None]).clamp(0.0, 1.0)
    frequency_hz = 10 ** (place * (high_here - low).item() + low.item())
    warped = (pi * frequency_hz.double() / sample_rate).tan().to(frequency_hz.dtype)
    return _mixed(audio, ALLPASSES(audio, warped / (1 + warped), feedback), mix)


@batched
def vibrato(audio: Tensor, sample_rate: int, *, rate_hz: Tensor, depth: Tensor) -> Tensor:
    """The sound at a delay that swings around 7 ms, so that its pitch does. As `chorus`, all wet.

    The pitch rises by a factor of up to 1 + 2 pi `rate_hz` 0.01 s `depth`, and falls by 1 less that
    much. Above a depth of .6 the delay is held at 1 ms.
    """
    return chorus(audio, sample_rate, rate_hz=rate_hz, depth=depth, **ALL_WET)


@batched
def tremolo(audio: Tensor, sample_rate: int, *, rate_hz: Tensor, depth: Tensor) -> Tensor:
    """The volume goes down to 1 - `depth` and up to 1 again, as a raised cosine that begins at 1.

    Source: Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 3.3.
    """
    swing = (1 - _phase(rate_hz, sample_rate, audio.shape[-1]).cos()) / 2
    return audio * (1 - depth[:, None] * swing)[:, None]


def _sine(rate_hz: Tensor, sample_rate: float, steps: int) -> Tensor:
    """(batch,) -> (batch, steps): minus the sine, from 0, with every rounding of pedalboard."""
    return (_phase(rate_hz, sample_rate, steps) - pi).sin()


def _phase(rate_hz: Tensor, sample_rate: float, steps: int) -> Tensor:
    turn, rate = (torch.tensor(value, dtype=rate_hz.dtype) for value in (2 * pi, sample_rate))
    return _Phase.apply(rate_hz * (turn / rate).item(), steps)


def _mixed(dry: Tensor, wet: Tensor, mix: Tensor) -> Tensor:
    share = over_time(mix.clamp(0.0, 1.0))
    return wet * share + dry * (1 - share)


CHORUS = Effect(
    name="chorus",
    space=space(
        rate_hz=(0.3, 4.0, "log"),
        depth=(0.05, 0.4),
        centre_delay_ms=(5.0, 25.0),
        feedback=(0.0, 0.4),
        mix=(0.3, 0.6),
    ),
    plugin="Chorus",
    differentiable=chorus,
    linear=True,
    time_invariant=False,
    memory_ms=250.0,
)

# Of a flanger the delay is short, 1 to 11 ms, and feeds back: a comb filter that sweeps.
FLANGER = replace(
    CHORUS,
    name="flanger",
    space=space(
        rate_hz=(0.1, 1.5, "log"),
        depth=(0.1, 0.3),
        centre_delay_ms=(4.0, 8.0),
        feedback=(0.5, 0.85),
        mix=(0.4, 0.6),
    ),
    memory_ms=400.0,
)

# A vibrato only moves time: what bends the wave or follows its level does so a little later.
VIBRATO = Effect(
    name="vibrato",
    space=space(rate_hz=(3.0, 8.0, "log"), depth=(0.04, 0.15)),
    plugin="Chorus",
    differentiable=vibrato,
    linear=True,
    time_invariant=False,
    memory_ms=10.0,
    swaps_with=("compressor", "distortion", "clipping", "limiter", "noise_gate"),
    arguments=lambda params: {**params, **ALL_WET},
)

# A tremolo hardly moves within the short delay of a phaser.
TREMOLO = Effect(
    name="tremolo",
    space=space(rate_hz=(2.0, 10.0, "log"), depth=(0.3, 1.0)),
    plugin="",
    differentiable=tremolo,
    linear=True,
    time_invariant=False,
    memory_ms=0.0,
    swaps_with=("phaser",),
)

PHASER = Effect(
    name="phaser",
    space=space(
        rate_hz=(0.2, 4.0, "log"),
        depth=(0.3, 1.0),
        centre_frequency_hz=(300.0, 2000.0, "log"),
        feedback=(0.0, 0.6),
        mix=(0.35, 0.65),
    ),
    plugin="Phaser",
    differentiable=phaser,
    linear=True,
    time_invariant=False,
    memory_ms=150.0,
)
