"""What stands between a chain of pedals and a listener's file: speaker, room, noise, coding."""

from functools import lru_cache

import numpy as np
from scipy import signal

from labkit.signal.augment import (
    colour,
    draw_response,
    frequency_grid,
    highpass,
    hum,
    noise,
    peak,
    resonant_lowpass,
    warp,
)
from labkit.signal.files import read_audio, resample
from labkit.signal.optional import need
from labkit.signal.paths import real_data_dir
from labkit.signal.pool import check_split
from labkit.signal.units import db_to_amplitude

# Cabinets are split by the order of their file names.
_CABINETS = {"train": slice(0, 11), "validation": slice(11, 14), "test": slice(14, None)}


def behind_chain(
    audio: np.ndarray,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    split: str = "train",
    cabinet: bool | None = None,
) -> np.ndarray:
    """A wet clip as it may reach a file: float32 (1, samples), peak at most 1.

    Each stage is drawn or left out: a guitar cabinet (recorded where there are recordings,
    else a curve), an equaliser, a room, noise, hum, a limiter, another sample rate, MP3, and
    silence at an end. `cabinet` says whether there is one, where that is not to be drawn.
    """
    cabinets = _cabinets(check_split(split), sample_rate)
    out = audio.astype(np.float32)
    drawn = bool(rng.random() < 0.45)
    if drawn if cabinet is None else cabinet:
        out = _through_cabinet(out, sample_rate, rng, cabinets)
    if rng.random() < 0.4:
        out = colour(out, draw_response(sample_rate, rng, strength=0.6))[:, : audio.shape[1]]
    if rng.random() < 0.25:
        out = _convolved(out, _room(sample_rate, rng))
    out = _with_noise(out, sample_rate, rng)
    peak_now = max(float(np.abs(out).max()), 1e-9)
    if rng.random() < 0.2:
        pedalboard = need("pedalboard")
        over_db = rng.uniform(3, 12)
        limiter = pedalboard.Limiter(threshold_db=-over_db, release_ms=float(rng.uniform(30, 300)))
        out = limiter(out / np.float32(peak_now), sample_rate)
    if rng.random() < 0.15:
        lower = int(rng.choice([16_000, 22_050, 32_000]))
        out = resample(resample(out, sample_rate, lower), lower, sample_rate)
        out = np.pad(out, ((0, 0), (0, 8)))[:, : audio.shape[1]]
    if rng.random() < 0.25 and sample_rate in (32_000, 44_100, 48_000):
        coder = need("pedalboard").MP3Compressor(vbr_quality=float(rng.uniform(2, 9.5)))
        loudest = max(float(np.abs(out).max()), 1e-9)
        out = coder(out * np.float32(0.9 / loudest), sample_rate)
    if rng.random() < 0.08:
        out = _silenced(out, rng)
    loudest = float(np.abs(out).max())
    return (out / np.float32(max(loudest, 1.0))).astype(np.float32)


def _through_cabinet(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, cabinets: tuple[np.ndarray, ...]
) -> np.ndarray:
    """A recorded impulse response, or the curve of a speaker in a box."""
    if cabinets and rng.random() < 0.5:
        return _convolved(audio, cabinets[int(rng.integers(len(cabinets)))])
    grid = warp(frequency_grid(sample_rate), sample_rate)

    def at(low_hz: float, high_hz: float) -> float:
        return float(warp(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))), sample_rate))

    response = highpass(grid, cutoff_hz=at(60, 130))
    response *= peak(grid, center_hz=at(90, 180), gain_db=rng.uniform(0, 6), q=1.5)
    response *= peak(grid, center_hz=at(1_800, 4_000), gain_db=rng.uniform(0, 9), q=1.2)
    response *= peak(grid, center_hz=at(350, 900), gain_db=rng.uniform(-6, 2), q=0.8)
    cutoff_hz = at(3_200, 7_000)  # two stages: 24 dB an octave
    for q in (0.6, 1.2):
        response *= resonant_lowpass(grid, cutoff_hz=cutoff_hz, q=q)
    return colour(audio, response)[:, : audio.shape[1]]


def _convolved(audio: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """Audio (1, samples) through an impulse response (taps,), of its length."""
    return signal.fftconvolve(audio, impulse[None], axes=1)[:, : audio.shape[1]].astype(np.float32)


def _room(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The direct sound and a decaying noise behind it."""
    t60_seconds = float(rng.uniform(0.15, 0.8))
    time = np.arange(round(t60_seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * np.exp(-np.log(1000.0) * time / t60_seconds)
    tail *= db_to_amplitude(rng.uniform(-24, -8)) / np.sqrt(np.sum(tail**2))
    tail[: round(rng.uniform(0.003, 0.02) * sample_rate)] = 0.0
    tail[0] = 1.0
    return tail


def _with_noise(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise and mains hum below the clip's RMS."""
    rms = float(np.sqrt(np.mean(np.square(audio))))
    samples = audio.shape[1]
    if rng.random() < 0.25:
        level = rms * db_to_amplitude(rng.uniform(-70, -30))
        audio = audio + np.float32(level) * noise(rng, samples, pink=rng.random() < 0.5)
    if rng.random() < 0.1:
        amplitudes = rng.uniform(0.2, 1, 5) / np.arange(1, 6)
        amplitudes *= rms * db_to_amplitude(rng.uniform(-60, -30))
        mains_hz = float(rng.choice([50.0, 60.0]))
        audio = audio + hum(samples, sample_rate, mains_hz=mains_hz, amplitudes=amplitudes)
    return audio.astype(np.float32)


def _silenced(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to a third of the clip silent, before or after the sound."""
    width = int(rng.uniform(0.05, 0.33) * audio.shape[1])
    out = audio.copy()
    out[:, slice(0, width) if rng.random() < 0.4 else slice(-width, None)] = 0.0
    return out


@lru_cache
def _cabinets(split: str, sample_rate: int) -> tuple[np.ndarray, ...]:
    """Recorded impulse responses (taps,) with a peak gain of 1 over frequency; none offline."""
    found = real_data_dir()
    files = sorted((found / "ir_cab").glob("*.wav"))[_CABINETS[split]] if found else []
    impulses = []
    for file in files:
        impulse = read_audio(file, sample_rate=sample_rate, mono=True)[0][0, : sample_rate // 5]
        impulses.append(impulse / np.abs(np.fft.rfft(impulse, 1 << 14)).max())
    return tuple(impulses)
