"""Answers to notebook 06 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np
import torch


def one_sided(f, params, eps):
    return np.array([(f(np.clip(params + s, 0, 1)) - f(params)) / eps for s in eps * np.eye(4)])


def two_eps_at_stops(f, params, eps):
    pairs = [(np.clip(params + s, 0, 1), np.clip(params - s, 0, 1)) for s in eps * np.eye(4)]
    return np.array([(f(up) - f(down)) / (2 * eps) for up, down in pairs])


def past_the_stop(f, params, eps):
    return np.array([(f(params + s) - f(params - s)) / (2 * eps) for s in eps * np.eye(4)])


def knobs_left_turned(f, params, eps):
    found = np.empty(4)
    for k in range(4):
        below = params.copy()
        below[k] = max(0, below[k] - eps)
        params[k] = min(1, params[k] + eps)
        found[k] = (f(params) - f(below)) / (params[k] - below[k])
    return found


def toss(params, eps, rng):
    signs = 2 * rng.integers(0, 2, len(params)) - 1
    return signs, np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)


def halved_at_stops(f, params, eps, rng):
    signs, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / (2 * eps * signs)


def through_the_stop(f, params, eps, rng):
    signs, *_ = toss(params, eps, rng)
    return (f(params + eps * signs) - f(params - eps * signs)) / (2 * eps * signs)


def sign_forgotten(f, params, eps, rng):
    _, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / np.abs(up - down)


def one_by_one(f, params, eps, rng):
    return two_eps_at_stops(f, params, eps)


def never_tossed(f, params, eps, rng):
    up, down = np.clip(params + eps, 0, 1), np.clip(params - eps, 0, 1)
    return (f(up) - f(down)) / (up - down)


def rewards(f, params, sigma, draws, rng):
    noise = rng.standard_normal((draws, len(params)))
    return noise, np.array([f(params + sigma * row) for row in noise])


def no_baseline(f, params, sigma, draws, rng):
    noise, values = rewards(f, params, sigma, draws, rng)
    return (values[:, None] * noise).mean(0) / sigma


def own_baseline(f, params, sigma, draws, rng):
    noise, values = rewards(f, params, sigma, draws, rng)
    return ((values - values.mean())[:, None] * noise).mean(0) / sigma


def not_divided(f, params, sigma, draws, rng):
    noise, values = rewards(f, params, sigma, draws, rng)
    return ((values - f(params))[:, None] * noise).mean(0)


def layer(backward):
    """A plug-in whose backward pass is this function of (weights, render, estimate, knobs)."""

    def plug_in(knobs, render, estimate):
        class PlugIn(torch.autograd.Function):
            @staticmethod
            def forward(ctx, knobs):
                ctx.save_for_backward(knobs)
                return torch.from_numpy(render(knobs.detach().numpy()))

            @staticmethod
            def backward(ctx, upstream):
                return backward(upstream.numpy(), render, estimate, ctx.saved_tensors[0].numpy())

        return PlugIn.apply(knobs)

    return plug_in


@layer
def upstream_ignored(weights, render, estimate, knobs):
    return torch.from_numpy(estimate(lambda at: render(at).sum(), knobs))


@layer
def nothing_sent_back(weights, render, estimate, knobs):
    return None


@layer
def weights_summed(weights, render, estimate, knobs):
    return torch.from_numpy(weights.sum() * estimate(lambda at: render(at).sum(), knobs))


@layer
def sound_sent_back(weights, render, estimate, knobs):
    return torch.from_numpy(weights)


def forgets_its_knobs(knobs, render, estimate):
    return torch.from_numpy(render(knobs.detach().numpy()))


def descent(*, zero=True, clamp=True, copy=True, sgd=False):
    def descend(loss, start, steps, learning_rate):
        knobs = torch.tensor(start, requires_grad=True)
        optimizer = (torch.optim.SGD if sgd else torch.optim.Adam)([knobs], lr=learning_rate)
        path = [start]
        for _ in range(steps):
            if zero:
                optimizer.zero_grad()
            loss(knobs).backward()
            optimizer.step()
            if clamp is True:
                knobs.data.clamp_(0, 1)
            row = knobs.detach().clamp(0, 1) if clamp == "copy" else knobs.detach()
            path.append(row.numpy().copy() if copy else row.numpy())
        return np.stack(path)

    return descend


def rolled(loss, settings, sources):
    mean = np.tile(settings.mean(0), (len(settings), 1))
    return [loss(x).mean() for x in (settings, np.roll(settings, 1, axis=0), mean)]


def mean_of_knobs(loss, settings, sources):
    right = RIGHT["06.6"](loss, settings, sources)
    mean = np.tile(settings.mean(1, keepdims=True), (1, 3))
    return [*right[:2], loss(mean).mean()]


def in_single_precision(loss, start, steps, learning_rate):
    return RIGHT["06.5"](loss, start.astype(np.float32), steps, learning_rate)


ALSO_RIGHT = [
    ("06.1", lambda f, params, eps: RIGHT["06.1"](f, params.astype(np.float32), eps)),
    ("06.5", in_single_precision),
]
WRONG = [
    ("06.1", lambda *given: 0 * given[1], "[0.0, -0.0, 0.0, 0.0] of the slopes"),
    ("06.1", lambda *given: RIGHT["06.1"](*given[:2], 0.01), "at [0.0, 0.6, 1.0, 0.4]"),
    ("06.1", one_sided, "at [0.3, 0.6, 0.5, 0.4]"),
    ("06.1", two_eps_at_stops, "at [0.0, 0.6, 1.0, 0.4], [0.5, 1.0, 0.5, 1.0] of the slopes"),
    ("06.1", past_the_stop, "a knob stops at 0 and at 1"),
    ("06.1", knobs_left_turned, "knobs were turned in one render"),
    ("06.2", halved_at_stops, "at [0.0, 0.6, 1.0, 0.4], [0.5, 0.99, 0.5, 1.01] of the slopes"),
    ("06.2", through_the_stop, "a knob stops at 0 and at 1"),
    ("06.2", sign_forgotten, "of the slopes: expected 2.1621, you say 0.066505 at 3"),
    ("06.2", one_by_one, "needs 2"),
    ("06.2", never_tossed, "toss with rng"),
    ("06.3", no_baseline, "subtract a baseline"),
    ("06.3", own_baseline, "of the slopes"),
    ("06.3", not_divided, "of the slopes"),
    ("06.3", lambda *given: RIGHT["06.2"](*given[:3], given[4]), "2 renders for 4 draws"),
    ("06.4", upstream_ignored, "slope of the sum of the samples"),
    ("06.4", nothing_sent_back, "0 of 2 gradients"),
    ("06.4", sound_sent_back, "your backward raised RuntimeError"),
    ("06.4", weights_summed, "the gradient: expected"),
    ("06.4", forgets_its_knobs, "must know of the 2 knobs"),
    ("06.5", lambda *given: torch.from_numpy(descent()(*given)), "a numpy.ndarray, got Tensor"),
    ("06.5", descent(zero=False), "on a straight slope"),
    ("06.5", descent(clamp=False), "beyond its stop"),
    ("06.5", descent(clamp="copy"), "clamp the knobs themselves"),
    ("06.5", descent(copy=False), "keep a copy of each"),
    ("06.5", descent(sgd=True), "on a straight slope"),
    ("06.6", rolled, "of 6 files got a setting of their own source"),
    ("06.6", mean_of_knobs, "own and mean setting"),
    ("06.6", lambda loss, settings, _: [loss(settings).mean()] * 3, "own and mean setting"),
]
