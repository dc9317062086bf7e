"""Pedals as other makers build them: random relatives of the nine families, for training.

No two makers build the same chorus. Who hears one maker's pedals alone learns that maker. Here a
family is a recipe with random parts: curves, filters, shapes of an LFO, voices, tails. The recipes
follow Zölzer, DAFX, 2nd edition (2011), chapters 2 to 5; none is a model of a real unit.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal

from labkit.signal.augment import colour, draw_response
from labkit.signal.units import db_to_amplitude

Recipe = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
_FRAME = 32  # samples between two values of a compressor's gain
_FFT, _HOP = 1024, 256  # of a phaser, whose filters stand still for a frame


def play(family: str, audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A clip float32 (1, samples) through a random pedal of one of `FAMILIES`, of its level.

    The knobs are drawn so that the effect can be heard.
    """
    x = audio[0].astype(np.float64)
    rms = max(float(np.sqrt(np.mean(x**2))), 1e-7)
    out = FAMILIES[family](x / rms, sample_rate, rng)
    if rng.random() < 0.3:  # the pedal's own tone
        response = draw_response(sample_rate, rng, strength=0.3)
        out = colour(out[None].astype(np.float32), response)[0, : len(x)]
    out = out * (rms / max(float(np.sqrt(np.mean(out**2))), 1e-7))
    return np.ascontiguousarray(out[None], dtype=np.float32)


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    """A number of this range; every octave is as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _first_order(x: np.ndarray, sample_rate: int, cutoff_hz: float, kind: str) -> np.ndarray:
    cutoff_hz = min(cutoff_hz, 0.45 * sample_rate)
    return signal.lfilter(*signal.butter(1, cutoff_hz, kind, fs=sample_rate), x)


def _lfo(n: int, rate: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) a sine, a triangle, or a sine that stays longer at one end, from -1 to 1."""
    phase = 2 * np.pi * (rate * np.arange(n) / sample_rate + rng.random())
    shape = rng.choice(["sine", "triangle", "bent"], p=[0.5, 0.3, 0.2])
    if shape == "triangle":
        return signal.sawtooth(phase, 0.5)
    wave = np.sin(phase)
    return wave if shape == "sine" else 2 * (0.5 + 0.5 * wave) ** rng.uniform(0.4, 2.5) - 1


def _late(x: np.ndarray, delay: np.ndarray | float) -> np.ndarray:
    """The sound `delay` samples ago, by linear interpolation; silence before the beginning."""
    places = np.arange(len(x)) - delay
    return np.interp(places, np.arange(len(x)), x, left=0.0)


