"""Torch twins of the pedals without memory: gain, distortion, clipping, bit reduction."""

from math import log

import torch
from torch import Tensor

from labkit.effects.twins.common import at_least_float32, check_audio, over_time, per_item

# The original takes levels from here down for silence.
SILENT_DB = -100.0


def gain(audio: Tensor, sample_rate: int, *, gain_db: Tensor | float) -> Tensor:
    """Louder or softer.

    The twin of `pedalboard.Gain`, to the last digit of the amplitude: its smoothing of the knob has length zero.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz; without effect.
        gain_db: number or (batch,), dB; -100 dB and less is silence.

    Returns:
        Like `audio`; differentiable in audio and knob.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: a level of g dB is an amplitude of 10^(g / 20).
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    return (dry * over_time(amplitude(per_item(gain_db, dry, "gain_db")))).to(audio.dtype)


def distortion(audio: Tensor, sample_rate: int, *, drive_db: Tensor | float) -> Tensor:
    """Soft saturation: the hyperbolic tangent of the amplified signal.

    The twin of `pedalboard.Distortion`, to the last digit of the tangent.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz; without effect.
        drive_db: number or (batch,), dB; -100 dB and less is silence.

    Returns:
        Like `audio`, within -1 to 1; differentiable in audio and knob.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 4.3, with tanh for the curve.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    return torch.tanh(dry * over_time(amplitude(per_item(drive_db, dry, "drive_db")))).to(
        audio.dtype
    )


def clipping(audio: Tensor, sample_rate: int, *, threshold_db: Tensor | float) -> Tensor:
    """Everything beyond a ceiling cut off.

    The twin of `pedalboard.Clipping`, to the last digit of the ceiling. A subgradient: samples up to the ceiling pass
    theirs on to the audio, samples beyond it theirs, times their sign, to the ceiling.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz; without effect.
        threshold_db: number or (batch,), dB re full scale; -100 dB and less is silence.

    Returns:
        Like `audio`; differentiable in audio and knob.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 4.3, the hard limit.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    ceiling = over_time(amplitude(per_item(threshold_db, dry, "threshold_db")))
    return _Clipped.apply(dry, ceiling).to(audio.dtype)


def bitcrush(audio: Tensor, sample_rate: int, *, bit_depth: Tensor | float) -> Tensor:
    """Samples rounded to multiples of 2^-bit_depth; halves go to the even multiple.

    The twin of `pedalboard.Bitcrush`, to the bit. The true derivative is 0 or does not exist, so both gradients are
    those of a rounding that counts as the identity (straight-through): of the output y with respect to the audio x
    it is 1, and with respect to the bit depth it is ln 2 (x - y), the learned-step-size gradient. The second is exact
    in the mean for what the knob does to the rounding error: the energy of an error spread evenly over a step falls
    by a factor of 4 for every bit.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz; without effect.
        bit_depth: number or (batch,), bits, 0 to 32, fractions included.

    Returns:
        Like `audio`; differentiable in audio and knob in the sense above.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: a uniform mid-tread quantiser; Bengio, Léonard and Courville, "Estimating or propagating gradients through
        stochastic neurons" (2013), for the audio; Esser et al., "Learned step size quantization" (ICLR 2020), for the
        step.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    return _Rounded.apply(dry, over_time(per_item(bit_depth, dry, "bit_depth"))).to(audio.dtype)


class _Clipped(torch.autograd.Function):
    """(batch, channels, samples), amplitude (batch, 1, 1) -> (batch, channels, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, ceiling: Tensor) -> Tensor:
        ctx.save_for_backward(audio, ceiling)
        # Not `clamp`: with bounds that are tensors it runs sample by sample, many times slower.
        return torch.maximum(torch.minimum(audio, ceiling), -ceiling)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        audio, ceiling = ctx.saved_tensors
        of_audio = grad * (audio.abs() <= ceiling)
        return of_audio, ((grad - of_audio) * audio.sign()).sum((1, 2), keepdim=True)


class _Rounded(torch.autograd.Function):
    """(batch, channels, samples), bits (batch, 1, 1) -> (batch, channels, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, bit_depth: Tensor) -> Tensor:
        steps = torch.exp2(bit_depth.double()).to(audio.dtype)
        crushed = (audio * steps).round_().mul_(steps.reciprocal())
        ctx.save_for_backward(audio, crushed)
        return crushed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        audio, crushed = ctx.saved_tensors
        return grad, log(2) * (grad * (audio - crushed)).sum((1, 2), keepdim=True)


def amplitude(level_db: Tensor) -> Tensor:
    """Amplitude of a level in dB: the same shape and dtype, the power taken in float64 and rounded once."""
    tenths = level_db * 0.05
    return torch.where(level_db <= SILENT_DB, 0.0, 10 ** tenths.double()).to(level_db.dtype)
