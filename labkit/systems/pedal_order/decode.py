"""From the network's memory to a chain: beam search or sampling inside the grammar, then the knobs; how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain
from labkit.learn.transformer import Cache
from labkit.measure.calibration import fit_temperature
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.tokens import END, SEPARATOR, START


@dataclass(frozen=True)
class Prediction:
    """What the network says of one sound.

    Attributes:
        chain: the most probable order, knobs at their expected values.
        probability: of that order among all that the shelf allows, 0..1.
        alternatives: (pedals in order, probability), best first, the chosen one included.
    """

    chain: Chain
    probability: float
    alternatives: tuple[tuple[tuple[str, ...], float], ...]

    def presence(self, pedal: str) -> float:
        """The probability that a pedal is in the chain, summed over the alternatives kept."""
        return sum(share for names, share in self.alternatives if pedal in names)


@torch.inference_mode()
def decode(
    model: PedalOrderModel,
    pictures: Tensor,
    shelf: Sequence[str],
    *,
    beams: int = 12,
    temperature: float = 1.0,
) -> Prediction:
    """The chain behind one sound, by beam search.

    Every window of the sound votes: next-token log-probabilities are averaged over the windows at each step.

    Args:
        model: in evaluation mode.
        pictures: (windows, n_mels, frames), all of one recording, as made by `picture`.
        shelf: pedals that may occur.
        beams: how many beginnings are kept at each step; 1 is greedy.
        temperature: above 1 it makes the network less sure of the order, see `order_temperature`.

    Returns:
        The prediction; always a valid chain, since only tokens that the grammar allows are ever considered.

    Raises:
        ValueError: if `shelf` is empty or names a pedal outside the vocabulary, or a number is not positive.
    """
    opening = _open(model, pictures, shelf, beams=beams, temperature=temperature)
    found = _search(model, opening, shelf, beams, temperature)
    tokens = model.config.tokens
    alternatives = tuple((tokens.order(words), float(np.exp(score))) for score, words in found)
    names, probability = alternatives[0]
    return Prediction(
        tokens.units_to_chain(names, decode_knobs(model, opening, names)), probability, alternatives
    )


def _search(
    model: PedalOrderModel, cache: Cache, shelf: Sequence[str], beams: int, temperature: float
) -> list[tuple[float, list[int]]]:
    """Beam search over orders: (log-probability, words up to the separator), best first."""
    tokens, complete = model.config.tokens, []
    totals, beginnings = [0.0], [[START]]
    while beginnings:
        masks = np.stack([tokens.allowed(words, shelf) for words in beginnings])
        last = [words[-1:] for words in beginnings]
        scores, cache = next_log_probabilities(model, cache, last, masks, temperature=temperature)
        grown = [
            (totals[row] + float(scores[row, token]), row, [*words, int(token)])
            for row, words in enumerate(beginnings)
            for token in np.flatnonzero(masks[row])
        ]
        grown.sort(key=lambda item: -item[0])
        complete += [(total, words) for total, _, words in grown[:beams] if words[-1] == SEPARATOR]
        kept = [item for item in grown[:beams] if item[2][-1] != SEPARATOR]
        totals, beginnings = [total for total, _, _ in kept], [words for _, _, words in kept]
        cache = _pick(cache, [row for _, row, _ in kept])
    return sorted(complete, key=lambda item: -item[0])


@torch.inference_mode()
def decode_knobs(model: PedalOrderModel, cache: Cache, names: Sequence[str]) -> np.ndarray:
    """Expected unit value of every knob of `names`, in sentence order.

    Each knob's most probable bin is fed back; the value returned is the mean of its distribution, which errs less.

    Args:
        model: in evaluation mode.
        cache: the decoder's, before the first word: one row for each window.
        names: the order, already decided.

    Returns:
        (n_knobs,) float64 in 0..1.
    """
    tokens = model.config.tokens
    words, units = tokens.order_prefix(names), []
    unread, centres = words, (np.arange(tokens.n_bins) + 0.5) / tokens.n_bins
    for _ in range(tokens.n_knobs(names)):
        mask = tokens.allowed(words, tokens.pedals)
        scores, cache = next_log_probabilities(model, cache, [unread], mask[None])
        share = np.exp(scores[0, tokens.bin_slice()])
        units.append(float(share @ centres / share.sum()))
        unread = [int(np.argmax(scores[0]))]
        words = words + unread
    return np.array(units)


@torch.inference_mode()
def sample(
    model: PedalOrderModel,
    pictures: Tensor,
    shelf: Sequence[str],
    rng: np.random.Generator,
    *,
    n: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[Chain]:
    """Chains drawn from the network's distribution, order and knobs, word by word inside the grammar.

    Args:
        model: in evaluation mode.
        pictures: (windows, n_mels, frames), all of one recording; the windows vote as in `decode`.
        shelf: pedals that may occur.
        rng: draws the words.
        n: how many chains.
        temperature: divides the logits of every word; 1 is the network's own distribution, towards 0 it is greedy.
        top_p: in (0, 1]; only the most probable words that together reach this share may be drawn.

    Returns:
        n valid chains, knobs at the middle of the bins drawn.

    Raises:
        ValueError: as `decode`, and if `top_p` is out of range.

    Source: Holtzman et al. 2020, section 3.1 (nucleus sampling, `top_p`).
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {top_p}")
    tokens, cache = model.config.tokens, _open(model, pictures, shelf, n=n, temperature=temperature)
    cache, sentences, unfinished = (
        _pick(cache, [0] * n),
        [[START] for _ in range(n)],
        list(range(n)),
    )
    while unfinished:
        masks = np.stack([tokens.allowed(sentences[i], shelf) for i in unfinished])
        last = [sentences[i][-1:] for i in unfinished]
        scores, cache = next_log_probabilities(model, cache, last, masks, temperature=temperature)
        for i, row in zip(unfinished, scores, strict=True):
            sentences[i].append(draw(row, rng, top_p=top_p))
        kept = [row for row, i in enumerate(unfinished) if sentences[i][-1] != END]
        unfinished, cache = [unfinished[row] for row in kept], _pick(cache, kept)
    return [tokens.decode(words) for words in sentences]


