"""VST3 instruments through pedalboard: parameters by name, a note to sound. Runs in a worker's process."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from labkit.effects.hosts.face import SETTLE_SECONDS, number
from labkit.signal.optional import need

# Below 100 dB under full scale what still sounds of the last note is not heard in the next one.
_SILENT = 1e-5
_LONGEST_RING_SECONDS = 12.0
_MARGIN_SECONDS = 0.05
# Every key: pedalboard plays one when it opens an instrument, to see what a reset does, and may leave it down.
_LET_GO = [(bytes([0x80, key, 0]), 0.0) for key in range(128)]
# Instruments that work in blocks of their own (Surge XT: 32) begin a note at the next one: ours end where theirs do.
_BLOCK = 64
# A word is looked for at so many places of a parameter's travel: pedalboard, too, looks at a thousand.
_PLACES = 1000

Told = Mapping[str, float | str]


class Vst3Instrument:
    """Hosts a VST3 instrument.

    Args:
        where: the `.vst3` file or bundle.
        names: of the parameters that will be set, as pedalboard spells them; None for all.

    Raises:
        ValueError: when it is an effect, or lacks some of the parameters; all that are missing are named.
    """

    def __init__(self, where: str, names: Iterable[str] | None = None) -> None:
        self._where, self._names = where, None if names is None else tuple(names)
        self._shown: dict[str, list[str]] = {}
        self.reload()

    def reload(self) -> None:
        """A new instance, which remembers nothing."""
        self._plugin = need("pedalboard").VST3Plugin(self._where)
        if not self._plugin.is_instrument:
            raise ValueError("it is an effect: it plays no notes")
        every = self._plugin.parameters
        names = tuple(every) if self._names is None else self._names
        if missing := [name for name in names if name not in every]:
            raise ValueError(
                f"{self._plugin.name} {self._plugin.version} has {len(every)} parameters, "
                f"but not these {len(missing)} of {len(names)}: {', '.join(missing)}"
            )
        self._knobs = {name: every[name] for name in names}
        self._told: dict[str, float | str] = {}

    def place(self, name: str, word: str) -> float:
        """The middle of the travel, 0..1, over which a parameter shows a word.

        Args:
            name: of the parameter.
            word: what it shows; a number is also the text that begins with it (``"3"`` is ``"3 voices"``).

        Raises:
            ValueError: if it never shows that; what it does show is named.
        """
        if name not in self._shown:
            knob = self._knobs[name]
            self._shown[name] = [
                knob.get_text_for_raw_value(k / _PLACES).strip() for k in range(_PLACES + 1)
            ]
        shown, wanted = self._shown[name], number(word)
        places = [k for k, text in enumerate(shown) if text == word]
        places = places or [
            k for k, text in enumerate(shown) if wanted is not None and number(text) == wanted
        ]
        if not places:
            raise ValueError(
                f"{name} never shows {word!r}; it shows {', '.join(list(dict.fromkeys(shown))[:40])}"
            )
        return places[len(places) // 2] / _PLACES

    def set(self, told: Told) -> None:
        """Set parameters: name -> a number in 0..1, or a word as `place` takes it.

        Raises:
            ValueError: naming the parameter, for an unknown one, a number out of range, or a word that it never shows.
        """
        for name, raw in {name: self._raw(name, value) for name, value in told.items()}.items():
            self._knobs[name].raw_value = raw
        self._told |= told

    def settle(self, told: Told, sample_rate: int) -> None:
        """Set parameters and let them arrive, when the last note has died away; one that does not is cut off."""
        self.set(told)
        for _ in range(round(_LONGEST_RING_SECONDS / SETTLE_SECONDS)):
            if np.abs(self._process(_LET_GO, SETTLE_SECONDS, sample_rate)).max() < _SILENT:
                return
        told = self._told
        self.reload()
        self.set(told)

    def play(
        self,
        told: Told,
        key: int,
        held: float,
        seconds: float,
        sample_rate: int = 44_100,
        velocity: float = 0.8,
    ) -> np.ndarray:
        """A note from silence.

        Args:
            told: as `set`.
            key: MIDI key, 0..127.
            held: seconds after which the key is let go.
            seconds: length of the sound.
            sample_rate: Hz.
            velocity: 0..1.

        Returns:
            (2, samples) float32.
        """
        self.settle(told, sample_rate)
        events = [(bytes([0x90, key, round(127 * velocity)]), 0.0), (bytes([0x80, key, 0]), held)]
        # However long the key is held, it is let go within what is played: no note hangs.
        sound = self._process(events, max(seconds, held) + _MARGIN_SECONDS, sample_rate)
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
        seconds = (blocks * _BLOCK + 0.5) / sample_rate  # which is cut down to whole samples
        # No reset: pedalboard may make a new instance of it.
        return self._plugin.process(events, seconds, sample_rate, num_channels=2, reset=False)

    def _raw(self, name: str, value: float | str) -> float:
        if name not in self._knobs:
            raise ValueError(
                f"{name} is none of the {len(self._knobs)} parameters that were asked for"
            )
        if isinstance(value, str):
            return self.place(name, value)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value!r}")
        return float(value)
