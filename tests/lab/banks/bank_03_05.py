"""Answers to the exercises of notebooks 03 to 05: right ones, and the wrong ones people give."""

# ruff: noqa: ARG001, ARG005 - a wrong answer often ignores what it was given

import itertools
import math

import numpy as np


def bits_per_second(rate, hop, n_codebooks, size):
    return rate / hop * n_codebooks * math.log2(size)


def expire(book, codes, vectors, seed):
    idle = np.setdiff1d(np.arange(len(book)), codes)
    book[idle] = vectors[np.random.default_rng(seed).integers(len(vectors), size=len(idle))]
    return book


def all_moved(book, codes, vectors, seed):
    return vectors[np.random.default_rng(seed).integers(len(vectors), size=len(book))]


def to_zero(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = 0
    return book


def all_on_one(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = vectors[seed]
    return book


def stacked(codes, tables):
    return tables[np.arange(len(codes))[:, None], codes]


def embed(codes, tables):
    return stacked(codes, tables).sum(0)


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


def depth_of(clean, wet):
    kept = np.abs(wet) < 0.9
    weight = (1 - wet[kept] ** 2) ** 2
    return (weight * clean[kept] * np.arctanh(wet[kept])).sum() / (weight * clean[kept] ** 2).sum()


def every_sample(clean, wet):
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def depth_and_level(clean, wet):
    best = (np.inf, 1.0, 1.0)
    for depth in np.geomspace(1, 10, 400):
        bent = np.tanh(depth * clean)
        level = (bent * wet).sum() / (bent * bent).sum()
        best = min(best, (((wet - level * bent) ** 2).sum(), depth, level))
    return best[1:]


def level_from_the_peak(clean, wet):
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


def slope(x, depth):
    return depth * x * (1 - np.tanh(depth * x) ** 2)


RIGHT = {
    "03.1": bits_per_second,
    "03.2": expire,
    "03.3": embed,
    "04.1": may_follow,
    "04.2": distance,
    "04.3": lambda n: math.log(n_chains(n)),
    "05.1": depth_of,
    "05.2": depth_and_level,
    "05.3": slope,
}
WRONG = [
    ("03.1", lambda rate, hop, n, size: rate / hop * n * size, "a word needs 10 bits"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(size), "9 codebooks of 1024"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(n * size), "you say"),
    ("03.1", lambda *_: "8 kbit/s", "must be one finite number"),
    ("03.2", all_moved, "words that are in use have moved"),
    ("03.2", to_zero, "do not lie on one of the vectors"),
    ("03.2", all_on_one, "draw one for each"),
    ("03.2", lambda book, codes, vectors, _: expire(book, codes, vectors, 7), "seeds 0, 0 and 1"),
    ("03.2", lambda book, *_: book[:3], "must be an array of shape (16, 3)"),
    ("03.3", lambda codes, t: codes.T.astype(float) @ t.mean(1), "it uses the names as numbers"),
    ("03.3", lambda codes, tables: tables[0][codes].sum(0), "each codebook has a table of its own"),
    ("03.3", lambda codes, tables: stacked(codes, tables).mean(0), "a frame is the sum"),
    ("03.3", stacked, "must be an array of shape (5, 3)"),
    ("04.1", repeats, "a board holds each pedal once"),
    ("04.1", endless, "cannot follow"),
    ("04.1", never_clean, "the clean sound is a chain as well"),
    ("04.1", lambda *_: 3, "a set of words was expected"),
    ("04.2", lambda truth, said: len(set(truth) ^ set(said)), "you say"),
    ("04.2", places_that_differ, "you say"),
    ("04.3", lambda n: math.log(2**n), "you say"),
    ("04.3", lambda n: math.log(math.factorial(n)), "nats of a uniform guess: expected"),
    ("04.3", lambda n: math.log2(n_chains(n)), "nats"),
    ("05.1", lambda clean, wet: np.mean(np.arctanh(wet) / clean), "finite number"),
    ("05.1", every_sample, "came back as"),
    ("05.1", lambda clean, wet: (clean * wet).sum() / (clean**2).sum(), "came back as"),
    ("05.1", lambda _, wet: np.arctanh(min(np.abs(wet).max(), 0.99999)), "came back as"),
    ("05.2", lambda clean, wet: (depth_of(clean, wet), 1.0), "the peak of wet is"),
    ("05.2", level_from_the_peak, "the peak of wet is"),
    ("05.2", lambda clean, wet: (depth_and_level(clean, wet)[0], 1.0), "came back as 1.000"),
    ("05.2", lambda *_: 3, "two numbers were expected"),
    ("05.3", lambda x, depth: slope(x, depth) / depth, "moves the output by"),
    ("05.3", lambda x, depth: depth * (1 - np.tanh(depth * x) ** 2), "moves the output by"),
    ("05.3", lambda x, depth: depth * x, "moves the output by"),
]
