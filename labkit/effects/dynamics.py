"""Effects that follow the level: compressor, limiter, noise gate.

Ranges are for a dry sound that enters at -20 dBFS RMS. The gate's thresholds reach into the
playing, as a rhythmic gate's do: a lower gate would only act in pauses, and most riffs have none.
"""

from dataclasses import replace
from math import pi

import numpy as np
import torch
from torch import Tensor

from labkit.effects.effect import Effect, LevelKnob
from labkit.effects.kernels import Kernel, Recurrence, batched, lanes, over_time, per_lane
from labkit.effects.parameters import space

# Added to every rectified sample. It cannot be heard (-600 dB), but it keeps a decaying envelope
# out of the subnormal numbers, which are a hundred times slower, and its root off an infinite
# slope.
FLOOR = 1e-30
# Shorter times mean "at once" in pedalboard.
SHORTEST_MS = 1e-3
# The limiter's first compressor.
FIRST_THRESHOLD_DB, FIRST_RATIO = -10.0, 4.0


@Kernel
def follow(first, stop, audio, attack, release, level):
    """Fill `level` with the envelope of `audio`, both (lanes, samples), from rest."""
    # `attack` and `release` (lanes,) are the shares of the old level that a sample keeps while the
    # input is above it, and while it is not.
    real = audio.dtype.type
    floor = real(FLOOR)
    for lane in range(first, stop):
        rising, falling = attack[lane], release[lane]
        state = real(0)
        for sample in range(audio.shape[1]):
            rectified = abs(audio[lane, sample]) + floor
            keep = rising if rectified > state else falling
            state = rectified + keep * (state - rectified)
            level[lane, sample] = state


@Kernel
def follow_backward(
    first, stop, audio, attack, release, level, grad_level, grad_audio, grad_attack, grad_release
):
    """The gradient of `follow`, in float64; a sample's branch (rising or not) is taken as given."""
    real = audio.dtype.type
    floor = real(FLOOR)
    for lane in range(first, stop):
        rising, falling = attack[lane], release[lane]
        carried, of_attack, of_release = 0.0, 0.0, 0.0
        for sample in range(audio.shape[1] - 1, -1, -1):
            here = audio[lane, sample]
            rectified = abs(here) + floor
            state = level[lane, sample - 1] if sample > 0 else real(0)
            total = grad_level[lane, sample] + carried
            of_keep = total * (state - rectified)
            is_rising = rectified > state
            keep = rising if is_rising else falling
            of_attack += of_keep if is_rising else 0.0
            of_release += 0.0 if is_rising else of_keep
            grad_audio[lane, sample] = np.sign(here) * (1.0 - keep) * total
            carried = keep * total
        grad_attack[lane] = of_attack
        grad_release[lane] = of_release


FOLLOW = Recurrence(follow, follow_backward)


def envelope(audio: Tensor, sample_rate: int, attack_ms: Tensor, release_ms: Tensor) -> Tensor:
    """The peak level of every channel: one pole on the rectified signal, with two times.

    With x the rectified sample and y the level, y[n] = x[n] + c (y[n-1] - x[n]), where
    c = exp(-2 pi / (time in samples)) of the attack time while x[n] > y[n-1], of the release time
    otherwise. After that time the level is 0.2 % from its goal; below 0.001 ms it is there at once.

    Source: the branching smooth peak detector of Giannoulis, Massberg and Reiss, "Digital dynamic
    range compressor design" (JAES 60(6), 2012), with JUCE's time constants.
    """
    attack = per_lane(_kept_share(attack_ms, sample_rate), audio)
    release = per_lane(_kept_share(release_ms, sample_rate), audio)
    return FOLLOW(lanes(audio), attack, release).view(audio.shape)


@batched
def compressor(
    audio: Tensor,
    sample_rate: int,
    *,
    threshold_db: Tensor,
    ratio: Tensor,
    attack_ms: Tensor,
    release_ms: Tensor,
) -> Tensor:
    """Above the threshold, `ratio` dB of level in give 1 dB out. As `pedalboard.Compressor`.

    Hard knee, no make-up gain, channels apart, the level followed before the gain curve.

    Source: Giannoulis, Massberg and Reiss (JAES 60(6), 2012), feed-forward, as JUCE has it.
    """
    level = envelope(audio, sample_rate, attack_ms, release_ms)
    return _compressed(audio, level, _threshold(threshold_db), ratio)


