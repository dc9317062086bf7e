"""The reader's own file: an upload button and a path box, with a default until a file is given."""

import html
import tempfile
from pathlib import Path, PurePath

import ipywidgets as widgets
import numpy as np

from labkit.signal.files import AudioError, read_audio

_FORMATS = "audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.aiff"


class Upload(widgets.VBox):
    """An upload button, a path box and a line of text.

    Attributes:
        audio: float32 (channels, samples) of the chosen file.
        sample_rate: Hz.
        name: the file's name.
    """

    def __init__(self, path: Path, **reading: object) -> None:
        self._reading = reading
        self.audio, self.sample_rate = read_audio(path, **reading)
        self.name = path.name
        self.button = widgets.FileUpload(accept=_FORMATS, multiple=False, description="Your file")
        placeholder = "or its path (for files over 10 MB)"
        self.path = widgets.Text(
            placeholder=placeholder, continuous_update=False, description="Path"
        )
        self.status = widgets.HTML(html.escape(self._description()))
        super().__init__([widgets.HBox([self.button, self.path]), self.status])
        self.button.observe(self._uploaded, "value")
        self.path.observe(self._typed, "value")

    def _uploaded(self, _change: dict) -> None:
        if self.button.value:
            sent = self.button.value[0]
            name = PurePath(sent["name"]).name
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / f"upload{PurePath(name).suffix}"
                copy.write_bytes(bytes(sent["content"]))
                self._take(copy, name)

    def _typed(self, _change: dict) -> None:
        text = self.path.value.strip().strip("\"'")
        if text:
            path = Path(text).expanduser()
            self._take(path, path.name)

    def _take(self, path: Path, name: str) -> None:
        try:
            self.audio, self.sample_rate = read_audio(path, **self._reading)
        except AudioError as error:
            words = html.escape(str(error).replace(str(path), name).rstrip("."))
            kept = html.escape(self.name)
            self.status.value = f'<b role="alert">{words}</b>. Still using {kept}.'
            return
        self.name = name
        self.status.value = html.escape(self._description())

    def _description(self) -> str:
        channels, samples = self.audio.shape
        plural = "s" if channels > 1 else ""
        quiet = "" if np.any(self.audio) else ", silent"
        seconds = samples / self.sample_rate
        sizes = f"{seconds:.2f} s, {channels} channel{plural}, {self.sample_rate} Hz"
        return f"{self.name}: {sizes}{quiet}"

    def __repr__(self) -> str:
        return f"Upload: {self._description()}"


def upload_or(path: str | Path, *, sample_rate: int | None = None, mono: bool = False) -> Upload:
    """A widget for the reader's own file, which holds the file at `path` until one is given.

    A file that cannot be read is refused in words under the button; the one before stays. No more
    than 30 s are read.

    Args:
        sample_rate: resample to this rate in Hz; None keeps each file's.
        mono: average the channels.

    Raises:
        AudioError: if the file at `path` itself cannot be read.
    """
    return Upload(Path(path), sample_rate=sample_rate, mono=mono, max_seconds=30.0)
