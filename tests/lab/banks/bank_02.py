"""Wrong answers to notebook 02 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import itertools
import math

import numpy as np

held_out = RIGHT["02.1"]


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def by_clip(sources, share, seed):
    return np.random.default_rng(seed).random(len(sources)) < share


def unseeded(sources, share, seed):
    return held_out(sources, share, int(np.random.default_rng().integers(2**31)))


def to_peak(audio, peak_db):
    peak = np.abs(audio).max()
    return audio * (10 ** (peak_db / 20) / peak) if peak > 0 else audio


def per_channel(dry, effect, peak_db):
    return np.stack([to_peak(channel, peak_db) for channel in effect(dry)])


def unsafe(dry, effect, peak_db):
    wet = effect(dry)
    return wet / np.abs(wet).max() * 10 ** (peak_db / 20)


def halved(pedals, pairs):
    return math.ceil(math.factorial(len(pedals)) / 2 ** len(pairs))


def one_swap(pedals, pairs):
    """Orders without a commuting neighbour pair out of the alphabet: misses moves of two steps."""
    return sum(
        not any({a, b} in pairs and a < b for a, b in itertools.combinations(order, 2))
        for order in itertools.permutations(pedals)
    )


WRONG = [
    ("02.1", by_clip, "of 200 guitars have clips on both sides"),
    ("02.1", lambda names, *_: [False] * len(names), "share = 0.2: 0 % of the guitars are held"),
    ("02.1", unseeded, "the same seed gave another split"),
    ("02.1", lambda names, share, _: held_out(names, share, 7), "seeds 0 and 1 gave the same"),
    ("02.1", lambda *_: [True], "held_out must be an array of shape (1200,), got list [True]"),
    ("02.1", lambda *_: [[True], []], "held_out must be an array of shape (1200,)"),
    ("02.2", lambda dry, effect, db: effect(to_peak(dry, db)), "the wet peak is -3.1"),
    ("02.2", lambda dry, effect, db: to_peak(effect(to_peak(dry, 0.0)), db), "at another level"),
    ("02.2", per_channel, "the right channel moved"),
    ("02.2", unsafe, "the wet clip of the silence holds 8000 NaN"),
    ("02.2", lambda dry, effect, db: effect(dry), "dBFS, -1 was asked for"),
    ("02.2", lambda dry, effect, db: to_peak(effect(dry).mean(0), db), "got shape (4000,)"),
    ("02.3", lambda pedals, _: math.factorial(len(pedals)), "in 6 orders: expected 1, you say 6"),
    ("02.3", halved, "in 6 orders: expected 4, you say 3"),
    ("02.3", one_swap, "different sounds of"),
    ("02.3", lambda pedals, pairs: 2 ** len(pedals), "no pair commuting, in 6 orders: expected 6"),
]
