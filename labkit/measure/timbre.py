"""How far two notes of a synthesizer are apart, whatever their phase and level.

Estimate and target are `(samples,)` of one length, the target not silent, at 16 kHz or more.

Source of the choice: Hayes et al. 2025 (ISMIR), section 4.3: its windows, hops and bands, none of
its code; where the text leaves a detail open, the docstring says what ours does.
"""

from functools import lru_cache

import numpy as np
import scipy.fft
from torchaudio.functional import melscale_fbanks

# (window, hop) in seconds, and mel bands.
_SCALES = ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))
_RANGE_DB = 80.0


def multi_scale_spectral(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """MSS: mean difference in dB of log-mel spectrograms at three scales.

    Each sound's loudest band is 0 dB (that reference is ours), and what lies 80 dB below it counts
    as silence, so the level does not count.
    """
    _check(estimate, target)
    scores = []
    for window, hop, n_mels in _SCALES:
        sizes = round(window * sample_rate), round(hop * sample_rate), n_mels
        first, second = (_log_mel(sound, sample_rate, *sizes) for sound in (estimate, target))
        scores.append(np.abs(first - second).mean())
    return float(np.mean(scores))


def rms_cosine(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Cosine of the angle between the envelopes (RMS of 50 ms every 25 ms), 0..1; 0 for silence."""
    _check(estimate, target)
    size, hop = round(0.050 * sample_rate), round(0.025 * sample_rate)
    first, second = (
        np.sqrt(np.square(_frames(sound, size, hop)).mean(0)) for sound in (estimate, target)
    )
    norm = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def _check(estimate: np.ndarray, target: np.ndarray) -> None:
    if estimate.shape != target.shape or target.ndim != 1:
        raise ValueError(
            "estimate and target must be equally long vectors, "
            f"got {estimate.shape} and {target.shape}"
        )
    if not np.isfinite(estimate).all() or not np.abs(target).max() > 1e-6:
        raise ValueError("estimate must be finite and target not silent")


def _frames(audio: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(size, frames), the first one around the first sample."""
    padded = np.pad(audio.astype(np.float64), (size // 2, size))
    n = 1 + len(audio) // hop
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: n * hop : hop][:n].T


def _log_mel(audio: np.ndarray, sample_rate: int, size: int, hop: int, n_mels: int) -> np.ndarray:
    """(bands, frames) in dB below the loudest band."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    # Zeros after the short windows: bands narrower than a bin would be empty.
    n_fft = max(2048, 2 ** int(np.ceil(np.log2(size))))
    spectrum = scipy.fft.rfft(_frames(audio, size, hop) * window[:, None], n_fft, axis=0)
    power = _filters(sample_rate, n_fft, n_mels) @ np.square(np.abs(spectrum))
    if power.max() <= 0:
        return np.full(power.shape, -_RANGE_DB)
    return 10 * np.log10(np.maximum(power / power.max(), 10 ** (-_RANGE_DB / 10)))


@lru_cache(maxsize=8)
def _filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    filters = melscale_fbanks(n_fft // 2 + 1, 20.0, sample_rate / 2, n_mels, sample_rate)
    return filters.T.double().numpy()
