"""Linear colouring by one frequency response: pickups, knobs, bodies, microphones and short reflections.

Each stage is an analogue response, a few numbers each; their product is applied by one multiplication in the
frequency domain, and a change of speed rides on the same transform.
"""

import functools

import numpy as np
from scipy import fft

_TAPS = 8192  # length of the colouring's impulse response: 186 ms at 44.1 kHz, enough for a 20 Hz high-pass


def tilt(
    frequency_hz: np.ndarray, *, slope_db_per_octave: float, pivot_hz: float = 700.0
) -> np.ndarray:
    """A spectral tilt between 100 Hz and 10 kHz, minimum phase.

    Args:
        frequency_hz: where to evaluate it, any shape.
        slope_db_per_octave: e.g. 6 doubles the amplitude with each octave; flat outside 100 Hz to 10 kHz.
        pivot_hz: where the gain is 0 dB.

    Returns:
        The complex response, shaped as `frequency_hz`.
    """

    def shape(f: np.ndarray | float) -> np.ndarray:
        return ((1 + 1j * f / 100.0) / (1 + 1j * f / 10_000.0)) ** (
            slope_db_per_octave / (20 * np.log10(2))
        )

    return shape(frequency_hz) / abs(shape(pivot_hz))


def resonant_lowpass(frequency_hz: np.ndarray, *, cutoff_hz: float, q: float) -> np.ndarray:
    """A pickup behind its tone knob: a second-order low-pass, 12 dB per octave.

    Args:
        frequency_hz: where to evaluate it.
        cutoff_hz: resonance, > 0.
        q: gain at the resonance; 0.707 is flattest, loaded pickups reach 1 to 3.

    Returns:
        The complex response, shaped as `frequency_hz`.
    """
    s = 1j * frequency_hz / cutoff_hz
    return 1 / (s * s + s / q + 1)


def highpass(frequency_hz: np.ndarray, *, cutoff_hz: float) -> np.ndarray:
    """A second-order Butterworth high-pass, -3 dB at `cutoff_hz`. Args and result as `resonant_lowpass`."""
    s = 1j * frequency_hz / cutoff_hz
    return s * s / (s * s + np.sqrt(2) * s + 1)


def peak(frequency_hz: np.ndarray, *, center_hz: float, gain_db: float, q: float) -> np.ndarray:
    """A bell: body, pickup position or microphone colour.

    Args:
        frequency_hz: where to evaluate it.
        center_hz: middle of the bell, > 0.
        gain_db: its gain there.
        q: center over width, > 0; 0.5 to 2 is broad.

    Returns:
        The complex response, shaped as `frequency_hz`.
    """
    root, s = 10 ** (gain_db / 40), 1j * frequency_hz / center_hz
    return (s * s + s * root / q + 1) / (s * s + s / (root * q) + 1)


def early_reflections(
    frequency_hz: np.ndarray,
    *,
    delays_ms: np.ndarray,
    gains: np.ndarray,
    damping_hz: float = 4_000.0,
) -> np.ndarray:
    """A nearby surface or two, as a microphone hears them: shorter than any reverb.

    Args:
        frequency_hz: where to evaluate it.
        delays_ms: of each reflection after the direct sound, above 0 and below 15.
        gains: of each reflection relative to the direct sound, either sign.
        damping_hz: first-order low-pass of the reflections.

    Returns:
        The complex response, shaped as `frequency_hz`.

    Raises:
        ValueError: a delay outside 0 to 15 ms, where it would begin to sound as an echo.
    """
    delays_ms, gains = np.atleast_1d(delays_ms), np.atleast_1d(gains)
    if np.any((delays_ms <= 0) | (delays_ms >= 15)):
        raise ValueError(f"delays_ms must lie between 0 and 15, got {delays_ms.tolist()}")
    reflected = np.zeros(np.shape(frequency_hz), complex)
    for delay_ms, gain in zip(delays_ms, gains, strict=True):
        reflected += gain * np.exp(-2j * np.pi * delay_ms / 1000 * frequency_hz)
    return 1 + reflected / (1 + 1j * frequency_hz / damping_hz)


