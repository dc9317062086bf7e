"""The reader's own file: an upload button and a path box, and a default where nobody uploads anything."""

import html
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePath

import ipywidgets as widgets
import numpy as np

from labkit.signal.files import AudioError, read_audio


class Upload(widgets.VBox):
    """An upload button, a path box and a line of text; `.audio`, `.sample_rate` and `.name` are what is chosen.

    Attributes:
        audio: float32 `(channels, samples)`.
        sample_rate: Hz.
        name: the file's name.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sample_rate: int | None,
        mono: bool,
        max_seconds: float | None,
        on_change: Callable[["Upload"], None] | None,
    ) -> None:
        self._wanted = {"sample_rate": sample_rate, "mono": mono, "max_seconds": max_seconds}
        self._on_change = on_change
        self.audio, self.sample_rate = read_audio(path, **self._wanted)
        self.name = Path(path).name
        self.button = widgets.FileUpload(
            accept="audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.aiff", multiple=False
        )
        self.button.description = "Your file"
        self.path = widgets.Text(
            placeholder="or its path (for files over 10 MB)",
            continuous_update=False,
            description="Path",
        )
        self.status = widgets.HTML()
        super().__init__([widgets.HBox([self.button, self.path]), self.status])
        self.button.observe(self._uploaded, "value")
        self.path.observe(self._typed, "value")
        self._report()

    def _uploaded(self, _change: dict) -> None:
        if not self.button.value:
            return
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
            self.audio, self.sample_rate = read_audio(path, **self._wanted)
        except AudioError as error:
            words = html.escape(str(error).replace(str(path), name).rstrip("."))
            self.status.value = (
                f'<b role="alert">{words}</b>. Still using {html.escape(self.name)}.'
            )
            return
        self.name = name
        self._report()
        if self._on_change is not None:
            self._on_change(self)

    def _report(self) -> None:
        self.status.value = html.escape(self._words())

    def _words(self) -> str:
        channels, samples = self.audio.shape
        seconds = samples / self.sample_rate
        quiet = "" if np.any(self.audio) else ", silent"
        return f"{self.name}: {seconds:.2f} s, {channels} channel{'s' * (channels > 1)}, {self.sample_rate} Hz{quiet}"

    def __repr__(self) -> str:
        return f"Upload: {self._words()}"


def upload_or(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float | None = 30.0,
    on_change: Callable[[Upload], None] | None = None,
) -> Upload:
    """A widget for the reader's own file, which holds the file at `path` until one is given.

    A file that cannot be read is refused in words under the button, and what was there before stays.

    Args:
        path: the file used where nobody uploads one.
        sample_rate: resample to this rate in Hz; None keeps each file's.
        mono: average the channels.
        max_seconds: read no more than this; None reads all.
        on_change: called with the widget after each new file.

    Returns:
        The widget; read `.audio`, `.sample_rate`, `.name` in a later cell.

    Raises:
        AudioError: if the file at `path` itself cannot be read.
    """
    return Upload(
        path, sample_rate=sample_rate, mono=mono, max_seconds=max_seconds, on_change=on_change
    )
