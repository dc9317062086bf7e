"""Torch twins of the short linear filters: highpass, lowpass and the three EQ bands."""

from collections.abc import Callable
from importlib.util import find_spec
from math import pi

import torch
from torch import Tensor

from labkit.effects.twins.common import (
    at_least_float32,
    check_audio,
    lanes,
    per_item,
    run_kernel,
    walkable,
)
from labkit.effects.twins.drive import SILENT_DB

# The original keeps the frequency of an EQ band from here to this far below half the rate.
LOWEST_HZ = 2.0
BELOW_NYQUIST_HZ = 100.0
# -300 dB: where it stops a gain.
LEAST_AMPLITUDE = 1e-15

# Knobs (batch,) and the rate -> b0, b1, b2, a0, a1, a2, each (batch,).
Design = Callable[..., tuple[Tensor, ...]]


def highpass(audio: Tensor, sample_rate: int, *, cutoff_frequency_hz: Tensor | float) -> Tensor:
    """Lows turned down by 6 dB per octave below the cutoff.

    The twin of `pedalboard.HighpassFilter` (see `biquad` for its rounding).

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_frequency_hz: number or (batch,), Hz, where the filter lets -3 dB through; between 0 and half the rate.

    Returns:
        Like `audio`; differentiable in audio and knob.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: s / (s + 1) through the bilinear transform with prewarping; Zölzer (ed.), "DAFX: Digital Audio Effects"
        (2nd ed., 2011), section 2.2, as JUCE implements it.
    """
    return _filtered(audio, sample_rate, _design_highpass, cutoff_frequency_hz=cutoff_frequency_hz)


def lowpass(audio: Tensor, sample_rate: int, *, cutoff_frequency_hz: Tensor | float) -> Tensor:
    """Highs turned down by 6 dB per octave above the cutoff.

    The twin of `pedalboard.LowpassFilter` (see `biquad` for its rounding).

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_frequency_hz: number or (batch,), Hz, where the filter lets -3 dB through; between 0 and half the rate.

    Returns:
        Like `audio`; differentiable in audio and knob.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: 1 / (s + 1) through the bilinear transform with prewarping; Zölzer (ed.), "DAFX: Digital Audio Effects"
        (2nd ed., 2011), section 2.2, as JUCE implements it.
    """
    return _filtered(audio, sample_rate, _design_lowpass, cutoff_frequency_hz=cutoff_frequency_hz)


def low_shelf(
    audio: Tensor,
    sample_rate: int,
    *,
    cutoff_frequency_hz: Tensor | float,
    gain_db: Tensor | float,
    q: Tensor | float,
) -> Tensor:
    """Everything below a frequency louder or softer.

    The twin of `pedalboard.LowShelfFilter` (see `biquad` for its rounding).

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_frequency_hz: number or (batch,), Hz, where half the decibels are reached; held between 2 Hz and 100 Hz
            below half the rate, with no gradient beyond.
        gain_db: number or (batch,), dB.
        q: number or (batch,), above 0; above 0.71 the curve overshoots.

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", lowShelf, as JUCE implements
        it.
    """
    knobs = {"cutoff_frequency_hz": cutoff_frequency_hz, "gain_db": gain_db, "q": q}
    return _filtered(audio, sample_rate, _design_low_shelf, **knobs)


def peak(
    audio: Tensor,
    sample_rate: int,
    *,
    cutoff_frequency_hz: Tensor | float,
    gain_db: Tensor | float,
    q: Tensor | float,
) -> Tensor:
    """A band around a frequency louder or softer.

    The twin of `pedalboard.PeakFilter` (see `biquad` for its rounding).

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_frequency_hz: number or (batch,), Hz, the band's centre; held between 2 Hz and 100 Hz below half the
            rate, with no gradient beyond.
        gain_db: number or (batch,), dB at the centre.
        q: number or (batch,), above 0: the centre divided by the width.

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", peakingEQ, as JUCE implements
        it.
    """
    knobs = {"cutoff_frequency_hz": cutoff_frequency_hz, "gain_db": gain_db, "q": q}
    return _filtered(audio, sample_rate, _design_peak, **knobs)


