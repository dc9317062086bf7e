"""The pitch of a note, by harmonic sum and pYIN together: alone each errs by octaves."""

from typing import NamedTuple

import numpy as np

from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.units import db_to_amplitude
from labkit.systems.synth.model import SAMPLE_RATE

# Keys that are looked for, every twentieth of a semitone.
GRID = np.arange(24.0, 98.0, 0.05)
_FFT, _N_HARMONICS, _DECAY = 2**16, 10, 0.84
# Of pYIN, which needs no more: its weight beside the harmonic sum, chosen on validation notes.
_RATE, _FRAME, _HOP, _WEIGHT = 11_025, 1024, 256, 0.25
_QUIET_DB = -25.0


class Pitch(NamedTuple):
    """The pitch of a note."""

    key: float  # MIDI key with its fraction
    # pYIN's probability that there is a pitch, weighted by power: below .02 for noise, above .2 for
    # plucked notes, even damped ones
    certainty: float


def pitch_of(sound: np.ndarray, *, near: float | None = None) -> Pitch:
    """The pitch of (samples,) at 44.1 kHz, within half a semitone of `near` if that is given.

    Source: Mauch and Dixon 2014 (pYIN).
    """
    librosa = need("librosa")
    slow = resample(sound[None], SAMPLE_RATE, _RATE)[0]
    sizes = {"frame_length": _FRAME, "hop_length": _HOP}
    hertz, voiced, probability = librosa.pyin(slow, fmin=30.0, fmax=2100.0, sr=_RATE, **sizes)
    power = librosa.feature.rms(y=slow, **sizes)[0] ** 2
    keys = librosa.hz_to_midi(np.where(voiced, hertz, 1.0))
    share = power * voiced / max(power.sum(), 1e-12)
    votes = (np.abs(keys - GRID[:, None]) < 0.5) @ share
    certainty = float(share @ probability)
    score = harmonic_sum(sound) + _WEIGHT * votes
    if near is not None:
        score[np.abs(GRID - near) > 0.5] = -np.inf
    return Pitch(float(GRID[score.argmax()]), certainty)


def played_key(sound: np.ndarray) -> float:
    """The key of a synthesizer's note (samples,), by harmonic sum alone; NaN for silence."""
    return float(GRID[harmonic_sum(sound).argmax()]) if np.abs(sound).max() > 1e-6 else np.nan


def harmonic_sum(sound: np.ndarray) -> np.ndarray:
    """How well each key of the grid fits (samples,): harmonics minus the gaps below them, up to 1.

    Source: Hermes 1988; the gaps are those of Camacho and Harris 2008.
    """
    held = _held(sound)
    spectrum = np.sqrt(np.abs(np.fft.rfft(held * np.hanning(len(held)), _FFT)))
    bins = 440 * 2 ** ((GRID[:, None] - 69) / 12) * _FFT / SAMPLE_RATE
    order = np.arange(1, _N_HARMONICS + 1)
    weights = _DECAY**order
    places = np.arange(len(spectrum))
    on, between = (np.interp(bins * k, places, spectrum) @ weights for k in (order, order - 0.5))
    return (on - between) / max((on - between).max(), 1e-9)


def _held(sound: np.ndarray) -> np.ndarray:
    """From the loudest moment until 25 dB below it, at least a fifth of a second."""
    frames = sound[: len(sound) // 1024 * 1024].reshape(-1, 1024)
    level = np.sqrt(np.square(frames).mean(1))
    first = int(np.argmax(level))
    last = np.flatnonzero(level >= level[first] * db_to_amplitude(_QUIET_DB))[-1]
    return sound[1024 * first : 1024 * max(last + 1, first + 8)]
