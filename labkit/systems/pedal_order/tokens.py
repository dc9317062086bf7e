"""A chain as a sentence: first the pedals in order, then the knobs of each; and the grammar that keeps it one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.parameters import ParameterSpace
from labkit.effects.registry import effect

PAD, START, SEPARATOR, END = range(4)


@dataclass(frozen=True)
class ChainTokens:
    """The vocabulary of chains over a shelf of pedals.

    A sentence is ``start pedal pedal ... separator bin bin ... end``: knobs follow in the order of the pedals and,
    within a pedal, of its parameter space. The vocabulary holds 4 special words, one per pedal, and `n_bins` shared
    by all knobs, as the position tells which knob is meant.

    Attributes:
        pedals: names on the shelf, distinct.
        n_bins: cells of every knob's unit interval.
        max_pedals: longest chain.
    """

    pedals: tuple[str, ...]
    n_bins: int = 16
    max_pedals: int = 5

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return 4 + len(self.pedals) + self.n_bins

    @property
    def max_length(self) -> int:
        """Length of the longest sentence, start and end included."""
        knobs = sorted((len(self._space(name)) for name in self.pedals), reverse=True)
        return 3 + self.max_pedals + sum(knobs[: self.max_pedals])

    def encode(self, chain: Chain) -> list[int]:
        """The sentence of a chain. Raises ValueError for a pedal that is not on the shelf or a chain too long."""
        self._check(chain.names)
        bins = [
            b for s in chain.steps for b in self._space(s.effect).to_bins(s.params, self.n_bins)
        ]
        return [*self.order_prefix(chain.names), *(self._first_bin + b for b in bins), END]

    def order_prefix(self, names: Sequence[str]) -> list[int]:
        """The first part of a sentence: ``start pedal ... separator``."""
        self._check(names)
        return [START, *(4 + self.pedals.index(name) for name in names), SEPARATOR]

    def decode(self, tokens: Sequence[int]) -> Chain:
        """The chain of a complete sentence, knobs at their bins' centres. Raises ValueError for a broken sentence."""
        names = self.order(tokens)
        values = [token - self._first_bin for token in tokens[len(names) + 2 : -1]]
        if tokens[-1] != END or len(values) != self.n_knobs(names):
            raise ValueError(
                f"a sentence over {names} has {self.n_knobs(names)} knobs and an end, got {list(tokens)}"
            )
        steps = []
        for name in names:
            size = len(self._space(name))
            steps.append(Step(name, self._space(name).from_bins(values[:size], self.n_bins)))
            values = values[size:]
        return Chain(tuple(steps))

    def order(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """The pedals of a sentence or of its first part. Raises ValueError when it does not start as one."""
        tokens = list(tokens)
        if tokens[:1] != [START] or SEPARATOR not in tokens:
            raise ValueError(f"a sentence is start, pedals, separator, ..., got {tokens}")
        inner = tokens[1 : tokens.index(SEPARATOR)]
        if any(not 4 <= token < self._first_bin for token in inner):
            raise ValueError(f"only pedals may stand before the separator, got {tokens}")
        return tuple(self.pedals[token - 4] for token in inner)

    def allowed(self, prefix: Sequence[int], shelf: Sequence[str]) -> np.ndarray:
        """Which tokens may follow `prefix` (n_tokens,) bool, when only the pedals on `shelf` may occur.

        Args:
            prefix: a legal beginning of a sentence, start included.
            shelf: names; a subset of `pedals`.

        Returns:
            The mask; every path through it ends in a sentence that `decode` accepts.
        """
        mask = np.zeros(self.n_tokens, dtype=bool)
        prefix = list(prefix)
        if SEPARATOR not in prefix:
            used = prefix[1:]
            mask[SEPARATOR] = True
            if len(used) < self.max_pedals:
                mask[[4 + self.pedals.index(name) for name in shelf]] = True
                mask[used] = False
            return mask
        names = self.order(prefix)
        if len(prefix) - len(names) - 2 < self.n_knobs(names):
            mask[self._first_bin :] = True
        else:
            mask[END] = True
        return mask

    def bin_of(self, token: int) -> int:
        """The bin that a knob token stands for."""
        return token - self._first_bin

    def bin_slice(self) -> slice:
        """Where the knob tokens lie in the vocabulary."""
        return slice(self._first_bin, self.n_tokens)

    def n_knobs(self, names: Sequence[str]) -> int:
        """How many knobs these pedals have together."""
        return sum(len(self._space(name)) for name in names)

    def units_to_chain(self, names: Sequence[str], units: Sequence[float]) -> Chain:
        """A chain from pedal names and one unit value (0..1) per knob, in sentence order."""
        steps, start = [], 0
        for name in names:
            stop = start + len(self._space(name))
            params: Mapping[str, float] = self._space(name).from_unit(np.asarray(units[start:stop]))
            steps.append(Step(name, params))
            start = stop
        return Chain(tuple(steps))

    @property
    def _first_bin(self) -> int:
        return 4 + len(self.pedals)

    def _space(self, name: str) -> ParameterSpace:
        return effect(name).space

    def _check(self, names: Sequence[str]) -> None:
        if (
            len(set(names)) != len(names)
            or len(names) > self.max_pedals
            or not set(names) <= set(self.pedals)
        ):
            raise ValueError(
                f"a chain holds at most {self.max_pedals} distinct pedals of {self.pedals}, got {tuple(names)}"
            )
