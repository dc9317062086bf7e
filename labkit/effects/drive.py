"""Pedals without memory: gain, distortion, clipping, bit reduction.

Ranges are for a dry sound that enters at -20 dBFS RMS: the clipper's threshold lies below its
peaks, and the bit crusher's steps (full scale / 2 ** bit_depth) are coarse enough to be audible.
"""

from math import log, log10

import torch
from torch import Tensor

from labkit.effects.effect import Effect, LevelKnob
from labkit.effects.kernels import batched, over_time
from labkit.effects.parameters import space

# pedalboard takes levels from here down for silence.
SILENT_DB = -100.0


@batched
def gain(audio: Tensor, _sample_rate: int, *, gain_db: Tensor) -> Tensor:
    """Louder or softer. As `pedalboard.Gain`, to the last digit of the amplitude."""
    return audio * over_time(amplitude(gain_db))


@batched
def distortion(audio: Tensor, _sample_rate: int, *, drive_db: Tensor) -> Tensor:
    """The hyperbolic tangent of the amplified sound. As `pedalboard.Distortion`.

    Source: Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 4.3.
    """
    return torch.tanh(audio * over_time(amplitude(drive_db)))


@batched
def clipping(audio: Tensor, _sample_rate: int, *, threshold_db: Tensor) -> Tensor:
    """Limit samples to a threshold. As `pedalboard.Clipping`.

    Samples below the threshold pass their gradient to the audio, samples above it to the threshold.

    Source: Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 4.3.
    """
    ceiling = over_time(amplitude(threshold_db))
    # Not `clamp`: with bounds that are tensors it works sample by sample, many times slower.
    return torch.maximum(torch.minimum(audio, ceiling), -ceiling)


@batched
def bitcrush(audio: Tensor, _sample_rate: int, *, bit_depth: Tensor) -> Tensor:
    """Round samples to multiples of 2^-bit_depth, halves to even. As `pedalboard.Bitcrush`.

    The true derivative is 0 or does not exist. Of the output y with respect to the audio x it
    counts as 1 (straight-through). With respect to the bit depth it is ln 2 (x - y), which is right
    in the mean: the energy of an error spread evenly over a step falls by a factor of 4 per bit.

    Source: Bengio, Léonard and Courville 2013 for the audio; Esser et al., "Learned step size
    quantization" (ICLR 2020), for the step.
    """
    bits = over_time(bit_depth)
    steps = torch.exp2(bits.detach().double()).to(audio.dtype)
    crushed = (audio.detach() * steps).round_().mul_(steps.reciprocal())
    # Both terms are 0; only their gradients count.
    of_audio = audio - audio.detach()
    of_bits = log(2) * (audio.detach() - crushed) * (bits - bits.detach())
    return crushed + of_audio + of_bits


def amplitude(level_db: Tensor) -> Tensor:
    """Amplitude of a level in dB; the power is taken in float64 and rounded once."""
    tenths = level_db * 0.05
    return torch.where(level_db <= SILENT_DB, 0.0, 10 ** tenths.double()).to(level_db.dtype)


GAIN = Effect(
    name="gain",
    space=space(gain_db=(-18.0, 18.0)),
    plugin="Gain",
    differentiable=gain,
    linear=True,
    memory_ms=0.0,
    level_only=True,
)

DISTORTION = Effect(
    name="distortion",
    space=space(drive_db=(8.0, 30.0)),
    plugin="Distortion",
    differentiable=distortion,
    linear=False,
    memory_ms=0.0,
    level_knob=LevelKnob("drive_db", 1.0, absorbs=True),
)

CLIPPING = Effect(
    name="clipping",
    space=space(threshold_db=(-36.0, -15.0)),
    plugin="Clipping",
    differentiable=clipping,
    linear=False,
    memory_ms=0.0,
    level_knob=LevelKnob("threshold_db", -1.0),
)

BITCRUSH = Effect(
    name="bitcrush",
    space=space(bit_depth=(3.0, 5.0)),
    plugin="Bitcrush",
    differentiable=bitcrush,
    linear=False,
    memory_ms=0.0,
    level_knob=LevelKnob("bit_depth", 1 / (20 * log10(2))),
)
