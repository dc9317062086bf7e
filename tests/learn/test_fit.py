"""A chain's settings are found from dry and wet, and what cannot be found is refused in words."""

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.learn.fit import fit_chain
from labkit.measure.parity import signals
from labkit.systems.twins import knob_errors

RATE = 44_100
DRY = signals(RATE, seconds=0.5)["guitar"][:1]
HIDDEN = Chain((Step("distortion", {"drive_db": 19.0}), Step("lowpass", {"cutoff_frequency_hz": 900.0})))


def test_the_knobs_of_a_short_chain_are_found():
    wet = HIDDEN.render(DRY, RATE)
    found = fit_chain(DRY, wet, RATE, HIDDEN.names, draws=16, starts=2, steps=20, rounds=2)
    assert found.chain.names == HIDDEN.names
    # The bound asked of five pedals is 1 % of each range and 30 dB; two memoryless or short ones must do better.
    assert knob_errors(HIDDEN, found.chain).max() < 0.005
    assert found.si_sdr_db > 40.0
    known = 16 + 2 * (2 * 2 * 65 + 20 * 2)  # draws; in each round two starts with two knobs turned, then Adam
    assert known < found.renders <= known + 2 + 20 * (3 + 9) + 1  # the last choice, the polish, the last loss


def test_the_right_pedals_reach_the_sound_and_wrong_ones_do_not():
    wet = HIDDEN.render(DRY, RATE)
    right, wrong = (
        fit_chain(DRY, wet, RATE, names, draws=4, starts=1, steps=20, rounds=1) for names in (HIDDEN.names, ("gain",))
    )
    assert wrong.si_sdr_db < 20.0 < right.si_sdr_db
    assert right.distance < wrong.distance


def test_the_same_seed_finds_the_same_knobs():
    wet = HIDDEN.render(DRY, RATE)
    few = {"draws": 4, "starts": 1, "steps": 2, "rounds": 1, "seed": 3}
    one, other = (fit_chain(DRY, wet, RATE, HIDDEN.names, **few) for _ in range(2))
    assert one.chain == other.chain


def test_what_cannot_be_fitted_is_refused():
    wet = HIDDEN.render(DRY, RATE)
    with pytest.raises(ValueError, match=r"dry and wet must have one shape, got \(1, 22050\) and \(1, 100\)"):
        fit_chain(DRY, wet[:, :100], RATE, HIDDEN.names)
    with pytest.raises(ValueError, match="wet must not be silent"):
        fit_chain(DRY, np.zeros_like(wet), RATE, HIDDEN.names)
    with pytest.raises(ValueError, match=r"starts must lie in 1\.\.draws = 1\.\.2, got 3"):
        fit_chain(DRY, wet, RATE, HIDDEN.names, draws=2, starts=3)
    with pytest.raises(KeyError, match="no effect called 'kazoo'"):
        fit_chain(DRY, wet, RATE, ("kazoo",))
