"""What the exercises of notebook 04 ask for: each compares an attempt with a reference or a law."""

import itertools
import math
from collections.abc import Set

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labkit.lab.exercises import Attempt, as_array, as_count, as_number, compare, require
from labkit.measure.metrics import levenshtein
from labkit.signal.seeds import generator

SHELF = ("chorus", "delay", "distortion", "reverb")


def exercise_04_1(attempt: Attempt) -> str:
    """`may_follow(pedals_so_far, shelf, longest)` -> the set of next words, e.g. `"separator"`."""
    for length, longest in ((0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (3, 3)):
        for so_far in itertools.permutations(SHELF, length):
            found = attempt(list(so_far), list(SHELF), longest)
            words = isinstance(found, Set | list | tuple) and all(isinstance(w, str) for w in found)
            require(words, f"a set of words was expected after {length} pedals, got {found!r:.60}")
            legal = {"separator", *(set(SHELF) - set(so_far) if length < longest else ())}
            where = f"after {' '.join(so_far) or 'nothing'} (longest {longest})"
            wrong, missing = sorted(set(found) - legal), sorted(legal - set(found))
            known = set(wrong) <= set(SHELF)
            reason = "a board holds each pedal once" if known else "these are no words of the shelf"
            reason = "the board is full" if known and length == longest else reason
            require(not wrong, f"{where} {wrong} cannot follow: {reason}")
            end = "separator" in missing
            reason = "a chain may end here" if end else f"{length} of {longest} places are taken"
            require(not missing, f"{where} {missing} may follow too: {reason}")
    return "with all else masked before the softmax, every decoded sentence is a chain"


def exercise_04_2(attempt: Attempt) -> str:
    """`attention(q, k, v, mask)`: (h, t, e), (h, s, e), (h, s, e), bool (t, s) -> (h, t, e)."""
    q, k, v = _normal(3, 2, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    scores, hide = q @ k.mT / 8**0.5, ~mask
    rightly = scores.masked_fill(hide, -torch.inf)
    hints = [
        ((scores * 8**0.5).masked_fill(hide, -torch.inf).softmax(-1) @ v, "divide by sqrt(8)"),
        (rightly.softmax(-2) @ v, "the softmax must run over the keys, the last axis"),
    ]
    what = "attention of 5 words"
    first = as_array(attempt(q, k, v, mask), (2, 5, 8), what, of=torch.Tensor)
    later = torch.zeros(5, 1, dtype=q.dtype).index_fill(0, torch.tensor([3, 4]), 1.0)
    moved = as_array(attempt(q, k + later, v + later, mask), (2, 5, 8), what)
    leak = np.abs(moved - first)[:, :3].max()
    words = f"a leak of the future: words 0 to 2 move by {leak:.2g} when words 3 and 4 change"
    require(leak < 1e-9, f"{words}; mask the scores with -inf, before the softmax")
    compare(first, (rightly.softmax(-1) @ v).numpy(), "causal attention", hints=hints)
    wide = torch.ones(3, 5, dtype=torch.bool)
    expected = F.scaled_dot_product_attention(q[:, :3], k, v).numpy()
    compare(attempt(q[:, :3], k, v, wide), expected, "3 queries that may see 5 keys")
    return "every word has become a weighted mean of values, and the future weighs nothing"


def exercise_04_3(attempt: Attempt) -> str:
    """`causal_mask(n)` -> bool (n, n): may word i (row) look at word j (column)?"""
    for n in (5, 2, 1):
        answer = attempt(n)
        mask = as_array(answer, (n, n), f"the mask of {n} words", of=torch.Tensor)
        words = f"the mask of {n} words must be of torch.bool, got {answer.dtype}"
        require(answer.dtype == torch.bool, words)
        ahead, behind = np.triu(mask, 1).sum(), np.tril(1 - mask).sum()
        words = f"{n} words: {ahead:.0f} looks at a later word are allowed"
        require(not ahead, f"{words}; in training that word is the answer")
        words = f"{n} words: {behind:.0f} looks at itself or an earlier one are missing"
        require(not behind, words)
        compare(mask, np.tril(np.ones((n, n))), f"the mask of {n} words")
    return "all next words of a sentence can now be learnt at once, none of them copied"


def exercise_04_4(attempt: Attempt) -> str:
    """`prior_nats(n_pedals)` -> nats per chain when all ordered subsets are equally likely."""
    for n_pedals in (1, 2, 3, 5):
        chains = sum(math.perm(n_pedals, k) for k in range(n_pedals + 1))
        case = f"{n_pedals} pedals make {chains} chains with the clean sound, nats of a guess"
        hints = [
            (math.log2(chains), "these are bits, of which 1 is 0.69 nats"),
            (math.log(math.factorial(n_pedals)), "a chain need not hold all pedals"),
            (math.log(2**n_pedals), "that counts sets: the order matters, too"),
        ]
        compare(attempt(n_pedals), math.log(chains), case, hints=hints)
    return "a model whose loss stops there has learnt the list of chains and nothing of the sound"


def exercise_04_5(attempt: Attempt) -> str:
    """`sentence_nats(logits, tokens)`: (b, t - 1, n), whole (b, t), padded with 0 -> nats."""
    tokens = torch.tensor([[1, 5, 4, 2, 3], [1, 2, 3, 0, 0]])
    (logits,) = _normal(1, 2, 4, 6)
    chosen = logits.log_softmax(-1)

    def nats(targets: torch.Tensor) -> torch.Tensor:
        return -chosen.gather(2, targets[..., None])[..., 0]

    each, real = nats(tokens[:, 1:]), tokens[:, 1:] > 0
    hints = [
        (float((each * real).sum() / real.sum()), "that is per word: divide by the 2 sentences"),
        (float(each.sum() / 2), "padding (0) counts too: leave it out"),
        (float((each * real).sum()), "that is the sum over 2 sentences: take their mean"),
        (float((each * real).sum() / 2 / math.log(2)), "these are bits: 1 nat is 1.44 bits"),
        (float((nats(tokens[:, :-1]) * (tokens[:, :-1] > 0)).sum() / 2), "not shifted"),
    ]
    expected = float((each * real).sum() / 2)
    loss = attempt(logits.requires_grad_(), tokens)
    compare(loss, expected, "6 next words of 2 sentences", hints=hints)
    traced = getattr(loss, "requires_grad", False)
    require(traced, "the loss has 0 gradient: stay in torch, without .item() or float()")
    return "the cross-entropy: 0 if each next word was certain, log(n) more for each blind guess"


def exercise_04_6(attempt: Attempt) -> str:
    """`training_step(model, optimizer, tokens)`: the loss before the step; the weights move."""
    tokens = torch.tensor([[1, 5, 4, 2, 3], [1, 4, 2, 3, 0]])
    given, losses, weights = [], [], []
    for step in (attempt, _reference_step):
        with torch.random.fork_rng():
            torch.manual_seed(4)
            model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6)).double()
        model[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        losses.append([as_number(step(model, optimizer, tokens), "the loss") for _ in range(3)])
        weights.append(model[1].bias.detach().numpy().copy())
    require(len(given) > 3, "the model was called 0 times: logits = model(tokens[:, :-1])")
    words = f"the model was given {given[0].shape[1]} of 5 words"
    require(given[0].shape[1] == 4, f"{words}; the last one has nothing to predict")
    compare(losses[0][0], losses[1][0], "the loss before the first step")
    require(losses[0][1] != losses[0][0], f"the loss stays {losses[0][0]:.3f}: step the optimiser")
    compare(losses[0][1], losses[1][1], "the loss after 1 step")
    words = "gradients add up until they are set to 0"
    compare(losses[0][2], losses[1][2], "the loss after 2 steps", hints=[(losses[0][2], words)])
    compare(weights[0], weights[1], "a bias after 3 steps", near=1e-6)
    return "that is all of training: predict, compare, differentiate, step; the rest is repetition"


def exercise_04_7(attempt: Attempt) -> str:
    """`distance(truth, predicted)` -> fewest insertions, deletions, substitutions of pedals."""
    rng = generator(0, "exercise 04.7")
    pairs = [[list(rng.permutation(SHELF)[: rng.integers(5)]) for _ in "ab"] for _ in range(60)]
    for truth, other in (*pairs, (["delay", "reverb"], ["reverb", "delay"])):
        case = f"edits from {' '.join(truth) or '(clean)'} to {' '.join(other) or '(clean)'}"
        compare(attempt(truth, other), levenshtein(truth, other), case)
    return "two pedals swapped cost 2: an order mistake weighs twice as much as a missing pedal"


def exercise_04_8(attempt: Attempt) -> str:
    """`cached_step(q, k, v, cache)`: one word, (h, 1, e) each; cache["k"] and ["v"] get longer."""
    q, k, v = _normal(3, 2, 6, 4)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True).numpy()
    cache = {"k": k[:, :0], "v": v[:, :0]}
    for n in range(6):
        word = slice(n, n + 1)
        found = attempt(q[:, word], k[:, word], v[:, word], cache)
        found = as_array(found, (2, 1, 4), f"the output of word {n}", of=torch.Tensor)
        for name, whole in (("k", k), ("v", v)):
            shape = getattr(cache.get(name), "shape", (0, 0))
            words = f'after {n + 1} words cache["{name}"] holds {shape[-2]}'
            require(shape[-2] == n + 1, words)
            compare(cache[name], whole[:, : n + 1].numpy(), f'cache["{name}"] after {n + 1} words')
        compare(found, expected[:, word], f"word {n} with the cache, against all at once")
    return "the same numbers, and each word costs one query instead of a whole sentence"


