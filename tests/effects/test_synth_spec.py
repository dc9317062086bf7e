"""Parameter sets: vectors and back, gates, points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.effects.synths.registry import SETS as EVERY_SET
from labkit.effects.synths.spec import Choice, Knob, SynthSpec
from labkit.effects.synths.vital import SIMPLE
from labkit.signal.seeds import generator

SMALL = SynthSpec(
    "small",
    (
        Knob("level", 0.5, 1.0, steps=2, point=0.0, point_share=0.5),
        Choice("kind", ("off", "low", "high"), (0.2, 0.4, 0.4), gate="level"),
        Knob("cutoff", 20.0, 40.0, steps=4, gate="kind"),
    ),
)


@pytest.mark.parametrize("spec", EVERY_SET.values(), ids=EVERY_SET)
@given(seed=st.integers(0, 10**6))
def test_vectors_come_back_exactly(spec: SynthSpec, seed: int) -> None:
    values = spec.draw(generator(seed, "patch"))
    vector = spec.encode(values)
    assert vector.shape == (spec.size,)
    assert vector.dtype == np.float32
    assert spec.decode(vector) == values


def test_a_vector_by_hand() -> None:
    # 0.75 is the middle of the grid; the point is drawn half the time, so that its place holds -1 or 1;
    # (1 - .4) / sqrt(.24) = 1.2247 and (0 - .2) / .4 = -.5; 35 lies a quarter of the range above the middle.
    code = SMALL.encode({"level": 0.75, "kind": "low", "cutoff": 35.0})
    np.testing.assert_allclose(
        code, [0, -1, -0.5, 1.2247449, -0.8164966, 0.25 * np.sqrt(12)], atol=1e-6
    )


@given(numbers=st.lists(st.floats(-50, 50), min_size=SIMPLE.size, max_size=SIMPLE.size))
def test_any_vector_is_a_patch(numbers: list[float]) -> None:
    values = SIMPLE.decode(np.array(numbers))
    SIMPLE.check(values)
    assert SIMPLE.decode(SIMPLE.encode(values)) == values


@pytest.mark.parametrize("spec", EVERY_SET.values(), ids=EVERY_SET)
def test_shares_and_points_of_every_set_are_possible(spec: SynthSpec) -> None:
    assert len(set(spec.names)) == len(spec.names)
    for k, field in enumerate(spec.fields):
        assert field.gate is None or field.gate in spec.names[:k], field
        if isinstance(field, Choice):
            assert len(set(field.options)) == len(field.shares) > 1, field
            assert sum(field.shares) == pytest.approx(1), field
            assert min(field.shares) > 0, field
        else:
            assert field.low < field.high, field
            assert (field.point is None) == (field.point_share == 0), field
            within = field.point is not None and field.low <= field.point <= field.high
            # Then it is a place of the grid, so that a vector has one meaning.
            assert not within or field.at(field.step(field.point)) == field.point, field
