"""The format of shipped checkpoints: half-precision weights, with the config in the same file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.signal.optional import need
from labkit.signal.paths import replacing

if TYPE_CHECKING:
    from torch import Tensor, nn


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or another system's."""


def file_hash(path: str | Path) -> str:
    """The sha256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(model: nn.Module, path: str | Path, *, system: str, config: Mapping[str, Any]) -> str:
    """Write weights (float16; running statistics stay float32) and config; returns the sha256.

    The same weights and config give the same bytes.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path.name}")
    trained = {name for name, _ in model.named_parameters()}
    tensors = {
        name: (tensor.half() if name in trained else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    metadata = {"system": system, "config": json.dumps(dict(config))}
    header, data = _parts(need("safetensors.torch").save(tensors, metadata))
    header["__metadata__"]["checksum"] = _checksum(header, data)
    # The library writes metadata in a random order. Tensors begin at a multiple of eight bytes.
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file_hash(path)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the tensors' bytes behind it."""
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), content[start:]


def _checksum(header: Mapping[str, Any], data: bytes) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data).hexdigest()


def read(path: str | Path, *, system: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config (lists as tuples) and weights (float32) of a file, or CheckpointError."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: train one with `labkit train {system}`")
    try:
        content = path.read_bytes()
        tensors = need("safetensors.torch").load(content)
        header, data = _parts(content)
        metadata = header.get("__metadata__", {})
        held = metadata.pop("checksum", None)  # files of earlier versions have none
        if held not in (None, _checksum(header, data)):
            raise ValueError("its checksum does not match")
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("system") != system:
        raise CheckpointError(
            f"{path} holds {metadata.get('system')!r}, expected a {system} checkpoint"
        )
    items = json.loads(metadata["config"]).items()
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in items}
    # Integers, as counts of a batch norm, stay.
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return config, floats


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a model in place; CheckpointError if their names or sizes differ."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"this checkpoint is of another version of the model, train it again: {first}"
        ) from error
