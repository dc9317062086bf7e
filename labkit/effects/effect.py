"""The record of a pedal: its knobs, how it is rendered, and which pedals can be swapped."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labkit.effects.parameters import ParameterSpace
from labkit.signal.files import check_audio
from labkit.signal.optional import need

# Longest impulse response (to -60 dB) of a short filter: a fifth of the period of a 4 Hz LFO.
SHORT_MEMORY_MS = 50.0
# What one call to a plug-in that keeps samples back gets, and the cross-fade from call to call.
_SEGMENT_SAMPLES, _JOINT_S = 1 << 23, 0.2
_SHORTEST_SHIFTED = 1024  # of less, time_stretch may return nothing


@dataclass(frozen=True)
class LevelKnob:
    """The knob that compensates for the level of the input: a loud input needs less drive."""

    name: str
    per_db: float  # by how much it moves for an input that is 1 dB softer
    absorbs: bool = False  # the output is then the same; else it is as much softer as the input


@dataclass(frozen=True)
class Effect:
    """One pedal as a record."""

    name: str  # lower-case, the name in chains, tokens and JSON
    space: ParameterSpace
    # class name in `pedalboard`, or "": then `differentiable` plays it, at rest at the start of
    # every call
    plugin: str
    # the pedal in torch, the same sound in batches, with gradients to audio and knobs: ``(audio
    # (batch, channels, samples), sample_rate, *, knobs) -> like audio``. A knob is a number or
    # (batch,), in physical units. See `labkit.effects.kernels.batched`.
    differentiable: Callable[..., Any]
    linear: bool
    # how long it remembers at its longest setting: past that, the response to an impulse stays
    # below -60 dB of its peak. 0 where the output depends on the present sample alone; infinite for
    # recursive echoes and for effects that follow the level.
    memory_ms: float = float("inf")
    time_invariant: bool = True
    level_only: bool = False  # the output is the input times a constant
    level_knob: LevelKnob | None = None
    # pedals that it can be swapped with by measurement, where no rule of `commutes` says so
    swaps_with: tuple[str, ...] = ()
    # physical parameters -> keyword arguments of `plugin` (identity by default)
    arguments: Callable[[Mapping[str, float]], dict[str, Any]] = dict

    @property
    def lti(self) -> bool:
        """Whether it is linear and time-invariant, so that an impulse response describes it."""
        return self.linear and self.time_invariant

    def build(self, params: Mapping[str, float]) -> Any:
        """A new `pedalboard` plug-in, or an object called like one, with these parameters."""
        if not self.plugin:
            return lambda audio, sample_rate, **_: self.differentiable(
                torch.from_numpy(audio)[None], sample_rate, **params
            )[0].numpy()
        return getattr(need("pedalboard"), self.plugin)(**self.arguments(params))

    def played(self, params: Mapping[str, float]) -> tuple[str, dict[str, float]]:
        """What plays it, see `labkit.effects.chain.Plugins`."""
        return (self.plugin, self.arguments(params)) if self.plugin else (self.name, dict(params))

    def render(self, audio: np.ndarray, sample_rate: int, **params: float) -> np.ndarray:
        """Applied as by `process`; `params` are all knobs, within their ranges."""
        self.space.check(params)
        return process(self.build(params), audio, sample_rate)


def process(plugin: Any, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Apply a pedalboard plug-in or board (None changes nothing) to audio of any length, from rest.

    Returns a new array (channels, samples) float32; tails beyond the end are cut.
    """
    audio = check_audio(audio, sample_rate)
    if plugin is None:
        return audio.copy()
    channels, samples = audio.shape
    # pedalboard takes the longer axis for time: two samples of stereo must not pass for two
    # channels of one sample each.
    padded = np.pad(audio, ((0, 0), (0, max(channels + 1 - samples, 0))))
    return plugin(padded, sample_rate, reset=True)[:, :samples]


class PitchShift:
    """Shifts the pitch of audio by `pedalboard.time_stretch`, which keeps the whole of it.

    `pedalboard.PitchShift` loses the first 0.2 s and the end of a call. It also makes single notes
    up to 13 dB softer, because it preserves formants.
    """

    def __init__(self, semitones: float) -> None:
        self.semitones = semitones

    def __call__(self, audio: np.ndarray, sample_rate: int, **_: Any) -> np.ndarray:
        """(channels, samples) float32, as long as `audio`."""
        samples = audio.shape[1]
        padded = np.pad(audio, ((0, 0), (0, max(_SHORTEST_SHIFTED - samples, 0))))
        stretch = need("pedalboard").time_stretch
        shift = {"pitch_shift_in_semitones": self.semitones, "preserve_formants": False}
        return stretch(padded, sample_rate, **shift)[:, :samples]


