"""Spectral distances of sounds, for scores and for training."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from labkit.signal.optional import need
from labkit.signal.spectra import log_mel, power, stft


def _check_shapes(estimate: np.ndarray | Tensor, target: np.ndarray | Tensor) -> None:
    if estimate.shape != target.shape:
        raise ValueError(
            f"shapes must agree, got {tuple(estimate.shape)} and {tuple(target.shape)}"
        )


def mr_stft(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Multi-resolution STFT distance of two sounds (channels, samples), at equal RMS level.

    Source: Yamamoto et al. 2020 (Parallel WaveGAN), section 2.2, by auraloss's defaults.
    """
    _check_shapes(estimate, target)
    level = float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))
    if level < 1e-6:
        raise ValueError("target must not be silent")
    own = max(float(np.sqrt(np.mean(np.square(estimate, dtype=np.float64)))), 1e-6)
    loss = need("auraloss").freq.MultiResolutionSTFTLoss(sample_rate=sample_rate)
    pair = [
        torch.from_numpy(np.ascontiguousarray(x * (0.1 / rms)))[None]
        for x, rms in ((estimate, own), (target, level))
    ]
    with torch.no_grad():
        return float(loss(*pair))


def log_spectral_distance(
    estimate: Tensor, target: Tensor, *, n_ffts: Sequence[int] = (256, 1024, 4096)
) -> Tensor:
    """Mean difference of log magnitudes over several STFT sizes: (b,), in nepers (8.7 dB each).

    `estimate` is (b, channels, samples); `target` has the same shape, or one item for all. Levels
    are floored at -80 dB of a full-scale sine.

    Source: the log-magnitude term of Yamamoto et al. 2020, for each item alone.
    """
    if estimate.shape[1:] != target.shape[1:] or len(target) not in (1, len(estimate)):
        raise ValueError(
            "target must have the shape of estimate, "
            f"got {tuple(estimate.shape)}, {tuple(target.shape)}"
        )
    distances = [
        (_log_magnitude(estimate, n) - _log_magnitude(target, n)).abs().mean((1, 2, 3))
        for n in n_ffts
    ]
    return torch.stack(distances).mean(0)


