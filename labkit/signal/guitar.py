"""A seeded electric guitar: endless phrases, no two instruments alike, to train recognisers on.

`GuitarModel` is an instrument with its player and its input, and `phrase` plays it. Each string is
evaluated exactly in the frequency domain, and one inverse FFT gives its sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from labkit.signal.strokes import STANDARD_TUNING, Stroke, play
from labkit.signal.units import db_to_amplitude, midi_to_hz

_PREROLL_SECONDS = 0.008  # a render begins this long before time zero
_ALIAS_DB = 72.0  # decay within one FFT length that keeps the tail from wrapping round
_TURN = np.float32(2 * np.pi)
_NEPERS_60_DB = float(np.log(1000.0))
_LONGEST_PAST_SECONDS = 0.1
_IMPULSE_SECONDS = 0.18
_LONGEST_ROOM_SECONDS = 0.35
_INHARMONICITY = (1e-4, 7e-5, 6e-5, 9e-5, 5e-5, 3e-5)


@dataclass(frozen=True)
class GuitarModel:
    """One instrument, with its player's touch and its cable's noise; by default plain and clean."""

    tuning: tuple[int, ...] = STANDARD_TUNING  # MIDI numbers of the open strings
    string_cents: tuple[float, ...] = (0.0,) * 6  # how far each is out of tune
    inharmonicity: tuple[float, ...] = _INHARMONICITY  # stiffness B of each
    # (fraction of the open string, signed weight)
    pickups: tuple[tuple[float, float], ...] = ((0.12, 1.0),)
    damping_power: float = 1.3  # how decay quickens with frequency, 1 (friction) to 2 (bending)
    second_level: float = 0.0  # amplitude of the slower polarisation beside the faster; 0 omits it
    second_decay: float = 2.5  # decay time of the slower over that of the faster, >= 1
    second_cents: float = 0.4  # detuning between the two, which makes the partials beat
    scrape: float = 0.0  # share of noise in the attack, 0 to about 1
    scrape_seconds: float = 0.004
    decay_seconds: float = 5.0  # T60 of the low open string's first partial, undamped
    decay_slope: float = 0.4  # decay times fall as frequency to minus this power
    damping_hz: float = 2000.0  # where partials die twice as fast as the lowest
    # (Hz, factor on the decay rate)
    dead_spots: tuple[tuple[float, float], ...] = ((40.0, 1.0), (11025.0, 1.0))
    position: float = 0.15  # usual pick position, as a fraction of the string, 0.05 to 0.5
    hardness_hz: float = 4000.0  # usual low-pass corner of the pick at full velocity
    resonance_hz: float = 4000.0
    resonance_q: float = 1.5
    tone_hz: float = 20000.0  # corner of the tone knob, a one-pole low-pass after the pickup
    lowcut_hz: float = 20.0  # corner of the input, a one-pole high-pass
    tilt_db: float = 0.0  # per octave, about 1 kHz
    body: tuple[tuple[float, float, float], ...] = ()  # (centre in Hz, Q, gain) of resonances
    room_seconds: float = 0.0  # T60 of the microphone's room; 0 for a cable
    room_db: float = -20.0  # reflections relative to the direct sound
    asymmetry: float = 0.0  # share of second-order distortion from the magnet, 0 to about 0.1
    release_seconds: float = 0.08  # time for a damped string to fall by 60 dB
    touch_noise_db: float = -40.0  # pick clicks and fingers, peak relative to a note's peak
    noise_db: float = -80.0  # floor, RMS relative to the phrase's peak; so are the levels below
    noise_slope: float = 0.0  # the floor falls as frequency to minus this power (0.5 is pink)
    hum_db: float = -np.inf
    hum_hz: float = 50.0
    whine_db: float = -np.inf  # a steady high tone from a nearby supply
    handling_db: float = -np.inf  # sliding fingers and knocks between the notes

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "GuitarModel":
        """A random instrument, player and input; real direct-input guitars lie within its range."""
        stiffness = np.array(_INHARMONICITY) * _log_uniform(rng, 0.5, 2.2)
        stiffness *= rng.uniform(0.7, 1.4, 6)
        dead = np.exp(rng.normal(0, rng.uniform(0.05, 0.45), 48))
        microphone = rng.random() < 0.25
        return cls(
            tuning=_draw_tuning(rng),
            string_cents=tuple((rng.uniform(-30, 30) + rng.uniform(-5, 5, 6)).tolist()),
            inharmonicity=tuple(stiffness.tolist()),
            **_draw_wiring(rng, microphone),
            decay_seconds=_log_uniform(rng, 1.5, 8),
            decay_slope=float(rng.uniform(0.1, 0.6)),
            damping_hz=_log_uniform(rng, 600, 9000),
            dead_spots=tuple(zip(np.geomspace(60, 11025, 48).tolist(), dead.tolist(), strict=True)),
            position=float(np.clip(rng.beta(2, 4.5) * 0.5, 0.05, 0.5)),
            hardness_hz=_log_uniform(rng, 700, 11000),
            release_seconds=_log_uniform(rng, 0.015, 0.3),
            touch_noise_db=float(rng.uniform(-50, -18)),
            handling_db=float(rng.uniform(-60, -22)) if rng.random() < 0.7 else -np.inf,
            **_draw_output(rng, microphone),
        )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_tuning(rng: np.random.Generator) -> tuple[int, ...]:
    shift = int(rng.choice([0, 0, 0, 0, -1, -2, 1, 2, -4]))
    lowest = STANDARD_TUNING[0] - (2 if rng.random() < 0.15 else 0)
    return tuple(n + shift for n in (lowest, *STANDARD_TUNING[1:]))


def _draw_wiring(rng: np.random.Generator, microphone: bool) -> dict[str, Any]:
    """Pickups; for a microphone the bridge, driven by the force at the string's very end."""
    if microphone:
        pickups = [(_log_uniform(rng, 0.004, 0.05), 1.0)]
    else:
        pickups = [(float(rng.uniform(0.04, 0.27)), 1.0)]
        if rng.random() < 0.4:
            sign = -1.0 if rng.random() < 0.1 else 1.0
            pickups.append((float(rng.uniform(0.04, 0.3)), sign * float(rng.uniform(0.3, 1))))
        if rng.random() < 0.4:
            # A humbucker: a second coil close by.
            pickups += [(place + 0.028, weight) for place, weight in pickups]
    return {
        "pickups": tuple(pickups),
        "damping_power": float(rng.uniform(0.8, 2)),
        "second_level": float(rng.uniform(0.05, 0.6)) if rng.random() < 0.8 else 0.0,
        "second_decay": float(rng.uniform(1.2, 4)),
        "second_cents": float(rng.uniform(-1.5, 1.5)),
        "scrape": _log_uniform(rng, 0.02, 1.0),
        "scrape_seconds": _log_uniform(rng, 0.001, 0.015),
    }


