"""Audio made ready for a page: levels settled, encoded, wrapped in a plain audio element with a caption."""

import base64
import html
import io
import math
import wave
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labkit.measure.loudness import Clip, as_channels, loudness_lufs, match_all, peak_db
from labkit.signal.optional import need

_LONG_SECONDS = 8.0
_BLOCK = 65536


@dataclass(frozen=True)
class Player:
    """One clip as it is played: its file, and the line under it."""

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

    def tag(self, *, loop: bool = False) -> str:
        """A plain `<audio controls>` element with the clip inside."""
        data = base64.b64encode(self.media).decode()
        label = html.escape(
            f"{self.name}: {self.caption}" if self.caption else self.name, quote=True
        )
        source = f"data:{self.mime};base64,{data}"
        return f'<audio controls preload="metadata"{" loop" * loop} aria-label="{label}" src="{source}"></audio>'

    def figure(self) -> str:
        """The element with its caption."""
        words = html.escape(f"{self.line()}. {self.caption}" if self.caption else self.line())
        return (
            f'<figure style="margin:.3em 0">{self.tag()}<figcaption>{words}</figcaption></figure>'
        )


@dataclass(frozen=True)
class Players:
    """A row of players; shows as audio elements; `str` gives its lines of text."""

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
        return f'<div class="labkit-players" style="display:flex;flex-wrap:wrap;gap:1em">{row}</div>{note}'


def wav_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file in memory; samples beyond full scale are clipped, nothing else is changed.

    Args:
        audio: `(channels, samples)`, full scale 1.
        sample_rate: Hz.

    Returns:
        The file's bytes.

    Raises:
        ValueError: if `audio` has no samples or holds NaN.
    """
    audio = as_channels(audio)
    samples = np.round(np.clip(audio, -1.0, 1.0) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.T.tobytes())
    return buffer.getvalue()


def _ogg_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """Written in blocks: libsndfile's Vorbis encoder overflows its stack on minutes at once."""
    buffer = io.BytesIO()
    soundfile = need("soundfile")
    with soundfile.SoundFile(
        buffer, "w", sample_rate, audio.shape[0], format="OGG", subtype="VORBIS"
    ) as file:
        for start in range(0, audio.shape[1], _BLOCK):
            file.write(audio.T[start : start + _BLOCK])
    return buffer.getvalue()


def make(name: str, audio: np.ndarray, sample_rate: int, shift_db: float, caption: str) -> Player:
    """A clip as a player: Ogg Vorbis over 8 s, 16-bit WAV below."""
    lufs = loudness_lufs(audio, sample_rate)
    long = audio.shape[1] > _LONG_SECONDS * sample_rate
    media = _ogg_bytes(audio, sample_rate) if long else wav_bytes(audio, sample_rate)
    return Player(name, media, "audio/ogg" if long else "audio/wav", lufs, shift_db, caption)


def _stereo(audio: np.ndarray) -> np.ndarray:
    """Browsers play one or two channels alike everywhere; more are averaged to one."""
    audio = as_channels(audio)
    return audio if audio.shape[0] <= 2 else audio.mean(0, keepdims=True)


def level(
    clips: Mapping[str, Clip], *, match: bool, target_lufs: float
) -> tuple[dict[str, tuple[np.ndarray, float]], str]:
    """Name -> (audio as it will be played, shift in dB), and what to say if a peak stood in the way."""
    clips = {name: (_stereo(audio), rate) for name, (audio, rate) in clips.items()}
    if match:
        matched, reached = match_all(clips, target_lufs=target_lufs)
        lower = reached < target_lufs - 0.05
        return matched, f"all at {reached:.1f} LUFS, so that no peak is clipped" if lower else ""
    over_db = max(0.0, *(peak_db(audio) for audio, _ in clips.values()))
    scale = 10 ** (-over_db / 20)
    as_is = {
        name: ((audio * scale).astype(np.float32), 0.0 - over_db)
        for name, (audio, _) in clips.items()
    }
    return (
        as_is,
        f"all lowered by {over_db:.1f} dB, so that no peak is clipped" if over_db > 0.05 else "",
    )
