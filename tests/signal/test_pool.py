"""Clips by number: a pool of some, or a fresh one for every number."""

import pickle

import numpy as np

from labkit.signal.pool import Clip, DryPool, FreshClips
from labkit.signal.seeds import generator


class Tones:
    """A source that counts its clips."""

    kind, seconds, sample_rate = "generated", 0.1, 8_000

    def __init__(self, gain=0.2):
        self.made, self.gain = 0, gain

    def clip(self, rng, split):
        self.made += 1
        audio = (self.gain * rng.uniform(-1, 1, (1, 800))).astype(np.float32)
        return Clip(audio, self.sample_rate, f"tone/{split}", self.kind)


def test_clips_are_those_of_the_source_at_minus_one_dbfs():
    pool = DryPool(Tones(), "train", 5, 7)
    assert len(pool) == 5
    clip = pool.clip(3)
    expected = Tones().clip(generator(7, "pool", "train", 3), "train").audio
    gain = 10 ** (-1 / 20) / np.abs(expected).max()
    half_a_step = 0.51 / 32767  # of 16 bits
    np.testing.assert_allclose(clip.audio, expected * gain, atol=half_a_step)
    assert (clip.audio.shape, clip.audio.dtype, clip.sample_rate) == ((1, 800), np.float32, 8_000)
    assert (clip.source_id, clip.kind) == ("tone/train", "generated")
    again = pickle.loads(pickle.dumps(pool)).clip(3)
    np.testing.assert_array_equal(again.audio, clip.audio)
    assert not DryPool(Tones(gain=0), "train", 1, 0).clip(0).audio.any()  # silence stays silence


def test_fresh_clips_are_made_when_asked_and_depend_on_their_number():
    source = Tones()
    fresh = FreshClips(source, "train", 7)
    assert source.made == 0
    first, again, other = fresh.clip(3), pickle.loads(pickle.dumps(fresh)).clip(3), fresh.clip(4)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert not np.array_equal(first.audio, other.audio)
    for split, seed in (("test", 7), ("train", 8)):
        assert not np.array_equal(first.audio, FreshClips(Tones(), split, seed).clip(3).audio)
