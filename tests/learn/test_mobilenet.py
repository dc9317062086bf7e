import pytest
import torch

from labkit.learn.mobilenet import InvertedResidual, MobileNetV2, scaled


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_it_has_as_many_weights_as_the_papers():
    """3,504,872 of them, without the 1,281,000 of the classifier, which ours does not have."""
    assert count(MobileNetV2(1280, width=1.0, in_channels=3)) == 3_504_872 - 1_281_000


@pytest.mark.parametrize(
    ("channels", "width", "wanted"), [(32, 1.0, 32), (16, 0.5, 8), (24, 0.5, 16), (96, 0.35, 32)]
)
def test_channels_are_multiples_of_eight_and_never_a_tenth_too_few(channels, width, wanted):
    assert scaled(channels, width) == wanted
    assert wanted >= 0.9 * channels * width


def test_a_block_has_a_shortcut_where_shapes_allow_it():
    assert InvertedResidual(8, 8, 1, 6).shortcut
    assert not InvertedResidual(8, 8, 2, 6).shortcut
    assert not InvertedResidual(8, 16, 1, 6).shortcut
    block = InvertedResidual(8, 8, 1, 6).eval()
    torch.nn.init.zeros_(block.layers[-1].weight)
    picture = torch.randn(1, 8, 5, 7, generator=torch.manual_seed(0))
    assert torch.equal(block(picture), picture)


def test_any_size_of_picture_becomes_one_vector(device):
    model = MobileNetV2(12, width=0.1).to(device).eval()
    for size in ((64, 33), (37, 5), (1, 1)):
        out = model(torch.randn(2, 1, *size, generator=torch.manual_seed(0)).to(device))
        assert out.shape == (2, 12)
        assert out.isfinite().all()


def test_every_weight_moves():
    model = MobileNetV2(4, width=0.1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    model(torch.randn(4, 1, 64, 64, generator=torch.manual_seed(0))).square().mean().backward()
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    assert [name for name, p in model.named_parameters() if torch.equal(before[name], p)] == []
