"""Exercises of notebook 02: splits that do not leak, normalising in the right place, orders that sound the same."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_count
from labkit.signal.seeds import generator


def exercise_02_1(attempt: Attempt) -> str:
    """Held-out clips without leakage: `held_out(sources, share, seed)` -> True where a clip belongs to the test set."""
    rng = generator(0, "exercise 02.1")
    sources = [f"guitar-{k:03d}" for k in rng.permutation(np.repeat(np.arange(200), 6))]
    for share in (0.2, 0.5):
        mask = as_array(attempt(list(sources), share, 0), (len(sources),), "held_out").astype(bool)
        split = {
            name: {bool(m) for s, m in zip(sources, mask, strict=True) if s == name}
            for name in set(sources)
        }
        leaking = sum(len(sides) == 2 for sides in split.values())
        if leaking:
            raise NotYet(
                f"{leaking} of {len(split)} guitars have clips on both sides; a model can know the guitar instead of "
                "the effect, and the test will not show it"
            )
        held = sum(True in sides for sides in split.values()) / len(split)
        if abs(held - share) > 0.1:
            raise NotYet(f"share = {share}: {100 * held:.0f} % of the guitars are held out")
        again = as_array(attempt(list(sources), share, 0), mask.shape, "held_out").astype(bool)
        if (again != mask).any():
            raise NotYet(
                f"the same seed gave another split: {int((again != mask).sum())} clips changed sides"
            )
        other = as_array(attempt(list(sources), share, 1), mask.shape, "held_out").astype(bool)
        if (other == mask).all():
            raise NotYet("seeds 0 and 1 gave the same split: use the seed")
    return "draw the guitars, not the clips; renders of one recording are one observation"


def _drive(audio: np.ndarray) -> np.ndarray:
    """A level-driven effect: what comes out depends on how loud it goes in."""
    return np.tanh(6.0 * np.asarray(audio, dtype=np.float64)) * 0.7


def exercise_02_2(attempt: Attempt) -> str:
    """Normalise where it belongs: `example(dry, effect, peak_db)` -> the wet clip, its peak at `peak_db`."""
    rng = generator(0, "exercise 02.2")
    guitar = rng.normal(0, 0.08, (2, 4000)) * np.exp(-np.arange(4000) / 1500)
    guitar[1] *= 0.5
    for name, dry in {
        "stereo guitar": guitar,
        "quiet guitar": 0.01 * guitar,
        "silence": 0 * guitar,
    }.items():
        for peak_db in (-1.0, -6.0):
            with np.errstate(all="ignore"):
                wet = as_array(
                    attempt(dry.copy(), _drive, peak_db), dry.shape, f"the wet clip of the {name}"
                )
            if name == "silence":
                if wet.any():
                    raise NotYet(f"silence in, but a peak of {np.abs(wet).max():.3g} out")
                continue
            _judge_level(name, wet, _drive(dry), peak_db)
    return "effects hear the level the player gave; normalise after the last one, with one factor for all channels"


def _judge_level(name: str, wet: np.ndarray, expected: np.ndarray, peak_db: float) -> None:
    peak = float(np.abs(wet).max())
    if not peak:
        raise NotYet(f"{name}: the wet clip is silent")
    if abs(20 * math.log10(peak) - peak_db) > 0.01:
        raise NotYet(
            f"{name}: the wet peak is {20 * math.log10(peak):.2f} dBFS, {peak_db:g} was asked for"
        )
    factors = [float(w @ e / (e @ e)) for w, e in zip(wet, expected, strict=True)]
    residual = np.abs(wet - np.array(factors)[:, None] * expected).max() / peak
    if residual > 1e-4:
        raise NotYet(
            f"{name}: even at equal level the clip differs from effect(dry) by {100 * residual:.1f} % of its peak: "
            "the effect was played at another level than the dry clip's"
        )
    if abs(factors[1] / factors[0] - 1) > 1e-4:
        shift_db = 20 * math.log10(abs(factors[1] / factors[0]))
        raise NotYet(
            f"{name}: the right channel moved {shift_db:+.1f} dB against the left; use one factor for both"
        )


def _sounds(pedals: Sequence[str], commuting: set[frozenset[str]]) -> int:
    """Orders that cannot be turned into each other by swapping neighbours that commute: counted one by one."""
    unseen, classes = set(itertools.permutations(pedals)), 0
    while unseen:
        classes += 1
        reach = [unseen.pop()]
        while reach:
            order = reach.pop()
            for k in range(len(order) - 1):
                swapped = (*order[:k], order[k + 1], order[k], *order[k + 2 :])
                if frozenset(order[k : k + 2]) in commuting and swapped in unseen:
                    unseen.remove(swapped)
                    reach.append(swapped)
    return classes


def exercise_02_3(attempt: Attempt) -> str:
    """How many orders can be told apart: `count(pedals, commuting)`, commuting a set of frozensets of two names."""
    linear = [frozenset(pair) for pair in itertools.combinations(("reverb", "delay", "EQ"), 2)]
    cases = [
        (("distortion", "chorus", "reverb"), []),
        (("gain", "EQ", "delay"), [("gain", "EQ"), ("gain", "delay"), ("EQ", "delay")]),
        (("distortion", "reverb", "delay"), [("reverb", "delay")]),
        (("distortion", "reverb", "delay", "EQ"), linear),
        (("distortion", "chorus", "reverb", "delay", "EQ"), [*linear, ("chorus", "EQ")]),
        (("compressor", "EQ", "phaser", "gain"), [("EQ", "gain"), ("phaser", "gain")]),
        (("distortion",), []),
    ]
    for pedals, pairs in cases:
        commuting = {frozenset(pair) for pair in pairs}
        answer = as_count(attempt(list(pedals), set(commuting)), "the number of orders")
        counted = _sounds(pedals, commuting)
        if answer != counted:
            words = ", ".join("-".join(sorted(pair)) for pair in commuting) or "no pair"
            raise NotYet(
                f"{', '.join(pedals)} with {words} commuting: {math.factorial(len(pedals))} orders make {counted} "
                f"different sounds, you say {answer}"
            )
    return "no listener and no model can name more orders than there are sounds; score against the count, not against n!"
