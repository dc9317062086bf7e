"""Scores of chains, sounds and sets by hand."""

import numpy as np
import pytest

from labkit.measure.metrics import (
    calibration_error,
    calibration_noise,
    chain_scores,
    levenshtein,
    macro_f1,
    relative_error_db,
    si_sdr_db,
)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("ab", "ba", 2), ("kitten", "sitting", 3)],
)
def test_levenshtein(first, second, expected):
    assert levenshtein(first, second) == levenshtein(second, first) == expected


def test_macro_f1_of_three_clips():
    # a: one hit, one miss: 2/3. b: two hits, one false: 4/5. c: neither there nor predicted: 1.
    truth, predicted = [("a", "b"), ("a",), ("b",)], [("b", "a"), ("b",), ("b",)]
    assert macro_f1(truth, predicted, ("a", "b", "c")) == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)


def test_chain_scores_of_four_clips():
    truth = [("a", "b"), ("a", "b"), ("a",), ("a", "b")]
    scores = chain_scores(truth, [("a", "b"), ("b", "a"), ("a",), ("a",)])
    assert scores["exact"].tolist() == [1, 0, 1, 0]
    assert scores["set"].tolist() == [1, 1, 1, 0]
    # One pedal has no order, and a wrong set is no question of order.
    np.testing.assert_array_equal(scores["order"], [1, 0, np.nan, np.nan])
    assert scores["levenshtein"].tolist() == [0, 2, 0, 1]


def test_si_sdr_of_a_scaled_copy_with_noise():
    rng = np.random.default_rng(0)
    signal, noise = rng.standard_normal((2, 1, 50_000))
    noise -= (noise * signal).sum() / (signal**2).sum() * signal
    noise *= np.sqrt((signal**2).sum() / (noise**2).sum()) * 10 ** (-25 / 20)
    assert si_sdr_db(signal, 3.0 * (signal + noise)) == pytest.approx(25.0, abs=1e-6)
    assert si_sdr_db(signal, 2.0 * signal) > 250  # exact but for rounding
    assert si_sdr_db(signal, np.zeros_like(signal)) == -np.inf


def test_relative_error_by_hand():
    ones = np.ones((2, 50), np.float32)
    assert relative_error_db(ones, 1.1 * ones) == pytest.approx(-20.0, abs=1e-4)
    assert relative_error_db(ones, ones) == pytest.approx(-300.0)
    # The energy of silence counts as 1e-12.
    assert relative_error_db(np.zeros(4), np.full(4, 5e-7)) == pytest.approx(0.0, abs=1e-6)


def test_calibration_error_by_hand():
    """Said .95 twice and right once: .45 off; said .3 twice and never right: .3 off."""
    assert calibration_error([0.95, 0.95, 0.3, 0.3], [1, 0, 0, 0]) == pytest.approx(0.375)
    assert calibration_error([1.0, 1.0], [True, True]) == 0.0
    rng = np.random.default_rng(0)
    assert calibration_noise([1.0, 0.0], rng) == 0.0
    assert calibration_noise([0.5], rng) == 0.5  # one clip is right or wrong
    assert calibration_noise([0.5] * 10_000, rng) == pytest.approx(0.004, abs=5e-4)  # 0.8 sigma
