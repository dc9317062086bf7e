"""Typed parameter spaces: named knobs with units, and the map between physical and unit values."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Parameter:
    """One knob."""

    name: str  # with the unit as its suffix, e.g. drive_db
    unit: str  # "dB", "Hz", "ms", "s", "bit" or "" for a ratio or share
    low: float
    high: float
    # "linear", or "log" for equal steps in ratio; `low` must then be > 0
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"{self.name}: low must be below high, got {self.low} and {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"{self.name}: a log scale needs low > 0, got {self.low}")

    def to_unit(self, value: float) -> float:
        """Physical value -> 0..1. Raises ValueError outside [low, high]."""
        self.check(value)
        if self.scale == "log":
            return float(np.clip(np.log(value / self.low) / np.log(self.high / self.low), 0, 1))
        return float(np.clip((value - self.low) / (self.high - self.low), 0, 1))

    def from_unit(self, unit: float) -> float:
        """0..1 -> physical value. Raises ValueError outside [0, 1]."""
        if not 0 <= unit <= 1:
            raise ValueError(f"{self.name}: a unit value lies in [0, 1], got {unit}")
        return float(np.clip(self._scaled(unit), self.low, self.high))

    def _scaled(self, unit):
        if self.scale == "log":
            return self.low * (self.high / self.low) ** unit
        return self.low + unit * (self.high - self.low)

    def check(self, value: float) -> None:
        """Raise ValueError, naming knob, range and value, unless `value` is finite and in range."""
        slack = 1e-6 * (self.high - self.low)
        if not (np.isfinite(value) and self.low - slack <= value <= self.high + slack):
            wanted = f"[{self.low:g}, {self.high:g}] {self.unit}".rstrip()
            raise ValueError(f"{self.name} must lie in {wanted}, got {value!r}")


@dataclass(frozen=True)
class ParameterSpace:
    """The knobs of one effect, in a fixed order; their names are unique."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.parameters):
            raise ValueError(f"parameter names must be unique, got {self.names}")

    @property
    def names(self) -> tuple[str, ...]:
        """The knobs' names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(f"no parameter {name!r}; there are {self.names}")

    def check(self, params: Mapping[str, float]) -> None:
        """Raise ValueError unless `params` holds exactly these knobs, each within its range."""
        if set(params) != set(self.names):
            raise ValueError(f"parameters must be {sorted(self.names)}, got {sorted(params)}")
        for parameter in self.parameters:
            parameter.check(params[parameter.name])

    def to_unit(self, params: Mapping[str, float]) -> np.ndarray:
        """`params_unit` (n_params,) float64 in [0, 1]. Raises ValueError as `check`."""
        self.check(params)
        return np.array([p.to_unit(params[p.name]) for p in self.parameters], dtype=np.float64)

    def from_unit(self, params_unit: np.ndarray) -> dict[str, float]:
        """Physical parameters from (n_params,) in [0, 1]; else a ValueError."""
        if len(params_unit) != len(self.parameters):
            raise ValueError(f"params_unit must hold {len(self)} values, got {len(params_unit)}")
        units = zip(self.parameters, params_unit, strict=True)
        return {p.name: p.from_unit(float(unit)) for p, unit in units}

    def from_unit_batch(self, unit: "Tensor") -> "dict[str, Tensor]":
        """Name -> (...) physical values, with gradient, from a tensor (..., n_params) in 0..1.

        The range is not checked; another number of parameters is a ValueError.
        """
        if unit.shape[-1] != len(self):
            raise ValueError(
                f"unit must hold {len(self)} values in its last axis, got {tuple(unit.shape)}"
            )
        return {p.name: p._scaled(unit[..., i]) for i, p in enumerate(self.parameters)}

    def to_bins(self, params: Mapping[str, float], n_bins: int) -> list[int]:
        """The bin of each knob: `n_bins` equal cells of the unit interval."""
        return [min(int(unit * n_bins), n_bins - 1) for unit in self.to_unit(params)]

    def corners(self) -> list[dict[str, float]]:
        """All 2 ** n_params settings with each knob at one of its ends."""
        ends = itertools.product(*((knob.low, knob.high) for knob in self.parameters))
        return [dict(zip(self.names, corner, strict=True)) for corner in ends]

    def sample(self, rng: np.random.Generator) -> dict[str, float]:
        """Physical parameters drawn uniformly on each knob's own scale."""
        return self.from_unit(rng.random(len(self.parameters)))


_UNITS = {"hz": "Hz", "db": "dB", "ms": "ms", "seconds": "s", "bit_depth": "bit"}


def space(**ends: tuple) -> ParameterSpace:
    """Knob -> its ends, and ``"log"`` where its scale is; the unit is the name's suffix."""
    units = {name: _UNITS.get(name, _UNITS.get(name.split("_")[-1], "")) for name in ends}
    return ParameterSpace(tuple(Parameter(name, units[name], *ends[name]) for name in ends))
