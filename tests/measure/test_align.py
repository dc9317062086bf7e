"""Lag and polarity do not count, everything else does; other distances of recordings by hand."""

import numpy as np
import pytest
import torch

from labkit.measure import closeness
from labkit.measure.align import align, aligned_distance
from labkit.signal.seeds import generator
from labkit.signal.speech import Speaker, speak

RATE = 22_050


def noise(*shape):
    return torch.from_numpy(0.1 * generator(0, "alignment").standard_normal(shape)).float()


def speech(purpose):
    rng = generator(0, purpose)
    clean = speak(rng, Speaker.draw(rng), seconds=2.0, sample_rate=RATE)
    return clean, rng.standard_normal(clean.shape).astype(np.float32)


def test_a_late_and_inverted_copy_is_brought_back():
    whole = noise(3, 1, 5000)
    target = whole[..., 200:4200]
    estimate = torch.stack([whole[0, :, 200:4200], whole[1, :, 163:4163], -whole[2, :, 260:4260]])
    ours, theirs = align(estimate, target, max_shift=100)
    torch.testing.assert_close(ours, estimate[..., 100:-100])
    torch.testing.assert_close(theirs, ours)
    distance = aligned_distance(estimate, target)
    torch.testing.assert_close(distance, torch.zeros(3), atol=1e-5, rtol=0)


def test_a_longer_lag_counts():
    whole = noise(1, 1, 5000)
    assert aligned_distance(whole[..., 200:4200], whole[..., 50:4050]).item() > 0.4


def test_half_the_level_costs_its_logarithm_and_its_share():
    # ln 2 nepers in every bin, convergence .5, .1 * 2 * .5 for the time term
    loud = noise(1, 1, 8000) * 8
    found = aligned_distance(0.5 * loud, loud).item()
    assert found == pytest.approx(np.log(2) + 0.5 + 0.1, abs=1e-3)


def test_its_gradient_is_that_of_differences():
    estimate, target = noise(1, 1, 3000).double(), noise(2, 1, 3000)[1:].double()
    leaf = estimate.clone().requires_grad_()
    aligned_distance(leaf, target, n_ffts=(256, 512)).sum().backward()
    along = torch.from_numpy(generator(1, "direction").standard_normal((1, 1, 3000)))
    up, down = (
        aligned_distance(estimate + step * along, target, n_ffts=(256, 512)).item()
        for step in (1e-6, -1e-6)
    )
    assert (up - down) / 2e-6 == pytest.approx((leaf.grad * along).sum().item(), rel=1e-3)


def test_twice_the_level_is_six_decibels_and_the_same_colour():
    sound = noise(1, RATE).numpy()
    pair = (2 * sound, sound, RATE)
    assert closeness.loudness_error_lu(*pair) == pytest.approx(6.02, abs=0.01)
    assert closeness.mfcc_distance(*pair) == pytest.approx(0, abs=1e-9)


def test_two_sines_are_as_far_apart_as_their_pitches():
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * f * time)[None].astype(np.float32) for f in (500, 1500))
    assert closeness.mfcc_distance(low, high, RATE) > 0.05


def test_silence_has_a_distance():
    sound = noise(1, RATE).numpy()
    silent = np.zeros_like(sound)
    assert closeness.loudness_error_lu(silent, sound, RATE) > 40
    assert np.isfinite(closeness.mfcc_distance(silent, sound, RATE))


def test_noise_makes_speech_harder_to_understand():
    pytest.importorskip("pystoi", reason="pystoi is not installed")
    clean, hiss = speech("stoi")
    assert closeness.intelligibility(clean, clean, RATE) > 0.999
    assert closeness.intelligibility(clean + 0.1 * hiss, clean, RATE) < 0.9


def test_noise_lowers_the_quality_of_speech_and_level_does_not():
    pytest.importorskip("pesq", reason="pesq is not installed: it needs a C compiler")
    clean, hiss = speech("pesq")
    quality = [
        closeness.speech_quality(sound, clean, RATE)
        for sound in (clean, 0.1 * clean, clean + 0.005 * hiss, clean + 0.1 * hiss, 0 * clean)
    ]
    # P.862.2's mapping gives 4.644 to a copy, and brings levels to one.
    assert quality[:2] == pytest.approx([4.644, 4.644], abs=0.01)
    assert 4.6 > quality[2] > quality[3] >= quality[4] == 1.0
    for nothing in (0 * clean, clean[:, :500]):
        with pytest.raises(ValueError, match="target must hold speech"):
            closeness.speech_quality(nothing, nothing, RATE)
