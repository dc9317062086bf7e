"""How much of a chain's information the network takes from the sound: nats of the set and of the order."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from labkit.systems.pedal_order.baselines import canonical_names, canonical_prior
from labkit.systems.pedal_order.config import Protocol
from labkit.systems.pedal_order.data import Example
from labkit.systems.pedal_order.model import PedalOrderModel

Names = tuple[str, ...]


def prior_split(protocol: Protocol) -> dict[str, float]:
    """The entropy of a protocol's canonical chains, split by the chain rule.

    Args:
        protocol: with a prior that can be enumerated.

    Returns:
        ``set`` and ``order`` (given the set), in nats: what a model that hears nothing has to pay for each.
    """
    chains = canonical_prior(protocol)
    sets: dict[frozenset[str], float] = {}
    for names, share in chains.items():
        sets[frozenset(names)] = sets.get(frozenset(names), 0.0) + share
    of_set = -sum(share * math.log(share) for share in sets.values())
    whole = -sum(share * math.log(share) for share in chains.values())
    return {"set": of_set, "order": whole - of_set}


@torch.no_grad()
def spent_nats(
    model: PedalOrderModel, examples: Sequence[Example], pictures: torch.Tensor
) -> dict[str, np.ndarray]:
    """The nats that the network needs for each true chain after it has heard the sound.

    Args:
        model: in evaluation mode.
        examples: n of them.
        pictures: (n, n_mels, frames), theirs.

    Returns:
        ``set``: minus the log of the probability of all canonical orders of the true set together; ``order``: the
        rest of minus the log probability of the true order; both (n,).
    """
    spent = {"set": [], "order": []}
    for example, picture in zip(examples, pictures, strict=True):
        truth = example.chain.names
        orders = sorted({canonical_names(names) for names in itertools.permutations(truth)})
        scores = order_log_probabilities(model, picture, orders, example.protocol.pedals)
        of_set = -float(np.logaddexp.reduce(scores))
        spent["set"].append(of_set)
        spent["order"].append(-float(scores[orders.index(truth)]) - of_set)
    return {name: np.array(values) for name, values in spent.items()}


@torch.no_grad()
def order_log_probabilities(
    model: PedalOrderModel, picture: torch.Tensor, orders: Sequence[Names], shelf: Sequence[str]
) -> np.ndarray:
    """What the network, held to the grammar, gives to each of several orders of one length.

    Args:
        model: in evaluation mode.
        picture: (n_mels, frames).
        orders: pedals in order, all of one length.
        shelf: pedals that may occur.

    Returns:
        (orders,) natural logarithms.
    """
    tokens, device = model.config.tokens, next(model.parameters()).device
    sentences = [tokens.order_prefix(names) for names in orders]
    memory = model.memory(picture[None].to(device), model.shelf_vector(shelf)[None].to(device))
    words = torch.tensor(sentences, device=device)
    logits = model.decoder(words[:, :-1], memory.expand(len(words), -1, -1)).double().cpu()
    allowed = np.stack(
        [[tokens.allowed(s[:end], shelf) for end in range(1, len(s))] for s in sentences]
    )
    nats = logits.masked_fill(~torch.from_numpy(allowed), -torch.inf).log_softmax(-1)
    return nats.gather(2, words[:, 1:, None].cpu()).sum((1, 2)).numpy()