def high_shelf(
    audio: Tensor,
    sample_rate: int,
    *,
    cutoff_frequency_hz: Tensor | float,
    gain_db: Tensor | float,
    q: Tensor | float,
) -> Tensor:
    """Everything above a frequency louder or softer.

    The twin of `pedalboard.HighShelfFilter` (see `biquad` for its rounding).

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_frequency_hz: number or (batch,), Hz, where half the decibels are reached; held between 2 Hz and 100 Hz
            below half the rate, with no gradient beyond.
        gain_db: number or (batch,), dB.
        q: number or (batch,), above 0; above 0.71 the curve overshoots.

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", highShelf, as JUCE implements
        it.
    """
    knobs = {"cutoff_frequency_hz": cutoff_frequency_hz, "gain_db": gain_db, "q": q}
    return _filtered(audio, sample_rate, _design_high_shelf, **knobs)


def biquad(audio: Tensor, coefficients: Tensor) -> Tensor:
    """One biquad per item, in the arithmetic of the audio's dtype, with gradients summed in float64.

    For float32 this is the original's recursion operation by operation: transposed direct form II, whose state, every
    8192 samples, is dropped where it lies within 1e-8 of 0. A recursion in another form or precision is a better
    filter and a worse twin: a band at a low frequency then differs from the original by the original's own rounding,
    some -78 dB.

    Args:
        audio: (batch, channels, samples) float32 or float64.
        coefficients: (batch, 5) float64: b0, b1, b2, a1, a2, with a0 = 1.

    Returns:
        Like `audio`, from rest; differentiable in both.

    Source: the transposed direct form II of Smith, "Introduction to digital filters" (2007), as JUCE implements it;
        its gradient is the filter itself, backwards in time.
    """
    per_lane = coefficients.repeat_interleave(audio.shape[1], dim=0)
    return _Biquad.apply(lanes(audio), per_lane).view(audio.shape)