def _draw_output(rng: np.random.Generator, microphone: bool) -> dict[str, Any]:
    """What follows the strings: electronics or a body in a room, and their noise."""
    noise_db = float(rng.uniform(-80, -38)) if microphone else float(rng.uniform(-95, -50))
    return {
        "resonance_hz": _log_uniform(rng, *((6000, 16000) if microphone else (2000, 9000))),
        "resonance_q": float(rng.uniform(0.6, 1)) if microphone else _log_uniform(rng, 0.6, 4),
        "tone_hz": _log_uniform(rng, 500, 5000)
        if not microphone and rng.random() < 0.3
        else 20000.0,
        "lowcut_hz": _log_uniform(rng, 5, 80),
        "tilt_db": float(rng.uniform(-4, 2)),
        "body": _draw_body(rng, microphone) if microphone or rng.random() < 0.15 else (),
        "room_seconds": _log_uniform(rng, 0.1, 0.6) if microphone else 0.0,
        "room_db": float(rng.uniform(-30, -8)),
        "asymmetry": float(rng.uniform(0, 0.08)) if rng.random() < 0.5 else 0.0,
        "noise_db": noise_db,
        "noise_slope": float(rng.uniform(0, 0.9)),
        "hum_db": float(rng.uniform(-80, -45)) if rng.random() < 0.3 else -np.inf,
        "hum_hz": 50.0 if rng.random() < 0.5 else 60.0,
        "whine_db": float(rng.uniform(-95, -60)) if rng.random() < 0.25 else -np.inf,
    }


