"""Spectral distances of sounds, for scores and for training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from labkit.signal.optional import need
from labkit.signal.spectra import log_mel


def _check_shapes(estimate: np.ndarray | Tensor, target: np.ndarray | Tensor) -> None:
    if estimate.shape != target.shape:
        raise ValueError(
            f"shapes must agree, got {tuple(estimate.shape)} and {tuple(target.shape)}"
        )


def mr_stft(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Multi-resolution STFT distance of two sounds (channels, samples), brought to one RMS first.

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
    """How far log magnitudes are apart, averaged over STFT sizes: (b,), in nepers (8.7 dB each).

    `estimate` is (b, channels, samples), `target` the same or of one item. Levels are floored at
    -80 dB of a full-scale sine.

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
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    flat = audio.reshape(-1, audio.shape[-1])
    spectrum = torch.stft(
        flat, n_fft, n_fft // 4, window=window, return_complex=True, pad_mode="constant"
    )
    power = spectrum.real.square() + spectrum.imag.square()
    floor = 1e-8 * window.sum().square() / 4
    return 0.5 * torch.log(power + floor).view(*audio.shape[:-1], *power.shape[-2:])


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
    return (spectrum.real.square() + spectrum.imag.square()).clamp_min(1e-8).sqrt()


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
