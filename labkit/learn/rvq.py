"""Residual vector quantisation, small enough to read: each codebook describes what the ones before it left over."""

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.signal.seeds import torch_generator


def quantise(vectors: Tensor, codebooks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The nearest word of each codebook to what is left, stage by stage.

    Args:
        vectors: (n, d) float.
        codebooks: each (size, d), at least one. Where word 0 is zero (as `fit` makes it), a stage never makes the
            error larger.

    Returns:
        ``words`` (stages, n, d), whose sum over any first k stages is what k codebooks say; ``codes`` (stages, n) int.

    Raises:
        ValueError: if shapes do not fit.

    Source: Juang & Gray 1982 (multistage vector quantisation); Zeghidour et al. 2021 (SoundStream), algorithm 1.
    """
    if (
        vectors.ndim != 2
        or not codebooks
        or any(book.shape[1:] != vectors.shape[1:] for book in codebooks)
    ):
        shapes = [tuple(book.shape) for book in codebooks]
        raise ValueError(
            f"vectors must be (n, d) and each codebook (size, d), got {tuple(vectors.shape)} and {shapes}"
        )
    left, words, codes = vectors, [], []
    for book in codebooks:
        nearest = torch.cdist(left, book).argmin(1)
        words.append(book[nearest])
        codes.append(nearest)
        left = left - words[-1]
    return torch.stack(words), torch.stack(codes)


def straight_through(vectors: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
    """The quantised vectors, with the gradient of a wire: choosing a word has none, so it is passed on as it came.

    Args and errors: as `quantise`. Returns (n, d).

    Source: Bengio et al. 2013; van den Oord et al. 2017 (VQ-VAE), section 3.2.
    """
    return vectors + (quantise(vectors, codebooks)[0].sum(0) - vectors).detach()


def fit(
    vectors: Tensor,
    n_codebooks: int,
    size: int,
    *,
    rounds: int = 20,
    seed: int = 0,
    expire: bool = True,
) -> list[Tensor]:
    """Codebooks for these vectors, by k-means on what each stage leaves over.

    Args:
        vectors: (n, d) float, n >= size.
        n_codebooks: stages, >= 1.
        size: words in each, >= 2. Word 0 of every book is zero: "leave it".
        rounds: of k-means.
        seed: of the first words and of the vectors that take an expired word's place.
        expire: give words that no vector chose in a round a new place; otherwise they stay where they lie.

    Returns:
        `n_codebooks` tensors (size, d).

    Raises:
        ValueError: if there are fewer vectors than words, or a size is out of range.

    Source: MacQueen 1967; expiry as in Zeghidour et al. 2021, section 3.3.
    """
    if n_codebooks < 1 or size < 2 or rounds < 1 or vectors.ndim != 2 or len(vectors) < size:
        raise ValueError(
            f"need n_codebooks >= 1, size >= 2, rounds >= 1 and at least `size` vectors (n, d), "
            f"got {n_codebooks}, {size}, {rounds} and {tuple(vectors.shape)}"
        )
    left, books = vectors, []
    for stage in range(n_codebooks):
        generator = torch_generator(seed, "codebook", stage)
        book = torch.randn(size, left.shape[1], generator=generator).to(
            left
        )  # knows nothing, as in a new network
        for _ in range(rounds):
            book = _round(left, book, generator if expire else None)
        books.append(book)
        left = left - quantise(left, [book])[0][0]
    return books


def _round(left: Tensor, book: Tensor, generator: torch.Generator | None) -> Tensor:
    """Each word moves to the mean of the vectors that chose it; word 0 stays zero."""
    book[0] = 0
    chosen = torch.cdist(left, book).argmin(1)
    count = torch.bincount(chosen, minlength=len(book))
    sums = torch.zeros_like(book).index_add_(0, chosen, left)
    moved = torch.where(count[:, None] > 0, sums / count[:, None].clamp(min=1), book)
    if generator is not None and (idle := (count == 0)).any():
        moved[idle] = left[torch.randint(len(left), (int(idle.sum()),), generator=generator)]
    moved[0] = 0
    return moved


def perplexity(codes: Tensor, size: int) -> float:
    """How many words are in use: two to the power of the entropy of what was said.

    Args:
        codes: integers of one codebook, any shape.
        size: words in the codebook.

    Returns:
        1 (always one word) .. `size` (all equally often).

    Raises:
        ValueError: if there are no codes, or one lies outside 0..size - 1.
    """
    if codes.numel() == 0 or codes.min() < 0 or codes.max() >= size:
        raise ValueError(
            f"codes must be integers in 0..{size - 1}, at least one, got shape {tuple(codes.shape)}"
        )
    share = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    return float(
        torch.exp2(
            torch.special.entr(share).sum() / torch.log(torch.tensor(2.0, dtype=torch.float64))
        )
    )