def _draw_body(rng: np.random.Generator, acoustic: bool) -> tuple[tuple[float, float, float], ...]:
    """A few resonances anywhere; of an acoustic guitar also its air and its top."""
    count = int(rng.integers(3, 12))
    strength = rng.uniform(0.2, 1.5)
    centres = np.exp(rng.uniform(np.log(80), np.log(5000), count)).tolist()
    gains = rng.normal(0, strength, count).tolist()
    peaks = [
        (centre, float(rng.uniform(3, 25)), gain)
        for centre, gain in zip(centres, gains, strict=True)
    ]
    for low_hz, high_hz in ((90, 130), (180, 260)) if acoustic else ():
        centre, q, gain = rng.uniform(low_hz, high_hz), rng.uniform(2, 12), rng.uniform(1, 8)
        peaks.append((float(centre), float(q), float(gain)))
    return tuple(peaks)


@dataclass(frozen=True)
class Pluck:
    """One plucked note: what the string is and how the pick meets it."""

    frequency_hz: float
    delay_seconds: float = 0.0  # attack time after the start of the render
    amplitude: float = 1.0
    position: float = 0.15  # where the pick meets the string, as a fraction of its length, 0 to 0.5
    hardness_hz: float = 3000.0  # the pick's low-pass corner; a thumb about 800, a hard pick 6000
    decay_seconds: float = 3.0  # time for the first partial to fall by 60 dB
    damping_hz: float = 2000.0  # partials at this frequency die twice as fast as the lowest ones
    inharmonicity: float = 1e-4  # stiffness B of `f_n = n f_0 sqrt(1 + B n^2)`, 0 to about 0.002


def render(
    notes: Sequence[Pluck],
    model: GuitarModel,
    *,
    sample_rate: float,
    seconds: float,
    rng: np.random.Generator | None = None,
    elapsed_seconds: float = 0.0,
) -> NDArray[np.float32]:
    """The strings of one stroke, summed: `(samples,)`, from `_PREROLL_SECONDS` before time zero.

    A plucked string is a loop: a disturbance runs to both ends and back, each time a little weaker.
    The sum of all round trips is `excitation / (1 - loss * exp(-1j * phase))`, so that any tuning,
    stiffness and decay is exact. The spectrum is evaluated outside the unit circle (the signal
    times `exp(-growth t)`, undone afterwards), so that what rings on past the FFT lies at least
    60 dB under the result. Partials are as faint as they are after `elapsed_seconds`.

    Source: Karplus and Strong, and Jaffe and Smith, both Computer Music Journal 7(2), 1983, the
        loop summed in closed form, with Fletcher's stiff-string partials as its phase.
    """
    samples = max(round(seconds * sample_rate), 1)
    n_fft = fft.next_fast_len(samples + int(0.03 * sample_rate), real=True)
    length_seconds = n_fft / sample_rate
    slower = model.second_decay if model.second_level else 1.0
    slowest = max(n.decay_seconds for n in notes) * slower
    natural_db = 60.0 * length_seconds / slowest
    growth = max(_ALIAS_DB - natural_db, 0.0) / 60.0 * _NEPERS_60_DB / length_seconds
    freq_hz = np.arange(1, int(0.49 * n_fft)) * (sample_rate / n_fft)
    curve = np.interp(freq_hz, *zip(*model.dead_spots, strict=True)).astype(np.float32)
    total = np.zeros(freq_hz.shape, dtype=np.complex64)
    for note in notes:
        total += _string(freq_hz, note, model, growth, elapsed_seconds, curve)
    if model.scrape and rng is not None and not elapsed_seconds:
        total *= _scrape(rng, model, sample_rate, n_fft)[1 : 1 + len(total)]
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
    freq_hz: NDArray, phase: NDArray, note: Pluck, model: GuitarModel, growth: float
) -> NDArray:
    """Spectrum of the pluck at the pickups: the ideal 1/n, pick and pickup combs, hardness."""
    round_trips = (note.position + max(position for position, _ in model.pickups)) / 2
    attack_seconds = _PREROLL_SECONDS + note.delay_seconds
    comb = sum(np.float32(w) * np.sin(np.float32(p / 2) * phase) for p, w in model.pickups)
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
    model: GuitarModel,
    growth: float,
    elapsed_seconds: float,
    decay_curve: NDArray,
) -> NDArray[np.complex64]:
    """Spectrum of one note under the damping `exp(-growth t)`."""
    number, fraction, duration = _round_trip(freq_hz, note)
    freq_hz = freq_hz.astype(np.float32)
    phase = _TURN * fraction
    # The first partial's square rounds the kink at 0 Hz off, which would ring before the attack.
    squared = freq_hz * freq_hz + np.float32(note.frequency_hz**2)
    squared = squared * np.float32(note.damping_hz**-2)
    relative = np.exp(np.float32(model.damping_power / 2) * np.log(squared))
    rate = np.float32(_NEPERS_60_DB / note.decay_seconds) * (1 + relative) * decay_curve
    body = _resonator(phase, np.exp(-(rate + np.float32(growth)) * duration))
    if elapsed_seconds:
        body *= np.exp(-np.float32(elapsed_seconds) * rate)
    if model.second_level:
        slow = rate * np.float32(1 / model.second_decay)
        detuned = phase + _TURN * np.float32(2 ** (model.second_cents / 1200) - 1) * number
        level = np.float32(model.second_level)
        if elapsed_seconds:
            level = level * np.exp(-np.float32(elapsed_seconds) * slow)
        body += _resonator(detuned, np.exp(-(slow + np.float32(growth)) * duration)) * level
    return body * _excitation(freq_hz, _TURN * number, note, model, growth)


