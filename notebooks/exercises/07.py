"""What the exercises of notebook 07 ask for: each compares an attempt with a reference or a law."""

import itertools

import numpy as np
import torch

from labkit.lab.exercises import Attempt, as_array, as_number, compare, require
from labkit.signal.seeds import generator, torch_generator


def exercise_07_1(attempt: Attempt) -> str:
    """`matched_error(said, truth)` -> mean squared error of the best pairing; both (k, v)."""
    rng = generator(0, "exercise 07.1")
    for trial in range(40):
        k, v = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        truth = rng.random((k, v))
        same = attempt(truth[rng.permutation(k)], truth)
        compare(same, 0.0, f"the same {k} parts in another order are no error")
        # Parts near one of the true ones: an answer that takes the nearest takes it twice.
        guess = truth[:1] + 0.1 * rng.standard_normal((k, v)) if trial % 2 else rng.random((k, v))
        found = as_number(attempt(guess, truth), "matched_error")
        orders = itertools.permutations(range(k))
        best = min(((guess[list(order)] - truth) ** 2).mean() for order in orders)
        low = "less: does every part have a partner of its own?"
        hints = [(found, low if found < best else "more: is it the best pairing?")]
        compare(found, best, f"{k} parts of {v} values, the best of all pairings", hints=hints)
    return (
        "exchangeable parts are compared as sets; of k! pairings Kuhn finds the best in k^3 steps"
    )


def exercise_07_2(attempt: Attempt) -> str:
    """`flow_loss(field, target, condition, rng, drop)` -> the loss; see the laws below."""
    asked = {}

    def field(point: object, time: object, condition: object, kept: object) -> torch.Tensor:
        asked.update(point=point, time=time, condition=condition, kept=kept)
        return 3 * torch.as_tensor(point)

    n = 4000
    target = 2 + 0.5 * torch.randn(n, 2, generator=torch_generator(0, "exercise 07.2"))
    condition = target[:, :1].clone()
    ask = (field, target, condition)
    found = as_array(attempt(*ask, torch_generator(1), 0.3), (), "flow_loss", of=torch.Tensor)
    require(asked, "the field was asked 0 times: ask it for the velocity at the points")
    time = torch.from_numpy(as_array(asked["time"], (n,), "the time, one for each row,"))[:, None]
    point = torch.from_numpy(as_array(asked["point"], (n, 2), "the point"))
    words = f"times lie in {time.min():.2f}..{time.max():.2f}, mean {time.mean():.2f}"
    uniform = abs(time.mean() - 0.5) < 0.03 and abs(time.var() - 1 / 12) < 0.01
    require(uniform, f"{words}: draw them uniformly in 0..1")
    noise = ((point - time * target) / (1 - time))[time[:, 0] < 0.9]
    words = f"at time 0 your points have mean {noise.mean():.2f} and deviation {noise.std():.2f}"
    normal = abs(noise.mean()) < 0.06 and abs(noise.std() - 1) < 0.06
    require(normal, f"{words}: it must be noise, of mean 0 and deviation 1, and the target at 1")
    same = torch.equal(torch.as_tensor(asked["condition"]), condition)
    require(same, "give the field the condition as it came, 1 in 1 row")
    share = as_array(asked["kept"], (n,), "kept, whether a row keeps its condition,").mean()
    require(
        abs(share - 0.7) < 0.04, f"drop 0.3 keeps the condition of 70 % of rows, not {share:.0%}"
    )
    way = target - (point - time * target) / (1 - time)
    right, back = (((3 * point - sign * way) ** 2).mean().item() for sign in (1, -1))
    hints = [(back, "this is the way from the target back to the noise")]
    hints += [(right * 2 * n, "this is the sum over all values, not their mean")]
    compare(found, right, "the squared error of the velocity", near=1e-3, hints=hints)
    again = as_number(attempt(*ask, torch_generator(1), 0.3), "flow_loss")
    compare(again, found, "the same rng a 2nd time: draw noise, time and coins with generator=rng")
    rng = torch_generator(1)
    noise = torch.randn(n, 2, generator=rng).flip(0)
    time, coins = (torch.rand(n, generator=rng) for _ in "12")
    point, way = torch.lerp(noise, target, time[:, None]), target - noise
    found = attempt(*ask, torch_generator(1), 0.3, lambda noise, _target: noise.flip(0))
    case = "drawn from rng in the order noise, time, coins: the time of each row"
    compare(asked["time"], time.numpy(), case, near=1e-6)
    compare(as_array(asked["kept"], (n,), "kept"), (coins >= 0.3).numpy() * 1.0, "which rows keep")
    case = "with a pairing, the point between pairing(noise, target) and the target"
    compare(asked["point"], point.numpy(), case, near=1e-4)
    right = (3 * point - way).square().mean().item()
    compare(found, right, "with a pairing, the squared error of the velocity", near=1e-3)
    return "three draws, a straight line, one square: that is all of training a flow"


def exercise_07_3(attempt: Attempt) -> str:
    """`euler(velocity, start, steps)` -> the path (steps + 1, b, d) from time 0 to 1."""
    rng = torch_generator(0, "exercise 07.3")
    for steps in (1, 2, 7):
        start, a = torch.randn(5, 3, generator=rng), torch.randn(3, 3, generator=rng)
        asked = []

        def velocity(x: torch.Tensor, time: torch.Tensor, a=a, asked=asked) -> torch.Tensor:
            asked.append(float(as_array(time, (5,), "the time, one for each row,").mean()))
            return x @ a + torch.as_tensor(time)[:, None]

        answer = attempt(velocity, start, steps)
        found = as_array(answer, (steps + 1, 5, 3), "the path", of=torch.Tensor)
        times = ", ".join(f"{time:.2f}" for time in asked)
        require(len(asked) == steps, f"{steps} steps ask {steps} times, not {len(asked)} times")
        right = [start]
        for k in range(steps):
            right.append(right[-1] + (right[-1] @ a + k / steps) / steps)
        case = f"the path in {steps} steps; you asked at the times {times}"
        compare(found, torch.stack(right).numpy(), case, near=1e-4)
    return "a step is time times velocity; a generator is this loop around a network"


