"""Rendered notes, read from the files of a data set."""

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.synths.spec import Field, SynthSpec, Values
from labkit.learn.pool import number_of
from labkit.signal.paths import cache_dir
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.schema import RenderConfig, Split, jobs, read_shard

_OSCILLATOR = re.compile(r"(?<=osc_)\d(?=_)")
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
        raise ValueError(
            f"{folder} holds no data set: make one with `labkit data render-synth --out {folder}`"
        )
    config = RenderConfig.from_file(folder / "config.json")
    wanted = config.count(split) if n is None else n
    if wanted > config.count(split):
        raise ValueError(f"n must be at most {config.count(split)}, the notes of {split}, got {n}")
    paths = [job.path(folder) for job in jobs(config) if job.split == split and job.start < wanted]
    if absent := [path.name for path in paths if not path.exists()]:
        raise ValueError(
            f"{folder} lacks {len(absent)} files, e.g. {absent[0]}: go on with `labkit data render-synth`"
        )
    parts = [read_shard(path, _COLUMNS) for path in paths]
    return Notes(
        **{name: np.concatenate([part[name] for part in parts])[:wanted] for name in _COLUMNS}
    )


def read_statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation of every band over the training split."""
    return json.loads((Path(folder) / "statistics.json").read_text())


def exchanges(spec: SynthSpec) -> np.ndarray:
    """(m, size): the columns of a vector in every order that like oscillators can stand in, first as they are.

    Oscillators are alike if they have the same fields.
    """
    numbers = sorted({k for name in spec.names for k in _OSCILLATOR.findall(name)})
    places, found = np.arange(spec.size), []
    for order in permutations(numbers):
        other = dict(zip(numbers, order, strict=True))
        names = [_OSCILLATOR.sub(lambda k, other=other: other[k[0]], name) for name in spec.names]
        if set(names) == set(spec.names):
            found.append(np.concatenate([places[spec.columns[name]] for name in names]))
    return np.stack(found)


class Examples(Dataset):
    """Notes for training, in an order and with changes of their own in every round: transposed and stretched a little.

    A note that is transposed is the note of a patch with its key and its cutoff moved; one that is stretched has
    longer envelopes. Both are done on the picture: a thousand notes become many more, at the price of small errors
    where chorus and reverb do not follow.

    Args:
        notes: of the split.
        config: noise, swaps, seed.
        n: length: as many examples as the run will take.
    """

    def __init__(self, notes: Notes, config: Config, n: int) -> None:
        self.notes, self.config, self.n = notes, config, n
        self._exchanges = exchanges(config.spec)
        self._values = [config.spec.decode(code) for code in notes.parameters]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Example `number`: depends on it alone."""
        k = number_of(number, len(self.notes), self.config.seed)
        rng = np.random.default_rng((self.config.seed, number))  # thousands a second: no hash
        mel, lines, values = (
            self.notes.mel[k].astype(np.float32),
            self.notes.lines[k].astype(np.float32),
            self._values[k],
        )
        if self.config.vary:
            mel, lines, values = varied(mel, lines, values, self.config.spec, rng)
        target = self.config.spec.encode(values)
        if self.config.swap:
            target = target[self._exchanges[rng.integers(len(self._exchanges))]]
        views = {
            name: torch.from_numpy(self._noisy(view, rng))
            for name, view in (("mel", mel), ("lines", lines))
        }
        return {**views, "parameters": torch.from_numpy(target), "number": torch.tensor(number)}

    def _noisy(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return view + np.float32(self.config.noise_db) * rng.standard_normal(
            view.shape, dtype=np.float32
        )


_SEMITONES, _STRETCHES = 12, 2.0 ** (np.arange(-6, 7) / 12)
_TIMES = ("env_1_attack", "env_1_decay", "env_1_release", "env_2_attack", "env_2_decay")
_RATES = ("lfo_1_frequency", "lfo_2_frequency", "delay_frequency")  # in octaves above 1 Hz


def varied(
    mel: np.ndarray, lines: np.ndarray, values: Values, spec: SynthSpec, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, dict[str, float | str]]:
    """A heard note at another pitch and speed, and the patch that goes with it, as far as the knobs' ranges let it.

    Args:
        mel: (N_MELS, frames), dB.
        lines: (N_LINES,), dB.
        values: the patch behind both.
        spec: of the patch.
        rng: of the change: up to an octave either way, up to the square root of 2 slower or faster.

    Returns:
        The three, changed; as they were where the set is not one of Vital's.
    """
    if (
        "env_1_attack" not in spec.names
    ):  # which of another synthesizer's knobs would follow is not known here
        return mel, lines, dict(values)
    semitones, stretch = (
        int(rng.integers(-_SEMITONES, _SEMITONES + 1)),
        int(rng.integers(len(_STRETCHES))),
    )
    heard, changed = spec.active(values), dict(values)
    followed = values.get("filter_1_keytrack", 0.0)  # the cutoff goes so far with the key by itself
    moves = {"note_pitch": semitones, "filter_1_cutoff": semitones * (1 - followed)}
    moved = {
        name: values[name] + step for name, step in moves.items() if name in changed and heard[name]
    }
    noisy = (
        values.get("sample_level", 0.0) > 0
    )  # noise has no key: its colour would move and the patch would not
    if not noisy and all(
        spec[name].low <= value <= spec[name].high for name, value in moved.items()
    ):
        changed |= moved
        mel, lines = _transposed(semitones, mel.shape[0]) @ mel, _shifted(lines, 3 * semitones)
    factor = _STRETCHES[stretch]
    slower = {
        name: values[name] * factor**0.25 for name in _TIMES if name in changed and heard[name]
    }
    slower |= {
        name: values[name] - np.log2(factor) for name in _RATES if name in changed and heard[name]
    }
    slower["note_seconds"] = values["note_seconds"] * factor
    if "reverb_decay_time" in changed and heard["reverb_decay_time"]:
        slower["reverb_decay_time"] = values["reverb_decay_time"] + float(np.log2(factor))
    if all(spec[name].low <= value <= spec[name].high for name, value in slower.items()):
        changed |= slower
        mel = mel @ _stretched(stretch, mel.shape[1])
    return (
        mel.astype(np.float32),
        lines,
        {name: _on_grid(spec[name], value) for name, value in changed.items()},
    )


def _on_grid(field: Field, value: float | str) -> float | str:
    return value if isinstance(value, str) or value == field.point else field.at(field.step(value))


def _shifted(lines: np.ndarray, step: int) -> np.ndarray:
    places = np.clip(np.arange(len(lines)) - step, 0, len(lines) - 1)
    return lines[places]


@lru_cache(maxsize=64)
def _transposed(semitones: int, n_mels: int) -> np.ndarray:
    """(bands, bands): where every band's new content comes from, by straight lines between the bands."""
    edges = 2595 * np.log10(1 + np.array([features.LOW_HZ, features.HIGH_HZ]) / 700)
    mel = np.linspace(*edges, n_mels + 2)[1:-1]
    came_from = 700 * (10 ** (mel / 2595) - 1) * 2 ** (-semitones / 12)
    return _reading((2595 * np.log10(1 + came_from / 700) - mel[0]) / (mel[1] - mel[0]), n_mels).T


@lru_cache(maxsize=64)
def _stretched(index: int, n: int) -> np.ndarray:
    """(frames, frames), likewise."""
    return _reading(np.arange(n) / _STRETCHES[index], n)


def _reading(places: np.ndarray, n: int) -> np.ndarray:
    """(n, places): reads n values at fractional places, the ends beyond them."""
    low = np.clip(np.floor(places).astype(int), 0, n - 2)
    share = np.clip(places - low, 0, 1)
    matrix = np.zeros((n, len(places)), dtype=np.float32)
    matrix[low, np.arange(len(places))] = 1 - share
    matrix[low + 1, np.arange(len(places))] = share
    return matrix


def examples(
    config: Config, split: Split = "train", seed: int | None = None, *, folder: Path | None = None
) -> Dataset:
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
