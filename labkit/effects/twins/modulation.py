"""Torch twins of the pedals whose filter moves: chorus and phaser."""

from math import ceil, pi

import torch
from torch import Tensor

from labkit.effects.twins.common import (
    at_least_float32,
    check_audio,
    over_time,
    per_item,
    run_kernel,
    walkable,
)
from labkit.effects.twins.kernels.constants import STAGES, UPDATE_EVERY

# The chorus: how far its delay swings at depth 1, the shortest centre, the longest centre.
SWING_MS = 10.0
SHORTEST_MS = 1.0
LONGEST_MS = 100.0
# The phaser: its frequencies lie between these, whatever the rate, and below this share of the rate.
LOWEST_HZ = 20.0
HIGHEST_HZ = 20_000.0
HIGHEST_SHARE = 0.49


class _Phase(torch.autograd.Function):
    """Increments (batch,) in rad -> phases (batch, steps): added up as the original does; the gradient is the ideal's.

    The ideal phase is the increment times the number of steps; rounding and wrapping have no slope.
    """

    @staticmethod
    def forward(_ctx, increment: Tensor, steps: int) -> Tensor:
        phase = increment.new_empty(len(increment), steps)
        run_kernel("modulation.accumulate", (increment.contiguous(),), (phase,))
        return phase

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_ctx, grad_phase: Tensor) -> tuple[Tensor, None]:
        # In float64: late samples weigh most and cancel over every turn.
        steps = torch.arange(grad_phase.shape[-1], dtype=torch.float64, device=grad_phase.device)
        return (grad_phase.double() @ steps).to(grad_phase.dtype), None


class _DelayLine(torch.autograd.Function):
    """(batch, channels, samples), delays (batch, samples), feedback (batch,) -> (batch, channels, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, delay: Tensor, feedback: Tensor) -> Tensor:
        inputs = (walkable(audio), delay.contiguous(), feedback.contiguous())
        line, wet = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
        run_kernel("modulation.delay_line", inputs, (line, wet))
        ctx.save_for_backward(*inputs[1:], line)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_wet: Tensor) -> tuple[Tensor, ...]:
        delay, feedback, line = ctx.saved_tensors
        grads = tuple(torch.empty_like(x) for x in (line, delay, feedback))
        run_kernel(
            "modulation.delay_line_backward", (*ctx.saved_tensors, walkable(grad_wet)), grads
        )
        return grads


class _Allpasses(torch.autograd.Function):
    """(batch, channels, samples), gains (batch, updates), feedback (batch,) -> (batch, channels, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, gain: Tensor, feedback: Tensor) -> Tensor:
        inputs = (walkable(audio), walkable(gain), feedback.contiguous())
        wet, states = torch.empty_like(inputs[0]), inputs[0].new_empty(*audio.shape[:2], STAGES)
        run_kernel("modulation.allpasses", inputs, (wet, states))
        ctx.save_for_backward(*inputs[1:], wet, states)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_wet: Tensor) -> tuple[Tensor, ...]:
        gain, feedback, wet, _ = ctx.saved_tensors
        grads = tuple(torch.empty_like(x) for x in (wet, gain, feedback))
        run_kernel("modulation.allpasses_backward", (*ctx.saved_tensors, walkable(grad_wet)), grads)
        return grads