def exercise_07_4(attempt: Attempt) -> str:
    """`guided(field, x, time, condition, guidance)` -> velocity (b, d); no condition is None."""
    rng = torch_generator(0, "exercise 07.4")
    x, condition, time = (torch.randn(6, 2, generator=rng) for _ in range(3))
    time = time[:, 0]

    def field(x: torch.Tensor, time: torch.Tensor, condition: object = None) -> torch.Tensor:
        free = torch.cos(x) * torch.as_tensor(time)[:, None]
        return free if condition is None else free + 3 * condition + 1

    free, told = field(x, time), field(x, time, condition)
    for guidance in (0.0, 1.0, 2.5):
        found = attempt(field, x, time, condition, guidance)
        right = (free + guidance * (told - free)).numpy()
        paper = (told + guidance * (told - free)).numpy()
        hints = [(paper, "this starts from the conditioned one, so that 0 is already following")]
        hints += [((guidance * told).numpy(), "the velocity without a condition is missing")]
        case = f"guidance {guidance:g}"
        compare(found, right, case, near=1e-5, hints=hints, of=torch.Tensor)
    return "0 ignores the condition, 1 follows it, more goes further along the same difference"


def exercise_07_5(attempt: Attempt) -> str:
    """`midpoint(velocity, x, time, size)` -> x (b, d) after one step; time (b,), tensors."""
    rng = generator(0, "exercise 07.5")
    for _ in range(20):
        a, b, c, x = torch.from_numpy(rng.standard_normal((4, 3)))
        x, start, size = torch.stack([x, -x]), float(rng.random()), float(rng.uniform(0.05, 0.5))
        time = torch.full((2,), start, dtype=x.dtype)
        asked = []

        def velocity(at: object, when: object, a=a, b=b, c=c, asked=asked) -> torch.Tensor:
            when = as_array(when, (2,), "the time you ask for, one for each row,")
            asked.append(when.mean())
            at = torch.from_numpy(as_array(at, (2, 3), "the point you ask at"))
            return a * at.sin() + b * torch.from_numpy(when)[:, None] + c

        found = as_array(attempt(velocity, x, time, size), (2, 3), "midpoint", of=torch.Tensor)
        times = ", ".join(f"{one - start:.3f}" for one in asked)
        n = len(asked)
        require(n == 2, f"the field was asked {n} times for one step: midpoint asks 2 times")
        right = x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)
        case = f"a step of {size:.3f}; you asked {times} after its start"
        compare(found, right.numpy(), case, near=1e-6)
    return "two questions a step, and half the step leaves a quarter of the error; Euler's a half"


def exercise_07_6(attempt: Attempt) -> str:
    """`pair(noise, target)` -> the rows of noise in the order of the targets; both (n, d)."""
    rng = torch_generator(0, "exercise 07.6")
    # The least way and the least squared way pair these differently.
    crossing = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [2.0, 0.5]]])
    drawn = [torch.randn(2, n, 2, generator=rng) for n in (2, 4, 6)]
    for noise, target in (*drawn, crossing):
        n = len(noise)
        case = "the noise in its new order"
        found = as_array(attempt(noise, target), (n, 2), case, of=torch.Tensor)
        rows = np.abs(found[:, None] - noise.numpy()).max(-1).argmin(1)
        used = len(set(rows.tolist()))
        require(used == n, f"{n} targets share {used} rows of noise: each row must be used once")
        compare(found, noise.numpy()[rows], "each row must be a row of the noise", near=1e-6)
        cost = (target[:, None] - noise).square().sum(-1).numpy()
        orders = list(itertools.permutations(range(n)))
        best = min(sum(cost[k, row] for k, row in enumerate(order)) for order in orders)
        paid = sum(cost[k, row] for k, row in enumerate(rows))
        inverse = sum(cost[row, k] for k, row in enumerate(rows))
        hints = [(paid, "is it the noise of each target?" if np.isclose(inverse, best) else "more")]
        compare(paid, best, f"the squared way of {n} pairs in all", near=1e-5, hints=hints)
    return "paths of the cheapest pairing do not cross, so they are straighter; the price follows"


def exercise_07_7(attempt: Attempt) -> str:
    """`exchange_error(field, x, order)` -> max |f(x)[order] - f(x[order])|; x and f(x) (b, k)."""
    rng = torch_generator(0, "exercise 07.7")
    for k in (2, 3, 5):
        x, order = torch.randn(8, k, generator=rng), torch.arange(k).roll(1)
        place = torch.arange(k) / 10
        fields = {
            "a field that treats all parts alike": lambda x: x * x.mean(1, keepdim=True) + x.sin(),
            "a field that multiplies by the place": lambda x, place=place: x * place,
        }
        for name, field in fields.items():
            right = (field(x)[:, order] - field(x[:, order])).abs().max().item()
            still = (field(x) - field(x[:, order])).abs().max().item()
            hints = [(still, "this asks that nothing changes; the answers must change places too")]
            found = attempt(field, x, order)
            compare(found, right, f"{name}, {k} parts", near=1e-5, hints=hints)
    return "equivariant: exchange then ask, or ask then exchange; the difference must be 0"
