"""What the exercises of notebook 05 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np
import torch

from labkit.effects.saturation import saturate
from labkit.lab.exercises import Attempt, as_array, as_number, compare, require
from labkit.signal.seeds import generator

DEPTHS = (1.3, 2.8, 6.4, 9.5)


def _tone(name: str, n: int = 4000) -> np.ndarray:
    """A decaying tone with peak 1 and a silent beginning."""
    phases = generator(0, "exercise", name).random(5)
    t, k = np.arange(n) / n, np.arange(1, 6)[:, None]
    tone = (np.sin(2 * np.pi * (31 * k * t + phases[:, None])) * np.exp(-3 * k * t) / k).sum(0)
    tone[: n // 20] = 0.0
    return tone / np.abs(tone).max()


def exercise_05_1(attempt: Attempt) -> str:
    """`asymmetric(x, depth, offset)` -> tanh(depth (x + offset)), silence at 0; (samples,)."""
    x = _tone("05.1")
    for depth, offset in ((1.3, 0.4), (6.4, -0.1)):
        bent = np.tanh(depth * (x + offset))
        hints = [
            (bent, f"silence comes out at {bent[0]:.2f}"),
            (bent - bent.mean(), f"the mean is 0 now, and silence comes out at {-bent.mean():.2f}"),
            (np.tanh(depth * x + offset) - np.tanh(offset), "the offset is added before the depth"),
        ]
        case = f"depth {depth}, offset {offset}"
        answer = attempt(x, depth, offset)
        compare(answer, bent - bent[0], case, hints=hints, of=np.ndarray)
    return "the curve is no longer odd, f(-x) = -f(x), so even harmonics appear"


def exercise_05_2(attempt: Attempt) -> str:
    """`oversampled(curve, x, factor)` -> curve(x) computed at `factor` times the rate; shape of x.

    The law: a sine keeps its harmonics below half the rate and gets nothing in between.
    """
    left_db = _oversampled_db(attempt, lambda u: np.tanh(10 * u), 4, 1000, "a 5 kHz sine, depth 10")
    _oversampled_db(attempt, lambda u: u**3, 3, 1800, "a 9 kHz sine, the curve u ** 3, factor 3")
    return f"what is wrong in a 5 kHz sine at depth 10 falls from -12.6 dB to {left_db:.1f} dB"


def _oversampled_db(
    attempt: Attempt, curve: Attempt, factor: int, periods: int, case: str
) -> float:
    """What differs from the right sound, in dB of it, for so many periods in 0.2 s at 44.1 kHz."""
    n = 8821  # no multiple of a factor: so the number of samples tells the factor
    middle, sizes = slice(n // 10, -n // 10), []

    def noted(u: np.ndarray) -> np.ndarray:
        sizes.append(np.size(u))
        return curve(u)

    sine, fine = (np.sin(2 * np.pi * periods * np.arange(m) / m) for m in (n, 64 * n))
    ideal = np.fft.irfft(np.fft.rfft(curve(fine))[: n // 2 + 1] / 64, n)[middle]
    found = as_array(attempt(noted, sine, factor), (n,), "the curve's output", of=np.ndarray)
    require(sizes, f"{case}: the curve was asked 0 times: apply the one that you are given")
    plain = np.allclose(found, curve(sine), atol=1e-6)
    hint = ", exactly as without oversampling: filter before the extra samples are dropped"
    left_db = 10 * np.log10(np.mean((found[middle] - ideal) ** 2) / np.mean(ideal**2) + 1e-12)
    require(
        left_db < -30,
        f"{case}: alias, loss and delay together are {left_db:.1f} dB of the right sound, "
        f"at most -30 is asked{hint if plain else ''}",
    )
    for size in sizes:
        require(size % factor == 0, f"{case}: of {n} samples the curve got {size}: which factor?")
    return left_db


def exercise_05_3(attempt: Attempt) -> str:
    """`depth_of(clean, wet)` -> the depth of wet = tanh(depth clean), (samples,), 16 bits.

    The law: over 24 tones it scatters as far as the Cramér-Rao bound for rounding to 16 bits says.
    """
    for depth in DEPTHS:
        ratios = []
        for clean in (_tone(f"05.3 {k}") for k in range(24)):
            wet = np.round(saturate(clean, depth) * 32767) / 32767
            slope = clean * (1 - np.tanh(depth * clean) ** 2)
            bound = 1 / 32767 / math.sqrt(12) / math.sqrt((slope**2).sum())
            answer = attempt(clean, wet)
            found = as_number(answer, "the depth")
            words = f"the depth must be 1 number, got shape {np.shape(answer)}"
            require(np.ndim(answer) == 0, words)
            ratios.append((found - depth) / bound)
        times, share = np.sqrt(np.mean(np.square(ratios))), np.mean(np.abs(wet) > 0.999)
        words = f"depth {depth}: your error is {times:.1f} times what 16 bits make inevitable"
        hint = f"{share:.0%} of the last tone lie above .999: how far can those be trusted?"
        require(times < 1.33, f"{words} (1.33 at most); {hint}")
    return "a weighted straight line is as exact as 16 bits allow; no training can beat that"


def exercise_05_4(attempt: Attempt) -> str:
    """`depth_and_level(clean, wet)` -> (depth, level) of wet = level * tanh(depth clean)."""
    clean = _tone("05.4")
    for depth, level in zip(DEPTHS, (0.31, 0.9, 0.12, 0.55), strict=True):
        wet = level * saturate(clean, depth)
        found = as_array(attempt(clean, wet), (2,), "(depth, level)")
        peak = f"the peak of wet is {np.abs(wet).max():.3f}"
        compare(found[0], depth, f"depth at level {level}; {peak}", near=0.01 * depth)
        compare(found[1], level, f"level at depth {depth}", near=0.01 * level)
    return "the best level of each depth is a quotient of two sums: only the depth is searched"


def exercise_05_5(attempt: Attempt) -> str:
    """`slope(x, depth)` -> d tanh(depth x) / d log(depth) for samples x, shape of x."""
    x = _tone("05.5", 600)
    step = 1e-5
    for depth in DEPTHS:
        up, down = (np.tanh(depth * math.exp(sign * step) * x) for sign in (1, -1))
        hints = [
            (depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
            (x * (1 - np.tanh(depth * x) ** 2), "that is the slope over depth, not its logarithm"),
        ]
        case = f"depth {depth}: what a small step of log(depth) moves the output by, a unit"
        right = (up - down) / (2 * step)
        compare(attempt(x, depth), right, case, near=1e-6, hints=hints, of=np.ndarray)
    return "a sample deep in the curve moves no more: only quiet samples tell the depth there"


def exercise_05_6(attempt: Attempt) -> str:
    """`gaussian_nll(mean, log_spread, target)` -> (b,) nats, all tensors (b,)."""
    rng = generator(0, "exercise", "05.6")
    mean, log_spread, target = torch.from_numpy(rng.standard_normal((3, 64)))
    right = -torch.distributions.Normal(mean, log_spread.exp()).log_prob(target)
    half = (target - mean).square() * torch.exp(-2 * log_spread) / 2
    hints = [
        (half.numpy(), "an infinite spread costs nothing: the density's factor is missing"),
        ((right - 0.5 * math.log(2 * math.pi)).numpy(), "only log(2 pi) / 2 is missing"),
        (-right.numpy(), "that is the log likelihood; its negative is asked"),
        (right.mean().numpy(), "that is the mean; one value for each clip is asked"),
    ]
    answer, case = attempt(mean, log_spread, target), "64 clips, in nats"
    compare(answer, right.numpy(), case, hints=hints, of=torch.Tensor)
    answer = attempt(mean, log_spread.requires_grad_(), target)
    require(answer.requires_grad, f"{case}: the loss has no gradient: stay in torch")
    return "who states too small a spread pays for the error, who states too large a one for that"


def exercise_05_7(attempt: Attempt) -> str:
    """`coverage(error, spread, share)` -> how many errors lie in the central interval; (b,)."""
    rng = generator(0, "exercise", "05.7")
    spread = rng.uniform(0.1, 2.0, 4000)
    error = spread * rng.laplace(size=4000)
    for share in (0.2, 0.5, 0.95):
        inside = np.mean(np.abs(error) < -math.log(1 - share) * spread)
        half = np.mean(np.abs(error) < share * spread)
        hints = [
            (half, "the interval ends at the quantile of the Laplace density, not at the share"),
            (np.mean(error < -math.log(1 - share) * spread), "an error can be negative, too"),
        ]
        case = f"of 4000 Laplace errors, inside the interval that claims {share:.0%}"
        compare(attempt(error, spread, share), float(inside), case, near=1e-3, hints=hints)
    return "a spread is a claim about errors, and counting tests it"
