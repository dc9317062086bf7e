"""What the exercises of notebook 02 ask for: each compares an attempt with a reference or a law."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from labkit.lab.exercises import Attempt, as_array, compare, require
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude


def exercise_02_1(attempt: Attempt) -> str:
    """Held-out clips: `held_out(sources, share, seed)` -> True where a clip is of the test set."""
    rng = generator(0, "exercise 02.1")
    sources = np.array([f"guitar-{k:03d}" for k in rng.permutation(np.repeat(np.arange(200), 6))])

    def held_out(share: float, seed: int) -> np.ndarray:
        answer = attempt(sources.tolist(), share, seed)
        return as_array(answer, sources.shape, "held_out").astype(bool)

    for share in (0.2, 0.5):
        mask = held_out(share, 0)
        tested = set(sources[mask])
        leaking = len(tested & set(sources[~mask]))
        require(
            not leaking,
            f"{leaking} of 200 guitars have clips on both sides; a model can know the "
            "guitar instead of the effect, and the test will not show it",
        )
        near = abs(len(tested) / 200 - share) <= 0.1
        require(near, f"share = {share}: {len(tested) / 2:.0f} % of the guitars are held out")
        changed = int((held_out(share, 0) != mask).sum())
        require(not changed, f"the same seed gave another split: {changed} clips changed sides")
        other = (held_out(share, 1) != mask).any()
        require(other, "seeds 0 and 1 gave the same split: use the seed")
    return "draw the guitars, not the clips; renders of one recording are one observation"


def exercise_02_2(attempt: Attempt) -> str:
    """`example(dry, effect, peak_db)` -> the wet clip, its peak at `peak_db`."""
    rng = generator(0, "exercise 02.2")
    guitar = rng.normal(0, 0.08, (2, 4000)) * np.exp(-np.arange(4000) / 1500)
    guitar[1] *= 0.5
    cases = {"stereo guitar": guitar, "quiet guitar": 0.01 * guitar, "silence": 0 * guitar}
    for (name, dry), peak_db in itertools.product(cases.items(), (-1.0, -6.0)):
        wet = as_array(attempt(dry, _drive, peak_db), dry.shape, f"the wet clip of the {name}")
        peak = db_to_amplitude(peak_db)
        expected = _drive(dry)
        if name == "silence":
            compare(wet, expected, "silence in, silence out")
            continue
        reached_db = 20 * math.log10(np.abs(wet).max() + 1e-30)
        require(
            abs(reached_db - peak_db) <= 0.01,
            f"{name}: the wet peak is {reached_db:.2f} dBFS, {peak_db:g} was asked for",
        )
        alone = expected / np.abs(expected).max(1, keepdims=True) * peak
        expected *= peak / np.abs(expected).max()
        hints = [(alone, "the right channel moved: use one factor for both")]
        what = f"{name}: right peak, but no constant times effect(dry): was dry at another level?"
        compare(wet, expected, what, near=1e-4 * peak, hints=hints)
    return "effects depend on the player's level; normalise after the last one, all channels alike"


def _drive(audio: np.ndarray) -> np.ndarray:
    """An effect whose sound depends on the level of its input."""
    return np.tanh(6.0 * np.asarray(audio, dtype=np.float64)) * 0.7


def exercise_02_3(attempt: Attempt) -> str:
    """How many orders can be told apart: `count(pedals, commuting)`, a set of frozensets of two."""
    linear = list(itertools.combinations(("reverb", "delay", "EQ"), 2))
    for pedals, pairs in (
        (("distortion", "chorus", "reverb"), []),
        (("gain", "EQ", "delay"), [("gain", "EQ"), ("gain", "delay"), ("EQ", "delay")]),
        (("distortion", "reverb", "delay"), [("reverb", "delay")]),
        (("distortion", "chorus", "reverb", "delay", "EQ"), [*linear, ("chorus", "EQ")]),
        (("distortion",), []),
    ):
        commuting = {frozenset(pair) for pair in pairs}
        words = ", ".join("-".join(pair) for pair in pairs) or "no pair"
        orders = math.factorial(len(pedals))
        case = f"different sounds of {', '.join(pedals)} with {words} commuting, in {orders} orders"
        compare(attempt(list(pedals), commuting), count_sounds(pedals, commuting), case)
    return "nobody can name more orders than there are sounds; score against that count, not n!"


def count_sounds(pedals: Sequence[str], commuting: set[frozenset[str]]) -> int:
    """Orders that differ in at least one pair of pedals that do not commute."""
    pairs = [p for p in itertools.combinations(pedals, 2) if frozenset(p) not in commuting]
    orders = itertools.permutations(pedals)
    return len({tuple(order.index(a) < order.index(b) for a, b in pairs) for order in orders})
