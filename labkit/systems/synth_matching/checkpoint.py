"""The shipped checkpoints of sound matching, and any other."""

from dataclasses import asdict
from pathlib import Path

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.model import SynthModel

DEFAULT = "vital_simple"


def shipped_path(parameters: str = DEFAULT) -> Path:
    """Where the checkpoint for a parameter set lies, if it ships."""
    return (
        data_dir()
        / "checkpoints"
        / f"synth{'' if parameters == DEFAULT else '_' + parameters}.safetensors"
    )


def save(model: SynthModel, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system="synth", config=asdict(model.config))


def load(path: str | Path | None = None) -> SynthModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped one for Vital's simple set when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a checkpoint of sound matching.
    """
    config, weights = checkpoints.read(path if path is not None else shipped_path(), system="synth")
    model = SynthModel(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()
