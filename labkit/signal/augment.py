"""Variations of a dry signal: colour, speed, crop, level and noises; `augment` draws all of them.

Colour is linear: pickups, knobs, bodies, microphones and short reflections are analogue frequency
responses, whose product is applied by one multiplication in the frequency domain.
"""

import numpy as np
from scipy import fft, signal

from labkit.signal.units import db_to_amplitude

_TAPS = 8192  # of the colouring's impulse response: 186 ms at 44.1 kHz, for a 20 Hz high-pass
_FULL_SCALE = 0.999


def tilt(frequency_hz: np.ndarray, *, slope_db_per_octave: float) -> np.ndarray:
    """A minimum-phase tilt from 100 Hz to 10 kHz, flat outside, 0 dB at 700 Hz; complex."""

    def shape(f: np.ndarray | float) -> np.ndarray:
        shelf = (1 + 1j * f / 100.0) / (1 + 1j * f / 10_000.0)  # 6.02 dB an octave
        return shelf ** (slope_db_per_octave / (20 * np.log10(2)))

    return shape(frequency_hz) / abs(shape(700.0))


def resonant_lowpass(frequency_hz: np.ndarray, *, cutoff_hz: float, q: float) -> np.ndarray:
    """A pickup behind its tone knob: a second-order low-pass, complex.

    `q` is the gain at the cutoff: 0.707 is flattest, loaded pickups reach 1 to 3.
    """
    s = 1j * frequency_hz / cutoff_hz
    return 1 / (s * s + s / q + 1)


def highpass(frequency_hz: np.ndarray, *, cutoff_hz: float) -> np.ndarray:
    """A second-order Butterworth high-pass, -3 dB at the cutoff; complex."""
    s = 1j * frequency_hz / cutoff_hz
    return s * s / (s * s + np.sqrt(2) * s + 1)


def peak(frequency_hz: np.ndarray, *, center_hz: float, gain_db: float, q: float) -> np.ndarray:
    """A bell (body, pickup position, microphone), complex; `q` is centre over width."""
    root, s = 10 ** (gain_db / 40), 1j * frequency_hz / center_hz
    return (s * s + s * root / q + 1) / (s * s + s / (root * q) + 1)


def early_reflections(
    frequency_hz: np.ndarray, *, delays_ms: np.ndarray, gains: np.ndarray
) -> np.ndarray:
    """The direct sound and its reflections from near surfaces, low-passed at 4 kHz; complex."""
    reflected = np.zeros(np.shape(frequency_hz), complex)
    for delay_ms, gain in zip(delays_ms, gains, strict=True):
        reflected += gain * np.exp(-2j * np.pi * delay_ms / 1000 * frequency_hz)
    return 1 + reflected / (1 + 1j * frequency_hz / 4_000.0)


