"""The shipped controllers, and any other."""

from dataclasses import asdict
from pathlib import Path

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir
from labkit.systems.blackbox.config import TASKS, Config
from labkit.systems.blackbox.controller import Controller


def shipped_path(task: str = "distortion") -> Path:
    """Where the shipped controller of a task lies."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    return data_dir() / "checkpoints" / f"blackbox_{task}.safetensors"


def save(model: Controller, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system="blackbox", config=asdict(model.config))


def load(path: str | Path | None = None, *, task: str = "distortion") -> Controller:
    """A controller in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped controller of `task` when None.
        task: of `TASKS`.

    Returns:
        The controller; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a controller.
        ValueError: for an unknown task.
    """
    config, weights = checkpoints.read(
        path if path is not None else shipped_path(task), system="blackbox"
    )
    model = Controller(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()
