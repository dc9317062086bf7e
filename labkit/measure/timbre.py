"""How far two notes of a synthesizer are apart, whatever their phase and level.

Estimate and target are `(samples,)` of one length, the target not silent, at 16 kHz or more.

Source of the choice: Hayes et al. 2025 (ISMIR), section 4.3: its windows, hops and bands, none of
its code; where the text leaves a detail open, the docstring says what ours does.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy.fft
from torchaudio.functional import melscale_fbanks

from labkit.signal.optional import need

# (window, hop) in seconds, and mel bands.
_SCALES = ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))
_RANGE_DB = 80.0
_N_MFCC = 20


def multi_scale_spectral(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """MSS: mean difference in dB of log-mel spectrograms at three scales.

    Each sound's loudest band is 0 dB (that reference is ours), and what lies 80 dB below it counts
    as silence, so the level does not count.
    """
    _check(estimate, target)
    scores = []
    for window, hop, n_mels in _SCALES:
        first, second = (_log_mel(x, sample_rate, window, hop, n_mels) for x in (estimate, target))
        scores.append(np.abs(first - second).mean())
    return float(np.mean(scores))


def warped_mfcc(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """wMFCC: mean absolute difference of mel cepstra 1 to 19 along the cheapest warping of time.

    Source: Sakoe and Chiba 1978, without a band, by librosa.
    """
    _check(estimate, target)
    first, second = (_mfcc(x, sample_rate) for x in (estimate, target))
    cost = np.abs(first[:, None] - second[None]).mean(-1)
    total, path = need("librosa.sequence").dtw(C=cost)
    return float(total[-1, -1] / len(path))


def spectral_transport(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """SOT: how far spectra must be moved along frequency to become one another.

    The 1-Wasserstein distance of each frame's normalised magnitudes (50 ms every 20 ms), in units
    of half the sample rate, weighted by the target's magnitude: silence has no spectrum.

    Source: Torres et al. 2024, as used in Hayes et al. 2025; the weights are ours.
    """
    _check(estimate, target)
    first, second = (_magnitudes(x, sample_rate, 0.050, 0.020) for x in (estimate, target))
    weights = second.sum(0)
    shares = [x / np.maximum(x.sum(0), 1e-9 * x.sum(0).max() + 1e-30) for x in (first, second)]
    moved = np.abs(np.cumsum(shares[0] - shares[1], axis=0)).mean(0)
    return float((moved * weights).sum() / weights.sum())


def rms_cosine(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Cosine of the angle between the envelopes (RMS of 50 ms every 25 ms), 0..1; 0 for silence."""
    _check(estimate, target)
    first, second = (_envelope(x, sample_rate) for x in (estimate, target))
    norm = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def log_spectral(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """LSD: RMS over frequency of the difference in dB, averaged over frames of 50 ms every 20 ms.

    Range and reference are those of `multi_scale_spectral`.
    """
    _check(estimate, target)
    first, second = (
        _decibels(np.square(_magnitudes(x, sample_rate, 0.050, 0.020))) for x in (estimate, target)
    )
    return float(np.sqrt(np.square(first - second).mean(0)).mean())


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "MSS": multi_scale_spectral,
    "wMFCC": warped_mfcc,
    "SOT": spectral_transport,
    "RMS cosine": rms_cosine,
    "LSD": log_spectral,
}


def _check(estimate: np.ndarray, target: np.ndarray) -> None:
    if estimate.shape != target.shape or target.ndim != 1:
        raise ValueError(
            "estimate and target must be equally long vectors, "
            f"got {estimate.shape} and {target.shape}"
        )
    if not (np.isfinite(estimate).all() and np.isfinite(target).all()):
        raise ValueError("estimate and target must be finite")
    if not np.abs(target).max() > 1e-6:
        raise ValueError("target must not be silent")


def _frames(audio: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(size, frames), the first one around the first sample."""
    padded = np.pad(audio.astype(np.float64), (size // 2, size))
    n = 1 + len(audio) // hop
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: n * hop : hop][:n].T


def _magnitudes(
    audio: np.ndarray, sample_rate: int, window: float, hop: float, *, n_fft: int = 0
) -> np.ndarray:
    size = round(window * sample_rate)
    frames = _frames(audio, size, round(hop * sample_rate)) * _hann(size)[:, None]
    return np.abs(scipy.fft.rfft(frames, n_fft or scipy.fft.next_fast_len(size, real=True), axis=0))


@lru_cache(maxsize=8)
def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def _decibels(power: np.ndarray) -> np.ndarray:
    loudest = power.max()
    if loudest <= 0:
        return np.full(power.shape, -_RANGE_DB)
    return 10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE_DB / 10)))


def _log_mel(
    audio: np.ndarray, sample_rate: int, window: float, hop: float, n_mels: int
) -> np.ndarray:
    # Zeros after the short windows: bands narrower than a bin would be empty.
    n_fft = max(2048, 2 ** int(np.ceil(np.log2(window * sample_rate))))
    power = np.square(_magnitudes(audio, sample_rate, window, hop, n_fft=n_fft))
    return _decibels(_filters(sample_rate, n_fft, n_mels) @ power)


@lru_cache(maxsize=8)
def _filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    return (
        melscale_fbanks(n_fft // 2 + 1, 20.0, sample_rate / 2, n_mels, sample_rate)
        .T.double()
        .numpy()
    )


def _mfcc(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(frames, coefficients) of 50 ms every 10 ms, orthonormal."""
    bands = _log_mel(audio, sample_rate, 0.050, 0.010, 128)
    return scipy.fft.dct(bands, axis=0, norm="ortho")[1:_N_MFCC].T


def _envelope(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    frames = _frames(audio, round(0.050 * sample_rate), round(0.025 * sample_rate))
    return np.sqrt(np.square(frames).mean(0))


def sound_distances(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Every distance of `DISTANCES`."""
    return {name: distance(estimate, target, sample_rate) for name, distance in DISTANCES.items()}
