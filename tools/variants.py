"""The shelf of six as other makers might build it, drawn at random: sound for tools/judge.py.

A network that has heard one distortion, one chorus and one reverb knows these and not their kind.
Here each family has other curves, voices, filters and decays; knobs mean about the same. What is
linear and time-invariant in pedalboard stays so.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy import signal

from labkit.effects.chain import Chain
from labkit.effects.dynamics import FOLLOW
from labkit.effects.kernels import Kernel
from labkit.signal.units import db_to_amplitude

Rng = np.random.Generator
Knobs = Mapping[str, float]

_CURVES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.tanh,
    lambda x: np.clip(x, -1, 1),
    lambda x: x / (1 + np.abs(x)),
    lambda x: np.arctan(x * np.pi / 2) * 2 / np.pi,
    lambda x: np.where(np.abs(x) < 1.5, x - 4 * x**3 / 27, np.sign(x)),
    lambda x: np.where(x > 0, np.tanh(x), 0.6 * np.tanh(x / 0.6)),
    lambda x: np.tanh(x + 0.4) - np.tanh(0.4),
    lambda x: np.sign(x) * (1 - np.exp(-np.abs(x))),
)


def render_varied(chain: Chain, audio: np.ndarray, sample_rate: int, rng: Rng) -> np.ndarray:
    """A chain of the six pedals, each as another maker might build it.

    `audio` and the result are (1, samples). A pedal without variants raises KeyError.
    """
    for step in chain.steps:
        mono = audio[0].astype(np.float64)
        audio = _VARIANTS[step.effect](mono, sample_rate, step.params, rng)[None]
    return audio.astype(np.float32)


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _filtered(x: np.ndarray, rate: int, kind: str, cutoff_hz: float, order: int = 1) -> np.ndarray:
    return signal.sosfilt(signal.butter(order, cutoff_hz, kind, fs=rate, output="sos"), x)


def _distortion(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """One or two clipping stages between filters, oversampled or not, some clean sound beside."""
    clean, factor = x, int(rng.choice([1, 2, 4]))
    for _ in range(1 + (rng.random() < 0.25)):
        if rng.random() < 0.5:
            x = _filtered(x, rate, "highpass", _log_uniform(rng, 60, 700))
        curve = _CURVES[int(rng.integers(len(_CURVES)))]
        x = signal.resample_poly(x, factor, 1) if factor > 1 else x
        x = curve(db_to_amplitude(knobs["drive_db"] + rng.uniform(-4, 4)) * x)
        x = signal.resample_poly(x, 1, factor)[: len(clean)] if factor > 1 else x
        x = _filtered(x, rate, "highpass", 20.0)
        if rng.random() < 0.6:
            x = _filtered(
                x, rate, "lowpass", _log_uniform(rng, 1500, 9000), int(rng.integers(1, 3))
            )
    if rng.random() < 0.25:
        x = x + rng.uniform(0.1, 0.5) * np.std(x) / max(np.std(clean), 1e-9) * clean
    return x


def _oscillator(samples: int, rate: int, rate_hz: float, rng: Rng) -> np.ndarray:
    """A sine or a triangle from -1 to 1 from a random phase."""
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rate_hz * np.arange(samples) / rate
    return np.sin(phase) if rng.random() < 0.6 else signal.sawtooth(phase, 0.5)


def _chorus(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """One to three voices, each a delay that swings by up to half a semitone of pitch."""
    wet, time = np.zeros_like(x), np.arange(len(x), dtype=np.float64)
    voices = int(rng.choice([1, 1, 2, 3]))
    for _ in range(voices):
        rate_hz = knobs["rate_hz"] * rng.uniform(0.8, 1.25)
        centre_ms = knobs["centre_delay_ms"] * _log_uniform(rng, 0.8, 2.0)
        # Peak pitch shift = swing * 2 pi * rate: 8 to 50 cents for one voice.
        swing_ms = 1000 * _log_uniform(rng, 0.005, 0.029) / (2 * np.pi * rate_hz)
        swing_ms = min(swing_ms, 0.9 * centre_ms)
        delay_ms = centre_ms + swing_ms * _oscillator(len(x), rate, rate_hz, rng)
        wet += np.interp(time - delay_ms * rate / 1000, time, x, left=0.0)
    if rng.random() < 0.3:
        wet = _filtered(wet, rate, "lowpass", _log_uniform(rng, 2500, 10_000))
    mix = knobs["mix"]
    return (1 - mix) * x + mix * wet / np.sqrt(voices)


@Kernel
def _allpass_stages(first, stop, audio, coefficient, feedback, n_stages, wet):
    """First-order allpasses in series, one coefficient for all at each sample (lanes, samples)."""
    for lane in range(first, stop):
        stages = int(n_stages[lane])
        before, after = np.zeros(stages), np.zeros(stages)
        returned = 0.0
        for sample in range(audio.shape[1]):
            value, a = audio[lane, sample] + feedback[lane] * returned, coefficient[lane, sample]
            for stage in range(stages):
                out = a * (value - after[stage]) + before[stage]
                before[stage], after[stage] = value, out
                value = out
            returned = value
            wet[lane, sample] = value


def _phaser(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """Two to twelve allpasses, swept by up to an octave and a half to both sides."""
    octaves = knobs["depth"] * rng.uniform(0.5, 1.5)
    sweep = octaves * _oscillator(len(x), rate, knobs["rate_hz"], rng)
    corner = np.tan(np.pi * np.clip(knobs["centre_frequency_hz"] * 2.0**sweep / rate, 1e-4, 0.45))
    stages = float(rng.choice([2, 4, 4, 6, 8, 12]))
    back = knobs["feedback"] * float(rng.choice([-1, 1]))
    given = (x[None], ((corner - 1) / (corner + 1))[None], np.array([back]), np.array([stages]))
    wet = torch.zeros(1, len(x), dtype=torch.float64)
    _allpass_stages([torch.from_numpy(np.ascontiguousarray(one)) for one in given], [wet])
    return (1 - knobs["mix"]) * x + knobs["mix"] * wet[0].numpy()


def _delay(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """Echoes that grow darker or thinner, or one single echo."""
    lag = round(knobs["delay_seconds"] * rate)
    share = 0.0 if rng.random() < 0.3 else knobs["feedback"]
    dark_hz = _log_uniform(rng, 1200, 9000) if rng.random() < 0.6 else None
    thin_hz = _log_uniform(rng, 60, 400) if rng.random() < 0.4 else None
    wet, echo = np.zeros_like(x), x
    for n in range(1, (len(x) - 1) // lag + 1):
        if dark_hz:
            echo = _filtered(echo, rate, "lowpass", dark_hz)
        if thin_hz:
            echo = _filtered(echo, rate, "highpass", thin_hz)
        wet[n * lag :] += share ** (n - 1) * echo[: len(x) - n * lag]
        if share**n < 1e-3:
            break
    mix = knobs["mix"]
    return (1 - mix) * x + mix * wet


def _reverb(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """Decaying noise in three bands behind a few early reflections and a pre-delay."""
    longest = 0.3 * 12.0 ** knobs["room_size"] * rng.uniform(0.7, 1.3)  # T60: 0.4 to 4 s
    time = np.arange(min(len(x), round(longest * rate))) / rate
    edges_hz = (_log_uniform(rng, 200, 500), _log_uniform(rng, 2000, 5000))
    white = rng.standard_normal(len(time))
    low, rest = (_filtered(white, rate, kind, edges_hz[0]) for kind in ("lowpass", "highpass"))
    middle, high = (_filtered(rest, rate, kind, edges_hz[1]) for kind in ("lowpass", "highpass"))
    shorter = 1 - 0.8 * knobs["damping"]
    decays = (longest * rng.uniform(0.7, 1.0), longest, longest * shorter)
    tail = sum(
        band * 10 ** (-3 * time / seconds)
        for band, seconds in zip((low, middle, high), decays, strict=True)
    )
    ahead = round(rng.uniform(0.0, 0.05) * rate)
    for place in rng.uniform(0.002, 0.06, int(rng.integers(0, 12))):
        tail[min(round(place * rate), len(tail) - 1)] += rng.choice([-1, 1]) * 8 * rng.random()
    wet = signal.fftconvolve(x, tail)[: len(x)]
    wet = np.pad(wet, (ahead, 0))[: len(x)]
    mix = knobs["mix"]
    # A room at mix 0.5 is about as loud as the dry sound.
    wet *= db_to_amplitude(rng.uniform(-4, 3)) * np.std(x) / max(np.std(wet), 1e-9)
    return (1 - mix) * x + mix * wet


def _compressor(x: np.ndarray, rate: int, knobs: Knobs, rng: Rng) -> np.ndarray:
    """RMS or peak in dB, a soft knee, the gain followed in dB, and make-up gain."""
    kept = np.exp(-1 / (_log_uniform(rng, 0.0005, 0.015) * rate))
    power = signal.lfilter([1 - kept], [1, -kept], x**2)
    over_db = 10 * np.log10(np.maximum(power, 1e-12)) - knobs["threshold_db"]
    knee_db = rng.uniform(0.1, 12)
    bent = np.clip(over_db + knee_db / 2, 0, None) ** 2 / (2 * knee_db)
    over_db = np.where(over_db > knee_db / 2, over_db, np.where(over_db > -knee_db / 2, bent, 0))
    reduction_db = over_db * (1 - 1 / knobs["ratio"])
    shares = [np.exp(-1000 / (knobs[name] * rate)) for name in ("attack_ms", "release_ms")]
    given = (reduction_db[None], *(np.array([share]) for share in shares))
    followed = FOLLOW(*(torch.from_numpy(one) for one in given))[0].numpy()
    return x * db_to_amplitude(rng.uniform(0.3, 0.9) * followed.mean() - followed)


_VARIANTS = {
    "compressor": _compressor,
    "distortion": _distortion,
    "chorus": _chorus,
    "phaser": _phaser,
    "delay": _delay,
    "reverb": _reverb,
}
