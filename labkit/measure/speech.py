"""Speech as listeners and editors judge it: PESQ, STOI, and the noise in its pauses.

Both sounds are (1, samples) at one rate.
"""

import numpy as np

from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.speech import pauses
from labkit.signal.units import rms_dbfs


def pesq_mos(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """PESQ, wideband: an opinion from 1 to 4.6 (ITU-T P.862.2)."""
    return need("pesq").pesq(16_000, *_at_16_khz(sample_rate, target, sound), "wb")


def stoi(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Intelligibility 0 to 1 (Taal et al. 2011)."""
    return need("pystoi").stoi(*_at_16_khz(sample_rate, target, sound), 16_000)


def _at_16_khz(sample_rate: int, *sounds: np.ndarray) -> list[np.ndarray]:
    return [resample(np.ascontiguousarray(sound), sample_rate, 16_000)[0] for sound in sounds]


def pause_level_db(sound: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Level in the target's pauses above that of the rest, mean of 10 ms in dB; NaN without one.

    The first 50 ms of a pause are the end of a word.
    """
    hop, speech, quiet = sample_rate // 100, np.ones(sound.shape[1], bool), []
    for start, stop in pauses(target, sample_rate):
        speech[start:stop] = False
        first = start + 5 * hop
        frames = sound[0, first : first + (stop - first) // hop * hop].reshape(-1, hop)
        quiet += (10 * np.log10(np.square(frames).mean(1) + 1e-12)).tolist()
    return np.mean(quiet) - rms_dbfs(sound[:, speech]) if quiet else np.nan
