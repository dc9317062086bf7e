"""Distances between sounds that ignore a small time lag and the polarity."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from torch import Tensor

from labkit.signal.spectra import power


def align(estimate: Tensor, target: Tensor, *, max_shift: int = 100) -> tuple[Tensor, Tensor]:
    """Shift `target` by up to `max_shift` samples, and invert it if that fits better.

    Sounds are (b, channels, samples); `max_shift` samples are cut from both ends of each.

    Source: Ramírez et al., ICASSP 2021, section 3.4 (cross-correlation, then the better of two
        polarities). Ours takes the strongest correlation of either sign, once.
    """
    if estimate.shape != target.shape or estimate.ndim != 3 or estimate.shape[-1] <= 2 * max_shift:
        raise ValueError(
            f"estimate and target must be (b, channels, more than {2 * max_shift} samples) "
            f"and alike, got {tuple(estimate.shape)} and {tuple(target.shape)}"
        )
    samples = estimate.shape[-1]
    with torch.no_grad():
        length = next_fast_len(samples + max_shift, real=True)
        spectra = [torch.fft.rfft(sound.sum(1), n=length) for sound in (estimate, target)]
        correlation = torch.fft.irfft(spectra[1] * spectra[0].conj(), n=length)
        lags = torch.arange(-max_shift, max_shift + 1, device=estimate.device)
        correlation = correlation[:, lags % length]
        best = correlation.abs().argmax(1)
        sign = torch.where(correlation.gather(1, best[:, None]) < 0, -1.0, 1.0).to(target)
        places = torch.arange(max_shift, samples - max_shift, device=target.device)
        index = places + lags[best][:, None]
    moved = target.gather(2, index[:, None].expand(-1, target.shape[1], -1)) * sign[..., None]
    return estimate[..., max_shift : samples - max_shift], moved


def aligned_distance(
    estimate: Tensor,
    target: Tensor,
    *,
    level_weight: float = 0.02,
    floor_db: float = -80.0,
    n_ffts: tuple[int, ...] = (512, 2048),
) -> Tensor:
    """Distance (b,) between two sounds, whatever their lag, polarity and level.

    Log-magnitude L1 in nepers, plus spectral convergence of the last frame length, both at one RMS
    level, plus `level_weight` times the level difference in dB, so that a wrong level costs. At an
    RMS level of -20 dB, what lies below `floor_db` of a full-scale sine counts as silence.

    Source: Yamamoto et al. 2020, section 2.2, for each item alone.
    """
    estimate, target = align(estimate, target)
    ours, theirs = (x.square().mean((1, 2)).sqrt().clamp(min=1e-6) for x in (estimate, target))
    total = level_weight * 20 * (ours / theirs).log10().abs()
    estimate, target = (
        estimate * (0.1 / ours)[:, None, None],
        target * (0.1 / theirs)[:, None, None],
    )
    for n_fft in n_ffts:
        ours, theirs = (_magnitudes(sound, n_fft, floor_db) for sound in (estimate, target))
        total = total + (ours / theirs).log().abs().mean((1, 2)) / len(n_ffts)
    return total + (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)


def _magnitudes(sound: Tensor, n_fft: int, floor_db: float) -> Tensor:
    """(b * channels, freq, frames), 1 for a full-scale sine, on a floor."""
    window = torch.hann_window(n_fft, dtype=sound.dtype, device=sound.device)
    frames = torch.stft(
        sound.flatten(0, 1), n_fft, n_fft // 4, window=window, return_complex=True, center=False
    )
    return (power(frames * (2 / window.sum())) + 10 ** (floor_db / 10)).sqrt()


def align_signs(
    reference: NDArray[np.floating], wet: NDArray[np.floating]
) -> tuple[NDArray[np.floating], float]:
    """The part of a longer reference that matches `wet` (samples,), and their correlation, 0..1.

    Only signs are correlated, because a memoryless curve keeps the sign of every sample.

    Source: the polarity coincidence correlator, Wolff, Thomas & Williams 1962.
    """
    if reference.ndim != 1 or wet.ndim != 1 or len(reference) < len(wet):
        raise ValueError(
            "reference must be (samples,), no shorter than wet, "
            f"got {reference.shape} and {wet.shape}"
        )
    signs = [np.sign(x).astype(np.float32) for x in (reference, wet)]
    start = int(np.abs(_correlation(*signs)).argmax())
    part = reference[start : start + len(wet)]
    energy = np.square(part, dtype=np.float64).sum() * np.square(wet, dtype=np.float64).sum()
    if energy == 0:
        return part, 0.0
    return part, min(1.0, abs(float((part * wet).sum(dtype=np.float64))) / float(energy) ** 0.5)


def lag_of(
    wet: NDArray[np.floating], clean: NDArray[np.floating], max_lag: int
) -> tuple[int, float]:
    """How many samples `wet` is behind `clean`, and their correlation after alignment, -1..1.

    Both are (samples,), of any length. Their slopes are correlated, because a constant offset has
    no slope, and a curve with memory hardly delays slopes. It is negative for opposite polarity.
    """
    slopes = [np.diff(x, prepend=x[:1]).astype(np.float32) for x in (wet, clean)]
    padded = np.pad(slopes[0], (max_lag, max(0, len(clean) - len(wet)) + max_lag))
    correlation = _correlation(padded, slopes[1])[: 2 * max_lag + 1]
    lag = int(np.abs(correlation).argmax()) - max_lag
    ours, theirs = overlap(*slopes, lag)
    energy = math.sqrt(float(ours @ ours) * float(theirs @ theirs))
    return lag, float(ours @ theirs) / energy if energy > 0 else 0.0


def overlap(wet: NDArray, clean: NDArray, lag: int) -> tuple[NDArray, NDArray]:
    """The parts of two recordings (samples,) that overlap, if `wet` is `lag` samples behind."""
    wet, clean = wet[max(0, lag) :], clean[max(0, -lag) :]
    n = min(len(wet), len(clean))
    return wet[:n], clean[:n]


def _correlation(longer: NDArray, shorter: NDArray) -> NDArray:
    """Correlation at every position of the shorter signal within the longer one."""
    n = next_fast_len(len(longer), real=True)  # what wraps around lands beyond the places used
    correlation = irfft(rfft(longer, n) * np.conj(rfft(shorter, n)), n)
    return correlation[: len(longer) - len(shorter) + 1]
