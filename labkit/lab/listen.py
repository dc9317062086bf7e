"""The only module that plays audio: players matched in loudness, each with its level shift.

Jupyter's own player scales every clip to full scale, which hides what an effect does to the level.
"""

import base64
import html
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from scipy.special import bdtrc

from labkit.measure.loudness import Clip, as_channels, loudness_lufs, match_all, peak_db
from labkit.signal.files import HIGHEST_VORBIS_RATE
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude

TARGET_LUFS = -23.0
_LONG_SECONDS = 8.0  # longer clips travel as Ogg Vorbis, shorter ones as 16-bit WAV
_BLOCK = 65536
_LEAST_PX = 240  # below this width a browser hides parts of a player


@dataclass(frozen=True)
class Players:
    """Clips behind one switch without a gap; `str` gives its lines of text.

    In a page without scripts they are plain players in a row.
    """

    clips: Mapping[str, Clip]  # name -> (audio as it is played, sample_rate)
    lines: Mapping[str, str]  # name -> e.g. "dry -23.0 LUFS (shift +2.1 dB)"
    note: str  # says so if a peak limited the level

    def __str__(self) -> str:
        return "\n".join([*self.lines.values(), *([self.note] if self.note else [])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # All in one row where there is room for all, else one below the other.
        least_px = _LEAST_PX * len(self.clips)
        box = f"flex:1 1 calc(({least_px}px - 100%)*999);max-width:24em;margin:0"
        figures = []
        for name, (audio, sample_rate) in self.clips.items():
            source = _data_url(audio, sample_rate)
            safe = html.escape(name)
            label = f'aria-label="{safe}" style="width:100%"'
            player = f'<audio controls preload="metadata" {label} src="{source}"></audio>'
            caption = f"<figcaption>{html.escape(self.lines[name])}</figcaption>"
            figures.append(f'<figure data-name="{safe}" style="{box}">{player}{caption}</figure>')
        style = "display:flex;flex-wrap:wrap;gap:.6em"
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        group = f'<div class="labkit-players" style="{style}">{"".join(figures)}</div>'
        return f'{group}{note}<script class="labkit-switch">{_switch()}</script>'


def players(clips: Mapping[str, Clip], *, match: bool = True) -> Players:
    """Players side by side, equally loud, so that they differ in sound and not in level.

    Each has a caption, e.g. ``dry -23.0 LUFS (shift +2.1 dB)``; as text, these are its lines. Audio
    is (channels, samples); more than two channels become one. With `match` all are brought to -23
    LUFS within 0.1 LU, or lower together if a peak would exceed full scale; without it all keep
    their relative level. Raises ValueError if there are no clips, one is empty or not finite, or
    one has no rate.
    """
    wanted = "clips must hold at least one name -> (audio, sample_rate), got"
    if not clips:
        raise ValueError(f"{wanted} none")
    for name, clip in clips.items():
        if not isinstance(clip, tuple):
            raise ValueError(f"{wanted} {name!r} -> {type(clip).__name__}")
    return _levelled(clips, match=match)


class LivePlayer(anywidget.AnyWidget):
    """A player for slider callbacks: ``live.update(audio, sample_rate)`` replaces the sound.

    A new sound goes on at the place where the old one was. Every sound is brought to -23 LUFS, so
    that a slider cannot win by being louder.
    """

    _esm = Path(__file__).with_name("player.js")
    name = traitlets.Unicode().tag(sync=True)
    media = traitlets.Bytes().tag(sync=True)  # a WAV file
    caption = traitlets.Unicode().tag(sync=True)

    def __init__(self, audio: np.ndarray, sample_rate: int, *, name: str = "wet") -> None:
        super().__init__(name=name)
        self.update(audio, sample_rate)

    def update(self, audio: np.ndarray, sample_rate: int) -> None:
        """Play this from now on."""
        shown = _levelled({self.name: (audio, sample_rate)})
        with self.hold_sync():
            self.media = wav_bytes(*shown.clips[self.name])
            self.caption = str(shown).replace("\n", "; ")

    def __repr__(self) -> str:
        return f"LivePlayer: {self.caption}"


def abx_verdict(n_correct: int, n_trials: int) -> str:
    """The score in words, e.g. ``9 of 10 right, p = 0.011: you hear a difference``.

    p is how often coin tosses do at least this well (one-sided binomial test).
    """
    if n_trials == 0:
        return "no trials yet"
    p_value = bdtrc(n_correct - 1, n_trials, 0.5)  # of at least so many right by luck
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


def abx(a: np.ndarray, b: np.ndarray, sample_rate: int, *, seed: int | None = None) -> AbxWidget:
    """A blind listening test: is X the same as A or as B? Both loop on one clock without a gap.

    Both clips are matched in loudness; the shorter one is filled with silence. Keys inside the
    widget: a, b, x to listen, 1 = "X is A", 2 = "X is B", space to start and stop. `seed` fixes the
    trials, for tests. Without a front end `.answer("A")` still counts.
    """
    shown = _levelled({"A": (a, sample_rate), "B": (b, sample_rate)})
    audio = [clip for clip, _ in shown.clips.values()]
    samples = max(clip.shape[1] for clip in audio)
    channels = max(clip.shape[0] for clip in audio)
    padded = [np.pad(clip, ((0, 0), (0, samples - clip.shape[1]))) for clip in audio]
    files = [wav_bytes(np.broadcast_to(clip, (channels, samples)), sample_rate) for clip in padded]
    return AbxWidget(*files, caption="; ".join(shown.lines.values()), seed=seed)


def wav_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file of audio (channels, samples); samples beyond full scale are clipped."""
    samples = np.round(np.clip(as_channels(audio), -1.0, 1.0) * 32767).astype(np.int16)
    return _encoded(samples, sample_rate, "WAV", "PCM_16")


def _encoded(audio: np.ndarray, sample_rate: int, kind: str, subtype: str) -> bytes:
    buffer, layout = io.BytesIO(), {"format": kind, "subtype": subtype}
    with need("soundfile").SoundFile(buffer, "w", sample_rate, len(audio), **layout) as file:
        # In blocks: libsndfile's Vorbis encoder overflows its stack on minutes at once.
        for start in range(0, audio.shape[1], _BLOCK):
            file.write(audio.T[start : start + _BLOCK])
    return buffer.getvalue()


@cache
def _switch() -> str:
    """The script that joins a group of players, see `switch.js`."""
    return Path(__file__).with_name("switch.js").read_text(encoding="utf-8")


def _data_url(audio: np.ndarray, sample_rate: int) -> str:
    """The clip as a `data:` address: WAV, or Ogg where it is long."""
    kind, media = "wav", None
    if audio.shape[1] > _LONG_SECONDS * sample_rate and sample_rate <= HIGHEST_VORBIS_RATE:
        kind, media = "ogg", _encoded(audio, sample_rate, "OGG", "VORBIS")
    media = media or wav_bytes(audio, sample_rate)
    return f"data:audio/{kind};base64,{base64.b64encode(media).decode()}"


def _levelled(clips: Mapping[str, Clip], *, match: bool = True) -> Players:
    """The clips as they will be played: at one loudness, or all lowered by one shift."""
    heard = {}
    for name, (audio, rate) in clips.items():
        audio = as_channels(audio)  # browsers play one or two channels alike everywhere
        heard[name] = (audio if len(audio) <= 2 else audio.mean(0, keepdims=True), rate)
    note = ""
    if match:
        matched, reached = match_all(heard, target_lufs=TARGET_LUFS)
        if reached < TARGET_LUFS - 0.05:
            note = f"all at {reached:.1f} LUFS, so that no peak is clipped"
    else:
        over_db = max(0.0, *(peak_db(audio) for audio, _ in heard.values()))
        scale = db_to_amplitude(-over_db)
        matched = {name: (audio * scale, 0.0 - over_db) for name, (audio, _) in heard.items()}
        if over_db > 0.05:
            note = f"all lowered by {over_db:.1f} dB, so that no peak is clipped"
    played, lines = {}, {}
    for name, (audio, shift_db) in matched.items():
        rate = heard[name][1]
        lufs = loudness_lufs(audio, rate)
        level = f"{lufs:.1f} LUFS" if math.isfinite(lufs) else "(silence)"
        played[name] = (audio.astype(np.float32), rate)
        lines[name] = f"{name} {level} (shift {shift_db:+.1f} dB)"
    return Players(played, lines, note)
