"""The imitation of an effect: causal, conditioned, and it learns."""

import torch
from torch.utils.data import Dataset

from labkit.learn.gradients import fresh_proxy, imitation_loss
from labkit.learn.training import Plan, fit
from labkit.signal.seeds import torch_generator


def test_nothing_before_the_impulse_and_parameters_matter():
    proxy = fresh_proxy(2, 0)
    # As begun, it is a wire.
    torch.nn.init.normal_(proxy.leave.weight, generator=torch.manual_seed(0))
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


def test_each_channel_is_alone_and_seeds_are_kept():
    proxy, again = fresh_proxy(1, 0), fresh_proxy(1, 0)
    audio = torch.randn(2, 2, 500, generator=torch.manual_seed(0))
    params = torch.tensor([[0.1], [0.7]])
    with torch.no_grad():
        torch.testing.assert_close(proxy(audio, params), audio)
        for one in (proxy, again):
            one.leave.weight.fill_(0.1)
        both = proxy(audio, params)
        torch.testing.assert_close(both[:, 1:], again(audio[:, 1:], params))


class Gain(Dataset):
    """A gain of parameter times dry."""

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        rng = torch_generator(0, "gain", index)
        dry, params = torch.randn(1, 400, generator=rng), torch.rand(1, generator=rng)
        return {"dry": dry, "params_unit": params, "wet": (0.5 + params) * dry}


def test_every_weight_learns_and_the_loss_falls(tmp_path):
    """To under a fifth of what the untrained network has."""
    proxy = fresh_proxy(1, 0)
    before = {name: value.clone() for name, value in proxy.named_parameters()}
    loss = imitation_loss(lambda a, b: (a - b).abs().mean((1, 2)))
    plan = Plan(steps=120, batch_size=8, learning_rate=3e-3)
    rows = fit(proxy, Gain(), loss, plan, tmp_path, log_every=1)
    losses = [row["loss"] for row in rows]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
    assert [name for name, p in proxy.named_parameters() if torch.equal(p, before[name])] == []
