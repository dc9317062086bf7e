"""Augmentation of the dry signal, before the chain: other pickups, knobs, rooms, levels, noises.

The linear colouring is in `labkit.signal.colour`; here are the stages that work on samples, and `augment`, which
draws all of it.
"""

from collections.abc import Collection

import numpy as np
from scipy import signal

from labkit.signal.colour import colour, draw_response

_FULL_SCALE = 0.999
PARTS = ("tone", "time", "noise")


def noise(rng: np.random.Generator, samples: int, *, pink: bool) -> np.ndarray:
    """Noise of unit RMS: white, or pink (-3 dB per octave).

    Args:
        rng: the stream to draw from.
        samples: how many.
        pink: pink rather than white.

    Returns:
        float32 `(samples,)`, RMS exactly 1.

    Source: the pink filter is the three-pole one of J. O. Smith, Spectral Audio Signal Processing, "Synthesis
    of 1/F Noise": within 0.5 dB or so of -3 dB per octave above 30 Hz at 44.1 kHz.
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
    """Mains hum.

    Args:
        samples: how many.
        sample_rate: Hz.
        mains_hz: 50 or 60, a little off in reality.
        amplitudes: of the first, second, ... harmonic.
        phase: of the first, radians.

    Returns:
        float32 `(samples,)`.
    """
    step, block = (
        2j * np.pi * mains_hz / sample_rate,
        512,
    )  # exp of a sum: a product of two short tables
    blocks = np.exp(step * block * np.arange(-(-samples // block)) + 1j * phase)
    turn = np.outer(blocks, np.exp(step * np.arange(block))).astype(np.complex64).ravel()[:samples]
    out = np.zeros(samples, np.complex64)
    for amplitude in amplitudes[::-1]:  # Horner: harmonics are powers of the first
        out = (out + np.float32(amplitude)) * turn
    return np.ascontiguousarray(out.imag)


def clicks(rng: np.random.Generator, samples: int, *, count: int) -> np.ndarray:
    """Ticks of 0.05 to 1 ms as from a cable or a switch.

    Args:
        rng: the stream to draw from.
        samples: length of the result.
        count: how many.

    Returns:
        float32 `(samples,)`, the largest tick with amplitude at most 1.
    """
    out = np.zeros(samples, np.float32)
    for _ in range(count):
        at, length = int(rng.integers(samples)), int(rng.integers(2, 40))
        shape = (
            rng.uniform(-1, 1)
            * np.exp(-np.arange(length) / max(1, length / 4))
            * rng.choice([-1, 1], size=length)
        )
        out[at : at + length] = shape[: samples - at]
    return out


def fade(audio: np.ndarray, *, start: int, end: int) -> np.ndarray:
    """Raised-cosine fades over `start` samples in and `end` samples out; 0 leaves that side alone.

    Args:
        audio: `(channels, samples)`.
        start: samples of fade-in, at most the length.
        end: samples of fade-out, at most the length.

    Returns:
        A new array.
    """
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
    """A window of a fixed length.

    Args:
        audio: `(channels, any)`.
        samples: length of the result.
        offset: where the window starts; negative, or past the end, is silence.

    Returns:
        `(channels, samples)`.
    """
    out = np.zeros((*audio.shape[:-1], samples), np.float32)
    start, stop = max(0, offset), min(audio.shape[-1], offset + samples)
    if stop > start:
        out[..., start - offset : stop - offset] = audio[..., start:stop]
    return out


def augment(
    audio: np.ndarray,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    strength: float = 1.0,
    samples: int | None = None,
    parts: Collection[str] = PARTS,
) -> np.ndarray:
    """One random variation of a dry clip: colour, speed, crop, polarity, fades, level, noise, hum, clicks.

    Args:
        audio: float32 `(channels, any)`, finite.
        sample_rate: Hz.
        rng: the stream to draw from; the same stream gives the same samples.
        strength: 0 gives the clip back (cropped to `samples`), 1 varies it as recordings vary; 0 to 1.
        samples: length of the result; None keeps the input's. A longer input is cropped at a random place.
        parts: what is varied beside the level: ``"tone"`` (pickups, knobs, rooms), ``"time"`` (speed, place, fades),
            ``"noise"`` (noise, hum, clicks).

    Returns:
        float32 `(channels, samples)`, peak at most 0.999; its peak before noise is spread over 30 dB. Digital
        silence stays silent.

    Raises:
        ValueError: `strength` out of range, an empty clip, `samples` below 1, or an unknown part.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be 0 to 1, got {strength}")
    if unknown := set(parts) - set(PARTS):
        raise ValueError(
            f"parts must be among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}"
        )
    samples = audio.shape[-1] if samples is None else samples
    if audio.ndim != 2 or audio.shape[-1] == 0 or samples < 1:
        raise ValueError(
            f"audio must be (channels, samples), not empty, got {audio.shape}, {samples} samples wanted"
        )
    if strength == 0:
        return fit(audio, samples, offset=_offset(rng, audio.shape[-1], samples, slack=0))
    slack = round(0.05 * strength * sample_rate)
    speed = 1 + strength * rng.uniform(-0.03, 0.03) if rng.random() < 0.4 else 1.0
    needed = round(samples * speed) + 2 * slack
    if audio.shape[-1] > needed:
        audio = fit(audio, needed, offset=_offset(rng, audio.shape[-1], needed, slack=0))
    response = draw_response(sample_rate, rng, strength=strength) if rng.random() < 0.9 else None
    out = colour(
        audio, response if "tone" in parts else None, speed=speed if "time" in parts else 1.0
    )
    offset = _offset(rng, out.shape[-1], samples, slack=slack)
    out = fit(
        out,
        samples,
        offset=offset if "time" in parts else max(0, min(offset, out.shape[-1] - samples)),
    )
    if rng.random() < 0.3:
        start, end = rng.uniform(0, 0.05 * strength), rng.uniform(0, 0.1 * strength)
        if "time" in parts:
            out = fade(out, start=int(start * samples), end=int(end * samples))
    loudest = float(np.abs(out).max())
    if loudest < 1e-6:
        return np.zeros_like(out)
    level_db = -0.1 - 30 * strength * rng.random()
    out *= np.float32((-1 if rng.random() < 0.5 else 1) * 10 ** (level_db / 20) / loudest)
    if "noise" in parts:
        _add_disturbances(out, sample_rate, rng, strength)
    loudest = float(np.abs(out).max())
    if loudest > _FULL_SCALE:
        out *= np.float32(_FULL_SCALE / loudest)
    return out


