"""The pool of dry clips: built once, checked when opened."""

import json
import pickle

import numpy as np
import pytest

from labkit.signal.files import AudioFileError
from labkit.signal.pool import Clip, DryPool, FreshClips, build_pool
from labkit.signal.seeds import generator


class Tones:
    """A source that counts its clips and can fail at one of them."""

    kind, seconds, sample_rate = "generated", 0.1, 8_000

    def __init__(self, fail_at=None, gain=0.2):
        self.made, self.fail_at, self.gain = 0, fail_at, gain

    def clip(self, rng, split):
        if self.made == self.fail_at:
            raise KeyboardInterrupt
        self.made += 1
        audio = (self.gain * rng.uniform(-1, 1, (1, 800))).astype(np.float32)
        return Clip(audio, self.sample_rate, f"tone/{split}", self.kind)


def test_clips_are_those_of_the_source_at_minus_one_dbfs(tmp_path):
    pool = build_pool(tmp_path / "deep" / "a.npy", Tones(), "train", 5, 7)
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.json", "a.npy"]
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
    with pytest.raises(IndexError, match="index must be 0 to 4, got 5"):
        pool.clip(5)


def test_a_finished_pool_is_only_opened_and_only_for_its_own_plan(tmp_path):
    build_pool(tmp_path / "a.npy", Tones(), "train", 4, 0)
    again = Tones()
    build_pool(tmp_path / "a.npy", again, "train", 4, 0)
    assert again.made == 0
    with pytest.raises(ValueError, match=r"was built with .*'seed': 0.*asked for .*'seed': 4"):
        build_pool(tmp_path / "a.npy", again, "train", 4, 4)


def test_an_interrupted_build_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_pool(tmp_path / "a.npy", Tones(fail_at=6), "train", 10, 3)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_noticed(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(AudioFileError, match=r"a pool of clips and its \.json manifest"):
        DryPool(path)
    build_pool(path, Tones(), "train", 4, 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioFileError, match=r"a\.npy"):
        DryPool(path)
    np.save(path, np.zeros((3, 800), np.int16))
    with pytest.raises(AudioFileError, match=r"promises shape \(4, 800\), found \(3, 800\)"):
        DryPool(path)
    manifest = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({"source_ids": manifest["source_ids"]}))
    with pytest.raises(AudioFileError, match="plan"):
        DryPool(path)


def test_silence_stays_silence(tmp_path):
    pool = build_pool(tmp_path / "a.npy", Tones(gain=0), "train", 1, 0)
    assert not pool.clip(0).audio.any()


def test_fresh_clips_are_made_when_asked_and_depend_on_their_number():
    source = Tones()
    fresh = FreshClips(source, "train", 7)
    assert source.made == 0
    first, again, other = fresh.clip(3), pickle.loads(pickle.dumps(fresh)).clip(3), fresh.clip(4)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert not np.array_equal(first.audio, other.audio)
    for split, seed in (("test", 7), ("train", 8)):
        assert not np.array_equal(first.audio, FreshClips(Tones(), split, seed).clip(3).audio)
