"""The shipped checkpoint of text to effects, and any other."""

from dataclasses import asdict
from pathlib import Path

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.model import TextToEffects

SYSTEM = "text"


def shipped_path() -> Path:
    """Where the shipped checkpoint lies."""
    return data_dir() / "checkpoints" / "text.safetensors"


def save(model: TextToEffects, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system=SYSTEM, config=asdict(model.config))


def load(path: str | Path | None = None) -> TextToEffects:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped model when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or another system's.
    """
    config, weights = checkpoints.read(path if path is not None else shipped_path(), system=SYSTEM)
    model = TextToEffects(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()
