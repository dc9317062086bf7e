"""A chain of pedals: rendered, printed, saved, and put into the order that stands for all orders that sound alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from labkit.effects.effect import commutes, process
from labkit.effects.registry import effect
from labkit.signal.optional import need
from labkit.signal.paths import replace_text


@dataclass(frozen=True)
class Step:
    """One pedal of a chain.

    Attributes:
        effect: name in the registry.
        params: every knob, physical units.

    Raises:
        KeyError: for an unknown pedal.
        ValueError: for a missing, unknown or out-of-range knob.
    """

    effect: str
    params: Mapping[str, float]

    def __post_init__(self) -> None:
        effect(self.effect).space.check(self.params)
        object.__setattr__(
            self, "params", MappingProxyType({k: float(v) for k, v in self.params.items()})
        )

    def __reduce__(self) -> tuple[type["Step"], tuple[str, dict[str, float]]]:
        # A read-only mapping cannot be pickled; worker processes get the step anew.
        return Step, (self.effect, dict(self.params))

    def __str__(self) -> str:
        space = effect(self.effect).space
        knobs = (f"{p.name}={self.params[p.name]:.3g}" for p in space.parameters)
        return f"{self.effect}({', '.join(knobs)})"


@dataclass(frozen=True)
class Chain:
    """An ordered chain of pedals, first pedal first.

    Attributes:
        steps: the pedals; may be empty (the clean sound).
    """

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
        return " -> ".join(map(str, self.steps)) or "(clean)"

    def render(
        self,
        audio: np.ndarray,
        sample_rate: int,
        *,
        backend: Literal["pedalboard", "torch"] = "pedalboard",
    ) -> np.ndarray:
        """The chain applied, every pedal starting from rest.

        Args:
            audio: (channels, samples) float, or (samples,) for mono; at least one sample, finite.
            sample_rate: Hz.
            backend: ``"pedalboard"``, or ``"torch"`` for the twins (batches and gradients: `twins.render_chains`).

        Returns:
            (channels, samples) float32, a new array of the same length; tails beyond the end are cut.

        Raises:
            ValueError: if audio or rate is not usable (an `AudioError`), or for another backend.
        """
        if backend == "torch":
            from labkit.effects.twins.board import render_numpy

            return render_numpy(self, audio, sample_rate)
        if backend != "pedalboard":
            raise ValueError(f'backend must be "pedalboard" or "torch", got {backend!r}')
        plugins = [effect(step.effect).build(step.params) for step in self.steps]
        return process(
            need("pedalboard").Pedalboard(plugins) if plugins else None, audio, sample_rate
        )

    def canonical(self) -> "Chain":
        """The one chain that stands for every order that sounds the same.

        Neighbours that commute are sorted by name: at each place comes the alphabetically first pedal that can be
        swapped there. Two chains are equal by ear (as far as `commutes` knows) exactly when their canonical names
        and parameters are equal.

        Source: lexicographic normal form of a trace (Cartier and Foata 1969; Anisimov and Knuth 1979).
        """
        rest, ordered = list(self.steps), []
        while rest:
            movable = [
                step for i, step in enumerate(rest) if all(_swap(other, step) for other in rest[:i])
            ]
            chosen = min(movable, key=lambda step: (step.effect, sorted(step.params.items())))
            rest.remove(chosen)
            ordered.append(chosen)
        return Chain(tuple(ordered))

    def input_referred(self, shift_db: float) -> "Chain":
        """The chain that does to a sound what this one does to the same sound `shift_db` hotter, up to a constant gain.

        Level and drive are one quantity: turn an input down and the drive up by as much, and what comes out is the
        same. A threshold moves the other way. Behind a drive the level is its own, and nothing moves.

        Args:
            shift_db: how much hotter the input of this chain is; negative for softer.

        Returns:
            The same pedals; knobs that would leave their ranges stop at the ends, where the two differ.

        Raises:
            ValueError: for a nonlinear pedal whose record names no such knob.
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
                low, high = record.space[knob.name].low, record.space[knob.name].high
                params[knob.name] = float(
                    np.clip(params[knob.name] + knob.per_db * shift_db, low, high)
                )
                shift_db = 0.0 if knob.absorbs else shift_db
            steps.append(Step(step.effect, params))
        return Chain(tuple(steps))

    def to_json(self) -> str:
        """JSON text: a list of {"effect", "params"}."""
        return json.dumps(
            [{"effect": s.effect, "params": dict(s.params)} for s in self.steps], indent=2
        )

    @classmethod
    def from_json(cls, text: str) -> "Chain":
        """The chain written by `to_json`.

        Args:
            text: a JSON list of {"effect": name, "params": {knob: number}}.

        Returns:
            The chain, checked.

        Raises:
            ValueError: for any other text, and for a missing, unknown or out-of-range knob.
            KeyError: for an unknown pedal, listing those there are.
        """
        try:
            rows = _parse_rows(json.loads(text))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f'a chain is a JSON list of {{"effect", "params"}}, got {text[:60]!r}'
            ) from error
        return cls(tuple(Step(name, params) for name, params in rows))

    def save(self, path: str | Path) -> None:
        """Write `to_json()` under a temporary name, then rename."""
        replace_text(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Chain":
        """Read what `save` wrote. Raises as `from_json`, and FileNotFoundError."""
        return cls.from_json(Path(path).read_text())

    def to_code(self) -> str:
        """Python source that builds the same board with pedalboard alone, to the last bit."""
        lines = [
            "from pedalboard import Pedalboard"
            + "".join(sorted({f", {effect(n).plugin}" for n in self.names}))
        ]
        lines += ["", "board = Pedalboard(["]
        for step in self.steps:
            record = effect(step.effect)
            # pedalboard's knobs are float32: the shortest text that reads back as the same float32
            arguments = ", ".join(
                f"{k}={np.float32(v)!s}" for k, v in record.arguments(step.params).items()
            )
            lines.append(f"    {record.plugin}({arguments}),")
        return "\n".join([*lines, "])"])


def _parse_rows(rows: object) -> list[tuple[str, dict[str, float]]]:
    parsed = [(row["effect"], row["params"]) for row in rows] if isinstance(rows, list) else None
    well_formed = parsed is not None and all(
        isinstance(name, str)
        and isinstance(params, dict)
        and all(type(v) in (int, float) for v in params.values())
        for name, params in parsed
    )
    if not well_formed:
        raise TypeError("not a list of named pedals with numbers for knobs")
    return parsed


def _swap(first: Step, second: Step) -> bool:
    return commutes(effect(first.effect), effect(second.effect))


def count_orders(names: Sequence[str]) -> int:
    """How many orders of these pedals can be told apart by ear.

    Args:
        names: distinct pedal names; the time grows with 3 to the power of their number (eight take milliseconds,
            twelve about a second).

    Returns:
        The number of acyclic orientations of the graph that joins two pedals when they do not commute.

    Raises:
        ValueError: if a name occurs twice.
        KeyError: for an unknown pedal.

    Source: Stanley 1973 (the chromatic polynomial at -1), by inclusion and exclusion over the sets of pedals that
    can all stand first.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"names must be distinct, got {list(names)}")
    n, records = len(names), [effect(name) for name in names]
    joined = [
        [i != j and not commutes(a, b) for j, b in enumerate(records)]
        for i, a in enumerate(records)
    ]
    neighbours = [sum(1 << j for j in range(n) if joined[i][j]) for i in range(n)]
    independent = {0: True}
    for subset in range(1, 1 << n):
        low = (subset & -subset).bit_length() - 1
        rest = subset & (subset - 1)
        independent[subset] = independent[rest] and not neighbours[low] & rest
    orders = {0: 1}
    for board in range(1, 1 << n):
        total, first = 0, board
        while first:
            if independent[first]:
                total += (-1) ** (first.bit_count() + 1) * orders[board & ~first]
            first = (first - 1) & board
        orders[board] = total
    return orders[(1 << n) - 1]
