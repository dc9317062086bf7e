"""The flow: solvers against closed forms, guidance at its limits, pairing, and learning."""

import itertools
import math

import pytest
import torch

from labkit.learn.fields import MLPField, TokenField
from labkit.learn.flow import Averaged, flow_loss, guided, integrate, pair, sample
from labkit.signal.seeds import torch_generator

KINDS, SLOTS = (0, 1, 2) * 3, (0, 0, 0, 1, 1, 1, 2, 2, 2)


def rng(*purpose):
    return torch_generator(0, "flow tests", *purpose)


def fields():
    torch.manual_seed(0)
    made = [
        MLPField(9, 5, width=32, n_layers=2),
        TokenField(9, 5, width=16, n_layers=2, kinds=KINDS, slots=SLOTS),
    ]
    with torch.no_grad():  # gates start closed; open ones show what the condition does
        for parameter in itertools.chain(*(field.parameters() for field in made)):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return [field.double().eval() for field in made]


every_field = pytest.mark.parametrize("field", fields(), ids=["mlp", "slots"])


def spiral(x, time):
    """dx/dt = t + turned x; closed form below."""
    return torch.stack([-x[:, 1], x[:, 0]], 1) + time[:, None]


def spiral_end(x):
    # As a complex number: z' = i z + t s with s = 1 + i. A straight line solves it, i s t + s;
    # what is left turns.
    z, s, turn = torch.complex(x[:, 0], x[:, 1]), complex(1, 1), complex(math.cos(1), math.sin(1))
    end = (z - s) * turn + 1j * s + s
    return torch.stack([end.real, end.imag], 1)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_every_solver_has_its_order(solver, order):
    start = torch.tensor([[1.0, -0.5]]).double()
    errors = [
        (integrate(spiral, start, steps=steps, solver=solver)[-1] - spiral_end(start)).norm()
        for steps in (20, 40)
    ]
    # Half the step, 2**order times less error; the next term is a tenth of that at 20 steps.
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


@every_field
def test_guidance_has_its_limits_exactly(field):
    x, time = torch.randn(6, 9, generator=rng("x")).double(), torch.linspace(0, 1, 6).double()
    condition = torch.randn(6, 5, generator=rng("c")).double()
    conditioned, free = field(x, time, condition), field(x, time, None)
    assert (conditioned - free).abs().max() > 1e-2
    cases = [(0, free), (1, conditioned), (2.5, free + 2.5 * (conditioned - free))]
    # The path of "both" tends to the limits, where a shortcut is taken.
    for guidance, expected in [*cases, (1e-7, free), (1 + 1e-7, conditioned)]:
        found = guided(field, condition, guidance)(x, time)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_exchanged_slots_exchange_velocities():
    perceptron, field = fields()
    x, condition = (torch.randn(4, n, generator=rng(n)).double() for n in (9, 5))
    time = torch.rand(4, generator=rng("t")).double()
    swapped = torch.tensor([3, 4, 5, 6, 7, 8, 0, 1, 2])
    ours = field(x, time, condition)
    torch.testing.assert_close(
        field(x[:, swapped], time, condition), ours[:, swapped], atol=1e-9, rtol=0
    )
    assert (ours[:, swapped] - ours).abs().max() > 1e-2
    unlike = perceptron(x[:, swapped], time, condition)
    unlike = unlike - perceptron(x, time, condition)[:, swapped]
    assert unlike.abs().max() > 1e-3


def test_pairing_is_the_cheapest_of_all():
    noise, target = (torch.randn(6, 3, generator=rng(name)) for name in ("noise", "target"))
    costs = [
        (noise[list(order)] - target).square().sum().item()
        for order in itertools.permutations(range(6))
    ]  # all 720
    paired = pair(noise, target)
    assert (paired - target).square().sum().item() == pytest.approx(min(costs), rel=1e-5)
    assert sorted(paired.tolist()) == sorted(noise.tolist())


def train_two_modes(pairing, steps=250):
    """One value, -1 or +1 at a coin's toss, and a condition that says which."""
    torch.manual_seed(0)
    field, source = MLPField(1, 1, width=32, n_layers=1), rng("modes")
    optimizer = torch.optim.Adam(field.parameters(), lr=5e-3)
    for _ in range(steps):
        sign = torch.randint(0, 2, (128, 1), generator=source) * 2.0 - 1
        loss = flow_loss(field, sign, sign, source, drop=0.3, pairing=pairing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return field.eval()


@pytest.mark.parametrize("pairing", [None, pair], ids=["random", "optimal"])
def test_a_field_learns_two_modes_where_a_mean_would_be_none(pairing):
    field = train_two_modes(pairing)
    free = sample(field, torch.zeros(400, 1), steps=8, guidance=0, rng=rng("draw"))[:, 0, 0]
    # Each mode about half: four standard deviations of 400 coin tosses are .1.
    assert (free > 0).float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert (free.abs() < 0.5).float().mean().item() < 0.1
    conditioned = sample(
        field, torch.tensor([[-1.0], [1.0]]), steps=8, rng=rng("draw"), n_samples=100
    )[..., 0]
    assert conditioned.shape == (2, 100)
    obeyed = ((conditioned[0] < 0).float().mean() + (conditioned[1] > 0).float().mean()).item() / 2
    # The price of optimal pairing: the noise tells the mode, and the condition is not learnt.
    assert obeyed > 0.95 if pairing is None else 0.4 < obeyed < 0.8


def test_the_mean_of_the_weights_follows():
    model = Averaged(torch.nn.Linear(1, 1, bias=False), decay=0.9)
    seen = []
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            model.online.weight.fill_(value)
        model.follow()
        seen.append(model.best.weight.item())
    assert seen == pytest.approx([1.0, 1.1, 0.9 * 1.1 + 0.4])
    one = torch.ones(1, 1)
    assert model.train()(one).item() == 4.0
    assert model.eval()(one).item() == pytest.approx(seen[-1])
    assert not any(p.requires_grad for p in model.mean.parameters())
    assert "mean.module.weight" in model.state_dict()
