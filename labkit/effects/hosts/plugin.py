"""Open plug-ins, one or several in series; their latency and memory are measured."""

import copy
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labkit.effects.hosts.engines import RESET_MODES, PluginParameter, ResetMode
from labkit.effects.hosts.listing import PluginInfo, find
from labkit.effects.hosts.worker import LocalHost, PluginError, Worker
from labkit.signal.files import check_audio, check_rate
from labkit.signal.seeds import generator

# Two renders are equal below this difference: -120 dB, a few roundings of float32.
REPEAT_TOLERANCE = 1e-6
# An echo later than this is the effect's own, no latency.
LONGEST_LATENCY_S = 0.1
# Latency ends where the response reaches this share of its peak: above the noise floor of a
# response estimated from noise, below the first sample of a filter's response.
_ONSET_SHARE = 0.1
_PROBE_RATE, _PROBE_SECONDS = 44_100, 0.5
_PROBE_SAMPLES = 32_768  # long enough for most echoes
_PROBE_ROUNDS = 3  # memory that was never set is often zero, so one round may look repeatable
# pedalboard takes the longer axis for time, and some plug-ins refuse short blocks.
_SHORTEST = 256
# Parameters that a network should not turn: they switch off, load something, or only display.
_NOT_TURNED = ("bypass", "program", "preset", "solo", "listen", "gain_reduction")


def noise(samples: int, width: int) -> np.ndarray:
    """White noise at -20 dBFS RMS, always the same in every channel: (width, samples) float32."""
    burst = 0.1 * generator(0, "plug-in probe").standard_normal(samples)
    return np.tile(burst.astype(np.float32), (width, 1))


def measure_latency(dry: np.ndarray, wet: np.ndarray, sample_rate: int) -> int:
    """Samples by which `wet` lags behind broadband noise, 0 to `LONGEST_LATENCY_S`.

    Latency ends where the impulse response (quotient of the spectra) first reaches a tenth of its
    peak: a pure delay is found exactly, and a filter has no latency.
    """
    samples = dry.shape[1]
    spectrum = np.fft.rfft(dry[0], 2 * samples)
    power = np.abs(spectrum) ** 2
    # A little power in every bin, so that those where the noise is weak are not amplified.
    quotient = np.fft.rfft(wet[0], 2 * samples) * np.conj(spectrum) / (power + 0.01 * power.mean())
    response = np.abs(np.fft.irfft(quotient)[: round(LONGEST_LATENCY_S * sample_rate) + 1])
    return int(np.argmax(response >= _ONSET_SHARE * response.max())) if response.max() > 0 else 0


