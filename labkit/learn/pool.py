"""A store for costly examples: made once, kept on disk, read again in every round."""

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
    missing. `shapes` gives the shape of each field. ValueError if `folder` holds other shapes.
    """

    def __init__(self, folder: Path, n: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder = folder
        self.names = tuple(shapes)
        folder.mkdir(parents=True, exist_ok=True)
        for name, shape in shapes.items():
            self._reserve(name, np.float16, (n, *shape))
        self._reserve("checksums", np.uint32, (n,))
        self._maps: dict[str, np.ndarray] | None = None

    def _reserve(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        path = self.folder / f"{name}.npy"
        if not path.exists():
            np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
        found = np.load(path, mmap_mode="r").shape
        if found != shape:
            raise ValueError(
                f"{self.folder} holds arrays of shape {found}, expected {shape}: delete it"
            )

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
        maps = self._open()
        rows = {name: example[name].numpy().astype(np.float16) for name in self.names}
        maps["checksums"][number] = 0
        for name, row in rows.items():
            maps[name][number] = row
        maps["checksums"][number] = _checksum(rows)
        return {name: torch.from_numpy(row) for name, row in rows.items()}

    def get(self, number: int, make: Callable[[int], Mapping[str, Tensor]]) -> Example:
        """The example as kept; made by ``make(number)`` and written first when it is missing."""
        found = self.read(number)
        return self.write(number, make(number)) if found is None else found

    def _open(self) -> dict[str, np.ndarray]:
        if self._maps is None:
            self._maps = {
                name: np.load(self.folder / f"{name}.npy", mmap_mode="r+")
                for name in (*self.names, "checksums")
            }
        return self._maps


def _checksum(rows: Mapping[str, np.ndarray]) -> int:
    """CRC-32 over all arrays; never 0, which marks an example as missing."""
    value = 0
    for row in rows.values():
        value = zlib.crc32(row.tobytes(), value)
    return value or 1
