"""Gradients through boxes whose gradient is known by hand: laws, bounds, shapes, mistakes."""

import itertools

import numpy as np
import pytest
import torch

from labkit.learn import gradients
from labkit.learn.gradients import (
    SPSA,
    CentralDifferences,
    ForwardDifferences,
    GaussianSmoothing,
    Point,
    StraightThrough,
    Surrogate,
    black_box,
    cosine,
    each,
    log_gradient,
    stepped,
)
from labkit.signal.seeds import generator

HESSIAN = np.array([[3.0, 1.0, -0.5], [1.0, 2.0, 0.4], [-0.5, 0.4, 4.0]])
SLOPE = np.array([0.7, -1.1, 0.2])


def quadratic(places):
    return 0.5 * np.einsum("...i,ij,...j->...", places, HESSIAN, places) + places @ SLOPE


def point(*at):
    row = np.array([at])
    return Point(row, quadratic(row), quadratic)


def gradient_at(place):
    return HESSIAN @ place + SLOPE


def rng():
    return generator(0, "test gradients")


def box(audio, params_unit):
    """Two knobs: a gain, and a bend. float64, so that only the estimator errs."""
    gain, bend = params_unit[:, 0, None, None], params_unit[:, 1, None, None]
    return gain * np.tanh((1 + 3 * bend) * audio.astype(np.float64))


def twin(audio, params_unit):
    gain, bend = params_unit[:, 0, None, None], params_unit[:, 1, None, None]
    return gain * torch.tanh((1 + 3 * bend) * audio)


def batch():
    audio = (
        torch.from_numpy(rng().standard_normal((3, 2, 50))).float().double()
    )  # float32 values: the box casts
    params = torch.tensor(
        [[0.3, 0.6], [0.5, 0.2], [0.8, 0.9]], dtype=torch.float64, requires_grad=True
    )
    return audio, params


def exact():
    audio, params = batch()
    loss(twin(audio, params)).backward()
    return params.grad


def loss(out):
    return out.square().sum() + out.sum()


def test_differences_on_a_quadratic_by_hand():
    """Central differences are exact; forward ones err by half the step times the curvature."""
    place = np.array([0.4, 0.5, 0.6])
    central = CentralDifferences(0.1).estimate(point(*place), rng())[0]
    forward = ForwardDifferences(0.1).estimate(point(*place), rng())[0]
    np.testing.assert_allclose(central, gradient_at(place), atol=1e-12)
    np.testing.assert_allclose(forward, gradient_at(place) + 0.05 * np.diag(HESSIAN), atol=1e-12)


def test_differences_stay_inside_the_walls():
    place = np.array([0.0, 1.0, 0.5])
    seen = []

    def probe(places):
        seen.append(places)
        return quadratic(places)

    for estimator in (CentralDifferences(0.1), ForwardDifferences(0.1)):
        found = estimator.estimate(Point(place[None], quadratic(place[None]), probe), rng())[0]
        middle = gradient_at(place)[:2] + np.array([0.05, -0.05]) * np.diag(HESSIAN)[:2]
        np.testing.assert_allclose(found[:2], middle, atol=1e-12)
    assert min(p.min() for p in seen) >= 0
    assert max(p.max() for p in seen) <= 1


