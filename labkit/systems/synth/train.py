"""Training synth matching: notes transposed and stretched, flow and regressor on one encoder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.effects.synths.spec import Field, SynthSpec, Values
from labkit.learn.checkpoints import fill
from labkit.learn.flow import Averaged
from labkit.learn.pool import number_of
from labkit.learn.training import Batch
from labkit.systems.synth.kosc import Settings
from labkit.systems.synth.model import HIGH_HZ, KOSC, LOW_HZ, Config, SynthModel
from labkit.systems.synth.render import Notes, default_folder, read_notes
from labkit.systems.system import Training

_OSCILLATOR = re.compile(r"(?<=osc_)\d(?=_)")
_SURGES_LFO = re.compile(r"(?<=a_lfo_)[345](?=_)")  # that of oscillator 1, 2 or 3
# Changes of pitch in semitones and of speed as a factor.
_SEMITONES = 12
_STRETCHES = 2.0 ** (np.arange(-6, 7) / 12)
_TIMES = ("env_1_attack", "env_1_decay", "env_1_release", "env_2_attack", "env_2_decay")
_RATES = ("lfo_1_frequency", "lfo_2_frequency", "delay_frequency")  # in octaves above 1 Hz


@dataclass(frozen=True)
class Data:
    """Where the training notes come from."""

    # folder of notes that `labkit data render-synth` made; by default the folder that it uses. The
    # notes of kosc are made during training
    folder: Path | None = None


@contextmanager
def training(config: Config, data: Data, model: nn.Module, _run_dir: Path) -> Iterator[Training]:
    """What a run needs. Raises ValueError if there is no data set."""
    n = config.plan.steps * config.plan.batch_size
    validate = None
    if config.sound.parameters == KOSC:
        dataset = Settings(config, n)
    else:
        folder = data.folder or default_folder(config.sound.parameters)
        held_out = read_notes(folder, "validation")
        notes = read_notes(folder, "train")
        dataset = Examples(notes, config, n)
        model.encoder.standardise(notes.mel, notes.lines)

        @torch.no_grad()
        def validate(trained: Averaged) -> dict[str, float]:
            model = trained.best.eval()
            columns = (held_out.mel, held_out.lines, held_out.parameters)
            device = model.encoder.mel_mean.device
            given = [torch.from_numpy(x.astype(np.float32)).to(device) for x in columns]
            flow, regression = model(*given, torch.zeros(1))
            return {"validation_flow": float(flow), "validation_regression": float(regression)}

    averaged = Averaged(model, decay=config.net.averaging)

    def loss(trained: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        *others, flow, regression = trained(*batch.values())  # in the order of `forward`
        averaged.follow()
        figures = {"flow": flow.item(), "regression": regression.item()}
        return flow + regression + sum(others), figures

    def keep_mean(trained: nn.Module) -> None:
        trained.load_state_dict(averaged.best.state_dict())

    yield Training(dataset, loss, validate, 200, finish=keep_mean, trained=averaged)


def begin_from(model: SynthModel, start: SynthModel) -> None:
    """Take all weights of a network, or only its encoder's if its parameter set is another."""
    if model.config.sound.parameters == start.config.sound.parameters:
        fill(model, start.state_dict())
    else:
        fill(model.encoder, start.encoder.state_dict())


def exchanges(spec: SynthSpec) -> np.ndarray:
    """(m, size): the columns of a vector for every order of equal oscillators, as they are first.

    Oscillators are equal if they have the same fields.
    """
    numbers = sorted({k for name in spec.names for k in _OSCILLATOR.findall(name)})
    columns = np.arange(spec.size)
    found = []
    for order in permutations(numbers):
        other = dict(zip(numbers, order, strict=True))
        lfos = {str(int(one) + 2): str(int(two) + 2) for one, two in other.items()}
        names = [_OSCILLATOR.sub(lambda k, other=other: other[k[0]], name) for name in spec.names]
        names = [_SURGES_LFO.sub(lambda k, lfos=lfos: lfos[k[0]], name) for name in names]
        if set(names) == set(spec.names):
            found.append(np.concatenate([columns[spec.columns[name]] for name in names]))
    return np.stack(found)


