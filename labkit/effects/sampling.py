"""Random chains from a stated prior, on which the meaning of an accuracy depends."""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect

Prior = Literal["subsets", "shuffled"]


@dataclass(frozen=True)
class ChainSampler:
    """Draws chains of distinct pedals."""

    pedals: tuple[str, ...]  # the pedals to draw from, distinct names
    # "subsets": every ordered subset (the empty one too) equally likely; "shuffled": a
    # length uniform in 1..`max_length`, then distinct pedals in uniform order
    prior: Prior = "subsets"
    max_length: int | None = None  # longest chain; default all pedals

    def __post_init__(self) -> None:
        for name in self.pedals:
            effect(name)
        if len(set(self.pedals)) != len(self.pedals) or not self.pedals:
            raise ValueError(f"pedals must be distinct and not empty, got {self.pedals}")
        if self.prior not in get_args(Prior):
            raise ValueError(f"prior must be one of {get_args(Prior)}, got {self.prior!r}")
        if self.max_length is not None and not 1 <= self.max_length <= len(self.pedals):
            raise ValueError(f"max_length must lie in 1..{len(self.pedals)}, got {self.max_length}")

    @property
    def longest(self) -> int:
        """The longest chain that can be drawn."""
        return self.max_length or len(self.pedals)

    def order(self, rng: np.random.Generator) -> tuple[str, ...]:
        """The pedals' names of one chain."""
        if self.prior == "subsets":
            subsets = _ordered_subsets(self.pedals, self.longest)
            return subsets[rng.integers(len(subsets))]
        length = int(rng.integers(1, self.longest + 1))
        return tuple(str(name) for name in rng.permutation(self.pedals)[:length])

    def sample(self, rng: np.random.Generator) -> Chain:
        """One chain with settings drawn uniformly on each knob's own scale."""
        return Chain(tuple(Step(name, effect(name).space.sample(rng)) for name in self.order(rng)))


@cache
def _ordered_subsets(pedals: tuple[str, ...], longest: int) -> list[tuple[str, ...]]:
    return [order for k in range(longest + 1) for order in itertools.permutations(pedals, k)]
