"""Decibels, pitch and level: unit conversions on scalars (a float back) and on arrays alike."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _unwrap(values: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(values) if values.ndim == 0 else values


def db_to_amplitude(db: ArrayLike) -> float | NDArray[np.float64]:
    """The amplitude factor of a level in dB; minus infinity gives 0."""
    return _unwrap(10.0 ** (np.asarray(db, dtype=np.float64) / 20.0))


def amplitude_to_db(amplitude: ArrayLike) -> float | NDArray[np.float64]:
    """The level in dB of an amplitude factor; its sign is ignored and 0 gives minus infinity."""
    magnitude = np.abs(np.asarray(amplitude, dtype=np.float64))
    with np.errstate(divide="ignore"):
        return _unwrap(20.0 * np.log10(magnitude))


def midi_to_hz(midi: ArrayLike) -> float | NDArray[np.float64]:
    """The frequency of a MIDI note number in equal temperament; fractions are microtones."""
    return _unwrap(440.0 * 2.0 ** ((np.asarray(midi, dtype=np.float64) - 69) / 12.0))


def finite(audio: ArrayLike) -> NDArray[np.floating]:
    """The audio as an array; ValueError if it is empty, NaN or infinite."""
    array = np.asarray(audio)
    if array.size == 0:
        raise ValueError(f"audio must hold at least one sample, got shape {array.shape}")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"audio must be finite, got {bad} NaN or infinite samples")
    return array


def rms_dbfs(audio: ArrayLike) -> float:
    """The RMS level over all channels in dB; a full-scale square wave has 0, silence -inf."""
    array = finite(audio)
    return amplitude_to_db(float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))))


def set_rms(audio: NDArray[np.floating], target_dbfs: float) -> NDArray[np.floating]:
    """The signal scaled to an RMS level by one factor, nothing clipped; silence stays silence."""
    array = finite(audio)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"audio must be floating point, got {array.dtype}")
    level_dbfs = rms_dbfs(array)
    if level_dbfs == -np.inf:
        return array.copy()
    return (array * db_to_amplitude(target_dbfs - level_dbfs)).astype(array.dtype)
