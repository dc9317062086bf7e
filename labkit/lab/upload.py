"""The reader's own sound: a file that is uploaded or named, or a take from a microphone."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import anywidget
import numpy as np
import traitlets

from labkit.signal.files import AudioError, read_audio, write_audio
from labkit.signal.paths import new_files

_MAX_SECONDS = 30.0
_MAX_BYTES = 256 << 20  # they are held in memory until the last has arrived
_QUIET = 1e-4  # a peak of -80 dBFS: nothing is plugged in
_MAX_PIECES = 192  # of 65536 samples: more than a minute at 192 kHz


class Upload(anywidget.AnyWidget):
    """An upload button, a path box and a line of text; holds the file at `path` at first.

    A file travels in pieces, so its size does not matter to the server. One that cannot be read is
    refused in words under the button; the one before stays. Raises AudioError for the first one.

    Attributes:
        audio: float32 (1, samples) of the chosen file, channels averaged, at most 30 seconds.
        sample_rate: that of each file, or the one to which all are resampled.
        name: the file's name.
    """

    _esm = Path(__file__).with_name("upload.js")
    formats = traitlets.Unicode("audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.aiff").tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    refused = traitlets.Bool(False).tag(sync=True)

    def __init__(self, path: str | Path, *, sample_rate: int | None = None) -> None:
        super().__init__()
        self._wanted_rate = sample_rate
        self._id, self._name, self._size, self._held = "", "", 0, bytearray()
        self._read(Path(path), Path(path).name)
        self.on_msg(self._on_message)

    def take(self, path: str | Path) -> None:
        """Use this file from now on, as if its path had been typed."""
        text = str(path).strip().strip("\"'")
        if text:
            self._take(text, PurePath(text).name)

    def _on_message(self, _widget: object, content: dict, pieces: list) -> None:
        if "path" in content:
            self.take(content["path"])
        elif "name" in content:
            name = PurePath(content["name"]).name
            self._id, self._name, self._size = content["id"], name, content["size"]
            self._held = bytearray()
            self._go_on()
        elif content["id"] == self._id and content["at"] == len(self._held):
            self._held += pieces[0]
            self._go_on()

    def _go_on(self) -> None:
        """Ask for the next piece, or use the file."""
        if self._size > _MAX_BYTES:
            size = f"{self._name} has {self._size / 1e6:.0f} MB"
            most = f"at most {_MAX_BYTES / 1e6:.0f} can be uploaded"
            self._refuse(f"{size}, and {most}: type its path")
        elif len(self._held) < self._size:
            self.send({"id": self._id, "received": len(self._held)})
            return
        else:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / f"upload{PurePath(self._name).suffix[:9]}"
                copy.write_bytes(self._held)
                self._take(copy, self._name)
        self._held = bytearray()
        self.send({"id": self._id})

    def _take(self, path: str | Path, name: str) -> None:
        try:
            self._read(Path(path).expanduser(), name)
        # A path of 300 letters, of a user who does not exist, or with a zero in it.
        except (AudioError, OSError, RuntimeError, ValueError) as error:
            self._refuse(str(error).replace(str(path), name).rstrip("."))

    def _refuse(self, words: str) -> None:
        self.refused = True
        self.status = f"{words}. Still using {self.name}."

    def _read(self, path: Path, name: str) -> None:
        self.audio, self.sample_rate = read_audio(
            path, sample_rate=self._wanted_rate, mono=True, max_seconds=_MAX_SECONDS
        )
        self.name = name
        self.refused = False
        self.status = self._description()

    def _description(self) -> str:
        quiet = "" if self.audio.any() else ", silent"
        seconds = self.audio.shape[1] / self.sample_rate
        part = "the first " if seconds >= _MAX_SECONDS else ""
        return f"{self.name}: {part}{seconds:.2f} s, {self.sample_rate} Hz{quiet}"

    def __repr__(self) -> str:
        return f"Upload: {self._description()}"


class Recorder(anywidget.AnyWidget):
    """A record button with a level meter and a count-in.

    Every take is kept as `output/recording/recording.wav`, then `recording_2.wav`, and so on, and
    handed to `on_take` (audio, sample_rate). It has 0.5 to 60 `seconds`, which the reader may
    change, after `count_in` beats.

    Attributes:
        audio: float32 (1, samples) of the last take; None before the first.
        sample_rate: Hz of the last take, which the browser chooses.
        path: the file of the last take.
    """

    _esm = Path(__file__).with_name("recorder.js")
    seconds = traitlets.Float(8.0).tag(sync=True)
    count_in = traitlets.Int(4).tag(sync=True)
    beat_ms = traitlets.Int(500).tag(sync=True)
    message = traitlets.Unicode("Press record, play after the count-in.").tag(sync=True)

    def __init__(
        self,
        on_take: Callable[[np.ndarray, int], None] | None = None,
        *,
        seconds: float = 8.0,
        count_in: int = 4,
    ) -> None:
        self.audio: np.ndarray | None = None
        self.sample_rate, self.path = 0, None
        self._on_take = on_take
        self._pieces: list[bytes] = []
        super().__init__(seconds=seconds, count_in=count_in)
        self.on_msg(self._receive)

    def _receive(
        self, _widget: object, content: Mapping[str, Any], buffers: Sequence[memoryview]
    ) -> None:
        """Collect the pieces of a take; they come in order, and piece 0 begins a new one."""
        place, count, rate = (int(content.get(name, 0)) for name in ("piece", "of", "rate"))
        if place == 0:
            self._pieces = []
        expected = place == len(self._pieces) < count <= _MAX_PIECES and 2_000 <= rate <= 768_000
        if not expected or len(buffers) != 1:
            self.message = "Not recorded: the browser sent something that is no recording."
            self._pieces = []
            return
        self._pieces.append(bytes(buffers[0]))
        # Also so that the same answer to two takes is shown twice.
        self.message = f"Received piece {place + 1} of {count}."
        if len(self._pieces) == count:
            self._finish(np.frombuffer(b"".join(self._pieces), "<f4")[None].copy(), rate)

    def _finish(self, audio: np.ndarray, sample_rate: int) -> None:
        peak = float(np.abs(audio).max(initial=0.0))
        if not np.isfinite(peak) or peak < _QUIET:
            self.message = "The take is silent: choose another input, or turn it up."
            return
        try:
            (path,) = new_files(None, "recording", ".wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, audio.clip(-1, 1), sample_rate)
        except (AudioError, OSError) as error:
            self.message = f"The take is lost: {error}"
            return
        self.audio, self.sample_rate, self.path = audio, sample_rate, path
        clipped = ", clipped: turn the input down" if peak >= 0.999 else ""
        seconds = audio.shape[1] / sample_rate
        self.message = f"{self.path}: {seconds:.1f} s, peak {20 * np.log10(peak):.1f} dBFS{clipped}"
        if self._on_take:
            self._on_take(audio, sample_rate)

    def __repr__(self) -> str:
        return f"Recorder: {self.message}"
