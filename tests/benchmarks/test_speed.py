"""Speed on a quiet machine: `make bench`. Mean seconds are held to twice what a free core takes."""

import itertools

import numpy as np
import pytest
import torch

from labkit.effects import faust
from labkit.effects.chain import Chain, Step, render_chains
from labkit.effects.registry import EFFECTS, effect
from labkit.signal.augment import augment
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator

RATE, PEDALS = 44_100, ("compressor", "distortion", "chorus", "phaser", "reverb")
MIDDLE = {name: one.space.from_unit([0.5] * len(one.space)) for name, one in EFFECTS.items()}


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


@pytest.mark.parametrize("kind", ["pedalboard", "VST3"])
def test_six_pedals_on_ten_seconds_of_stereo_noise_in_one_host(benchmark, kind, tmp_path):
    pedalboard = pytest.importorskip("pedalboard", reason="pedalboard is not installed")
    chain = Chain(tuple(Step(name, MIDDLE[name]) for name in (*PEDALS, "delay")))
    noise = generator(1, "speed audio").standard_normal((2, 10 * RATE), dtype=np.float32)
    if kind == "VST3":
        if faust.missing(".vst3"):
            pytest.skip(f"no VST3 can be built here: {faust.missing('.vst3')}")
        faust.build_plugin(chain, tmp_path / "six.vst3", channels=2)
        play = pedalboard.VST3Plugin(str(tmp_path / "six.vst3"))
    else:
        play = pedalboard.Pedalboard([effect(name).build(params) for name, params in chain])
    benchmark.pedantic(play, (0.1 * noise, RATE), rounds=5, warmup_rounds=1)
