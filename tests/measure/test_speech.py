"""Speech as it is judged: by the level in its pauses, and by models of listeners."""

import numpy as np
import pytest

from labkit.measure.metrics import pause_level_db, pesq_mos, stoi
from labkit.signal.seeds import generator
from labkit.signal.speech import Voice, utterance

RATE = 16_000


def words(seconds=3):
    """Noise of -20 dBFS in half seconds between silences of half a second."""
    sound = 0.1 * generator(0, "words").standard_normal((1, seconds * RATE))
    return (sound * (np.arange(sound.shape[1]) % RATE < RATE // 2)).astype(np.float32)


@pytest.mark.parametrize("noise_db", [-30.0, -50.0])
def test_the_level_in_pauses_is_that_of_the_noise_there_whatever_the_gain(noise_db):
    clean = words()
    hiss = generator(1, "hiss").standard_normal(clean.shape) * 10 ** ((noise_db - 20) / 20)
    for gain in (1.0, 0.1):
        sound = (gain * (clean + hiss)).astype(np.float32)
        assert pause_level_db(sound, clean, RATE) == pytest.approx(noise_db, abs=0.3)


def test_a_word_may_ring_for_50_ms_and_what_never_pauses_has_no_level():
    clean = words()
    late = np.roll(clean, RATE // 25)  # 40 ms of each word's end lie in the pause
    assert pause_level_db(late, clean, RATE) < -90
    assert np.isnan(pause_level_db(clean, np.ones_like(clean), RATE))


def test_listeners_prefer_less_noise():
    for package in ("pesq", "pystoi"):
        pytest.importorskip(package, reason="pip install -e '.[metrics]'")
    rng = generator(0, "listeners")
    voice = utterance(rng, Voice.draw(rng), sample_rate=RATE, seconds=3.0)
    hiss = voice.std() * rng.standard_normal(voice.shape).astype(np.float32)
    for measure, best in ((pesq_mos, 4.64), (stoi, 1.0)):
        found = [measure(voice + gain * hiss, voice, RATE) for gain in (0.0, 0.1, 1.0)]
        assert found[0] == pytest.approx(best, abs=0.01)
        assert found[0] > found[1] > found[2]
