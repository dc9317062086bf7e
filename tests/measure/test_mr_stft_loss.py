import pytest
import torch

from labkit.measure.losses import mr_stft_loss


@pytest.fixture
def pair():
    return torch.randn(2, 2, 1, 4096, generator=torch.manual_seed(0)).unbind(0)


def by_hand(estimate, target, n):
    window = torch.hann_window(n)
    a, b = (
        torch.stft(x[:, 0], n, n // 4, window=window, return_complex=True).abs()
        for x in (estimate, target)
    )
    return torch.linalg.norm(a - b, dim=(1, 2)) / torch.linalg.norm(b, dim=(1, 2)), (
        a.log() - b.log()
    ).abs().mean()


def test_it_is_convergence_plus_log_magnitude_averaged_over_frames(pair):
    parts = [by_hand(*pair, n) for n in (256, 1024)]
    wanted = sum(convergence.mean() + log for convergence, log in parts) / 2
    # Float32 sums in another order; auraloss floors powers at 1e-8, far below this noise.
    assert mr_stft_loss(8000, n_ffts=(256, 1024))(*pair).item() == pytest.approx(
        wanted.item(), rel=1e-4
    )


def test_equals_have_no_distance_and_others_a_slope(pair):
    loss, (a, b) = mr_stft_loss(8000), pair
    with pytest.raises(RuntimeError):
        loss(a, b)  # shorter than half of the longest frame cannot be padded by reflection
    a, b = (torch.cat([x, x], -1).requires_grad_() for x in pair)
    assert loss(a, a).item() == pytest.approx(0.0, abs=1e-6)
    loss(a, b).backward()
    assert a.grad.isfinite().all()
    assert a.grad.abs().sum() > 0
