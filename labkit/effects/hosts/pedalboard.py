"""VST3 files through pedalboard. Runs in a worker's process: hosting leaves the processor's float mode changed."""

from typing import Any

import numpy as np

from labkit.effects.hosts.face import SETTLE_SECONDS, Care, PluginParameter, number
from labkit.signal.optional import need

_ENDLESS = 2**31 - 1  # the number of steps that JUCE gives to a continuous knob


class Vst3Engine:
    """Hosts a VST3 effect.

    Args:
        where: the `.vst3` file or bundle.

    Raises:
        ValueError: when it is an instrument, or takes neither one nor two channels.
    """

    latency_samples = None

    def __init__(self, where: str) -> None:
        self._where = where
        self._load()
        if not self._plugin.is_effect:
            raise ValueError("it is an instrument: it takes no audio")
        self.parameters = tuple(_parameter(name, knob) for name, knob in self._knobs.items())
        self.widths = tuple(width for width in (1, 2) if self._takes(width))
        if not self.widths:
            raise ValueError("it takes neither one channel nor two")

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, care: Care
    ) -> tuple[np.ndarray, int]:
        """As `Engine.render`."""
        if care == "reload":
            self._load()
        for knob, value in zip(self._knobs.values(), values, strict=True):
            knob.raw_value = float(value)
        early = 0 if care == "reset" else round(SETTLE_SECONDS * sample_rate)
        padded = np.pad(audio, ((0, 0), (early, 0)))
        wet = self._plugin.process(padded, sample_rate, reset=True)
        # pedalboard drops as many samples from the beginning as the plug-in says that it lags.
        dropped = padded.shape[1] - wet.shape[1]
        if dropped:
            wet = self._plugin.process(
                np.pad(padded, ((0, 0), (0, dropped))), sample_rate, reset=True
            )
        return np.ascontiguousarray(wet[:, early : early + audio.shape[1]]), dropped

    def _load(self) -> None:
        self._plugin = need("pedalboard").VST3Plugin(self._where)
        every = self._plugin.parameters
        # What cannot be automated are displays and the host's own business.
        self._knobs = {
            name: knob
            for name, knob in every.items()
            if knob.is_automatable and name != "current_program"
        }

    def _takes(self, width: int) -> bool:
        try:
            self._plugin.process(np.zeros((width, 512), np.float32), 44_100, reset=True)
        except ValueError:
            return False
        return True


def _parameter(name: str, knob: Any) -> PluginParameter:
    steps = 0 if knob.num_steps >= _ENDLESS else knob.num_steps
    low, high = (number(knob.get_text_for_raw_value(end)) for end in (0.0, 1.0))
    if low is None or high is None:
        low, high = 0.0, max(steps - 1.0, 1.0)
    return PluginParameter(
        name, (knob.label or "").strip(), low, high, steps, float(knob.raw_value)
    )
