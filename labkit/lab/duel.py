"""You against the network: blind chains of three pedals, and who names more of them."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets

from labkit.lab.listen import LivePlayer
from labkit.signal.paths import replace_text
from labkit.systems.pedal_order.config import PROTOCOLS, Names, canonical_names
from labkit.systems.pedal_order.data import examples_for_scoring
from labkit.systems.pedal_order.predict import decode

if TYPE_CHECKING:
    from labkit.systems.pedal_order.model import PedalOrderModel

_KEPT = Path("output") / "duels.json"


class Duel(widgets.VBox):
    """A game of `n` rounds: a clip, dry and through a hidden chain; name the pedals in their order.

    Two orders that sound the same count as one. A finished game is added to `output/duels.json`.
    Without a front end, call `.answer(names)`.

    Args:
        seed: draws the clips and the chains; another seed is another game.
        sources: "generated" or "sampled" guitars, which the network was not trained on.
    """

    def __init__(
        self, model: "PedalOrderModel", *, n: int = 10, seed: int = 0, sources: str = "generated"
    ) -> None:
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
        """Add the game to the file; a file that is no list of games stays as it is."""
        games = json.loads(_KEPT.read_text(encoding="utf-8")) if _KEPT.is_file() else []
        yours, network = self.score
        game = {"when": datetime.now().isoformat(timespec="seconds"), "seed": self._seed}
        game |= {"sources": self._sources, "rounds": len(self.truth)}
        game |= {"you": yours, "network": network}
        replace_text(_KEPT, json.dumps([*games, game], indent=1) + "\n")

    def __repr__(self) -> str:
        return f"Duel: {self._score()}"