def _log_magnitude(audio: Tensor, n_fft: int) -> Tensor:
    found = power(stft(audio, n_fft=n_fft, hop_length=n_fft // 4))
    return 0.5 * torch.log(found + 1e-8 * (n_fft / 2) ** 2 / 4)


def magnitude_distance(
    estimate: Tensor, target: Tensor, *, n_ffts: Sequence[int] = (32, 128, 512, 2048, 8192, 32_768)
) -> Tensor:
    """Log (nepers) and linear magnitudes of short-time spectra compared, levels as they are: (b,).

    Sounds are (b, channels, samples), longer than half the longest frame.

    Source: Steinmetz, Bryan and Reiss 2022 (DeepAFx-ST), section 3.2, as auraloss has it, but one
        value for each item, and without the phase, which takes a third of the time.
    """
    _check_shapes(estimate, target)
    distances = []
    for n_fft in n_ffts:
        pair = [_magnitude(audio, n_fft) for audio in (estimate, target)]
        linear = (pair[0] - pair[1]).abs().mean((1, 2))
        distances.append(linear + (pair[0].log() - pair[1].log()).abs().mean((1, 2)))
    per_channel = torch.stack(distances).mean(0)
    return per_channel.view(*estimate.shape[:2]).mean(1)


def _magnitude(audio: Tensor, n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    flat = audio.reshape(-1, audio.shape[-1])
    spectrum = torch.stft(flat, n_fft, n_fft // 2, window=window, return_complex=True)
    return power(spectrum).clamp_min(1e-8).sqrt()


def mel_distance_db(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """(b,): mean absolute difference of log-mel spectrograms in dB, over four frame lengths.

    Sounds are (b, 1, samples), full scale 1, at 22,050 Hz or more.

    Source: Kumar et al. 2023, section 3.4, with four frame lengths and decibels.
    """
    _check_shapes(estimate, target)
    distances = []
    for n_fft in (256, 512, 1024, 2048):
        sizes = {"n_fft": n_fft, "hop_length": n_fft // 4}
        sizes["n_mels"] = 16 * n_fft // 256 if n_fft < 2048 else 96
        levels = [log_mel(x, sample_rate, **sizes) for x in (estimate, target)]
        distances.append((levels[0] - levels[1]).abs().mean((1, 2, 3)))
    return torch.stack(distances).mean(0)


# Notes of a synthesizer, whatever their phase and level: vectors of one length, at 16 kHz or more,
# the target not silent. Source: Hayes et al. 2025 (ISMIR), section 4.3: its windows, hops and
# bands; where the text leaves a detail open, the docstring says what ours does.

# (window, hop) in seconds, and mel bands.
_SCALES = ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))
_RANGE_DB = 80.0


def multi_scale_spectral(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """MSS: mean difference in dB of log-mel spectrograms at three scales.

    The loudest band of each sound is set to 0 dB (our choice), and levels below -80 dB count as
    silence, so loudness does not matter.
    """
    _check_notes(estimate, target)
    wanted = _scales_of(target.astype(np.float32).tobytes(), sample_rate)
    found = (_levels(estimate, sample_rate, *scale) for scale in _SCALES)
    return float(np.mean([np.abs(x - y).mean() for x, y in zip(found, wanted, strict=True)]))


@lru_cache(maxsize=2)
def _scales_of(target: bytes, sample_rate: int) -> list[np.ndarray]:
    """The levels of a target, kept: a search asks for those of the same one hundreds of times."""
    audio = np.frombuffer(target, np.float32)
    return [_levels(audio, sample_rate, *scale) for scale in _SCALES]


def rms_cosine(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Cosine of the angle between the envelopes (RMS of 50 ms every 25 ms), 0..1; 0 for silence."""
    _check_notes(estimate, target)
    size, hop = round(0.050 * sample_rate), round(0.025 * sample_rate)
    frames = (_note_frames(sound, size, hop).astype(float) for sound in (estimate, target))
    first, second = (np.sqrt(np.square(one).mean(1)) for one in frames)
    norm = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def _check_notes(estimate: np.ndarray, target: np.ndarray) -> None:
    if estimate.shape != target.shape or target.ndim != 1:
        raise ValueError(
            "estimate and target must be equally long vectors, "
            f"got {estimate.shape} and {target.shape}"
        )
    if not np.isfinite(estimate).all() or not np.abs(target).max() > 1e-6:
        raise ValueError("estimate must be finite and target not silent")


def _note_frames(audio: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(frames, size) float32, the first one around the first sample."""
    padded = np.pad(audio.astype(np.float32), (size // 2, size))
    n = 1 + len(audio) // hop
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: n * hop : hop][:n]


def _levels(
    audio: np.ndarray, sample_rate: int, window_s: float, hop_s: float, n_mels: int
) -> np.ndarray:
    """(bands, frames) in dB below the loudest band."""
    size, hop = round(window_s * sample_rate), round(hop_s * sample_rate)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    # Zeros after the short windows: bands narrower than a bin would be empty.
    n_fft = max(2048, 2 ** int(np.ceil(np.log2(size))))
    frames = _note_frames(audio, size, hop) * window.astype(np.float32)
    spectrum = scipy.fft.rfft(frames, n_fft)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = _note_filters(sample_rate, n_fft, n_mels) @ power.T
    if bands.max() <= 0:
        return np.full(bands.shape, -_RANGE_DB)
    return 10 * np.log10(np.maximum(bands / bands.max(), 10 ** (-_RANGE_DB / 10)))


@lru_cache(maxsize=8)
def _note_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    filters = melscale_fbanks(n_fft // 2 + 1, 20.0, sample_rate / 2, n_mels, sample_rate)
    return filters.T.numpy()
