"""The only place that plays audio: fair players, matched in loudness, with the shift said beside each.

Jupyter's own player scales every clip to full scale, which hides what an effect does to the level; these never do.
"""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from labkit.lab.abx import abx, abx_static
from labkit.lab.clips import Player, Players, level, make, wav_bytes
from labkit.measure.loudness import Clip, loudness_lufs

__all__ = ["LivePlayer", "Players", "abx", "abx_static", "live_player", "player", "players"]


def players(
    clips: Mapping[str, Clip],
    *,
    match: bool = True,
    captions: Mapping[str, str] | None = None,
    target_lufs: float = -23.0,
) -> Players:
    """Players side by side, all equally loud, so that what differs is the sound and not its level.

    Prints one line for each clip, e.g. ``dry -23.0 LUFS (shift +2.1 dB)``.

    Args:
        clips: name -> (audio `(channels, samples)`, sample_rate in Hz); more than two channels are averaged to one.
        match: bring all to `target_lufs` within 0.1 LU; otherwise all keep their level relative to each other.
        captions: name -> a word to go under the player.
        target_lufs: in -70..0; if a peak would exceed full scale, all go lower together, and the note says so.

    Returns:
        `Players`, to be the last expression of a cell. Clips over 8 s travel as Ogg Vorbis, shorter ones as 16-bit WAV.

    Raises:
        ValueError: if there are no clips, or one is empty or not finite.
    """
    if not clips:
        raise ValueError("clips must hold at least one name -> (audio, sample_rate), got none")
    levelled, note = level(clips, match=match, target_lufs=target_lufs)
    captions = captions or {}
    made = tuple(
        make(name, audio, clips[name][1], shift_db, captions.get(name, ""))
        for name, (audio, shift_db) in levelled.items()
    )
    shown = Players(made, note)
    print(shown)
    return shown


def player(
    audio: np.ndarray, sample_rate: int, *, name: str = "audio", caption: str = ""
) -> Players:
    """One player at the clip's own level; lowered, and said so, only where it exceeds full scale.

    Args:
        audio: `(channels, samples)`, full scale 1.
        sample_rate: Hz.
        name: the word before its loudness.
        caption: the words under it.

    Returns:
        `Players` with one item.

    Raises:
        ValueError: if the audio is empty or not finite.
    """
    return players({name: (audio, sample_rate)}, match=False, captions={name: caption})


class LivePlayer(widgets.VBox):
    """A player that a slider's callback refills: ``slider.observe(lambda change: live.update(audio, sample_rate))``.

    Only `.value` traits change, so it works in JupyterLab and in runners that have no front end.
    """

    def __init__(
        self,
        audio: np.ndarray,
        sample_rate: int,
        *,
        name: str,
        match: bool,
        target_lufs: float,
        loop: bool,
    ) -> None:
        self._name, self._match, self._target_lufs = name, match, target_lufs
        self.audio = widgets.Audio(value=b"", format="wav", autoplay=False, loop=loop)
        self.caption = widgets.Label()
        super().__init__([self.audio, self.caption])
        self.update(audio, sample_rate)

    def update(self, audio: np.ndarray, sample_rate: int) -> None:
        """Play this from now on. Args and errors as `live_player`."""
        levelled, note = level(
            {self._name: (audio, sample_rate)}, match=self._match, target_lufs=self._target_lufs
        )
        samples, shift_db = levelled[self._name]
        made = Player(self._name, b"", "", loudness_lufs(samples, sample_rate), shift_db)
        self.audio.value = wav_bytes(samples, sample_rate)
        self.caption.value = made.line() + (f"; {note}" if note else "")

    def __repr__(self) -> str:
        return f"LivePlayer: {self.caption.value}"


def live_player(
    audio: np.ndarray,
    sample_rate: int,
    *,
    name: str = "wet",
    match: bool = True,
    target_lufs: float = -23.0,
    loop: bool = True,
) -> LivePlayer:
    """A player for slider callbacks; its `.update(audio, sample_rate)` swaps the sound.

    Args:
        audio: `(channels, samples)`, what it holds at first.
        sample_rate: Hz.
        name: the word in its caption.
        match: hold every update at `target_lufs`, so that a slider cannot win by being louder.
        target_lufs: in -70..0.
        loop: play on and on.

    Returns:
        A widget.

    Raises:
        ValueError: if the audio is empty or not finite.
    """
    return LivePlayer(
        audio, sample_rate, name=name, match=match, target_lufs=target_lufs, loop=loop
    )
