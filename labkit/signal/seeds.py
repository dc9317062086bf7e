"""One seed and a purpose give an independent, repeatable random stream."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:  # a plug-in's process starts without it in a tenth of the time
    import torch

T = TypeVar("T")


def _entropy(seed: int, purpose: tuple[str | int, ...]) -> list[int]:
    if seed < 0:
        raise ValueError(f"seed must be a non-negative int, got {seed}")
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return [seed, *(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))]


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose, independent of every other purpose under the same seed.

    The same seed (>= 0) and the same words and counters, e.g. ``"train", "chain", 17``, give the
    same stream on every platform.
    """
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, purpose)))


def torch_generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """`generator` for torch, on the CPU."""
    import torch

    state = np.random.SeedSequence(_entropy(seed, purpose)).generate_state(2, dtype=np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def seeded(make: Callable[[], T], seed: int, *purpose: str | int) -> T:
    """What `make` builds with torch's global generator seeded; its state is put back afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, *purpose).initial_seed())
        return make()
