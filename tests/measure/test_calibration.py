"""Reliability by hand, and a temperature that was put in is found again."""

import math

import numpy as np
import pytest

from labkit.measure.calibration import expected_calibration_error, fit_temperature, reliability
from labkit.measure.score import wilson_interval
from labkit.signal.seeds import generator

STATED = [0.0, 0.1, 0.5, 0.55, 0.6, 1.0]
RIGHT = [False, True, False, True, True, True]


def test_reliability_by_hand():
    """Five bins: 0 and 0.1 in the first, 0.5 to 0.6 in the third (an upper end belongs to its bin), 1 in the last."""
    bins = reliability(STATED, RIGHT, n_bins=5)
    assert [b.n for b in bins] == [2, 0, 3, 0, 1]
    assert [(b.low, b.high) for b in bins][::4] == [(0.0, 0.2), (0.8, 1.0)]
    assert [bins[k].confidence for k in (0, 2, 4)] == pytest.approx([0.05, 0.55, 1.0])
    assert [bins[k].share for k in (0, 2, 4)] == pytest.approx([0.5, 2 / 3, 1.0])
    assert bins[2].interval == wilson_interval(2, 3)
    assert math.isnan(bins[1].share)
    assert bins[1].interval == (0.0, 1.0)


def test_calibration_error_by_hand():
    expected = (2 * 0.45 + 3 * (2 / 3 - 0.55) + 0.0) / 6
    assert expected_calibration_error(STATED, RIGHT, n_bins=5) == pytest.approx(expected)
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1.0


def test_one_who_says_what_happens_is_calibrated():
    rng = generator(0, "calibrated")
    stated = rng.random(20_000)
    right = rng.random(20_000) < stated
    # Each of ten bins holds some 2000 answers, whose share has a standard deviation of at most 0.011.
    assert expected_calibration_error(stated, right) < 0.015
    assert expected_calibration_error(stated**0.5, right) > 0.1


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_again(truth):
    rng = generator(1, "temperature")
    scores = rng.standard_normal((4000, 5)) * 2
    scores[:, 4] = -np.inf
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = (rng.random((4000, 1)) > share.cumsum(1)).sum(1)
    # 4000 draws leave a standard error of about 3 %.
    assert fit_temperature(truth * scores, labels) == pytest.approx(truth, rel=0.1)


def test_bad_input_is_refused():
    with pytest.raises(
        ValueError, match=r"confidence and correct must be equally long and not empty, got \(2,\)"
    ):
        reliability([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="confidence must lie in"):
        reliability([0.5, 1.5], [True, True])
    with pytest.raises(ValueError, match="n_bins must be positive, got 0"):
        reliability([0.5], [True], n_bins=0)
    with pytest.raises(ValueError, match=r"logits must be \(n, classes\) and labels \(n,\)"):
        fit_temperature(np.zeros((2, 3)), np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="labels must name classes with finite logits"):
        fit_temperature(np.array([[0.0, -np.inf]]), np.array([1]))