def draw(scores: np.ndarray, rng: np.random.Generator, *, top_p: float = 1.0) -> int:
    """One token from log-probabilities (n_tokens,), among the most probable that together reach `top_p`."""
    share = np.exp(scores)
    best = np.argsort(-share, kind="stable")
    total = np.cumsum(share[best])
    last = int(np.searchsorted(total, top_p * total[-1]))
    # `random` is below 1, so that the place found never lies behind the last.
    return int(best[np.searchsorted(total[: last + 1], rng.random() * total[last], side="right")])


def next_log_probabilities(
    model: PedalOrderModel,
    cache: Cache,
    words: Sequence[Sequence[int]],
    masks: np.ndarray,
    *,
    temperature: float = 1.0,
) -> tuple[np.ndarray, Cache]:
    """Log-probability of each allowed next token, averaged over windows and normalised again.

    Args:
        model: in evaluation mode.
        cache: of n sentences, each with one row for every window.
        words: n equally long lists of the words that follow those in the cache.
        masks: (n, n_tokens) bool, what may follow each.
        temperature: divides the logits.

    Returns:
        (n, n_tokens) float64, -inf where it is not allowed; and the cache with `words` read.
    """
    windows = len(cache.source[0])
    unread = torch.tensor(words, device=cache.source[0].device).repeat_interleave(windows, dim=0)
    logits, cache = model.decoder.step(unread, cache)
    return _vote(logits[:, -1], masks, windows, temperature).cpu().numpy(), cache


