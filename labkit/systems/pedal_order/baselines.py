"""What a model must beat, and what none can: the prior, statistics with a small network, the oracle."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.measure.metrics import si_sdr_db
from labkit.signal.optional import need
from labkit.systems.pedal_order.config import Config, Protocol
from labkit.systems.pedal_order.data import Example

Names = tuple[str, ...]
# Swaps that leave the sound this alike are taken to be inaudible.
ALIKE_DB = 30.0


def canonical_names(names: Names) -> Names:
    """The canonical order of distinct pedals given by name alone."""
    middle = (
        Step(name, effect(name).space.from_unit(np.full(len(effect(name).space), 0.5)))
        for name in names
    )
    return Chain(tuple(middle)).canonical().names


def canonical_prior(protocol: Protocol) -> dict[Names, float]:
    """The probability of every canonical chain of a protocol, by enumeration.

    Args:
        protocol: with the prior ``"subsets"`` or ``"shuffled"``.

    Returns:
        canonical order -> probability, most probable first; they sum to 1.

    Raises:
        ValueError: for another prior.
    """
    lengths = range(protocol.sampler.longest + 1)
    orders = {k: list(itertools.permutations(protocol.pedals, k)) for k in lengths}
    if protocol.prior == "subsets":
        shares = dict.fromkeys(lengths, 1 / sum(map(len, orders.values())))
    elif protocol.prior == "shuffled":
        shares = {k: 1 / (protocol.sampler.longest * len(orders[k])) if k else 0.0 for k in lengths}
    else:
        raise ValueError(
            f"prior must be subsets or shuffled to be enumerated, got {protocol.prior!r}"
        )
    prior: Counter[Names] = Counter()
    for k in lengths:
        for names in orders[k]:
            prior[canonical_names(names)] += shares[k]
    return {names: share for names, share in prior.most_common() if share > 0}


def prior_nats(protocol: Protocol) -> float:
    """The entropy of the canonical chains, in nats: where the order loss of a model that hears nothing stops."""
    return -sum(share * math.log(share) for share in canonical_prior(protocol).values())


def statistics(pictures: torch.Tensor) -> np.ndarray:
    """MFCC statistics of log-mel pictures: mean, deviation and deviation of the differences of 30 coefficients.

    Args:
        pictures: (n, n_mels, frames).

    Returns:
        (n, 90) float32.
    """
    mfcc = need("scipy.fft").dct(pictures.numpy(), type=2, norm="ortho", axis=1)[:, :30]
    return np.concatenate([mfcc.mean(-1), mfcc.std(-1), np.diff(mfcc, axis=-1).std(-1)], axis=1)


def statistics_floor(
    pictures: torch.Tensor, orders: Sequence[Names], *, seed: int
) -> Callable[[torch.Tensor], list[Names]]:
    """Train MFCC statistics and a two-layer perceptron (256, 128), one class per canonical order.

    Args:
        pictures: (n, n_mels, frames) to learn from.
        orders: their canonical orders.
        seed: of the network.

    Returns:
        A function from pictures to predicted orders.

    Source: the usual floor of effect recognition, e.g. Guo and McFee 2023 (MFCC + MLP).
    """
    classes = sorted(set(orders))
    labels = [classes.index(names) for names in orders]
    features = statistics(pictures)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    network = need("sklearn.neural_network").MLPClassifier(
        (256, 128), random_state=seed, max_iter=40, early_stopping=True, n_iter_no_change=6
    )
    network.fit((features - mean) / deviation, labels)
    return lambda heard: [
        classes[i] for i in network.predict((statistics(heard) - mean) / deviation)
    ]


def oracle_share(config: Config, example: Example) -> float:
    """The chance that one who has the dry sound, the pedals and every setting names the canonical order.

    Every order of the pedals is rendered; those within `ALIKE_DB` of the wet sound cannot be told from the truth,
    and the oracle picks one of their canonical orders at random.
    """
    orders = {
        Chain(steps).canonical().names: Chain(steps).canonical()
        for steps in itertools.permutations(example.chain.steps)
    }
    others = [chain for names, chain in orders.items() if names != example.chain.names]
    alike = sum(
        si_sdr_db(example.wet, example.apply(chain, config.sample_rate)) > ALIKE_DB
        for chain in others
    )
    return 1.0 / (1 + alike)


def inert_pedals(config: Config, example: Example) -> set[str]:
    """The pedals of a chain that nobody can hear: without any one of them the wet sound is within `ALIKE_DB`.

    A low drive behind a compressor bends nothing. No listener can name such a pedal, whatever the label says.
    """
    steps = example.chain.steps
    return {
        step.effect
        for k, step in enumerate(steps)
        if si_sdr_db(
            example.wet, example.apply(Chain(steps[:k] + steps[k + 1 :]), config.sample_rate)
        )
        > ALIKE_DB
    }


def without(names: Names, gone: set[str]) -> Names:
    """The canonical order of `names` but those in `gone`."""
    return canonical_names(tuple(name for name in names if name not in gone))
