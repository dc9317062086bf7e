"""The record of a pedal: its knobs, how it is rendered, and which orders of two pedals differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.effects.parameters import ParameterSpace
from labkit.signal.files import check_audio
from labkit.signal.optional import need

# Longest impulse response (to -60 dB) of a short filter: a fifth of the period of a 4 Hz LFO.
SHORT_MEMORY_MS = 50.0


@dataclass(frozen=True)
class LevelKnob:
    """The knob that makes up for the level of the input: a hot input needs a low drive."""

    name: str
    per_db: float  # by how much it moves for an input that is 1 dB softer
    absorbs: bool = False  # the output is then the same; else it is as much softer as the input


@dataclass(frozen=True)
class Effect:
    """One pedal as a record.

    Attributes:
        name: lower-case, the name in chains, tokens and JSON.
        plugin: class name in `pedalboard`.
        differentiable: the pedal in torch, the same sound in batches, with gradients to audio and
            knobs: ``(audio (batch, channels, samples), sample_rate, *, knobs) -> like audio``. A
            knob is a number or (batch,), in physical units. See `labkit.effects.kernels.batched`.
        memory_ms: how long it remembers at its longest setting: past that, the response to an
            impulse stays below -60 dB of its peak. 0 where the output depends on the present sample
            alone; infinite for recursive echoes and for effects that follow the level.
        level_only: the output is the input times a constant.
        arguments: physical parameters -> keyword arguments of `plugin` (identity by default).
    """

    name: str
    space: ParameterSpace
    plugin: str
    differentiable: Callable[..., Any]
    linear: bool
    memory_ms: float = float("inf")
    time_invariant: bool = True
    level_only: bool = False
    level_knob: LevelKnob | None = None
    arguments: Callable[[Mapping[str, float]], dict[str, Any]] = dict

    @property
    def lti(self) -> bool:
        """Linear and time-invariant: described whole by an impulse response."""
        return self.linear and self.time_invariant

    def build(self, params: Mapping[str, float]) -> Any:
        """A fresh `pedalboard` plug-in with these physical parameters."""
        return getattr(need("pedalboard"), self.plugin)(**self.arguments(params))

    def render(self, audio: np.ndarray, sample_rate: int, **params: float) -> np.ndarray:
        """Applied by pedalboard, as by `process`; `params` are all knobs, within their ranges."""
        self.space.check(params)
        return process(self.build(params), audio, sample_rate)


def process(plugin: Any, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """A pedalboard plug-in or board on audio of any length, starting from rest.

    Args:
        plugin: None returns a copy.
        audio: (channels, samples) float, or (samples,) for mono; at least one sample, finite.

    Returns:
        (channels, samples) float32, a new array; tails beyond the end are cut.
    """
    audio = check_audio(audio, sample_rate)
    if plugin is None:
        return audio.copy()
    channels, samples = audio.shape
    # pedalboard takes the longer axis for time: two samples of stereo must not pass for two
    # channels of one sample each.
    padded = np.pad(audio, ((0, 0), (0, max(channels + 1 - samples, 0))))
    return plugin(padded, sample_rate, reset=True)[:, :samples]


def commutes(first: Effect, second: Effect) -> bool:
    """Whether swapping two neighbours makes no audible difference.

    This is declared for the whole space, and a test compares it with a measurement: over random
    settings and guitars at -20 dBFS, the median SI-SDR of the two orders lies above 30 dB exactly
    where this says so. A single setting may differ: a compressor that never reaches its threshold
    commutes with everything.

    Two linear time-invariant effects commute exactly. A level change commutes with every linear
    effect. A slowly modulated linear effect (chorus, phaser) nearly commutes with a *short* filter,
    not with echoes. Anything nonlinear commutes with nothing.

    Source: Cartier and Foata's partially commutative monoid: an order is known up to these swaps.
    """
    if not (first.linear and second.linear):
        return False
    if first.lti and second.lti:
        return True
    if first.level_only or second.level_only:
        return True
    fixed = [effect for effect in (first, second) if effect.lti]
    return bool(fixed) and fixed[0].memory_ms <= SHORT_MEMORY_MS
