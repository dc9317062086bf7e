"""Examples made once: every round uses each of them, and the cache returns what was put in."""

import pickle

import pytest
import torch

from labkit.learn.pool import ExampleCache, number_of

SHAPES = {"features": (2, 3), "target": (1,)}


def example(value):
    return {"features": torch.full((2, 3), value), "target": torch.full((1,), -value)}


def missing(_number):
    raise LookupError


def test_every_round_uses_each_example_once_in_an_order_of_its_own():
    rounds = [[number_of(turn * 7 + i, 7, seed=3) for i in range(7)] for turn in range(4)]
    assert rounds[0] == list(range(7))
    assert all(sorted(one) == rounds[0] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 4
    assert [number_of(7 + i, 7, seed=3) for i in range(7)] == rounds[1]
    assert [number_of(7 + i, 7, seed=4) for i in range(7)] != rounds[1]


def test_a_cache_returns_what_any_process_put_in(tmp_path):
    cache = ExampleCache(tmp_path / "cache", 5, SHAPES)
    cache.get(4, lambda _: example(2.0) | {"other": torch.zeros(9)})
    reopened = ExampleCache(tmp_path / "cache", 5, SHAPES)
    for one in (cache, pickle.loads(pickle.dumps(cache)), reopened):
        found = one.get(4, missing)
        assert set(found) == set(SHAPES)
        assert torch.equal(found["features"], example(2.0)["features"].half())
        assert torch.equal(found["target"], example(2.0)["target"].half())
        with pytest.raises(LookupError):
            one.get(3, missing)


@pytest.mark.parametrize("place", ["first field", "second field", "checksum", "the end"])
def test_an_example_written_in_part_or_damaged_does_not_count(tmp_path, place):
    cache = ExampleCache(tmp_path, 2, SHAPES)
    # Zeros, as an empty file holds them, count once they are written.
    [cache.get(k, lambda k: example(float(k))) for k in (0, 1)]
    content = bytearray(cache.path.read_bytes())
    size = len(content) // 2
    if place == "the end":
        content = content[:-1]
    else:
        content[size + {"first field": 3, "second field": 12, "checksum": size - 1}[place]] ^= 1
    cache.path.write_bytes(content)
    found = ExampleCache(tmp_path, 2, SHAPES)
    found.get(0, missing)
    with pytest.raises(LookupError):
        found.get(1, missing)


def test_examples_of_other_shapes_or_another_number_have_another_file(tmp_path):
    ExampleCache(tmp_path, 2, SHAPES).get(0, lambda _: example(1.0))
    for n, shapes in ((3, SHAPES), (2, {"features": (3, 2), "target": (1,)})):
        with pytest.raises(LookupError):
            ExampleCache(tmp_path, n, shapes).get(0, missing)
    ExampleCache(tmp_path, 2, SHAPES).get(0, missing)