class _Biquad(torch.autograd.Function):
    """(lanes, samples), coefficients (lanes, 5) -> (lanes, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, coefficients: Tensor) -> Tensor:
        wet = torch.empty_like(audio)
        run_kernel("linear.biquad", (audio, coefficients), (wet,))
        ctx.save_for_backward(audio, coefficients, wet)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_wet: Tensor) -> tuple[Tensor, Tensor]:
        grads = tuple(torch.empty_like(x) for x in ctx.saved_tensors[:2])
        run_kernel("linear.biquad_backward", (*ctx.saved_tensors, walkable(grad_wet)), grads)
        return grads


def _filtered(audio: Tensor, sample_rate: int, design: Design, **knobs: Tensor | float) -> Tensor:
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    values = [per_item(value, dry, name) for name, value in knobs.items()]
    return biquad(dry, _coefficients(design, values, sample_rate)).to(audio.dtype)


def _coefficients(design: Design, knobs: list[Tensor], sample_rate: int) -> Tensor:
    """(batch, 5) float64: the values that the original finds in the knobs' precision, with the exact gradient.

    At low frequencies a pole is told from 1 by the last digits of float32, so that the filter that the original runs
    is another one than it was asked for: one digit of a cosine makes up to -60 dB. A gradient in float32 would lose
    itself in the same digits.
    """
    exact = _normalised(design(*(knob.double() for knob in knobs), sample_rate))
    if knobs[0].dtype == torch.float64:
        return exact
    with torch.no_grad():
        rounded = _normalised(design(*(knob.detach().cpu() for knob in knobs), sample_rate)).to(
            exact
        )
    return exact + (rounded - exact).detach()


def _normalised(coefficients: tuple[Tensor, ...]) -> Tensor:
    """b0, b1, b2, a0, a1, a2, each (batch,) -> (batch, 5) for a0 = 1."""
    stacked = torch.stack(torch.broadcast_tensors(*coefficients), dim=-1)
    return stacked[:, [0, 1, 2, 4, 5]] * stacked[:, 3:4].reciprocal()


def _design_highpass(cutoff_frequency_hz: Tensor, sample_rate: int) -> tuple[Tensor, ...]:
    warped = _as_in_c(torch.tan, pi * cutoff_frequency_hz / sample_rate)
    one, zero = torch.ones_like(warped), torch.zeros_like(warped)
    return one, -one, zero, warped + 1, warped - 1, zero


def _design_lowpass(cutoff_frequency_hz: Tensor, sample_rate: int) -> tuple[Tensor, ...]:
    warped = _as_in_c(torch.tan, pi * cutoff_frequency_hz / sample_rate)
    zero = torch.zeros_like(warped)
    return warped, warped, zero, warped + 1, warped - 1, zero


def _design_low_shelf(
    cutoff_frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: int
) -> tuple[Tensor, ...]:
    root, cosine, sine = _root_gain_and_angle(cutoff_frequency_hz, gain_db, sample_rate)
    width = sine * _square_root(root) / q
    less, more = root - 1, root + 1
    turned = less * cosine
    return (
        root * (more - turned + width),
        2 * root * (less - more * cosine),
        root * (more - turned - width),
        more + turned + width,
        -2 * (less + more * cosine),
        more + turned - width,
    )


def _design_high_shelf(
    cutoff_frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: int
) -> tuple[Tensor, ...]:
    root, cosine, sine = _root_gain_and_angle(cutoff_frequency_hz, gain_db, sample_rate)
    width = sine * _square_root(root) / q
    less, more = root - 1, root + 1
    turned = less * cosine
    return (
        root * (more + turned + width),
        -2 * root * (less + more * cosine),
        root * (more + turned - width),
        more - turned + width,
        2 * (less - more * cosine),
        more - turned - width,
    )


def _design_peak(
    cutoff_frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: int
) -> tuple[Tensor, ...]:
    root, cosine, sine = _root_gain_and_angle(cutoff_frequency_hz, gain_db, sample_rate)
    width = sine / (2 * q)
    middle = -2 * cosine
    return 1 + width * root, middle, 1 - width * root, 1 + width / root, middle, 1 - width / root


def _root_gain_and_angle(
    cutoff_frequency_hz: Tensor, gain_db: Tensor, sample_rate: int
) -> tuple[Tensor, ...]:
    """The square root of the amplitude, and cosine and sine of the frequency in radians per sample."""
    held_hz = cutoff_frequency_hz.clamp(LOWEST_HZ, sample_rate / 2 - BELOW_NYQUIST_HZ)
    angle = 2 * pi * held_hz / sample_rate
    amplitude = torch.where(gain_db <= SILENT_DB, 0.0, _as_in_c(_power_of_ten, 0.05 * gain_db))
    return (
        _square_root(amplitude.clamp_min(LEAST_AMPLITUDE)),
        _as_in_c(torch.cos, angle),
        _as_in_c(torch.sin, angle),
    )


def _power_of_ten(x: Tensor) -> Tensor:
    return 10**x


def _square_root(x: Tensor) -> Tensor:
    """The nearest number, like C's: torch's own in float32 is one digit off in a fifth of all cases."""
    return x.double().sqrt().to(x.dtype)


def _as_in_c(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function of float64; of float32, which takes no gradient, what the C library under the original gives."""
    if x.dtype == torch.float64:
        return function(x)
    if (
        find_spec("numba") is None
    ):  # as on a machine that renders on its GPU alone; the last digit may differ
        return function(x.double()).float()
    from labkit.effects.twins.kernels import linear

    in_c = {
        torch.cos: linear.cosine,
        torch.sin: linear.sine,
        torch.tan: linear.tangent,
        _power_of_ten: linear.power_of_ten,
    }
    return torch.from_numpy(in_c[function](x.numpy()))
