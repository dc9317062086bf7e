"""Short linear filters: three EQ bands, highpass and lowpass (first order, 6 dB per octave).

The ranges reach into the band where a guitar has its energy. A treble shelf above that band would
not change what a compressor or a gate does, so its place in a chain could not be heard.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import cos, pi, sin, tan

import numpy as np
import torch
from torch import Tensor

from labkit.effects.drive import SILENT_DB
from labkit.effects.effect import Effect
from labkit.effects.kernels import Kernel, Recurrence, batched, float32_function, lanes, per_lane
from labkit.effects.parameters import space

# pedalboard holds the frequency of an EQ band between these: in Hz, and in Hz below half the rate.
LOWEST_HZ = 2.0
BELOW_NYQUIST_HZ = 100.0
# -300 dB: where it stops a gain.
LEAST_AMPLITUDE = 1e-15
# It renders in blocks of so many samples, and between them drops a state that is below this.
BLOCK = 8192
DROPPED = 1e-8
# The same for what is carried back in time: far above the subnormal numbers, too small to matter.
DROPPED_BACKWARD = 1e-150

# The rate and knobs (batch,) -> b0, b1, b2, a0, a1, a2, each (batch,).
Design = Callable[..., tuple[Tensor, ...]]


@Kernel
def biquad(first, stop, audio, coefficients, wet):
    """Transposed direct form II per lane, from rest; `coefficients` are b0, b1, b2, a1, a2."""
    # In pedalboard's order of operations: at low frequencies the rounding of float32 is audible.
    real = audio.dtype.type
    for lane in range(first, stop):
        b0, b1 = real(coefficients[lane, 0]), real(coefficients[lane, 1])
        b2 = real(coefficients[lane, 2])
        a1, a2 = real(coefficients[lane, 3]), real(coefficients[lane, 4])
        next_state, later_state = real(0), real(0)
        for start in range(0, audio.shape[1], BLOCK):
            for sample in range(start, min(start + BLOCK, audio.shape[1])):
                x = audio[lane, sample]
                y = x * b0 + next_state
                next_state = x * b1 - y * a1 + later_state
                later_state = x * b2 - y * a2
                wet[lane, sample] = y
            next_state = next_state if abs(next_state) > DROPPED else real(0)
            later_state = later_state if abs(later_state) > DROPPED else real(0)


@Kernel
def biquad_backward(first, stop, audio, coefficients, wet, grad_wet, grad_audio, grad_coefficients):
    """The gradient of `biquad`: the filter itself, backwards in time."""
    # With s the gradient of `wet` through 1 / A(z), backwards in time: that of the audio is s
    # through B(z), that of b_k the sum of s[n] x[n-k], that of a_k minus the sum of s[n] y[n-k]. In
    # float64, because the gradients of the five coefficients nearly cancel in that of a knob.
    samples = audio.shape[1]
    for lane in range(first, stop):
        b0, b1, b2, a1, a2 = coefficients[lane]
        s1, s2 = 0.0, 0.0  # s one and two samples later
        of_b0, of_b1, of_b2, of_a1, of_a2 = 0.0, 0.0, 0.0, 0.0, 0.0
        for end in range(samples, 0, -BLOCK):
            for sample in range(end - 1, max(end - BLOCK, 0) - 1, -1):
                s = grad_wet[lane, sample] - a1 * s1 - a2 * s2
                grad_audio[lane, sample] = b0 * s + b1 * s1 + b2 * s2
                x, y = audio[lane, sample], wet[lane, sample]
                of_b0 += s * x
                of_b1 += s1 * x
                of_b2 += s2 * x
                of_a1 -= s1 * y
                of_a2 -= s2 * y
                s1, s2 = s, s1
            s1 = s1 if abs(s1) > DROPPED_BACKWARD else 0.0
            s2 = s2 if abs(s2) > DROPPED_BACKWARD else 0.0
        grad_coefficients[lane] = of_b0, of_b1, of_b2, of_a1, of_a2


BIQUAD = Recurrence(biquad, biquad_backward)


def _coefficients(design: Design, sample_rate: int, knobs: Mapping[str, Tensor]) -> Tensor:
    """(batch, 5) float64: the values that pedalboard finds in float32, with the exact gradient."""

    def normalised(convert: Callable[[Tensor], Tensor]) -> Tensor:
        found = design(sample_rate, **{name: convert(knob) for name, knob in knobs.items()})
        stacked = torch.stack(torch.broadcast_tensors(*found), dim=-1)
        return stacked[:, [0, 1, 2, 4, 5]] * stacked[:, 3:4].reciprocal()

    # At low frequencies the last digits of float32 tell a pole from 1: one digit of a cosine makes
    # up to -60 dB. A gradient in float32 would get lost in the same digits.
    exact = normalised(Tensor.double)
    if next(iter(knobs.values())).dtype == torch.float64:
        return exact
    with torch.no_grad():
        rounded = normalised(Tensor.cpu)
    return exact + (rounded.to(exact) - exact).detach()


def _highpass(sample_rate: int, *, cutoff_frequency_hz: Tensor) -> tuple[Tensor, ...]:
    warped = _as_in_c(torch.tan, pi * cutoff_frequency_hz / sample_rate)
    one, zero = torch.ones_like(warped), torch.zeros_like(warped)
    return one, -one, zero, warped + 1, warped - 1, zero


def _lowpass(sample_rate: int, *, cutoff_frequency_hz: Tensor) -> tuple[Tensor, ...]:
    warped = _as_in_c(torch.tan, pi * cutoff_frequency_hz / sample_rate)
    zero = torch.zeros_like(warped)
    return warped, warped, zero, warped + 1, warped - 1, zero


def _shelf(
    sign: int, sample_rate: int, *, cutoff_frequency_hz: Tensor, gain_db: Tensor, q: Tensor
) -> tuple[Tensor, ...]:
    """A low shelf for sign 1; a high one, mirrored at a quarter of the rate, for sign -1."""
    root, cosine, sine = _root_gain_and_angle(cutoff_frequency_hz, gain_db, sample_rate)
    cosine, width = sign * cosine, sine * _square_root(root) / q
    less, more = root - 1, root + 1
    turned = less * cosine
    return (
        root * (more - turned + width),
        sign * 2 * root * (less - more * cosine),
        root * (more - turned - width),
        more + turned + width,
        sign * -2 * (less + more * cosine),
        more + turned - width,
    )


def _peak(
    sample_rate: int, *, cutoff_frequency_hz: Tensor, gain_db: Tensor, q: Tensor
) -> tuple[Tensor, ...]:
    root, cosine, sine = _root_gain_and_angle(cutoff_frequency_hz, gain_db, sample_rate)
    width = sine / (2 * q)
    middle = -2 * cosine
    return 1 + width * root, middle, 1 - width * root, 1 + width / root, middle, 1 - width / root


def _root_gain_and_angle(
    cutoff_frequency_hz: Tensor, gain_db: Tensor, sample_rate: int
) -> tuple[Tensor, ...]:
    """The square root of the amplitude; cosine and sine of the frequency in radians per sample."""
    held_hz = cutoff_frequency_hz.clamp(LOWEST_HZ, sample_rate / 2 - BELOW_NYQUIST_HZ)
    angle = 2 * pi * held_hz / sample_rate
    amplitude = torch.where(gain_db <= SILENT_DB, 0.0, _as_in_c(_power_of_ten, 0.05 * gain_db))
    root = _square_root(amplitude.clamp_min(LEAST_AMPLITUDE))
    return root, _as_in_c(torch.cos, angle), _as_in_c(torch.sin, angle)


def _power_of_ten(x: Tensor) -> Tensor:
    return 10**x


def _square_root(x: Tensor) -> Tensor:
    """The nearest number, like C's: torch's own in float32 is one digit off in a fifth of cases."""
    return x.double().sqrt().to(x.dtype)


_IN_C = {
    torch.tan: lambda x: tan(x),
    torch.cos: lambda x: cos(x),
    torch.sin: lambda x: sin(x),
    _power_of_ten: lambda x: np.float32(10) ** x,
}


def _as_in_c(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function in float64; in float32, without gradient, what pedalboard's C library gives."""
    if x.dtype == torch.float64:
        return function(x)
    with np.errstate(invalid="ignore"):  # what is no number shows in the output
        return torch.from_numpy(float32_function(_IN_C[function])(x.numpy()))


