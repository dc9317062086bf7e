"""Unit conversions against hand-computed values."""

import numpy as np
import pytest

from labkit.signal.units import (
    amplitude_to_db,
    cents,
    db_to_amplitude,
    hz_to_midi,
    midi_to_hz,
    rms_dbfs,
    set_rms,
)


def test_decibels_of_scalars():
    assert db_to_amplitude(20.0) == pytest.approx(10.0)
    assert db_to_amplitude(-np.inf) == 0.0
    assert amplitude_to_db(0.5) == pytest.approx(-6.0206, abs=1e-4)
    assert amplitude_to_db(-1.0) == 0.0
    assert amplitude_to_db(0.0) == -np.inf
    assert isinstance(db_to_amplitude(3), float)


def test_decibels_of_arrays_round_trip():
    db = np.array([[-60.0, 0.0], [6.0, 40.0]])
    assert db_to_amplitude(db).shape == (2, 2)
    np.testing.assert_allclose(amplitude_to_db(db_to_amplitude(db)), db, atol=1e-12)


def test_pitch_of_known_notes():
    assert midi_to_hz(69) == 440.0
    assert midi_to_hz(40) == pytest.approx(82.4069, abs=1e-4)
    assert hz_to_midi(220.0) == pytest.approx(57.0)
    np.testing.assert_allclose(hz_to_midi(midi_to_hz(np.arange(128))), np.arange(128), atol=1e-9)


def test_cents():
    assert cents(880.0, 440.0) == pytest.approx(1200.0)
    assert cents(440.0, 466.1638) == pytest.approx(-100.0, abs=1e-3)
    np.testing.assert_allclose(cents(np.array([440.0, 220.0]), 440.0), [0, -1200])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_a_frequency_that_is_not_positive_is_refused(bad):
    with pytest.raises(ValueError, match="frequency_hz must be > 0"):
        hz_to_midi(bad)
    with pytest.raises(ValueError, match="reference_hz must be > 0"):
        cents(440.0, bad)


def test_rms_of_known_waves():
    time = np.arange(44100) / 44100
    assert rms_dbfs(np.sin(2 * np.pi * 441 * time)) == pytest.approx(-3.0103, abs=1e-3)
    assert rms_dbfs(np.full((2, 10), -0.1, np.float32)) == pytest.approx(-20.0, abs=1e-5)
    assert rms_dbfs(np.zeros(4)) == -np.inf


def test_set_rms_scales_all_channels_together():
    audio = np.array([[0.1, -0.1], [0.3, -0.3]], dtype=np.float32)
    out = set_rms(audio, -30.0)
    assert out.dtype == np.float32
    assert rms_dbfs(out) == pytest.approx(-30.0, abs=1e-4)
    np.testing.assert_allclose(out[1] / out[0], 3.0, rtol=1e-5)
    assert audio[0, 0] == np.float32(0.1)


def test_silence_stays_silence():
    out = set_rms(np.zeros((1, 8), np.float32), -20.0)
    assert out.shape == (1, 8)
    assert not out.any()


def test_bad_audio_is_refused():
    with pytest.raises(ValueError, match="audio must be finite, got 2 NaN or infinite"):
        set_rms(np.array([0.1, np.nan, np.inf]), -20.0)
    with pytest.raises(ValueError, match="at least one sample"):
        rms_dbfs(np.zeros((1, 0)))
    with pytest.raises(TypeError, match="floating point, got int16"):
        set_rms(np.ones(3, np.int16), -20.0)
    with pytest.raises(ValueError, match="target_dbfs"):
        set_rms(np.ones(3), np.nan)
