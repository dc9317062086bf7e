"""A patch: named knobs and choices, drawn from a seed, encoded as a vector and decoded exactly."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

# How every synthesizer is played.
SAMPLE_RATE = 44_100
VELOCITY = 0.8
NOTE = ("note_pitch", "note_start", "note_seconds")  # not every set has a start

Values = Mapping[str, float | str]


@dataclass(frozen=True)
class Knob:
    """A number from `low` to `high` on a grid of `steps`, in the synthesizer's own unit."""

    name: str
    low: float
    high: float
    steps: int = 4096
    point: float | None = None  # one more value outside the range, often 0 for "off"
    point_share: float = 0.0  # how often the point is drawn
    # another field; while that is at its point, this one is inaudible and rests
    gate: str | None = None

    @property
    def size(self) -> int:
        """Columns in the vector: the value and, if there is a `point`, whether it is that."""
        return 1 if self.point is None else 2

    @property
    def rest(self) -> float:
        """The value while the gate is off: the middle, which is encoded as 0."""
        return self.at(self.steps // 2)

    def at(self, step: int) -> float:
        """The value at a step of the grid."""
        return self.low + (self.high - self.low) * step / self.steps

    def step(self, value: float) -> int:
        return round((value - self.low) / (self.high - self.low) * self.steps)

    def draw(self, rng: np.random.Generator) -> float:
        """The point at its share, otherwise uniform on the grid."""
        is_point = rng.random() < self.point_share
        step = int(rng.integers(self.steps + 1))
        return self.point if is_point else self.at(step)

    def check(self, value: float | str) -> None:
        """Raise ValueError unless `value` is the point or in the range."""
        if value == self.point:
            return
        number = not isinstance(value, str) and math.isfinite(value)
        if not number or not 0 <= self.step(value) <= self.steps:
            raise ValueError(f"{self.name} must lie in {self.low:g}..{self.high:g}, got {value!r}")

    def encode(self, value: float) -> list[float]:
        """Columns of about unit variance: a uniform value in 0..1 has the variance 1/12."""
        is_point = value == self.point
        unit = 0.0
        if not is_point:
            unit = (self.step(value) / self.steps - (self.steps // 2) / self.steps) * math.sqrt(12)
        return [unit] if self.point is None else [unit, _standard(is_point, self.point_share)]

    def decode(self, code: np.ndarray) -> float:
        if self.point is not None and code[1] > _standard(0.5, self.point_share):
            return self.point
        step = round(float(code[0]) / np.sqrt(12) * self.steps) + self.steps // 2
        return self.at(min(max(step, 0), self.steps))


@dataclass(frozen=True)
class Choice:
    """One of several words, drawn at their shares; the first one is the resting value and "off"."""

    name: str
    options: tuple[str, ...]
    shares: tuple[float, ...]
    gate: str | None = None

    @property
    def size(self) -> int:
        """Columns in the vector: one for each option."""
        return len(self.options)

    @property
    def rest(self) -> str:
        """The word while the gate is off."""
        return self.options[0]

    point = rest

    def draw(self, rng: np.random.Generator) -> str:
        """One option at its share."""
        return str(rng.choice(self.options, p=self.shares))

    def check(self, value: float | str) -> None:
        """Raise ValueError for another word."""
        if value not in self.options:
            raise ValueError(f"{self.name} must be one of {', '.join(self.options)}, got {value!r}")

    def encode(self, value: str) -> list[float]:
        """One-hot, each column with zero mean and unit variance."""
        pairs = zip(self.options, self.shares, strict=True)
        return [_standard(option == value, share) for option, share in pairs]

    def decode(self, code: np.ndarray) -> str:
        """The option with the largest one-hot value."""
        shares = np.array(self.shares)
        return self.options[int(np.argmax(code * np.sqrt(shares * (1 - shares)) + shares))]


Field = Knob | Choice


@dataclass(frozen=True)
class SynthSpec:
    """A parameter set: the fields of a patch and of the note that it plays, in a fixed order.

    Names are unique, and a gate comes before what it gates.
    """

    name: str
    fields: tuple[Field, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def size(self) -> int:
        return sum(field.size for field in self.fields)

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Field -> its columns in the vector."""
        found = {}
        start = 0
        for field in self.fields:
            found[field.name] = slice(start, start + field.size)
            start += field.size
        return found

    @cached_property
    def _named(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def __getitem__(self, name: str) -> Field:
        return self._named[name]

    def active(self, values: Values) -> dict[str, bool]:
        """Field -> whether it is audible: all but those behind a gate that is off."""
        found: dict[str, bool] = {}
        for field in self.fields:
            gate = field.gate
            found[field.name] = gate is None or (found[gate] and values[gate] != self[gate].point)
        return found

    def settle(self, values: Values) -> dict[str, float | str]:
        """The patch with every inaudible field at its resting value: one patch for one sound."""
        active = self.active(values)
        return {f.name: values[f.name] if active[f.name] else f.rest for f in self.fields}

    def draw(self, rng: np.random.Generator) -> dict[str, float | str]:
        """A random settled patch. Every field takes its random numbers whatever the others are."""
        return self.settle({field.name: field.draw(rng) for field in self.fields})

    def check(self, values: Values) -> None:
        """Raise ValueError, naming the field, unless `values` is a patch of this set."""
        if wrong := sorted(set(values) ^ set(self.names)):
            raise ValueError(f"values must name the fields of {self.name}, got {wrong}")
        for field in self.fields:
            field.check(values[field.name])

    def encode(self, values: Values) -> np.ndarray:
        """(size,) float32 of about unit variance. Raises ValueError as `check`."""
        self.check(values)
        parts = [field.encode(values[field.name]) for field in self.fields]
        return np.concatenate(parts).astype(np.float32)

    def decode(self, vector: np.ndarray) -> dict[str, float | str]:
        """The nearest settled patch; the inverse of `encode` for settled patches.

        Raises ValueError if `vector` is not (size,) or not finite.
        """
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (self.size,) or not np.isfinite(vector).all():
            raise ValueError(
                f"vector must hold {self.size} finite numbers, got shape {vector.shape}"
            )
        return self.settle({f.name: f.decode(vector[self.columns[f.name]]) for f in self.fields})


def _field(row: Mapping[str, str]) -> Field:
    """A row of the table of parameter sets."""
    name, gate = row["field"], row["gate"] or None
    if row["words"]:
        pairs = [pair.split(":") for pair in row["words"].split("|")]
        return Choice(name, tuple(w for w, _ in pairs), tuple(float(p) for _, p in pairs), gate)
    ends = float(row["low"]), float(row["high"])
    point = float(row["off"]) if row["off"] else None
    return Knob(name, *ends, int(row["steps"] or 4096), point, float(row["share"] or 0), gate)


def read_sets(synthesizer: str) -> dict[str, SynthSpec]:
    """The parameter sets of "vital" or "surge" by name, from `sets.csv`."""
    found: dict[str, list[Field]] = {}
    with open(Path(__file__).with_name("sets.csv"), newline="", encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            if row["set"].startswith(f"{synthesizer}_"):
                found.setdefault(row["set"], []).append(_field(row))
    return {name: SynthSpec(name, tuple(fields)) for name, fields in found.items()}


def _standard(value: float, share: float) -> float:
    return (value - share) / math.sqrt(share * (1 - share))