class Board(list):
    """Plug-ins in a row, called like a `pedalboard.Pedalboard`, which takes no `PitchShift`."""

    def __call__(self, audio: np.ndarray, sample_rate: int, **options: Any) -> np.ndarray:
        """(channels, samples) float32 through all of them."""
        for plugin in self:
            audio = plugin(audio, sample_rate, **options)
        return audio


def process_blocks(
    board: Iterable[Any], blocks: Iterable[np.ndarray], sample_rate: int
) -> Iterator[np.ndarray]:
    """What `process` makes of audio that comes in blocks (channels, samples), in constant memory.

    The plug-ins of the board are fresh; all blocks but the last one have more samples than
    channels. Blocks of other sizes come back, as many samples in all. They equal one call of
    `process`, unless a plug-in keeps samples back, which pedalboard loses from call to call. Such a
    plug-in, a pitch shift, and a pedal that pedalboard lacks get 2**23 samples (3 minutes) a call,
    from rest, and neighbours cross-fade.
    """
    for plugin in board:
        whole = not hasattr(plugin, "process") or _keeps_back(plugin, sample_rate)
        blocks = (_in_segments if whole else _in_calls)(plugin, blocks, sample_rate)
    return iter(blocks)


def _keeps_back(plugin: Any, sample_rate: int) -> bool:
    probe = np.zeros((1, 512), np.float32)
    given = plugin.process(probe, sample_rate, reset=False)
    plugin.reset()
    return given.shape != probe.shape


def _in_calls(plugin: Any, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    for block in blocks:
        channels, samples = block.shape
        padded = np.pad(block, ((0, 0), (0, max(channels + 1 - samples, 0))))
        yield plugin.process(padded, sample_rate, reset=False)[:, :samples]


def _in_segments(
    plugin: Any, blocks: Iterable[np.ndarray], sample_rate: int
) -> Iterator[np.ndarray]:
    joint, ending = round(_JOINT_S * sample_rate), None
    for dry in _overlapping(blocks, joint):
        wet = process(plugin, dry, sample_rate)
        if ending is not None:
            fade = ending.shape[1]
            rising = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / joint).astype(np.float32) ** 2
            wet[:, :fade] = rising * wet[:, :fade] + (1 - rising) * ending
        ending = wet[:, _SEGMENT_SAMPLES:]
        yield wet[:, :_SEGMENT_SAMPLES]


def _overlapping(blocks: Iterable[np.ndarray], joint: int) -> Iterator[np.ndarray]:
    """Segments, each with the first `joint` samples of the next one at its end."""
    held, samples = [], 0
    for block in blocks:
        held.append(block)
        samples += block.shape[1]
        if samples >= _SEGMENT_SAMPLES + joint:
            joined = np.concatenate(held, axis=1)
            yield joined[:, : _SEGMENT_SAMPLES + joint]
            held = [joined[:, _SEGMENT_SAMPLES:]]
            samples = held[0].shape[1]
    rest = np.concatenate(held, axis=1)
    for start in range(0, samples, _SEGMENT_SAMPLES):
        yield rest[:, start : start + _SEGMENT_SAMPLES + joint]


def commutes(first: Effect, second: Effect) -> bool:
    """Whether swapping two neighbours makes no audible difference.

    This is declared for the whole space, and a test compares it with a measurement: over random
    settings and guitars at -20 dBFS, the median SI-SDR of the two orders lies above 30 dB exactly
    where this says so. A single setting may differ: a compressor that never reaches its threshold
    commutes with everything.

    Two linear time-invariant effects commute exactly. A level change commutes with every linear
    effect. A slowly modulated linear effect (chorus, phaser) nearly commutes with a *short* filter,
    not with echoes. Anything nonlinear commutes with nothing, unless one of the two records names
    the other in `swaps_with`.

    Source: Cartier and Foata's partially commutative monoid: an order is known up to these swaps.
    """
    if first.name in second.swaps_with or second.name in first.swaps_with:
        return True
    if not (first.linear and second.linear):
        return False
    if first.lti and second.lti:
        return True
    if first.level_only or second.level_only:
        return True
    fixed = [effect for effect in (first, second) if effect.lti]
    return bool(fixed) and fixed[0].memory_ms <= SHORT_MEMORY_MS
