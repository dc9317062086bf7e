"""What a plug-in does not say of itself and the host must measure: its lag, and whether it forgets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labkit.effects.hosts.face import CARES, Care
from labkit.signal.seeds import generator

# A plug-in repeats itself when two renders differ by less than this, full scale 1: the rounding of float32 (6e-8) in
# a few additions, and 120 dB below full scale.
REPEAT_TOLERANCE = 1e-6
# An echo that comes later than this is the effect's own, no lag of the processing.
LONGEST_LAG_S = 0.1
# The lag ends where the response first reaches this share of its peak: above the floor that nonlinear plug-ins leave
# in a response estimated from noise, below the first sample of a filter's response.
_ONSET_SHARE = 0.1
# Long enough for most echoes to come.
_PROBE_SAMPLES = 32_768
# Some plug-ins repeat themselves most of the time: memory that was never set is often zero.
_ROUNDS = 3

Render = Callable[[np.ndarray, np.ndarray, Care], np.ndarray]


def noise(samples: int, width: int) -> np.ndarray:
    """White noise at -20 dBFS RMS, the same in every channel and every time: (width, samples) float32."""
    burst = 0.1 * generator(0, "plug-in probe").standard_normal(samples)
    return np.tile(burst.astype(np.float32), (width, 1))


def measure_lag(dry: np.ndarray, wet: np.ndarray, sample_rate: int) -> int:
    """By how many samples one recording lags the other.

    The response is estimated by dividing the spectra; the lag ends where it first reaches a tenth of its peak. So a
    pure delay is found exactly, and a filter has none of its own.

    Args:
        dry: (channels, samples) broadband noise; the first channel is used.
        wet: the same shape, after the plug-in.
        sample_rate: Hz.

    Returns:
        Samples, 0 to `LONGEST_LAG_S`; 0 where nothing comes through.
    """
    samples = dry.shape[1]
    spectrum = np.fft.rfft(dry[0], 2 * samples)
    power = np.abs(spectrum) ** 2
    # A little power everywhere, so that the bins where noise happens to be weak are not blown up.
    response = np.fft.irfft(
        np.fft.rfft(wet[0], 2 * samples) * np.conj(spectrum) / (power + 0.01 * power.mean())
    )
    response = np.abs(response[: round(LONGEST_LAG_S * sample_rate) + 1])
    return int(np.argmax(response >= _ONSET_SHARE * response.max())) if response.max() > 0 else 0


@dataclass(frozen=True)
class Habits:
    """How a plug-in behaves from render to render.

    Attributes:
        care: the cheapest way of forgetting after which a setting sounds as on a fresh, settled instance; where none
            does, the cheapest that comes within twice the best.
        repeat_error: the largest difference from the fresh instance, full scale 1: how far from repeating itself.
        responds: whether turning them all changes the first 0.7 s of sound.
    """

    care: Care = "reset"
    repeat_error: float = 0.0
    responds: bool = True


def find_habits(render: Render, rest: np.ndarray, width: int) -> Habits:
    """Render two settings by fresh instances, then each in turn by one that played the other, with each care.

    Args:
        render: (audio, values, care) -> audio.
        rest: (n,) in 0..1, one setting of the knobs that are turned; the other has every one of them 0.4 away.
        width: channels of the test sound.

    Returns:
        What was found.
    """
    audio = noise(_PROBE_SAMPLES, width)
    settings = rest, np.where(rest > 0.5, rest - 0.4, rest + 0.4)
    fresh = [render(audio, setting, "reload") for setting in settings]
    found: dict[Care, float] = {}
    for care in CARES:
        found[care] = 0.0
        for k in (1, 0) * _ROUNDS:
            found[care] = max(
                found[care], float(np.abs(render(audio, settings[k], care) - fresh[k]).max())
            )
        if found[care] <= REPEAT_TOLERANCE:
            break
    enough = max(2 * min(found.values()), REPEAT_TOLERANCE)
    care, error = next(pair for pair in found.items() if pair[1] <= enough)
    return Habits(care, error, bool(np.abs(fresh[0] - fresh[1]).max() > REPEAT_TOLERANCE))
