"""The engines: each opens one plug-in in its own process. They do not import torch, to start fast.

An engine has `parameters` (every one that can be automated), `widths` (the numbers of channels that
it accepts), `latency_samples` (None where it is to be measured), `shown(values)` -> what the
plug-in displays at these values of all parameters, and
`render(audio, sample_rate, values, mode)` -> (audio, samples of latency that the host removed).
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from labkit.signal.optional import need

# How an engine forgets what it played before, cheapest first: the plug-in's own reset; a reset and
# a moment of silence, so that smoothed parameters arrive; a new instance and the same silence.
ResetMode = Literal["reset", "settle", "reload"]
RESET_MODES: tuple[ResetMode, ...] = ("reset", "settle", "reload")
# guitarix smooths by .999 a sample: -60 dB of the old setting after 0.16 s at 44.1 kHz.
SETTLE_SECONDS = 0.25
_BLOCK_SAMPLES = 512


class PluginParameter(NamedTuple):
    """One parameter of a plug-in; the host sets it in 0..1."""

    name: str
    low: str  # what the plug-in shows at 0
    high: str  # at 1
    default_unit: float  # when the plug-in is opened, 0..1


def _display(text: str, unit: str | None) -> str:
    """A plug-in's text with two decimals where it is a number, and the unit."""
    with contextlib.suppress(ValueError):
        text = f"{float(text):.2f}"
    return f"{text} {unit or ''}".strip()


class BuiltinEngine:
    """A pedal or a substitute of the registry, through pedalboard; a new one for each render."""

    widths = (1, 2)

    def __init__(self, where: str) -> None:
        from labkit.effects.registry import HOSTED, STAND_INS, effect

        self._effect = STAND_INS.get(where) or HOSTED.get(where) or effect(where)
        self.latency_samples = 0
        self.parameters = tuple(
            PluginParameter(p.name, f"{p.low:g}", f"{p.high:g} {p.unit}".strip(), 0.5)
            for p in self._effect.space.parameters
        )

    def shown(self, values: np.ndarray) -> list[str]:
        params = self._effect.space.from_unit(values)
        return [f"{params[p.name]:.2f} {p.unit}" for p in self._effect.space.parameters]

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, _mode: ResetMode
    ) -> tuple[np.ndarray, int]:
        """See the module. A new instance has no memory."""
        params = self._effect.space.from_unit(values)
        return self._effect.render(audio, sample_rate, **params), 0


class Vst3Engine:
    """A VST3 effect through pedalboard. Raises ValueError for an instrument."""

    latency_samples = None

    def __init__(self, where: str) -> None:
        self._where = where
        self._load()
        if not self._plugin.is_effect:
            raise ValueError("it is an instrument: it takes no audio")
        self.parameters = tuple(
            PluginParameter(
                name,
                p.get_text_for_raw_value(0.0).strip(),
                f"{p.get_text_for_raw_value(1.0)} {p.label or ''}".strip(),
                float(p.raw_value),
            )
            for name, p in self._parameters.items()
        )
        self.widths = tuple(width for width in (1, 2) if self._accepts(width))
        if not self.widths:
            raise ValueError("it takes neither one channel nor two")

    def shown(self, values: np.ndarray) -> list[str]:
        knobs = zip(self._parameters.values(), values.tolist(), strict=True)
        return [_display(p.get_text_for_raw_value(value), p.label) for p, value in knobs]

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, mode: ResetMode
    ) -> tuple[np.ndarray, int]:
        if mode == "reload":
            self._load()
        for parameter, value in zip(self._parameters.values(), values, strict=True):
            parameter.raw_value = float(value)
        early = 0 if mode == "reset" else round(SETTLE_SECONDS * sample_rate)
        padded = np.pad(audio, ((0, 0), (early, 0)))
        wet = self._plugin.process(padded, sample_rate, reset=True)
        # pedalboard drops the plug-in's declared latency from the beginning.
        dropped = padded.shape[1] - wet.shape[1]
        if dropped:
            padded = np.pad(padded, ((0, 0), (0, dropped)))
            wet = self._plugin.process(padded, sample_rate, reset=True)
        return np.ascontiguousarray(wet[:, early : early + audio.shape[1]]), dropped

    def _load(self) -> None:
        self._plugin = need("pedalboard").VST3Plugin(self._where)
        # What cannot be automated are displays and the host's own affairs.
        self._parameters = {
            name: parameter
            for name, parameter in self._plugin.parameters.items()
            if parameter.is_automatable and name != "current_program"
        }

    def _accepts(self, width: int) -> bool:
        try:
            self._plugin.process(np.zeros((width, 512), np.float32), 44_100, reset=True)
        except ValueError:
            return False
        return True


