"""Gradients through boxes whose gradient is known by hand."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from labkit.learn import gradients
from labkit.learn.gradients import (
    SPSA,
    CentralDifferences,
    GaussianSmoothing,
    Point,
    Surrogate,
    black_box,
    cosine,
    fresh_proxy,
    imitation_loss,
)
from labkit.learn.training import Plan, fit
from labkit.signal.seeds import generator, torch_generator

HESSIAN = np.array([[3.0, 1.0, -0.5], [1.0, 2.0, 0.4], [-0.5, 0.4, 4.0]])
SLOPE = np.array([0.7, -1.1, 0.2])


def quadratic(places):
    return 0.5 * np.einsum("...i,ij,...j->...", places, HESSIAN, places) + places @ SLOPE


def point(place):
    row = np.array([place])
    return Point(row, quadratic(row), quadratic)


def gradient_at(place):
    return HESSIAN @ place + SLOPE


def rng():
    return generator(0, "test gradients")


def box(audio, params_unit):
    """A gain, and a bend. float64, so that only the estimator errs."""
    gain, bend = params_unit[:, 0, None, None], params_unit[:, 1, None, None]
    return gain * np.tanh((1 + 3 * bend) * audio.astype(np.float64))


def exactly(audio, params_unit):
    gain, bend = params_unit[:, 0, None, None], params_unit[:, 1, None, None]
    return gain * torch.tanh((1 + 3 * bend) * audio)


def batch():
    # float32 values, as the box casts to them.
    audio = torch.from_numpy(rng().standard_normal((3, 2, 50))).float().double()
    params = torch.tensor([[0.3, 0.6], [0.5, 0.2], [0.8, 0.9]]).double().requires_grad_()
    return audio, params


def loss(out):
    return out.square().sum() + out.sum()


def exact():
    audio, params = batch()
    loss(exactly(audio, params)).backward()
    return params.grad


@pytest.mark.parametrize("place", [(0.4, 0.5, 0.6), (0.0, 0.5, 0.98), (0.0, 1.0, 1.0)])
def test_differences_and_spsa_give_the_gradient_half_way_between_their_renders(place):
    """Inside that is exact for a quadratic; SPSA averaged over all its directions."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))[:, None]
    seen = []

    def probe(places):
        seen.append(places)
        return quadratic(places)

    at = np.array(place)
    where = Point(at[None], quadratic(at[None]), probe)
    middle = (np.clip(at + 0.1, 0, 1) + np.clip(at - 0.1, 0, 1)) / 2
    np.testing.assert_allclose(SPSA(0.1).along(where, signs)[0], gradient_at(middle), atol=1e-12)
    found = CentralDifferences(0.1).estimate(where, rng())[0]
    for k in range(3):
        moved = at.copy()
        moved[k] = middle[k]
        assert found[k] == pytest.approx(gradient_at(moved)[k], abs=1e-12)
    assert min(p.min() for p in seen) >= 0
    assert max(p.max() for p in seen) <= 1


@pytest.mark.parametrize("antithetic", [True, False])
def test_smoothing_is_right_on_average_inside_and_nearly_so_at_a_bound(antithetic):
    """The standard error is about |g| sqrt(4 / 20000): .06 inside, twice that at a bound."""
    estimator = GaussianSmoothing(0.01, draws=20_000, antithetic=antithetic)
    for place, atol in (((0.4, 0.5, 0.6), 0.2), ((0.0, 0.5, 1.0), 0.4)):
        found = estimator.estimate(point(place), rng())[0]
        np.testing.assert_allclose(found, gradient_at(np.array(place)), atol=atol)


@pytest.mark.parametrize(
    ("estimator", "tolerance"), [(CentralDifferences(1e-3), 1e-4), (Surrogate(exactly), 1e-9)]
)
def test_each_item_of_a_batch_gets_its_own_gradient(estimator, tolerance):
    audio, params = batch()
    out = black_box(box, audio, params, estimator, rng())
    np.testing.assert_allclose(out.detach(), exactly(audio, params).detach(), atol=1e-12)
    loss(out).backward()
    np.testing.assert_allclose(params.grad, exact(), rtol=tolerance, atol=1e-6)


def test_spsa_through_the_layer_is_seeded_and_its_renders_come_in_parts(monkeypatch):
    sizes, found = [], []

    def watched(audio, params_unit):
        sizes.append(len(audio))
        return box(audio, params_unit)

    for most in (64, 1000):
        monkeypatch.setattr(gradients, "_MAX_ROWS", most)
        audio, params = batch()
        loss(black_box(watched, audio, params, SPSA(1e-3, pairs=200), rng())).backward()
        found.append(params.grad)
    assert sizes == [3, *[64] * 18, 48, 3, 1000, 200]
    assert torch.equal(*found)
    # 200 pairs of two parameters: sqrt(n / (n + d - 1)) is .9975
    assert cosine(found[0], exact()).min() > 0.97


def test_a_surrogate_gives_its_gradient_to_audio_and_parameters_and_the_box_its_output():
    audio, params = batch()
    audio.requires_grad_()
    out = black_box(box, audio, params, Surrogate(lambda a, p: 0.5 * exactly(a, p)), rng())
    np.testing.assert_allclose(out.detach(), exactly(audio, params).detach(), atol=1e-12)
    loss(out).backward()
    np.testing.assert_allclose(params.grad, 0.5 * exact(), rtol=1e-9)
    own = audio.detach().clone().requires_grad_()
    loss(exactly(own, params.detach())).backward()
    np.testing.assert_allclose(audio.grad, 0.5 * own.grad, rtol=1e-9)


# A network that imitates an effect


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
