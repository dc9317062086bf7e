"""The recorder: a microphone or an audio interface in the browser becomes audio in the kernel."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from labkit.signal.files import write_audio
from labkit.signal.paths import new_files

_QUIET = 1e-4  # a peak of -80 dBFS: nothing is plugged in
_MAX_PIECES = 128  # of 65536 samples: more than a minute at 96 kHz


class Recorder(anywidget.AnyWidget):
    """A record button with a level meter and a count-in.

    Every take is kept as `output/recording/recording.wav`, then `recording_2.wav`, and so on.

    Args:
        on_take: called with (audio, sample_rate) after every take.
        seconds: length of a take, 0.5 to 60; the reader may change it.
        count_in: beats before the take begins.

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
        if "failed" in content:
            self.message = f"Not recorded: {content['failed']}. An uploaded file does the same."
            return
        place, count, rate = (int(content.get(name, 0)) for name in ("piece", "of", "rate"))
        if place == 0:
            self._pieces = []
        expected = place == len(self._pieces) < count <= _MAX_PIECES and 2_000 <= rate <= 768_000
        if not expected or len(buffers) != 1:
            self.message = "Not recorded: the browser sent something that is no recording."
            self._pieces = []
            return
        self._pieces.append(bytes(buffers[0]))
        if len(self._pieces) == count:
            self._finish(np.frombuffer(b"".join(self._pieces), "<f4")[None].copy(), rate)

    def _finish(self, audio: np.ndarray, sample_rate: int) -> None:
        peak = float(np.abs(audio).max(initial=0.0))
        if not np.isfinite(peak) or peak < _QUIET:
            self.message = "The take is silent: choose another input, or turn it up."
            return
        self.audio, self.sample_rate = audio, sample_rate
        (self.path,) = new_files(None, "recording", ".wav")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(self.path, audio.clip(-1, 1), sample_rate)
        clipped = ", clipped: turn the input down" if peak >= 0.999 else ""
        seconds = audio.shape[1] / sample_rate
        self.message = f"{self.path}: {seconds:.1f} s, peak {20 * np.log10(peak):.1f} dBFS{clipped}"
        if self._on_take:
            self._on_take(audio, sample_rate)

    def __repr__(self) -> str:
        return f"Recorder: {self.message}"
