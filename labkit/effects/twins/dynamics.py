"""Torch twins of the pedals that follow the level: compressor, limiter, noise gate."""

from math import pi

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
    walkable,
)

# Shorter times mean "at once" in the original.
SHORTEST_MS = 1e-3


class _Envelope(torch.autograd.Function):
    """(lanes, samples), attack and release coefficients (lanes,) -> (lanes, samples)."""

    @staticmethod
    def forward(ctx, audio: Tensor, attack: Tensor, release: Tensor) -> Tensor:
        level = torch.empty_like(audio)
        run_kernel("dynamics.follow", (audio, attack, release), (level,))
        ctx.save_for_backward(audio, attack, release, level)
        return level

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_level: Tensor) -> tuple[Tensor, ...]:
        grads = tuple(torch.empty_like(x) for x in ctx.saved_tensors[:3])
        run_kernel("dynamics.follow_backward", (*ctx.saved_tensors, walkable(grad_level)), grads)
        return grads


def envelope(
    audio: Tensor, sample_rate: int, *, attack_ms: Tensor | float, release_ms: Tensor | float
) -> Tensor:
    """The peak level of every channel: one pole on the rectified signal, fast upwards and slow downwards (or not).

    With x the rectified sample and y the level, y[n] = x[n] + c (y[n-1] - x[n]), where c = exp(-2 pi / (time in
    samples)) of the attack time while x[n] > y[n-1], of the release time otherwise. Times are therefore those of a
    full turn of the corner frequency: after one of them the level is 0.2 % from its goal.

    Args:
        audio: (batch, channels, samples) float32 or float64.
        sample_rate: Hz.
        attack_ms: number or (batch,), ms; below 0.001 ms the level rises at once.
        release_ms: number or (batch,), ms; below 0.001 ms the level falls at once.

    Returns:
        (batch, channels, samples), at least 0, starting from silence; differentiable in audio and both times.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a time of another shape.

    Source: the branching smooth peak detector of Giannoulis, Massberg and Reiss, "Digital dynamic range compressor
        design" (JAES 60(6), 2012), with the time constants that JUCE gives it.
    """
    check_audio(audio, sample_rate)
    coefficients = (
        per_lane(_kept_share(per_item(value, audio, name), sample_rate), audio)
        for name, value in (("attack_ms", attack_ms), ("release_ms", release_ms))
    )
    return _Envelope.apply(lanes(audio), *coefficients).view(audio.shape)