def _scrape(
    rng: np.random.Generator, model: GuitarModel, sample_rate: float, n_fft: int
) -> NDArray[np.complex64]:
    """Spectrum of the pick's contact: an impulse, and a short burst of noise that dies away."""
    length = max(int(model.scrape_seconds * sample_rate), 4)
    burst = rng.standard_normal(length, dtype=np.float32)
    level = np.float32(model.scrape / np.sqrt(length / 8))
    burst *= np.exp(np.linspace(0, -4, length, dtype=np.float32)) * level
    burst[0] += 1
    return fft.rfft(burst, n_fft)


def warp(wave: NDArray[np.float32], semitones: NDArray[np.float32]) -> NDArray[np.float32]:
    """A note (samples,) read at a speed that follows `semitones` (out_samples,), by cubics."""
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


def _rig_response(freq_hz: NDArray, model: GuitarModel) -> NDArray[np.complex128]:
    """Pickup, tone knob, input and body, as one complex frequency response."""
    s = 1j * freq_hz
    resonance = freq_hz / model.resonance_hz
    pole = 1 / (1 + s / (model.resonance_hz * model.resonance_q) - resonance**2)
    out = pole / (1 + s / model.tone_hz) * s / (s + model.lowcut_hz)
    # A causal fractional slope about 1 kHz.
    out *= ((s + 60) / 1000) ** (model.tilt_db / 6.02)
    body = np.ones_like(out)
    for centre, q, gain in model.body:
        body += gain * (s * centre / q) / (centre**2 - freq_hz**2 + s * centre / q)
    return out * body


def _impulse_response(
    model: GuitarModel, rate: float, rng: np.random.Generator | None
) -> NDArray[np.float32]:
    """The rig's response, followed by a room of decaying noise where there is one."""
    taps = int(_IMPULSE_SECONDS * rate)
    response = _rig_response(np.fft.rfftfreq(taps, 1 / rate), model)
    impulse = fft.irfft(response, taps).astype(np.float32)
    if rng is None or not model.room_seconds:
        return impulse
    length = int(min(model.room_seconds, _LONGEST_ROOM_SECONDS) * rate)
    time = np.arange(length, dtype=np.float32) / np.float32(rate)
    room = rng.standard_normal(length, dtype=np.float32)
    room *= np.exp(time * np.float32(-6.9 / model.room_seconds))
    room *= np.float32(db_to_amplitude(model.room_db) / np.sqrt(np.square(room).sum()))
    room[: int(0.002 * rate)] = 0
    room[0] = 1
    n_fft = fft.next_fast_len(len(impulse) + len(room), real=True)
    return fft.irfft(fft.rfft(impulse, n_fft) * fft.rfft(room, n_fft), n_fft)


