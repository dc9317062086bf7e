"""The shipped checkpoints of saturation, and any other."""

from dataclasses import asdict
from pathlib import Path

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir
from labkit.systems.saturation.config import MODELS, Config
from labkit.systems.saturation.model import SaturationModel


def shipped_path(name: str = "light") -> Path:
    """Where the shipped checkpoint of a model in `MODELS` lies."""
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, got {name!r}")
    return data_dir() / "checkpoints" / f"saturation_{name}.safetensors"


def save(model: SaturationModel, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system="saturation", config=asdict(model.config))


def load(path: str | Path | None = None) -> SaturationModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped light model when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a checkpoint of saturation.
    """
    config, weights = checkpoints.read(
        path if path is not None else shipped_path(), system="saturation"
    )
    model = SaturationModel(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()
