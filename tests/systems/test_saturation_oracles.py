"""The oracles reach the figures that the project measured before it began, and their own bound."""

import numpy as np
import pytest

from labkit.effects.saturation import MEMORYLESS, saturate
from labkit.systems.saturation.oracles import (
    align,
    best_curve,
    closed_form,
    cramer_rao,
    least_squares,
    peak_leak,
)

RATE = 24000
DEPTHS = (1.0, 2.3, 4.7, 7.1, 9.9)


@pytest.fixture(scope="module")
def clean():
    """A second of decaying partials and a little noise, peak 1, as the project's first measurements had."""
    rng = np.random.default_rng(3)
    t = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 196 * k * t + k) * np.exp(-k * 2 * t) / k for k in range(1, 9))
    sound += 0.01 * rng.standard_normal(RATE)
    return sound / np.abs(sound).max()


def to_16_bit(audio):
    return np.round(audio * 32767) / 32767


def test_closed_form_is_exact_in_doubles_and_reaches_1e_3_from_16_bits(clean):
    for depth in DEPTHS:
        wet = saturate(clean, depth)
        assert closed_form(clean, wet) == pytest.approx(depth, abs=1e-12)
    errors = [abs(closed_form(to_16_bit(clean), to_16_bit(saturate(clean, d))) - d) for d in DEPTHS]
    # 8.0e-5 was measured over three seconds; a third of the samples gives sqrt(3) of it, and five draws scatter.
    assert np.mean(errors) < 4e-4


def test_closed_form_fails_at_an_unknown_level_and_least_squares_does_not(clean):
    for depth in DEPTHS:
        wet = 0.3 * saturate(clean, depth)
        assert abs(closed_form(clean, wet) - depth) > 0.5
        fit = least_squares(clean, wet)
        assert fit.depth == pytest.approx(
            depth, abs=1e-4
        )  # the search stops at 1e-7 of the logarithm
        assert fit.wet_amplitude == pytest.approx(0.3, abs=1e-5)
        assert fit.residual < 1e-9


def test_least_squares_reaches_its_bound_under_noise(clean):
    rng = np.random.default_rng(0)
    for free, depth in ((False, 3.0), (True, 6.0)):
        wet = saturate(clean, depth)
        noise_rms = float(np.sqrt(np.mean(wet**2))) / 100  # 40 dB below
        found = [
            least_squares(
                clean, wet + noise_rms * rng.standard_normal(len(wet)), free_level=free
            ).depth
            for _ in range(24)
        ]
        bound = cramer_rao(clean, depth, noise_rms, wet_amplitude=1.0 if free else None)
        # The deviation of 24 draws scatters by 1 / sqrt(48) = 14 %: three times that.
        assert np.std(found) == pytest.approx(bound, rel=0.45)
        # 3.4e-3 was measured at this noise, averaged over depths of which these are the middle ones.
        assert np.mean(np.abs(np.array(found) - depth)) < 1e-2


def test_an_unknown_level_costs_information_and_depth_hides_itself(clean):
    for depth in DEPTHS:
        assert cramer_rao(clean, depth, 0.01, wet_amplitude=1.0) > cramer_rao(clean, depth, 0.01)
    assert cramer_rao(clean, 10.0, 0.01) > cramer_rao(clean, 2.0, 0.01)
    by_hand = 0.01 / np.sqrt(np.sum(clean**2 / np.cosh(2.0 * clean) ** 4))
    assert cramer_rao(clean, 2.0, 0.01) == pytest.approx(by_hand, rel=1e-12)
    assert cramer_rao(np.zeros(8), 2.0, 0.01) == np.inf


def test_the_peak_gives_the_depth_away_until_the_level_is_taken_out(clean):
    """What the normalisation leaks: nothing but one sample is needed, at any depth that 16 bits resolve."""
    for depth in (1.0, 3.0, 5.0):
        assert peak_leak(saturate(clean, depth)) == pytest.approx(depth, abs=1e-9)
    assert peak_leak(to_16_bit(saturate(clean, 9.0))) == np.inf
    closed = {
        round(peak_leak(0.5 * w / np.abs(w).max()), 9) for w in (saturate(clean, d) for d in DEPTHS)
    }
    assert len(closed) == 1


@pytest.mark.parametrize("curve", MEMORYLESS)
def test_the_curve_that_leaves_least_is_the_true_one(clean, curve):
    found = best_curve(clean, 0.4 * saturate(clean, 4.0, curve=curve))
    assert found.curve == curve
    assert found.depth == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("begin", [0, 37, 200, 400])
def test_alignment_finds_where_the_wet_signal_begins(clean, begin):
    wet = -0.2 * saturate(clean, 8.0)[begin : begin + RATE - 400]
    found, alike = align(clean, wet)
    assert np.array_equal(found, clean[begin : begin + RATE - 400])
    assert 0.5 < alike < 1.0


def test_alignment_of_strangers_and_of_silence(clean):
    noise = np.random.default_rng(1).standard_normal(20000)
    assert align(clean, noise)[1] < 0.1
    assert align(np.zeros(100), np.zeros(90))[1] == 0.0
    with pytest.raises(ValueError, match="no shorter than wet"):
        align(np.zeros(10), np.zeros(11))


def test_what_cannot_be_fitted_is_said(clean):
    with pytest.raises(ValueError, match="of one length"):
        least_squares(clean, clean[:-1])
    with pytest.raises(ValueError, match="wet must not be silent"):
        least_squares(clean, 0 * clean)
    with pytest.raises(ValueError, match="got 'hysteresis'"):
        least_squares(clean, clean, curve="hysteresis")
    with pytest.raises(ValueError, match=r"below 0\.9 where clean is not 0"):
        closed_form(0 * clean, clean)
    with pytest.raises(ValueError, match="depth and noise_rms must be positive"):
        cramer_rao(clean, 2.0, 0.0)
