"""A plug-in of any kind behind one `process`: knobs chosen, lag taken out, always from rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.effects.hosts.face import Care, PluginError, PluginParameter
from labkit.effects.hosts.listing import Source
from labkit.effects.hosts.probe import REPEAT_TOLERANCE, Habits, find_habits, measure_lag, noise
from labkit.effects.hosts.worker import LocalHost, Worker
from labkit.signal.files import check_audio, check_rate

_REFERENCE_RATE = 44_100
_PROBE_SECONDS = 0.5
# pedalboard takes the longer axis for time, and some plug-ins refuse blocks of a few samples.
_SHORTEST = 256
# Knobs that nobody asks a network to turn: they switch the plug-in off, load other settings, or only show something.
_NOT_TURNED = ("bypass", "program", "preset", "solo", "listen")
_SHOWN = "gain_reduction"


@dataclass(frozen=True)
class _Lag:
    """How far the plug-in's sound comes late from its host, and how far in all."""

    left_samples: int
    all_samples: int


class HostedPlugin:
    """A plug-in of any kind, as `open_plugin` returns it: a `Plugin`, and what was measured of it.

    Args:
        source: kind, place and engine.
        parameters: names of the knobs to turn, in the order wanted; None takes all but switches that turn the
            plug-in off and displays.
        timeout_s: seconds that opening, and each call, may take; > 0.
        fixed: other knobs' settings, 0..1; what is neither turned nor fixed rests at its default.

    Raises:
        ValueError: for an unknown or doubly named knob, a setting outside 0..1, or a time limit that is none.
        PluginError: when the plug-in cannot be opened.
    """

    def __init__(
        self,
        source: Source,
        *,
        parameters: Sequence[str] | None = None,
        timeout_s: float = 20.0,
        fixed: Mapping[str, float] | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be a number of seconds above 0, got {timeout_s!r}")
        self.source, self.name = source, source.name
        self._host = (Worker if source.foreign else LocalHost)(
            source.engine, source.where, timeout_s
        )
        self._lags: dict[int, _Lag] = {}
        try:
            self._knobs: tuple[PluginParameter, ...] = self._call("parameters")
            self._widths: tuple[int, ...] = self._call("widths")
            self._choose(parameters, dict(fixed or {}))
            self._habits = self._find_habits() if source.foreign else Habits()
            self.latency_samples = self._lag(_REFERENCE_RATE).all_samples
        except BaseException:
            self.close()
            raise

    @property
    def repeat_error(self) -> float:
        """The largest difference from a fresh instance after another setting was played, full scale 1."""
        return self._habits.repeat_error

    @property
    def repeatable(self) -> bool:
        """Whether a setting sounds the same each time, whatever was played before."""
        return self.repeat_error <= REPEAT_TOLERANCE

    @property
    def care(self) -> Care:
        """What it takes to make the plug-in forget: its reset, settling at the new setting, or a new instance."""
        return self._habits.care

    @property
    def responds(self) -> bool:
        """Whether turning all its knobs changes the first 0.7 s of sound; a slow echo may not."""
        return self._habits.responds

    def process(self, audio: np.ndarray, sample_rate: int, params_unit: np.ndarray) -> np.ndarray:
        """The plug-in applied, from rest, and aligned with its input: see `Plugin.process`.

        Mono through a plug-in that is stereo only goes into both sides, and the left one comes back. Several channels
        through one that is mono only are played one after the other.
        """
        audio, sample_rate = check_audio(audio, sample_rate), check_rate(sample_rate)
        values = self._values(self._check(params_unit))
        return self._align(audio, sample_rate, values, self._lag(sample_rate).left_samples)

    def close(self) -> None:
        """End the plug-in's process, if it has one; a later call starts a fresh one."""
        self._host.close()

    def copy(self) -> "HostedPlugin":
        """The same plug-in in a process of its own; nothing is measured again."""
        twin = object.__new__(HostedPlugin)
        twin.__setstate__(self.__getstate__())
        return twin

    def __enter__(self) -> "HostedPlugin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.source.kind} plug-in {self.name}, {len(self.parameters)} knobs>"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_host"} | {
            "_timeout_s": self._host.timeout_s,
            "_lags": dict(self._lags),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        timeout_s = state.pop("_timeout_s")
        self.__dict__.update(state)
        self._host = (Worker if self.source.foreign else LocalHost)(
            self.source.engine, self.source.where, timeout_s
        )

    def _find_habits(self) -> Habits:
        def render(audio: np.ndarray, setting: np.ndarray, care: Care) -> np.ndarray:
            return self._call("render", audio, _REFERENCE_RATE, self._values(setting), care)[0]

        return find_habits(render, self._resting[self._turned], self._widths[0])

    def _values(self, params_unit: np.ndarray) -> np.ndarray:
        values = self._resting.copy()
        values[self._turned] = params_unit
        return values

    def _choose(self, parameters: Sequence[str] | None, fixed: dict[str, float]) -> None:
        names = [knob.name for knob in self._knobs]
        if parameters is None:
            parameters = [name for name in names if _is_turned(name) and name not in fixed]
        chosen = [*parameters, *fixed]
        unknown = sorted(set(chosen) - set(names))
        if unknown or len(set(chosen)) != len(chosen):
            fault = f"unknown: {', '.join(unknown)}" if unknown else f"named twice among {chosen}"
            raise ValueError(
                f"parameters and fixed of {self.name} must name its knobs, each once; {fault}; has {names}"
            )
        bad = {name: value for name, value in fixed.items() if not 0 <= value <= 1}
        if bad:
            raise ValueError(f"fixed settings lie in 0..1, got {bad}")
        self._turned = np.array([names.index(name) for name in parameters], dtype=int)
        self.parameters = tuple(self._knobs[k] for k in self._turned)
        self._resting = np.array([fixed.get(knob.name, knob.default_unit) for knob in self._knobs])

    def _check(self, params_unit: np.ndarray) -> np.ndarray:
        values = np.asarray(params_unit, dtype=np.float64)
        if values.shape != (len(self.parameters),):
            raise ValueError(
                f"params_unit must have shape ({len(self.parameters)},), got {values.shape}"
            )
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"params_unit must lie in 0..1, got {values.min():g} to {values.max():g}"
            )
        return values

    def _lag(self, sample_rate: int) -> _Lag:
        if sample_rate not in self._lags:
            known = self._call("latency_samples")
            self._lags[sample_rate] = (
                self._measure_lag(sample_rate) if known is None else _Lag(known, known)
            )
        return self._lags[sample_rate]

    def _measure_lag(self, sample_rate: int) -> _Lag:
        dry = noise(round(_PROBE_SECONDS * sample_rate), self._widths[0])
        wet, taken_out = self._call("render", dry, sample_rate, self._resting, self.care)
        left = measure_lag(dry, wet, sample_rate)
        return _Lag(left, left + taken_out)

    def _align(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, late: int
    ) -> np.ndarray:
        channels, samples = audio.shape
        padded = np.pad(audio, ((0, 0), (0, late + max(0, _SHORTEST - samples))))
        parts = [
            self._call("render", part, sample_rate, values, self.care)[0]
            for part in self._parts(padded)
        ]
        wet = np.concatenate(parts)[:channels, late : late + samples]
        if not np.isfinite(wet).all():
            bad = int(np.count_nonzero(~np.isfinite(wet)))
            raise PluginError(f"{self.name} returned {bad} NaN or infinite of {wet.size} samples")
        return np.ascontiguousarray(wet, dtype=np.float32)

    def _parts(self, audio: np.ndarray) -> list[np.ndarray]:
        channels, widths = len(audio), self._widths
        if channels in widths:
            return [audio]
        if 1 in widths:
            return list(audio[:, None])
        if channels == 1:
            return [np.tile(audio, (widths[0], 1))]
        raise ValueError(
            f"audio must have 1 or {widths[0]} channels for {self.name}, got {channels}"
        )

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return self._host.call(method, *arguments)
        except PluginError as error:
            raise PluginError(f"{self.source.kind} plug-in {self.name}: {error}") from error


def _is_turned(name: str) -> bool:
    return not (name.startswith(_SHOWN) or any(word in name for word in _NOT_TURNED))