def frequency_grid(sample_rate: int) -> np.ndarray:
    """The frequencies in Hz, 0 to half the rate, on which `colour` takes a response."""
    return np.linspace(0, sample_rate / 2, _TAPS // 2 + 1)


def warp(frequency_hz: np.ndarray | float, sample_rate: int) -> np.ndarray | float:
    """The analogue frequency that the bilinear transform maps to a digital one; both in Hz.

    Read there, an analogue response belongs to a causal digital filter. Warp cutoffs too.
    """
    bounded = np.minimum(np.pi * frequency_hz / sample_rate, np.pi / 2 - 1e-6)
    return sample_rate / np.pi * np.tan(bounded)


def colour(
    audio: np.ndarray, response: np.ndarray | None = None, *, speed: float = 1.0
) -> np.ndarray:
    """Audio (channels, samples) filtered by a `response` on `frequency_grid`, at another speed.

    A speed of 1.03 is 3 % faster, higher and shorter. It is rounded to a ratio of fast transform
    lengths, within about 0.3 % for clips of a second or more.
    """
    samples = audio.shape[-1]
    padded = samples + (_TAPS // 2 if response is not None else 256)
    unit = min(2048, 1 << max(0, padded.bit_length() - 4))  # many factors of two transform fastest
    size = unit * fft.next_fast_len(-(-padded // unit), real=True)
    spectrum = fft.rfft(audio.astype(np.float32, copy=False), size)
    if response is not None:
        impulse = fft.irfft(response.astype(np.complex64))
        impulse[_TAPS // 2 :] *= np.linspace(1, 0, _TAPS // 2, dtype=np.float32) ** 2
        spectrum *= fft.rfft(impulse, size)
    if speed == 1.0:
        return fft.irfft(spectrum, size)[..., :samples]
    # An inverse transform of another length plays the same spectrum at another speed.
    wanted = size / speed
    lower, upper = fft.prev_fast_len(int(wanted)), fft.next_fast_len(int(np.ceil(wanted)))
    new_size = lower if wanted - lower < upper - wanted else upper
    shifted = fft.irfft(spectrum[..., : min(size, new_size) // 2 + 1], new_size)
    shifted *= np.float32(new_size / size)
    return shifted[..., : round(samples * new_size / size)]


def draw_response(
    sample_rate: int, rng: np.random.Generator, *, strength: float = 1.0
) -> np.ndarray:
    """A random colouring on `frequency_grid`; 0 is flat, 1 as wide as recordings differ."""
    grid = frequency_grid(sample_rate)
    warped = warp(grid, sample_rate)

    def cutoff(low_hz: float, high_hz: float) -> float:
        drawn = float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))))
        return float(warp(min(drawn, 0.45 * sample_rate), sample_rate))

    slope = float(np.clip(rng.normal(0, 2.0), -6, 6)) * strength
    response = tilt(warped, slope_db_per_octave=slope)
    if rng.random() < 0.6 * strength:
        response *= resonant_lowpass(
            warped, cutoff_hz=cutoff(1_500, 8_000), q=rng.uniform(0.5, 2.5)
        )
    for _ in range(int(rng.integers(1, 4))):
        gain_db, q = strength * rng.uniform(-8, 8), rng.uniform(0.4, 2.0)
        response *= peak(warped, center_hz=cutoff(120, 6_000), gain_db=gain_db, q=q)
    if rng.random() < 0.7 * strength:
        response *= highpass(warped, cutoff_hz=cutoff(20, 150))
    if rng.random() < 0.4 * strength:
        response *= resonant_lowpass(warped, cutoff_hz=cutoff(5_000, 20_000), q=0.707)
    if rng.random() < 0.25 * strength:
        count = int(rng.integers(1, 4))
        delays_ms, gains = rng.uniform(0.3, 12, count), rng.uniform(-0.3, 0.3, count) * strength
        response *= early_reflections(grid, delays_ms=delays_ms, gains=gains)
    return response


def noise(rng: np.random.Generator, samples: int, *, pink: bool) -> np.ndarray:
    """White or pink (-3 dB per octave) noise of RMS 1, float32 `(samples,)`.

    Source: J. O. Smith, Spectral Audio Signal Processing, "Synthesis of 1/F Noise".
    """
    out = rng.standard_normal(samples, dtype=np.float32)
    if pink:
        b = np.array([0.049922035, -0.095993537, 0.050612699, -0.004408786], np.float32)
        a = np.array([1, -2.494956002, 2.017265875, -0.522189400], np.float32)
        out = signal.lfilter(b, a, out)
    return out / np.float32(np.sqrt(np.mean(np.square(out)) + 1e-20))


def hum(
    samples: int, sample_rate: int, *, mains_hz: float, amplitudes: np.ndarray, phase: float = 0.0
) -> np.ndarray:
    """Mains hum, float32 `(samples,)`, with the amplitudes of the first, second, ... harmonic."""
    step = 2j * np.pi * mains_hz / sample_rate
    block = 512  # exp of a sum is a product, so two short tables make the long one
    blocks = np.exp(step * block * np.arange(-(-samples // block)) + 1j * phase)
    turn = np.outer(blocks, np.exp(step * np.arange(block))).astype(np.complex64).ravel()[:samples]
    out = np.zeros(samples, np.complex64)
    for amplitude in amplitudes[::-1]:  # Horner's rule: harmonics are powers of the first
        out = (out + np.float32(amplitude)) * turn
    return np.ascontiguousarray(out.imag)


def clicks(rng: np.random.Generator, samples: int, *, count: int) -> np.ndarray:
    """Ticks of 0.05 to 1 ms as from a cable, float32 `(samples,)`, amplitude at most 1."""
    out = np.zeros(samples, np.float32)
    for _ in range(count):
        start, length = int(rng.integers(samples)), int(rng.integers(2, 40))
        decay = rng.uniform(-1, 1) * np.exp(-np.arange(length) / max(1, length / 4))
        shape = decay * rng.choice([-1, 1], size=length)
        out[start : start + length] = shape[: samples - start]
    return out


def fade(audio: np.ndarray, *, start: int, end: int) -> np.ndarray:
    """A copy with raised-cosine fades over `start` samples in and `end` samples out."""
    out = audio.copy()
    start, end = min(start, out.shape[-1]), min(end, out.shape[-1])
    if start:
        out[..., :start] *= _ramp(start)
    if end:
        out[..., -end:] *= _ramp(end)[::-1]
    return out


def _ramp(length: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)


def fit(audio: np.ndarray, samples: int, *, offset: int) -> np.ndarray:
    """The window `(channels, samples)` that starts at `offset`, with silence outside the audio."""
    out = np.zeros((*audio.shape[:-1], samples), np.float32)
    start, stop = max(0, offset), min(audio.shape[-1], offset + samples)
    if stop > start:
        out[..., start - offset : stop - offset] = audio[..., start:stop]
    return out


def augment(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, *, strength: float = 1.0
) -> np.ndarray:
    """One random variation of a dry clip: colour, speed, crop, polarity, fades, level and noises.

    Audio is float32 `(channels, samples)`; the result has its shape and a peak of at most 0.999,
    before noise spread over 30 dB. A `strength` of 0 gives the clip back, 1 varies it as recordings
    vary.
    """
    samples = audio.shape[-1]
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be 0 to 1, got {strength}")
    if audio.ndim != 2 or samples == 0:
        raise ValueError(f"audio must be (channels, samples), not empty, got {audio.shape}")
    if strength == 0:
        return audio.astype(np.float32)
    out = _coloured(audio, sample_rate, rng, strength)
    if rng.random() < 0.3:
        start, end = rng.uniform(0, 0.05 * strength), rng.uniform(0, 0.1 * strength)
        out = fade(out, start=int(start * samples), end=int(end * samples))
    loudest = float(np.abs(out).max())
    if loudest < 1e-6:
        return np.zeros_like(out)
    level_db = -0.1 - 30 * strength * rng.random()
    polarity = -1 if rng.random() < 0.5 else 1
    out *= np.float32(polarity * db_to_amplitude(level_db) / loudest)
    _add_disturbances(out, sample_rate, rng, strength)
    loudest = float(np.abs(out).max())
    if loudest > _FULL_SCALE:
        out *= np.float32(_FULL_SCALE / loudest)
    return out


def _coloured(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Colour, speed and crop, of one shape with the audio."""
    samples = audio.shape[-1]
    slack = round(0.05 * strength * sample_rate)
    speed = 1 + strength * rng.uniform(-0.03, 0.03) if rng.random() < 0.4 else 1.0
    needed = round(samples * speed) + 2 * slack
    if audio.shape[-1] > needed:
        audio = fit(audio, needed, offset=_offset(rng, audio.shape[-1], needed, slack=0))
    response = draw_response(sample_rate, rng, strength=strength) if rng.random() < 0.9 else None
    out = colour(audio, response, speed=speed)
    return fit(out, samples, offset=_offset(rng, out.shape[-1], samples, slack=slack))


def _offset(rng: np.random.Generator, length: int, samples: int, *, slack: int) -> int:
    return int(rng.integers(min(0, length - samples) - slack, max(0, length - samples) + slack + 1))


def _add_disturbances(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, strength: float
) -> None:
    """Noise floor, hum and clicks, in place; levels are relative to the clip's RMS."""
    rms = float(np.sqrt(np.mean(np.square(audio))))
    samples = audio.shape[-1]
    if rng.random() < 0.5 * strength:
        level = rms * db_to_amplitude(rng.uniform(-90, -45))
        audio += np.float32(level) * noise(rng, samples, pink=rng.random() < 0.5)
    if rng.random() < 0.2 * strength:
        amplitudes = rng.uniform(0.2, 1, 6) / np.arange(1, 7) ** rng.uniform(0, 1.5)
        level = rms * db_to_amplitude(rng.uniform(-80, -40))
        amplitudes *= level * np.sqrt(2 / np.sum(np.square(amplitudes)))
        mains_hz = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
        phase = rng.uniform(0, 2 * np.pi)
        audio += hum(samples, sample_rate, mains_hz=mains_hz, amplitudes=amplitudes, phase=phase)
    if rng.random() < 0.08 * strength:
        level = rms * db_to_amplitude(rng.uniform(-40, -10))
        audio += np.float32(level) * clicks(rng, samples, count=int(rng.integers(1, 6)))
