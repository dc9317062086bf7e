"""Wrong answers to notebook 03 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

import numpy as np

expire = RIGHT["03.2"]


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


WRONG = [
    ("03.1", lambda rate, hop, n, size: rate / hop * n * size, "a word needs 10 bits"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(size), "9 codebooks of 1024"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(n * size), "you say"),
    ("03.1", lambda *_: "8 kbit/s", "must be one finite number"),
    ("03.2", all_moved, "words that are in use have moved"),
    ("03.2", to_zero, "idle words do not lie on one of the vectors"),
    ("03.2", all_on_one, "draw one for each"),
    ("03.2", lambda book, codes, vectors, _: expire(book, codes, vectors, 7), "seeds 0, 0 and 1"),
    ("03.2", lambda book, *_: book[:3], "must be an array of shape (16, 3)"),
    ("03.3", lambda codes, t: codes.T.astype(float) @ t.mean(1), "it uses the names as numbers"),
    ("03.3", lambda codes, tables: tables[0][codes].sum(0), "each codebook has a table of its own"),
    ("03.3", lambda codes, tables: stacked(codes, tables).mean(0), "a frame is the sum"),
    ("03.3", stacked, "must be an array of shape (5, 3)"),
]
