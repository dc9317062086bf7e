"""Unit conversions against hand-computed values."""

import numpy as np
import pytest

from labkit.signal.units import amplitude_to_db, db_to_amplitude, midi_to_hz, rms_dbfs, set_rms


def test_decibels_of_scalars_and_arrays():
    assert db_to_amplitude(20.0) == pytest.approx(10.0)
    assert db_to_amplitude(-np.inf) == 0.0
    assert isinstance(db_to_amplitude(3), float)
    assert amplitude_to_db(0.5) == pytest.approx(-6.0206, abs=1e-4)
    assert (amplitude_to_db(-1.0), amplitude_to_db(0.0)) == (0.0, -np.inf)
    db = np.array([[-60.0, 0.0], [6.0, 40.0]])
    np.testing.assert_allclose(amplitude_to_db(db_to_amplitude(db)), db, atol=1e-12)


def test_pitch_of_known_notes():
    assert midi_to_hz(69) == 440.0
    assert midi_to_hz(40) == pytest.approx(82.4069, abs=1e-4)


def test_rms_of_known_waves():
    time = np.arange(44100) / 44100
    assert rms_dbfs(np.sin(2 * np.pi * 441 * time)) == pytest.approx(-3.0103, abs=1e-3)
    assert rms_dbfs(np.full((2, 10), -0.1, np.float32)) == pytest.approx(-20.0, abs=1e-5)
    assert rms_dbfs(np.zeros(4)) == -np.inf


def test_set_rms_scales_all_channels_together_and_leaves_silence_alone():
    audio = np.array([[0.1, -0.1], [0.3, -0.3]], dtype=np.float32)
    out = set_rms(audio, -30.0)
    assert out.dtype == np.float32
    assert rms_dbfs(out) == pytest.approx(-30.0, abs=1e-4)
    np.testing.assert_allclose(out[1] / out[0], 3.0, rtol=1e-5)
    assert audio[0, 0] == np.float32(0.1)
    assert not set_rms(np.zeros((1, 8), np.float32), -20.0).any()
