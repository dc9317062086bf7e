"""One seed and a purpose give an independent, repeatable random stream."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


def _entropy(seed: int, purpose: tuple[str | int, ...]) -> list[int]:
    if seed < 0:
        raise ValueError(f"seed must be a non-negative int, got {seed}")
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return [seed, *(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))]


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose, independent of every other purpose under the same seed.

    Args:
        seed: the experiment's seed, >= 0.
        *purpose: words and counters that name the stream, e.g. ``"train", "chain", 17``.

    Returns:
        A PCG64 generator; the same arguments give the same stream on every platform and in every process.

    Raises:
        ValueError: if `seed` is negative.
    """
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, purpose)))


def torch_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """The same for torch, on the CPU. Args and errors as `generator`."""
    state = np.random.SeedSequence(_entropy(seed, purpose)).generate_state(2, dtype=np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def seeded(make: Callable[[], T], seed: int, *purpose: str | int) -> T:
    """What `make` builds with torch's global generator seeded, whose state is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, *purpose).initial_seed())
        return make()
