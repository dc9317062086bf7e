"""What the network hears of a note: a mel picture for what changes, and one fine spectrum for what is tuned."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from labkit.measure.loudness import loudness_lufs
from labkit.signal.spectra import log_mel, power, stft

SAMPLE_RATE = 44_100
LEVEL_LUFS = -23.0
N_FFT, HOP_LENGTH, N_MELS = 2048, 1024, 64
LOW_HZ, HIGH_HZ = 30.0, 16_000.0
# The fine spectrum: three lines a semitone from C1 on; 1.3 Hz between bins.
FINE_FFT, PER_OCTAVE, N_LINES, FIRST_HZ = 32_768, 36, 312, 32.703
FLOOR_DB = -100.0


class Heard(NamedTuple):
    """Of one note.

    Attributes:
        mel: (N_MELS, frames) float16, dB.
        lines: (N_LINES,) float16, dB: power in a third of a semitone, averaged over time.
        loudness_lufs: of the note as it was; the features are those of the note at `LEVEL_LUFS`.
    """

    mel: np.ndarray
    lines: np.ndarray
    loudness_lufs: float


def n_frames(seconds: float) -> int:
    """Frames of the mel picture of so much sound."""
    return 1 + round(seconds * SAMPLE_RATE) // HOP_LENGTH


def mono(audio: np.ndarray) -> np.ndarray:
    """(channels, samples) -> (1, samples), the mean."""
    return audio.mean(0, keepdims=True, dtype=np.float32)


def hear(audio: np.ndarray, loudness: float | None = None) -> Heard:
    """Both views of a note, whatever its level.

    Args:
        audio: (channels, samples) at 44.1 kHz, not silent, longer than 20 ms.
        loudness: its loudness in LUFS where it is known.

    Returns:
        The views.

    Raises:
        ValueError: if it is silent, which has no loudness.
    """
    single = mono(audio)
    loudness = loudness_lufs(single, SAMPLE_RATE) if loudness is None else loudness
    if not np.isfinite(loudness):
        raise ValueError("audio must not be silent")
    sound = torch.from_numpy(single * np.float32(10 ** ((LEVEL_LUFS - loudness) / 20)))
    mel = log_mel(
        sound,
        SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        low_hz=LOW_HZ,
        high_hz=HIGH_HZ,
        floor_db=FLOOR_DB,
    )[0]
    return Heard(mel.numpy().astype(np.float16), _lines(sound).astype(np.float16), float(loudness))


def _lines(sound: torch.Tensor) -> np.ndarray:
    """Power of every line in dB, 0 dB a sine of full scale all the time."""
    if sound.shape[-1] < FINE_FFT:
        sound = torch.nn.functional.pad(sound, (0, FINE_FFT - sound.shape[-1]))
    mean = power(stft(sound, n_fft=FINE_FFT, hop_length=FINE_FFT // 4))[0].mean(-1)
    bands = _line_filters() @ (mean / ((FINE_FFT / 2) ** 2 / 4))
    return (10 * torch.log10(bands.clamp(min=10 ** (FLOOR_DB / 10)))).numpy()


@lru_cache(maxsize=1)
def _line_filters() -> torch.Tensor:
    """(N_LINES, bins) triangles, as wide as two lines or four bins: no line falls between the bins."""
    centre = FIRST_HZ * 2 ** (np.arange(N_LINES) / PER_OCTAVE)
    bins = np.arange(FINE_FFT // 2 + 1) * SAMPLE_RATE / FINE_FFT
    half = np.maximum(centre * (2 ** (1 / PER_OCTAVE) - 1), 2 * SAMPLE_RATE / FINE_FFT)
    rows = np.clip(1 - np.abs(bins - centre[:, None]) / half[:, None], 0, None)
    return torch.from_numpy(rows.astype(np.float32))
