"""LV2 by URI, and VST2 files, through dawdreamer. Runs in a worker's process: dawdreamer may abort it."""

import re
from typing import Any

import numpy as np

from labkit.effects.hosts.face import SETTLE_SECONDS, Care, PluginParameter, number
from labkit.effects.hosts.lv2 import port_units
from labkit.signal.optional import need

_ENDLESS = 2**31 - 1
_BLOCK_SAMPLES = 512


class DawdreamerEngine:
    """Hosts an effect.

    Args:
        where: an LV2 URI, or a VST2 or VST3 file.

    Raises:
        ValueError: when it takes no audio or gives none.
    """

    latency_samples = None

    def __init__(self, where: str) -> None:
        self._where = where
        self._load(44_100)
        inputs, outputs = (
            self._plugin.get_num_input_channels(),
            self._plugin.get_num_output_channels(),
        )
        if not inputs or not outputs:
            raise ValueError(f"it takes {inputs} channels of audio and gives {outputs}: no effect")
        # A second input beside one output is a side chain; a second output beside one input is made from it.
        self.widths = (min(inputs, outputs, 2),)
        rows = [row for row in self._plugin.get_parameters_description() if row["isAutomatable"]]
        self._indices = [row["index"] for row in rows]
        self.parameters = self._describe(rows)

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, care: Care
    ) -> tuple[np.ndarray, int]:
        """As `Engine.render`. dawdreamer takes no lag out."""
        if care == "reload" or sample_rate != self._rate:
            self._load(sample_rate)
        early = 0 if care == "reset" else round(SETTLE_SECONDS * sample_rate)
        source = self._engine.make_playback_processor("source", np.pad(audio, ((0, 0), (early, 0))))
        # A new graph is prepared anew: the nearest thing to a reset. LV2's knobs are back at their defaults after it.
        self._engine.load_graph([(source, []), (self._plugin, ["source"])])
        for index, value in zip(self._indices, values, strict=True):
            self._plugin.set_parameter(index, float(value))
        samples = early + audio.shape[1]
        if not self._engine.render((samples + 0.5) / sample_rate):
            raise RuntimeError("dawdreamer could not render")
        return np.ascontiguousarray(
            self._engine.get_audio()[: len(audio), early:samples], dtype=np.float32
        ), 0

    def _load(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._engine = need("dawdreamer").RenderEngine(sample_rate, _BLOCK_SAMPLES)
        self._plugin = self._engine.make_plugin_processor("plugin", self._where)

    def _describe(self, rows: list[dict[str, Any]]) -> tuple[PluginParameter, ...]:
        units, taken, parameters = port_units(self._where), set(), []
        for row in rows:
            word = re.sub(r"\W+", "_", row["name"]).strip("_").lower() or f"knob_{row['index']}"
            name = word if word not in taken else f"{word}_{row['index']}"
            taken.add(name)
            steps = 0 if row["numSteps"] >= _ENDLESS else row["numSteps"]
            low, high = self._ends(row["index"])
            if low is None or high is None:
                low, high = 0.0, max(steps - 1.0, 1.0)
            unit = row["label"].strip() or units.get(row["name"], "")
            rest = float(self._plugin.get_parameter(row["index"]))
            parameters.append(PluginParameter(name, unit, low, high, steps, rest))
        return tuple(parameters)

    def _ends(self, index: int) -> tuple[float | None, float | None]:
        """What the knob shows at its ends. The texts of a VST2 are of the knob as it stands, so it is moved there."""
        rest, shown = self._plugin.get_parameter(index), []
        for end in (0.0, 1.0):
            self._plugin.set_parameter(index, end)
            shown.append(number(self._plugin.get_parameters_description()[index]["currentValText"]))
        self._plugin.set_parameter(index, rest)
        return shown[0], shown[1]
