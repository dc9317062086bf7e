"""Distances of notes against values worked out by hand."""

import numpy as np
import pytest

from labkit.measure.timbre import (
    DISTANCES,
    log_spectral,
    multi_scale_spectral,
    rms_cosine,
    sound_distances,
    spectral_transport,
    warped_mfcc,
)

RATE = 44_100
TIME = np.arange(RATE) / RATE


def note(hz: float, *, phase: float = 0.0, decay: float = 3.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * TIME + phase) * np.exp(-decay * TIME)


def test_equal_sounds_are_at_no_distance():
    found = sound_distances(note(220), note(220), RATE)
    assert found.pop("RMS cosine") == pytest.approx(1.0)
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("name", DISTANCES)
def test_level_does_not_count(name):
    noise = np.random.default_rng(0).standard_normal(RATE) * np.exp(-2 * TIME)
    plain, quiet = (DISTANCES[name](scale * noise, note(220), RATE) for scale in (1.0, 0.01))
    assert quiet == pytest.approx(plain, rel=1e-9)  # the level divides out, but for rounding


@pytest.mark.parametrize("name", ["MSS", "wMFCC", "SOT", "LSD"])
def test_phase_counts_less_than_a_semitone(name):
    fade = np.minimum(TIME / 0.02, 1.0)  # without it the phase decides how the first sample clicks
    sounds = [fade * x for x in (note(440), note(440, phase=2.0), note(440 * 2 ** (1 / 12)))]
    turned, higher = (DISTANCES[name](x, sounds[0], RATE) for x in sounds[1:])
    assert turned < 0.5 * higher


def test_transport_is_the_way_along_frequency():
    # All the energy moves from 2205 Hz to 6615 Hz, a fifth of half the rate; windows smear both.
    steady = [np.sin(2 * np.pi * hz * TIME) for hz in (2205.0, 6615.0)]
    # Frames at the ends reach beyond.
    assert spectral_transport(*steady, RATE) == pytest.approx(0.2, abs=0.01)


def test_envelopes_that_never_meet_are_at_a_right_angle():
    half = np.where(TIME < 0.4, 1.0, 0.0) * np.sin(2 * np.pi * 300 * TIME)
    assert rms_cosine(half, half[::-1], RATE) == pytest.approx(0.0, abs=1e-12)
    # A quarter of the second against half of it, in units of the quarter's energy: |a| = 1,
    # |b| = sqrt 2, a.b = 1.
    tone = np.sin(2 * np.pi * 300 * TIME)
    shares = [np.where(share > TIME, 1.0, 0.0) * tone for share in (0.25, 0.5)]
    # Frames reach across the edge.
    assert rms_cosine(*shares, RATE) == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_log_distances_of_a_gain_that_changes_half_way():
    # Half of the frames differ by 20 dB in every band, but for those below the range.
    noise = np.random.default_rng(1).standard_normal(RATE)
    later = noise * np.where(TIME < 0.5, 1.0, 0.1)
    # One frame in fifty straddles the step.
    assert log_spectral(later, noise, RATE) == pytest.approx(10.0, abs=0.6)
    assert multi_scale_spectral(later, noise, RATE) == pytest.approx(10.0, abs=0.6)


def test_a_late_copy_is_nearer_after_warping():
    late = np.concatenate([np.zeros(4410), note(330)[:-4410]])
    other = np.concatenate([np.zeros(4410), note(415)[:-4410]])
    assert warped_mfcc(late, note(330), RATE) < 0.5 * warped_mfcc(other, note(330), RATE)


@pytest.mark.parametrize("name", DISTANCES)
def test_silence_is_far_and_finite(name):
    value = DISTANCES[name](np.zeros(RATE), note(220), RATE)
    assert np.isfinite(value)
    assert value == 0.0 if name == "RMS cosine" else value > 0.5
