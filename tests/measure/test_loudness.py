import math

import numpy as np
import pytest

from labkit.measure import loudness
from labkit.signal.seeds import generator

RATE = 48000


def sine(frequency_hz=997.0, seconds=2.0, amplitude=1.0, rate=RATE):
    n = np.arange(int(seconds * rate))
    return (amplitude * np.sin(2 * np.pi * frequency_hz * n / rate))[None].astype(np.float32)


def test_full_scale_sine_reads_the_standards_value():
    """BS.1770-4: a 0 dBFS 997 Hz sine in one channel reads -3.01 LKFS."""
    assert loudness.loudness_lufs(sine(), RATE) == pytest.approx(-3.01, abs=0.05)
    assert loudness.loudness_lufs(np.repeat(sine(), 2, 0), RATE) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.399, 0.4, 0.401])
def test_a_short_clip_is_as_loud_as_a_long_one(seconds):
    assert loudness.loudness_lufs(sine(1000, seconds, 0.1), RATE) == pytest.approx(-23.0, abs=0.3)


@pytest.mark.parametrize("seconds", [0.11, 0.31])
def test_a_short_stream_is_as_loud_as_the_mean_over_its_samples(seconds):
    meter, audio = loudness.LoudnessMeter(RATE, 1), sine(1000, seconds, 0.1)
    audio[:, -RATE // 100 :] = 0
    meter.feed(audio)
    sounding = 10 * math.log10(1 - 0.01 / seconds)
    assert meter.lufs() == pytest.approx(-23.0 + sounding, abs=0.2)


@pytest.mark.parametrize(
    "audio", [np.zeros((1, 9)), np.zeros((2, RATE)), np.full((1, 1), 1e-9), sine(amplitude=1e-5)]
)
def test_what_has_no_loudness_is_minus_infinity_and_left_alone(audio):
    assert loudness.loudness_lufs(audio, RATE) == -math.inf
    same, shift_db = loudness.match_all({"it": (audio, RATE)})[0]["it"]
    assert shift_db == 0.0
    assert np.array_equal(same, audio.astype(np.float32))


def test_low_frequency_effects_do_not_count():
    """A 5.1 recording is as loud as its other five channels, which pyloudnorm measures."""
    audio = generator(0, "surround").normal(0, 0.05, (6, 2 * RATE))
    others = loudness.loudness_lufs(np.delete(audio, 3, axis=0), RATE)
    audio[3] *= 10
    assert loudness.loudness_lufs(audio, RATE) == pytest.approx(others, abs=0.05)


def test_loudness_of_a_stream_is_that_of_the_whole():
    rng = generator(0, "stream")
    parts = [level * rng.standard_normal((2, 50001)) for level in (0.1, 0.001, 0.3)]
    audio = np.concatenate(parts, axis=1).astype(np.float32)
    meter = loudness.LoudnessMeter(44100, 2)
    for start in range(0, audio.shape[1], 5000):
        meter.feed(audio[:, start : start + 5000])
    # 0.05 LU: pyloudnorm rounds the ends of its blocks
    assert meter.lufs() == pytest.approx(loudness.loudness_lufs(audio, 44100), abs=0.05)
    assert meter.peak == np.abs(audio).max()
