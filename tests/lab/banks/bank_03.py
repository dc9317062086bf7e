"""Answers to notebook 03 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

import numpy as np
import torch

expire = RIGHT["03.5"]
rvq_encode = RIGHT["03.3"]
perplexity = RIGHT["03.4"]
spectral_loss = RIGHT["03.7"]


def sums(book, vectors, codes, rate):
    return book + rate * torch.zeros_like(book).index_add_(0, codes, vectors)


def idle_to_zero(book, vectors, codes, rate):
    count = torch.bincount(codes, minlength=len(book))[:, None].clamp(min=1)
    mean = torch.zeros_like(book).index_add_(0, codes, vectors) / count
    return book + rate * (mean - book)


def only_mean(book, vectors, codes, rate):
    for word in codes.unique():
        book[word] = vectors[codes == word].mean(0)
    return book


def by_one_hot(book, vectors, codes, rate):
    chosen = torch.nn.functional.one_hot(codes, len(book)).float()
    count = chosen.sum(0)[:, None]
    mean = chosen.T @ vectors / count.clamp(min=1)
    return torch.where(count > 0, book + rate * (mean - book), book)


def in_place(vectors, books):
    codes = torch.zeros(len(books), len(vectors), dtype=torch.long)
    for k, book in enumerate(books):
        codes[k] = torch.cdist(vectors, book).argmin(1)
        vectors -= book[codes[k]]
    return codes


def block_in_place(x, alphas, convolutions):
    x += no_skip(x.clone(), alphas, convolutions)
    return x


def never_subtracts(vectors, books):
    return torch.stack([torch.cdist(vectors, book).argmin(1) for book in books])


def farthest(vectors, books):
    return torch.stack([torch.cdist(vectors, book).argmax(1) for book in books])


def entropy(codes, size):
    return math.log2(perplexity(codes, size))


def all_moved(book, codes, vectors, seed):
    return vectors[np.random.default_rng(seed).integers(len(vectors), size=len(book))]


def to_zero(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = 0
    return book


def all_on_one(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = vectors[seed]
    return book


def snake_after(x, alphas, convolutions):
    return x + convolutions[1](convolutions[0](x))


def no_skip(x, alphas, convolutions):
    return RIGHT["03.8"](x, alphas, convolutions) - x


def snake_once(x, alphas, convolutions):
    y = convolutions[0](x + torch.sin(alphas[0] * x) ** 2 / alphas[0])
    return x + convolutions[1](y)


def undivided(x, alphas, convolutions):
    y = x
    for alpha, convolution in zip(alphas, convolutions, strict=True):
        y = convolution(y + torch.sin(alpha * y) ** 2)
    return x + y


def stacked(codes, tables):
    return tables[np.arange(len(codes))[:, None], codes]


ALSO_RIGHT = [("03.2", by_one_hot), ("03.3", in_place)]
WRONG = [
    ("03.1", lambda rate, hop, n, size: rate / hop * n * size, "a codeword needs 10 bits"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(size), "9 codebooks of 1024"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(n * size), "you say"),
    ("03.1", lambda *_: "8 kbit/s", "must be one finite number"),
    ("03.2", sums, "divide the sum by how many"),
    ("03.2", idle_to_zero, "chosen 0 times, moved by"),
    ("03.2", only_mean, "go only the share `rate` of the way"),
    ("03.2", lambda *given: RIGHT["03.2"](*given).numpy(), "must be a torch.Tensor, got ndarray"),
    ("03.3", lambda *given: rvq_encode(*given).tolist(), "must be a torch.Tensor, got list"),
    ("03.3", never_subtracts, "subtract the chosen codeword"),
    ("03.3", farthest, "code at (book, vector)"),
    ("03.3", lambda vectors, books: rvq_encode(vectors, books).T, "must be an array of shape (1"),
    ("03.4", entropy, "take 2 to its power"),
    ("03.4", lambda codes, size: float(len(codes.unique())), "you count codewords"),
    ("03.4", lambda codes, size: float(size), "one codeword of 8 only"),
    ("03.5", all_moved, "codewords that are in use have moved"),
    ("03.5", to_zero, "idle codewords do not lie on one of the vectors"),
    ("03.5", all_on_one, "draw one for each"),
    ("03.5", lambda book, codes, vectors, _: expire(book, codes, vectors, 7), "seeds 0, 0 and 1"),
    ("03.5", lambda book, *_: book[:3], "must be an array of shape (16, 3)"),
    ("03.6", lambda frames, quantised: quantised, "no gradient reaches the encoder"),
    ("03.6", lambda frames, quantised: frames, "nothing was quantised"),
    ("03.6", lambda frames, quantised: quantised.detach(), "the answer has 0 gradient"),
    ("03.6", lambda f, q: f - f.detach() + q, "reaches the codewords"),
    ("03.7", lambda a, b, mels: 4 * spectral_loss(a, b, mels), "take the mean over"),
    ("03.7", lambda a, b, mels: spectral_loss(a, b, mels) * len(mels) / 4, "three frame lengths"),
    ("03.7", lambda a, b, mels: spectral_loss(a, b, mels[:1]), "first spectrogram alone"),
    ("03.7", lambda a, b, mels: sum((m(a) - m(b)).mean() for m in mels) / 4, "cancel"),
    ("03.7", lambda a, b, mels: sum((m(a) - m(b)).square().mean() for m in mels) / 4, "squares"),
    ("03.7", lambda a, b, mels: spectral_loss(a, b, mels).detach(), "the loss has 0 gradient"),
    ("03.8", snake_after, "no Snake at all"),
    ("03.8", undivided, "the wave is not divided by alpha"),
    ("03.8", snake_once, "the second Snake is missing"),
    ("03.8", no_skip, "add the input"),
    ("03.8", lambda *given: RIGHT["03.8"](*given).detach(), "0 gradient"),
    ("03.8", block_in_place, "your function raised RuntimeError: a leaf Variable"),
    ("03.9", lambda codes, t: codes.T.astype(float) @ t.mean(1), "it uses the names as numbers"),
    ("03.9", lambda codes, tables: tables[0][codes].sum(0), "each codebook has a table of its own"),
    ("03.9", lambda codes, tables: stacked(codes, tables).mean(0), "a frame is the sum"),
    ("03.9", stacked, "must be an array of shape (5, 3)"),
]
