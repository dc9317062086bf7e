"""Plucked strings, evaluated exactly in the frequency domain.

A plucked string is a loop: a disturbance runs to both ends and back, each time a little weaker. The
sum of all round trips is `excitation / (1 - loss * exp(-1j * phase))`, so that any tuning,
stiffness and decay is exact, and one inverse FFT gives the sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from labkit.signal.units import db_to_amplitude

PREROLL_SECONDS = 0.008  # a render begins this long before time zero
_ALIAS_DB = 72.0  # decay within one FFT length that keeps the tail from wrapping round
_TURN = np.float32(2 * np.pi)
_NEPERS_60_DB = float(np.log(1000.0))


@dataclass(frozen=True)
class Pluck:
    """One plucked note: what the string is and how the pick meets it."""

    frequency_hz: float
    delay_seconds: float = 0.0  # attack time after the start of the render
    amplitude: float = 1.0
    position: float = 0.15  # where the pick meets the string, as a fraction of its length, 0 to 0.5
    # the pick's low-pass corner; a soft thumb about 800, a hard pick 6000
    hardness_hz: float = 3000.0
    decay_seconds: float = 3.0  # time for the first partial to fall by 60 dB
    damping_hz: float = 2000.0  # partials at this frequency die twice as fast as the lowest ones
    inharmonicity: float = 1e-4  # stiffness B of `f_n = n f_0 sqrt(1 + B n^2)`, 0 to about 0.002


@dataclass(frozen=True)
class Wiring:
    """What all the strings of one instrument share."""

    # (fraction of the open string, signed weight)
    pickups: tuple[tuple[float, float], ...] = ((0.12, 1.0),)
    damping_power: float = 1.3  # how decay quickens with frequency, 1 (friction) to 2 (bending)
    second_level: float = 0.0  # amplitude of the slower polarisation beside the faster; 0 omits it
    second_decay: float = 2.5  # decay time of the slower over that of the faster, >= 1
    second_cents: float = 0.4  # detuning between the two, which makes the partials beat
    scrape: float = 0.0  # share of noise in the attack, 0 to about 1
    scrape_seconds: float = 0.004


def render(
    notes: Sequence[Pluck],
    wiring: Wiring,
    *,
    sample_rate: float,
    seconds: float,
    rng: np.random.Generator | None = None,
    elapsed_seconds: float = 0.0,
    decay_curve: tuple[NDArray, NDArray] | None = None,
) -> NDArray[np.float32]:
    """The strings of one stroke, summed: `(samples,)`.

    The spectrum is evaluated outside the unit circle (the signal times `exp(-growth t)`, undone
    afterwards), so that what rings on past the FFT lies at least 60 dB under the result.

    Args:
        sample_rate: Hz; nothing above 0.49 of it is made.
        seconds: length, including the first `PREROLL_SECONDS` before time zero.
        rng: source of the attack noise; needed when `wiring.scrape` is not 0.
        elapsed_seconds: how long the notes have sounded: partials are as faint as they are by then.
        decay_curve: (frequencies in Hz, factors on the decay rate), e.g. dead spots of a neck.

    Source: Karplus and Strong, and Jaffe and Smith, both Computer Music Journal 7(2), 1983, the
        loop summed in closed form, with Fletcher's stiff-string partials as its phase.
    """
    samples = max(round(seconds * sample_rate), 1)
    n_fft = fft.next_fast_len(samples + int(0.03 * sample_rate), real=True)
    length_seconds = n_fft / sample_rate
    slower = wiring.second_decay if wiring.second_level else 1.0
    slowest = max(n.decay_seconds for n in notes) * slower
    natural_db = 60.0 * length_seconds / slowest
    growth = max(_ALIAS_DB - natural_db, 0.0) / 60.0 * _NEPERS_60_DB / length_seconds
    freq_hz = np.arange(1, int(0.49 * n_fft)) * (sample_rate / n_fft)
    curve = 1.0 if decay_curve is None else np.interp(freq_hz, *decay_curve).astype(np.float32)
    total = np.zeros(freq_hz.shape, dtype=np.complex64)
    for note in notes:
        total += _string(
            freq_hz, note, wiring, growth=growth, elapsed_seconds=elapsed_seconds, decay_curve=curve
        )
    if wiring.scrape and rng is not None and not elapsed_seconds:
        total *= _scrape(rng, wiring, sample_rate, n_fft)[1 : 1 + len(total)]
    spectrum = np.zeros(n_fft // 2 + 1, dtype=np.complex64)
    edge = max(len(total) // 12, 1)
    falling = np.cos(np.pi * np.arange(1, edge + 1, dtype=np.float32) / (edge + 1))
    total[-edge:] *= 0.5 + 0.5 * falling
    spectrum[1 : 1 + len(total)] = total
    wave = fft.irfft(spectrum, n_fft)[:samples] * np.float32(sample_rate)
    if growth:
        wave *= np.exp(np.arange(samples, dtype=np.float32) * np.float32(growth / sample_rate))
    return wave


def _round_trip(freq_hz: NDArray, note: Pluck) -> tuple[NDArray, NDArray, NDArray]:
    """For every bin: the partial's number, its fraction, and the seconds of a round trip.

    Partial n lies at `n f_0 sqrt((1 + B n^2) / (1 + B))`; solved for n, that is the phase over 2
    pi. It is solved in float64: near a partial the resonance magnifies its error a thousandfold.
    """
    stiffness = note.inharmonicity
    squared = np.square(freq_hz * (np.sqrt(1 + stiffness) / note.frequency_hz))
    squared *= 2 / (1 + np.sqrt(1 + 4 * stiffness * squared))
    number = np.sqrt(squared)
    fraction = (number - np.rint(number)).astype(np.float32)
    bent = stiffness * squared.astype(np.float32)
    slowness = np.float32(note.frequency_hz) * (1 + 2 * bent)
    duration = np.sqrt((1 + stiffness) * (1 + bent)) / slowness
    return number.astype(np.float32), fraction, duration


def _complex(real: NDArray, imag: NDArray) -> NDArray[np.complex64]:
    out = np.empty(real.shape, dtype=np.complex64)
    out.real, out.imag = real, imag
    return out


def _resonator(phase: NDArray, loss: NDArray) -> NDArray[np.complex64]:
    """All round trips, `1 / (1 - loss exp(-1j phase))`, without cancellation in float32."""
    real, imag = 1 - loss * np.cos(phase), loss * np.sin(phase)
    power = 1 / (real * real + imag * imag)
    return _complex(real * power, imag * -power)


def _excitation(
    freq_hz: NDArray, phase: NDArray, note: Pluck, wiring: Wiring, growth: float
) -> NDArray:
    """Spectrum of the pluck at the pickups: the ideal 1/n, pick and pickup combs, hardness."""
    round_trips = (note.position + max(position for position, _ in wiring.pickups)) / 2
    attack_seconds = PREROLL_SECONDS + note.delay_seconds
    comb = sum(np.float32(w) * np.sin(np.float32(p / 2) * phase) for p, w in wiring.pickups)
    comb = comb * np.sin(np.float32(note.position / 2) * phase)
    soft = 1 + (freq_hz * np.float32(1 / note.hardness_hz)) ** 2
    undamped = np.exp(-growth * (attack_seconds + round_trips / note.frequency_hz))
    scale = np.float32(note.amplitude * undamped / note.frequency_hz)
    magnitude = scale * comb * (np.float32(note.frequency_hz) / (freq_hz * soft))
    turn = np.float32(2 * np.pi * attack_seconds) * freq_hz
    turn += np.float32(round_trips) * phase + np.float32(np.pi / 2)
    return _complex(magnitude * np.cos(turn), magnitude * -np.sin(turn))


def _string(
    freq_hz: NDArray,
    note: Pluck,
    wiring: Wiring,
    *,
    growth: float,
    elapsed_seconds: float,
    decay_curve: NDArray | float,
) -> NDArray[np.complex64]:
    """Spectrum of one note under the damping `exp(-growth t)`."""
    number, fraction, duration = _round_trip(freq_hz, note)
    freq_hz = freq_hz.astype(np.float32)
    phase = _TURN * fraction
    # The first partial's square rounds the kink at 0 Hz off, which would ring before the attack.
    squared = freq_hz * freq_hz + np.float32(note.frequency_hz**2)
    squared = squared * np.float32(note.damping_hz**-2)
    relative = np.exp(np.float32(wiring.damping_power / 2) * np.log(squared))
    rate = np.float32(_NEPERS_60_DB / note.decay_seconds) * (1 + relative) * decay_curve
    body = _resonator(phase, np.exp(-(rate + np.float32(growth)) * duration))
    if elapsed_seconds:
        body *= np.exp(-np.float32(elapsed_seconds) * rate)
    if wiring.second_level:
        slow = rate * np.float32(1 / wiring.second_decay)
        detuned = phase + _TURN * np.float32(2 ** (wiring.second_cents / 1200) - 1) * number
        level = np.float32(wiring.second_level)
        if elapsed_seconds:
            level = level * np.exp(-np.float32(elapsed_seconds) * slow)
        body += _resonator(detuned, np.exp(-(slow + np.float32(growth)) * duration)) * level
    return body * _excitation(freq_hz, _TURN * number, note, wiring, growth)


def _scrape(
    rng: np.random.Generator, wiring: Wiring, sample_rate: float, n_fft: int
) -> NDArray[np.complex64]:
    """Spectrum of the pick's contact: an impulse, and a short burst of noise that dies away."""
    length = max(int(wiring.scrape_seconds * sample_rate), 4)
    burst = rng.standard_normal(length, dtype=np.float32)
    level = np.float32(wiring.scrape / np.sqrt(length / 8))
    burst *= np.exp(np.linspace(0, -4, length, dtype=np.float32)) * level
    burst[0] += 1
    return fft.rfft(burst, n_fft)


