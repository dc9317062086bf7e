"""How fast dry clips come: `pytest tests/benchmarks --benchmark-only`."""

import itertools

import numpy as np
import pytest

from labkit.signal.augment import augment
from labkit.signal.sampled import Sampled, SoundFontMissingError, find_soundfont

RATE = 44_100


def test_augment_two_seconds(benchmark):
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (1, round(2.5 * RATE))).astype(np.float32)
    out = benchmark(augment, audio, RATE, rng, samples=2 * RATE)
    assert out.shape == (1, 2 * RATE)
    if benchmark.stats is not None:
        assert (
            benchmark.stats["mean"] < 0.006
        )  # 3 ms on a free core; twice that where the cores are shared


def test_sampled_clips(benchmark):
    try:
        find_soundfont()
    except SoundFontMissingError as error:
        pytest.skip(f"no soundfont: {error}")
    instruments, rng = Sampled(seconds=2.5), np.random.default_rng(0)
    instruments.clip(rng, "train")
    splits = itertools.cycle(["train", "test"])
    audio, _ = benchmark(lambda: instruments.draw(rng, next(splits)))
    assert audio.shape == (1, round(2.5 * RATE))
    if benchmark.stats is not None:
        assert benchmark.stats["mean"] < 1 / 60  # at least 60 clips a second
