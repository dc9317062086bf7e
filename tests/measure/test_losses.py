"""Spectral distances against auraloss, and against STFTs by hand."""

import math

import auraloss
import pytest
import torch

from labkit.measure.losses import log_spectral_distance, magnitude_distance, mr_stft


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
