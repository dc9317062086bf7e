import numpy as np
import pytest
import torch

from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.effects.registry import EFFECTS
from labkit.signal.seeds import generator

LINEAR = Parameter("drive_db", "dB", 10.0, 30.0)
LOG = Parameter("cutoff_hz", "Hz", 100.0, 10_000.0, "log")
SPACE = ParameterSpace((LINEAR, LOG))


@pytest.mark.parametrize(
    ("knob", "value", "unit"),
    [
        (LINEAR, 10.0, 0.0),
        (LINEAR, 15.0, 0.25),
        (LINEAR, 30.0, 1.0),
        (LOG, 100.0, 0.0),
        (LOG, 1000.0, 0.5),  # one decade of two
        (LOG, 200.0, np.log10(2) / 2),
        (LOG, 10_000.0, 1.0),
        (Parameter("bend", "", -2.0, 2.0), -1.0, 0.25),
    ],
)
def test_unit_values_by_hand(knob, value, unit):
    assert knob.to_unit(value) == pytest.approx(unit, abs=1e-12)
    assert knob.from_unit(unit) == pytest.approx(value, rel=1e-12)


def test_a_space_maps_every_knob_by_its_own_scale():
    units = SPACE.to_unit({"cutoff_hz": 1000.0, "drive_db": 25.0})
    np.testing.assert_allclose(units, [0.75, 0.5], atol=1e-12)
    assert SPACE.from_unit(units) == pytest.approx({"drive_db": 25.0, "cutoff_hz": 1000.0})
    assert (SPACE.names, len(SPACE)) == (("drive_db", "cutoff_hz"), 2)
    assert SPACE["cutoff_hz"] is LOG
    corners = [tuple(corner.values()) for corner in SPACE.corners()]
    assert corners == [(10.0, 100.0), (10.0, 10_000.0), (30.0, 100.0), (30.0, 10_000.0)]


@pytest.mark.parametrize("name", EFFECTS)
def test_a_batch_of_unit_values_becomes_what_each_becomes_alone(name):
    space = EFFECTS[name].space
    unit = generator(0, "unit", name).uniform(size=(3, len(space)))
    values = space.from_unit_batch(torch.from_numpy(unit))
    for row in range(3):
        found = {knob: value[row].item() for knob, value in values.items()}
        assert found == pytest.approx(space.from_unit(unit[row]), rel=1e-9)


def test_bins_by_hand():
    for drive_db, cutoff_hz, bins in [
        (14.9, 316.0, [0, 0]),  # 100 * 100 ** 0.25 = 316.2
        (15.0, 317.0, [1, 1]),
        (30.0, 10_000.0, [3, 3]),  # the top end belongs to the last bin
    ]:
        assert SPACE.to_bins({"drive_db": drive_db, "cutoff_hz": cutoff_hz}, 4) == bins
