"""A store for costly examples: made once, kept on disk, read again in every round."""

import io
import re
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.signal.paths import named, replacing
from labkit.signal.seeds import generator

Example = dict[str, Tensor]


def number_of(index: int, n: int, seed: int) -> int:
    """Which of `n` examples a run takes at `index`: in order in its first round, then shuffled."""
    turn, place = divmod(index, n)
    return place if turn == 0 else int(_order(seed, turn, n)[place])


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, n: int) -> np.ndarray:
    return generator(seed, "round", turn).permutation(n)


class ExampleCache:
    """`n` examples in memory-mapped files, in float16, filled by any number of processes.

    Each has a checksum, written after its arrays: an example written in part or damaged counts as
    missing, and all do where a file is cut. `shapes` gives the shape of each field. ValueError if
    `folder` holds other shapes.
    """

    def __init__(self, folder: Path, n: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder = folder
        self.names = tuple(shapes)
        folder.mkdir(parents=True, exist_ok=True)
        self._layout = {name: (np.dtype(np.float16), (n, *shape)) for name, shape in shapes.items()}
        self._layout["checksums"] = (np.dtype(np.uint32), (n,))
        self._offsets = {name: self._reserve(name) for name in self._layout}
        self._maps: dict[str, np.ndarray] | None = None

    def _reserve(self, name: str) -> int:
        """Make a file that is missing or cut; returns where its rows begin."""
        path = self.folder / f"{name}.npy"
        dtype, shape = self._layout[name]
        buffer = io.BytesIO()
        facts = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, facts)
        header = buffer.getvalue()
        start, size = _head(path)
        if start[: len(header)] == header and size == len(header) + dtype.itemsize * prod(shape):
            return len(header)
        # Not numpy's own reader: a damaged header makes it raise almost anything.
        found = re.search(rb"'shape': \(([\d, ]*)\)", start)
        held = tuple(map(int, re.findall(rb"\d+", found[1]))) if found else shape
        if held != shape and size == len(header) + dtype.itemsize * prod(held):
            raise ValueError(
                f"{self.folder} holds arrays of shape {held}, expected {shape}: delete it"
            )
        with replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, "w+", dtype, shape).flush()
        return len(header)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": None}  # a memory map belongs to one process

    def read(self, number: int) -> Example | None:
        """The example, or None if it is missing or its checksum does not match."""
        maps = self._open()
        rows = {name: np.array(maps[name][number]) for name in self.names}
        if maps["checksums"][number] != _checksum(rows):
            return None
        return {name: torch.from_numpy(row) for name, row in rows.items()}

    def write(self, number: int, example: Mapping[str, Tensor]) -> Example:
        """Keep an example (the fields that the cache was made for); returns it as kept."""
        rows = {name: example[name].numpy().astype(np.float16) for name in self.names}
        self._put("checksums", number, np.uint32(0))
        for name, row in rows.items():
            self._put(name, number, row)
        self._put("checksums", number, np.uint32(_checksum(rows)))
        return {name: torch.from_numpy(row) for name, row in rows.items()}

    def get(self, number: int, make: Callable[[int], Mapping[str, Tensor]]) -> Example:
        """The example as kept; made by ``make(number)`` and written first when it is missing."""
        found = self.read(number)
        return self.write(number, make(number)) if found is None else found

    def _put(self, name: str, number: int, row: np.ndarray | np.uint32) -> None:
        # Not through the map: on a full disk that would end the process without a word.
        path = self.folder / f"{name}.npy"
        with named(path), open(path, "r+b") as file:
            file.seek(self._offsets[name] + number * row.nbytes)
            file.write(row.tobytes())

    def _open(self) -> dict[str, np.ndarray]:
        if self._maps is None:
            self._maps = {
                name: np.memmap(self.folder / f"{name}.npy", dtype, "r", self._offsets[name], shape)
                for name, (dtype, shape) in self._layout.items()
            }
        return self._maps


def _head(path: Path) -> tuple[bytes, int]:
    """The beginning of a file, and its size."""
    if not path.exists():
        return b"", 0
    with open(path, "rb") as file:
        return file.read(256), path.stat().st_size


def _checksum(rows: Mapping[str, np.ndarray]) -> int:
    """CRC-32 over all arrays; never 0, which marks an example as missing."""
    value = 0
    for row in rows.values():
        value = zlib.crc32(row.tobytes(), value)
    return value or 1
