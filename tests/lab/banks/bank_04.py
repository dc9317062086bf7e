"""Answers to the exercises of notebook 04: `RIGHT`, and `WRONG` ones that people give, with what is said."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import itertools
import math


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def may_follow(so_far, shelf, longest):
    left = set(shelf) - set(so_far) if len(so_far) < longest else set()
    return left | {"separator"}


def repeats(so_far, shelf, longest):
    return {*shelf, "separator"} if len(so_far) < longest else {"separator"}


def endless(so_far, shelf, longest):
    return {*shelf, "separator"} - set(so_far)


def never_clean(so_far, shelf, longest):
    found = may_follow(so_far, shelf, longest)
    return found if so_far else found - {"separator"}


def distance(truth, said):
    row = list(range(len(said) + 1))
    for i, a in enumerate(truth, start=1):
        above, row = row, [i]
        for j, b in enumerate(said, start=1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (a != b)))
    return row[-1]


def places_that_differ(truth, said):
    return sum(a != b for a, b in itertools.zip_longest(truth, said))


def n_chains(n):
    return sum(math.perm(n, k) for k in range(n + 1))


RIGHT = {
    "04.1": may_follow,
    "04.2": distance,
    "04.3": lambda n: math.log(n_chains(n)),
}
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
