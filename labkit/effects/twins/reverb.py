"""Torch twin of the reverb: a room of combs and allpasses."""

import torch
from torch import Tensor

from labkit.effects.twins.common import (
    at_least_float32,
    check_audio,
    per_item,
    run_kernel,
    unfilled,
    walkable,
)

# Delays of the left side in samples at 44.1 kHz; the right side's are longer by the spread.
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (556, 441, 341, 225)
SPREAD = 23
TUNED_AT = 44_100
# What goes into the room, so that eight resonating combs do not overload.
ROOM_GAIN = 0.015
# Below this rate the shortest delay is less than a sample; the original then ends the process.
LOWEST_RATE = 196


def reverb(
    audio: Tensor,
    sample_rate: int,
    *,
    room_size: Tensor | float,
    damping: Tensor | float,
    mix: Tensor | float,
) -> Tensor:
    """The sound in a room: `1 - mix` of it dry, `mix` of it as an echo that grows dense and dies away.

    The twin of ``pedalboard.Reverb(room_size, damping, wet_level=mix / 2, dry_level=(1 - mix) / 2, width=1)``, in
    float32 to the bit up to the rounding of the knobs, from rest. The channels, summed, go into one room per side:
    eight combs in parallel, each with a one-pole lowpass in its feedback loop, then four allpasses in series; the right
    side's delays are 23 samples longer (at 44.1 kHz; all delays scale with the rate and are cut to whole samples). A
    mono sound has the left side alone. With r = room_size and d = damping, a comb returns 0.7 + 0.28 r of its lowpassed
    echo, whose lowpass keeps 0.4 d of its last output; the room's output counts 1.5 mix.

    The original smooths its knobs when they are turned while it plays; from rest they stand from the first sample. In
    float32 it rounds what it stores to multiples of 7.5e-9, and so does this. Nothing in it depends on its block size.

    Args:
        audio: (batch, 1 or 2, samples), any floating dtype.
        sample_rate: Hz, at least 196.
        room_size: number or (batch,), 0 to 1; unstable from 1.07.
        damping: number or (batch,), 0 to 1, and below 2.5.
        mix: number or (batch,), 0 (dry) to 1 (room alone).

    Returns:
        Like `audio`; differentiable in audio and all knobs. The way back keeps no more than the summed channels, and
        runs one side of one item at a time again, which takes 32 bytes per sample (64 in float64) on each thread.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for more than two channels (the original returns those as they came), for a rate below 196 Hz, for
            audio or a knob of another shape.

    Source: Schroeder, "Natural sounding artificial reverberation" (JAES 10(3), 1962), with the lowpass-feedback combs
        of Moorer, "About this reverberation business" (Computer Music Journal 3(2), 1979) and the public-domain tuning
        of Freeverb (Smith, "Physical audio signal processing", 2010), as JUCE implements it.
    """
    check_audio(audio, sample_rate)
    if audio.shape[1] not in (1, 2):
        raise ValueError(f"audio must have 1 or 2 channels for a reverb, got {audio.shape[1]}")
    combs, allpasses = room_delays(sample_rate, audio.shape[1])
    dry = at_least_float32(audio)
    feedback = per_item(room_size, dry, "room_size") * 0.28 + 0.7
    kept = per_item(damping, dry, "damping") * 0.4
    share = per_item(mix, dry, "mix")[:, None, None]
    wet = _Room.apply(dry.sum(1) * ROOM_GAIN, feedback, kept, combs, allpasses)
    # In the order of the original, whose levels are halves of these.
    return (wet * (0.5 * share * 3) + dry * (1 - share)).to(audio.dtype)


def room_delays(sample_rate: int, sides: int) -> tuple[Tensor, Tensor]:
    """Delays of combs and allpasses at a rate.

    Args:
        sample_rate: Hz, at least 196.
        sides: 1 (left) or 2 (left and right).

    Returns:
        (sides, 8) and (sides, 4) int64, in samples.

    Raises:
        ValueError: for a lower rate.
    """
    if sample_rate < LOWEST_RATE:
        raise ValueError(
            f"sample_rate must be at least {LOWEST_RATE} Hz for a reverb, got {sample_rate} Hz"
        )
    spread = SPREAD * torch.arange(sides)[:, None]
    combs, allpasses = (
        int(sample_rate) * (torch.tensor(line) + spread) // TUNED_AT for line in (COMBS, ALLPASSES)
    )
    return combs, allpasses


class _Room(torch.autograd.Function):
    """(batch, samples), feedback and damping (batch,), delays (sides, n) twice -> (batch, sides, samples)."""

    @staticmethod
    def forward(
        ctx, audio: Tensor, feedback: Tensor, damping: Tensor, combs: Tensor, allpasses: Tensor
    ) -> Tensor:
        inputs = (walkable(audio), feedback.contiguous(), damping.contiguous(), combs, allpasses)
        wet = unfilled(audio, len(audio), len(combs), audio.shape[-1])
        run_kernel("reverb.room", inputs, (wet,))
        ctx.save_for_backward(*inputs)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_wet: Tensor) -> tuple[Tensor | None, ...]:
        grads = tuple(torch.empty_like(x) for x in ctx.saved_tensors[:3])
        run_kernel("reverb.room_backward", (*ctx.saved_tensors, walkable(grad_wet)), grads)
        return *grads, None, None
