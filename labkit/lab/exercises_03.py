"""Exercises of notebook 03: what tokens cost, words that nobody says, and codes that are names."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_number
from labkit.signal.seeds import generator


def exercise_03_1(attempt: Attempt) -> str:
    """Bits a second of plain codes: `bits_per_second(sample_rate, hop_length, n_codebooks, codebook_size)`."""
    for sample_rate, hop_length, n_codebooks, codebook_size in (
        (44_100, 512, 9, 1024),
        (44_100, 512, 1, 1024),
        (24_000, 320, 32, 1024),
        (16_000, 320, 4, 2),
    ):
        said = as_number(
            attempt(sample_rate, hop_length, n_codebooks, codebook_size), "bits_per_second"
        )
        bits = codebook_size.bit_length() - 1  # counted, not taken from a logarithm
        expected = sample_rate * n_codebooks * bits / hop_length
        if not math.isclose(said, expected, rel_tol=1e-6):
            raise NotYet(
                f"{sample_rate} Hz, hop {hop_length}, {n_codebooks} codebooks of {codebook_size}: a word needs {bits} "
                f"bits, a second {expected:.1f}; you say {said:.1f}"
            )
    return "frames a second, times codebooks, times the logarithm of the words: bits grow slowly with the vocabulary"


def exercise_03_2(attempt: Attempt) -> str:
    """Give idle words work: `expire(book, codes, vectors, seed)` -> a new book (size, d), from NumPy arrays."""
    rng = generator(0, "exercise 03.2")
    vectors = rng.normal(size=(200, 3))
    book = np.concatenate([rng.normal(size=(5, 3)), 50 + rng.normal(size=(11, 3))])
    codes = ((vectors[:, None] - book) ** 2).sum(-1).argmin(1)
    used = np.isin(np.arange(len(book)), codes)
    new = as_array(
        attempt(book.copy(), codes.copy(), vectors.copy(), 0), book.shape, "the new book"
    )
    if not np.array_equal(new[used], book[used]):
        moved = int((new[used] != book[used]).any(1).sum())
        raise NotYet(
            f"{moved} of {used.sum()} words that are in use have moved: only idle ones may"
        )
    on_vectors = (new[~used][:, None] == vectors).all(-1)
    lost = int((~on_vectors.any(1)).sum())
    if lost:
        raise NotYet(
            f"{lost} of {(~used).sum()} idle words do not lie on one of the vectors: nobody may ever say them"
        )
    if len(set(on_vectors.argmax(1))) < 3:
        raise NotYet(
            f"{(~used).sum()} idle words were put on {len(set(on_vectors.argmax(1)))} vector: draw one for each"
        )
    again, other = (
        as_array(attempt(book.copy(), codes.copy(), vectors.copy(), k), book.shape, "it")
        for k in (0, 1)
    )
    if not np.array_equal(again, new) or np.array_equal(other, new):
        raise NotYet(
            "seeds 0, 0 and 1 must give one book twice and another once: draw with the seed"
        )
    before, after = (((vectors[:, None] - b) ** 2).sum(-1).min(1).mean() for b in (book, new))
    return f"the mean squared error of these vectors fell from {before:.2f} to {after:.2f}, by words that cost nothing"


def exercise_03_3(attempt: Attempt) -> str:
    """Codes as vectors: `embed(codes, tables)`, (n, frames) and (n, size, width) -> (frames, width)."""
    rng = generator(0, "exercise 03.3")
    for n, size, width, frames in ((1, 4, 3, 5), (3, 8, 4, 6), (9, 16, 2, 1)):
        codes, tables = rng.integers(size, size=(n, frames)), rng.normal(size=(n, size, width))
        said = as_array(attempt(codes.copy(), tables.copy()), (frames, width), "the embedding")
        names = rng.permutation(size)
        renamed = np.empty_like(tables)
        renamed[:, names] = tables
        again = as_array(attempt(names[codes], renamed), (frames, width), "the embedding")
        if not np.allclose(said, again):
            raise NotYet(
                f"all words were given other names, and their vectors went with them, but the embedding changed by "
                f"{np.abs(said - again).max():.2f}: it uses the names as numbers"
            )
        expected = np.zeros((frames, width))
        for k in range(n):
            for frame in range(frames):
                expected[frame] += tables[k, codes[k, frame]]
        if not np.allclose(said, expected):
            raise NotYet(
                f"{n} codebooks, frame 0: {np.round(said[0], 2)} where the vectors of its words add to "
                f"{np.round(expected[0], 2)}: each codebook has a table of its own, and a frame is the sum"
            )
    return "a code is a name; what a model may add, compare and scale are the vectors it looks up"