class HostedPlugin(AbstractContextManager):
    """An open plug-in, whose latency and memory were measured; a context manager.

    Raises ValueError for an unknown or doubly named parameter, or a value outside its range;
    PluginError when the plug-in or its host is missing, or it crashes, hangs or is refused.

    Args:
        plugin: a pedal of the lab (``"compressor"``), a name that `labkit plugins` prints
            (``"ZamComp"``), a `.vst3` or VST2 file, an LV2 URI, or what `installed_plugins` found.
        parameters: those to turn, in the order wanted; None takes all but displays and switches
            that turn the plug-in off.
        fixed: values of others, 0..1; the rest keep their defaults.
        timeout_s: seconds that opening, and each call, may take; > 0.

    Attributes:
        latency_samples: at 44.1 kHz; `process` removes it.
        reset_mode: the cheapest with which renders repeat themselves as well as they can.
        repeat_error: largest difference from a fresh instance, full scale 1.
    """

    def __init__(
        self,
        plugin: str | PluginInfo,
        *,
        parameters: Sequence[str] | None = None,
        fixed: Mapping[str, float] | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be a number of seconds above 0, got {timeout_s!r}")
        self.info = find(plugin) if isinstance(plugin, str) else plugin
        self.name = self.info.name
        self._host = self._new_host(timeout_s)
        # Sample rate -> latency that the host leaves in the sound, latency in all.
        self._latencies: dict[int, tuple[int, int]] = {}
        self.reset_mode, self.repeat_error = RESET_MODES[0], 0.0
        try:
            every = tuple(PluginParameter(*row) for row in self._call("parameters"))
            self._choose(every, parameters, dict(fixed or {}))
            self._widths = tuple(self._call("widths"))
            if self.info.kind != "builtin":
                self._probe()
            self.latency_samples = self._latency(_PROBE_RATE)[1]
        except BaseException:
            self.close()
            raise

    @property
    def repeatable(self) -> bool:
        """Whether a setting sounds the same each time, regardless of what was played before."""
        return self.repeat_error <= REPEAT_TOLERANCE

    def process(self, audio: np.ndarray, sample_rate: int, params_unit: np.ndarray) -> np.ndarray:
        """The plug-in applied at (parameters,) in 0..1, from rest, and aligned with its input.

        A stereo plug-in plays mono on both sides and returns the left one; a mono one plays
        channels one by one. Returns a new array (channels, samples) float32 of the same length.
        Raises ValueError for unusable audio, or settings of another length or outside 0..1;
        PluginError when the plug-in crashes, hangs or returns NaN.
        """
        audio, sample_rate = check_audio(audio, sample_rate), check_rate(sample_rate)
        values = self._values(params_unit)
        channels, samples = audio.shape
        late = self._latency(sample_rate)[0]
        padded = np.pad(audio, ((0, 0), (0, late + max(0, _SHORTEST - samples))))
        mode = self.reset_mode
        parts = self._split(padded)
        played = [self._call("render", part, sample_rate, values, mode)[0] for part in parts]
        for part, wet in zip(parts, played, strict=True):
            if np.shape(wet) != part.shape:
                raise PluginError(f"{self.name} returned {np.shape(wet)} samples for {part.shape}")
        wet = np.concatenate(played)[:channels, late : late + samples]
        if not np.isfinite(wet).all():
            bad = int(np.count_nonzero(~np.isfinite(wet)))
            raise PluginError(f"{self.name} returned {bad} NaN or infinite of {wet.size} samples")
        return np.ascontiguousarray(wet, dtype=np.float32)

    def shown(self, params_unit: np.ndarray) -> list[str]:
        """What the plug-in displays at a setting (parameters,), e.g. ``"-31.20 dB"``."""
        shown = self._call("shown", self._values(params_unit))
        return [shown[k] for k in self._turned]

    def facts(self) -> str:
        """The measured facts, for a line of `labkit plugins`."""
        error = f"differs by {self.repeat_error:.1e} from render to render"
        repeats = "repeats itself" if self.repeatable else error
        return (
            f"{len(self.parameters)} knobs, latency {self.latency_samples} samples, "
            f"{repeats} (by {self.reset_mode})"
        )

    def close(self) -> None:
        """End the plug-in's process, if it has one; a later call starts a fresh one."""
        self._host.close()

    def copy(self) -> "HostedPlugin":
        """The same plug-in in a process of its own; nothing is measured again."""
        other = copy.copy(self)
        other._host = self._new_host(self._host.timeout_s)
        other._latencies = {**self._latencies}
        return other

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_host(self, timeout_s: float) -> Worker | LocalHost:
        kind = LocalHost if self.info.kind == "builtin" else Worker
        return kind(self.info.engine, self.info.where, timeout_s)

    def _probe(self) -> None:
        """Two settings on fresh instances, then each after the other, with every reset mode."""
        audio, default = noise(_PROBE_SAMPLES, self._widths[0]), self._default[self._turned]

        def render(setting: np.ndarray, mode: ResetMode) -> np.ndarray:
            return self._call("render", audio, _PROBE_RATE, self._values(setting), mode)[0]

        settings = default, np.where(default > 0.5, default - 0.4, default + 0.4)
        fresh = [render(setting, "reload") for setting in settings]
        errors: dict[ResetMode, float] = {}
        for mode in RESET_MODES:
            errors[mode] = max(
                float(np.abs(render(settings[k], mode) - fresh[k]).max())
                for k in (1, 0) * _PROBE_ROUNDS
            )
            if errors[mode] <= REPEAT_TOLERANCE:
                break
        enough = max(2 * min(errors.values()), REPEAT_TOLERANCE)
        self.reset_mode = next(mode for mode, error in errors.items() if error <= enough)
        self.repeat_error = errors[self.reset_mode]

    def _values(self, params_unit: np.ndarray) -> np.ndarray:
        """Every parameter's value: those given, and the rest at their fixed or default ones."""
        given, n = np.asarray(params_unit, dtype=np.float64), len(self.parameters)
        if given.shape != (n,) or not ((given >= 0) & (given <= 1)).all():
            raise ValueError(f"params_unit must have shape ({n},) and lie in 0..1, got {given}")
        values = self._default.copy()
        values[self._turned] = given
        return values

    def _choose(
        self,
        every: tuple[PluginParameter, ...],
        parameters: Sequence[str] | None,
        fixed: dict[str, float],
    ) -> None:
        names = [parameter.name for parameter in every]
        if parameters is None:
            off = {name for name in names for word in _NOT_TURNED if word in name}
            parameters = [name for name in names if name not in off and name not in fixed]
        chosen = [*parameters, *fixed]
        if not set(chosen) <= set(names) or len(set(chosen)) != len(chosen):
            raise ValueError(
                f"parameters and fixed must name parameters of {self.name}, each once, "
                f"got {chosen}; it has {names}"
            )
        if not all(0 <= value <= 1 for value in fixed.values()):
            raise ValueError(f"fixed settings lie in 0..1, got {fixed}")
        self._turned = np.array([names.index(name) for name in parameters], dtype=int)
        self.parameters = tuple(every[k] for k in self._turned)
        self._default = np.array([fixed.get(p.name, p.default_unit) for p in every])

    def _latency(self, sample_rate: int) -> tuple[int, int]:
        if sample_rate not in self._latencies:
            known, removed = self._call("latency_samples"), 0
            if known is None:
                dry = noise(round(_PROBE_SECONDS * sample_rate), self._widths[0])
                mode = self.reset_mode
                wet, removed = self._call("render", dry, sample_rate, self._default, mode)
                known = measure_latency(dry, wet, sample_rate)
            self._latencies[sample_rate] = (known, known + removed)
        return self._latencies[sample_rate]

    def _split(self, audio: np.ndarray) -> list[np.ndarray]:
        """Parts with as many channels as the plug-in accepts, to be played one after the other."""
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
            raise PluginError(f"{self.info.kind} plug-in {self.name}: {error}") from error


@dataclass(frozen=True)
class Unit:
    """One plug-in of a rack."""

    plugin: str  # as `HostedPlugin` takes it
    knobs: Mapping[str, float]  # parameter that is turned -> its value before training, 0..1
    fixed: Mapping[str, float] = field(default_factory=dict)  # values of others, 0..1


class Rack(AbstractContextManager):
    """Plug-ins in a row that render a batch, shared by `workers` copies; a context manager.

    Raises PluginError when a plug-in is not installed or cannot be hosted.
    """

    def __init__(self, units: Sequence[Unit], sample_rate: int, *, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.sample_rate = sample_rate
        self._ends = np.cumsum([len(unit.knobs) for unit in units]).tolist()
        self._threads = ThreadPoolExecutor(workers)
        self._rows: list[list[HostedPlugin]] = [[]]
        self._free: queue.SimpleQueue[list[HostedPlugin]] = queue.SimpleQueue()
        try:
            for unit in units:
                plugin = HostedPlugin(unit.plugin, parameters=[*unit.knobs], fixed=unit.fixed)
                plugin.close()  # the probe's process; the first render starts a fresh one
                self._rows[0].append(plugin)
        except BaseException:
            self.close()
            raise
        self._rows += [[plugin.copy() for plugin in self._rows[0]] for _ in range(workers - 1)]
        for row in self._rows:
            self._free.put(row)

    def render(self, audio: Sequence[np.ndarray], params_unit: np.ndarray) -> np.ndarray:
        """Every sound through the row at its own setting, from rest: (n, channels, samples).

        Sounds are n times (channels, samples) of one shape; settings (n, parameters) in 0..1 are of
        all plug-ins, or of the first ones, and then only these play. Raises ValueError for other
        settings, PluginError of the first item that failed; the others are played to the end.
        """
        params_unit = np.asarray(params_unit, dtype=np.float64)
        if len(params_unit) != len(audio) or params_unit.shape[1] not in self._ends:
            wanted = f"({len(audio)}, one of {self._ends})"
            raise ValueError(f"params_unit must have shape {wanted}, got {params_unit.shape}")
        ends = self._ends[: self._ends.index(params_unit.shape[1])]

        def play(sound: np.ndarray, setting: np.ndarray) -> np.ndarray:
            row = self._free.get()
            try:
                for plugin, knobs in zip(row, np.split(setting, ends), strict=False):
                    sound = plugin.process(sound, self.sample_rate, knobs)
                return sound
            finally:
                self._free.put(row)

        jobs = [self._threads.submit(play, *item) for item in zip(audio, params_unit, strict=True)]
        return np.stack([job.result() for job in jobs])

    def shown(self, params_unit: np.ndarray) -> list[str]:
        """What the plug-ins display at a setting (parameters,) of all of them."""
        knobs = np.split(np.asarray(params_unit, dtype=np.float64), self._ends[:-1])
        row = zip(self._rows[0], knobs, strict=True)
        return [text for plugin, part in row for text in plugin.shown(part)]

    def close(self) -> None:
        """End every plug-in's process."""
        for row in self._rows:
            for plugin in row:
                plugin.close()
        self._threads.shutdown()

    def __exit__(self, *_: object) -> None:
        self.close()
