"""Augmentation: each stage does what its numbers say; the draw is repeatable and never clips."""

import numpy as np
import pytest
from scipy import signal

from labkit.signal import augment as aug
from labkit.signal.units import amplitude_to_db

RATE = 44_100
GRID = aug.frequency_grid(RATE)
WARPED = aug.warp(GRID, RATE)


def gain_db(response, frequency_hz):
    return amplitude_to_db(np.interp(frequency_hz, GRID, np.abs(response)))


def impulse(at=100):
    audio = np.zeros((1, RATE), np.float32)
    audio[0, at] = 1
    return audio


def measured_db(response, frequency_hz):
    """The gain of the filter itself: the spectrum of its impulse response of a second."""
    return amplitude_to_db(np.abs(np.fft.rfft(aug.colour(impulse(), response)[0]))[frequency_hz])


@pytest.mark.parametrize("slope", [6.0, -3.0, 0.0])
def test_tilt_per_octave(slope):
    response = aug.tilt(GRID, slope_db_per_octave=slope)
    assert gain_db(response, 700) == pytest.approx(0, abs=0.01)
    # From 1 to 2 kHz |1 + jf/100| rises by 5.988 dB and |1 + jf/10000| by 0.127 dB, of 6.021 dB.
    expected = slope * 5.861 / 6.021
    assert gain_db(response, 2000) - gain_db(response, 1000) == pytest.approx(expected, abs=0.02)
    response = aug.tilt(WARPED, slope_db_per_octave=slope)
    measured = measured_db(response, 2000) - measured_db(response, 1000)
    assert measured == pytest.approx(expected, abs=0.08)  # warping


def test_colour_is_the_bilinear_filter():
    response = aug.resonant_lowpass(WARPED, cutoff_hz=1000.0, q=1.5)
    w0 = 2 * np.pi * 1000
    b, a = signal.bilinear([w0**2], [1, w0 / 1.5, w0**2], RATE)
    audio = np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32)
    expected = signal.lfilter(b, a, audio[0])
    np.testing.assert_allclose(aug.colour(audio, response)[0], expected, atol=2e-5)


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(7)
    decay = np.exp(-np.arange(2 * RATE) / (0.4 * RATE))
    return (0.3 * decay * rng.standard_normal(2 * RATE))[None].astype(np.float32)


def varied(audio, seed, rate=RATE, **options):
    return aug.augment(audio, rate, np.random.default_rng(seed), **options)


def test_augment_is_finite_repeatable_and_within_full_scale(clip):
    peaks = []
    for seed in range(150):
        out = varied(clip, seed)
        assert (out.shape, out.dtype) == (clip.shape, np.float32)
        assert np.isfinite(out).all()
        peaks.append(amplitude_to_db(float(np.abs(out).max())))
    assert max(peaks) <= amplitude_to_db(0.999) + 1e-4
    assert min(peaks) < -27
    assert np.mean(np.diff(np.sort(peaks)) < 1.5) > 2 / 3  # the 30 dB are filled
    np.testing.assert_array_equal(varied(clip, 5), varied(clip, 5))


def test_without_strength_a_clip_is_itself(clip):
    np.testing.assert_array_equal(varied(clip, 0, strength=0), clip)


@pytest.mark.parametrize("rate", [8_000, 96_000])
@pytest.mark.parametrize("samples", [1, 100, 50_000])
def test_short_and_silent_clips_and_other_rates(samples, rate):
    for seed in range(10):
        out = varied(np.ones((1, samples), np.float32), seed, rate)
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 0.9991
    assert not varied(np.zeros((2, samples), np.float32), 0, rate).any()
