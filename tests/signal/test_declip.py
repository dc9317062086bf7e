"""Filling gaps: tones come back, what is known stays, and bad input is named."""

import numpy as np
import pytest

from labkit.signal.declip import fill_gaps, filled_tops


def _tones(samples: int = 1000) -> np.ndarray:
    t = np.arange(samples)
    return 2.0 * np.sin(0.031 * t + 0.3) + 0.5 * np.sin(0.11 * t + 1.0) + 0.2 * np.cos(0.31 * t)


@pytest.mark.parametrize("gap", [1, 12, 40])
def test_tones_come_back(gap):
    # Three tones are a process of order 6: the rest follows, but for the window's bias.
    audio = _tones()
    missing = np.zeros(len(audio), bool)
    missing[480 : 480 + gap] = True
    cut = np.where(missing, 0.0, audio)
    filled = fill_gaps(cut, missing, rounds=6)
    assert np.abs(filled - audio).max() < 0.02 * np.abs(audio).max()
    np.testing.assert_array_equal(filled[~missing], audio[~missing])


def test_several_gaps_beat_a_straight_line():
    audio = _tones()
    missing = np.abs(audio) > 1.5
    assert 0.1 < missing.mean() < 0.4
    clipped = np.clip(audio, -1.5, 1.5)
    filled = fill_gaps(clipped, missing)
    line = np.interp(np.arange(len(audio)), np.flatnonzero(~missing), clipped[~missing])
    assert np.abs(filled - audio)[missing].mean() < 0.25 * np.abs(line - audio)[missing].mean()


def test_nothing_missing_nothing_changed():
    audio = _tones(100)
    np.testing.assert_array_equal(fill_gaps(audio, np.zeros(100, bool)), audio)


@pytest.mark.parametrize(("samples", "places"), [(48, 48), (100, 90)])
def test_bad_shapes_are_named(samples, places):
    with pytest.raises(ValueError, match="49 samples or more"):
        fill_gaps(np.zeros(samples), np.zeros(places, bool))


def test_the_highest_peaks_of_a_cut_wave_are_found():
    audio = _tones(4000)
    tops = filled_tops(np.clip(audio, -1.5, 1.5), 1.49, stretches=4)
    assert len(tops) == 4
    assert tops.max() == pytest.approx(np.abs(audio).max(), rel=0.05)
    assert tops.min() > 1.49
    assert len(filled_tops(audio, 3.0)) == 0  # nothing is missing
    assert len(filled_tops(np.ones(100), 0.5)) == 0  # neither end of the stretch is there
