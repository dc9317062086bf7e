"""Answers to notebook 04 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, F821 - a wrong answer often ignores what it was given; RIGHT is given

import itertools
import math

import numpy as np
import torch
from torch.nn import functional as F

may_follow, nats = RIGHT["04.1"], RIGHT["04.5"]


def repeats(so_far, shelf, longest):
    return {*shelf, "separator"} if len(so_far) < longest else {"separator"}


def endless(so_far, shelf, longest):
    return {*shelf, "separator"} - set(so_far)


def never_clean(so_far, shelf, longest):
    found = may_follow(so_far, shelf, longest)
    return found if so_far else found - {"separator"}


def no_last_place(so_far, shelf, longest):
    return may_follow(so_far, shelf, longest - 1)


def unscaled(q, k, v, mask):
    return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1) @ v


def sees_all(q, k, v, mask):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def masked_late(q, k, v, mask):
    return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) * mask) @ v


def masked_by_zero(q, k, v, mask):
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, 0.0).softmax(-1) @ v


def over_queries(q, k, v, mask):
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-2) @ v


def per_word(logits, tokens):
    return F.cross_entropy(logits.mT, tokens[:, 1:], ignore_index=0)


def with_padding(logits, tokens):
    return F.cross_entropy(logits.mT, tokens[:, 1:], reduction="sum") / len(tokens)


def unshifted(logits, tokens):
    given = tokens[:, :-1]
    return F.cross_entropy(logits.mT, given, ignore_index=0, reduction="sum") / len(tokens)


def step(model, optimizer, tokens, *, zero=True, moves=True, given=slice(-1)):
    loss = nats(model(tokens[:, given])[:, : tokens.shape[1] - 1], tokens)
    if zero:
        optimizer.zero_grad()
    loss.backward()
    if moves:
        optimizer.step()
    return loss.item()


def piles_up(model, optimizer, tokens):
    return step(model, optimizer, tokens, zero=False)


def stands_still(model, optimizer, tokens):
    return step(model, optimizer, tokens, moves=False)


def reads_the_end(model, optimizer, tokens):
    return step(model, optimizer, tokens, given=slice(None))


def places_that_differ(truth, said):
    return sum(a != b for a, b in itertools.zip_longest(truth, said))


def with_swaps(truth, said):
    """Damerau's distance: two neighbours swapped cost 1."""
    table = np.add.outer(np.arange(len(truth) + 1), np.arange(len(said) + 1))
    for i, j in itertools.product(range(1, len(truth) + 1), range(1, len(said) + 1)):
        diagonal = table[i - 1, j - 1] + (truth[i - 1] != said[j - 1])
        table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, diagonal)
        if i > 1 and j > 1 and truth[i - 2 : i] == said[j - 2 : j][::-1]:
            table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[-1, -1]


def forgets(q, k, v, cache):
    cache["k"], cache["v"] = k, v
    return F.scaled_dot_product_attention(q, k, v)


def looks_back_only(q, k, v, cache):
    old = cache["k"], cache["v"]
    RIGHT["04.8"](q, k, v, cache)
    return F.scaled_dot_product_attention(q, *old) if old[0].shape[1] else v


def reads_but_never_writes(q, k, v, cache):
    return RIGHT["04.8"](q, k, v, dict(cache))


def shares(logits):
    grown = np.exp(logits - logits.max())
    return grown / grown.sum()


def any_word(logits, temperature, allowed, rng):
    return rng.choice(len(logits), p=shares(logits / temperature))


def multiplied(logits, temperature, allowed, rng):
    return rng.choice(len(logits), p=shares(np.where(allowed, logits * temperature, -np.inf)))


def most_probable(logits, temperature, allowed, rng):
    return np.argmax(np.where(allowed, logits, -np.inf))


def own_luck(logits, temperature, allowed, rng):
    return RIGHT["04.9"](logits, temperature, allowed, np.random)


def overflows(logits, temperature, allowed, rng):
    grown = np.where(allowed, np.exp(logits / temperature), 0)
    return rng.choice(len(logits), p=grown / grown.sum())


def in_samples(wet, sample_rate, low, high):
    return RIGHT["04.10"](wet, sample_rate, low, high) * sample_rate


