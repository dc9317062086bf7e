"""What the package takes for audio: checked at its edges, float32 `(channels, samples)`, full scale 1, finite."""

import numpy as np

from labkit.signal.optional import need

MAX_CHANNELS = 64


class AudioError(ValueError):
    """Audio that cannot be used: the message names the argument, what was expected and what was given."""


def check_rate(sample_rate: int, name: str = "sample_rate") -> int:
    """The sample rate as an int, or an error.

    Args:
        sample_rate: Hz, a whole number from 1 to 1,000,000.
        name: the argument's name in the message.

    Returns:
        The rate as a Python int.

    Raises:
        AudioError: if it is not a whole number in that range.
    """
    if isinstance(sample_rate, bool) or not isinstance(
        sample_rate, (int, float, np.integer, np.floating)
    ):
        raise AudioError(f"{name} must be a whole number of Hz, got {sample_rate!r}")
    if not 1 <= sample_rate <= 1_000_000 or sample_rate != int(sample_rate):
        raise AudioError(
            f"{name} must be a whole number of Hz from 1 to 1000000, got {sample_rate!r}"
        )
    return int(sample_rate)


def check_audio(audio: np.ndarray, sample_rate: int, *, name: str = "audio") -> np.ndarray:
    """The audio as float32 `(channels, samples)`, or an error that says what is wrong with it.

    Args:
        audio: floats `(channels, samples)`, 1 to 64 channels, or `(samples,)` for mono; full scale 1, finite.
        sample_rate: Hz.
        name: the argument's name in the message.

    Returns:
        A C-contiguous float32 array `(channels, samples)`; the input itself when it already is one.

    Raises:
        AudioError: wrong type, shape, an empty array, NaN or infinity, or a bad sample rate.
    """
    check_rate(sample_rate)
    if not isinstance(audio, np.ndarray):
        raise AudioError(
            f"{name} must be a NumPy array (channels, samples), got {type(audio).__name__}"
        )
    if not np.issubdtype(audio.dtype, np.floating):
        raise AudioError(
            f"{name} must be floats with full scale 1, got {audio.dtype}: divide integers by their full scale first"
        )
    if audio.ndim == 1:
        audio = audio[None]
    if audio.ndim != 2:
        raise AudioError(f"{name} must have shape (channels, samples), got {audio.shape}")
    if 0 in audio.shape:
        raise AudioError(
            f"{name} is empty: shape {audio.shape}, at least one channel and one sample expected"
        )
    if audio.shape[0] > MAX_CHANNELS:
        hint = (
            ": this looks like (samples, channels), pass audio.T"
            if audio.shape[1] <= MAX_CHANNELS
            else ""
        )
        raise AudioError(
            f"{name} must have 1 to {MAX_CHANNELS} channels first, got shape {audio.shape}{hint}"
        )
    with np.errstate(
        over="ignore"
    ):  # a double beyond float32 becomes infinite and is reported just below
        audio = np.ascontiguousarray(audio, dtype=np.float32)
    bad = audio.size - int(np.count_nonzero(np.isfinite(audio)))
    if bad:
        raise AudioError(
            f"{name} must be finite, got {bad} NaN or infinite of {audio.size} samples"
        )
    return audio


def to_mono(audio: np.ndarray) -> np.ndarray:
    """The mean of the channels.

    Args:
        audio: `(channels, samples)`.

    Returns:
        float32 `(1, samples)`.

    Raises:
        AudioError: if `audio` is not usable, or its channels cancel: the mean lies 60 dB below one of them.
    """
    audio = check_audio(audio, 1)
    if audio.shape[0] == 1:
        return audio
    mono = audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if np.square(mono).mean() < 1e-6 * np.square(audio).mean(axis=1).max():
        raise AudioError(
            "channels cancel in their mean: opposite polarity? Turn one over, or give one alone"
        )
    return mono


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The same sound at another sample rate, by soxr at its high-quality setting.

    Args:
        audio: `(channels, samples)`.
        from_rate: its sample rate in Hz.
        to_rate: the wanted one in Hz.

    Returns:
        float32 `(channels, max(1, round(samples * to_rate / from_rate)))`.

    Raises:
        AudioError: if the audio or a rate is not usable.
    """
    audio = check_audio(audio, from_rate)
    to_rate = check_rate(to_rate, "to_rate")
    if from_rate == to_rate:
        return audio
    samples = max(1, round(audio.shape[1] * to_rate / from_rate))
    out = (
        need("soxr")
        .resample(audio.T, int(from_rate), to_rate)
        .reshape(-1, audio.shape[0])
        .T[:, :samples]
    )
    out = np.pad(out, ((0, 0), (0, samples - out.shape[1])))
    return np.ascontiguousarray(out, dtype=np.float32)


def describe(audio: np.ndarray, sample_rate: int) -> dict[str, float | int | bool]:
    """What a listener should know before using a recording.

    Args:
        audio: `(channels, samples)`.
        sample_rate: Hz.

    Returns:
        `channels`, `samples`, `seconds`, `sample_rate`, `peak_dbfs` and `rms_dbfs` (-inf for digital
        silence), `silent` (peak below -80 dBFS), `clipped_share` (samples at or beyond 0.999 of full scale),
        `dc_offset`.

    Raises:
        AudioError: if the audio is not usable.
    """
    audio = check_audio(audio, sample_rate)
    peak = float(np.abs(audio).max())
    rms = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    return {
        "channels": audio.shape[0],
        "samples": audio.shape[1],
        "seconds": audio.shape[1] / sample_rate,
        "sample_rate": int(sample_rate),
        "peak_dbfs": 20 * float(np.log10(peak)) if peak else float("-inf"),
        "rms_dbfs": 20 * float(np.log10(rms)) if rms else float("-inf"),
        "silent": peak < 1e-4,
        "clipped_share": float(np.mean(np.abs(audio) >= 0.999)),
        "dc_offset": float(audio.mean(dtype=np.float64)),
    }
