"""Examples that cost much to make: made once, kept on disk, and shown again in every round in another order."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.signal.seeds import generator


def number_of(index: int, n: int, seed: int) -> int:
    """Which of `n` examples a run shows at place `index`: in its first round one after the other, then shuffled."""
    turn, place = divmod(index, n)
    return place if turn == 0 else int(_order(seed, turn, n)[place])


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, n: int) -> np.ndarray:
    return generator(seed, "round", turn).permutation(n)


class ExampleCache:
    """Arrays in half precision in a memory-mapped file, filled by any number of processes as they go.

    An array is written before its flag, so a killed process leaves no half array that counts.

    Args:
        folder: created when missing; another shape than the one it was made for is refused.
        shape: (examples, ...).

    Raises:
        ValueError: if `folder` holds arrays of another shape.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.folder, self.shape = folder, shape
        folder.mkdir(parents=True, exist_ok=True)
        for name, dtype, size in (
            ("examples.npy", np.float16, shape),
            ("there.npy", np.uint8, shape[:1]),
        ):
            path = folder / name
            if not path.exists():
                np.lib.format.open_memmap(path, "w+", dtype, size).flush()
            found = np.load(path, mmap_mode="r").shape
            if found != size:
                raise ValueError(
                    f"{folder} holds arrays of shape {found}, expected {size}: delete it"
                )
        self._maps: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": None}  # a map of memory belongs to one process

    def read(self, number: int) -> Tensor | None:
        """Array `number` (...) float16, or None when it is not there yet."""
        arrays, there = self._open()
        return torch.from_numpy(np.array(arrays[number])) if there[number] else None

    def write(self, number: int, array: Tensor) -> None:
        """Keep array `number`."""
        arrays, there = self._open()
        arrays[number] = array.numpy()
        there[number] = 1

    def _open(self) -> tuple[np.ndarray, np.ndarray]:
        if self._maps is None:
            maps = (
                np.load(self.folder / name, mmap_mode="r+")
                for name in ("examples.npy", "there.npy")
            )
            self._maps = tuple(maps)
        return self._maps
