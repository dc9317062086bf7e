"""What an equaliser does to each frequency, as a formula with gradients, and bands fitted to a curve."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

TYPES = ("low_shelf", "bell", "high_shelf", "lowpass", "highpass")
# The frequencies at which people's curves are known: 40 bands, about equally far apart by ear.
BANDS_HZ = (
    20, 50, 83, 120, 161, 208, 259, 318, 383, 455, 537, 628, 729, 843, 971, 1114, 1273, 1452, 1652, 1875,
    2126, 2406, 2719, 3070, 3462, 3901, 4392, 4941, 5556, 6244, 7014, 7875, 8839, 9917, 11124, 12474, 13984, 15675,
    17566, 19682,
)  # fmt: skip
DESIGN_RATE = 44100


def responses_db(
    frequency_hz: Tensor,
    gain_db: Tensor,
    q: Tensor,
    at_hz: Tensor,
    *,
    sample_rate: int = DESIGN_RATE,
) -> Tensor:
    """The gain of a band at each frequency, for every type it could be.

    Args:
        frequency_hz: (...), Hz, below half the rate.
        gain_db: (...), dB; the passes ignore it.
        q: (...), above 0; the passes ignore it.
        at_hz: (m,), Hz, below half the rate.
        sample_rate: Hz.

    Returns:
        (..., 5, m) dB, in the order of `TYPES`; differentiable in all of the first three.

    Source: Bristow-Johnson's cookbook through the bilinear transform: the digital filter has, at each frequency, the
        gain of the analogue one at the warped frequency. The passes are of first order.
    """
    warped = (
        torch.tan(math.pi * at_hz / sample_rate)
        / torch.tan(math.pi * frequency_hz / sample_rate)[..., None]
    )
    x2 = warped.square()
    amplitude = 10 ** (gain_db / 40)[..., None]
    wide = x2 / q[..., None].square()
    bell = ((1 - x2).square() + wide * amplitude.square()) / (
        (1 - x2).square() + wide / amplitude.square()
    )
    upper, lower = (
        (amplitude - x2).square() + wide * amplitude,
        (1 - amplitude * x2).square() + wide * amplitude,
    )
    shelf = amplitude.square()
    kinds = [shelf * upper / lower, bell, shelf * lower / upper, 1 / (1 + x2), x2 / (1 + x2)]
    power = torch.stack(torch.broadcast_tensors(*kinds), dim=-2)
    return 10 * torch.log10(power.clamp_min(1e-12))


def curve_db(
    frequency_hz: Tensor,
    gain_db: Tensor,
    q: Tensor,
    shares: Tensor,
    *,
    at_hz: Sequence[float] = BANDS_HZ,
) -> Tensor:
    """The curve of several bands in series, each a mixture of types in dB.

    Args:
        frequency_hz: (..., bands), Hz.
        gain_db: (..., bands), dB.
        q: (..., bands).
        shares: (..., bands, 5), of the types; one-hot for an equaliser that exists.
        at_hz: Hz.

    Returns:
        (..., m) dB.
    """
    points = torch.tensor(at_hz, dtype=gain_db.dtype, device=gain_db.device)
    return (responses_db(frequency_hz, gain_db, q, points) * shares[..., None]).sum((-3, -2))


# Where the five bands stand before anything is said: (type, Hz, Q).
START = (
    ("low_shelf", 90.0, 0.7),
    ("bell", 250.0, 0.8),
    ("bell", 900.0, 0.8),
    ("bell", 3200.0, 0.8),
    ("high_shelf", 8000.0, 0.7),
)


def fitted_gains_db(target_db: np.ndarray, *, limit_db: float = 18.0) -> np.ndarray:
    """Gains of the five bands of `START` whose curve comes near a target, in the sense of least squares.

    Args:
        target_db: (40,) dB at `BANDS_HZ`.
        limit_db: largest gain either way.

    Returns:
        (5,) dB. A response in dB is nearly proportional to its gain, which makes it a linear problem.
    """
    basis = _basis_per_db()
    gains = np.linalg.solve(
        basis @ basis.T + 0.1 * np.eye(len(START)), basis @ np.asarray(target_db, float)
    )
    return np.clip(gains, -limit_db, limit_db)


@cache
def _basis_per_db() -> np.ndarray:
    """(5, 40): what one dB of each band of `START` does, measured at 6 dB."""
    unit = [
        responses_db(torch.tensor(hz), torch.tensor(6.0), torch.tensor(q), torch.tensor(BANDS_HZ))[
            TYPES.index(kind)
        ]
        for kind, hz, q in START
    ]
    return torch.stack(unit).double().numpy() / 6.0