def _distortion(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """One or two clippers between filters, some with bias, some beside the clean sound."""
    y = x / 4  # a peak of about 1
    for _ in range(1 + (rng.random() < 0.25)):
        through = _first_order(y, sample_rate, _log(rng, 30, 800), "high")
        gain = db_to_amplitude(rng.uniform(8, 42))
        bias = rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0
        z = gain * through / max(float(np.abs(through).max()), 1e-6) + bias
        curve = rng.choice(["tanh", "hard", "diode", "root", "arctan"])
        if curve == "hard":
            z = np.clip(z, -rng.uniform(0.5, 1), 1)
        elif curve == "diode":  # another knee on either side
            knee = rng.uniform(0.4, 1)
            z = np.where(z > 0, 1 - np.exp(-np.abs(z)), knee * np.expm1(-np.abs(z) / knee))
        else:
            z = {"tanh": np.tanh, "arctan": np.arctan}.get(curve, lambda v: v / np.hypot(1, v))(z)
        y = z - z.mean()
        if rng.random() < 0.3:  # the clean sound stays, as in a Tube Screamer
            y = y + rng.uniform(0.1, 0.6) * x / 4
    return _first_order(y, sample_rate, _log(rng, 1_500, 14_000), "low")


def _compressor(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A feed-forward compressor that hears power or peaks."""
    frames = np.pad(x, (0, -len(x) % _FRAME)).reshape(-1, _FRAME)
    loud = np.abs(frames).max(1) if rng.random() < 0.4 else np.sqrt((frames**2).mean(1))
    level_db = 20 * np.log10(loud + 1e-4)
    threshold_db, ratio = rng.uniform(-24, -6), _log(rng, 3, 20)
    wanted = -(1 - 1 / ratio) * np.maximum(level_db - threshold_db, 0)
    times = _log(rng, 1e-3, 4e-2), _log(rng, 0.05, 0.6)
    attack, release = (float(-np.expm1(-_FRAME / (sample_rate * t))) for t in times)
    gain, now = np.empty(len(wanted)), 0.0
    for k, target in enumerate(wanted.tolist()):
        now += (release if target > now else attack) * (target - now)
        gain[k] = now
    places = np.arange(len(x)) / _FRAME - 0.5
    return x * db_to_amplitude(np.interp(places, np.arange(len(gain)), gain))


def _chorus(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """One to four voices that wander behind the dry one."""
    wet, n = np.zeros_like(x), int(rng.choice([1, 1, 2, 3, 4]))
    rate, depth_ms = _log(rng, 0.2, 4), _log(rng, 0.7, 6)
    for _ in range(n):
        middle_ms = depth_ms + rng.uniform(4, 35)
        swing = _lfo(len(x), rate * rng.uniform(0.8, 1.25), sample_rate, rng)
        wet += _late(x, (middle_ms + depth_ms * swing) * sample_rate / 1000)
    wet = _first_order(wet, sample_rate, _log(rng, 2_500, 16_000), "low")
    return x + rng.uniform(0.5, 1.2) * wet / np.sqrt(n)


def _flanger(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The sound and its echoes a few milliseconds ago, all of them sweeping together."""
    depth_ms = _log(rng, 0.5, 4)
    swing = depth_ms * (1 + _lfo(len(x), _log(rng, 0.08, 2), sample_rate, rng))
    delay = (rng.uniform(0.2, 2) + swing) * sample_rate / 1000
    feedback, sign = rng.uniform(0, 0.8), rng.choice([-1, 1])
    out = x.copy()
    for k in range(1, 1 + max(1, int(np.log(0.1) / np.log(feedback + 1e-3)))):
        out += rng.uniform(0.7, 1) * sign**k * feedback ** (k - 1) * _late(x, k * delay)
    return out


def _vibrato(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A pitch that swings by 15 to 120 cents."""
    rate = _log(rng, 2.5, 9)
    swing = _lfo(len(x), rate, sample_rate, rng)
    # A delay of d sin(2 pi f t) moves the pitch by the factor 1 + 2 pi f d; e is 1731 cents.
    depth = rng.uniform(15, 120) / 1731 / (2 * np.pi * rate)
    return _late(x, sample_rate * (0.002 + depth * (1 + swing)))


def _tremolo(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A level that swings, smoothly or like a switch; in some, bass and treble by turns."""
    swing = _lfo(len(x), _log(rng, 2, 12), sample_rate, rng)
    if rng.random() < 0.3:
        swing = np.tanh(rng.uniform(2, 8) * swing)
    depth = rng.uniform(0.35, 1)
    up, down = (1 - depth * (0.5 + 0.5 * s) for s in (swing, -swing))
    if rng.random() < 0.8:
        return x * up
    low = _first_order(x, sample_rate, _log(rng, 300, 1_200), "low")
    return low * up + (x - low) * down


def _phaser(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Two to ten all-pass filters beside the dry sound, some with feedback."""
    sizes = {"nperseg": _FFT, "noverlap": _FFT - _HOP}
    hz, seconds, spectrum = signal.stft(x, sample_rate, **sizes)
    centre, octaves = _log(rng, 300, 1_500), rng.uniform(0.7, 2.5)
    swing = _lfo(len(seconds), _log(rng, 0.1, 4), round(sample_rate / _HOP), rng)
    corner = np.tan(np.pi * np.clip(centre * 2 ** (octaves * swing), 40, 9_000) / sample_rate)
    line = 1j * np.tan(np.pi * np.minimum(hz, 0.49 * sample_rate) / sample_rate)[:, None]
    shifted = ((corner - line) / (corner + line)) ** int(rng.choice([2, 4, 4, 6, 8, 10]))
    shifted = shifted / (1 - rng.uniform(0, 0.75) * (rng.random() < 0.6) * shifted)
    share = rng.uniform(0.35, 0.6)
    spectrum = spectrum * (1 - share + share * rng.choice([-1, 1]) * shifted)
    return signal.istft(spectrum, sample_rate, **sizes)[1][: len(x)]


def _delay(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Echoes that fade, and grow darker or waver as on tape."""
    time = _log(rng, 0.09, 0.8) * sample_rate
    waver = 0.0
    if rng.random() < 0.4:
        swing = _lfo(len(x), _log(rng, 0.3, 3), sample_rate, rng)
        waver = rng.uniform(0, 4e-4) * sample_rate * swing
    feedback, echo, out = rng.uniform(0, 0.75), x, x.copy()
    cutoff_hz, level = _log(rng, 1_500, 18_000), rng.uniform(0.35, 1)
    for _ in range(8):
        echo = _first_order(_late(echo, time + waver), sample_rate, cutoff_hz, "low")
        out += level * echo
        echo = feedback * echo
        if feedback < 0.05 or not echo.any():
            break
    return out


def _reverb(x: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A tail of noise, darker the later; or a spring, whose echoes come bass last."""
    t60_seconds = _log(rng, 0.5, 5)
    time = np.arange(round(min(t60_seconds, 2.5) * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60_seconds)
    dark = _first_order(tail, sample_rate, _log(rng, 500, 4_000), "low")
    tail = tail + (dark - tail) * (1 - 10 ** (-time * rng.uniform(0, 3)))
    tail = _first_order(tail, sample_rate, _log(rng, 3_000, 16_000), "low")
    if rng.random() < 0.25:  # a spring: few, long chirps
        section = [rng.uniform(0.5, 0.7), *[0.0] * int(rng.integers(1, 4)), 1.0]
        chirp = np.zeros(round(0.25 * sample_rate))
        chirp[0] = 1.0
        for _ in range(40):
            chirp = signal.lfilter(section, section[::-1], chirp)
        sparse = tail * (rng.random(len(tail)) < 60 / sample_rate)
        tail = signal.fftconvolve(sparse, chirp)[: len(tail)]
    tail = np.pad(tail, (round(rng.uniform(0, 0.06) * sample_rate), 0))
    wet = signal.fftconvolve(x, tail)[: len(x)]
    share = rng.uniform(0.15, 0.8)
    wet *= np.sqrt(np.mean(x**2) / max(float(np.mean(wet**2)), 1e-12))
    return (1 - share) * x + share * wet


FAMILIES: dict[str, Recipe] = {
    "compressor": _compressor,
    "distortion": _distortion,
    "chorus": _chorus,
    "phaser": _phaser,
    "delay": _delay,
    "reverb": _reverb,
    "flanger": _flanger,
    "vibrato": _vibrato,
    "tremolo": _tremolo,
}