def _through_rig(
    wave: NDArray[np.float32],
    model: GuitarModel,
    rate: float,
    factor: int,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float32]:
    """The strings (samples,) as they leave the cable, at `factor` times the rate.

    Without `rng` there is no room, noise floor or hum.
    """
    impulse = _impulse_response(model, rate, rng)
    n_fft = 2 * fft.next_fast_len((len(wave) + len(impulse) + 1) // 2, real=True)
    spectrum = np.zeros(n_fft * factor // 2 + 1, dtype=np.complex64)
    filtered = fft.rfft(wave, n_fft) * fft.rfft(impulse, n_fft)
    spectrum[: n_fft // 2 + 1] = filtered * np.float32(factor)
    spectrum[n_fft // 2] = 0
    if rng is not None:
        peak = float(np.abs(wave).max())
        _add_noise(spectrum, rng, model, rate * factor, peak)
    return fft.irfft(spectrum, n_fft * factor)[: len(wave) * factor]


def _add_noise(
    spectrum: NDArray[np.complex64],
    rng: np.random.Generator,
    model: GuitarModel,
    sample_rate: float,
    peak: float,
) -> None:
    """Add a coloured noise floor, a whine and hum to a whole spectrum, in place."""
    count = len(spectrum)
    # Unit bins of random phase are Gaussian noise in time, at a third of Gaussian bins' cost.
    phase = rng.random(count, dtype=np.float32) * np.float32(2 * np.pi)
    noise = np.empty(count, dtype=np.complex64)
    np.cos(phase, out=noise.real)
    np.sin(phase, out=noise.imag)
    bins = np.arange(count, dtype=np.float32)
    relative = np.maximum(bins / count, np.float32(1e-3))
    shape = np.exp(np.float32(-model.noise_slope) * np.log(relative))
    n_fft = 2 * (count - 1)
    # Parseval: the mean square of the samples is the sum of |X|^2 / n_fft^2 over both halves.
    scale = n_fft / np.sqrt(2 * float(np.sum(shape * shape)))
    spectrum += noise * (shape * np.float32(scale * peak * db_to_amplitude(model.noise_db)))
    if np.isfinite(model.whine_db):
        place = int(rng.uniform(3000, min(15000, 0.45 * sample_rate)) * n_fft / sample_rate)
        # A few neighbouring bins make a tone that wavers.
        waver = rng.standard_normal((9, 2)) @ (1, 1j) * np.hanning(11)[1:-1]
        level = peak * db_to_amplitude(model.whine_db) * n_fft / 4
        spectrum[place - 4 : place + 5] += (waver * level).astype("c8")
    if np.isfinite(model.hum_db):
        for harmonic in range(1, 9):
            place = round(model.hum_hz * harmonic * n_fft / sample_rate)
            level = peak * db_to_amplitude(model.hum_db) * rng.random() / harmonic * n_fft / 2
            spectrum[place] += np.complex64(level * np.exp(2j * np.pi * rng.random()))


def _work_rate(sample_rate: int) -> tuple[float, int]:
    """A rate at which strings are cheap to make, and the whole factor up to the real one."""
    factor = max(sample_rate // 20000, 1)
    return sample_rate / factor, factor


def pluck(
    frequency_hz: float,
    *,
    sample_rate: int,
    seconds: float,
    model: GuitarModel | None = None,
    mute: float = 0.0,
) -> NDArray[np.float32]:
    """One plucked note, without noise and in tune: float32 `(1, samples)`, peak 1.

    `mute` is 0 free, 0.6 palm-muted, 1 dead.
    """
    _check(sample_rate, seconds)
    if not 0 < frequency_hz < sample_rate / 2:
        raise ValueError(
            f"frequency_hz must lie between 0 and {sample_rate / 2:g} Hz, got {frequency_hz}"
        )
    model = model or GuitarModel()
    note = _note(model, frequency_hz, model.inharmonicity[0], mute, velocity=1.0)
    rate, factor = _work_rate(sample_rate)
    wave = render([note], model, sample_rate=rate, seconds=seconds + _PREROLL_SECONDS)
    out = _through_rig(wave[int(_PREROLL_SECONDS * rate) :], model, rate, factor)
    out = out[: round(seconds * sample_rate)]
    return (out * np.float32(1 / np.abs(out).max()))[None]


def phrase(
    rng: np.random.Generator,
    *,
    model: GuitarModel | None = None,
    sample_rate: int = 44100,
    seconds: float = 2.0,
    style: str | None = None,
) -> NDArray[np.float32]:
    """A random phrase: float32 `(1, samples)`, peak between -33 and -3 dBFS, never silent.

    `model` and `style` (of `STYLES`) are drawn from `rng` too where they are None.
    """
    _check(sample_rate, seconds)
    model = GuitarModel.draw(rng) if model is None else model
    strokes = play(rng, style, seconds, model.tuning)
    rate, factor = _work_rate(sample_rate)
    samples = round(seconds * sample_rate)
    mix = np.zeros(-(-samples // factor) + 1, dtype=np.float32)
    for stroke in strokes:
        _add_stroke(mix, rng, stroke, model, rate)
    _add_handling(mix, rng, model, rate)
    if model.asymmetry:
        mix += np.square(mix) * np.float32(model.asymmetry / max(float(np.abs(mix).max()), 1e-9))
    out = _through_rig(mix, model, rate, factor, rng)[:samples]
    peak = db_to_amplitude(float(rng.uniform(-33, -3)))
    return (out * np.float32(peak / max(float(np.abs(out).max()), 1e-9)))[None]


def _check(sample_rate: int, seconds: float) -> None:
    if sample_rate < 8000:
        raise ValueError(f"sample_rate must be at least 8000 Hz, got {sample_rate}")
    if not seconds > 0 or round(seconds * sample_rate) < 1:
        raise ValueError(f"seconds must be > 0, got {seconds}")


def _note(
    model: GuitarModel,
    frequency_hz: float,
    stiffness: float,
    mute: float,
    velocity: float,
    harmonic: int = 1,
) -> Pluck:
    """How this instrument plays one note: harder is brighter, higher or muted dies sooner."""
    decay = np.clip(model.decay_seconds * (frequency_hz / 82.4) ** -model.decay_slope, 0.3, 8)
    damping = model.damping_hz
    if mute:
        decay = decay * (0.25 / decay) ** min(mute * 1.4, 1) * (0.2 if mute >= 1 else 1)
        damping = damping * (400 / damping) ** mute
    return Pluck(
        frequency_hz=frequency_hz * harmonic,
        amplitude=velocity,
        position=model.position if harmonic == 1 else 0.3,
        hardness_hz=model.hardness_hz * 2 ** (1.5 * (velocity - 1)) * (0.6 if mute else 1),
        decay_seconds=float(decay),
        damping_hz=float(damping),
        inharmonicity=stiffness * harmonic**2,
    )


def _pitches(stroke: Stroke, model: GuitarModel, rng: np.random.Generator) -> list[Pluck]:
    notes = []
    position = float(np.clip(model.position * np.exp(rng.normal(0, 0.12)), 0.04, 0.5))
    for index, (string, fret) in enumerate(stroke.frets):
        frequency = midi_to_hz(model.tuning[string] + fret + model.string_cents[string] / 100)
        stiffness = model.inharmonicity[string] * 2 ** (fret / 6)
        velocity = stroke.velocity * float(np.exp(rng.normal(0, 0.1)))
        note = _note(model, frequency, stiffness, stroke.mute, velocity, stroke.harmonic)
        delay = stroke.spread_seconds * index / max(len(stroke.frets) - 1, 1)
        # A stopped string is nearer to the pick in proportion.
        closer = min(position * 2 ** (fret / 12), 0.5) if stroke.harmonic == 1 else note.position
        notes.append(replace(note, delay_seconds=delay, position=closer))
    return notes


def _add_stroke(
    mix: NDArray, rng: np.random.Generator, stroke: Stroke, model: GuitarModel, rate: float
) -> None:
    """Render one stroke and add what of it falls inside the phrase."""
    past = max(-stroke.onset_seconds - _LONGEST_PAST_SECONDS, 0.0)
    onset = stroke.onset_seconds + past
    lasting = stroke.duration_seconds - past
    length = min(lasting + model.release_seconds, len(mix) / rate - onset) + _PREROLL_SECONDS
    if length <= _PREROLL_SECONDS:
        return
    bent = bool(stroke.bend) or stroke.vibrato[1] > 0
    # A note that is bent up is read faster, so more of it is needed.
    highest = max([semitones for _, semitones in stroke.bend], default=0) if bent else 0
    wave = render(
        _pitches(stroke, model, rng),
        model if length > 0.35 else replace(model, second_level=0.0),
        sample_rate=rate,
        seconds=length * 2 ** (highest / 12),
        rng=rng,
        elapsed_seconds=past,
    )
    if bent:
        wave = warp(wave, semitones_of(stroke, int(length * rate), rate, past - _PREROLL_SECONDS))
    wave *= release(len(wave), rate, lasting + _PREROLL_SECONDS, model.release_seconds)
    if not past:
        _add_touch_noise(wave, rng, model, rate)
    add(mix, wave, round((onset - _PREROLL_SECONDS) * rate))


def add(mix: NDArray[np.float32], wave: NDArray[np.float32], start: int) -> None:
    """Add what of a wave (samples,) that begins at `start` falls inside the mix, in place."""
    first, last = max(start, 0), min(start + len(wave), len(mix))
    if last > first:
        mix[first:last] += wave[first - start : last - start]


def semitones_of(
    stroke: Stroke, samples: int, rate: float, from_seconds: float
) -> NDArray[np.float32]:
    """The pitch curve of a bent or shaken note from a moment on, sampled coarsely, interpolated."""
    coarse = np.arange(0, samples + 220, 220) / rate
    time = coarse + from_seconds
    curve = np.zeros_like(time)
    if stroke.bend:
        curve += np.interp(time, *np.transpose(stroke.bend))
    vibrato_hz, depth_cents = stroke.vibrato
    curve += depth_cents / 100 * np.sin(2 * np.pi * vibrato_hz * time) * np.clip(time / 0.3, 0, 1)
    return np.interp(np.arange(samples) / rate, coarse, curve).astype(np.float32)


def _add_touch_noise(
    wave: NDArray, rng: np.random.Generator, model: GuitarModel, rate: float
) -> None:
    """The pick's own click, and now and then a finger sliding on a wound string."""
    peak = float(np.abs(wave[: int(0.1 * rate)]).max())
    peak *= np.float32(db_to_amplitude(model.touch_noise_db))
    length = min(int(rng.uniform(0.002, 0.02) * rate), len(wave))
    noise = rng.standard_normal(length, dtype=np.float32)
    noise *= np.exp(np.linspace(0, -5, length, dtype=np.float32)) * np.float32(peak / 2)
    start = min(int(rng.uniform(0, _PREROLL_SECONDS) * rate), len(wave) - length)
    wave[start : start + length] += noise
    if rng.random() < 0.04 and len(wave) > 0.3 * rate:
        length = int(rng.uniform(0.05, 0.15) * rate)
        squeak = np.diff(rng.standard_normal(length + 1, dtype=np.float32))
        squeak *= np.hanning(length).astype(np.float32)
        wave[-length:] += squeak * np.float32(peak / 2)


def _add_handling(mix: NDArray, rng: np.random.Generator, model: GuitarModel, rate: float) -> None:
    """Now and then a finger slides along a string, or a hand knocks on the guitar."""
    if not np.isfinite(model.handling_db):
        return
    peak = float(np.abs(mix).max()) * np.float32(db_to_amplitude(model.handling_db))
    for _ in range(int(rng.poisson(1.5 * len(mix) / rate))):
        length = min(int(rng.uniform(0.02, 0.25) * rate), len(mix))
        noise = rng.standard_normal(length, dtype=np.float32)
        if rng.random() < 0.5:
            noise = np.cumsum(noise, dtype=np.float32) * np.float32(4 / np.sqrt(length))
        start = int(rng.integers(0, len(mix) - length + 1))
        ramp = np.linspace(0, 1, length, dtype=np.float32) ** np.float32(rng.uniform(0.3, 2))
        swell = np.sin(np.pi * ramp)
        mix[start : start + length] += noise * swell * np.float32(peak / 3 * rng.uniform(0.2, 1))