def compressor(
    audio: Tensor,
    sample_rate: int,
    *,
    threshold_db: Tensor | float,
    ratio: Tensor | float,
    attack_ms: Tensor | float,
    release_ms: Tensor | float,
) -> Tensor:
    """Loud passages turned down: above the threshold, `ratio` dB of level in give 1 dB out.

    The twin of `pedalboard.Compressor`: hard knee, no make-up gain, channels apart, the level followed before the
    gain curve (see `envelope`), from rest. Nothing in the original depends on its block size.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        threshold_db: number or (batch,), dB re full scale, above -200.
        ratio: number or (batch,), at least 1.
        attack_ms: number or (batch,), ms, at least 0.
        release_ms: number or (batch,), ms, at least 0.

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: Giannoulis, Massberg and Reiss, "Digital dynamic range compressor design" (JAES 60(6), 2012), feed-forward
        with a hard knee, as JUCE implements it.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    return _compress(
        dry,
        sample_rate,
        threshold=_threshold(threshold_db, dry),
        ratio=per_item(ratio, dry, "ratio"),
        attack_ms=attack_ms,
        release_ms=release_ms,
    ).to(audio.dtype)


def limiter(
    audio: Tensor, sample_rate: int, *, threshold_db: Tensor | float, release_ms: Tensor | float
) -> Tensor:
    """Peaks held at the threshold, and the whole brought up so that the threshold comes to lie near full scale.

    The twin of `pedalboard.Limiter`: a compressor at -10 dB (4:1, attack 2 ms, release 200 ms), one at the threshold
    (1000:1, at once, `release_ms`), a constant gain of 3.75 dB minus the threshold, and a hard clip at full scale.
    The original smooths that gain against changes while it plays; from rest it is there from the first sample.
    Where the output is clipped, its gradient is 0.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        threshold_db: number or (batch,), dB re full scale, above -200.
        release_ms: number or (batch,), ms, at least 0.

    Returns:
        Like `audio`, within -1 to 1; differentiable in audio and both knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: two of the compressors above in series, as JUCE implements it.
    """
    check_audio(audio, sample_rate)
    dry, first_threshold_db, first_ratio = at_least_float32(audio), -10.0, 4.0
    threshold = _threshold(threshold_db, dry)
    tamed = _compress(
        dry,
        sample_rate,
        threshold=_threshold(first_threshold_db, dry),
        ratio=per_item(first_ratio, dry, "ratio"),
        attack_ms=2.0,
        release_ms=200.0,
    )
    held = _compress(
        tamed,
        sample_rate,
        threshold=threshold,
        ratio=per_item(1000.0, dry, "ratio"),
        attack_ms=SHORTEST_MS,
        release_ms=release_ms,
    )
    makeup_db = -first_threshold_db * (1 - 1 / first_ratio) / 2
    return (held * (10 ** (makeup_db / 20) / over_time(threshold))).clamp(-1.0, 1.0).to(audio.dtype)


def noise_gate(
    audio: Tensor,
    sample_rate: int,
    *,
    threshold_db: Tensor | float,
    ratio: Tensor | float,
    attack_ms: Tensor | float,
    release_ms: Tensor | float,
) -> Tensor:
    """Quiet passages turned down further: below the threshold, 1 dB of level in gives `ratio` dB out.

    The twin of `pedalboard.NoiseGate`: channels apart, from rest. The level is the root of a mean square that rises at
    once and falls in 50 ms, followed once more with the attack and release of the knobs (see `envelope`); attack opens
    the gate, release closes it.

    Args:
        audio: (batch, channels, samples), any floating dtype.
        sample_rate: Hz.
        threshold_db: number or (batch,), dB re full scale, above -200.
        ratio: number or (batch,), at least 1.
        attack_ms: number or (batch,), ms, at least 0.
        release_ms: number or (batch,), ms, at least 0.

    Returns:
        Like `audio`; differentiable in audio and all knobs.

    Raises:
        TypeError: for audio that is not floating point.
        ValueError: for audio, a rate or a knob of another shape.

    Source: the downward expander of Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 4.2, as JUCE
        implements it.
    """
    check_audio(audio, sample_rate)
    dry = at_least_float32(audio)
    rms = envelope(dry.square(), sample_rate, attack_ms=0.0, release_ms=50.0).sqrt()
    level = envelope(rms, sample_rate, attack_ms=attack_ms, release_ms=release_ms)
    excess = level * over_time(1 / _threshold(threshold_db, dry))
    slope = over_time(per_item(ratio, dry, "ratio") - 1)
    return (dry * excess.clamp_max(1.0) ** slope).to(audio.dtype)


def _compress(
    audio: Tensor,
    sample_rate: int,
    *,
    threshold: Tensor,
    ratio: Tensor,
    attack_ms: Tensor | float,
    release_ms: Tensor | float,
) -> Tensor:
    """One compressor; `threshold` is an amplitude, (batch,) like `ratio`."""
    level = envelope(audio, sample_rate, attack_ms=attack_ms, release_ms=release_ms)
    excess = level * over_time(1 / threshold)
    # Clamped below the threshold rather than switched: the power of a quiet level, infinite at 0, is never taken.
    return audio * excess.clamp_min(1.0) ** over_time(1 / ratio - 1)


def _kept_share(time_ms: Tensor, sample_rate: int) -> Tensor:
    """The coefficient of a time, (batch,): in float64, rounded once, because 1 - c is what counts and it is small."""
    longer_ms = time_ms.double().clamp_min(SHORTEST_MS)
    share = torch.exp(-2000 * pi / (sample_rate * longer_ms))
    return torch.where(time_ms < SHORTEST_MS, 0.0, share).to(time_ms.dtype)


def _threshold(threshold_db: Tensor | float, audio: Tensor) -> Tensor:
    """Amplitude of a level in dB, (batch,)."""
    return 10 ** (per_item(threshold_db, audio, "threshold_db") / 20)