def exercise_04_9(attempt: Attempt) -> str:
    """`sample(logits, temperature, allowed, rng)` -> the index of a word; (n,), bool (n,)."""
    logits, allowed = np.array([2.0, 1.0, 9.0, 0.0, 1.5]), np.array([1, 1, 0, 1, 1], dtype=bool)
    for temperature in (0.5, 1.0, 2.0):
        rng = generator(1, "exercise 04.9")
        drawn = [attempt(logits, temperature, allowed, rng) for _ in range(2000)]
        drawn = [as_count(word, "the index of a word") for word in drawn]
        rng = generator(1, "exercise 04.9")
        again = [attempt(logits, temperature, allowed, rng) for _ in range(100)]
        words = "of 100 words drawn again with the same rng, some differ: draw with rng alone"
        require(again == drawn[:100], words)
        require(set(drawn) <= set(range(5)), f"words are 0 to 4, you drew {sorted(set(drawn))}")
        shares = np.bincount(drawn, minlength=5) / 2000
        require(shares[2] == 0, f"word 2 is not allowed and came {shares[2]:.0%} of the time")
        expected = np.where(allowed, np.exp(logits / temperature), 0)
        expected /= expected.sum()
        worst = int(np.abs(shares - expected).argmax())
        words = f"temperature {temperature}: word {worst} came {shares[worst]:.2f} of the time"
        require(abs(shares - expected).max() < 0.05, f"{words}, expected {expected[worst]:.2f}")
    tall = attempt(np.array([0.0, 4000.0]), 0.5, np.ones(2, dtype=bool), generator(2, "04.9"))
    compare(tall, 1, "logits 0 and 4000: subtract the largest before exp; the word")
    return "near 0 it always says the most probable word, at 1 it says what it believes"


