"""Lag and polarity are forgiven, nothing else; the other distances against values computed by hand."""

import numpy as np
import pytest
import torch

from labkit.measure.alignment import align, aligned_distance
from labkit.measure.closeness import (
    centroid_error_hz,
    intelligibility,
    loudness_error_lu,
    mfcc_distance,
    spectral_difference_db,
    speech_quality,
)
from labkit.signal.seeds import generator
from labkit.signal.speech import Speaker, speak

RATE = 22_050


def noise(*shape):
    return torch.from_numpy(0.1 * generator(0, "alignment").standard_normal(shape)).float()


def test_a_late_and_inverted_copy_is_brought_back():
    whole = noise(3, 1, 5000)
    target = whole[..., 200:4200]
    estimate = torch.stack([whole[0, :, 200:4200], whole[1, :, 163:4163], -whole[2, :, 260:4260]])
    ours, theirs = align(estimate, target, max_shift=100)
    assert ours.shape == (3, 1, 3800)
    sign = torch.tensor([1.0, 1.0, -1.0])[:, None, None]
    torch.testing.assert_close(theirs, ours)
    torch.testing.assert_close(ours * sign, estimate[..., 100:-100] * sign)
    torch.testing.assert_close(
        aligned_distance(estimate, target), torch.zeros(3), atol=1e-5, rtol=0
    )


def test_a_longer_lag_is_not_forgiven():
    whole = noise(1, 1, 5000)
    assert aligned_distance(whole[..., 200:4200], whole[..., 50:4050]).item() > 0.4


def test_half_the_level_costs_its_logarithm_and_its_share():
    """A loud sound at half its level: ln 2 nepers in every bin, convergence .5, .1 * 2 * .5 for the time term."""
    loud = noise(1, 1, 8000) * 8
    assert aligned_distance(0.5 * loud, loud).item() == pytest.approx(
        np.log(2) + 0.5 + 0.1, abs=1e-3
    )


def test_its_gradient_is_that_of_differences():
    estimate, target = noise(1, 1, 3000).double(), noise(2, 1, 3000)[1:].double()
    leaf = estimate.clone().requires_grad_()
    aligned_distance(leaf, target, n_ffts=(256, 512)).sum().backward()
    along = torch.from_numpy(generator(1, "direction").standard_normal((1, 1, 3000)))
    step = 1e-6 * along
    up, down = (
        aligned_distance(estimate + s, target, n_ffts=(256, 512)).item() for s in (step, -step)
    )
    assert (up - down) / 2e-6 == pytest.approx((leaf.grad * along).sum().item(), rel=1e-3)


def test_sounds_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"more than 200 samples.*\(1, 1, 200\)"):
        align(torch.zeros(1, 1, 200), torch.zeros(1, 1, 200))
    with pytest.raises(ValueError, match="alike"):
        align(torch.zeros(1, 1, 900), torch.zeros(2, 1, 900))


def test_twice_the_level_is_six_decibels_and_the_same_colour():
    sound = noise(1, RATE).numpy()
    assert spectral_difference_db(2 * sound, sound, RATE) == pytest.approx(6.02, abs=0.01)
    assert loudness_error_lu(2 * sound, sound, RATE) == pytest.approx(6.02, abs=0.01)
    assert mfcc_distance(2 * sound, sound, RATE) == pytest.approx(0, abs=1e-9)
    assert centroid_error_hz(2 * sound, sound, RATE) == pytest.approx(0, abs=1e-6)


def test_two_sines_are_as_far_apart_as_their_pitches():
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * f * time)[None].astype(np.float32) for f in (500, 1500))
    assert centroid_error_hz(low, high, RATE) == pytest.approx(1000, abs=0.1)
    assert mfcc_distance(low, high, RATE) > 0.05


def test_silence_has_a_distance():
    sound = noise(1, RATE).numpy()
    silent = np.zeros_like(sound)
    assert loudness_error_lu(silent, sound, RATE) > 40
    assert np.isfinite(
        [f(silent, sound, RATE) for f in (mfcc_distance, spectral_difference_db, centroid_error_hz)]
    ).all()


def test_noise_makes_speech_harder_to_follow():
    pytest.importorskip("pystoi", reason="pystoi is not installed")
    rng = generator(0, "stoi")
    clean = speak(rng, Speaker.draw(rng), seconds=2.0, sample_rate=RATE)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape).astype(np.float32)
    assert intelligibility(clean, clean, RATE) > 0.999 > 0.9 > intelligibility(noisy, clean, RATE)


def test_noise_makes_speech_worse_to_hear_and_level_does_not():
    pytest.importorskip("pesq", reason="pesq is not installed: it needs a C compiler")
    rng = generator(0, "pesq")
    clean = speak(rng, Speaker.draw(rng), seconds=2.0, sample_rate=RATE)
    noisy, noisier = (
        clean + k * rng.standard_normal(clean.shape).astype(np.float32) for k in (0.005, 0.1)
    )
    # P.862.2's mapping gives 4.644 to a copy, and brings levels to one.
    assert speech_quality(clean, clean, RATE) == pytest.approx(4.644, abs=1e-3)
    assert speech_quality(0.1 * clean, clean, RATE) == pytest.approx(4.644, abs=0.01)
    assert 4.6 > speech_quality(noisy, clean, RATE) > speech_quality(noisier, clean, RATE) >= 1.0
    assert speech_quality(0 * clean, clean, RATE) == 1.0
    for nothing in (0 * clean, clean[:, :500]):
        with pytest.raises(ValueError, match="target must hold speech"):
            speech_quality(nothing, nothing, RATE)
