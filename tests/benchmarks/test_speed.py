"""Speed on a quiet machine: `make bench`. Mean seconds are held to twice what a free core takes."""

import itertools

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, Step, render_chains
from labkit.effects.registry import effect
from labkit.signal.augment import augment
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
RATE, PEDALS = 44_100, ("compressor", "distortion", "chorus", "phaser", "reverb")


def mean_seconds(benchmark):
    """0 where `--benchmark-enable` is not given."""
    return 0.0 if benchmark.disabled else benchmark.stats.stats.mean


def test_a_hundred_phrases_a_second(benchmark):
    seeds = itertools.count()
    benchmark(lambda: phrase(generator(1, "speed", next(seeds))))
    assert mean_seconds(benchmark) < 1 / 50


def test_augment_two_seconds(benchmark):
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (1, round(2.5 * RATE))).astype(np.float32)
    benchmark(augment, audio, RATE, rng)
    assert mean_seconds(benchmark) < 0.006


@pytest.mark.parametrize("kind", ["pedalboard", "torch", "torch with gradients"])
def test_five_pedals_on_a_second_of_noise(benchmark, device, kind):
    chains = []
    for k in range(1024 if device.type == "cuda" else 8):
        rng = generator(1, "speed", k)
        chains.append(Chain(tuple(Step(name, effect(name).space.sample(rng)) for name in PEDALS)))
    noise = generator(1, "speed audio").standard_normal((len(chains), 1, RATE), dtype=np.float32)
    audio = (0.1 * torch.from_numpy(noise).to(device)).requires_grad_(kind != "torch")

    def render():
        if kind == "pedalboard":
            return [chain.render(x, RATE) for chain, x in zip(chains, noise, strict=True)]
        wet = render_chains(audio, RATE, chains).square().sum()
        if wet.requires_grad:
            wet.backward()
        return wet.item()

    benchmark.pedantic(render, rounds=3, warmup_rounds=1)
