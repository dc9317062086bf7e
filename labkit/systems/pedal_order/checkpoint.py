"""The shipped checkpoint of pedal order, and any other."""

from dataclasses import asdict
from pathlib import Path

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.model import PedalOrderModel


def shipped_path() -> Path:
    """Where the shipped checkpoint lies."""
    return data_dir() / "checkpoints" / "pedal_order.safetensors"


def save(model: PedalOrderModel, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system="pedal_order", config=asdict(model.config))


def load(path: str | Path | None = None) -> PedalOrderModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped checkpoint when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a pedal-order checkpoint.
    """
    config, weights = checkpoints.read(
        path if path is not None else shipped_path(), system="pedal_order"
    )
    model = PedalOrderModel(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()
