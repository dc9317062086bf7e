"""What the lab knows of an effect: its knobs, its pedalboard class, and the facts that decide which orders sound alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from labkit.effects.parameters import ParameterSpace
from labkit.signal.optional import need

# Longest impulse response (to -60 dB) that still counts as a short filter beside an LFO of a few Hz.
SHORT_MEMORY_MS = 30.0


@dataclass(frozen=True)
class Effect:
    """One pedal as a record.

    Attributes:
        name: lower-case, the name in chains, tokens and JSON.
        space: its knobs and their ranges.
        plugin: class name in `pedalboard`.
        arguments: physical parameters -> keyword arguments of that class (identity by default).
        linear: obeys superposition.
        time_invariant: commutes with a time shift.
        memoryless: the output depends on the present input sample only.
        memory_ms: how long it remembers, to -60 dB (0 for memoryless, infinite for recursive echoes).
        stateful: keeps a state between samples that `reset` must clear.
        latency_samples: by how much the output lags the input.
        neutral: parameters (inside or outside the space) that return the input, where there are any.
        level_only: the output is the input times a constant.
    """

    name: str
    space: ParameterSpace
    plugin: str
    linear: bool
    time_invariant: bool
    memory_ms: float
    stateful: bool = True
    latency_samples: int = 0
    level_only: bool = False
    neutral: Mapping[str, float] | None = None
    arguments: Callable[[Mapping[str, float]], dict[str, Any]] = dict

    def __post_init__(self) -> None:
        if self.neutral is not None:
            object.__setattr__(self, "neutral", MappingProxyType(dict(self.neutral)))

    @property
    def lti(self) -> bool:
        """Linear and time-invariant: described whole by an impulse response."""
        return self.linear and self.time_invariant

    def build(self, params: Mapping[str, float]) -> Any:  # noqa: ANN401 - pedalboard's own plug-in type
        """A fresh `pedalboard` plug-in with these physical parameters."""
        return getattr(need("pedalboard"), self.plugin)(**self.arguments(params))

    def render(self, audio: np.ndarray, sample_rate: int, **params: float) -> np.ndarray:
        """The effect applied by pedalboard.

        Args:
            audio: (channels, samples) float32.
            sample_rate: Hz.
            **params: every knob of `space`, in physical units. The neutral setting is legal too.

        Returns:
            (channels, samples) float32, a new array.

        Raises:
            ValueError: for a missing, unknown or out-of-range knob.
        """
        if self.neutral is None or dict(params) != dict(self.neutral):
            self.space.check(params)
        plugin = self.build(params)
        return plugin(np.ascontiguousarray(audio, dtype=np.float32), sample_rate, reset=True)


def commutes(first: Effect, second: Effect) -> bool:
    """Whether swapping two neighbours makes no audible difference (declared; a test holds it to the measurement).

    Two linear time-invariant effects commute exactly. A level change commutes with every linear effect. A slowly
    modulated linear effect (chorus, phaser) nearly commutes with a *short* filter, not with echoes. Anything
    nonlinear commutes with nothing.

    Source: Cartier and Foata's partially commutative monoid: an order is known up to these swaps.
    Notebook: 02.
    """
    if not (first.linear and second.linear):
        return False
    if first.lti and second.lti:
        return True
    if first.level_only or second.level_only:
        return True
    fixed = [effect for effect in (first, second) if effect.lti]
    return bool(fixed) and fixed[0].memory_ms <= SHORT_MEMORY_MS