def chorus(
    audio: Tensor,
    sample_rate: int,
    *,
    rate_hz: Tensor | float,
    depth: Tensor | float,
    centre_delay_ms: Tensor | float,
    feedback: Tensor | float,
    mix: Tensor | float,
) -> Tensor:
    """The sound beside a copy of itself whose delay swings: several players who are never quite together.

    The twin of `pedalboard.Chorus`: the copy comes out of a delay line between whose samples a straight line is drawn;
    into the line goes the input less the copy's last sample times `feedback`. The delay is the centre plus a sine of
    10 ms times `depth`, never below 1 ms; it is the same for both channels and starts at the centre, getting shorter.
    The original smooths changes of depth, feedback, mix and rate while it plays; from rest nothing is smoothed, and
    nothing depends on its block size. Its phase is a float32 sum, whose roundings detune the rate (by up to 0.3 % in
    the space); float16 and float32 audio get the same sum, float64 audio a float64 one. The gradient is that of an
    exact phase.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        rate_hz: number or (batch,), Hz, 0 to 100.
        depth: number or (batch,), 0 to 1.
        centre_delay_ms: number or (batch,), ms, held between 1 and 100.
        feedback: number or (batch,), -1 to 1.
        mix: number or (batch,), share of the copy in the output, held between 0 and 1; the input has the rest.

    Returns:
        Like `audio`; differentiable in audio and all knobs (0 where a knob is held).

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Dattorro, "Effect design, part 2: delay-line modulation and chorus" (JAES 45(10), 1997), with linear
        interpolation and negative feedback, as JUCE implements it.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    sine = _sine(per_item(rate_hz, dry, "rate_hz"), sample_rate, dry.shape[-1])
    delay = _delay(
        sine * (per_item(depth, dry, "depth") / 2)[:, None],
        per_item(centre_delay_ms, dry, "centre_delay_ms"),
        sample_rate,
    )
    wet = _DelayLine.apply(dry, delay, per_item(feedback, dry, "feedback"))
    return _mixed(dry, wet, per_item(mix, dry, "mix")).to(audio.dtype)


def phaser(
    audio: Tensor,
    sample_rate: int,
    *,
    rate_hz: Tensor | float,
    depth: Tensor | float,
    centre_frequency_hz: Tensor | float,
    feedback: Tensor | float,
    mix: Tensor | float,
) -> Tensor:
    """The sound beside a copy whose phase is turned, most at a frequency that swings: three notches that sweep.

    The twin of `pedalboard.Phaser`: six first-order allpasses of one frequency in series; into the first goes the
    input less the last one's last sample times `feedback`. The frequency follows a sine of `depth` / 2 around the
    centre on a logarithmic scale on which 20 Hz is 0 and 20 kHz is 1, held at both ends; it is the same for both
    channels, starts at the centre, going down, and is set anew every 4th sample. Below a rate of 40.8 kHz the scale
    ends at 49 % of the rate but the centre is still placed as if it ended at 20 kHz, because the original learns its
    rate too late. It smooths changes of depth, feedback, mix and rate while it plays; from rest nothing is smoothed,
    and nothing depends on its block size as long as that is a multiple of 4. Its phase is a float32 sum, whose
    roundings detune the rate (by up to 0.07 % in the space); float16 and float32 audio get the same sum, float64 audio
    a float64 one. The gradient is that of an exact phase.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        rate_hz: number or (batch,), Hz, 0 to 100.
        depth: number or (batch,), 0 to 1.
        centre_frequency_hz: number or (batch,), Hz, above 0.
        feedback: number or (batch,), -1 to 1.
        mix: number or (batch,), share of the copy in the output, held between 0 and 1; the input has the rest.

    Returns:
        Like `audio`; differentiable in audio and all knobs (0 where a knob or the frequency is held).

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: the first-order allpass of Zavalishin, "The art of VA filter design" (rev. 2.1.2, 2018), chapter 3,
        six in series with negative feedback, as JUCE implements it.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    updates = ceil(dry.shape[-1] / UPDATE_EVERY)
    sine = _sine(per_item(rate_hz, dry, "rate_hz"), sample_rate / UPDATE_EVERY, updates)
    frequency_hz = _frequency(
        sine * (per_item(depth, dry, "depth") / 2)[:, None],
        per_item(centre_frequency_hz, dry, "centre_frequency_hz"),
        sample_rate,
    )
    wet = _Allpasses.apply(
        dry, _gain(frequency_hz, sample_rate), per_item(feedback, dry, "feedback")
    )
    return _mixed(dry, wet, per_item(mix, dry, "mix")).to(audio.dtype)


def _sine(rate_hz: Tensor, sample_rate: float, steps: int) -> Tensor:
    """(batch,) -> (batch, steps): minus the sine, from 0, with every rounding of the original."""
    whole_turn = torch.tensor(2 * pi, dtype=rate_hz.dtype) / torch.tensor(
        sample_rate, dtype=rate_hz.dtype
    )
    return (_Phase.apply(rate_hz * whole_turn.item(), steps) - pi).sin()


def _delay(swing: Tensor, centre_ms: Tensor, sample_rate: int) -> Tensor:
    """Swing (batch, samples) in -0.5..0.5 and centre (batch,) -> delay in samples."""
    held_ms = centre_ms.clamp(SHORTEST_MS, LONGEST_MS)
    delay_ms = (swing * (2 * SWING_MS) + held_ms[:, None]).clamp_min(SHORTEST_MS)
    # Rounded once, from float64: a delay of thousands of samples has no digit to lose.
    samples = delay_ms.double() * sample_rate / 1000
    return samples.to(swing.dtype).clamp_max(ceil((SWING_MS + LONGEST_MS) * sample_rate / 1000))


def _frequency(swing: Tensor, centre_hz: Tensor, sample_rate: int) -> Tensor:
    """Swing (batch, updates) in -0.5..0.5 and centre (batch,) -> Hz."""
    ends_hz = torch.tensor(
        [LOWEST_HZ, HIGHEST_HZ, min(HIGHEST_HZ, HIGHEST_SHARE * sample_rate)], dtype=swing.dtype
    )
    low, high, high_here = ends_hz.log10()
    centre = (centre_hz.log10() - low.item()) / (high - low).item()
    place = (swing + centre[:, None]).clamp(0.0, 1.0)
    return 10 ** (place * (high_here - low).item() + low.item())


def _gain(frequency_hz: Tensor, sample_rate: int) -> Tensor:
    """Of the integrators' loops, 0 to 1: g / (1 + g) with g the prewarped frequency."""
    warped = (pi * frequency_hz.double() / sample_rate).tan().to(frequency_hz.dtype)
    return warped / (1 + warped)


def _mixed(dry: Tensor, wet: Tensor, mix: Tensor) -> Tensor:
    share = over_time(mix.clamp(0.0, 1.0))
    return wet * share + dry * (1 - share)
