"""Answers to the exercises of notebook 02: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG001, ARG005 - a wrong answer often ignores what it was given

import itertools
import math
from collections.abc import Callable

import numpy as np


def held_out_solution(sources: list[str], share: float, seed: int) -> list[bool]:
    names = sorted(set(sources))
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    return [name in set(drawn) for name in sources]


def by_clip(sources: list[str], share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(len(sources)) < share


def last_clips(sources: list[str], share: float, seed: int) -> list[bool]:
    return [k >= (1 - share) * len(sources) for k in range(len(sources))]


def unseeded(sources: list[str], share: float, seed: int) -> list[bool]:
    return held_out_solution(sources, share, int(np.random.default_rng().integers(2**31)))


def seed_ignored(sources: list[str], share: float, seed: int) -> list[bool]:
    return held_out_solution(sources, share, 7)


Effect = Callable[[np.ndarray], np.ndarray]


def to_peak(audio: np.ndarray, peak_db: float) -> np.ndarray:
    peak = np.abs(audio).max()
    return audio * (10 ** (peak_db / 20) / peak) if peak > 0 else audio


def example_solution(dry: np.ndarray, effect: Effect, peak_db: float) -> np.ndarray:
    return to_peak(effect(dry), peak_db)


def per_channel(dry: np.ndarray, effect: Effect, peak_db: float) -> np.ndarray:
    return np.stack([to_peak(channel, peak_db) for channel in effect(dry)])


def unsafe(dry: np.ndarray, effect: Effect, peak_db: float) -> np.ndarray:
    wet = effect(dry)
    return wet / np.abs(wet).max() * 10 ** (peak_db / 20)


def count_solution(pedals: list[str], commuting: set[frozenset[str]]) -> int:
    def lowest(order: tuple[str, ...]) -> tuple[str, ...]:
        """Always take the alphabetically first pedal that can be moved to the front: one form for each sound."""
        left, made = list(order), []
        while left:
            free = [
                p
                for k, p in enumerate(left)
                if all(frozenset((p, q)) in commuting for q in left[:k])
            ]
            left.remove(min(free))
            made.append(min(free))
        return tuple(made)

    return len({lowest(order) for order in itertools.permutations(pedals)})


def halved(pedals: list[str], commuting: set[frozenset[str]]) -> int:
    return math.ceil(math.factorial(len(pedals)) / 2 ** len(commuting))


def one_swap(pedals: list[str], commuting: set[frozenset[str]]) -> int:
    """Counts orders without a commuting neighbour pair out of the alphabet, which misses moves of two steps."""
    return sum(
        not any(
            frozenset(pair) in commuting and pair[0] < pair[1]
            for pair in itertools.combinations(order, 2)
        )
        for order in itertools.permutations(pedals)
    )


BANK = {
    "02.1": (
        held_out_solution,
        [
            (by_clip, "of 200 guitars have clips on both sides"),
            (last_clips, "of 200 guitars have clips on both sides"),
            (
                lambda sources, share, seed: [False] * len(sources),
                "share = 0.2: 0 % of the guitars are held out",
            ),
            (unseeded, "the same seed gave another split"),
            (seed_ignored, "seeds 0 and 1 gave the same split"),
            (
                lambda sources, share, seed: [True],
                "held_out must be an array of shape (1200,), got list [True]",
            ),
            (
                lambda sources, share, seed: [[True], []],
                "held_out must be an array of shape (1200,)",
            ),
        ],
    ),
    "02.2": (
        example_solution,
        [
            (lambda dry, effect, peak_db: effect(to_peak(dry, peak_db)), "the wet peak is -3.1"),
            (
                lambda dry, effect, peak_db: to_peak(effect(to_peak(dry, 0.0)), peak_db),
                "played at another level",
            ),
            (per_channel, "the right channel moved"),
            (unsafe, "the wet clip of the silence holds 8000 NaN"),
            (lambda dry, effect, peak_db: effect(dry), "dBFS, -1 was asked for"),
            (
                lambda dry, effect, peak_db: to_peak(effect(dry).mean(0), peak_db),
                "shape (2, 4000), got shape (4000,)",
            ),
            (
                lambda dry, effect, peak_db: dry.no_such_method(),
                "your function raised AttributeError",
            ),
        ],
    ),
    "02.3": (
        count_solution,
        [
            (
                lambda pedals, commuting: math.factorial(len(pedals)),
                "6 orders make 1 different sounds, you say 6",
            ),
            (halved, "6 orders make 4 different sounds, you say 3"),
            (one_swap, "different sounds, you say"),
            (
                lambda pedals, commuting: 2 ** len(pedals),
                "no pair commuting: 6 orders make 6 different sounds, you say 8",
            ),
        ],
    ),
}
