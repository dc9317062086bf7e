"""What the exercises of notebook 03 ask for: each compares an attempt with a reference or a law."""

import numpy as np

from labkit.lab.exercises import Attempt, as_array, compare, require
from labkit.signal.seeds import generator


def exercise_03_1(attempt: Attempt) -> str:
    """`bits_per_second(sample_rate, hop_length, n_codebooks, codebook_size)` of plain codes."""
    for sample_rate, hop_length, n_codebooks, codebook_size in (
        (44_100, 512, 9, 1024),
        (44_100, 512, 1, 1024),
        (16_000, 320, 4, 2),
    ):
        bits = codebook_size.bit_length() - 1  # counted, not taken from a logarithm
        expected = sample_rate * n_codebooks * bits / hop_length
        case = f"{sample_rate} Hz, hop {hop_length}, {n_codebooks} codebooks of {codebook_size}"
        answer = attempt(sample_rate, hop_length, n_codebooks, codebook_size)
        compare(answer, expected, f"{case}, where a word needs {bits} bits")
    return "frames a second, times codebooks, times the logarithm of the number of words"


def exercise_03_2(attempt: Attempt) -> str:
    """Give idle words work: `expire(book, codes, vectors, seed)` -> a new book (size, d)."""
    rng = generator(0, "exercise 03.2")
    vectors = rng.normal(size=(200, 3))
    book = np.concatenate([rng.normal(size=(5, 3)), 50 + rng.normal(size=(11, 3))])
    codes = ((vectors[:, None] - book) ** 2).sum(-1).argmin(1)
    used = np.isin(np.arange(len(book)), codes)

    def expired(seed: int) -> np.ndarray:
        return as_array(attempt(book, codes, vectors, seed), book.shape, "the new book")

    new = expired(0)
    moved = int((new[used] != book[used]).any(1).sum())
    require(not moved, f"{moved} words that are in use have moved: only idle ones may")
    on_vectors = (new[~used][:, None] == vectors).all(-1)  # (idle words, vectors)
    lost = int((~on_vectors.any(1)).sum())
    require(not lost, f"{lost} idle words do not lie on one of the vectors: nothing is near them")
    n_places = len(set(on_vectors.argmax(1)))
    require(n_places >= 3, f"idle words were put on {n_places} vector: draw one for each")
    require(
        np.array_equal(expired(0), new) and not np.array_equal(expired(1), new),
        "seeds 0, 0 and 1 must give one book twice and another once: draw with the seed",
    )
    before, after = (((vectors[:, None] - b) ** 2).sum(-1).min(1).mean() for b in (book, new))
    return f"the mean squared error of these vectors fell from {before:.2f} to {after:.2f}"


def exercise_03_3(attempt: Attempt) -> str:
    """`embed(codes, tables)`: codes (n, frames), tables (n, size, width) -> (frames, width)."""
    rng = generator(0, "exercise 03.3")
    for n, size, width, frames in ((1, 4, 3, 5), (3, 8, 4, 6), (9, 16, 2, 1)):
        codes, tables = rng.integers(size, size=(n, frames)), rng.normal(size=(n, size, width))
        found = as_array(attempt(codes, tables), (frames, width), "the embedding")
        names = rng.permutation(size)
        renamed = np.empty_like(tables)
        renamed[:, names] = tables
        again = attempt(names[codes], renamed)
        compare(again, found, "words and vectors renamed alike: it uses the names as numbers")
        vectors = np.array([[tables[k, code] for code in codes[k]] for k in range(n)])
        hints = [(vectors.mean(0), "a frame is the sum"), (tables[0][codes].sum(0), "all from one")]
        case = f"{n} codebooks, each codebook has a table of its own"
        compare(found, vectors.sum(0), case, hints=hints)
    return "a code is a name; a model can add, compare and scale only the vectors it looks up"
