"""The one format of a checkpoint that ships: half-precision weights with the config inside."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.signal.optional import need


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or another system's."""


def file_hash(path: str | Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write(model: nn.Module, path: str | Path, *, system: str, config: Mapping[str, Any]) -> str:
    """Write weights (float16; running statistics stay float32) and config under a temporary name, then rename.

    Args:
        model: on any device.
        path: ends in ``.safetensors``.
        system: whose model it is.
        config: what `read` gives back; JSON must be able to hold it.

    Returns:
        The file's sha256.

    Raises:
        ValueError: if `path` ends in anything else.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = {name for name, _ in model.named_parameters()}
    tensors = {
        name: (tensor.half() if name in trained else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    metadata = {"system": system, "config": json.dumps(dict(config))}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    need("safetensors.torch").save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, path)
    return file_hash(path)


def read(path: str | Path, *, system: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights, as `write` left them.

    Args:
        path: the file.
        system: whose model it must be.

    Returns:
        The config, lists as tuples, and the tensors by name, half precision as float32.

    Raises:
        CheckpointError: if the file is missing, unreadable, or another system's.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: train one with `labkit train {system}`")
    try:
        with need("safetensors").safe_open(path, framework="pt") as file:
            metadata, tensors = (
                file.metadata() or {},
                {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            )
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("system") != system:
        raise CheckpointError(
            f"{path} holds {metadata.get('system')!r}, expected a {system} checkpoint"
        )
    config = {
        name: tuple(v) if isinstance(v, list) else v
        for name, v in json.loads(metadata["config"]).items()
    }
    return config, {
        name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()
    }


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model the weights that `read` gave, in place.

    Raises:
        CheckpointError: if they are another version's: other names or sizes than the model has today.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"this checkpoint is of another version of the model, train it again: {first}"
        ) from error