def _filter(name: str, plugin: str, design: Design, memory_ms: float, **ends: tuple) -> Effect:
    """One biquad per item, in pedalboard's arithmetic: a more exact one would differ by -78 dB.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ", as JUCE has them, for the bands; the
    bilinear transform (DAFX, 2nd ed., 2011, section 2.2) for the others.
    """

    @batched
    def play(audio: Tensor, sample_rate: int, **knobs: Tensor) -> Tensor:
        coefficients = per_lane(_coefficients(design, sample_rate, knobs), audio)
        return BIQUAD(lanes(audio), coefficients).view(audio.shape)

    return Effect(name, space(**ends), plugin, play, linear=True, memory_ms=memory_ms)


def _band(
    name: str, plugin: str, design: Design, memory_ms: float, cutoff_hz: tuple, highest_q: float
) -> Effect:
    ends = {"cutoff_frequency_hz": (*cutoff_hz, "log"), "gain_db": (-18.0, 18.0)}
    return _filter(name, plugin, design, memory_ms, **ends, q=(0.5, highest_q, "log"))


_low_shelf, _high_shelf = partial(_shelf, 1), partial(_shelf, -1)
LOW_SHELF = _band("low_shelf", "LowShelfFilter", _low_shelf, 20.0, (100.0, 600.0), 1.0)
PEAK = _band("peak", "PeakFilter", _peak, 40.0, (300.0, 4000.0), 4.0)
HIGH_SHELF = _band("high_shelf", "HighShelfFilter", _high_shelf, 10.0, (300.0, 3000.0), 1.0)
HIGHPASS = _filter(
    "highpass", "HighpassFilter", _highpass, 5.0, cutoff_frequency_hz=(100.0, 1500.0, "log")
)
LOWPASS = _filter(
    "lowpass", "LowpassFilter", _lowpass, 5.0, cutoff_frequency_hz=(250.0, 3000.0, "log")
)
