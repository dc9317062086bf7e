"""Torch twin of the ladder filter: four poles, resonance and saturation."""

from functools import cache
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
from labkit.effects.twins.kernels.constants import POINTS, REACH

# How much of the sum at the ladder's foot and of its four stages goes out, and the share of the input that makes up for
# the loudness that resonance takes.
MODES = {
    "LPF12": ((0, 0, 1, 0, 0), 0.5),
    "HPF12": ((1, -2, 1, 0, 0), 0.0),
    "BPF12": ((0, 0, -1, 1, 0), 0.5),  # later versions of JUCE: (0, 1, -1, 0, 0)
    "LPF24": ((0, 0, 0, 0, 1), 0.5),
    "HPF24": ((1, -4, 6, -4, 1), 0.0),
    "BPF24": ((0, 0, 1, -2, 1), 0.5),
}
OUTPUT_GAIN = 1.2


def ladder_filter(
    audio: Tensor,
    sample_rate: int,
    *,
    cutoff_hz: Tensor | float,
    resonance: Tensor | float,
    drive: Tensor | float,
    mode: str = "LPF12",
) -> Tensor:
    """A synthesizer's filter: four one-poles in a row, fed back around, saturating at the input and in the loop.

    The twin of `pedalboard.LadderFilter`, in float32 to the bit where the processor's exp, pow and tanh agree: channels
    apart, from rest. The pole lies at exp(-2 pi cutoff_hz / sample_rate); the loop returns 0.4 + 3.6 resonance of the
    last stage. Saturation is a hyperbolic tangent of straight lines between 128 points from -5 to 5, and constant
    beyond, so the gradient of the drive is a staircase. Drive turns the input up by itself and what is fed back by
    0.96 + 0.04 drive, both made up for by an empirical power law.

    The original smooths cutoff and resonance when they are turned while it plays; from rest they stand from the first
    sample. Nothing in it depends on its block size. At full resonance and little drive it sings by itself where the
    cutoff is above some 5 kHz: knobs then move the phase of that tone, and gradients grow with the length of a clip.
    Drives of 100 make it chaotic; gradients, which then mean nothing, are held at a finite size.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        cutoff_hz: number or (batch,), Hz, above 0; may lie above half the rate.
        resonance: number or (batch,), 0 to 1.
        drive: number or (batch,), at least 1 (the original refuses less).
        mode: LPF, HPF or BPF (low, high or band passes), then 12 or 24 (dB per octave); of the whole batch.

    Returns:
        Like `audio`; differentiable in audio and all knobs but the mode. The way back keeps no more than the audio, and
        runs four channels at a time again, which takes 80 bytes per sample (160 in float64) on each thread.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for an unknown mode, or audio, a rate or a knob of another shape.

    Source: Välimäki and Huovilainen, "Oscillator and filter algorithms for virtual analog synthesis" (Computer Music
        Journal 30(2), 2006): one-poles with a zero at -0.3, gain compensation, modes by mixing the stages' outputs; as
        JUCE implements it, whose saturation sits at the input and in the feedback path only.
    """
    check_audio(audio, sample_rate)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    dry = at_least_float32(audio)
    driven = per_item(drive, dry, "drive")
    driven_back = driven * 0.04 + 0.96
    loop_gain = 4 * (per_item(resonance, dry, "resonance") * 0.9 + 0.1)
    pole = _pole(per_item(cutoff_hz, dry, "cutoff_hz"), sample_rate)
    knobs = torch.stack(
        [pole, loop_gain, driven, _makeup(driven), driven_back, _makeup(driven_back)], dim=-1
    )
    weights, compensation = MODES[mode]
    taps = torch.cat([dry.new_tensor(weights) * OUTPUT_GAIN, dry.new_tensor([compensation])])
    return (
        _Ladder.apply(lanes(dry), knobs.repeat_interleave(dry.shape[1], dim=0), taps)
        .view(audio.shape)
        .to(audio.dtype)
    )


class _Ladder(torch.autograd.Function):
    """(lanes, samples), knobs (lanes, 6), taps (6,) -> (lanes, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, knobs: Tensor, taps: Tensor) -> Tensor:
        inputs = (audio, knobs.contiguous(), taps)
        wet = torch.empty_like(audio)
        run_kernel("ladder.ladder", (*inputs, _table(audio.dtype)), (wet,))
        ctx.save_for_backward(*inputs)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_wet: Tensor) -> tuple[Tensor | None, ...]:
        audio, knobs, taps = ctx.saved_tensors
        grads = torch.empty_like(audio), torch.empty_like(knobs)
        run_kernel(
            "ladder.ladder_backward",
            (audio, knobs, taps, _table(audio.dtype), walkable(grad_wet)),
            grads,
        )
        return *grads, None


@cache
def _table(dtype: torch.dtype) -> Tensor:
    """The original's table in the dtype of the audio."""
    if (
        find_spec("numba") is None
    ):  # as on a machine that renders on its GPU alone; the last digit may differ
        points = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64).tanh().float()
        return torch.cat([points, points[-1:]]).to(dtype)
    from labkit.effects.twins.kernels.ladder import saturation_table

    return torch.from_numpy(saturation_table()).to(dtype)


def _pole(cutoff_hz: Tensor, sample_rate: int) -> Tensor:
    """exp(-2 pi f / rate), (batch,): the argument rounded to the dtype of the audio, then the power rounded once."""
    scale = cutoff_hz.new_tensor(-2 * pi) / cutoff_hz.new_tensor(sample_rate)
    return (cutoff_hz * scale).double().exp().to(cutoff_hz.dtype)


def _makeup(drive: Tensor) -> Tensor:
    """The gain that takes back what a drive adds, (batch,)."""
    exponent = drive.new_tensor(-2.642).double()
    return (drive.double() ** exponent).to(drive.dtype) * 0.6103 + 0.3903
