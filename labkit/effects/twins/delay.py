"""Torch twin of the delay: echoes that return."""

import torch
from torch import Tensor

from labkit.effects.twins.common import (
    at_least_float32,
    check_audio,
    lanes,
    over_time,
    per_item,
    per_lane,
    run_kernel,
)

# The original's delay line.
LONGEST_SECONDS = 30


def delay(
    audio: Tensor,
    sample_rate: int,
    *,
    delay_seconds: Tensor | float,
    feedback: Tensor | float,
    mix: Tensor | float,
) -> Tensor:
    """The sound and its echoes, each `feedback` times the one before.

    The twin of `pedalboard.Delay`, to the bit: with D the delay in whole samples, the fraction cut off, the wet part is
    d[n] = x[n - D] + feedback d[n - D], the output (1 - mix) x[n] + mix d[n]. A delay of exactly 0 s returns the input
    at any mix; one shorter than a sample reads the oldest sample of a line of 30 s.

    The original's output is a staircase in `delay_seconds`. Its gradient here is the slope of the line between the
    step it stands on, D, and the next, D + 1: the derivative, at D, of a delay line that interpolates linearly. It
    tells the way as long as the error of the delay is short against the periods in the sound.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        delay_seconds: number or (batch,), s, 0 to 30; held there, and to float32, as the original does.
        feedback: number or (batch,), 0 to 1.
        mix: number or (batch,), 0 (dry) to 1 (echoes alone).

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: the feedback comb filter of Schroeder, "Natural sounding artificial reverberation" (JAES 10(3), 1962), as
        pedalboard implements it on JUCE's delay line.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    seconds = per_item(delay_seconds, dry, "delay_seconds").clamp(0, LONGEST_SECONDS).float()
    wet = _Echoes.apply(
        dry, per_item(feedback, dry, "feedback"), seconds.double() * sample_rate, sample_rate
    )
    is_delayed = seconds.detach().ceil().clamp_max(1)  # 0 or 1; a delay that is not a number shows
    share = over_time(per_item(mix, dry, "mix") * is_delayed)
    return (dry * (1 - share) + share * wet).to(audio.dtype)


def echoes(audio: Tensor, feedback: Tensor, delay_samples: Tensor) -> Tensor:
    """d[n] = x[n - D] + f d[n - D].

    Args:
        audio: (batch, channels, samples), x.
        feedback: (batch,), f.
        delay_samples: (batch,) int64, D, at least 1.

    Returns:
        Like `audio`; not differentiable by itself.
    """
    dry = lanes(audio)
    wet = torch.empty_like(dry)
    run_kernel(
        "linear.echo", (dry, per_lane(feedback, audio), per_lane(delay_samples, audio)), (wet,)
    )
    return wet.view(audio.shape)


def echoes_backward(
    grad: Tensor, wet: Tensor, feedback: Tensor, delay_samples: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of a loss with respect to what `echoes` took, from that with respect to what it gave.

    Args:
        grad: (batch, channels, samples), of the loss with respect to `wet`.
        wet: (batch, channels, samples), as `echoes` returned it.
        feedback: (batch,).
        delay_samples: (batch,) int64.

    Returns:
        Those of audio (batch, channels, samples), feedback (batch,) and, per sample, delay (batch,); the last two in
        float64.
    """
    inputs = (per_lane(feedback, wet), per_lane(delay_samples, wet), lanes(wet), lanes(grad))
    of_audio = torch.empty_like(inputs[-1])
    of_knobs = torch.empty(2, len(of_audio), dtype=torch.float64, device=wet.device)
    run_kernel("linear.echo_backward", inputs, (of_audio, *of_knobs))
    return of_audio.view(wet.shape), *of_knobs.view(2, len(wet), -1).sum(-1)


class _Echoes(torch.autograd.Function):
    """(batch, channels, samples), feedback (batch,), delay in samples (batch,), the rate -> like the first."""

    @staticmethod
    def forward(
        ctx, audio: Tensor, feedback: Tensor, delay_samples: Tensor, sample_rate: int
    ) -> Tensor:
        whole = delay_samples.long()
        # A read before the write of the same sample meets what was written one turn of the line ago.
        whole = torch.where(whole > 0, whole, int(LONGEST_SECONDS * sample_rate) + 1)
        wet = echoes(audio, feedback, whole)
        ctx.save_for_backward(wet, feedback, whole)
        return wet

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_audio, of_feedback, of_delay = echoes_backward(grad, *ctx.saved_tensors)
        return of_audio, of_feedback.to(of_audio), of_delay, None
