"""Answers to the exercises of notebook 04: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import itertools
import math


def may_follow(pedals_so_far: list[str], shelf: list[str], longest: int) -> set[str]:
    left = set(shelf) - set(pedals_so_far) if len(pedals_so_far) < longest else set()
    return left | {"separator"}


def repeats(pedals_so_far: list[str], shelf: list[str], longest: int) -> set[str]:
    return {*shelf, "separator"} if len(pedals_so_far) < longest else {"separator"}


def endless(pedals_so_far: list[str], shelf: list[str], longest: int) -> set[str]:
    return {*shelf, "separator"} - set(pedals_so_far)


def never_clean(pedals_so_far: list[str], shelf: list[str], longest: int) -> set[str]:
    said = may_follow(pedals_so_far, shelf, longest)
    return said if pedals_so_far else said - {"separator"}


def distance(truth: list[str], said: list[str]) -> int:
    row = list(range(len(said) + 1))
    for i, a in enumerate(truth, start=1):
        above, row = row, [i]
        for j, b in enumerate(said, start=1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (a != b)))
    return row[-1]


def set_difference(truth: list[str], said: list[str]) -> int:
    return len(set(truth) ^ set(said))


def places_that_differ(truth: list[str], said: list[str]) -> int:
    return sum(a != b for a, b in itertools.zip_longest(truth, said))


def deaf_nats(n_pedals: int) -> float:
    return math.log(sum(math.perm(n_pedals, k) for k in range(n_pedals + 1)))


BANK = {
    "04.1": (
        may_follow,
        [
            (repeats, "a board holds each pedal once"),
            (endless, "cannot follow"),
            (never_clean, "the clean sound is a chain as well"),
            (lambda *_: 3, "a set of words was expected"),
        ],
    ),
    "04.2": (distance, [(set_difference, "you say"), (places_that_differ, "you say")]),
    "04.3": (
        deaf_nats,
        [
            (lambda n: math.log(2**n), "you say"),
            (lambda n: math.log(math.factorial(n)), "a uniform guess costs"),
            (lambda n: math.log2(sum(math.perm(n, k) for k in range(n + 1))), "nats"),
        ],
    ),
}
