"""The imitation: causal, conditioned, and it learns."""

import pytest
import torch

from labkit.learn.proxy import ProxyTCN, fresh_proxy, train_proxy


def test_nothing_before_the_impulse_and_knobs_matter():
    proxy = fresh_proxy(2, 0)
    torch.nn.init.normal_(
        proxy.leave.weight, generator=torch.manual_seed(0)
    )  # as begun, it is a wire
    audio = torch.zeros(2, 1, 3000)
    params = torch.tensor([[0.2, 0.8], [0.9, 0.8]])
    with torch.no_grad():
        silent = proxy(audio, params)
        audio[:, :, 2000] = 1.0
        out = proxy(audio, params)
    moved = (out - silent).abs()
    assert not moved[..., :2000].any()
    assert moved[..., 2000].min() > 1e-3
    assert (out[0] - out[1]).abs().max() > 1e-3
    assert proxy.receptive_field == 1 + 6 * (1 + 6 + 36 + 216)


def test_channels_are_taken_one_by_one_and_seeds_are_kept():
    proxy, again = fresh_proxy(1, 0), fresh_proxy(1, 0)
    audio = torch.randn(2, 2, 500, generator=torch.manual_seed(0))
    params = torch.tensor([[0.1], [0.7]])
    with torch.no_grad():
        torch.testing.assert_close(proxy(audio, params), audio)
        for one in (proxy, again):
            one.leave.weight.fill_(0.1)
        both = proxy(audio, params)
        torch.testing.assert_close(both[:, 1:], again(audio[:, 1:], params))


def test_every_weight_learns_and_the_loss_falls():
    """A gain of knob times dry: the error falls to under a fifth of what the untrained network has."""
    draws = torch.Generator().manual_seed(0)

    def examples(_step):
        dry = torch.randn(8, 1, 400, generator=draws)
        params = torch.rand(8, 1, generator=draws)
        return dry, params, (0.5 + params[..., None]) * dry

    proxy = fresh_proxy(1, 0)
    before = {name: value.clone() for name, value in proxy.named_parameters()}
    losses = train_proxy(proxy, examples, lambda a, b: (a - b).abs().mean((1, 2)), steps=80)
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
    assert [
        name for name, value in proxy.named_parameters() if torch.equal(value, before[name])
    ] == []


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="sizes must be at least 1"):
        ProxyTCN(0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        train_proxy(ProxyTCN(1), lambda step: step, lambda a, b: a - b, steps=0)