@pytest.mark.parametrize("place", [(0.4, 0.5, 0.6), (0.0, 0.5, 0.98), (0.0, 1.0, 1.0)])
def test_spsa_over_all_tosses_is_the_gradient_between_its_renders(place):
    """An average over all directions leaves no chance, only bias."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))[:, None]
    estimator = SPSA(0.1)
    found = estimator.along(point(*place), signs)[0]
    at = np.array(place)
    middle = (np.clip(at + 0.1, 0, 1) + np.clip(at - 0.1, 0, 1)) / 2
    np.testing.assert_allclose(found, gradient_at(middle), atol=1e-12)


@pytest.mark.parametrize("antithetic", [True, False])
def test_smoothing_is_right_on_average_inside_and_nearly_so_at_a_wall(antithetic):
    """The standard error is about |g| sqrt(4 / 20000): .06 inside, twice that at a bound."""
    estimator = GaussianSmoothing(0.01, draws=20_000, antithetic=antithetic)
    place = np.array([0.4, 0.5, 0.6])
    found = estimator.estimate(point(*place), rng())[0]
    np.testing.assert_allclose(found, gradient_at(place), atol=0.2)
    place = np.array([0.0, 0.5, 1.0])
    found = estimator.estimate(point(*place), rng())[0]
    np.testing.assert_allclose(
        found, gradient_at(place), atol=0.4
    )  # and a step times the curvature


def test_renders_are_as_many_as_said():
    count = 0

    def probe(places):
        nonlocal count
        count += places.shape[0]
        return quadratic(places)

    at = np.full((1, 3), 0.5)
    for estimator, said in (
        (ForwardDifferences(), 3),
        (CentralDifferences(), 6),
        (SPSA(pairs=4), 8),
        (GaussianSmoothing(draws=5), 10),
        (GaussianSmoothing(draws=5, antithetic=False), 5),
        (StraightThrough(), 0),
    ):
        count = 0
        estimator.estimate(Point(at, quadratic(at), probe, passed=at), rng())
        assert count == said == estimator.renders(3)
    assert Surrogate(twin).renders(3) == 0


@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [(CentralDifferences(1e-3), 1e-4), (ForwardDifferences(1e-5), 1e-3), (Surrogate(twin), 1e-9)],
)
def test_each_item_of_a_batch_gets_its_own_gradient(estimator, tolerance):
    audio, params = batch()
    out = black_box(box, audio, params, estimator, rng())
    np.testing.assert_allclose(out.detach(), twin(audio, params).detach(), atol=1e-12)
    loss(out).backward()
    np.testing.assert_allclose(params.grad, exact(), rtol=tolerance, atol=1e-6)


def test_spsa_through_the_layer_is_seeded_and_points_uphill_on_average():
    found = []
    for _ in range(2):
        audio, params = batch()
        loss(black_box(box, audio, params, SPSA(1e-3, pairs=200), rng())).backward()
        found.append(params.grad)
    assert torch.equal(*found)
    # 200 pairs of two knobs: sqrt(n / (n + d - 1)) is .9975
    assert cosine(found[0], exact()).min() > 0.97


def test_a_probe_of_many_rows_comes_in_parts_and_keeps_its_order(monkeypatch):
    sizes, found = [], []

    def watched(audio, params_unit):
        sizes.append(len(audio))
        return box(audio, params_unit)

    for most in (64, 1000):
        monkeypatch.setattr(gradients, "_MAX_ROWS", most)
        audio, params = batch()
        loss(black_box(watched, audio, params, SPSA(1e-3, pairs=30), generator(3))).backward()
        found.append(params.grad)
    assert sizes == [3, 64, 64, 52, 3, 180]
    assert torch.equal(*found)


def test_gradients_for_the_input():
    """Differences see every sample; a wire passes on; without an estimator there are zeros."""
    audio, params = batch()
    audio.requires_grad_()
    loss(twin(audio, params)).backward()
    truth = audio.grad
    found = {}
    for name, estimator in {
        "none": None,
        "differences": CentralDifferences(1e-2),
        "wire": StraightThrough(),
    }.items():
        leaf, knobs = batch()
        leaf.requires_grad_()
        out = black_box(box, leaf, knobs, SPSA(), rng(), audio_estimator=estimator)
        loss(out).backward()
        found[name] = leaf.grad
    assert found["none"] is None or not found["none"].any()
    # The box hears float32: a turn of .01 is rounded by up to 1e-7 of a sample near 2.
    np.testing.assert_allclose(found["differences"], truth, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found["wire"], (2 * out + 1).detach(), atol=1e-9)


def test_a_surrogate_can_be_heard_or_only_give_its_gradient():
    audio, params = batch()
    half = lambda a, p: 0.5 * twin(a, p)  # noqa: E731 - a stand-in with an error
    heard = black_box(box, audio, params, Surrogate(half, forward=True), rng())
    np.testing.assert_allclose(heard.detach(), 0.5 * twin(audio, params).detach())
    out = black_box(box, audio, params, Surrogate(half), rng())
    np.testing.assert_allclose(out.detach(), twin(audio, params).detach(), atol=1e-12)
    loss(out).backward()
    np.testing.assert_allclose(params.grad, 0.5 * exact(), rtol=1e-9)


def test_a_box_inside_a_network_trains_it():
    """The layer finds a gain of .7 through a box: the loss falls more than a hundredfold."""
    audio, _ = batch()
    wanted = torch.from_numpy(box(audio.numpy(), np.tile([0.7, 0.5], (3, 1))))
    logits = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    optimizer, draws, losses = torch.optim.Adam([logits], lr=0.1), rng(), []
    for _ in range(150):
        out = black_box(box, audio, torch.sigmoid(logits), SPSA(), draws)
        value = (out - wanted).square().mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.01 * losses[0]


def test_a_knob_with_few_positions():
    """Turned by less than a step nothing moves; turned by a whole step the secant shows."""
    box3 = each(lambda audio, params: audio * np.round(params[0] * 2) / 2)
    audio = torch.ones(1, 1, 4)
    for eps, expected in ((0.01, 0.0), (0.5, 4.0)):
        free = torch.tensor([[0.6]], requires_grad=True)
        rounded = stepped(free, 3)
        assert rounded.item() == 0.5
        black_box(box3, audio, rounded, CentralDifferences(eps), rng()).sum().backward()
        assert free.grad.item() == pytest.approx(expected)


def test_cosine_and_log():
    a, b = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert cosine(a, b).tolist() == pytest.approx([0.5**0.5, 0.0])
    written = []

    class Writer:
        def add_scalar(self, name, value, step):
            written.append((name, round(value, 4), step))

    facts = log_gradient(Writer(), 7, 3 * a[:1], b[:1], name="spsa")
    assert written == [("spsa/norm", 3.0, 7), ("spsa/cosine", 0.7071, 7)]
    assert log_gradient(None, 7, a) == {"norm": 0.5}
    assert facts["norm"] == 3.0
