"""A board of pedals to play with, and a game: you against the network, on blind chains."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets

from labkit.effects.chain import Chain, Step
from labkit.effects.faust import program
from labkit.effects.registry import EFFECTS, effect
from labkit.lab.export import ENDINGS, Kind, endings, export
from labkit.lab.listen import LivePlayer
from labkit.signal.paths import new_files, replace_text
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.config import PROTOCOLS, Names, canonical_names

if TYPE_CHECKING:
    from labkit.systems.pedal_order.model import PedalOrderModel

# Drive is meant for a sound of this level, see `Chain.input_referred`.
INPUT_DBFS = -20.0
_DUELS = Path("output") / "duels.json"


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
        """The pedals that are on, in signal order; set it to show another chain, knobs in range."""
        on = [step for step in self.pedals.steps if step["on"]]
        return Chain(tuple(Step(step["effect"], dict(step["params"])) for step in on))

    @chain.setter
    def chain(self, chain: Chain) -> None:
        steps = [Step(step.effect, step.params) for step in chain.steps]
        self.pedals.steps = [
            {"effect": step.effect, "params": dict(step.params), "on": True} for step in steps
        ]
        self._follow()
        self.pedals.send({"loaded": True})  # the sliders move, also where the pedals stay the same

    def audio(self) -> np.ndarray:
        """What the board makes of its input, (channels, samples)."""
        return self.chain.render(self._dry, self.sample_rate)

    def export(self, *kinds: Kind, out: Path | None = None) -> list[Path]:
        """Write the chain into a folder, `output/board` by default; returns the new files.

        Raises ValueError for an unknown kind or none, FileNotFoundError where no compiler is.
        """
        paths = new_files(out, "board", *endings(kinds))
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
                self.pedals.message = "writing ..."  # so that the same answer twice is shown twice
                written = self.export(content["export"])
                self.pedals.message = f"wrote {', '.join(map(str, written))}"
            else:
                self.chain = Chain.from_json(str(content.get("load", "")))
        except (ValueError, OSError, RuntimeError) as error:
            self.pedals.message = str(error)

    def __repr__(self) -> str:
        return f"PedalBoard: {self.chain}"


def _description(name: str) -> dict[str, Any]:
    """A pedal for the browser; knobs start in the middle of their scale."""
    knobs = effect(name).space.parameters
    return {"name": name, "knobs": [{**asdict(one), "start": one.from_unit(0.5)} for one in knobs]}


class Duel(widgets.VBox):
    """A game of `n` rounds: a clip, dry and through a hidden chain; name the pedals in their order.

    Two orders that sound the same count as one. Another seed is another game; `sources` are
    "generated" or "sampled" guitars, which the network was not trained on. A finished game is added
    to `output/duels.json`. Without a front end, call `.answer(names)`.
    """

    def __init__(
        self, model: "PedalOrderModel", *, n: int = 10, seed: int = 0, sources: str = "generated"
    ) -> None:
        # Imported here: the board alone needs no network.
        from labkit.systems.pedal_order.data import examples_for_scoring
        from labkit.systems.pedal_order.predict import decode

        protocol, sound = PROTOCOLS["three"], model.config.sound
        self._examples = examples_for_scoring(sound, protocol, sources, n, seed=1000 + seed)
        self.truth = [example.chain.names for example in self._examples]
        clips = [example.features(sound)[None] for example in self._examples]
        found = [decode(model, clip, protocol.pedals).chain.names for clip in clips]
        self.network = [canonical_names(names) for names in found]
        self.yours: list[Names] = []
        self._rate, self._seed, self._sources = sound.sample_rate, seed, sources
        first = self._examples[0]
        self.dry = LivePlayer(first.aligned_dry, self._rate, name="dry")
        self.wet = LivePlayer(first.wet, self._rate, name="through the chain")
        self.words = widgets.HTML(self._score())
        orders = sorted(protocol.probabilities(), key=lambda names: (len(names), names))
        self.buttons = [self._button(names) for names in orders]
        super().__init__([self.words, self.dry, self.wet, widgets.Box(self.buttons)])
        self.children[-1].layout.flex_flow = "row wrap"

    def _button(self, names: Names) -> widgets.Button:
        button = widgets.Button(description=" → ".join(names) or "clean")
        button.layout.width = "auto"
        button.on_click(lambda _: self.answer(names))
        return button

    def answer(self, names: Sequence[str]) -> bool:
        """Score this round and go to the next; True if it is right. ValueError after the last."""
        if self.is_over:
            raise ValueError(f"this game had {len(self.truth)} rounds; start another seed")
        self.yours.append(canonical_names(names))
        k = len(self.yours) - 1
        self.words.value = self._score()
        if self.is_over:
            self._keep()
            for button in self.buttons:
                button.disabled = True
        else:
            following = self._examples[k + 1]
            self.dry.update(following.aligned_dry, self._rate)
            self.wet.update(following.wet, self._rate)
        return self.yours[k] == self.truth[k]

    @property
    def is_over(self) -> bool:
        """Whether every round is answered."""
        return len(self.yours) == len(self.truth)

    @property
    def score(self) -> tuple[int, int]:
        """Rounds that you and the network have right, of those that you have answered."""
        done = range(len(self.yours))
        yours = sum(self.yours[k] == self.truth[k] for k in done)
        return yours, sum(self.network[k] == self.truth[k] for k in done)

    def _score(self) -> str:
        n, total = len(self.yours), len(self.truth)
        if not n:
            return f"Round 1 of {total}: which pedals, in which order?"
        shown = {"played": self.truth, "you": self.yours, "the network": self.network}
        last = ", ".join(f"{who}: {' → '.join(a[n - 1]) or 'clean'}" for who, a in shown.items())
        yours, network = self.score
        head = "The end" if self.is_over else f"Round {n + 1} of {total}"
        return f"{head}. You {yours}, the network {network} of {n}. Last round: {last}."

    def _keep(self) -> None:
        """Add the game to the file; one that is no list of games, or cannot be written, stays."""
        yours, network = self.score
        game = {"when": datetime.now().isoformat(timespec="seconds"), "seed": self._seed}
        game |= {"sources": self._sources, "rounds": len(self.truth)}
        game |= {"you": yours, "network": network}
        with contextlib.suppress(OSError, ValueError):
            games = json.loads(_DUELS.read_text(encoding="utf-8")) if _DUELS.is_file() else []
            if isinstance(games, list):
                replace_text(_DUELS, json.dumps([*games, game], indent=1) + "\n")

    def __repr__(self) -> str:
        return f"Duel: {self._score()}"
