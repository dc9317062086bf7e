"""Random chains under a stated prior: what is drawn decides what an accuracy means."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect

Prior = Literal["subsets", "shuffled", "seed", "realistic"]
SEED_PEDALS = ("compressor", "distortion", "chorus", "phaser", "reverb")


@cache
def preset_counts() -> dict:
    """How often each pedal, and each before which other, stands in real presets (by tools/)."""
    return json.loads((Path(__file__).parent / "preset_counts.json").read_text())


@dataclass(frozen=True)
class ChainSampler:
    """Draws chains of distinct pedals.

    Attributes:
        pedals: the pedals to draw from, distinct names.
        prior: ``"subsets"``: every ordered subset (the empty one too) equally likely;
            ``"shuffled"``: a length uniform in 1..`max_length`, then distinct pedals in uniform
            order; ``"seed"``: the first pedal always, each other with probability 1/2, shuffled,
            then cut to `max_length`; ``"realistic"``: presence and order as counted in real
            presets, 1..`max_length` pedals.
        max_length: longest chain; default all pedals.

    Raises:
        ValueError: for no or repeated pedals, an unknown prior, a length outside 1..len(pedals), or
            a realistic prior over pedals that no counted preset holds.
        KeyError: for an unknown pedal.
    """

    pedals: tuple[str, ...]
    prior: Prior = "subsets"
    max_length: int | None = None

    def __post_init__(self) -> None:
        for name in self.pedals:
            effect(name)
        if len(set(self.pedals)) != len(self.pedals) or not self.pedals:
            raise ValueError(f"pedals must be distinct and not empty, got {self.pedals}")
        if self.prior not in get_args(Prior):
            raise ValueError(f"prior must be one of {get_args(Prior)}, got {self.prior!r}")
        if self.max_length is not None and not 1 <= self.max_length <= len(self.pedals):
            raise ValueError(f"max_length must lie in 1..{len(self.pedals)}, got {self.max_length}")
        if self.prior == "realistic" and preset_counts()["present"].keys().isdisjoint(self.pedals):
            raise ValueError(f"no counted preset holds any of {self.pedals}: choose another prior")

    @property
    def longest(self) -> int:
        """The longest chain that can be drawn."""
        return self.max_length or len(self.pedals)

    def order(self, rng: np.random.Generator) -> tuple[str, ...]:
        """The pedals' names of one chain."""
        if self.prior == "subsets":
            subsets = _ordered_subsets(self.pedals, self.longest)
            return subsets[rng.integers(len(subsets))]
        if self.prior == "shuffled":
            length = int(rng.integers(1, self.longest + 1))
            return tuple(str(name) for name in rng.permutation(self.pedals)[:length])
        if self.prior == "seed":
            kept = [name for i, name in enumerate(self.pedals) if i == 0 or rng.random() < 0.5]
            return tuple(str(name) for name in rng.permutation(kept)[: self.longest])
        return self._realistic(rng)

    def sample(self, rng: np.random.Generator) -> Chain:
        """One chain with settings drawn uniformly on each knob's own scale."""
        return Chain(tuple(Step(name, effect(name).space.sample(rng)) for name in self.order(rng)))

    def _realistic(self, rng: np.random.Generator) -> tuple[str, ...]:
        counts = preset_counts()
        rates = {name: counts["present"].get(name, 0) / counts["n_chains"] for name in self.pedals}
        kept: list[str] = []
        while not 1 <= len(kept) <= self.longest:
            kept = [name for name, rate in rates.items() if rng.random() < rate]
        orders = list(itertools.permutations(kept))
        weights = np.array([_order_weight(order, counts["before"]) for order in orders])
        return orders[rng.choice(len(orders), p=weights / weights.sum())]


@cache
def _ordered_subsets(pedals: tuple[str, ...], longest: int) -> list[tuple[str, ...]]:
    return [order for k in range(longest + 1) for order in itertools.permutations(pedals, k)]


def _order_weight(order: Sequence[str], before: dict[str, int]) -> float:
    # Product of pairwise shares. One is added to every count, so that a pair never seen counts as
    # even, not as impossible.
    weight = 1.0
    for first, second in itertools.combinations(order, 2):
        forward = before.get(f"{first} {second}", 0) + 1
        backward = before.get(f"{second} {first}", 0) + 1
        weight *= forward / (forward + backward)
    return weight
