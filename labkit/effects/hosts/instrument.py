"""VST3 instruments through pedalboard: parameters by name, a note to sound. Runs in a worker."""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from labkit.effects.hosts.engines import SETTLE_SECONDS
from labkit.signal.optional import need

# -100 dB: below, the last note does not disturb the next one.
_SILENT = 1e-5
_LONGEST_RELEASE_SECONDS = 12.0
_MARGIN_SECONDS = 0.05
# Every key: pedalboard plays one when it opens an instrument, and may leave it down.
_ALL_OFF = [(bytes([0x80, key, 0]), 0.0) for key in range(128)]
# Some instruments work in blocks (Surge XT: 32) and begin a note at the next one: so do our calls.
_BLOCK = 64
# A word is searched at so many places of a parameter's range, as pedalboard does.
_PLACES = 1000

Settings = Mapping[str, float | str]


def _number(text: str) -> float | None:
    """The number that a display begins with: 3.5 of ``"3.5 dB"``; None where it shows words."""
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
        """A new instance, which remembers nothing."""
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

        A number also means the text that begins with it (``"3"`` is ``"3 voices"``). Raises
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
        """Everything that the plug-in remembers, as a `.vstpreset` file's content."""
        return bytes(self._plugin.preset_data)

    def load(self, state: bytes) -> None:
        """Take over a `.vstpreset` file's content. Raises ValueError if the plug-in refuses it."""
        try:
            self._plugin.preset_data = state
        except RuntimeError as error:
            raise ValueError(f"it does not read this preset: {error}") from error

    def _process(self, events: list, seconds: float, sample_rate: int) -> np.ndarray:
        blocks = math.ceil(seconds * sample_rate / _BLOCK)
        seconds = (blocks * _BLOCK + 0.5) / sample_rate  # pedalboard cuts to whole samples
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
