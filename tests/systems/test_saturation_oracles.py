"""Formulas without training: exact where they apply, and at their bound under noise."""

import numpy as np
import pytest

from labkit.effects.saturation import MEMORYLESS, saturate
from labkit.measure.align import align_signs
from labkit.systems.saturation.oracles import (
    best_curve,
    closed_form,
    gaps_filled,
    least_squares,
)

RATE = 24000
DEPTHS = (1.0, 2.3, 4.7, 7.1, 9.9)


@pytest.fixture(scope="module")
def clean():
    """A second of decaying partials and a little noise, peak 1."""
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
    # 8.0e-5 was measured over three seconds; a third of the samples gives sqrt(3) of it.
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


def test_least_squares_reaches_the_cramer_rao_bound_under_noise(clean):
    """The bound for an unknown level: the Schur complement of the 2 x 2 Fisher information."""
    rng, depth = np.random.default_rng(0), 6.0
    wet = saturate(clean, depth)
    noise_rms = float(np.sqrt(np.mean(wet**2))) / 100  # 40 dB below
    noisy = [wet + noise_rms * rng.standard_normal(len(wet)) for _ in range(24)]
    found = [least_squares(clean, audio).depth for audio in noisy]
    by_depth = clean / np.cosh(depth * clean) ** 2
    information = np.sum(by_depth**2) - np.sum(by_depth * wet) ** 2 / np.sum(wet**2)
    # The deviation of 24 draws scatters by 1 / sqrt(48) = 14 %: three times that.
    assert np.std(found) == pytest.approx(noise_rms / np.sqrt(information), rel=0.45)
    assert np.mean(found) == pytest.approx(depth, abs=1e-2)


def test_filled_peaks_give_the_depth_of_flat_peaks_and_nothing_of_others():
    """Three partials at depth 7, in 16 bits and at any level; noise on the peaks gives None."""
    t = np.arange(16000) / 16000
    partials = [
        amplitude * np.sin(2 * np.pi * 147 * k * t + k)
        for k, amplitude in ((1, 1.0), (2, 0.6), (3, 0.3))
    ]
    clean = np.sum(partials, 0) * np.exp(-2 * t)
    clean = clean / np.abs(clean).max()
    for amplitude in (0.9, 0.2):
        wet = to_16_bit(amplitude * np.tanh(7 * clean))
        assert gaps_filled(wet) == pytest.approx(7.0, rel=0.05)
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(wet))
    for audio in (np.tanh(3.0 * clean), wet + noise, np.zeros(100)):
        assert gaps_filled(audio) is None


@pytest.mark.parametrize("curve", MEMORYLESS)
def test_the_curve_that_leaves_least_is_the_true_one(clean, curve):
    found = best_curve(clean, 0.4 * saturate(clean, 4.0, curve=curve))
    assert found.curve == curve
    assert found.depth == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("begin", [0, 37, 200, 400])
def test_alignment_finds_where_the_wet_signal_begins(clean, begin):
    wet = -0.2 * saturate(clean, 8.0)[begin : begin + RATE - 400]
    found, alike = align_signs(clean, wet)
    assert np.array_equal(found, clean[begin : begin + RATE - 400])
    assert 0.5 < alike < 1.0


def test_another_sound_and_silence_do_not_correlate(clean):
    noise = np.random.default_rng(1).standard_normal(20000)
    assert align_signs(clean, noise)[1] < 0.1
    assert align_signs(np.zeros(100), np.zeros(90))[1] == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: least_squares(x, x[:-1]), "of one length"),
        (lambda x: least_squares(x, 0 * x), "wet must not be silent"),
        (lambda x: least_squares(x, x, curve="hysteresis"), "got 'hysteresis'"),
        (lambda x: closed_form(0 * x, x), r"below 0\.9 where clean is not 0"),
        (lambda x: align_signs(x[:10], x[:11]), "no shorter than wet"),
    ],
)
def test_wrong_arguments_are_named(clean, call, message):
    with pytest.raises(ValueError, match=message):
        call(clean)
