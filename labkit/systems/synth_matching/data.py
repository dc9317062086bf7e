"""Rendered notes, read from the files of a data set."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.synths.spec import SynthSpec
from labkit.signal.paths import cache_dir
from labkit.signal.seeds import generator
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.schema import RenderConfig, Split, jobs, read_shard

_COLUMNS = ("parameters", "mel", "lines", "loudness_lufs", "phases", "index")


def default_folder(parameters: str) -> Path:
    """Where the data set of a parameter set is kept when no folder is named."""
    return cache_dir() / "synth" / parameters


@dataclass(frozen=True)
class Notes:
    """A split in memory: as `schema.columns`, one row a note."""

    parameters: np.ndarray
    mel: np.ndarray
    lines: np.ndarray
    loudness_lufs: np.ndarray
    phases: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


def read_notes(folder: Path, split: Split, *, n: int | None = None) -> Notes:
    """The first `n` notes of a split, or all.

    Raises:
        ValueError: if the folder holds no data set, or fewer notes.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} holds no data set: make one with `labkit data render-synth --out {folder}`")
    config = RenderConfig.from_file(folder / "config.json")
    wanted = config.count(split) if n is None else n
    if wanted > config.count(split):
        raise ValueError(f"n must be at most {config.count(split)}, the notes of {split}, got {n}")
    paths = [job.path(folder) for job in jobs(config) if job.split == split and job.start < wanted]
    if absent := [path.name for path in paths if not path.exists()]:
        raise ValueError(f"{folder} lacks {len(absent)} files, e.g. {absent[0]}: go on with `labkit data render-synth`")
    parts = [read_shard(path, _COLUMNS) for path in paths]
    return Notes(**{name: np.concatenate([part[name] for part in parts])[:wanted] for name in _COLUMNS})


def read_statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation of every band over the training split."""
    return json.loads((Path(folder) / "statistics.json").read_text())


def twins(spec: SynthSpec) -> np.ndarray | None:
    """Columns of a vector after the first two oscillators change places; None without two."""
    order = np.arange(spec.size)
    pairs = [(name, name.replace("osc_1_", "osc_2_")) for name in spec.names if name.startswith("osc_1_")]
    if not pairs:
        return None
    for first, second in pairs:
        order[spec.columns[first]], order[spec.columns[second]] = (
            np.arange(spec.size)[spec.columns[second]],
            np.arange(spec.size)[spec.columns[first]],
        )
    return order


class Examples(Dataset):
    """Notes for training, in an order and with noise of their own in every round.

    Args:
        notes: of the split.
        config: noise, swaps, seed.
        n: length: as many examples as the run will take.
    """

    def __init__(self, notes: Notes, config: Config, n: int) -> None:
        self.notes, self.config, self.n = notes, config, n
        self._twins = twins(config.spec)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Example `number`: depends on it alone."""
        turn, place = divmod(number, len(self.notes))
        k = int(_order(self.config.seed, turn, len(self.notes))[place])
        rng = np.random.default_rng((self.config.seed, number))  # thousands a second: no hash
        target = self.notes.parameters[k]
        if self.config.swap and self._twins is not None and rng.random() < 0.5:
            target = target[self._twins]
        views = {
            name: torch.from_numpy(self._noisy(getattr(self.notes, name)[k].astype(np.float32), rng))
            for name in ("mel", "lines")
        }
        return {**views, "parameters": torch.from_numpy(target), "number": torch.tensor(number)}

    def _noisy(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return view + np.float32(self.config.noise_db) * rng.standard_normal(view.shape, dtype=np.float32)


@lru_cache(maxsize=2)
def _order(seed: int, turn: int, n: int) -> np.ndarray:
    return generator(seed, "synth", "order", turn).permutation(n)


def examples(config: Config, split: Split = "train", seed: int | None = None, *, folder: Path | None = None) -> Dataset:
    """What a run sees: `config.steps` batches of the split, noise and order from the seed.

    Args:
        config: of the run.
        split: of the data set.
        seed: another than the config's.
        folder: of the data set; the usual one when None.

    Raises:
        ValueError: if there is no data set.
    """
    config = config if seed is None else replace(config, seed=seed)
    notes = read_notes(folder or default_folder(config.parameters), split)
    return Examples(notes, config, config.steps * config.batch_size)
