"""Filling gaps: tones come back, what is known stays."""

import numpy as np
import pytest

from labkit.systems.saturation.model import fill_gaps, filled_tops


def tones(samples=1000):
    t = np.arange(samples)
    return 2.0 * np.sin(0.031 * t + 0.3) + 0.5 * np.sin(0.11 * t + 1.0) + 0.2 * np.cos(0.31 * t)


@pytest.mark.parametrize("gap", [0, 1, 12, 40])
def test_tones_come_back(gap):
    # Three tones are a process of order 6: the rest follows, but for the window's bias.
    audio = tones()
    missing = np.zeros(len(audio), bool)
    missing[480 : 480 + gap] = True
    filled = fill_gaps(np.where(missing, 0.0, audio), missing, rounds=6)
    assert np.abs(filled - audio).max() < 0.02 * np.abs(audio).max()
    np.testing.assert_array_equal(filled[~missing], audio[~missing])


def test_the_highest_peaks_of_a_cut_wave_are_found():
    audio = tones(4000)
    tops = filled_tops(np.clip(audio, -1.5, 1.5), 1.49, stretches=4)
    assert len(tops) == 4
    assert tops.max() == pytest.approx(np.abs(audio).max(), rel=0.05)
    assert tops.min() > 1.49
    assert len(filled_tops(audio, 3.0)) == 0  # nothing is missing
    assert len(filled_tops(np.ones(100), 0.5)) == 0  # neither end of the stretch is there
