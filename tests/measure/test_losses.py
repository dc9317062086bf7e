"""Spectral distances against auraloss, and against STFTs by hand."""

import math

import auraloss
import numpy as np
import pytest
import torch

from labkit.measure.losses import (
    log_spectral_distance,
    magnitude_distance,
    mr_stft,
    multi_scale_spectral,
    rms_cosine,
)

RATE = 44_100
TIME = np.arange(RATE) / RATE


@pytest.fixture
def pair():
    return torch.randn(2, 3, 1, 6000, generator=torch.manual_seed(0)).unbind(0)


def test_magnitude_distance_is_auralosss_for_every_item_alone(pair):
    n_ffts = [64, 512, 2048]
    sizes = {"fft_sizes": n_ffts, "hop_sizes": [n // 2 for n in n_ffts], "win_lengths": n_ffts}
    theirs = auraloss.freq.MultiResolutionSTFTLoss(**sizes, w_sc=0.0, w_log_mag=1.0, w_lin_mag=1.0)
    alone = torch.stack([theirs(a[None], b[None]) for a, b in zip(*pair, strict=True)])
    # Float32 sums in another order
    torch.testing.assert_close(magnitude_distance(*pair, n_ffts=n_ffts), alone)


@pytest.mark.parametrize(
    ("distance", "gain"), [(magnitude_distance, 1e-3), (log_spectral_distance, 1)]
)
def test_a_level_is_its_logarithm_and_the_gradient_of_silence_is_finite(pair, distance, gain):
    sound = (pair[0] * gain).requires_grad_()
    # Linear magnitudes of so quiet a sound hardly count: what is left is the log of the factor.
    found = distance(sound, 2 * sound, n_ffts=(256, 1024)).detach().numpy()
    assert found == pytest.approx(math.log(2), abs=0.06)
    distance(0 * sound, pair[1], n_ffts=(256, 1024)).sum().backward()
    assert sound.grad.isfinite().all()


def test_mr_stft_leaves_the_level_out(pair):
    first, second = (x[0].numpy() for x in pair)
    assert mr_stft(3 * first, first, 8000) == pytest.approx(0, abs=1e-5)
    assert mr_stft(3 * first, second, 8000) == pytest.approx(mr_stft(first, second, 8000), rel=1e-5)


def note(hz: float, phase: float = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * TIME + phase) * np.exp(-3 * TIME)


def test_level_does_not_count_and_equal_sounds_are_at_no_distance():
    noise = np.random.default_rng(0).standard_normal(RATE) * np.exp(-2 * TIME)
    for distance, best in ((multi_scale_spectral, 0.0), (rms_cosine, 1.0)):
        assert distance(note(220), note(220), RATE) == pytest.approx(best)
        plain, quiet = (distance(scale * noise, note(220), RATE) for scale in (1.0, 0.01))
        assert quiet == pytest.approx(plain, rel=1e-4)  # it divides out, but for rounding
    assert 0.5 < multi_scale_spectral(np.zeros(RATE), note(220), RATE) < 100


def test_envelopes_at_right_angles_and_half_way():
    tone = np.sin(2 * np.pi * 300 * TIME)
    half = tone * (TIME < 0.4)
    assert rms_cosine(half, half[::-1], RATE) == pytest.approx(0.0, abs=1e-12)
    # A quarter of the second against half of it: |a| = 1, |b| = sqrt 2, a.b = 1 in its units.
    shares = [tone * (share > TIME) for share in (0.25, 0.5)]
    # Frames reach across the edge.
    assert rms_cosine(*shares, RATE) == pytest.approx(np.sqrt(0.5), abs=0.02)
