"""Refinement decides between the network's candidates by rendering them."""

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.decode import Prediction
from labkit.systems.pedal_order.refine import refine

RATE = 44_100
TRUTH = Chain(
    (Step("lowpass", {"cutoff_frequency_hz": 900.0}), Step("distortion", {"drive_db": 26.0}))
)


@pytest.fixture(scope="module")
def pair():
    dry = (0.1 * generator(0, "refine").standard_normal((1, RATE // 8))).astype(np.float32)
    return dry, TRUTH.render(dry, RATE)


def said(*orders):
    return Prediction(
        Chain(()), 1 / len(orders), tuple((names, 1 / len(orders)) for names in orders)
    )


def test_a_second_candidate_wins_when_it_explains_the_sound(pair):
    """The first has the pedals in the wrong order; the third, the right order again, is not needed any more."""
    wrong = ("distortion", "lowpass")
    found = refine(said(wrong, TRUTH.names, TRUTH.names), *pair, RATE)
    assert found.chain.names == TRUTH.names
    assert (
        found.si_sdr_db > 60
    )  # a memoryless pedal and a filter: exact but for the search's own tolerance
    assert [names for names, _ in found.tried] == [wrong, TRUTH.names]
    assert found.tried[0][1] < 30
    assert found.chain.steps[1].params["drive_db"] == pytest.approx(26.0, abs=0.01)


def test_no_pedals_is_a_candidate_too(pair):
    dry, _ = pair
    found = refine(said((), TRUTH.names), dry, dry, RATE)
    assert (found.chain, found.si_sdr_db, len(found.tried)) == (Chain(()), np.inf, 1)


def test_bad_arguments(pair):
    dry, wet = pair
    for bad in (wet[:, :-1], np.zeros_like(wet)):
        with pytest.raises(ValueError, match="dry and wet must have one shape, and wet must sound"):
            refine(said(()), dry, bad, RATE)
    with pytest.raises(ValueError, match="candidates must be at least 1, got 0"):
        refine(said(()), dry, wet, RATE, candidates=0)
