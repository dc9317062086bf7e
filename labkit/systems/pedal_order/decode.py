"""From the network's memory to a chain: beam search inside the grammar, then the knobs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.tokens import SEPARATOR, START


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


@torch.no_grad()
def decode(model: PedalOrderModel, pictures: Tensor, shelf: Sequence[str], *, beams: int = 12) -> Prediction:
    """The chain behind one sound.

    Every window of the sound votes: next-token log-probabilities are averaged over the windows at each step.

    Args:
        model: in evaluation mode.
        pictures: (windows, n_mels, frames), all of one recording, as made by `picture`.
        shelf: pedals that may occur.
        beams: how many beginnings are kept at each step.

    Returns:
        The prediction; always a valid chain, since only tokens that the grammar allows are ever considered.

    Raises:
        ValueError: if `shelf` is empty or names a pedal outside the vocabulary.
    """
    tokens = model.config.tokens
    if not shelf or not set(shelf) <= set(tokens.pedals):
        raise ValueError(f"shelf must name pedals among {tokens.pedals}, got {tuple(shelf)}")
    pictures = pictures.to(next(model.parameters()).device)
    memory = model.memory(pictures, model.shelf_vector(shelf).to(pictures).expand(len(pictures), -1))
    complete: list[tuple[float, list[int]]] = []
    beginnings: list[tuple[float, list[int]]] = [(0.0, [START])]
    while beginnings:
        masks = np.stack([tokens.allowed(words, shelf) for _, words in beginnings])
        scores = next_log_probabilities(model, memory, [words for _, words in beginnings], masks)
        grown = [
            (score + float(scores[row, token]), [*words, int(token)])
            for row, (score, words) in enumerate(beginnings)
            for token in np.flatnonzero(masks[row])
        ]
        grown.sort(key=lambda item: -item[0])
        complete += [item for item in grown[:beams] if item[1][-1] == SEPARATOR]
        beginnings = [item for item in grown[:beams] if item[1][-1] != SEPARATOR]
    complete.sort(key=lambda item: -item[0])
    alternatives = tuple((tokens.order(words), float(np.exp(score))) for score, words in complete)
    names, probability = alternatives[0]
    units = decode_knobs(model, memory, names)
    return Prediction(tokens.units_to_chain(names, units), probability, alternatives)


@torch.no_grad()
def decode_knobs(model: PedalOrderModel, memory: Tensor, names: Sequence[str]) -> np.ndarray:
    """Expected unit value of every knob of `names`, in sentence order.

    Each knob's most probable bin is fed back; the value returned is the mean of its distribution, which errs less.

    Args:
        model: in evaluation mode.
        memory: (windows, s, width).
        names: the order, already decided.

    Returns:
        (n_knobs,) float64 in 0..1.
    """
    tokens = model.config.tokens
    words, units = tokens.order_prefix(names), []
    centres = (np.arange(tokens.n_bins) + 0.5) / tokens.n_bins
    for _ in range(tokens.n_knobs(names)):
        mask = tokens.allowed(words, tokens.pedals)
        scores = next_log_probabilities(model, memory, [words], mask[None])[0]
        share = np.exp(scores[tokens.bin_slice()])
        units.append(float(share @ centres / share.sum()))
        words.append(int(np.argmax(scores)))
    return np.array(units)


def next_log_probabilities(
    model: PedalOrderModel, memory: Tensor, sentences: Sequence[Sequence[int]], masks: np.ndarray
) -> np.ndarray:
    """Log-probability of each allowed next token, averaged over windows and normalised again.

    Args:
        model: in evaluation mode.
        memory: (windows, s, width).
        sentences: n beginnings of equal length.
        masks: (n, n_tokens) bool, what may follow each.

    Returns:
        (n, n_tokens) float64; -inf where it is not allowed.
    """
    words = torch.tensor(sentences, device=memory.device)
    n, windows = len(words), len(memory)
    logits = model.decoder(
        words.repeat_interleave(windows, dim=0), memory.repeat(n, 1, 1)
    )[:, -1].double()  # fmt: skip
    allowed = torch.from_numpy(masks).to(logits.device)
    scores = logits.view(n, windows, -1).masked_fill(~allowed[:, None], -torch.inf).log_softmax(-1)
    return scores.mean(1).log_softmax(-1).cpu().numpy()
