"""Answers to notebook 07 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

matched_error, midpoint, euler = RIGHT["07.1"], RIGHT["07.5"], RIGHT["07.3"]


def costs(said, truth):
    return ((said[:, None] - truth[None]) ** 2).mean(-1)


def in_order(said, truth):
    return ((said - truth) ** 2).mean()


def sorted_by_first(said, truth):
    return in_order(said[said[:, 0].argsort()], truth[truth[:, 0].argsort()])


def flow_loss(
    reverse=False, sign=1, share=False, own=False, column=False, time_first=False, drawn=torch.rand
):
    """The right loss with one mistake, at least that it pairs nothing."""

    def attempt(field, target, condition, rng, drop, _pairing=None):
        rng = None if own else rng
        early = drawn(len(target), generator=rng) if time_first else None
        noise = torch.randn(target.shape, generator=rng)
        time = early if time_first else drawn(len(target), generator=rng)
        kept = torch.rand(len(target), generator=rng) >= (1 - drop if share else drop)
        at = 1 - time if reverse else time
        point = torch.lerp(noise, target, at[:, None])
        answer = field(point, time[:, None] if column else time, condition, kept)
        return (answer - sign * (target - noise)).square().mean()

    return attempt


def unscaled(velocity, start, steps):
    path = [start]
    for k in range(steps):
        path.append(path[-1] + velocity(path[-1], torch.full((len(start),), k / steps)))
    return torch.stack(path)


def one_late(velocity, start, steps):
    path = [start]
    for k in range(1, steps + 1):
        path.append(path[-1] + velocity(path[-1], torch.full((len(start),), k / steps)) / steps)
    return torch.stack(path)


def of_the_paper(field, x, time, condition, guidance):
    told = field(x, time, condition)
    return told + guidance * (told - field(x, time, None))


def zeros_for_none(field, x, time, condition, guidance):
    free = field(x, time, 0 * condition)
    return free + guidance * (field(x, time, condition) - free)


def clock_forgotten(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time)


def heun(velocity, x, time, size):
    first = velocity(x, time)
    return x + size / 2 * (first + velocity(x + size * first, time + size))


def least_way(noise, target):
    return noise[linear_sum_assignment(torch.cdist(target, noise))[1]]


def back_again(field, x, order):
    return (field(x)[:, order.argsort()] - field(x[:, order])).abs().max()


def midpoint_in_place(velocity, x, time, size):
    half = x.clone()
    half += size / 2 * velocity(x, time)
    return x + size * velocity(half, time + size / 2)


def of_the_noise(noise, target):
    found = RIGHT["07.6"](target, noise)
    return noise[torch.cdist(found, target).argmin(1)]


ALSO_RIGHT = [("07.5", midpoint_in_place)]
WRONG = [
    ("07.1", in_order, "in another order are no error"),
    ("07.1", lambda said, truth: costs(said, truth).min(1).mean(), "a partner of its own"),
    ("07.1", sorted_by_first, "is it the best pairing"),
    ("07.1", lambda said, truth: matched_error(said, truth) * said.size, "you say"),
    ("07.1", lambda said, truth: np.array([in_order(said, truth)] * 2), "one finite number"),
    ("07.2", flow_loss(reverse=True), "it must be noise"),
    ("07.2", flow_loss(sign=-1), "from the target back to the noise"),
    ("07.2", flow_loss(share=True), "keeps the condition of 70 % of rows, not 3"),
    ("07.2", flow_loss(own=True), "the same rng a 2nd time"),
    ("07.2", flow_loss(column=True), "the time, one for each row, must be"),
    ("07.2", flow_loss(drawn=torch.randn), "draw them uniformly"),
    ("07.2", flow_loss(time_first=True), "in the order noise, time, coins"),
    ("07.2", flow_loss(), "the point between pairing(noise, target) and the target"),
    ("07.3", unscaled, "the path in 2 steps"),
    ("07.3", one_late, "you asked at the times 1.00"),
    ("07.3", lambda *given: euler(*given)[-1], "must be an array of shape (2, 5, 3)"),
    ("07.4", of_the_paper, "so that 0 is already following"),
    ("07.4", lambda field, x, t, c, g: g * field(x, t, c), "without a condition is missing"),
    ("07.4", zeros_for_none, "guidance 0: expected"),
    ("07.5", lambda velocity, x, time, size: x + size * velocity(x, time), "asked 1 times"),
    ("07.5", clock_forgotten, "you asked 0.000, 0.000 after its start"),
    ("07.5", heun, "you asked 0.000, 0.349 after its start"),
    ("07.5", lambda f, x, t, size: midpoint(f, x, t, size / 2), "you asked 0.000, 0.087 after"),
    ("07.6", lambda noise, target: noise[torch.cdist(target, noise).argmin(1)], "used once"),
    ("07.6", lambda noise, _: noise, "the squared way of 2 pairs"),
    ("07.6", lambda *given: RIGHT["07.6"](*given).numpy(), "a torch.Tensor, got ndarray"),
    ("07.6", least_way, "expected 2.25, you say 4.25"),
    ("07.6", of_the_noise, "is it the noise of each target"),
    ("07.7", lambda f, x, order: (f(x) - f(x[:, order])).abs().max().item(), "change places too"),
    ("07.7", back_again, "treats all parts alike, 3 parts"),
    ("07.7", lambda f, x, order: (f(x)[:, order] - f(x[:, order])).mean().item(), "you say"),
]
