import math

import auraloss
import pytest
import torch

from labkit.measure.losses import magnitude_distance


@pytest.fixture
def pair():
    return torch.randn(2, 3, 1, 6000, generator=torch.manual_seed(0)).unbind(0)


def test_it_is_auralosss_for_every_item_alone(pair):
    n_ffts = [64, 512, 2048]
    sizes = {"fft_sizes": n_ffts, "hop_sizes": [n // 2 for n in n_ffts], "win_lengths": n_ffts}
    theirs = auraloss.freq.MultiResolutionSTFTLoss(**sizes, w_sc=0.0, w_log_mag=1.0, w_lin_mag=1.0)
    ours = magnitude_distance(*pair, n_ffts=n_ffts)
    alone = torch.stack([theirs(a[None], b[None]) for a, b in zip(*pair, strict=True)])
    torch.testing.assert_close(ours, alone)  # float32 sums in another order


def test_a_level_is_its_logarithm_and_a_slope_is_finite(pair):
    quiet = (pair[0] * 1e-3).requires_grad_()
    # Linear magnitudes of so quiet a sound hardly count: what is left is the log of the factor.
    found = magnitude_distance(quiet, 2 * quiet, n_ffts=(256, 1024)).detach().numpy()
    assert found == pytest.approx(math.log(2), abs=0.06)
    magnitude_distance(0 * quiet, pair[1], n_ffts=(256, 1024)).sum().backward()
    assert quiet.grad.isfinite().all()
    with pytest.raises(ValueError, match="shapes"):
        magnitude_distance(pair[0], pair[1][..., 1:])
