"""What a second process saves on a batch through a real plug-in, and what a process costs."""

import numpy as np
import pytest

from labkit.effects.hosts import Rack, Unit, installed_plugins, open_plugin
from labkit.signal.seeds import generator

RATE = 44_100


def opened(name):
    here = {info.name for info in installed_plugins() if info.usable}
    if name not in here:
        pytest.skip(f"plug-in {name} is not installed (Debian: zam-plugins)")
    return open_plugin(name)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.benchmark(group="16 items of 5 s through a VST3 multiband compressor")
def test_a_batch_of_16(benchmark, workers):
    with opened("ZaMultiComp") as plugin:
        unit = Unit("ZaMultiComp", {p.name: p.default_unit for p in plugin.parameters})
    rng = generator(0, "batch")
    audio = 0.1 * rng.standard_normal((16, 1, 5 * RATE)).astype(np.float32)
    settings = rng.random((16, len(unit.knobs)))
    with Rack([unit], RATE, workers=workers) as rack:
        wet = benchmark.pedantic(rack.render, (audio, settings), rounds=5, warmup_rounds=1)
    assert wet.shape == audio.shape


@pytest.mark.benchmark(group="one second")
@pytest.mark.parametrize("name", ["compressor", "ZamComp"])
def test_one_second(benchmark, name):
    with opened(name) as plugin:
        audio = 0.1 * generator(0, "second").standard_normal((1, RATE)).astype(np.float32)
        setting = np.array([parameter.default_unit for parameter in plugin.parameters])
        benchmark.pedantic(plugin.process, (audio, RATE, setting), rounds=20, warmup_rounds=2)