class Examples(Dataset):
    """`n` examples from notes in a random order each round, transposed and stretched at random.

    A few thousand notes become many more, at the price of small errors where chorus and reverb do
    not follow.
    """

    def __init__(self, notes: Notes, config: Config, n: int) -> None:
        self.notes = notes
        self.config = config
        self.n = n
        self._exchanges = exchanges(config.sound.spec)
        self._values = [config.sound.spec.decode(code) for code in notes.parameters]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Example `number`; depends on it and the seed alone."""
        seed = self.config.plan.seed
        spec = self.config.sound.spec
        k = number_of(number, len(self._values), seed)
        rng = np.random.default_rng((seed, number))  # faster than a hashed stream
        mel, lines = (x[k].astype(np.float32) for x in (self.notes.mel, self.notes.lines))
        mel, lines, values = varied(mel, lines, self._values[k], spec, rng)
        order = self._exchanges[rng.integers(len(self._exchanges))]
        return {
            "mel": _noisy(mel, rng),
            "lines": _noisy(lines, rng),
            "parameters": torch.from_numpy(spec.encode(values)[order]),
            "number": torch.tensor(number),
        }


def _noisy(features: np.ndarray, rng: np.random.Generator) -> Tensor:
    """With noise of 2 dB."""
    noise = rng.standard_normal(features.shape, dtype=np.float32)
    return torch.from_numpy(features + np.float32(2.0) * noise)


def varied(
    mel: np.ndarray, lines: np.ndarray, values: Values, spec: SynthSpec, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, dict[str, float | str]]:
    """A note of Vital at another pitch and speed with its patch, as far as the knobs allow.

    A transposed note has another key and cutoff, a stretched one other times and rates. The change
    is up to an octave either way, and up to a factor of the square root of 2. Features and patch of
    another synthesizer are given back as they are.
    """
    if "env_1_attack" not in spec.names:
        return mel, lines, dict(values)
    semitones = int(rng.integers(-_SEMITONES, _SEMITONES + 1))
    stretch = int(rng.integers(len(_STRETCHES)))
    active = spec.active(values)
    changed = dict(values)
    keytrack = values.get("filter_1_keytrack", 0.0)  # the share by which the cutoff follows the key
    moves = {"note_pitch": semitones, "filter_1_cutoff": semitones * (1 - keytrack)}
    moved = {name: values[name] + step for name, step in moves.items() if active.get(name)}
    # Noise has no key: its colour would move although the patch stays.
    noisy = values.get("sample_level", 0.0) > 0
    if not noisy and _in_range(spec, moved):
        changed |= moved
        lines = lines[np.clip(np.arange(len(lines)) - 3 * semitones, 0, len(lines) - 1)]
        mel = _transposition(semitones, mel.shape[0]) @ mel
    factor = _STRETCHES[stretch]
    # Vital's times are fourth roots of seconds, its rates and the reverb's time are in octaves.
    slower = {name: values[name] * factor**0.25 for name in _TIMES if active.get(name)}
    slower |= {name: values[name] - np.log2(factor) for name in _RATES if active.get(name)}
    slower["note_seconds"] = values["note_seconds"] * factor
    if active.get("reverb_decay_time"):
        slower["reverb_decay_time"] = values["reverb_decay_time"] + float(np.log2(factor))
    if _in_range(spec, slower):
        changed |= slower
        mel = mel @ _stretching(stretch, mel.shape[1])
    on_grid = {name: _on_grid(spec[name], value) for name, value in changed.items()}
    return mel.astype(np.float32), lines, on_grid


def _in_range(spec: SynthSpec, values: Values) -> bool:
    return all(spec[name].low <= value <= spec[name].high for name, value in values.items())


def _on_grid(field: Field, value: float | str) -> float | str:
    return value if isinstance(value, str) or value == field.point else field.at(field.step(value))


@lru_cache(maxsize=64)
def _transposition(semitones: int, n_mels: int) -> np.ndarray:
    """(bands, bands): each band of the result, by linear interpolation between the bands."""
    edges = 2595 * np.log10(1 + np.array([LOW_HZ, HIGH_HZ]) / 700)
    mel = np.linspace(*edges, n_mels + 2)[1:-1]
    source_hz = 700 * (10 ** (mel / 2595) - 1) * 2 ** (-semitones / 12)
    return _interpolation(
        (2595 * np.log10(1 + source_hz / 700) - mel[0]) / (mel[1] - mel[0]), n_mels
    ).T


@lru_cache(maxsize=64)
def _stretching(index: int, n: int) -> np.ndarray:
    """(frames, frames), likewise."""
    return _interpolation(np.arange(n) / _STRETCHES[index], n)


def _interpolation(places: np.ndarray, n: int) -> np.ndarray:
    """(n, places): reads n values at fractional places, clamped to the ends."""
    low = np.clip(np.floor(places).astype(int), 0, n - 2)
    share = np.clip(places - low, 0, 1)
    matrix = np.zeros((n, len(places)), dtype=np.float32)
    matrix[low, np.arange(len(places))] = 1 - share
    matrix[low + 1, np.arange(len(places))] = share
    return matrix