@functools.lru_cache(maxsize=8)
def _grids(sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    grid = frequency_grid(sample_rate)
    return grid, warp(grid, sample_rate)


def frequency_grid(sample_rate: int) -> np.ndarray:
    """The frequencies in Hz, 0 to half the rate, on which `colour` takes a response."""
    return np.linspace(0, sample_rate / 2, _TAPS // 2 + 1)


def warp(frequency_hz: np.ndarray | float, sample_rate: int) -> np.ndarray | float:
    """The analogue frequency that the bilinear transform puts at a digital one.

    An analogue response read at `warp(frequency_grid(rate), rate)` is that of a causal digital filter; read on
    the plain grid it would ring before the impulse. Cutoffs go through the same function to end up where they
    should.

    Args:
        frequency_hz: 0 to half the rate.
        sample_rate: Hz.

    Returns:
        Hz, close to `frequency_hz` when that is low; very large, but finite, at half the rate.
    """
    return (
        sample_rate
        / np.pi
        * np.tan(np.minimum(np.pi * frequency_hz / sample_rate, np.pi / 2 - 1e-6))
    )


def colour(
    audio: np.ndarray, response: np.ndarray | None = None, *, speed: float = 1.0
) -> np.ndarray:
    """Filter by a frequency response and play at another speed, in one pair of transforms.

    Args:
        audio: `(channels, samples)`.
        response: complex, on `frequency_grid`; None leaves the colour alone.
        speed: 1.03 is 3 % faster and higher, so shorter; 0.5 to 2. It is rounded to a ratio of fast transform
            lengths, within about 0.3 % for clips of a second or more.

    Returns:
        float32 `(channels, round(samples / speed))`, with the rounded speed.

    Raises:
        ValueError: `speed` out of range.
    """
    if not 0.5 <= speed <= 2.0:
        raise ValueError(f"speed must be 0.5 to 2, got {speed}")
    samples = audio.shape[-1]
    padded = samples + (_TAPS // 2 if response is not None else 256)
    unit = min(2048, 1 << max(0, padded.bit_length() - 4))  # many factors of two transform fastest
    size = unit * fft.next_fast_len(-(-padded // unit), real=True)
    spectrum = fft.rfft(audio.astype(np.float32, copy=False), size)
    if response is not None:
        impulse = fft.irfft(response.astype(np.complex64))
        impulse[_TAPS // 2 :] *= np.linspace(1, 0, _TAPS // 2, dtype=np.float32) ** 2
        spectrum *= fft.rfft(impulse, size)
    if speed == 1.0:
        return fft.irfft(spectrum, size)[..., :samples]
    new_size = _near_fast_length(size / speed)
    bins = min(size, new_size) // 2 + 1
    shifted = fft.irfft(spectrum[..., :bins], new_size)
    shifted *= np.float32(new_size / size)
    return shifted[..., : round(samples * new_size / size)]


def _near_fast_length(size: float) -> int:
    lower, upper = fft.prev_fast_len(int(size)), fft.next_fast_len(int(np.ceil(size)))
    return lower if size - lower < upper - size else upper


def draw_response(
    sample_rate: int, rng: np.random.Generator, *, strength: float = 1.0
) -> np.ndarray:
    """A random colouring on `frequency_grid`.

    Args:
        sample_rate: Hz.
        rng: the stream to draw from.
        strength: 0 is flat, 1 as wide as recordings differ.

    Returns:
        The complex response, each stage drawn with its own probability.
    """
    grid, bent = _grids(sample_rate)

    def cutoff(low_hz: float, high_hz: float) -> float:
        drawn = float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))))
        return float(warp(min(drawn, 0.45 * sample_rate), sample_rate))

    response = tilt(bent, slope_db_per_octave=float(np.clip(rng.normal(0, 2.0), -6, 6)) * strength)
    if rng.random() < 0.6 * strength:
        response *= resonant_lowpass(bent, cutoff_hz=cutoff(1_500, 8_000), q=rng.uniform(0.5, 2.5))
    for _ in range(int(rng.integers(1, 4))):
        gain_db, q = strength * rng.uniform(-8, 8), rng.uniform(0.4, 2.0)
        response *= peak(bent, center_hz=cutoff(120, 6_000), gain_db=gain_db, q=q)
    if rng.random() < 0.7 * strength:
        response *= highpass(bent, cutoff_hz=cutoff(20, 150))
    if rng.random() < 0.4 * strength:
        response *= resonant_lowpass(bent, cutoff_hz=cutoff(5_000, 20_000), q=0.707)
    if rng.random() < 0.25 * strength:
        count = int(rng.integers(1, 4))
        delays_ms, gains = rng.uniform(0.3, 12, count), rng.uniform(-0.3, 0.3, count) * strength
        response *= early_reflections(grid, delays_ms=delays_ms, gains=gains)
    return response