@batched
def limiter(audio: Tensor, sample_rate: int, *, threshold_db: Tensor, release_ms: Tensor) -> Tensor:
    """Hold peaks at the threshold, then raise all to near full scale. As `pedalboard.Limiter`.

    A compressor at -10 dB (4:1, attack 2 ms, release 200 ms), one at the threshold (1000:1, at
    once), a constant gain of 3.75 dB minus the threshold, and a hard clip at full scale. Where the
    output is clipped its gradient is 0.
    """
    first = {"threshold_db": FIRST_THRESHOLD_DB, "ratio": FIRST_RATIO, "attack_ms": 2.0}
    tamed = compressor(audio, sample_rate, **first, release_ms=200.0)
    threshold, steep = _threshold(threshold_db), torch.full_like(threshold_db, 1000.0)
    level = envelope(tamed, sample_rate, torch.zeros_like(release_ms), release_ms)
    held = _compressed(tamed, level, threshold, steep)
    makeup_db = -FIRST_THRESHOLD_DB * (1 - 1 / FIRST_RATIO) / 2
    return (held * (10 ** (makeup_db / 20) / over_time(threshold))).clamp(-1.0, 1.0)


@batched
def noise_gate(
    audio: Tensor,
    sample_rate: int,
    *,
    threshold_db: Tensor,
    ratio: Tensor,
    attack_ms: Tensor,
    release_ms: Tensor,
) -> Tensor:
    """Below the threshold, 1 dB of level in gives `ratio` dB out. As `pedalboard.NoiseGate`.

    The level is the root of a mean square that rises at once and falls in 50 ms, followed once more
    with the attack (which opens the gate) and the release (which closes it).

    Source: the expander of DAFX (2nd ed., 2011), section 4.2, as JUCE has it.
    """
    fall = audio.new_full((len(audio),), 50.0)
    rms = envelope(audio.square(), sample_rate, torch.zeros_like(fall), fall).sqrt()
    level = envelope(rms, sample_rate, attack_ms, release_ms)
    excess = level * over_time(1 / _threshold(threshold_db))
    return audio * excess.clamp_max(1.0) ** over_time(ratio - 1)


def _compressed(audio: Tensor, level: Tensor, threshold: Tensor, ratio: Tensor) -> Tensor:
    excess = level * over_time(1 / threshold)
    # Clamped, not switched: the power of a quiet level, infinite at 0, is never taken.
    return audio * excess.clamp_min(1.0) ** over_time(1 / ratio - 1)


def _kept_share(time_ms: Tensor, sample_rate: int) -> Tensor:
    """The coefficient c of a time, in float64 and rounded once, because 1 - c is small."""
    longer_ms = time_ms.double().clamp_min(SHORTEST_MS)
    share = torch.exp(-2000 * pi / (sample_rate * longer_ms))
    return torch.where(time_ms < SHORTEST_MS, 0.0, share).to(time_ms.dtype)


def _threshold(threshold_db: Tensor) -> Tensor:
    return 10 ** (threshold_db / 20)


COMPRESSOR = Effect(
    name="compressor",
    space=space(
        threshold_db=(-50.0, -20.0),
        ratio=(2.0, 12.0, "log"),
        attack_ms=(1.0, 80.0, "log"),
        release_ms=(40.0, 500.0, "log"),
    ),
    plugin="Compressor",
    differentiable=compressor,
    linear=False,
    level_knob=LevelKnob("threshold_db", -1.0),
)

LIMITER = Effect(
    name="limiter",
    space=space(threshold_db=(-30.0, -12.0), release_ms=(20.0, 400.0, "log")),
    plugin="Limiter",
    differentiable=limiter,
    linear=False,
)

NOISE_GATE = Effect(
    name="noise_gate",
    space=space(
        threshold_db=(-25.0, -8.0),
        ratio=(4.0, 20.0, "log"),
        attack_ms=(1.0, 30.0, "log"),
        release_ms=(20.0, 300.0, "log"),
    ),
    plugin="NoiseGate",
    differentiable=noise_gate,
    linear=False,
    level_knob=LevelKnob("threshold_db", -1.0),
)

# A gate that turns noise down by degrees.
EXPANDER = replace(
    NOISE_GATE,
    name="expander",
    space=space(
        threshold_db=(-80.0, -10.0),
        ratio=(1.0, 10.0, "log"),
        attack_ms=(0.1, 100.0, "log"),
        release_ms=(10.0, 1000.0, "log"),
    ),
)
