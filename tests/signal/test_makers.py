"""Pedals of other makers: each does what its family is known for, whatever is drawn."""

import numpy as np
import pytest

from labkit.signal.makers import FAMILIES, play
from labkit.systems.pedal_order import NINE

RATE = 44_100
TIME = np.arange(RATE) / RATE
SINE = np.sin(2 * np.pi * 440 * TIME)[None].astype(np.float32)
BURST = (SINE * (TIME < 0.05)).astype(np.float32)


def level(audio):
    """RMS of every hundredth of a second."""
    return np.sqrt(np.square(audio[0, : RATE // 441 * 441].reshape(-1, 441)).mean(1))


def drawn(family, audio, n=12):
    return [play(family, audio, RATE, np.random.default_rng(seed)) for seed in range(n)]


def test_they_are_the_nine_families():
    assert set(FAMILIES) == set(NINE)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_keeps_its_length_and_level_and_depends_on_the_draw_alone(family):
    noise = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)
    one, again, other = (play(family, noise, RATE, np.random.default_rng(k)) for k in (1, 1, 2))
    assert one.shape == noise.shape
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert one.std() == pytest.approx(noise.std(), rel=0.01)
    assert not play(family, np.zeros((1, RATE), np.float32), RATE, np.random.default_rng(1)).any()


def test_a_distortion_adds_harmonics():
    for wet in drawn("distortion", SINE):
        spectrum = np.abs(np.fft.rfft(wet[0]))  # bins of 1 Hz
        assert spectrum[[880, 1320, 1760, 2200]].max() > 0.02 * spectrum[440]


def test_a_compressor_brings_loud_and_quiet_together():
    steps = (SINE * np.where(TIME < 0.5, 1, 0.2)).astype(np.float32)
    for wet in drawn("compressor", steps):
        assert level(wet)[45] / level(wet)[95] < 4.7  # 5 before


def test_a_vibrato_swings_the_pitch_and_a_tremolo_the_level():
    for wet in drawn("vibrato", SINE):
        crossings = np.flatnonzero(np.diff(np.signbit(wet[0, 2205:])))
        hz = RATE / 2 / np.convolve(np.diff(crossings), np.ones(20) / 20, "valid")
        cents = 1200 * np.log2(hz.max() / hz.min())
        assert 10 < cents < 300  # both ways, and a bent wave swings faster
    treble = np.sin(2 * np.pi * 4000 * TIME)[None].astype(np.float32)
    for wet in drawn("tremolo", treble):
        assert level(wet).min() < 0.75 * level(wet).max()


@pytest.mark.parametrize("family", ["delay", "reverb"])
def test_delay_and_reverb_sound_on_after_a_burst(family):
    for wet in drawn(family, BURST):
        assert level(wet)[15:].max() > 0.01 * level(wet)[:5].max()


@pytest.mark.parametrize("family", ["chorus", "flanger", "phaser"])
def test_what_sweeps_makes_a_steady_tone_unsteady(family):
    tones = sum(np.sin(2 * np.pi * k * 220 * TIME) for k in range(1, 20))[None].astype(np.float32)
    for wet in drawn(family, tones):
        bins = np.abs(np.fft.rfft(wet[0, 2205:].reshape(-1)[: 8820 * 4].reshape(4, 8820)))
        lines = bins[:, 44::44][:, :19]  # 220 Hz are 44 bins of 5 Hz
        swing_db = 20 * np.log10(lines.max(0) / lines.min(0))
        assert swing_db.max() > 0.5
