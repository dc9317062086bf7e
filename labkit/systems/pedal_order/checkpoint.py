"""The shipped checkpoint: half-precision weights with the config inside, and its hash beside it."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from labkit.signal.optional import need
from labkit.signal.paths import data_dir
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.model import PedalOrderModel


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or another system's."""


def shipped_path() -> Path:
    """Where the shipped checkpoint lies."""
    return data_dir() / "checkpoints" / "pedal_order.safetensors"


def file_hash(path: str | Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save(model: PedalOrderModel, path: str | Path) -> str:
    """Write weights (float16) and config under a temporary name, then rename.

    Args:
        model: on any device.
        path: ends in ``.safetensors``.

    Returns:
        The file's sha256.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    metadata = {"system": "pedal_order", "config": json.dumps(asdict(model.config))}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    need("safetensors.torch").save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, path)
    return file_hash(path)


def load(path: str | Path | None = None) -> PedalOrderModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped checkpoint when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a pedal-order checkpoint.

    Notebook: 00, 04.
    """
    path = Path(path) if path is not None else shipped_path()
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: train one with `labkit train pedal_order`")
    try:
        with need("safetensors").safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("system") != "pedal_order":
        raise CheckpointError(f"{path} holds {metadata.get('system')!r}, expected a pedal_order checkpoint")
    stored = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(metadata["config"]).items()}
    model = PedalOrderModel(Config(**stored))
    model.load_state_dict({n: t.float() if t.dtype == torch.float16 else t for n, t in tensors.items()})
    return model.eval()
