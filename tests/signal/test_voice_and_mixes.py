"""Speech-like sound, what disturbs it, and mixes: repeatable, at the stated level, with what their names say."""

import numpy as np
import pytest

from labkit.signal.mixes import GeneratedMixes, drums
from labkit.signal.seeds import generator
from labkit.signal.sources import disjoint
from labkit.signal.units import rms_dbfs
from labkit.signal.voice import Speaker, non_speech, pauses, speak

RATE = 22_050


def voice(seed=0, seconds=3.0):
    rng = generator(seed, "voice")
    return speak(rng, Speaker.draw(rng), seconds=seconds, sample_rate=RATE)


def test_a_voice_repeats_itself_and_no_other():
    np.testing.assert_array_equal(voice(0), voice(0))
    assert voice(0).shape == (1, 3 * RATE)
    assert np.abs(voice(0) - voice(1)).max() > 0.05
    assert rms_dbfs(voice(0)) == pytest.approx(-22, abs=0.1)
    assert np.isfinite(voice(2)).all()


def test_a_voice_pauses():
    assert sum(len(pauses(voice(seed), RATE)) for seed in range(5)) >= 5


def test_pauses_are_where_the_silence_is():
    sound = 0.1 * generator(0, "burst").standard_normal((1, RATE)).astype(np.float32)
    sound[:, 8000:14_000] = 0
    sound[:, 18_000:18_500] = 0  # too short for a pause
    ((start, stop),) = pauses(sound, RATE)
    assert start == pytest.approx(8000, abs=700)  # frames are 10 ms, smoothed over 3
    assert stop == pytest.approx(14_000, abs=700)


def test_the_disturbance_lies_below_the_speech_and_fills_its_pauses():
    for seed in range(6):
        clean = voice(seed)
        extra = non_speech(generator(seed, "room"), clean, RATE)
        assert extra.shape == clean.shape
        assert rms_dbfs(extra) < rms_dbfs(clean) - 8
        for start, stop in pauses(clean, RATE):
            assert rms_dbfs(extra[:, start:stop]) > rms_dbfs(clean[:, start:stop])


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match=r"at least 0\.5"):
        voice(0, seconds=0.2)
    with pytest.raises(ValueError, match="seconds must be above 0"):
        GeneratedMixes(seconds=0.0)


def test_a_beat_has_lows_and_highs():
    beat = drums(generator(3, "beat"), seconds=3.0, sample_rate=RATE)
    assert np.abs(beat).max() == pytest.approx(1)
    power = np.abs(np.fft.rfft(beat[0])) ** 2
    frequency = np.fft.rfftfreq(beat.shape[1], 1 / RATE)
    assert power[frequency < 120].sum() > 0.05 * power.sum()
    assert power[frequency > 5000].sum() > 0.001 * power.sum()


def test_bands_keep_to_their_split():
    source = GeneratedMixes(seconds=1.0, sample_rate=RATE, bands=(5, 2, 2))
    assert disjoint(source) == {"train": 5, "validation": 2, "test": 2}
    first, band = source.mix(generator(0, "mix"), "test")
    again, _ = source.mix(generator(0, "mix"), "test")
    np.testing.assert_array_equal(first, again)
    assert band in source.groups("test")
    assert rms_dbfs(first) == pytest.approx(-20, abs=0.1)
