"""The reader's own file: an upload button and a path box, with a default until a file is given."""

import tempfile
from pathlib import Path, PurePath

import anywidget
import traitlets

from labkit.signal.files import AudioError, read_audio

_MAX_SECONDS = 30.0
_MAX_BYTES = 256 << 20  # they are held in memory until the last has arrived


class Upload(anywidget.AnyWidget):
    """An upload button, a path box and a line of text; holds the file at `path` at first.

    A file travels in pieces, so its size does not matter to the server. One that cannot be read is
    refused in words under the button; the one before stays.

    Args:
        sample_rate: resample to this rate in Hz; None keeps each file's.

    Attributes:
        audio: float32 (1, samples) of the chosen file, channels averaged, at most 30 seconds.
        sample_rate: Hz.
        name: the file's name.

    Raises:
        AudioError: if the file at `path` itself cannot be read.
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
            self._refuse(
                f"{size}, and at most {_MAX_BYTES / 1e6:.0f} can be uploaded: type its path"
            )
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
        return f"{self.name}: {seconds:.2f} s, {self.sample_rate} Hz{quiet}"

    def __repr__(self) -> str:
        return f"Upload: {self._description()}"
