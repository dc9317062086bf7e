"""The only module that plays audio: players matched in loudness, each with its level shift.

Jupyter's own player scales every clip to full scale, which hides what an effect does to the level.
"""

import base64
import html
import io
import math
import wave
from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np

from labkit.lab.abx import AbxWidget
from labkit.measure.loudness import Clip, as_channels, loudness_lufs, match_all, peak_db
from labkit.signal.optional import need
from labkit.signal.units import db_to_amplitude

TARGET_LUFS = -23.0
_LONG_SECONDS = 8.0  # longer clips travel as Ogg Vorbis, shorter ones as 16-bit WAV
_BLOCK = 65536


@dataclass(frozen=True)
class Player:
    """One clip as it is played: its encoded file, its loudness and its level shift."""

    name: str
    media: bytes
    mime: str
    lufs: float
    shift_db: float
    caption: str = ""

    def line(self) -> str:
        """E.g. ``dry -23.0 LUFS (shift +2.1 dB)``."""
        level = f"{self.lufs:.1f} LUFS" if math.isfinite(self.lufs) else "(silence)"
        return f"{self.name} {level} (shift {self.shift_db:+.1f} dB)"

    def figure(self) -> str:
        """A plain `<audio>` element with a caption."""
        label = html.escape(f"{self.name}: {self.caption}" if self.caption else self.name)
        words = html.escape(f"{self.line()}. {self.caption}" if self.caption else self.line())
        source = f"data:{self.mime};base64,{base64.b64encode(self.media).decode()}"
        audio = f'<audio controls preload="metadata" aria-label="{label}" src="{source}"></audio>'
        return f'<figure style="margin:.3em 0">{audio}<figcaption>{words}</figcaption></figure>'


@dataclass(frozen=True)
class Players:
    """A row of players; `str` gives its lines of text."""

    items: tuple[Player, ...]
    note: str = ""

    def __str__(self) -> str:
        lines = [player.line() for player in self.items]
        return "\n".join([*lines, self.note] if self.note else lines)

    def __repr__(self) -> str:
        return f"Players: {', '.join(player.name for player in self.items)}"

    def _repr_html_(self) -> str:
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        row = "".join(player.figure() for player in self.items)
        style = "display:flex;flex-wrap:wrap;gap:1em"
        return f'<div class="labkit-players" style="{style}">{row}</div>{note}'


def players(
    clips: Mapping[str, Clip],
    *,
    match: bool = True,
    captions: Mapping[str, str] | None = None,
) -> Players:
    """Players side by side, equally loud, so that they differ in sound and not in level.

    Prints one line for each clip, e.g. ``dry -23.0 LUFS (shift +2.1 dB)``.

    Args:
        clips: name -> (audio (channels, samples), sample_rate); more than two channels become one.
        match: bring all to -23 LUFS within 0.1 LU; otherwise all keep their relative level. All go
            lower together, with a note, if a peak would exceed full scale.
        captions: name -> text under the player.

    Raises:
        ValueError: if there are no clips, or one is empty or not finite.
    """
    if not clips:
        raise ValueError("clips must hold at least one name -> (audio, sample_rate), got none")
    levelled, note = level(clips, match=match)
    made = []
    for name, (audio, shift_db) in levelled.items():
        sample_rate = clips[name][1]
        long = audio.shape[1] > _LONG_SECONDS * sample_rate
        media = _ogg_bytes(audio, sample_rate) if long else wav_bytes(audio, sample_rate)
        lufs = loudness_lufs(audio, sample_rate)
        caption = (captions or {}).get(name, "")
        mime = "audio/ogg" if long else "audio/wav"
        made.append(Player(name, media, mime, lufs, shift_db, caption))
    shown = Players(tuple(made), note)
    print(shown)
    return shown


def player(
    audio: np.ndarray, sample_rate: int, *, name: str = "audio", caption: str = ""
) -> Players:
    """One player at the clip's own level, lowered only where it exceeds full scale."""
    return players({name: (audio, sample_rate)}, match=False, captions={name: caption})