def warp(wave: NDArray[np.float32], semitones: NDArray[np.float32]) -> NDArray[np.float32]:
    """A note (samples,) bent in pitch: it is read at a speed that follows a curve.

    `semitones` (out_samples,) is how far above the unbent pitch each output sample lies. Between
    samples the cubic through four of them is taken.
    """
    step = np.exp2(semitones.astype(np.float64) / 12)
    place = np.minimum(np.cumsum(step) - step[0], len(wave))
    padded = np.concatenate([np.zeros(1, np.float32), wave, np.zeros(3, np.float32)])
    index = place.astype(np.int64)
    t = (place - index).astype(np.float32)
    a, b, c, d = (padded[index + k] for k in range(4))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def release(
    samples: int, sample_rate: float, end_seconds: float, release_seconds: float
) -> NDArray[np.float32]:
    """A note-off envelope: 1 until `end_seconds`, then 60 dB down within `release_seconds`."""
    time = np.arange(samples, dtype=np.float32) * np.float32(1 / sample_rate)
    late = np.maximum(time - np.float32(end_seconds), 0)
    return np.exp(np.minimum(-late * np.float32(_NEPERS_60_DB / release_seconds), 0))


def level_db(db: float) -> np.float32:
    """`db_to_amplitude` as float32, so that products with float32 audio stay float32."""
    return np.float32(db_to_amplitude(db))
