"""What the exercises of notebook 08 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from labkit.lab.exercises import Attempt, as_number, compare, require
from labkit.signal.seeds import generator


def exercise_08_1(attempt: Attempt) -> str:
    """`bell_db(hz, centre_hz, gain_db, q)` -> the gain in dB of a bell at one frequency."""
    rng = generator(0, "exercise 08.1")
    for _ in range(30):
        centre, gain, q = 100 * 2 ** rng.uniform(0, 6), rng.uniform(-12, 12), rng.uniform(0.4, 4)
        compare(
            attempt(centre, centre, gain, q), gain, "the gain of a bell at its centre", near=1e-6
        )
        ratio = 2 ** rng.uniform(0.2, 3)
        # |H(jx)| of (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), by complex arithmetic.
        s, amplitude = 1j * ratio, 10 ** (gain / 40)
        response = (s * s + s * amplitude / q + 1) / (s * s + s / (amplitude * q) + 1)
        expected = 20 * math.log10(abs(response))
        place = f"{np.log2(ratio):.2f} octaves"
        up = as_number(attempt(centre * ratio, centre, gain, q), "bell_db")
        down = attempt(centre / ratio, centre, gain, q)
        compare(down, up, f"{place} below the centre must be as {place} above", near=1e-6)
        compare(up, expected, f"{place} from a bell of {gain:.2f} dB and Q {q:.2f}", near=1e-6)
    return "gradients pass through this formula, so a network learns an equaliser without filtering"


def exercise_08_2(attempt: Attempt) -> str:
    """`gains_for(basis, wanted_db, penalty)` -> gains by ridge regression."""
    rng = generator(0, "exercise 08.2")
    for bands, points in ((2, 8), (3, 8), (5, 40)):
        basis, wanted = rng.normal(size=(bands, points)), rng.normal(size=points)
        for penalty in (0.0, 0.5, 40.0):
            normal = basis @ basis.T + penalty * np.eye(bands)
            rules = (
                (np.linalg.lstsq(basis.T, wanted)[0], "the penalty changes nothing"),
                (basis @ wanted, "the bands overlap: divide by what they share, basis @ basis.T"),
                (basis @ wanted / (basis**2).sum(1), "each band alone: they share frequencies"),
            )
            case = f"{bands} bands, {points} frequencies, penalty {penalty:g}"
            expected = np.linalg.solve(normal, basis @ wanted)
            found = attempt(basis, wanted, penalty)
            compare(found, expected, case, near=1e-8, hints=rules, of=np.ndarray)
    return "the penalty keeps two neighbours from fighting with +30 and -30 dB over one octave"


def exercise_08_3(attempt: Attempt) -> str:
    """`recall(asked, keys, values, width)` -> values averaged by softmax of nearness."""
    rng = generator(0, "exercise 08.3")
    for _ in range(20):
        keys, values = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
        asked = keys[2] + 0.01 * rng.normal(size=3)
        weights = np.exp(-((keys - asked) ** 2).sum(1) / (2 * 0.8**2))
        for width, expected, near, rule in (
            (0.02, values[2], 1e-3, "the nearest memory is recalled as it is"),
            (1e4, values.mean(0), 1e-3, "all memories count alike, in a mean"),
            (0.8, weights @ values / weights.sum(), 1e-6, "softmax(-distance^2 / (2 width^2))"),
        ):
            found, case = attempt(asked, keys, values, width), f"{width = :g}, {rule}"
            compare(found, expected, case, near=near, of=np.ndarray)
    return "kernel regression is attention with distances for scores: it knows what it remembers"


def exercise_08_4(attempt: Attempt) -> str:
    """`info_nce(text, sound, temperature)` -> the symmetric contrastive loss."""
    rng = torch.Generator().manual_seed(4)
    for n, width, temperature in ((2, 3, 0.7), (8, 5, 0.1), (16, 4, 0.5)):
        pair = (F.normalize(torch.randn(n, width, generator=rng), dim=-1) for _ in range(2))
        text, sound = (one.double() for one in pair)
        alike, right = text @ sound.T, torch.arange(n)
        to_sound = F.cross_entropy(alike / temperature, right)
        to_text = F.cross_entropy(alike.T / temperature, right)
        both_ways = (F.cross_entropy(alike, right) + F.cross_entropy(alike.T, right)) / 2
        rules = (
            (to_sound, "only from text to sound; add the direction from sound to text"),
            (to_text, "only from sound to text; add the direction from text to sound"),
            (to_sound + to_text, "the two directions are added; take their mean"),
            (both_ways, "the temperature changes nothing"),
            ((1 - alike.diagonal()).mean(), "the other pairs of the batch must push away"),
        )
        case = f"{n} pairs, temperature {temperature:g}, loss in nats"
        expected = float((to_sound + to_text) / 2)
        compare(attempt(text, sound, temperature), expected, case, near=1e-5, hints=rules)
    leaf = text.clone().requires_grad_()
    loss = attempt(leaf, sound, 0.5)
    require(getattr(loss, "requires_grad", 0), f"{n} texts get no gradient: stay in torch")
    return "every other pair of the batch is a wrong answer: no one has to write down opposites"


def exercise_08_5(attempt: Attempt) -> str:
    """`cross_attention(queries, keys, values, present)` -> a mean of values for each query."""
    rng = torch.Generator().manual_seed(5)
    queries, keys, values = (
        torch.randn(2, n, width, generator=rng).double() for n, width in ((3, 4), (6, 4), (6, 5))
    )
    for n_words in (6, 4, 1):
        present = torch.arange(6) < n_words
        words = f"{n_words} of 6 places hold a word"
        found = attempt(queries, keys, values, present)
        expected = F.scaled_dot_product_attention(queries, keys, values, present.expand(3, 6))
        scores = queries @ keys.transpose(-1, -2)
        weights = (scores / 2).softmax(-1)
        unscaled = scores.masked_fill(~present, -torch.inf).softmax(-1) @ values
        rules = (
            (weights @ values, "empty places get a weight: hide them before the softmax"),
            ((weights * present) @ values, "weights of words no longer add up to one"),
            (unscaled, "divide the scores by the square root of the width, 2 here"),
        )
        compare(found, expected.numpy(), words, near=1e-6, hints=rules, of=torch.Tensor)
        other = torch.where(present[:, None], values, values + 100)
        moved = np.abs(np.asarray(attempt(queries, keys, other, present)) - np.asarray(found)).max()
        require(
            moved < 1e-6, f"{words}: what stands in an empty place moves the answer {moved:.3g}"
        )
    return "a parameter takes its mean over the words that are there, however long the sentence is"


def exercise_08_6(attempt: Attempt) -> str:
    """`degree(words)` -> the signed weight of the last word."""
    for words, expected in {
        "bright": 1.0,
        "very bright": 1.4,
        "very very bright": 1.96,
        "slightly bright": 0.3,
        "less bright": -1.0,
        "slightly less bright": -0.3,
        "very slightly less bright": -0.42,
        "not bright": -0.5,
    }.items():
        compare(attempt(words.split()), expected, f"the weight of {words!r}")
    return "signs and degrees multiply: one rule answers sentences that no data set holds"
