"""What a network must beat without the clean signal: a straight line through eleven figures of the wet one."""

import numpy as np
from numpy.typing import NDArray

from labkit.effects.saturation import SPACE


def hand_features(wet: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Eleven figures of a sound at peak 1: of its amplitudes, then of its spectrum.

    Args:
        wet: (samples,), at least two.
        sample_rate: Hz.

    Returns:
        (11,): RMS and median in dB, kurtosis, shares above 0.9 and 0.5 of the peak, zero crossings a sample;
        spectral centroid and 95 % roll-off as logarithms of Hz, flatness in dB, power above 4 and 8 kHz in dB.
    """
    x = np.asarray(wet, dtype=np.float64) / max(float(np.abs(wet).max()), 1e-9)
    loud, rms = np.abs(x), float(np.sqrt(np.mean(x * x))) + 1e-9
    power = np.square(np.abs(np.fft.rfft(x * np.hanning(len(x))))) + 1e-12
    hz = np.fft.rfftfreq(len(x), 1 / sample_rate)
    share = power / power.sum()
    amplitude = [
        20 * np.log10(rms),
        20 * np.log10(float(np.median(loud)) + 1e-6),
        float(np.mean((x / rms) ** 4)),
        float((loud > 0.9).mean()),
        float((loud > 0.5).mean()),
        float((x[1:] * x[:-1] < 0).mean()),
    ]
    spectrum = [
        np.log(float((share * hz).sum()) + 1.0),
        np.log(hz[int(np.searchsorted(np.cumsum(share), 0.95))] + 1.0),
        10 * float(np.log10(power).mean() - np.log10(power.mean())),
        *(10 * np.log10(float(share[hz > edge].sum()) + 1e-9) for edge in (4000, 8000)),
    ]
    return np.array(amplitude + spectrum)


class Ridge:
    """Depth as a straight line through features, with a small price on its slopes.

    Args:
        features: (n, k) to learn from.
        depth: (n,).
        price: of the squared slopes of standardised features, as a share of n.

    Source: Hoerl & Kennard 1970.
    """

    def __init__(
        self, features: NDArray[np.floating], depth: NDArray[np.floating], *, price: float = 1e-3
    ) -> None:
        self.mean, self.deviation = features.mean(0), features.std(0) + 1e-9
        self.middle = float(depth.mean())
        x = (features - self.mean) / self.deviation
        slopes = x.T @ x + price * len(x) * np.eye(x.shape[1])
        self.slopes = np.linalg.solve(slopes, x.T @ (depth - self.middle))

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, k) -> (n,) depths, held within their range."""
        said = self.middle + ((features - self.mean) / self.deviation) @ self.slopes
        return np.clip(said, SPACE["depth"].low, SPACE["depth"].high)
