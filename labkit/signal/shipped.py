"""A few seconds of guitar for the notebooks, in `data/phrases`: made from seeds, or recorded."""

from pathlib import Path

import numpy as np

from labkit.signal.files import read_audio
from labkit.signal.paths import data_dir

# Phrases that `tools/phrases.py` renders; "riff" is the one that travels through all notebooks.
_RENDERED = ("riff", "strum", "line", "arpeggio", "generated_chords", "generated_line")
# Recordings of real players, with licences in the folder's README. Nothing is trained on them.
TAKES = ("take_plucks", "take_jazz", "take_rock")


def phrase_names() -> tuple[str, ...]:
    """Names of the phrases that are rendered."""
    return _RENDERED


def phrase_path(name: str) -> Path:
    """The shipped file of a phrase or of one of `TAKES`; a ValueError lists their names."""
    known = (*_RENDERED, *TAKES)
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    return data_dir() / "phrases" / f"{name}.flac"


def load_phrase(name: str = "riff") -> tuple[np.ndarray, int]:
    """A dry guitar phrase that ships with the course: float32 `(1, samples)`, and 44,100 Hz."""
    return read_audio(phrase_path(name))
