"""Blind A/B/X listening: one clock, no gap, equal loudness, and a score that says when it could be luck."""

import html
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from scipy import stats

from labkit.lab.clips import level, make, wav_bytes
from labkit.measure.loudness import loudness_lufs
from labkit.signal.seeds import generator


def abx_p_value(n_correct: int, n_trials: int) -> float:
    """How often coin tosses do at least this well: one-sided binomial test against 1/2; 1 before the first trial.

    Args:
        n_correct: 0..n_trials.
        n_trials: >= 0.

    Returns:
        The p-value.

    Raises:
        ValueError: if the counts are out of range.
    """
    if not 0 <= n_correct <= n_trials:
        raise ValueError(f"need 0 <= n_correct <= n_trials, got {n_correct} and {n_trials}")
    return float(stats.binomtest(n_correct, n_trials, 0.5, "greater").pvalue) if n_trials else 1.0


def abx_verdict(n_correct: int, n_trials: int) -> str:
    """The score in words, e.g. ``9 of 10 right, p = 0.011: you hear a difference``."""
    if n_trials == 0:
        return "no trials yet"
    p_value = abx_p_value(n_correct, n_trials)
    if p_value < 0.05:
        meaning = "you hear a difference"
    elif n_trials < 5:
        meaning = "too few trials to tell (five right in a row is the least that shows anything)"
    else:
        meaning = "this could be luck"
    return f"{n_correct} of {n_trials} right, p = {p_value:.3f}: {meaning}"


