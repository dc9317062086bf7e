"""What a synthesizer's patch is: named knobs and choices, drawn from a seed, coded as vectors, and back exactly."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

# How every synthesizer here is played.
SAMPLE_RATE = 44_100
VELOCITY = 0.8

Values = Mapping[str, float | str]


@dataclass(frozen=True)
class Knob:
    """A number within a range, on a grid so fine that nobody hears it; perhaps with one value that is often exact.

    Attributes:
        name: the synthesizer's own name for it.
        low: smallest value, in the synthesizer's own unit.
        high: largest.
        steps: of the grid from `low` to `high`.
        point: a value outside the range that stands for "off", often exactly 0; None for none.
        point_share: how often it is drawn.
        gate: another field; while that is off, this one is not heard and rests in the middle.
    """

    name: str
    low: float
    high: float
    steps: int = 4096
    point: float | None = None
    point_share: float = 0.0
    gate: str | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"{self.name}: low must be below high, got {self.low} and {self.high}")
        if self.steps < 1:
            raise ValueError(f"{self.name}: steps must be at least 1, got {self.steps}")
        if (self.point is None) != (self.point_share == 0) or not 0 <= self.point_share < 1:
            raise ValueError(
                f"{self.name}: a point needs a share within 0..1, got {self.point}, {self.point_share}"
            )
        if self.point is not None and self.low <= self.point <= self.high:
            raise ValueError(
                f"{self.name}: the point must lie outside {self.low}..{self.high}, got {self.point}"
            )

    @property
    def size(self) -> int:
        """Numbers in the vector: the value, and whether it is the point."""
        return 1 if self.point is None else 2

    @property
    def rest(self) -> float:
        """What it is while its gate is off: the middle, which is 0 in the vector."""
        return self.at(self.steps // 2)

    def at(self, step: int) -> float:
        """The value at a point of the grid."""
        return self.low + (self.high - self.low) * step / self.steps

    def step(self, value: float) -> int:
        """The nearest point of the grid."""
        return round((value - self.low) / (self.high - self.low) * self.steps)

    def draw(self, rng: np.random.Generator) -> float:
        """The point at its share, otherwise uniform on the grid."""
        off, step = rng.random() < self.point_share, int(rng.integers(self.steps + 1))
        return self.point if off else self.at(step)

    def check(self, value: float | str) -> None:
        """Raise ValueError unless `value` is the point or on the grid."""
        if value == self.point:
            return
        if (
            isinstance(value, str)
            or not np.isfinite(value)
            or not 0 <= self.step(value) <= self.steps
        ):
            raise ValueError(f"{self.name} must lie in {self.low:g}..{self.high:g}, got {value!r}")

    def encode(self, value: float) -> list[float]:
        """About unit variance: uniform on a range has a twelfth of its square."""
        is_point = value == self.point
        unit = (
            0.0
            if is_point
            else (self.step(value) / self.steps - (self.steps // 2) / self.steps) * np.sqrt(12)
        )
        return [unit] if self.point is None else [unit, _standard(is_point, self.point_share)]

    def decode(self, code: np.ndarray) -> float:
        """The nearest value."""
        if self.point is not None and code[1] > _standard(0.5, self.point_share):
            return self.point
        step = round(float(code[0]) / np.sqrt(12) * self.steps) + self.steps // 2
        return self.at(min(max(step, 0), self.steps))


@dataclass(frozen=True)
class Choice:
    """One of several words; the first one is "off" for the fields that it gates.

    Attributes:
        name: the synthesizer's own name for it, or the adapter's.
        options: the words.
        shares: how often each is drawn; they add up to 1.
        gate: as `Knob.gate`; at rest it is its first option.
    """

    name: str
    options: tuple[str, ...]
    shares: tuple[float, ...]
    gate: str | None = None

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) != len(self.options):
            raise ValueError(
                f"{self.name}: there must be two or more different options, got {self.options}"
            )
        if (
            len(self.shares) != len(self.options)
            or abs(sum(self.shares) - 1) > 1e-9
            or min(self.shares) <= 0
        ):
            raise ValueError(
                f"{self.name}: one positive share for each option, together 1, got {self.shares}"
            )

    @property
    def size(self) -> int:
        """Numbers in the vector: one for each option."""
        return len(self.options)

    @property
    def rest(self) -> str:
        """What it is while its gate is off."""
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
        """One-hot, each place at zero mean and unit variance."""
        return [
            _standard(option == value, share)
            for option, share in zip(self.options, self.shares, strict=True)
        ]

    def decode(self, code: np.ndarray) -> str:
        """The option whose place says most."""
        shares = np.array(self.shares)
        return self.options[int(np.argmax(code * np.sqrt(shares * (1 - shares)) + shares))]


Field = Knob | Choice


@dataclass(frozen=True)
class SynthSpec:
    """The fields of a patch and of the note that it plays, in a fixed order.

    Attributes:
        name: of the parameter set.
        fields: names are unique; gates come before what they gate.
    """

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for field in self.fields:
            if field.name in seen or (field.gate is not None and field.gate not in seen):
                raise ValueError(
                    f"{field.name}: names must be unique and gates named before, got {field}"
                )
            seen.add(field.name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return sum(field.size for field in self.fields)

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where each field stands in the vector."""
        ends = np.cumsum([field.size for field in self.fields])
        return {
            f.name: slice(int(end) - f.size, int(end))
            for f, end in zip(self.fields, ends, strict=True)
        }

    @cached_property
    def _named(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def __getitem__(self, name: str) -> Field:
        if name not in self._named:
            raise KeyError(f"no field {name!r} in {self.name}; there are {', '.join(self.names)}")
        return self._named[name]

    def active(self, values: Values) -> dict[str, bool]:
        """Which fields can be heard: all but those behind a gate that is off."""
        heard: dict[str, bool] = {}
        for field in self.fields:
            gate = field.gate
            heard[field.name] = gate is None or (heard[gate] and values[gate] != self[gate].point)
        return heard

    def settle(self, values: Values) -> dict[str, float | str]:
        """The same patch, with what cannot be heard at rest: one description for one sound."""
        heard = self.active(values)
        return {
            field.name: values[field.name] if heard[field.name] else field.rest
            for field in self.fields
        }

    def draw(self, rng: np.random.Generator) -> dict[str, float | str]:
        """A random patch, settled. Every field takes its numbers whatever the others are."""
        return self.settle({field.name: field.draw(rng) for field in self.fields})

    def check(self, values: Values) -> None:
        """Raise ValueError, naming the field, unless `values` is a patch of this set."""
        if set(values) != set(self.names):
            raise ValueError(
                f"values must name the fields of {self.name}, got {sorted(set(values) ^ set(self.names))}"
            )
        for field in self.fields:
            field.check(values[field.name])

    def encode(self, values: Values) -> np.ndarray:
        """(size,) float32 of about unit variance. Raises ValueError as `check`."""
        self.check(values)
        return np.array(
            [x for field in self.fields for x in field.encode(values[field.name])], dtype=np.float32
        )

    def decode(self, vector: np.ndarray) -> dict[str, float | str]:
        """The nearest patch, settled; the one itself for what `encode` gave of a settled patch.

        Raises:
            ValueError: if `vector` is not (size,) or not finite.
        """
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (self.size,) or not np.isfinite(vector).all():
            raise ValueError(
                f"vector must hold {self.size} finite numbers, got shape {vector.shape}"
            )
        return self.settle(
            {field.name: field.decode(vector[self.columns[field.name]]) for field in self.fields}
        )

    def to_json(self) -> str:
        """The set itself, so that a data set says what its columns are."""
        rows = [{"kind": type(field).__name__, **asdict(field)} for field in self.fields]
        return json.dumps({"name": self.name, "fields": rows}, indent=1)

    @staticmethod
    def from_json(text: str) -> "SynthSpec":
        """What `to_json` wrote. Raises ValueError for anything else."""
        try:
            plain = json.loads(text)
            return SynthSpec(plain["name"], tuple(_field(row) for row in plain["fields"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a parameter set: {error}") from error


def _field(row: dict) -> Field:
    kind = {"Knob": Knob, "Choice": Choice}[row.pop("kind")]
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    )


def _standard(value: float, share: float) -> float:
    return (value - share) / float(np.sqrt(share * (1 - share)))
