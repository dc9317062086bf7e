"""Wrong answers to notebook 04 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import itertools
import math

may_follow = RIGHT["04.1"]


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def repeats(so_far, shelf, longest):
    return {*shelf, "separator"} if len(so_far) < longest else {"separator"}


def endless(so_far, shelf, longest):
    return {*shelf, "separator"} - set(so_far)


def never_clean(so_far, shelf, longest):
    found = may_follow(so_far, shelf, longest)
    return found if so_far else found - {"separator"}


def places_that_differ(truth, said):
    return sum(a != b for a, b in itertools.zip_longest(truth, said))


def n_chains(n):
    return sum(math.perm(n, k) for k in range(n + 1))


WRONG = [
    ("04.1", repeats, "a board holds each pedal once"),
    ("04.1", endless, "cannot follow: the board is full"),
    ("04.1", never_clean, "the clean sound is a chain"),
    ("04.1", lambda *_: 3, "a set of words was expected"),
    ("04.2", lambda truth, said: len(set(truth) ^ set(said)), "you say"),
    ("04.2", places_that_differ, "you say"),
    ("04.3", lambda n: math.log(2**n), "you say"),
    ("04.3", lambda n: math.log(math.factorial(n)), "nats of a guess: expected"),
    ("04.3", lambda n: math.log2(n_chains(n)), "nats"),
]
