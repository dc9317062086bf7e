"""The parity signals are what they say, and the error is in dB."""

import numpy as np
import pytest

from labkit.measure.parity import relative_error_db, signals


def test_signals_are_stereo_distinct_and_the_same_for_a_seed():
    found = signals(8_000, seconds=0.5)
    assert list(found) == ["guitar", "noise", "impulse", "full scale", "silence"]
    for name, audio in found.items():
        assert audio.shape == (2, 4_000)
        assert audio.dtype == np.float32
        assert name == "silence" or not np.array_equal(audio[0], audio[1])
        np.testing.assert_array_equal(audio, signals(8_000, seconds=0.5)[name])
    assert set(np.unique(found["full scale"])) == {-1.0, 1.0}
    assert not np.array_equal(found["noise"], signals(8_000, seconds=0.5, seed=1)["noise"])


def test_error_by_hand():
    ones = np.ones((2, 50), np.float32)
    assert relative_error_db(ones, 1.1 * ones) == pytest.approx(-20.0, abs=1e-4)
    assert relative_error_db(ones, ones) == pytest.approx(-300.0)
    assert relative_error_db(np.zeros(4), np.zeros(4)) == pytest.approx(-300.0)
    assert relative_error_db(np.zeros(4), np.full(4, 5e-7)) == pytest.approx(
        0.0, abs=1e-6
    )  # floor 1e-12
    with pytest.raises(ValueError, match=r"shapes must agree, got \(2,\) and \(3,\)"):
        relative_error_db(np.zeros(2), np.zeros(3))