class LivePlayer(widgets.VBox):
    """A player whose sound a slider's callback replaces, held at one loudness; see `live_player`."""

    def __init__(self, name: str, loop: bool) -> None:
        self._name = name
        self.audio = widgets.Audio(value=b"", format="wav", autoplay=False, loop=loop)
        self.caption = widgets.Label()
        super().__init__([self.audio, self.caption])

    def update(self, audio: np.ndarray, sample_rate: int) -> None:
        """Play this from now on; only `.value` traits change, as notebook runners need."""
        levelled, note = level({self._name: (audio, sample_rate)})
        samples, shift_db = levelled[self._name]
        made = Player(self._name, b"", "", loudness_lufs(samples, sample_rate), shift_db)
        self.audio.value = wav_bytes(samples, sample_rate)
        self.caption.value = made.line() + (f"; {note}" if note else "")

    def __repr__(self) -> str:
        return f"LivePlayer: {self.caption.value}"


def live_player(
    audio: np.ndarray, sample_rate: int, *, name: str = "wet", loop: bool = True
) -> LivePlayer:
    """A player of `audio` (channels, samples) until its ``update(audio, sample_rate)`` is called.

    Raises:
        ValueError: if the audio is empty or not finite.
    """
    live = LivePlayer(name, loop)
    live.update(audio, sample_rate)
    return live


def abx(a: np.ndarray, b: np.ndarray, sample_rate: int, *, seed: int | None = None) -> AbxWidget:
    """A blind listening test: is X the same as A or as B? Both run on one clock without a gap.

    Both clips are matched in loudness and loop; the shorter one is filled with silence. Keys inside
    the widget: a, b, x to listen, 1 = "X is A", 2 = "X is B", space to start and stop. Without a
    front end it shows as its caption and score, and `.answer("A")` still counts.

    Args:
        seed: fixes the trials, for tests; None draws afresh, as a blind test must.

    Raises:
        ValueError: if a clip is empty or not finite.
    """
    levelled, _ = level({"A": (a, sample_rate), "B": (b, sample_rate)})
    (a, shift_a_db), (b, shift_b_db) = levelled["A"], levelled["B"]
    lufs = loudness_lufs(a, sample_rate)
    samples, channels = max(a.shape[1], b.shape[1]), max(a.shape[0], b.shape[0])
    padded = [np.pad(clip, ((0, 0), (0, samples - clip.shape[1]))) for clip in (a, b)]
    files = [wav_bytes(np.broadcast_to(c, (channels, samples)), sample_rate) for c in padded]
    caption = f"A and B at {lufs:.1f} LUFS (shift A {shift_a_db:+.1f} dB, B {shift_b_db:+.1f} dB)"
    return AbxWidget(*files, caption=caption, seed=seed)


def wav_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file of audio (channels, samples); samples beyond full scale are clipped.

    Raises:
        ValueError: if `audio` has no samples or holds NaN.
    """
    samples = np.round(np.clip(as_channels(audio), -1.0, 1.0) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.T.tobytes())
    return buffer.getvalue()


def _ogg_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    sound_file = need("soundfile").SoundFile(
        buffer, "w", sample_rate, audio.shape[0], format="OGG", subtype="VORBIS"
    )
    with sound_file as file:
        # In blocks: libsndfile's Vorbis encoder overflows its stack on minutes at once.
        for start in range(0, audio.shape[1], _BLOCK):
            file.write(audio.T[start : start + _BLOCK])
    return buffer.getvalue()


def level(
    clips: Mapping[str, Clip], *, match: bool = True
) -> tuple[dict[str, tuple[np.ndarray, float]], str]:
    """Name -> (audio as it will be played, shift in dB), and a note if a peak limited the level."""
    stereo = {}
    for name, (audio, rate) in clips.items():
        audio = as_channels(audio)  # browsers play one or two channels alike everywhere
        stereo[name] = (audio if len(audio) <= 2 else audio.mean(0, keepdims=True), rate)
    if match:
        matched, reached = match_all(stereo, target_lufs=TARGET_LUFS)
        lower = reached < TARGET_LUFS - 0.05
        return matched, f"all at {reached:.1f} LUFS, so that no peak is clipped" if lower else ""
    over_db = max(0.0, *(peak_db(audio) for audio, _ in stereo.values()))
    scale = db_to_amplitude(-over_db)
    as_is = {
        n: ((audio * scale).astype(np.float32), 0.0 - over_db) for n, (audio, _) in stereo.items()
    }
    note = f"all lowered by {over_db:.1f} dB, so that no peak is clipped" if over_db > 0.05 else ""
    return as_is, note
