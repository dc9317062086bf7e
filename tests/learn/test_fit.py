"""A chain's settings are found from dry and wet, and a search knows when it failed."""

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.learn.fit import fit_chain, fit_chain_cma
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

RATE = 44_100
GUITAR = phrase(generator(0, "parity signals"), sample_rate=RATE, seconds=0.4, style="strum")
DRY = set_rms(GUITAR, -20.0)
HIDDEN = Chain(
    (Step("distortion", {"drive_db": 19.0}), Step("lowpass", {"cutoff_frequency_hz": 900.0}))
)


def knob_errors(truth: Chain, found: Chain) -> np.ndarray:
    """Absolute errors of the knobs, as shares of their ranges."""
    pairs = zip(truth.steps, found.steps, strict=True)
    spaces = [effect(name).space for name in truth.names]
    units = [
        [space.to_unit(step.params) for step in pair]
        for space, pair in zip(spaces, pairs, strict=True)
    ]
    return np.abs(np.concatenate([true - guess for true, guess in units]))


def test_the_knobs_of_a_short_chain_are_found():
    wet = HIDDEN.render(DRY, RATE)
    found = fit_chain(DRY, wet, RATE, HIDDEN.names)
    assert found.chain.names == HIDDEN.names
    # Asked of five pedals: 1 % of each range and 30 dB. Two short ones must do better.
    assert knob_errors(HIDDEN, found.chain).max() < 0.005
    assert found.si_sdr_db > 40.0


def test_an_echo_is_found_to_the_sample():
    """Its delay has no slope: only trying every sample finds it."""
    hidden = Chain(
        (HIDDEN.steps[0], Step("delay", {"delay_seconds": 0.1537, "feedback": 0.3, "mix": 0.4}))
    )
    found = fit_chain(DRY, hidden.render(DRY, RATE), RATE, hidden.names)
    assert int(found.chain.steps[1].params["delay_seconds"] * RATE) == int(0.1537 * RATE)
    assert knob_errors(hidden, found.chain).max() < 0.01
    assert found.si_sdr_db > 30.0


def test_an_oscillator_is_found_though_its_error_has_valleys():
    params = effect("chorus").space.from_unit(np.array([0.9, 0.8, 0.3, 0.5, 0.7]))
    hidden = Chain((Step("chorus", params),))
    found = fit_chain(DRY, hidden.render(DRY, RATE), RATE, hidden.names)
    assert knob_errors(hidden, found.chain).max() < 0.01
    assert found.si_sdr_db > 30.0


def test_without_slopes_the_knobs_are_found_too():
    wet = HIDDEN.render(DRY, RATE)
    found = fit_chain_cma(DRY, wet, RATE, HIDDEN.names, renders=150, seed=2)
    # Loosely: CMA-ES shrinks its steps about tenfold in every 60 renders of two knobs.
    assert knob_errors(HIDDEN, found.chain).max() < 0.05
