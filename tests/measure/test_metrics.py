"""Scores of chains, by hand."""

import math

import numpy as np
import pytest

from labkit.measure.metrics import chain_scores, kendall_tau, levenshtein, macro_f1, si_sdr_db


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "", 3),
        ("ab", "ba", 2),
        ("abc", "axc", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_levenshtein(first, second, expected):
    assert levenshtein(first, second) == levenshtein(second, first) == expected


def test_macro_f1_of_three_clips():
    """a: one hit, one miss: 2/3. b: two hits, one false: 4/5. c: neither there nor said: 1."""
    truth, said = [("a", "b"), ("a",), ("b",)], [("b", "a"), ("b",), ("b",)]
    assert macro_f1(truth, said, ("a", "b", "c")) == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)


def test_chain_scores_of_four_clips():
    truth = [("a", "b"), ("a", "b"), ("a",), ("a", "b")]
    said = [("a", "b"), ("b", "a"), ("a",), ("a",)]
    scores = chain_scores(truth, said)
    assert scores["exact"].tolist() == [1, 0, 1, 0]
    assert scores["set"].tolist() == [1, 1, 1, 0]
    assert scores["order"][:2].tolist() == [1, 0]
    assert np.isnan(
        scores["order"][2:]
    ).all()  # one pedal has no order; a wrong set is no question of order
    assert scores["levenshtein"].tolist() == [0, 2, 0, 1]
    for bad in ([], said[:3]):
        with pytest.raises(ValueError, match="equally long and not empty"):
            chain_scores(truth if bad else [], bad)


def always(_first, _second):
    return True


def never(_first, _second):
    return False


def test_kendall_tau_counts_only_pairs_that_are_audible_and_in_both():
    assert kendall_tau("abc", "abc", always) == 1
    assert kendall_tau("abc", "cba", always) == -1
    assert kendall_tau("abc", "acb", always) == pytest.approx(1 / 3)
    assert kendall_tau("abc", "bxa", always) == -1
    assert kendall_tau("abc", "acb", lambda a, b: {a, b} != {"b", "c"}) == 1
    assert math.isnan(kendall_tau("abc", "acb", never))
    assert math.isnan(kendall_tau("abc", "a", always))


def test_si_sdr_of_a_scaled_copy_with_noise():
    rng = np.random.default_rng(0)
    signal, noise = rng.standard_normal((2, 1, 50_000))
    noise -= (noise * signal).sum() / (signal**2).sum() * signal
    noise *= np.sqrt((signal**2).sum() / (noise**2).sum()) * 10 ** (-25 / 20)
    assert si_sdr_db(signal, 3.0 * (signal + noise)) == pytest.approx(25.0, abs=1e-6)
    assert si_sdr_db(signal, 2.0 * signal) > 250  # exact but for rounding
    assert si_sdr_db(signal, np.zeros_like(signal)) == -np.inf
    with pytest.raises(ValueError, match="reference must not be silent"):
        si_sdr_db(np.zeros_like(signal), signal)
    with pytest.raises(ValueError, match="shapes must agree"):
        si_sdr_db(signal, signal[:, :5])