class AbxWidget(anywidget.AnyWidget):
    """The player behind `abx`; its score lives in Python, the sound in the browser's Web Audio clock."""

    _esm = Path(__file__).with_name("abx.js")
    a = traitlets.Bytes().tag(sync=True)
    b = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    x_is_b = traitlets.Bool().tag(sync=True)
    n_trials = traitlets.Int(0).tag(sync=True)
    n_correct = traitlets.Int(0).tag(sync=True)
    p_value = traitlets.Float(1.0).tag(sync=True)
    verdict = traitlets.Unicode(abx_verdict(0, 0)).tag(sync=True)

    def __init__(
        self, a: bytes, b: bytes, *, caption: str, seed: int | None, log: Path | None = None
    ) -> None:
        self._log = log
        self._stream = np.random.default_rng() if seed is None else generator(seed, "abx")
        super().__init__(a=a, b=b, caption=caption, x_is_b=bool(self._stream.integers(2)))
        self.on_msg(self._on_message)

    def _on_message(self, _widget: object, content: dict, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("answer") in ("A", "B"):
            self.answer(content["answer"])

    def answer(self, x_is: str) -> bool:
        """Score one trial and draw the next X.

        Args:
            x_is: ``"A"`` or ``"B"``, what the listener takes X for.

        Returns:
            Whether that was right.

        Raises:
            ValueError: if `x_is` is neither.
        """
        if x_is not in ("A", "B"):
            raise ValueError(f"x_is must be 'A' or 'B', got {x_is!r}")
        right = (x_is == "B") == self.x_is_b
        self._note(x_is, right)
        with self.hold_sync():
            self.n_trials += 1
            self.n_correct += right
            self.p_value = abx_p_value(self.n_correct, self.n_trials)
            self.verdict = abx_verdict(self.n_correct, self.n_trials)
            self.x_is_b = bool(self._stream.integers(2))
        return right

    def _note(self, x_is: str, right: bool) -> None:
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            with open(self._log, "a", encoding="utf-8") as lines:
                lines.write(
                    json.dumps({"when": when, "test": self.caption, "said": x_is, "right": right})
                    + "\n"
                )

    def reset(self) -> None:
        """Forget the score that is shown; the log keeps every trial."""
        with self.hold_sync():
            self.n_trials, self.n_correct, self.p_value, self.verdict = 0, 0, 1.0, abx_verdict(0, 0)

    def __repr__(self) -> str:
        return f"A/B/X: {self.caption}; {self.verdict}"


@dataclass(frozen=True)
class StaticAbx:
    """A blind test as plain HTML; shows as its caption where nothing can play."""

    caption: str
    markup: str

    def __repr__(self) -> str:
        return f"A/B/X: {self.caption}"

    def _repr_html_(self) -> str:
        return self.markup


def _pair(
    a: np.ndarray, b: np.ndarray, sample_rate: int, target_lufs: float
) -> tuple[np.ndarray, np.ndarray, str]:
    clips = {"A": (a, sample_rate), "B": (b, sample_rate)}
    levelled, _ = level(clips, match=True, target_lufs=target_lufs)
    (a, shift_a_db), (b, shift_b_db) = levelled["A"], levelled["B"]
    lufs = loudness_lufs(a, sample_rate)
    samples, channels = max(a.shape[1], b.shape[1]), max(a.shape[0], b.shape[0])
    a, b = (np.pad(clip, ((0, 0), (0, samples - clip.shape[1]))) for clip in (a, b))
    a, b = (np.broadcast_to(clip, (channels, samples)) for clip in (a, b))
    return (
        a,
        b,
        f"A and B at {lufs:.1f} LUFS (shift A {shift_a_db:+.1f} dB, B {shift_b_db:+.1f} dB)",
    )


def abx(
    a: np.ndarray,
    b: np.ndarray,
    sample_rate: int,
    *,
    target_lufs: float = -23.0,
    seed: int | None = None,
    log: str | Path | None = None,
) -> AbxWidget:
    """A blind listening test: is X the same as A or as B? Both run on one clock and switch without a gap.

    Both clips are matched in loudness and loop. Keys inside the widget: a, b, x to listen, 1 = "X is A",
    2 = "X is B", space to start and stop. Where there is no front end it shows as its caption and its score, and
    `.answer("A")` still counts.

    Args:
        a: `(channels, samples)`.
        b: `(channels, samples)`; the shorter of the two is filled with silence.
        sample_rate: Hz, of both.
        target_lufs: in -70..0.
        seed: fixes which trials have X = A, for tests; None draws afresh, as a blind test must.
        log: a file on this machine to which every trial adds a line of JSON; none is kept when None.

    Returns:
        A widget with `n_trials`, `n_correct`, `p_value` and `verdict`.

    Raises:
        ValueError: if a clip is empty or not finite.
    """
    a, b, caption = _pair(a, b, sample_rate, target_lufs)
    sounds = (wav_bytes(clip, sample_rate) for clip in (a, b))
    return AbxWidget(*sounds, caption=caption, seed=seed, log=None if log is None else Path(log))


def abx_static(
    a: np.ndarray,
    b: np.ndarray,
    sample_rate: int,
    *,
    target_lufs: float = -23.0,
    n_trials: int = 3,
    seed: int = 0,
) -> StaticAbx:
    """The same test with plain audio elements and folded answers, for a saved page.

    Args:
        a: `(channels, samples)`.
        b: `(channels, samples)`.
        sample_rate: Hz, of both.
        target_lufs: in -70..0.
        n_trials: how many X to offer, >= 1.
        seed: fixes which X are A.

    Returns:
        An object that shows as HTML, and as its caption where nothing can play.

    Raises:
        ValueError: if a clip is empty or not finite, or `n_trials` is below 1.
    """
    if n_trials < 1:
        raise ValueError(f"n_trials must be at least 1, got {n_trials}")
    a, b, caption = _pair(a, b, sample_rate, target_lufs)
    truth = generator(seed, "abx", "static").integers(2, size=n_trials)
    named = [("A", a), ("B", b), *((f"X{k + 1}", b if is_b else a) for k, is_b in enumerate(truth))]
    rows = [
        f"<p>{name} {make(name, clip, sample_rate, shift_db=0.0, caption='').tag(loop=True)}</p>"
        for name, clip in named
    ]
    answers = ", ".join(f"X{k + 1} is {'B' if is_b else 'A'}" for k, is_b in enumerate(truth))
    fold = f"<details><summary>Which X is which?</summary>{answers}</details>"
    return StaticAbx(
        caption, f'<div class="labkit-abx">{"".join(rows)}{fold}<p>{html.escape(caption)}</p></div>'
    )
