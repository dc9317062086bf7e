"""A board of pedals to play with."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets

from labkit.effects.chain import Chain, Step
from labkit.effects.faust import program
from labkit.effects.registry import EFFECTS, effect
from labkit.lab.export import ENDINGS, Kind, export
from labkit.lab.listen import LivePlayer
from labkit.signal.paths import new_files
from labkit.signal.units import set_rms

# Drive is meant for a sound of this level, see `Chain.input_referred`.
INPUT_DBFS = -20.0


class _Pedals(anywidget.AnyWidget):
    """The pedals on screen. `steps` is the whole state, the rest is derived from it."""

    _esm = Path(__file__).with_name("board.js")
    shelf = traitlets.List().tag(sync=True)  # [{name, knobs: [{name, unit, low, high, ...}]}]
    steps = traitlets.List().tag(sync=True)  # [{effect, params, on}] in signal order
    json = traitlets.Unicode().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)
    faust = traitlets.Unicode().tag(sync=True)
    kinds = traitlets.List(list(ENDINGS)).tag(sync=True)  # what a chain is exported to
    message = traitlets.Unicode().tag(sync=True)


class PedalBoard(widgets.VBox):
    """A board of pedals over a player that follows it.

    `audio` (channels, samples) enters the first pedal at an RMS of -20 dBFS; what comes out plays
    at -23 LUFS. Without a front end, set `.chain` and call `.export`.
    """

    def __init__(self, audio: np.ndarray, sample_rate: int, chain: Chain | None = None) -> None:
        self._dry, self.sample_rate = set_rms(audio, INPUT_DBFS), sample_rate
        self.pedals = _Pedals(shelf=[_description(name) for name in EFFECTS])
        self.player = LivePlayer(self._dry, sample_rate, name="board")
        super().__init__([self.pedals, self.player])
        self.pedals.observe(lambda _: self._follow(), "steps")
        self.pedals.on_msg(self._hear)
        self.chain = chain or Chain()

    @property
    def chain(self) -> Chain:
        """The pedals that are on, in signal order; set it to show another chain."""
        on = [step for step in self.pedals.steps if step["on"]]
        return Chain(tuple(Step(step["effect"], dict(step["params"])) for step in on))

    @chain.setter
    def chain(self, chain: Chain) -> None:
        self.pedals.steps = [
            {"effect": step.effect, "params": dict(step.params), "on": True} for step in chain.steps
        ]
        self._follow()

    def audio(self) -> np.ndarray:
        """What the board makes of its input, (channels, samples)."""
        return self.chain.render(self._dry, self.sample_rate)

    def export(self, *kinds: Kind, out: Path | None = None) -> list[Path]:
        """Write the chain into a folder, `output/board` by default; returns the new files.

        Raises ValueError for an unknown kind, FileNotFoundError where no plug-in can be built.
        """
        if unknown := [kind for kind in kinds if kind not in ENDINGS]:
            raise ValueError(f"kinds must be among {', '.join(ENDINGS)}, got {unknown[0]!r}")
        endings = [ending for kind in kinds for ending in ENDINGS[kind]]
        paths = new_files(out, "board", *endings)
        level = {"channels": self._channels, "input_dbfs": INPUT_DBFS}
        return list(export(self.chain, paths, **level))

    @property
    def _channels(self) -> int:
        return min(len(self._dry), 2)

    def _follow(self) -> None:
        """Render the steps; a step that is not a pedal with its knobs is refused in words."""
        try:
            chain = self.chain
        except (ValueError, KeyError, TypeError) as error:
            self.pedals.message = str(error)
            return
        self.player.update(self.audio(), self.sample_rate)
        with self.pedals.hold_sync():
            self.pedals.message = ""
            self.pedals.json = chain.to_json()
            self.pedals.code = chain.to_code()
            try:
                self.pedals.faust = program(chain, channels=self._channels)
            except ValueError as error:  # a pedal of the reader's own
                self.pedals.faust = f"// {error}"

    def _hear(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        try:
            if "export" in content:
                written = self.export(content["export"])
                self.pedals.message = f"wrote {', '.join(map(str, written))}"
            else:
                self.chain = Chain.from_json(str(content.get("load", "")))
                self.pedals.send({"loaded": True})
        except (ValueError, OSError, RuntimeError) as error:
            self.pedals.message = str(error)

    def __repr__(self) -> str:
        return f"PedalBoard: {self.chain}"


def _description(name: str) -> dict[str, Any]:
    """A pedal for the browser; knobs start in the middle of their scale."""
    knobs = effect(name).space.parameters
    return {"name": name, "knobs": [{**asdict(one), "start": one.from_unit(0.5)} for one in knobs]}
