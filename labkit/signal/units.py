"""Decibels, pitch and level: the unit conversions used everywhere, on scalars and on arrays alike."""

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

_A4_HZ = 440.0
_A4_MIDI = 69


def _unwrap(values: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(values) if values.ndim == 0 else values


def _positive(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(array > 0):
        raise ValueError(f"{name} must be > 0, got {values}")
    return array


@overload
def db_to_amplitude(db: float) -> float: ...
@overload
def db_to_amplitude(db: NDArray[np.floating]) -> NDArray[np.float64]: ...
def db_to_amplitude(db):
    """The amplitude factor of a level in decibels, `10 ** (db / 20)`.

    Args:
        db: level in dB, scalar or array; minus infinity gives 0.

    Returns:
        A float for a scalar, else a float64 array of the same shape.
    """
    return _unwrap(10.0 ** (np.asarray(db, dtype=np.float64) / 20.0))


@overload
def amplitude_to_db(amplitude: float) -> float: ...
@overload
def amplitude_to_db(amplitude: NDArray[np.floating]) -> NDArray[np.float64]: ...
def amplitude_to_db(amplitude):
    """The level in decibels of an amplitude factor, `20 log10 |amplitude|`.

    Args:
        amplitude: factor, scalar or array; the sign is ignored and 0 gives minus infinity.

    Returns:
        A float for a scalar, else a float64 array of the same shape.
    """
    magnitude = np.abs(np.asarray(amplitude, dtype=np.float64))
    with np.errstate(divide="ignore"):
        return _unwrap(20.0 * np.log10(magnitude))


@overload
def midi_to_hz(midi: float) -> float: ...
@overload
def midi_to_hz(midi: NDArray[np.floating]) -> NDArray[np.float64]: ...
def midi_to_hz(midi):
    """The frequency of a MIDI note number in equal temperament, A4 = 69 = 440 Hz.

    Args:
        midi: note number, scalar or array; fractions are microtones (0.01 = one cent).

    Returns:
        Hz; a float for a scalar, else a float64 array.
    """
    return _unwrap(_A4_HZ * 2.0 ** ((np.asarray(midi, dtype=np.float64) - _A4_MIDI) / 12.0))


@overload
def hz_to_midi(frequency_hz: float) -> float: ...
@overload
def hz_to_midi(frequency_hz: NDArray[np.floating]) -> NDArray[np.float64]: ...
def hz_to_midi(frequency_hz):
    """The (fractional) MIDI note number of a frequency: the inverse of `midi_to_hz`.

    Args:
        frequency_hz: > 0, scalar or array.

    Returns:
        Note number; a float for a scalar, else a float64 array.

    Raises:
        ValueError: if a frequency is not positive.
    """
    return _unwrap(_A4_MIDI + 12.0 * np.log2(_positive("frequency_hz", frequency_hz) / _A4_HZ))


@overload
def cents(frequency_hz: float, reference_hz: float) -> float: ...
@overload
def cents(frequency_hz: NDArray[np.floating], reference_hz: ArrayLike) -> NDArray[np.float64]: ...
def cents(frequency_hz, reference_hz):
    """How far a frequency lies above a reference, in cents (1200 to the octave).

    Args:
        frequency_hz: > 0, scalar or array.
        reference_hz: > 0, scalar or array that broadcasts against it.

    Returns:
        Signed cents; a float for scalars, else a float64 array.

    Raises:
        ValueError: if a frequency is not positive.
    """
    ratio = _positive("frequency_hz", frequency_hz) / _positive("reference_hz", reference_hz)
    return _unwrap(1200.0 * np.log2(ratio))


def _finite(audio: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(audio)
    if array.size == 0:
        raise ValueError(f"audio must hold at least one sample, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(
            f"audio must be finite, got {int((~np.isfinite(array)).sum())} NaN or infinite samples"
        )
    return array


def rms_dbfs(audio: ArrayLike) -> float:
    """The root-mean-square level of a signal over all channels and samples, in dB relative to full scale 1.

    A square wave at full scale reads 0 dBFS, a sine -3.01 dBFS.

    Args:
        audio: any shape, at least one sample, full scale 1.

    Returns:
        dBFS; minus infinity for silence.

    Raises:
        ValueError: if `audio` is empty or not finite.
    """
    array = _finite(audio)
    return amplitude_to_db(float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))))


def set_rms(audio: NDArray[np.floating], target_dbfs: float) -> NDArray[np.floating]:
    """The signal scaled to a root-mean-square level; all channels by one factor. Nothing is clipped.

    Args:
        audio: floating point, any shape, at least one sample, full scale 1.
        target_dbfs: wanted RMS level in dB relative to full scale 1.

    Returns:
        A new array of the same shape and dtype; silence stays silence.

    Raises:
        TypeError: if `audio` is not floating point.
        ValueError: if `audio` is empty or not finite, or `target_dbfs` is NaN or plus infinity.
    """
    array = _finite(audio)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"audio must be floating point, got {array.dtype}")
    if np.isnan(target_dbfs) or target_dbfs == np.inf:
        raise ValueError(f"target_dbfs must be a level in dB, got {target_dbfs}")
    level_dbfs = rms_dbfs(array)
    if level_dbfs == -np.inf:
        return array.copy()
    return (array * db_to_amplitude(target_dbfs - level_dbfs)).astype(array.dtype)