def exercise_04_10(attempt: Attempt) -> str:
    """`echo_delay(wet, sample_rate, low, high)` -> s; wet is (samples,), low and high are in s."""
    rng, rate = generator(5, "exercise 04.10"), 8000
    for samples, late in ((16000, 2400), (16000, 4001), (24000, 1000)):
        dry, true = _melody(samples, rate, rng), late / rate
        wet = dry.copy()
        for k in (1, 2):  # an echo, and one of the echo
            wet[k * late :] += 0.4**k * dry[: samples - k * late]
        found = as_number(attempt(wet.copy(), rate, 0.1, 0.6), "the delay of the echo")
        words = f"that is {found:.0f} samples: divide by the rate of {rate} Hz"
        require(abs(found - late) > 2, words)
        words = f"an echo after {true:.3f} s in {samples} samples: you say {found:.3f} s"
        require(abs(found - true) < 1e-3, words)
    quiet = as_number(attempt(1e-3 * wet, rate, 0.1, 0.6), "the delay of the echo")
    compare(quiet, true, "the same sound, 60 dB softer", near=1e-3)
    inside = as_number(attempt(wet.copy(), rate, 0.2, 0.6), "the delay of the echo")
    require(0.2 <= inside <= 0.6, f"low is 0.2 s and high 0.6 s: you say {inside:.3f} s")
    return "to the sample, without a single weight"


def _melody(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """(samples,) a plucked note every quarter of a second: its pitch repeats, too."""
    time, sound = np.arange(samples) / rate, 1e-4 * rng.standard_normal(samples)
    for start, key in zip(range(0, samples, rate // 4), rng.integers(40, 64, 99), strict=False):
        t, hertz = time[: samples - start], 440 * 2 ** ((key - 69) / 12)
        note = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 9)) * np.exp(-4 * t)
        sound[start:] += note + 0.3 * rng.standard_normal(len(t)) * np.exp(-60 * t)
    return sound


def _normal(n: int, *shape: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(4)
    return torch.randn(n, *shape, generator=rng, dtype=torch.float64)


def _reference_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, tokens: torch.Tensor
) -> float:
    logits = model(tokens[:, :-1]).mT
    loss = F.cross_entropy(logits, tokens[:, 1:], ignore_index=0, reduction="sum") / len(tokens)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