@torch.inference_mode()
def order_logits(
    model: PedalOrderModel, pictures: Tensor, shelf: Sequence[str], orders: Sequence[Sequence[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """What the network says at each word of known orders, each picture heard alone.

    Args:
        model: in evaluation mode.
        pictures: (n, n_mels, frames).
        shelf: pedals that may occur.
        orders: the n true canonical orders.

    Returns:
        Log-probabilities (words, n_tokens), -inf outside the grammar, and the true words (words,).
    """
    tokens, scores, labels = model.config.tokens, [], []
    for one, names in zip(pictures, orders, strict=True):
        words, cache = tokens.order_prefix(names), _open(model, one[None], shelf)
        masks = np.stack([tokens.allowed(words[:k], shelf) for k in range(1, len(words))])
        logits, _ = model.decoder.step(torch.tensor([words[:-1]], device=_device(model)), cache)
        scores.append(_vote(logits[0], masks, 1, 1.0).cpu().numpy())
        labels += words[1:]
    return np.concatenate(scores), np.array(labels)


def order_temperature(
    model: PedalOrderModel, pictures: Tensor, shelf: Sequence[str], orders: Sequence[Sequence[str]]
) -> float:
    """The temperature at which the network's confidence in orders fits best, for `decode`.

    Args:
        model: in evaluation mode.
        pictures: (n, n_mels, frames) of validation sounds, never trained on.
        shelf: pedals that may occur.
        orders: their true canonical orders.

    Returns:
        Above 1 where the network is too sure of itself.
    """
    return fit_temperature(*order_logits(model, pictures, shelf, orders))


def setting_distances(
    model: PedalOrderModel, *, side: Literal["read", "written"] = "read"
) -> np.ndarray:
    """How far apart the vectors of two settings lie, by the distance of the settings.

    Args:
        model: trained or not.
        side: ``"read"``, the embeddings that the decoder reads, or ``"written"``, the rows of its output layer.

    Returns:
        (n_bins - 1,): entry k - 1 is the mean Euclidean distance of bins k apart, in units of the mean over all
        pairs. A network that knows no neighbours gives 1 everywhere; in one that does, it grows with k.

    Raises:
        ValueError: for another side.
    """
    sides = {"read": model.decoder.embedding, "written": model.decoder.logits}
    if side not in sides:
        raise ValueError(f"side must be read or written, got {side!r}")
    vectors = sides[side].weight.detach()[model.config.tokens.bin_slice()].double().cpu()
    apart = torch.cdist(vectors, vectors).numpy()
    n = len(apart)
    means = np.array([np.diagonal(apart, k).mean() for k in range(1, n)])
    return means / (apart.sum() / (n * (n - 1)))


def _device(model: PedalOrderModel) -> torch.device:
    return next(model.parameters()).device


def _open(
    model: PedalOrderModel, pictures: Tensor, shelf: Sequence[str], **positive: float
) -> Cache:
    """The decoder's cache before the first word, one row for each window. Checks the arguments of all decoders."""
    pedals = model.config.tokens.pedals
    if not shelf or not set(shelf) <= set(pedals):
        raise ValueError(f"shelf must name pedals among {pedals}, got {tuple(shelf)}")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    pictures = pictures.to(_device(model))
    vector = model.shelf_vector(shelf).to(pictures)
    return model.decoder.start(model.memory(pictures, vector.expand(len(pictures), -1)))


def _pick(cache: Cache, sentences: Sequence[int]) -> Cache:
    """The cache of the sentences named, each with all its windows."""
    windows = len(cache.source[0])
    rows = torch.tensor(sentences, dtype=torch.long)[:, None] * windows + torch.arange(windows)
    return cache.pick(rows.flatten().to(cache.source[0].device))


def _vote(logits: Tensor, masks: np.ndarray, windows: int, temperature: float) -> Tensor:
    """(n * windows, n_tokens) logits -> (n, n_tokens) log-probabilities inside the masks (n, n_tokens)."""
    allowed = torch.from_numpy(masks).to(logits.device)
    scores = (
        (logits.double() / temperature)
        .view(len(masks), windows, -1)
        .masked_fill(~allowed[:, None], -torch.inf)
    )
    return scores.log_softmax(-1).mean(1).log_softmax(-1)
