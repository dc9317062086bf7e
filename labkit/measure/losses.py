"""Audio distances, behind one door: auraloss does the work."""

import numpy as np
import torch

from labkit.signal.optional import need


def mr_stft(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Multi-resolution STFT distance between two sounds, both brought to the same RMS first.

    Args:
        estimate: (channels, samples) float32.
        target: the same shape; not silent, because spectral convergence divides by its norm.
        sample_rate: Hz.

    Returns:
        The sum of spectral convergence and log-magnitude L1, averaged over FFT sizes 1024, 2048, 512; 0 for equals.

    Raises:
        ValueError: if the shapes differ or the target is silent.

    Source: Yamamoto et al. 2020 (Parallel WaveGAN), section 2.2, by auraloss with its default resolutions.
    """
    if estimate.shape != target.shape:
        raise ValueError(f"shapes must agree, got {estimate.shape} and {target.shape}")
    level = float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))
    if level < 1e-6:
        raise ValueError("target must not be silent")
    own = max(float(np.sqrt(np.mean(np.square(estimate, dtype=np.float64)))), 1e-6)
    loss = need("auraloss").freq.MultiResolutionSTFTLoss(sample_rate=sample_rate)
    pair = [
        torch.from_numpy(np.ascontiguousarray(x * (0.1 / rms)))[None] for x, rms in ((estimate, own), (target, level))
    ]
    with torch.no_grad():
        return float(loss(*pair))
