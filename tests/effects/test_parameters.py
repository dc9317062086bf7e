import numpy as np
import pytest

from labkit.effects.parameters import Parameter, ParameterSpace
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
def test_unit_values_by_hand(knob: Parameter, value: float, unit: float) -> None:
    assert knob.to_unit(value) == pytest.approx(unit, abs=1e-12)
    assert knob.from_unit(unit) == pytest.approx(value, rel=1e-12)


def test_a_space_maps_every_knob_by_its_own_scale() -> None:
    np.testing.assert_allclose(
        SPACE.to_unit({"cutoff_hz": 1000.0, "drive_db": 25.0}), [0.75, 0.5], atol=1e-12
    )
    assert SPACE.from_unit(np.array([0.75, 0.5])) == pytest.approx(
        {"drive_db": 25.0, "cutoff_hz": 1000.0}
    )
    assert SPACE.names == ("drive_db", "cutoff_hz")
    assert len(SPACE) == 2
    assert SPACE["cutoff_hz"] is LOG


@pytest.mark.parametrize(
    ("drive_db", "cutoff_hz", "bins"),
    [
        (10.0, 100.0, [0, 0]),
        (14.9, 316.0, [0, 0]),  # 100 * 100 ** 0.25 = 316.2
        (15.0, 317.0, [1, 1]),
        (29.9, 9999.0, [3, 3]),
        (30.0, 10_000.0, [3, 3]),  # the top end belongs to the last bin
    ],
)
def test_bins_by_hand(drive_db: float, cutoff_hz: float, bins: list[int]) -> None:
    assert SPACE.to_bins({"drive_db": drive_db, "cutoff_hz": cutoff_hz}, 4) == bins


def test_bins_give_their_centres() -> None:
    # four bins of 20 dB: centres at 1/8, 3/8 ...; of two decades: 100 * 100 ** (5 / 8)
    assert SPACE.from_bins([0, 2], 4) == pytest.approx(
        {"drive_db": 12.5, "cutoff_hz": 1778.279}, rel=1e-6
    )


def test_rounding_at_the_ends_is_forgiven_and_clipped() -> None:
    assert LINEAR.to_unit(30.0 + 1e-6) == 1.0
    assert LINEAR.to_unit(10.0 - 1e-6) == 0.0
    assert LOG.from_unit(1.0) == 10_000.0
    with pytest.raises(ValueError, match=r"drive_db must lie in \[10, 30\] dB, got 30\.001"):
        LINEAR.check(30.001)


@pytest.mark.parametrize("value", [9.0, 31.0, float("nan"), float("inf"), -float("inf")])
def test_values_outside_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"drive_db must lie in \[10, 30\] dB, got"):
        LINEAR.to_unit(value)


@pytest.mark.parametrize("unit", [-0.01, 1.01, float("nan")])
def test_units_outside_are_refused(unit: float) -> None:
    with pytest.raises(ValueError, match=r"cutoff_hz: a unit value lies in \[0, 1\], got"):
        LOG.from_unit(unit)


@pytest.mark.parametrize(
    ("low", "high", "scale", "message"),
    [
        (1.0, 1.0, "linear", "x: low must be below high, got 1.0 and 1.0"),
        (2.0, 1.0, "linear", "x: low must be below high"),
        (float("nan"), 1.0, "linear", "x: low must be below high"),
        (0.0, 1.0, "log", "x: a log scale needs low > 0, got 0.0"),
        (-1.0, 1.0, "log", "x: a log scale needs low > 0, got -1.0"),
    ],
)
def test_impossible_ranges_are_refused(low: float, high: float, scale: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parameter("x", "", low, high, scale)


def test_a_space_refuses_what_is_not_its_own() -> None:
    with pytest.raises(
        ValueError, match=r"parameter names must be unique, got \('drive_db', 'drive_db'\)"
    ):
        ParameterSpace((LINEAR, LINEAR))
    with pytest.raises(
        ValueError, match=r"parameters must be \['cutoff_hz', 'drive_db'\], got \['drive_db'\]"
    ):
        SPACE.check({"drive_db": 20.0})
    with pytest.raises(ValueError, match=r"got \[.*'mix'\]"):
        SPACE.to_unit({"drive_db": 20.0, "cutoff_hz": 200.0, "mix": 0.5})
    with pytest.raises(ValueError, match="params_unit must hold 2 values, got 3"):
        SPACE.from_unit(np.zeros(3))
    with pytest.raises(ValueError, match=r"bins must lie in 0\.\.3, got \[0, 4\]"):
        SPACE.from_bins([0, 4], 4)
    with pytest.raises(ValueError, match=r"bins must lie in 0\.\.3, got \[-1, 0\]"):
        SPACE.from_bins([-1, 0], 4)
    with pytest.raises(
        KeyError, match=r"no parameter 'gain_db'; there are \('drive_db', 'cutoff_hz'\)"
    ):
        SPACE["gain_db"]


def test_samples_are_uniform_on_the_knobs_scale() -> None:
    rng = generator(0, "space")
    units = np.array([SPACE.to_unit(SPACE.sample(rng)) for _ in range(4000)])
    counts = np.array([np.histogram(column, bins=10, range=(0, 1))[0] for column in units.T])
    # chi-square over ten cells of 400: 27.9 is the 0.999 quantile at 9 degrees of freedom
    assert (((counts - 400) ** 2 / 400).sum(axis=1) < 27.9).all()
    assert abs(np.corrcoef(units.T)[0, 1]) < 0.05


def test_corners_by_hand():
    space = ParameterSpace(
        (Parameter("a_db", "dB", 0.0, 1.0), Parameter("b_hz", "Hz", 10.0, 20.0, "log"))
    )
    assert space.corners() == [
        {"a_db": 0.0, "b_hz": 10.0},
        {"a_db": 0.0, "b_hz": 20.0},
        {"a_db": 1.0, "b_hz": 10.0},
        {"a_db": 1.0, "b_hz": 20.0},
    ]
