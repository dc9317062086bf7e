"""Exercises of notebooks 03 to 05: tokens, chains, and the depth of a curve."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from labkit.effects.saturation import saturate
from labkit.lab.exercises import (
    Attempt,
    NotYet,
    agree,
    as_array,
    as_count,
    as_number,
    judge,
    require,
)
from labkit.measure.metrics import levenshtein
from labkit.signal.seeds import generator

SHELF = ("chorus", "delay", "distortion", "reverb")
DEPTHS = (1.3, 2.8, 6.4, 9.5)


def exercise_03_1(attempt: Attempt) -> str:
    """`bits_per_second(sample_rate, hop_length, n_codebooks, codebook_size)` of plain codes."""
    for sample_rate, hop_length, n_codebooks, codebook_size in (
        (44_100, 512, 9, 1024),
        (44_100, 512, 1, 1024),
        (24_000, 320, 32, 1024),
        (16_000, 320, 4, 2),
    ):
        answer = attempt(sample_rate, hop_length, n_codebooks, codebook_size)
        found = as_number(answer, "bits_per_second")
        bits = codebook_size.bit_length() - 1  # counted, not taken from a logarithm
        expected = sample_rate * n_codebooks * bits / hop_length
        case = f"{sample_rate} Hz, hop {hop_length}, {n_codebooks} codebooks of {codebook_size}"
        agree(found, expected, f"{case}, where a word needs {bits} bits")
    return "frames a second, times codebooks, times the logarithm of the number of words"


def exercise_03_2(attempt: Attempt) -> str:
    """Give idle words work: `expire(book, codes, vectors, seed)` -> a new book (size, d)."""
    rng = generator(0, "exercise 03.2")
    vectors = rng.normal(size=(200, 3))
    book = np.concatenate([rng.normal(size=(5, 3)), 50 + rng.normal(size=(11, 3))])
    codes = ((vectors[:, None] - book) ** 2).sum(-1).argmin(1)
    used = np.isin(np.arange(len(book)), codes)

    def expired(seed: int) -> np.ndarray:
        answer = attempt(book.copy(), codes.copy(), vectors.copy(), seed)
        return as_array(answer, book.shape, "the new book")

    new = expired(0)
    moved = int((new[used] != book[used]).any(1).sum())
    on_vectors = (new[~used][:, None] == vectors).all(-1)
    lost = int((~on_vectors.any(1)).sum())
    places = len(set(on_vectors.argmax(1)))
    repeatable = np.array_equal(expired(0), new) and not np.array_equal(expired(1), new)
    judge(
        f"{(~used).sum()} idle words",
        (not moved, f"{moved} words that are in use have moved"),
        (not lost, f"{lost} do not lie on one of the vectors: they may never be used"),
        (places >= 3, f"all stand on {places} vector: draw one for each"),
        (repeatable, "seeds 0, 0 and 1 must give one book twice and another once"),
    )
    before, after = (((vectors[:, None] - b) ** 2).sum(-1).min(1).mean() for b in (book, new))
    return f"the mean squared error of these vectors fell from {before:.2f} to {after:.2f}"


def exercise_03_3(attempt: Attempt) -> str:
    """`embed(codes, tables)`: codes (n, frames), tables (n, size, width) -> (frames, width)."""
    rng = generator(0, "exercise 03.3")
    for n, size, width, frames in ((1, 4, 3, 5), (3, 8, 4, 6), (9, 16, 2, 1)):
        codes, tables = rng.integers(size, size=(n, frames)), rng.normal(size=(n, size, width))
        found = as_array(attempt(codes.copy(), tables.copy()), (frames, width), "the embedding")
        names = rng.permutation(size)
        renamed = np.empty_like(tables)
        renamed[:, names] = tables
        again = as_array(attempt(names[codes], renamed), (frames, width), "the embedding")
        require(
            np.allclose(found, again),
            "all words were given other names, and their vectors went with them, but the embedding "
            f"changed by {np.abs(found - again).max():.2f}: it uses the names as numbers",
        )
        expected = np.zeros((frames, width))
        for k, frame in itertools.product(range(n), range(frames)):
            expected[frame] += tables[k, codes[k, frame]]
        require(
            np.allclose(found, expected),
            f"{n} codebooks, frame 0: {np.round(found[0], 2)} where its words' vectors add "
            f"to {np.round(expected[0], 2)}: each codebook has a table of its own, "
            "a frame is the sum",
        )
    return "a code is a name; a model can add, compare and scale only the vectors it looks up"


def exercise_04_1(attempt: Attempt) -> str:
    """`may_follow(pedals_so_far, shelf, longest)` -> the set of next words, e.g. `"separator"`."""
    for length, longest in ((n, most) for n in range(4) for most in (2, 3) if n <= most):
        for so_far in itertools.permutations(SHELF, length):
            found = attempt(list(so_far), list(SHELF), longest)
            if not isinstance(found, set | list | tuple):
                raise NotYet(
                    f"a set of words was expected after {length} pedals, got {found!r:.60}"
                )
            found = {str(word) for word in found}
            pedals = set(SHELF) - set(so_far) if length < longest else set()
            wrong = sorted(found - pedals - {"separator"})
            missing = sorted((pedals | {"separator"}) - found)
            judge(
                f"after {' '.join(so_far) or 'nothing'} (longest {longest})",
                (not wrong, f"{wrong} cannot follow: a board holds each pedal once"),
                (not missing, f"{missing} may follow too; the clean sound is a chain as well"),
            )
    return "with all else masked before the softmax, every decoded sentence is a chain"


def exercise_04_2(attempt: Attempt) -> str:
    """`distance(truth, said)` -> fewest insertions, deletions, substitutions of pedals."""
    rng = generator(0, "exercise 04.2")
    for trial in range(60):
        truth, other = (
            list(rng.permutation(SHELF)[: rng.integers(len(SHELF) + 1)]) for _ in range(2)
        )
        answer = as_count(attempt(list(truth), list(other)), "distance")
        expected = levenshtein(truth, other)
        words = f"{' '.join(truth) or '(clean)'} to {' '.join(other) or '(clean)'}"
        agree(answer, expected, f"trial {trial}: edits from {words}")
    return "two pedals swapped cost 2: an order mistake weighs twice as much as a missing pedal"


def exercise_04_3(attempt: Attempt) -> str:
    """`prior_nats(n_pedals)` -> nats per chain when all ordered subsets are equally likely."""
    for n_pedals in (1, 2, 3, 5):
        chains = sum(math.perm(n_pedals, k) for k in range(n_pedals + 1))
        found = as_number(attempt(n_pedals), "prior_nats")
        case = (
            f"{n_pedals} pedals make {chains} chains with the clean sound, nats of a uniform guess"
        )
        agree(found, math.log(chains), case)
    return "a model whose loss stops there has learnt the list of chains and nothing of the sound"


def _tone(name: str, n: int = 4000) -> np.ndarray:
    """A decaying tone with peak 1 and a silent beginning."""
    rng = generator(0, "exercise", name)
    t = np.arange(n) / n
    tone = sum(
        np.sin(2 * np.pi * (31 * k * t + rng.random())) * np.exp(-3 * k * t) / k
        for k in range(1, 6)
    )
    tone[: n // 20] = 0.0
    return tone / np.abs(tone).max()


def exercise_05_1(attempt: Attempt) -> str:
    """`depth_of(clean, wet)` -> the depth of wet = tanh(depth clean), (samples,), 16 bits."""
    clean = _tone("05.1")
    for depth in DEPTHS:
        wet = np.round(saturate(clean, depth) * 32767) / 32767
        found = as_number(attempt(clean.copy(), wet.copy()), f"depth_of at depth {depth}")
        # Weighted, 16 bits leave an error of 1e-3; plain sums of ratios more than ten times that.
        require(
            abs(found - depth) <= 5e-3,
            f"depth {depth} came back as {found:.4f}; {np.mean(np.abs(wet) > 0.999):.0%} of the "
            "samples lie above .999, where one step of 16 bits moves atanh by up to "
            f"{3.05e-5 / (1 - 0.9995**2):.3f}, and {np.mean(clean == 0):.0%} are 0",
        )
    return "three lines and no training: whatever is learnt must be worth more than this"


def exercise_05_2(attempt: Attempt) -> str:
    """`depth_and_level(clean, wet)` -> (depth, level) of wet = level * tanh(depth clean)."""
    clean = _tone("05.2")
    for depth, level in zip(DEPTHS, (0.31, 0.9, 0.12, 0.55), strict=True):
        wet = level * saturate(clean, depth)
        answer = attempt(clean.copy(), wet.copy())
        if not isinstance(answer, Sequence | np.ndarray) or isinstance(answer, str):
            raise NotYet(f"two numbers were expected, (depth, level), got {str(answer)[:40]}")
        found = as_array(answer, (2,), "(depth, level)")
        require(
            math.isclose(found[0], depth, rel_tol=0.03),
            f"depth {depth} at level {level} came back as {found[0]:.3f}; the peak of wet is "
            f"{np.abs(wet).max():.3f}, and tanh({depth}) is {math.tanh(depth):.3f}",
        )
        require(
            math.isclose(found[1], level, rel_tol=0.03),
            f"at depth {depth} the level {level} came back as {found[1]:.3f}",
        )
    return "the best level of each depth is a quotient of two sums: only the depth is searched"


def exercise_05_3(attempt: Attempt) -> str:
    """`slope(x, depth)` -> d tanh(depth x) / d log(depth) for samples x, shape of x."""
    x = _tone("05.3", 600)
    step = 1e-5
    for depth in DEPTHS:
        found = as_array(attempt(x.copy(), depth), x.shape, "slope")
        up, down = (np.tanh(depth * math.exp(sign * step) * x) for sign in (1, -1))
        right = (up - down) / (2 * step)
        worst = int(np.abs(found - right).argmax())
        require(
            abs(found[worst] - right[worst]) <= 1e-6,
            f"at depth {depth} and x = {x[worst]:.3f} a small step of log(depth) moves the output "
            f"by {right[worst]:.5f} a unit; you say {found[worst]:.5f}",
        )
    return "a sample deep in the curve moves no more: only quiet samples tell the depth there"
