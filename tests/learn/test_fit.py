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
    found = fit_chain(DRY, wet, RATE, HIDDEN.names, draws=16, starts=2, steps=80)
    assert found.chain.names == HIDDEN.names
    # The bound asked of five pedals is 1 % of each range and 30 dB; two memoryless or short ones must do better.
    assert knob_errors(HIDDEN, found.chain).max() < 0.005
    assert found.si_sdr_db > 40.0
    assert found.renders == 16 + 40 * 2 + 2 + 40 * 1 + 1 + 1


def test_more_steps_come_nearer_and_another_sound_stays_far():
    wet = HIDDEN.render(DRY, RATE)
    few = fit_chain(DRY, wet, RATE, HIDDEN.names, draws=4, starts=2, steps=4)
    more = fit_chain(DRY, wet, RATE, HIDDEN.names, draws=4, starts=2, steps=60)
    assert more.distance < few.distance
    wrong = fit_chain(DRY, wet, RATE, ("gain",), draws=4, starts=2, steps=60)
    assert wrong.si_sdr_db < 20.0 < more.si_sdr_db


def test_the_same_seed_finds_the_same_knobs():
    wet = HIDDEN.render(DRY, RATE)
    one, other = (fit_chain(DRY, wet, RATE, HIDDEN.names, draws=4, starts=2, steps=4, seed=3) for _ in range(2))
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
