"""What a second process saves on a batch through a real plug-in, and what a plug-in's own process costs."""

import numpy as np
import pytest

from labkit.effects.hosts import PluginPool, installed_plugins, open_plugin
from labkit.signal.seeds import generator

RATE = 44_100


def vst3(name):
    if not any(
        (info.kind, info.name, info.usable) == ("VST3", name, True) for info in installed_plugins()
    ):
        pytest.skip(f"VST3 plug-in {name} is not installed (Debian: zam-plugins)")
    return open_plugin(name)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.benchmark(group="16 items of 5 s through a VST3 multiband compressor")
def test_a_batch_of_16(benchmark, workers):
    with vst3("ZaMultiComp") as plugin:
        rng = generator(0, "batch")
        audios = [0.1 * rng.standard_normal((1, 5 * RATE)).astype(np.float32) for _ in range(16)]
        settings = rng.random((16, len(plugin.parameters)))
        with PluginPool(plugin, workers=workers) as pool:
            heard = benchmark.pedantic(
                pool.map, (audios, RATE, settings), rounds=5, warmup_rounds=1
            )
    assert [out.shape for out in heard] == [(1, 5 * RATE)] * 16


@pytest.mark.benchmark(group="one second")
@pytest.mark.parametrize("name", ["compressor", "ZamComp"])
def test_one_second(benchmark, name):
    with vst3(name) if name == "ZamComp" else open_plugin(name) as plugin:
        audio = 0.1 * generator(0, "second").standard_normal((1, RATE)).astype(np.float32)
        setting = np.array([knob.default_unit for knob in plugin.parameters])
        benchmark.pedantic(plugin.process, (audio, RATE, setting), rounds=20, warmup_rounds=2)
