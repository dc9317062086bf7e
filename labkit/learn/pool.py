"""A cache of examples on disk: each is made once and read again in later rounds."""

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.signal.paths import named
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
    """`n` examples in a file of equal records, in float16, filled by any number of processes.

    A record ends in a checksum, so that an example that was written in part or damaged counts as
    missing. `shapes` gives the shape of each field; other shapes, or another `n`, have another
    file. OSError, naming the file, where it cannot be written.
    """

    def __init__(self, folder: Path, n: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        fields = [(name, "<f2", tuple(shape)) for name, shape in shapes.items()]
        layout = zlib.crc32(repr((n, fields)).encode())
        self.n, self.names = n, tuple(shapes)
        self.path = folder / f"examples-{layout:08x}.bin"
        self._record = np.dtype([*fields, ("checksum", "<u4")])
        self._map: np.ndarray | None = None
        folder.mkdir(parents=True, exist_ok=True)
        with named(self.path), open(self.path, "ab") as file:
            file.truncate(n * self._record.itemsize)  # zeros where it is new, or was cut

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_map": None}  # a memory map belongs to one process

    def get(self, number: int, make: Callable[[int], Mapping[str, Tensor]]) -> Example:
        """The example as kept; made by ``make(number)`` and written first when it is missing."""
        if self._map is None:
            self._map = np.memmap(self.path, self._record, "r", shape=(self.n,))
        row = np.array(self._map[number])
        if row["checksum"] != _checksum(row):
            row, made = np.zeros((), self._record), make(number)
            for name in self.names:
                row[name] = made[name].numpy()
            row["checksum"] = _checksum(row)
            # Not through the map: on a full disk that would end the process without a word.
            with named(self.path), open(self.path, "r+b") as file:
                file.seek(number * self._record.itemsize)
                file.write(row.tobytes())
        return {name: torch.from_numpy(row[name].copy()) for name in self.names}


def _checksum(row: np.ndarray) -> int:
    """CRC-32 of all but the checksum itself; never 0, which a record has that is missing."""
    return zlib.crc32(row.tobytes()[:-4]) or 1