def by_autocorrelation(wet, sample_rate, low, high):
    first, last = round(low * sample_rate), round(high * sample_rate)
    return (
        first + np.correlate(wet, wet, "full")[len(wet) - 1 :][first:last].argmax()
    ) / sample_rate


def anywhere(wet, sample_rate, low, high):
    return RIGHT["04.10"](wet, sample_rate, 0.0, 2.0)


def half_the_rate(wet, sample_rate, low, high):
    return RIGHT["04.10"](wet, sample_rate / 2, low, high)


def n_chains(n):
    return sum(math.perm(n, k) for k in range(n + 1))


ALSO_RIGHT = [("04.1", lambda *given: frozenset(may_follow(*given)))]
WRONG = [
    ("04.1", repeats, "a board holds each pedal once"),
    ("04.1", endless, "cannot follow: the board is full"),
    ("04.1", never_clean, "['separator'] may follow too: a chain may end here"),
    ("04.1", no_last_place, "may follow too: 1 of 2 places are taken"),
    ("04.1", lambda *given: {*may_follow(*given), "end"}, "these are no words of the shelf"),
    ("04.1", lambda *_: 3, "a set of words was expected"),
    ("04.2", unscaled, "divide by sqrt(8)"),
    ("04.2", sees_all, "a leak of the future"),
    ("04.2", masked_late, "before the softmax"),
    ("04.2", masked_by_zero, "a leak of the future"),
    ("04.2", over_queries, "must run over the keys"),
    ("04.3", lambda n: torch.ones(n, n, dtype=torch.bool), "looks at a later word are allowed"),
    ("04.3", lambda n: torch.ones(n, n).tril(-1) > 0, "looks at itself or an earlier one"),
    ("04.3", lambda n: torch.ones(n, n).triu(1) > 0, "later word"),
    ("04.3", lambda n: torch.ones(n, n).tril(), "must be of torch.bool, got torch.float32"),
    ("04.3", lambda n: np.tri(n, dtype=bool), "the mask of 5 words must be a torch.Tensor"),
    ("04.4", lambda n: math.log(2**n), "the order matters, too"),
    ("04.4", lambda n: math.log(math.factorial(n)), "need not hold all pedals"),
    ("04.4", lambda n: math.log2(n_chains(n)), "these are bits"),
    ("04.5", lambda *given: 2 * nats(*given), "take their mean"),
    ("04.5", lambda *given: nats(*given) / math.log(2), "these are bits"),
    ("04.5", per_word, "that is per word"),
    ("04.5", with_padding, "padding (0) counts too"),
    ("04.5", unshifted, "not shifted"),
    ("04.5", lambda *given: nats(*given).item(), "stay in torch"),
    ("04.6", piles_up, "gradients add up until"),
    ("04.6", stands_still, "step the optimiser"),
    ("04.6", reads_the_end, "the model was given 5 of 5 words"),
    ("04.6", lambda *_: 1.0, "the model was called 0 times"),
    ("04.7", lambda truth, said: len(set(truth) ^ set(said)), "you say"),
    ("04.7", places_that_differ, "you say"),
    ("04.7", with_swaps, "from delay reverb to reverb delay: expected 2, you say 1"),
    ("04.8", forgets, 'after 2 words cache["k"] holds 1'),
    ("04.8", looks_back_only, "word 1 with the cache, against all at once"),
    ("04.8", reads_but_never_writes, 'after 1 words cache["k"] holds 0'),
    ("04.9", any_word, "word 2 is not allowed"),
    ("04.9", multiplied, "temperature 0.5: word"),
    ("04.9", most_probable, "temperature 0.5: word 0 came 1.00 of the time"),
    ("04.9", own_luck, "draw with rng alone"),
    ("04.9", overflows, "your function raised"),
    ("04.10", in_samples, "divide by the rate of 8000 Hz"),
    ("04.10", by_autocorrelation, "an echo after 0.300 s in 16000 samples: you say 0.122 s"),
    ("04.10", anywhere, "you say"),
    ("04.10", half_the_rate, "you say"),
    ("04.10", lambda *_: np.ones(2), "the delay of the echo"),
]
