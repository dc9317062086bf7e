"""What the exercises of notebook 04 ask for: each compares an attempt with a reference or a law."""

import itertools
import math


from labkit.lab.exercises import Attempt, compare, require
from labkit.measure.metrics import levenshtein
from labkit.signal.seeds import generator


SHELF = ("chorus", "delay", "distortion", "reverb")


def exercise_04_1(attempt: Attempt) -> str:
    """`may_follow(pedals_so_far, shelf, longest)` -> the set of next words, e.g. `"separator"`."""
    for length, longest in ((0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (3, 3)):
        for so_far in itertools.permutations(SHELF, length):
            found = attempt(list(so_far), list(SHELF), longest)
            words = isinstance(found, set | list | tuple) and all(isinstance(w, str) for w in found)
            require(words, f"a set of words was expected after {length} pedals, got {found!r:.60}")
            legal = {"separator", *(set(SHELF) - set(so_far) if length < longest else ())}
            where = f"after {' '.join(so_far) or 'nothing'} (longest {longest})"
            wrong, missing = sorted(set(found) - legal), sorted(legal - set(found))
            reason = "the board is full" if length == longest else "a board holds each pedal once"
            require(not wrong, f"{where} {wrong} cannot follow: {reason}")
            require(not missing, f"{where} {missing} may follow too; the clean sound is a chain")
    return "with all else masked before the softmax, every decoded sentence is a chain"


def exercise_04_2(attempt: Attempt) -> str:
    """`distance(truth, predicted)` -> fewest insertions, deletions, substitutions of pedals."""
    rng = generator(0, "exercise 04.2")
    for _ in range(60):
        truth = list(rng.permutation(SHELF)[: rng.integers(5)])
        other = list(rng.permutation(SHELF)[: rng.integers(5)])
        case = f"edits from {' '.join(truth) or '(clean)'} to {' '.join(other) or '(clean)'}"
        compare(attempt(truth, other), levenshtein(truth, other), case)
    return "two pedals swapped cost 2: an order mistake weighs twice as much as a missing pedal"


def exercise_04_3(attempt: Attempt) -> str:
    """`prior_nats(n_pedals)` -> nats per chain when all ordered subsets are equally likely."""
    for n_pedals in (1, 2, 3, 5):
        chains = sum(math.perm(n_pedals, k) for k in range(n_pedals + 1))
        case = f"{n_pedals} pedals make {chains} chains with the clean sound, nats of a guess"
        compare(attempt(n_pedals), math.log(chains), case)
    return "a model whose loss stops there has learnt the list of chains and nothing of the sound"
