"""A chain of pedals: rendered, printed, saved, put into canonical order, and drawn at random."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from labkit.effects.effect import Board, PitchShift, commutes, process
from labkit.effects.parameters import ParameterSpace
from labkit.effects.registry import effect
from labkit.signal.optional import need
from labkit.signal.paths import read_text, replace_text

_SHIFTED = """

def board(audio, sample_rate):
    shift = {{"pitch_shift_in_semitones": {}, "preserve_formants": False}}
    return pedals(time_stretch(audio, sample_rate, **shift), sample_rate)"""
# The text of an empty chain.
NO_PEDALS = "no pedals: the recording is dry"
# Class names of pedalboard with their arguments, or names of pedals that it lacks with their knobs;
# a "Mix" has parallel lists of such instead.
Plugins = list[tuple[str, Any]]


@dataclass(frozen=True)
class Step:
    """One pedal of a chain; every knob is in physical units and checked.

    Ranges limit what is drawn and searched; a step that only changes the level may be of any size.
    """

    effect: str
    params: Mapping[str, float]
    in_range: bool = field(default=True, compare=False)  # whether knobs must lie in their ranges

    def __post_init__(self) -> None:
        record, space = effect(self.effect), effect(self.effect).space
        params = {name: float(value) for name, value in self.params.items()}
        bounded = self.in_range and not record.level_only
        finite = all(map(np.isfinite, params.values()))
        if bounded or set(params) != set(space.names) or not finite:
            space.check(params)
        object.__setattr__(self, "params", MappingProxyType(params))

    def __reduce__(self) -> tuple[type["Step"], tuple]:
        # A read-only mapping cannot be pickled; worker processes get the step anew.
        return Step, (self.effect, dict(self.params), self.in_range)

    def __str__(self) -> str:
        space = effect(self.effect).space
        knobs = (f"{p.name}={self.params[p.name]:.3g}" for p in space.parameters)
        return f"{self.effect}({', '.join(knobs)})"


@dataclass(frozen=True)
class Chain:
    """An ordered chain of pedals, first pedal first; without steps it is the clean sound."""

    steps: tuple[Step, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The pedals' names in order."""
        return tuple(step.effect for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self):
        return iter((step.effect, dict(step.params)) for step in self.steps)

    def __str__(self) -> str:
        return " -> ".join(map(str, self.steps)) or NO_PEDALS

    def render(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """The chain applied by pedalboard (and by torch, what that lacks), as by `process`."""
        records = [effect(step.effect) for step in self.steps]
        plugins = [one.build(step.params) for one, step in zip(records, self.steps, strict=True)]
        board = need("pedalboard").Pedalboard if all(one.plugin for one in records) else Board
        return process(board(plugins) if plugins else None, audio, sample_rate)

    def canonical(self) -> "Chain":
        """The one chain that stands for every order that sounds the same.

        At each place comes the alphabetically first pedal that can be swapped there. Two chains
        sound the same (by the rule of `commutes`) exactly when their canonical forms are equal.

        Source: lexicographic normal form of a trace (Anisimov and Knuth 1979).
        """

        def swap(first: Step, second: Step) -> bool:
            return commutes(effect(first.effect), effect(second.effect))

        rest, ordered = list(self.steps), []
        while rest:
            movable = [
                step for i, step in enumerate(rest) if all(swap(other, step) for other in rest[:i])
            ]
            chosen = min(movable, key=lambda step: (step.effect, sorted(step.params.items())))
            rest.remove(chosen)
            ordered.append(chosen)
        return Chain(tuple(ordered))

    def input_referred(self, shift_db: float) -> "Chain":
        """The chain that acts on a sound as this one does on it `shift_db` louder, up to a gain.

        A drive rises by as much as the input gets softer; a threshold falls. Knobs behind a drive
        stay. Knobs stop at the ends of their ranges.
        """
        steps = []
        for step in self.steps:
            record, params = effect(step.effect), dict(step.params)
            knob = record.level_knob
            if shift_db and not record.linear:
                if knob is None:
                    raise ValueError(
                        f"{record.name} has no knob that makes up for the level of its input"
                    )
                ends = record.space[knob.name]
                moved = params[knob.name] + knob.per_db * shift_db
                params[knob.name] = float(np.clip(moved, ends.low, ends.high))
                shift_db = 0.0 if knob.absorbs else shift_db
            steps.append(Step(step.effect, params, step.in_range))
        return Chain(tuple(steps))

    def to_json(self) -> str:
        """JSON text: a summary for people, and the steps, a list of {"effect", "params"}.

        A step whose knobs need not lie in their ranges says ``"in_range": false``.
        """
        rows = [
            {"effect": step.effect, "params": dict(step.params)}
            | ({} if step.in_range else {"in_range": False})
            for step in self.steps
        ]
        return json.dumps({"summary": str(self), "steps": rows}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Chain":
        """The chain of `to_json`, or of its steps alone, checked; ValueError for another text."""
        try:
            match json.loads(text):
                case [*rows] | {"steps": [*rows]} if all(map(_is_row, rows)):
                    steps = [(r["effect"], r["params"], r.get("in_range", True)) for r in rows]
                    return cls(tuple(Step(*step) for step in steps))
        except (json.JSONDecodeError, RecursionError, OverflowError):
            pass
        except KeyError as error:  # of a pedal that is not there
            raise ValueError(error.args[0]) from error
        raise ValueError(f'a chain is a JSON list of {{"effect", "params"}}, got {text[:60]!r}')

    def save(self, path: str | Path) -> None:
        replace_text(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Chain":
        """Read what `save` wrote."""
        return cls.from_json(read_text(path))

    def to_code(self) -> str:
        """Python source that builds the same board with pedalboard alone, to the last bit."""
        if not self.steps:
            return f"# {NO_PEDALS}\n{pedalboard_code([])}"
        code = pedalboard_code([effect(step.effect).played(step.params) for step in self.steps])
        return f"# {self}\n{code}" if code.startswith("#") else code


def build_board(plugins: Plugins) -> Board:
    """Fresh plug-ins, called like a `pedalboard.Pedalboard`."""
    pedalboard = need("pedalboard")
    board = Board()
    for name, given in plugins:
        if name == "Mix":
            paths = [pedalboard.Pedalboard(build_board(path)) for path in given]
            board.append(pedalboard.Mix(paths))
        elif name == "PitchShift":
            board.append(PitchShift(**given))
        elif name.islower():  # a pedal of the lab, no class
            board.append(effect(name).build(given))
        else:
            board.append(getattr(pedalboard, name)(**given))
    return board


def pedalboard_code(plugins: Plugins) -> str:
    """Python source with a `board` that does what that of `build_board` does.

    A pitch shift must come first: it is a function of pedalboard, and so the board becomes one.
    Where pedalboard lacks a pedal there is no such source, but a remark.
    """
    if own := [name for name, _ in plugins if name.islower()]:
        return f"# pedalboard has no {', '.join(dict.fromkeys(own))}"
    shifts = [given["semitones"] for name, given in plugins[:1] if name == "PitchShift"]
    lines = _code_lines(plugins[len(shifts) :], "    ")
    classes = {line.split("(")[0].strip() for line in lines if "(" in line} - {"Pedalboard"}
    imported = ", ".join(["Pedalboard", *sorted(classes), *["time_stretch" for _ in shifts]])
    name = "pedals" if shifts else "board"
    head = [f"from pedalboard import {imported}", "", f"{name} = Pedalboard(["]
    return "\n".join([*head, *lines, "])", *map(_SHIFTED.format, shifts)])


def _code_lines(plugins: Plugins, indent: str) -> list[str]:
    lines = []
    for name, given in plugins:
        if name == "Mix":
            lines.append(f"{indent}Mix([")
            for path in given:
                inner = _code_lines(path, indent + "        ")
                lines += [f"{indent}    Pedalboard([", *inner, f"{indent}    ]),"]
            lines.append(f"{indent}]),")
        else:
            # pedalboard's knobs are float32: the shortest text that reads back as the same float32
            knobs = ", ".join(f"{key}={np.float32(value)!s}" for key, value in given.items())
            lines.append(f"{indent}{name}({knobs}),")
    return lines


def _is_row(row: object) -> bool:
    match row:
        case {"effect": str(), "params": dict(params)}:
            numbers = all(type(value) in (int, float) for value in params.values())
            return numbers and type(row.get("in_range", True)) is bool
    return False


def count_orders(names: Sequence[str]) -> int:
    """How many orders of these pedals, with distinct names, can be told apart.

    It is the number of acyclic orientations of the graph that joins two pedals when they do not
    commute. The time grows with 3 to the power of the number of pedals (twelve take a second).

    Source: Stanley 1973 (the chromatic polynomial at -1), by inclusion and exclusion over the sets
    of pedals that can all stand first.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"names must be distinct, got {list(names)}")
    pairs = itertools.combinations([effect(name) for name in names], 2)
    apart = {frozenset((one.name, other.name)) for one, other in pairs if not commutes(one, other)}

    @cache
    def orders(left: frozenset[str]) -> int:
        total = 0 if left else 1
        for n in range(1, len(left) + 1):
            for first in itertools.combinations(left, n):
                if apart.isdisjoint(map(frozenset, itertools.combinations(first, 2))):
                    total -= (-1) ** n * orders(left.difference(first))
        return total

    return orders(frozenset(names))


@dataclass(frozen=True)
class ChainSpace:
    """All chains of the same pedals as points of a unit cube; some knobs vary, others are fixed."""

    # (name, fixed knobs in physical units) in order; fixed knobs may leave their ranges
    pedals: tuple[tuple[str, Mapping[str, float]], ...]

    @cached_property
    def spaces(self) -> tuple[ParameterSpace, ...]:
        """The variable knobs, pedal by pedal."""
        free = (
            tuple(p for p in effect(name).space.parameters if p.name not in fixed)
            for name, fixed in self.pedals
        )
        return tuple(map(ParameterSpace, free))

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """The place of every pedal's knobs in a vector of them all."""
        ends = np.cumsum([0, *map(len, self.spaces)]).tolist()
        return tuple(slice(*pair) for pair in itertools.pairwise(ends))

    @property
    def n_knobs(self) -> int:
        """The number of variable knobs."""
        return self.columns[-1].stop if self.columns else 0

    def from_unit(self, params_unit: np.ndarray) -> Chain:
        """The chain at (n_knobs,) in 0..1; a ValueError for another range or number."""
        n = len(params_unit)
        if n != self.n_knobs:
            raise ValueError(f"params_unit must hold {self.n_knobs} values, got {n}")
        steps = []
        for (name, fixed), space, columns in self._parts():
            params = {**fixed, **space.from_unit(params_unit[columns])}
            steps.append(Step(name, params, in_range=False))
        return Chain(tuple(steps))

    def render_batch(self, audio: Tensor, sample_rate: int, params_unit: Tensor) -> Tensor:
        """Audio (batch, channels, samples), each at its own (batch, n_knobs), with gradients."""
        for (name, fixed), space, columns in self._parts():
            knobs = space.from_unit_batch(params_unit[:, columns])
            audio = effect(name).differentiable(audio, sample_rate, **fixed, **knobs)
        return audio

    def _parts(self) -> Iterable[tuple[tuple[str, Mapping[str, float]], ParameterSpace, slice]]:
        return zip(self.pedals, self.spaces, self.columns, strict=True)


def chain_space(names: Iterable[str]) -> ChainSpace:
    """All chains of these pedals, with every knob variable."""
    return ChainSpace(tuple((name, {}) for name in names))


def render_chains(
    audio: Tensor, sample_rate: int, chains: Sequence[Iterable[tuple[str, Mapping[str, float]]]]
) -> Tensor:
    """Every item of (batch, channels, samples) through its own chain, in torch.

    A chain is a `Chain`, or pairs of a pedal's name and all its knobs.
    """
    wet = []
    for item, chain in zip(audio.split(1), chains, strict=True):
        for name, knobs in chain:
            item = effect(name).differentiable(item, sample_rate, **knobs)
        wet.append(item)
    return torch.cat(wet)


# The prior of random chains, on which the meaning of an accuracy depends.
Prior = Literal["subsets", "shuffled"]


@dataclass(frozen=True)
class ChainSampler:
    """Draws random chains of distinct pedals."""

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
