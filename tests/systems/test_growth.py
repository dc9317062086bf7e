"""What is said of the growth of the cost: the right sizes, within the memory, in rows that can be drawn."""

import sys
from types import ModuleType

import pytest
import torch

from labkit.systems import growth

TINY = {"device": "cpu", "sample_rate": 2000}


def test_each_size_is_measured_while_the_others_stand(monkeypatch) -> None:
    asked = []

    def measured(_run, _device):
        return 0.25, 3.0 * 2**20

    def chains(**task):
        asked.append(tuple(task[name] for name in ("items", "seconds", "pedals")))

    monkeypatch.setattr(growth, "cost", measured)
    monkeypatch.setattr(growth, "_chains", chains)
    rows = growth.growth_rows(sizes={"items": (1, 4), "pedals": (8,)}, **TINY)
    assert asked == [(1, 1, 5), (4, 1, 5), (16, 1, 8)]
    assert [(row.metric, row.ours, row.unit) for row in rows[:2]] == [
        ("time: 1 items", 0.25, "s"),
        ("memory: 1 items", 3.0, "MB"),
    ]
    assert rows[0].protocol == "growth with items; 1 seconds, 5 pedals"
    assert rows[-1].protocol == "growth with pedals; 16 items, 1 seconds"


def test_what_does_not_fit_into_the_memory_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(growth, "cost", lambda _run, _device: (1.0, None))
    four = 4 * growth.ALIVE * 4 * 2000
    rows = growth.growth_rows(sizes={"items": (1, 4, 5)}, memory_bytes=four, **TINY)
    assert [row.metric for row in rows] == ["time: 1 items", "time: 4 items"]


def test_costs_are_those_of_the_work() -> None:
    """Ten times the memory is seen to be taken, and a run that does nothing takes next to none."""
    device = torch.device("cpu")
    seconds, taken = growth.cost(lambda: torch.ones(30_000_000).sum(), device)
    at_rest, none = growth.cost(lambda: None, device)
    assert 0 <= at_rest < seconds
    if taken is not None:
        # 114 MiB; other threads of the process may take or give back some.
        assert 80 * 2**20 < taken < 200 * 2**20
        assert none < 20 * 2**20


def test_pedals_and_chain_are_weighed_against_the_memory() -> None:
    rows = growth.bandwidth_rows(items=1, **TINY)
    assert [row.unit for row in rows] == ["GB/s"] + [""] * (len(growth.PEDALS) + 1)
    assert all(row.ours > 0 for row in rows)


def test_another_library_stands_beside_ours_where_it_is_installed(monkeypatch) -> None:
    monkeypatch.setattr(growth, "find_spec", lambda _name: None)
    assert growth.dasp_rows(**TINY) == []

    gain = lambda audio, _rate, *knobs, **named: (  # noqa: E731
        audio * sum([*knobs, *named.values()]).view(-1, 1, 1)
    )
    theirs = ModuleType("dasp_pytorch.functional")
    for name in ("distortion", "compressor", "parametric_eq", "noise_shaped_reverberation"):
        setattr(theirs, name, gain)
    monkeypatch.setattr(growth, "find_spec", lambda _name: True)
    monkeypatch.setitem(sys.modules, "dasp_pytorch", ModuleType("dasp_pytorch"))
    monkeypatch.setitem(sys.modules, "dasp_pytorch.functional", theirs)
    rows = growth.dasp_rows(items=2, **TINY)
    assert len(rows) == 16
    assert {row.metric for row in rows if row.name.startswith("dasp-pytorch")} == {
        f"speed{with_gradients}: {name}"
        for with_gradients in ("", " with gradients")
        for name in ("distortion", "compressor", "equaliser", "reverb")
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"knobs": (1,)}}, "sizes must be among items, seconds, pedals, got knobs"),
        ({"memory_bytes": 0}, "memory_bytes must be positive, got 0"),
    ],
)
def test_errors(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        growth.growth_rows(**TINY, **options)