def _offset(rng: np.random.Generator, length: int, samples: int, *, slack: int) -> int:
    return int(rng.integers(min(0, length - samples) - slack, max(0, length - samples) + slack + 1))


def _add_disturbances(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, strength: float
) -> None:
    """Noise floor, hum and clicks, in place; levels are relative to the clip's RMS."""
    rms, samples = float(np.sqrt(np.mean(np.square(audio)))), audio.shape[-1]
    if rng.random() < 0.5 * strength:
        level = rms * 10 ** (rng.uniform(-90, -45) / 20)
        audio += np.float32(level) * noise(rng, samples, pink=rng.random() < 0.5)
    if rng.random() < 0.2 * strength:
        amplitudes = rng.uniform(0.2, 1, 6) / np.arange(1, 7) ** rng.uniform(0, 1.5)
        amplitudes *= (
            rms * 10 ** (rng.uniform(-80, -40) / 20) * np.sqrt(2 / np.sum(np.square(amplitudes)))
        )
        mains_hz = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
        phase = rng.uniform(0, 2 * np.pi)
        audio += hum(samples, sample_rate, mains_hz=mains_hz, amplitudes=amplitudes, phase=phase)
    if rng.random() < 0.08 * strength:
        level = rms * 10 ** (rng.uniform(-40, -10) / 20)
        audio += np.float32(level) * clicks(rng, samples, count=int(rng.integers(1, 6)))
