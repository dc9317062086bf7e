"""Patches of a picture: what the transformer sees is the whole of it, in its places."""

import torch

from labkit.learn.encoders import PatchTransformer


def test_every_corner_is_seen_and_places_count() -> None:
    torch.manual_seed(0)
    net = PatchTransformer(16, 21, patch=8, width=16, n_heads=2, n_layers=1).eval()
    picture = torch.randn(3, 1, 16, 21, requires_grad=True)
    said = net(picture)
    assert said.shape == (3, 16)
    said.square().sum().backward()
    assert (picture.grad.abs() > 0).all()
    assert len(net.encoder.position) == 2 * 3
    with torch.no_grad():
        moved = net(picture.roll(8, dims=3))
        torch.testing.assert_close(net(picture[:1]), said[:1])
    assert (moved - said).abs().max() > 1e-3
