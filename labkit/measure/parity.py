"""How far a twin is from its original: the signals to try, and the error in dB."""

import numpy as np
import torch

from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms


def signals(sample_rate: int, *, seconds: float = 0.6, seed: int = 0) -> dict[str, np.ndarray]:
    """Guitar, noise, impulse, full scale and silence.

    Args:
        sample_rate: Hz.
        seconds: length.
        seed: of guitar and noise.

    Returns:
        Name -> (2, samples) float32, two different channels.
    """
    samples = round(seconds * sample_rate)
    rng = generator(seed, "parity signals")
    guitar = phrase(rng, sample_rate=sample_rate, seconds=seconds, style="strum")
    impulse = np.zeros((2, samples), np.float32)
    impulse[:, samples // 7] = (0.5, 1.0)
    return {
        "guitar": np.concatenate([set_rms(guitar, -20.0), set_rms(-guitar, -26.0)]).astype(
            np.float32
        ),
        "noise": (0.1 * rng.standard_normal((2, samples))).astype(np.float32),
        "impulse": impulse,
        "full scale": np.sign(rng.standard_normal((2, samples))).astype(np.float32),
        "silence": np.zeros((2, samples), np.float32),
    }


def relative_error_db(
    expected: np.ndarray | torch.Tensor, given: np.ndarray | torch.Tensor
) -> float:
    """Energy of the difference relative to that of `expected`, in dB; -300 dB where both are silent.

    Args:
        expected: any shape.
        given: the same shape.

    Returns:
        dB; the energy of `expected` counts as at least 1e-12.

    Raises:
        ValueError: if the shapes differ.
    """
    expected, given = (np.asarray(x, dtype=np.float64) for x in (expected, given))
    if expected.shape != given.shape:
        raise ValueError(f"shapes must agree, got {expected.shape} and {given.shape}")
    floor = max(np.square(expected).sum(), 1e-12)
    return float(10 * np.log10(np.square(expected - given).sum() / floor + 1e-30))
