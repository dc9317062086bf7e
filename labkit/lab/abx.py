"""The A/B/X widget: blind trials, and a score that tells luck from a difference."""

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from scipy import stats

from labkit.signal.seeds import generator


def abx_verdict(n_correct: int, n_trials: int) -> str:
    """The score in words, e.g. ``9 of 10 right, p = 0.011: you hear a difference``.

    p is how often coin tosses do at least this well (one-sided binomial test).
    """
    if n_trials == 0:
        return "no trials yet"
    p_value = stats.binomtest(n_correct, n_trials, 0.5, "greater").pvalue
    meaning = "this could be luck"
    if p_value < 0.05:
        meaning = "you hear a difference"
    elif n_trials < 5:
        meaning = "too few trials to tell (five right in a row is the least that shows anything)"
    return f"{n_correct} of {n_trials} right, p = {p_value:.3f}: {meaning}"


class AbxWidget(anywidget.AnyWidget):
    """The player behind `listen.abx`: the score is kept in Python, the sound in the browser."""

    _esm = Path(__file__).with_name("abx.js")
    a = traitlets.Bytes().tag(sync=True)  # a WAV file, as b
    b = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    x_is_b = traitlets.Bool().tag(sync=True)
    n_trials = traitlets.Int(0).tag(sync=True)
    n_correct = traitlets.Int(0).tag(sync=True)
    verdict = traitlets.Unicode(abx_verdict(0, 0)).tag(sync=True)

    def __init__(self, a: bytes, b: bytes, *, caption: str, seed: int | None) -> None:
        self._rng = np.random.default_rng() if seed is None else generator(seed, "abx")
        super().__init__(a=a, b=b, caption=caption, x_is_b=bool(self._rng.integers(2)))
        self.on_msg(self._on_message)

    def _on_message(self, _widget: object, content: dict, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("answer") in ("A", "B"):
            self.answer(content["answer"])

    def answer(self, x_is: str) -> bool:
        """Score one trial (`x_is`: ``"A"`` or ``"B"``), draw the next X; True if it is right."""
        if x_is not in ("A", "B"):
            raise ValueError(f"x_is must be 'A' or 'B', got {x_is!r}")
        right = (x_is == "B") == self.x_is_b
        with self.hold_sync():
            self.n_trials += 1
            self.n_correct += right
            self.verdict = abx_verdict(self.n_correct, self.n_trials)
            self.x_is_b = bool(self._rng.integers(2))
        return right

    def __repr__(self) -> str:
        return f"A/B/X: {self.caption}; {self.verdict}"
