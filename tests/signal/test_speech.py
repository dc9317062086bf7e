"""Speech-like sound: repeatable, finite, at its level, with speech's rhythm; what disturbs it."""

import numpy as np
import pytest

from labkit.signal.seeds import generator
from labkit.signal.speech import Speaker, Voice, non_speech, pauses, speak, utterance
from labkit.signal.units import rms_dbfs

RATE = 22_050


def spoken(seed=0):
    rng = generator(seed, "voice")
    return speak(rng, Speaker.draw(rng), seconds=3.0, sample_rate=RATE)


def babble(seed):
    rng = generator(seed, "t")
    return utterance(rng, Voice.draw(rng), sample_rate=RATE, seconds=3.0)


@pytest.mark.parametrize("make", [spoken, babble])
def test_a_voice_repeats_itself_and_no_other(make):
    assert (make(0).shape, make(0).dtype) == ((1, 3 * RATE), np.float32)
    np.testing.assert_array_equal(make(0), make(0))
    assert np.abs(make(0) - make(1)).max() > 0.05


def test_the_disturbance_lies_below_the_speech_and_fills_its_pauses():
    for seed in range(6):
        clean = spoken(seed)
        extra = non_speech(generator(seed, "room"), clean, RATE)
        assert extra.shape == clean.shape
        assert rms_dbfs(extra) < rms_dbfs(clean) - 8
        for start, stop in pauses(clean, RATE):
            assert rms_dbfs(extra[:, start:stop]) > rms_dbfs(clean[:, start:stop])


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 48_000])
def test_babble_has_the_level_and_rhythm_of_speech(sample_rate):
    rng = generator(0, "rhythm")
    audio = utterance(rng, Voice.draw(rng), sample_rate=sample_rate, seconds=4.0)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() == pytest.approx(0.708, rel=1e-3)
    frame = sample_rate // 50
    level = np.sqrt(np.mean(audio[0, : 200 * frame].reshape(200, frame) ** 2, axis=1))
    loud, soft = np.quantile(level, (0.95, 0.05))
    assert 20 * np.log10(loud / soft) > 15  # syllables and closures; a steady tone has 0 dB
