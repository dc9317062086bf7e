"""The reader's own file: an upload button and a path box, with a default until a file is given."""

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath

import anywidget
import traitlets

from labkit.signal.files import AudioError, read_audio

_MAX_SECONDS = 30.0
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class _Sending:
    """A file that is on its way."""

    id: str
    name: str
    size: int  # bytes
    folder: tempfile.TemporaryDirectory

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / f"upload{PurePath(self.name).suffix}"


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
        self._sending: _Sending | None = None
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
            self._begin(content["id"], PurePath(content["name"]).name, content["size"])
        elif self._sending and self._sending.id == content["id"]:
            self._append(self._sending, content["at"], pieces[0])

    def _begin(self, identity: str, name: str, size: int) -> None:
        if self._sending:
            self._sending.folder.cleanup()
        self._sending = _Sending(identity, name, size, tempfile.TemporaryDirectory())
        if size <= _MAX_BYTES:
            self._append(self._sending, 0, b"")
        else:
            words = (
                f"{name} has {size / 1e9:.1f} GB, and at most 1 GB can be uploaded: type its path"
            )
            self._end(words)

    def _append(self, sending: "_Sending", at: int, piece: bytes) -> None:
        """Keep a piece and ask for the next one, or use the file."""
        try:
            with sending.path.open("ab") as file:
                if file.tell() == at:
                    file.write(piece)
                received = file.tell()
        except OSError as error:
            self._end(f"{sending.name} cannot be stored: {error.strerror}")
            return
        if received < sending.size:
            self.send({"id": sending.id, "received": received})
        else:
            self._take(sending.path, sending.name)
            self._end()

    def _end(self, refusal: str = "") -> None:
        if refusal:
            self._refuse(refusal)
        self._sending.folder.cleanup()
        self.send({"id": self._sending.id})
        self._sending = None

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
