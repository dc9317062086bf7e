"""The laws of residual vector quantisation."""

import math

import pytest
import torch

from labkit.learn.rvq import fit, perplexity, quantise, straight_through
from labkit.signal.seeds import torch_generator


@pytest.fixture(scope="module")
def vectors():
    return torch.randn(600, 6, generator=torch_generator(0, "rvq test"))


@pytest.fixture(scope="module")
def books(vectors):
    return fit(vectors, 4, 16, rounds=8)


def errors(vectors, books):
    words, _ = quantise(vectors, books)
    return (vectors - words.cumsum(0)).square().sum(-1)


def test_by_hand():
    books = [torch.tensor([[0.0, 0], [4, 0]]), torch.tensor([[0.0, 0], [0, 1]])]
    words, codes = quantise(torch.tensor([[3.9, 0.9], [1, 0.2]]), books)
    assert codes.tolist() == [[1, 0], [1, 0]]
    assert words.sum(0).tolist() == [[4, 1], [0, 0]]


def test_no_codebook_makes_any_error_larger(vectors, books):
    fresh = 3 * torch.randn(
        500, 6, generator=torch_generator(1, "rvq test")
    )  # vectors that it was not fitted to
    for some in (vectors, fresh):
        steps = errors(some, books).diff(dim=0)
        assert steps.max() <= 1e-4  # rounding of sums of squares up to a hundred or so
        assert steps.mean() < -1e-3


def test_without_the_zero_word_an_error_can_grow(vectors):
    far = torch.full((1, 6), 9.0)
    assert (errors(vectors, [far]) > vectors.square().sum(1)).any()


def test_codewords_of_the_first_book_come_back_as_they_are(books):
    words, codes = quantise(books[0], books)
    assert codes[0].tolist() == list(range(16))
    assert not codes[1:].any()
    assert torch.equal(words.sum(0), books[0])


def test_the_first_stages_do_not_know_of_later_ones(vectors, books):
    words, codes = quantise(vectors, books)
    few_words, few_codes = quantise(vectors, books[:2])
    assert torch.equal(few_codes, codes[:2])
    assert torch.equal(few_words, words[:2])


def test_the_gradient_goes_straight_through(vectors, books):
    leaf = vectors.clone().requires_grad_()
    out = straight_through(leaf, books)
    assert torch.allclose(out, quantise(vectors, books)[0].sum(0), atol=1e-6)
    weights = torch.arange(6.0)
    (out * weights).sum().backward()
    assert torch.equal(leaf.grad, weights.expand(600, 6))


def test_expired_words_find_work():
    clusters = torch.randn(8, 4, generator=torch_generator(2, "rvq test")) * 10
    crowd = torch.cat([clusters[:1].repeat(400, 1), clusters.repeat(10, 1)])
    crowd = crowd + 0.01 * torch.randn(crowd.shape, generator=torch_generator(3, "rvq test"))
    found = {
        expire: fit(crowd, 1, 16, rounds=30, seed=4, expire=expire) for expire in (False, True)
    }
    used = {expire: len(quantise(crowd, book)[1].unique()) for expire, book in found.items()}
    assert used[True] > used[False]
    # Most first words fall into the crowd, share it, and never see the other clusters.
    assert errors(crowd, found[False]).mean() > 3 * errors(crowd, found[True]).mean()


def test_fit_depends_on_its_seed_alone(vectors, books):
    assert all(torch.equal(a, b) for a, b in zip(books, fit(vectors, 4, 16, rounds=8), strict=True))
    assert not torch.equal(books[0], fit(vectors, 1, 16, rounds=8, seed=1)[0])


def test_perplexity_by_hand():
    assert perplexity(torch.zeros(9, dtype=torch.long), 4) == 1
    assert perplexity(torch.arange(8), 8) == pytest.approx(8)
    assert perplexity(torch.tensor([0, 0, 1, 2]), 3) == pytest.approx(2**1.5)
    assert perplexity(torch.tensor([[0, 1], [1, 0]]), 1024) == pytest.approx(2)
    assert math.isfinite(perplexity(torch.tensor([5]), 6))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda v: quantise(v, []), "each codebook"),
        (lambda v: quantise(v[0], [v]), r"got \(6,\)"),
        (lambda v: quantise(v, [v[:, :2]]), r"\(600, 2\)"),
        (lambda v: fit(v, 0, 4), "n_codebooks >= 1"),
        (lambda v: fit(v[:3], 1, 4), r"got 1, 4, 20 and \(3, 6\)"),
        (lambda _: perplexity(torch.tensor([4]), 4), r"integers in 0\.\.3"),
        (lambda _: perplexity(torch.tensor([], dtype=torch.long), 4), "at least one"),
    ],
)
def test_bad_arguments_are_named(vectors, call, words):
    with pytest.raises(ValueError, match=words):
        call(vectors)
