"""From the strings to the file: pickup, tone knob, body, room and noise, in the frequency domain."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from labkit.signal.guitar_model import GuitarModel
from labkit.signal.units import db_to_amplitude

_IMPULSE_SECONDS = 0.18
_LONGEST_ROOM_SECONDS = 0.35


def _rig_response(freq_hz: NDArray, model: GuitarModel) -> NDArray[np.complex128]:
    """Pickup, tone knob, input and body, as one complex frequency response."""
    s = 1j * freq_hz
    pole = 1 / (
        1 + s / (model.resonance_hz * model.resonance_q) - (freq_hz / model.resonance_hz) ** 2
    )
    out = pole / (1 + s / model.tone_hz) * s / (s + model.lowcut_hz)
    # A causal fractional slope about 1 kHz.
    out *= ((s + 60) / 1000) ** (model.tilt_db / 6.02)
    body = np.ones_like(out)
    for centre, q, gain in model.body:
        body += gain * (s * centre / q) / (centre**2 - freq_hz**2 + s * centre / q)
    return out * body


def _impulse_response(
    model: GuitarModel, rate: float, rng: np.random.Generator | None
) -> NDArray[np.float32]:
    """The rig's response, followed by a room of decaying noise where a microphone hears one."""
    taps = int(_IMPULSE_SECONDS * rate)
    impulse = fft.irfft(_rig_response(np.fft.rfftfreq(taps, 1 / rate), model), taps).astype(
        np.float32
    )
    if rng is None or not model.room_seconds:
        return impulse
    time = np.arange(
        int(min(model.room_seconds, _LONGEST_ROOM_SECONDS) * rate), dtype=np.float32
    ) / np.float32(rate)
    room = rng.standard_normal(len(time), dtype=np.float32) * np.exp(
        time * np.float32(-6.9 / model.room_seconds)
    )
    room *= np.float32(db_to_amplitude(model.room_db) / np.sqrt(np.square(room).sum()))
    room[: int(0.002 * rate)] = 0
    room[0] = 1
    n_fft = fft.next_fast_len(len(impulse) + len(room), real=True)
    return fft.irfft(fft.rfft(impulse, n_fft) * fft.rfft(room, n_fft), n_fft)


def through_rig(
    wave: NDArray[np.float32],
    model: GuitarModel,
    rate: float,
    factor: int,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float32]:
    """The strings as they leave the cable or the microphone.

    Args:
        wave: `(samples,)` at `rate`.
        model: the instrument.
        rate: Hz of `wave`.
        factor: how many times higher the rate of the result is.
        rng: source of room, noise floor and hum; without one there are none.

    Returns:
        `(samples * factor,)`.
    """
    impulse = _impulse_response(model, rate, rng)
    n_fft = 2 * fft.next_fast_len((len(wave) + len(impulse) + 1) // 2, real=True)
    spectrum = np.zeros(n_fft * factor // 2 + 1, dtype=np.complex64)
    spectrum[: n_fft // 2 + 1] = (
        fft.rfft(wave, n_fft) * fft.rfft(impulse, n_fft) * np.float32(factor)
    )
    spectrum[n_fft // 2] = 0
    if rng is not None:
        peak = float(np.abs(wave).max())
        _add_noise(spectrum, rng, model, rate * factor, peak)
    return fft.irfft(spectrum, n_fft * factor)[: len(wave) * factor]


def _add_noise(
    spectrum: NDArray[np.complex64],
    rng: np.random.Generator,
    model: GuitarModel,
    sample_rate: float,
    peak: float,
) -> None:
    """Adds a noise floor of the asked colour, and hum, to a whole spectrum in place."""
    count = len(spectrum)
    # Unit bins of random phase are Gaussian noise in time, at a third of the price of Gaussian bins.
    phase = rng.random(count, dtype=np.float32) * np.float32(2 * np.pi)
    noise = np.empty(count, dtype=np.complex64)
    np.cos(phase, out=noise.real)
    np.sin(phase, out=noise.imag)
    bins = np.arange(count, dtype=np.float32)
    shape = np.exp(
        np.float32(-model.noise_slope) * np.log(np.maximum(bins / count, np.float32(1e-3)))
    )
    n_fft = 2 * (count - 1)
    # Parseval: the mean square of the samples is the sum of |X|^2 / n_fft^2 over both halves.
    scale = n_fft / np.sqrt(2 * float(np.sum(shape * shape)))
    spectrum += noise * (shape * np.float32(scale * peak * db_to_amplitude(model.noise_db)))
    if np.isfinite(model.whine_db):
        place = int(rng.uniform(3000, min(15000, 0.45 * sample_rate)) * n_fft / sample_rate)
        # A few neighbouring bins make a tone that wavers.
        waver = rng.standard_normal((9, 2)) @ (1, 1j) * np.hanning(11)[1:-1]
        spectrum[place - 4 : place + 5] += (
            waver * peak * db_to_amplitude(model.whine_db) * n_fft / 4
        ).astype("c8")
    if np.isfinite(model.hum_db):
        for harmonic in range(1, 9):
            place = round(model.hum_hz * harmonic * n_fft / sample_rate)
            level = peak * db_to_amplitude(model.hum_db) * rng.random() / harmonic * n_fft / 2
            spectrum[place] += np.complex64(level * np.exp(2j * np.pi * rng.random()))
