"""Answers to the exercises of notebook 03: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG001 - a wrong answer often ignores what it was given

import math

import numpy as np


def bits_per_second(
    sample_rate: int, hop_length: int, n_codebooks: int, codebook_size: int
) -> float:
    return sample_rate / hop_length * n_codebooks * math.log2(codebook_size)


def counts_words(sample_rate: int, hop_length: int, n_codebooks: int, codebook_size: int) -> float:
    return sample_rate / hop_length * n_codebooks * codebook_size


def one_codebook(sample_rate: int, hop_length: int, n_codebooks: int, codebook_size: int) -> float:
    return sample_rate / hop_length * math.log2(codebook_size)


def joint(sample_rate: int, hop_length: int, n_codebooks: int, codebook_size: int) -> float:
    """All codebooks together have n * size words, as if only one of them could speak."""
    return sample_rate / hop_length * math.log2(n_codebooks * codebook_size)


def expire(book: np.ndarray, codes: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    idle = np.setdiff1d(np.arange(len(book)), codes)
    book[idle] = vectors[np.random.default_rng(seed).integers(len(vectors), size=len(idle))]
    return book


def all_moved(book: np.ndarray, codes: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    return vectors[np.random.default_rng(seed).integers(len(vectors), size=len(book))]


def to_zero(book: np.ndarray, codes: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    book[np.setdiff1d(np.arange(len(book)), codes)] = 0
    return book


def all_on_one(book: np.ndarray, codes: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    book[np.setdiff1d(np.arange(len(book)), codes)] = vectors[seed]
    return book


def unseeded(book: np.ndarray, codes: np.ndarray, vectors: np.ndarray, seed: int) -> np.ndarray:
    return expire(book, codes, vectors, 7)


def embed(codes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    return tables[np.arange(len(codes))[:, None], codes].sum(0)


def as_numbers(codes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    return codes.T.astype(float) @ tables.mean(1)


def one_table(codes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    return tables[0][codes].sum(0)


def mean(codes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    return embed(codes, tables) / len(codes)


def stacked(codes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    return tables[np.arange(len(codes))[:, None], codes]


BANK = {
    "03.1": (
        bits_per_second,
        [
            (counts_words, "a word needs 10 bits"),
            (one_codebook, "9 codebooks of 1024"),
            (joint, "you say"),
            (lambda *_: "8 kbit/s", "must be one finite number"),
        ],
    ),
    "03.2": (
        expire,
        [
            (all_moved, "words that are in use have moved"),
            (to_zero, "idle words do not lie on one of the vectors"),
            (all_on_one, "draw one for each"),
            (unseeded, "seeds 0, 0 and 1"),
            (lambda book, *_: book[:3], "must be an array of shape (16, 3)"),
        ],
    ),
    "03.3": (
        embed,
        [
            (as_numbers, "it uses the names as numbers"),
            (one_table, "each codebook has a table of its own"),
            (mean, "a frame is the sum"),
            (stacked, "must be an array of shape (5, 3)"),
        ],
    ),
}
