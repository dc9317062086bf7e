"""Exercises of notebook 04: a grammar, a distance between chains, and the loss of one who hears nothing."""

import itertools
import math

from labkit.lab.exercises import Attempt, NotYet, as_count, as_number
from labkit.measure.metrics import levenshtein
from labkit.signal.seeds import generator

SHELF = ("chorus", "delay", "distortion", "reverb")


def exercise_04_1(attempt: Attempt) -> str:
    """What may follow: `may_follow(pedals_so_far, shelf, longest)` -> the set of next words, e.g. `"separator"`."""
    for length in range(4):
        for so_far in itertools.permutations(SHELF, length):
            for longest in (2, 3):
                if length > longest:
                    continue
                said = attempt(list(so_far), list(SHELF), longest)
                if not isinstance(said, set | list | tuple) or not all(
                    isinstance(word, str) for word in said
                ):
                    raise NotYet(
                        f"a set of words was expected after {length} pedals, got {str(said)[:60]}"
                    )
                expected = {"separator"} | (set(SHELF) - set(so_far) if length < longest else set())
                wrong, missing = set(said) - expected, expected - set(said)
                where = f"after {' '.join(so_far) or 'nothing'} (longest {longest})"
                if wrong:
                    raise NotYet(
                        f"{where} {sorted(wrong)} cannot follow: a board holds each pedal once"
                    )
                if missing:
                    raise NotYet(
                        f"{where} {sorted(missing)} may follow too; the clean sound is a chain as well"
                    )
    return "masking all else before the softmax makes every decoded sentence a chain, however badly trained the network"


def exercise_04_2(attempt: Attempt) -> str:
    """How far apart: `distance(truth, said)` -> fewest insertions, deletions, substitutions of pedals."""
    rng = generator(0, "exercise 04.2")
    for trial in range(60):
        truth, said = (
            list(rng.permutation(SHELF)[: rng.integers(len(SHELF) + 1)]) for _ in range(2)
        )
        mine, expected = (
            as_count(attempt(list(truth), list(said)), "distance"),
            levenshtein(truth, said),
        )
        if mine != expected:
            raise NotYet(
                f"trial {trial}: from {' '.join(truth) or '(clean)'} to {' '.join(said) or '(clean)'} "
                f"takes {expected}, you say {mine}"
            )
    return (
        "two pedals swapped cost 2: order mistakes weigh twice as much as a pedal that is missing"
    )


def exercise_04_3(attempt: Attempt) -> str:
    """The floor of a loss: `deaf_nats(n_pedals)` -> nats per chain when all ordered subsets are equally likely."""
    for n_pedals in (1, 2, 3, 5):
        chains = sum(math.perm(n_pedals, k) for k in range(n_pedals + 1))
        said = as_number(attempt(n_pedals), "deaf_nats")
        if not math.isclose(said, math.log(chains), rel_tol=1e-6):
            raise NotYet(
                f"{n_pedals} pedals make {chains} chains, the clean sound included, so a uniform guess costs "
                f"{math.log(chains):.3f} nats; you say {said:.3f}"
            )
    return "a model whose loss stops there has learnt the list of chains and nothing of the sound"
