"""The reader's own file: an upload button and a path box, with a default until a file is given."""

import html
import tempfile
from pathlib import Path, PurePath

import ipywidgets as widgets

from labkit.signal.files import AudioError, read_audio

_FORMATS = "audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.aiff"
_MAX_SECONDS = 30.0


class Upload(widgets.VBox):
    """An upload button, a path box and a line of text; holds the file at `path` at first.

    A file that cannot be read is refused in words under the button; the one before stays.

    Args:
        sample_rate: resample to this rate in Hz; None keeps each file's.

    Attributes:
        audio: float32 (1, samples) of the chosen file, channels averaged, at most 30 seconds.
        sample_rate: Hz.
        name: the file's name.

    Raises:
        AudioError: if the file at `path` itself cannot be read.
    """

    def __init__(self, path: str | Path, *, sample_rate: int | None = None) -> None:
        self._wanted_rate = sample_rate
        self.button = widgets.FileUpload(accept=_FORMATS, multiple=False, description="Your file")
        self.path = widgets.Text(
            placeholder="or its path (for files over 10 MB)",
            continuous_update=False,
            description="Path",
        )
        self.status = widgets.HTML()
        super().__init__([widgets.HBox([self.button, self.path]), self.status])
        self._read(Path(path), Path(path).name)
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
            self._read(path, name)
        except AudioError as error:
            words = html.escape(str(error).replace(str(path), name).rstrip("."))
            kept = html.escape(self.name)
            self.status.value = f'<b role="alert">{words}</b>. Still using {kept}.'

    def _read(self, path: Path, name: str) -> None:
        self.audio, self.sample_rate = read_audio(
            path, sample_rate=self._wanted_rate, mono=True, max_seconds=_MAX_SECONDS
        )
        self.name = name
        self.status.value = html.escape(self._description())

    def _description(self) -> str:
        quiet = "" if self.audio.any() else ", silent"
        seconds = self.audio.shape[1] / self.sample_rate
        return f"{self.name}: {seconds:.2f} s, {self.sample_rate} Hz{quiet}"

    def __repr__(self) -> str:
        return f"Upload: {self._description()}"
