"""The network that turns a spectrogram into one vector."""

import torch

from labkit.learn.encoders import ConvStem, MobileNetV2


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_it_has_as_many_weights_as_the_papers():
    """3,504,872 of them, without the 1,281,000 of the classifier, which ours does not have."""
    assert count(MobileNetV2(1280, width=1.0, in_channels=3)) == 3_504_872 - 1_281_000


def test_equal_widths_are_halved_as_often_as_others():
    for channels in ((2, 3, 4, 5, 6), (2, 3, 6, 6, 6)):
        stem = ConvStem(64, 8, channels)
        assert stem.layers(torch.zeros(1, 1, 64, 6)).shape == (1, 6, 4, 3)


def test_any_size_of_picture_becomes_one_vector(device):
    model = MobileNetV2(12, width=0.1).to(device).eval()
    for size in ((64, 33), (37, 5), (1, 1)):
        out = model(torch.randn(2, 1, *size, generator=torch.manual_seed(0)).to(device))
        assert out.shape == (2, 12)
        assert out.isfinite().all()
