"""Speed of five differentiable pedals in a row, each item with its own settings."""

import time

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, Step, render_chains
from labkit.effects.registry import effect
from labkit.signal.seeds import generator

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
RATE, PEDALS = 44_100, ("compressor", "distortion", "chorus", "phaser", "reverb")


def runs(device: torch.device) -> dict:
    """What renders a second of noise per item: pedalboard, torch, torch with gradients."""
    chains = []
    for k in range(1024 if device.type == "cuda" else 8):
        rng = generator(1, "speed", k)
        chains.append(Chain(tuple(Step(name, effect(name).space.sample(rng)) for name in PEDALS)))
    noise = generator(1, "speed audio").standard_normal((len(chains), 1, RATE), dtype=np.float32)
    audio = 0.1 * torch.from_numpy(noise).to(device)

    def with_gradients() -> None:
        leaf = audio.clone().requires_grad_()
        render_chains(leaf, RATE, chains).square().sum().backward()

    return {
        "pedalboard": lambda: [c.render(x, RATE) for c, x in zip(chains, noise, strict=True)],
        "torch": lambda: render_chains(audio, RATE, chains),
        "torch with gradients": with_gradients,
    }


@pytest.mark.parametrize("kind", ["pedalboard", "torch", "torch with gradients"])
def test_five_pedals(benchmark, device, kind):
    benchmark.pedantic(runs(device)[kind], rounds=3, warmup_rounds=1)


def test_gradients_take_little_more_than_the_pass_forward(device):
    """The aim is 4 times the pass forward; a factor of two is left to a busy machine."""
    seconds = {}
    for kind, run in runs(device).items():
        run()
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds[kind] = time.perf_counter() - started
    assert seconds["torch with gradients"] < 8 * seconds["torch"]
