"""The pool of dry clips: built once, resumed after a kill, checked when opened."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from labkit.signal.files import AudioFileError
from labkit.signal.pool import DryPool, FreshClips, build_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip


class Tones:
    """A source that counts its clips and can fail at one of them."""

    kind, seconds, sample_rate = "generated", 0.1, 8_000

    def __init__(self, fail_at=None):
        self.made, self.fail_at = 0, fail_at

    def groups(self, split):
        return [f"tone/{split}"]

    def clip(self, rng, split):
        if self.made == self.fail_at:
            raise KeyboardInterrupt
        self.made += 1
        audio = rng.uniform(-0.2, 0.2, (1, 800)).astype(np.float32)
        return Clip(audio, self.sample_rate, f"tone/{split}", self.kind)


def test_clips_are_those_of_the_source_at_minus_one_dbfs(tmp_path):
    pool = build_pool(tmp_path / "a.npy", Tones(), "train", 5, 7)
    assert len(pool) == 5
    clip = pool.clip(3)
    expected = Tones().clip(generator(7, "pool", "train", 3), "train").audio
    gain = 10 ** (-1 / 20) / np.abs(expected).max()
    np.testing.assert_allclose(
        clip.audio, expected * gain, atol=0.51 / 32767
    )  # half a step of 16 bits
    assert (clip.audio.shape, clip.audio.dtype, clip.sample_rate) == ((1, 800), np.float32, 8_000)
    assert (clip.source_id, clip.kind) == ("tone/train", "generated")
    with pytest.raises(IndexError, match="index must be 0 to 4, got 5"):
        pool.clip(5)


def test_manifest_and_files(tmp_path):
    pool = build_pool(
        tmp_path / "deep" / "a.npy", Tones(), "test", 3, 0, seconds=0.1, sample_rate=8_000
    )
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.json", "a.npy"]
    manifest = json.loads((tmp_path / "deep" / "a.json").read_text())
    assert manifest["plan"] == {
        "source": "generated", "split": "test", "n": 3, "seed": 0, "samples": 800, "sample_rate": 8_000
    }  # fmt: skip
    assert manifest["source_ids"] == ["tone/test"] * 3
    assert manifest["kinds"] == ["generated"] * 3
    assert manifest["libraries"]["numpy"] == np.__version__
    pool.verify()


def test_a_finished_pool_is_only_opened(tmp_path):
    build_pool(tmp_path / "a.npy", Tones(), "train", 4, 0)
    again = Tones()
    build_pool(tmp_path / "a.npy", again, "train", 4, 0)
    assert again.made == 0


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_pool(tmp_path / "a.npy", Tones(fail_at=6), "train", 10, 3)
    assert not (tmp_path / "a.npy").exists()
    with pytest.raises(ValueError, match=r"was built with .*'seed': 3.*asked for .*'seed': 4"):
        build_pool(tmp_path / "a.npy", Tones(), "train", 10, 4)
    rest = Tones()
    resumed = build_pool(tmp_path / "a.npy", rest, "train", 10, 3)
    assert rest.made == 4
    whole = build_pool(tmp_path / "b.npy", Tones(), "train", 10, 3)
    assert resumed.manifest == whole.manifest
    for index in range(10):
        np.testing.assert_array_equal(resumed.clip(index).audio, whole.clip(index).audio)


def test_a_torn_last_line_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_pool(tmp_path / "a.npy", Tones(fail_at=3), "train", 5, 0)
    with open(tmp_path / "a.part.jsonl", "a") as log:
        log.write('["tone/tr')
    rest = Tones()
    build_pool(tmp_path / "a.npy", rest, "train", 5, 0).verify()
    assert rest.made == 2


SLOW_BUILD = """
import sys, time
import numpy as np
from labkit.signal.pool import build_pool
from labkit.signal.sources import Clip

class Slow:
    kind, seconds, sample_rate = "generated", 0.1, 8_000
    def clip(self, rng, split):
        time.sleep(0.01)
        return Clip(rng.uniform(-1, 1, (1, 800)).astype(np.float32), 8_000, "slow", "generated")

build_pool(sys.argv[1], Slow(), "train", 300, 1)
"""


def test_a_killed_process_loses_nothing(tmp_path):
    path = tmp_path / "a.npy"
    process = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(path)])
    log = tmp_path / "a.part.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 20):
        assert time.monotonic() < deadline, "the build never started"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    written = log.read_text().count("\n") - 1
    subprocess.run([sys.executable, "-c", SLOW_BUILD, str(path)], check=True)
    pool = DryPool.open(path)
    pool.verify()
    expected = generator(1, "pool", "train", written - 1).uniform(-1, 1, (1, 800))
    expected *= 10 ** (-1 / 20) / np.abs(expected).max()
    np.testing.assert_allclose(pool.clip(written - 1).audio, expected, atol=1 / 32767)


def test_damage_is_noticed(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(
        AudioFileError, match=r"a\.npy: a pool of clips and its \.json manifest were expected"
    ):
        DryPool.open(path)
    pool = build_pool(path, Tones(), "train", 4, 0)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(AudioFileError, match="sha256"):
        pool.verify()
    path.write_bytes(data[:-100])
    with pytest.raises(AudioFileError, match=r"a\.npy"):
        DryPool.open(path)
    np.save(path, np.zeros((3, 800), np.int16))
    with pytest.raises(AudioFileError, match=r"promises 4 clips of 800, found \(3, 800\)"):
        DryPool.open(path)


def test_silence_stays_silence_and_pools_pickle(tmp_path):
    class Silent(Tones):
        def clip(self, rng, split):  # noqa: ARG002
            return Clip(np.zeros((1, 800), np.float32), 8_000, "none", "generated")

    pool = build_pool(tmp_path / "a.npy", Silent(), "train", 1, 0)
    assert not pool.clip(0).audio.any()
    assert pickle.loads(pickle.dumps(pool)).clip(0).source_id == "none"


def test_fresh_clips_are_made_when_asked_and_depend_on_their_number():
    source = Tones()
    fresh = FreshClips(source, "train", 7)
    assert source.made == 0
    first, again, other = fresh.clip(3), pickle.loads(pickle.dumps(fresh)).clip(3), fresh.clip(4)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert not np.array_equal(first.audio, other.audio)
    for split, seed in (("test", 7), ("train", 8)):
        assert not np.array_equal(first.audio, FreshClips(Tones(), split, seed).clip(3).audio)
    with pytest.raises(ValueError, match="split must be one of"):
        FreshClips(source, "dev", 7)


def test_bad_arguments(tmp_path):
    with pytest.raises(
        ValueError, match=r"path must end in \.npy and n be at least 1, got a\.bin and 0"
    ):
        build_pool(tmp_path / "a.bin", Tones(), "train", 0, 0)
    with pytest.raises(ValueError, match=r"seconds is 2.*makes clips with 0\.1"):
        build_pool(tmp_path / "a.npy", Tones(), "train", 1, 0, seconds=2.0)
    with pytest.raises(ValueError, match="split must be one of"):
        build_pool(tmp_path / "a.npy", Tones(), "dev", 1, 0)
