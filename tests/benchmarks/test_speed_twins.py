"""Speed of five torch pedals in a row, each item with settings of its own, beside pedalboard and with gradients."""

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.signal.seeds import generator
from labkit.systems.growth import PEDALS, dasp_rows
from labkit.systems.twins import render_runs, wall_seconds

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
RATE = 44_100
SECONDS = 1


def runs(items: int) -> dict:
    chains = [
        Chain(
            tuple(
                Step(name, effect(name).space.sample(generator(1, "speed", k)))
                for name in PEDALS[:5]
            )
        )
        for k in range(items)
    ]
    dry = 0.1 * generator(1, "speed audio").standard_normal(
        (items, 1, SECONDS * RATE), dtype=np.float32
    )
    return render_runs(dry, RATE, chains)


@pytest.mark.parametrize("kind", ["pedalboard, 1 thread", "twins", "twins with gradients"])
def test_five_pedals(benchmark, device, kind) -> None:
    if benchmark.disabled:
        pytest.skip("speed is measured with --benchmark-enable only")
    if device.type == "cuda" and kind.startswith("pedalboard"):
        pytest.skip("pedalboard renders on the processor")
    items = 1024 if device.type == "cuda" else 16
    found = runs(items)
    # The twins' runs come in pairs, forward and with gradients, those of the processor first.
    twins = [run for name, run in found.items() if name.startswith("twins")][
        -2 if device.type == "cuda" else 0 :
    ]
    run = found.get(kind) or twins[kind.endswith("gradients")]
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info["x real time"] = items * SECONDS / benchmark.stats.stats.min


def test_gradients_take_little_more_than_the_way_forward(device) -> None:
    """The aim is 4 times the forward pass; a factor of two is left to the noise of a busy machine."""
    pair = list(runs(1024 if device.type == "cuda" else 8).values())
    forward, both = pair[-2:] if device.type == "cuda" else pair[2:4]
    assert wall_seconds(both) < 8 * wall_seconds(forward)


def test_the_same_effects_of_another_library(device) -> None:
    rows = dasp_rows(device=device, items=4)
    if not rows:
        pytest.skip("dasp-pytorch is not installed: pip install --no-deps dasp-pytorch")
    assert len(rows) == 16  # four effects, two libraries, with and without gradients
    assert all(np.isfinite(row.ours) and row.ours > 0 for row in rows)
    assert {row.name for row in rows if row.metric.startswith("speed with")} == {
        row.name for row in rows
    }
    print(*(f"{row.name}  {row.metric}  {row.ours:.0f}" for row in rows), sep="\n")
