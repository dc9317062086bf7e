import pytest
import torch

from labkit.learn.musicnn import Musicnn, Timbre


def picture(*shape):
    return torch.randn(*shape, generator=torch.manual_seed(0))


def test_any_length_of_picture_becomes_one_vector(device):
    model = Musicnn(32, 12, width=0.2).to(device).eval()
    for frames in (1, 5, 90):
        out = model(picture(2, 1, 32, frames).to(device))
        assert out.shape == (2, 12)
        assert out.isfinite().all()


def test_a_timbre_is_the_same_wherever_it_stands():
    """The strongest answer of all places counts; a filter of 16 bands meets this spot whole before and after."""
    layer = Timbre(16, 5).eval()
    spot = torch.zeros(1, 1, 40, 30)
    spot[0, 0, 19:22, 10:14] = picture(3, 4)
    torch.testing.assert_close(layer(spot), layer(spot.roll(2, dims=2)), atol=1e-6, rtol=0)
    assert (layer(spot) - layer(spot.roll(2, dims=3))).abs().max() > 1e-3  # in time it moves


def test_every_weight_moves():
    model = Musicnn(32, 8, width=0.2)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model(picture(4, 1, 32, 60)).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())


@pytest.mark.parametrize("wrong", [(4, 8, 0.5), (32, 0, 0.5), (32, 8, 0.0)])
def test_mistakes_are_said(wrong):
    with pytest.raises(ValueError, match="n_mels must be at least 8, n_out 1 and width above 0"):
        Musicnn(*wrong[:2], width=wrong[2])
