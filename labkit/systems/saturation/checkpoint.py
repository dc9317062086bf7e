"""Checkpoints of saturation: half-precision weights with the config inside."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from labkit.signal.optional import need
from labkit.signal.paths import data_dir
from labkit.systems.pedal_order.checkpoint import CheckpointError, file_hash
from labkit.systems.saturation.config import MODELS, Config
from labkit.systems.saturation.model import SaturationModel


def shipped_path(name: str = "light") -> Path:
    """Where the shipped checkpoint of a model in `MODELS` lies."""
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, got {name!r}")
    return data_dir() / "checkpoints" / f"saturation_{name}.safetensors"


def save(model: SaturationModel, path: str | Path) -> str:
    """Write weights (float16; running statistics stay float32) and config under a temporary name, then rename.

    Args:
        model: on any device.
        path: ends in ``.safetensors``.

    Returns:
        The file's sha256.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = {name for name, _ in model.named_parameters()}
    tensors = {
        name: (tensor.half() if name in trained else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    metadata = {"system": "saturation", "config": json.dumps(asdict(model.config))}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    need("safetensors.torch").save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, path)
    return file_hash(path)


def load(path: str | Path | None = None) -> SaturationModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped light model when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a checkpoint of saturation.

    Notebook: 05.
    """
    path = Path(path) if path is not None else shipped_path()
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: train one with `labkit train saturation`")
    try:
        with need("safetensors").safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("system") != "saturation":
        raise CheckpointError(f"{path} holds {metadata.get('system')!r}, expected a saturation checkpoint")
    model = SaturationModel(Config(**json.loads(metadata["config"])))
    model.load_state_dict({n: t.float() if t.dtype == torch.float16 else t for n, t in tensors.items()})
    return model.eval()