class DawdreamerEngine:
    """An LV2 by URI, or a VST2 file, through dawdreamer. Raises ValueError for an instrument."""

    latency_samples = None

    def __init__(self, where: str) -> None:
        self._where = where
        self._load(44_100)
        inputs = self._plugin.get_num_input_channels()
        outputs = self._plugin.get_num_output_channels()
        if not inputs or not outputs:
            raise ValueError(f"it takes {inputs} channels of audio and gives {outputs}: no effect")
        # A second input beside one output is a side chain.
        self.widths = (min(inputs, outputs, 2),)
        rows = [row for row in self._plugin.get_parameters_description() if row["isAutomatable"]]
        self._indices = [row["index"] for row in rows]
        found: dict[str, PluginParameter] = {}
        for row in rows:
            parameter = self._described(row, found.keys())
            found[parameter.name] = parameter
        self.parameters = tuple(found.values())

    def shown(self, values: np.ndarray) -> list[str]:
        for index, value in zip(self._indices, values.tolist(), strict=True):
            self._plugin.set_parameter(index, value)
        rows = self._plugin.get_parameters_description()
        rows = [rows[index] for index in self._indices]
        return [_display(row["currentValText"], row["label"]) for row in rows]

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, mode: ResetMode
    ) -> tuple[np.ndarray, int]:
        """See the module. dawdreamer removes no latency."""
        if mode == "reload" or sample_rate != self._rate:
            self._load(sample_rate)
        early = 0 if mode == "reset" else round(SETTLE_SECONDS * sample_rate)
        source = self._engine.make_playback_processor("source", np.pad(audio, ((0, 0), (early, 0))))
        # A new graph is the nearest thing to a reset. LV2's parameters return to their defaults.
        self._engine.load_graph([(source, []), (self._plugin, ["source"])])
        for index, value in zip(self._indices, values, strict=True):
            self._plugin.set_parameter(index, float(value))
        samples = early + audio.shape[1]
        if not self._engine.render((samples + 0.5) / sample_rate):
            raise RuntimeError("dawdreamer could not render")
        wet = self._engine.get_audio()[: len(audio), early:samples]
        return np.ascontiguousarray(wet, dtype=np.float32), 0

    def _load(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._engine = need("dawdreamer").RenderEngine(sample_rate, _BLOCK_SAMPLES)
        self._plugin = self._engine.make_plugin_processor("plugin", self._where)

    def _described(self, row: dict[str, Any], taken: Any) -> PluginParameter:
        """A parameter with a unique name; a VST2 is set to both ends to read its range."""
        index, default = row["index"], float(self._plugin.get_parameter(row["index"]))
        name = re.sub(r"\W+", "_", row["name"]).strip("_").lower() or f"parameter_{index}"
        name = name if name not in taken else f"{name}_{index}"
        shown = []
        for end in (0.0, 1.0):
            self._plugin.set_parameter(index, end)
            shown.append(self._plugin.get_parameters_description()[index]["currentValText"])
        self._plugin.set_parameter(index, default)
        return PluginParameter(name, shown[0], f"{shown[1]} {row['label']}".strip(), default)


# Instruments: parameters by name, a note to sound

# -100 dB: below, the last note does not disturb the next one.
_SILENT = 1e-5
_LONGEST_RELEASE_SECONDS = 12.0
_MARGIN_SECONDS = 0.05
# Every key: pedalboard plays one when it opens an instrument, and may leave it down.
_ALL_OFF = [(bytes([0x80, key, 0]), 0.0) for key in range(128)]
# Some instruments work in blocks (Surge XT: 32) and begin a note at the next one: so do our calls.
_NOTE_BLOCK = 64
# A word is searched at so many places of a parameter's range, as pedalboard does.
_PLACES = 1000

Settings = Mapping[str, float | str]


def _number(text: str) -> float | None:
    """The number at the start of a display: 3.5 of ``"3.5 dB"``; None for words."""
    found = re.match(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text)
    return float(found[0]) if found else None


class Vst3Instrument:
    """A VST3 instrument, from a `.vst3` file or bundle.

    `names` are the parameters that will be set, as pedalboard spells them (None for all); `prepare`
    changes the content of a `.vstpreset` file before they are looked up, in every new instance.
    Raises ValueError when it is an effect, or lacks some of the parameters (all are named).
    """

    def __init__(
        self,
        where: str,
        names: Iterable[str] | None = None,
        prepare: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._where, self._prepare = where, prepare
        self._names = None if names is None else tuple(names)
        self._words: dict[str, list[str]] = {}
        self.reload()

    def reload(self) -> None:
        """Start with a new instance, which has no memory."""
        self._plugin = need("pedalboard").VST3Plugin(self._where)
        if not self._plugin.is_instrument:
            raise ValueError("it is an effect: it plays no notes")
        if self._prepare is not None:
            self.load(self._prepare(self.state()))
        every = self._plugin.parameters
        names = tuple(every) if self._names is None else self._names
        if missing := [name for name in names if name not in every]:
            raise ValueError(
                f"{self._plugin.name} {self._plugin.version} has {len(every)} parameters, "
                f"but not these {len(missing)} of {len(names)}: {', '.join(missing)}"
            )
        self._parameters = {name: every[name] for name in names}
        self._settings: dict[str, float | str] = {}

    def place(self, name: str, word: str) -> float:
        """The middle of the range, in 0..1, over which a parameter shows a word.

        A number stands for the text that begins with it (``"3"`` is ``"3 voices"``). Raises
        ValueError, which names what is shown, if the word never is.
        """
        if name not in self._words:
            shows, places = self._parameters[name].get_text_for_raw_value, range(_PLACES + 1)
            self._words[name] = [shows(place / _PLACES).strip() for place in places]
        words, wanted = self._words[name], _number(word)
        found = [k for k, text in enumerate(words) if text == word]
        if not found and wanted is not None:
            found = [k for k, text in enumerate(words) if _number(text) == wanted]
        if not found:
            shown = ", ".join(list(dict.fromkeys(words))[:40])
            raise ValueError(f"{name} never shows {word!r}; it shows {shown}")
        return found[len(found) // 2] / _PLACES

    def set(self, settings: Settings) -> None:
        """Set parameters: name -> a number in 0..1, or a word as `place` takes it.

        Raises ValueError for a parameter that is unknown, out of range, or never shows the word.
        """
        values = {name: self._value(name, value) for name, value in settings.items()}
        for name, value in values.items():
            self._parameters[name].raw_value = value
        self._settings |= settings

    def settle(self, settings: Settings, sample_rate: int) -> None:
        """Set parameters and wait for silence; a note that rings too long is cut off."""
        self.set(settings)
        for _ in range(round(_LONGEST_RELEASE_SECONDS / SETTLE_SECONDS)):
            if np.abs(self._process(_ALL_OFF, SETTLE_SECONDS, sample_rate)).max() < _SILENT:
                return
        settings = self._settings
        self.reload()
        self.set(settings)

    def play(
        self,
        settings: Settings,
        key: int,
        held: float,
        seconds: float,
        sample_rate: int = 44_100,
        velocity: float = 0.8,
        start: float = 0.0,
    ) -> np.ndarray:
        """A note after `start` seconds of silence, held for `held`: (2, samples) float32.

        Settings are those of `set`; the MIDI key lies in 0..127, the velocity in 0..1.
        """
        self.settle(settings, sample_rate)
        end = start + held
        events = [(bytes([0x90, key, round(127 * velocity)]), start), (bytes([0x80, key, 0]), end)]
        # The release lies within what is played, however long the key is held.
        sound = self._process(events, max(seconds, end) + _MARGIN_SECONDS, sample_rate)
        return np.ascontiguousarray(sound[:, : round(seconds * sample_rate)], dtype=np.float32)

    def state(self) -> bytes:
        """The state of the plug-in, as the content of a `.vstpreset` file."""
        return bytes(self._plugin.preset_data)

    def load(self, state: bytes) -> None:
        """Load the content of a `.vstpreset` file. Raises ValueError if the plug-in refuses it."""
        try:
            self._plugin.preset_data = state
        except RuntimeError as error:
            raise ValueError(f"it does not read this preset: {error}") from error

    def _process(self, events: list, seconds: float, sample_rate: int) -> np.ndarray:
        blocks = math.ceil(seconds * sample_rate / _NOTE_BLOCK)
        seconds = (blocks * _NOTE_BLOCK + 0.5) / sample_rate  # pedalboard cuts to whole samples
        # No reset: pedalboard may make a new instance for it.
        return self._plugin.process(events, seconds, sample_rate, num_channels=2, reset=False)

    def _value(self, name: str, value: float | str) -> float:
        if name not in self._parameters:
            n = len(self._parameters)
            raise ValueError(f"{name} is none of the {n} parameters that were asked for")
        if isinstance(value, str):
            return self.place(name, value)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value!r}")
        return float(value)
