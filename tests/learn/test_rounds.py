"""Examples made once: every round shows each of them, and a cache gives back what was put in, to any process."""

import pickle

import numpy as np
import pytest
import torch

from labkit.learn.rounds import ExampleCache, number_of


def test_every_round_shows_each_example_once_in_an_order_of_its_own():
    rounds = [[number_of(turn * 7 + i, 7, seed=3) for i in range(7)] for turn in range(4)]
    assert rounds[0] == list(range(7))
    assert all(sorted(one) == rounds[0] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 4
    assert [number_of(7 + i, 7, seed=3) for i in range(7)] == rounds[1]
    assert [number_of(7 + i, 7, seed=4) for i in range(7)] != rounds[1]


def test_a_cache_gives_back_what_any_process_put_in(tmp_path):
    cache = ExampleCache(tmp_path / "cache", (5, 2, 3))
    made = torch.arange(6.0).view(2, 3).half()
    assert cache.read(4) is None
    cache.write(4, made)
    other = pickle.loads(pickle.dumps(cache))
    for one in (cache, other, ExampleCache(tmp_path / "cache", (5, 2, 3))):
        assert torch.equal(one.read(4), made)
        assert one.read(3) is None
    with pytest.raises(
        ValueError, match=r"holds arrays of shape \(5, 2, 3\), expected \(6, 2, 3\)"
    ):
        ExampleCache(tmp_path / "cache", (6, 2, 3))


def test_an_array_without_its_flag_does_not_count(tmp_path):
    """What a process leaves that is killed between the two writes."""
    cache = ExampleCache(tmp_path, (2, 4))
    cache.write(0, torch.ones(4).half())
    np.load(tmp_path / "there.npy", mmap_mode="r+")[0] = 0
    assert ExampleCache(tmp_path, (2, 4)).read(0) is None
