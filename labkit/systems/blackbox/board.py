"""Pedals in a row with one vector of knobs: rendered by pedalboard as a black box, and by the twins with gradients."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.parameters import ParameterSpace
from labkit.effects.registry import effect
from labkit.signal.optional import need
from labkit.signal.sources import GeneratedGuitars
from labkit.signal.units import set_rms


@dataclass(frozen=True)
class Pedal:
    """A pedal, some of whose knobs are glued.

    Attributes:
        name: in the registry.
        fixed: the glued knobs in physical units; they may lie outside the pedal's space.
    """

    name: str
    fixed: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.fixed) - set(effect(self.name).space.names)
        if unknown:
            raise ValueError(f"fixed must name knobs of {self.name}, got {sorted(unknown)}")

    @cached_property
    def free(self) -> ParameterSpace:
        """The knobs that turn."""
        return ParameterSpace(
            tuple(p for p in effect(self.name).space.parameters if p.name not in self.fixed)
        )


@dataclass(frozen=True)
class Board:
    """Pedals in a row.

    Attributes:
        pedals: the first hears the dry sound.
        sample_rate: Hz.
    """

    pedals: tuple[Pedal, ...]
    sample_rate: int

    @property
    def names(self) -> tuple[str, ...]:
        """``"pedal.knob"`` for every free knob, in the order of `params_unit`."""
        return tuple(f"{pedal.name}.{knob}" for pedal in self.pedals for knob in pedal.free.names)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _columns(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(len(pedal.free) for pedal in self.pedals)]).tolist()
        return tuple(slice(*pair) for pair in itertools.pairwise(ends))

    def settings(self, params_unit: np.ndarray) -> list[dict[str, float]]:
        """Every pedal's knobs in physical units, from (d,) in 0..1. Raises ValueError for another length or range."""
        if len(params_unit) != len(self):
            raise ValueError(f"params_unit must hold {len(self)} values, got {len(params_unit)}")
        parts = zip(self.pedals, self._columns, strict=True)
        return [
            {**pedal.fixed, **pedal.free.from_unit(params_unit[columns])}
            for pedal, columns in parts
        ]

    def render(self, audio: np.ndarray, params_unit: np.ndarray) -> np.ndarray:
        """The real effect, a black box.

        Args:
            audio: (channels, samples), full scale 1.
            params_unit: (d,) in 0..1.

        Returns:
            (channels, samples) float32, each pedal starting from rest.

        Raises:
            ValueError: for knobs of another number or range, or audio that cannot be used.
        """
        settings = zip(self.pedals, self.settings(params_unit), strict=True)
        plugins = [effect(pedal.name).build(params) for pedal, params in settings]
        return process(need("pedalboard").Pedalboard(plugins), audio, self.sample_rate)

    def twin(self, audio: Tensor, params_unit: Tensor) -> Tensor:
        """The same in torch, differentiable: (b, channels, samples) and (b, d) in 0..1 -> (b, channels, samples)."""
        for pedal, columns in zip(self.pedals, self._columns, strict=True):
            knobs = pedal.free.from_unit_batch(params_unit[:, columns])
            audio = effect(pedal.name).differentiable(
                audio, self.sample_rate, **pedal.fixed, **knobs
            )
        return audio


def dry_guitar(
    rng: np.random.Generator, sample_rate: int, *, seconds: float, split: str = "test"
) -> tuple[np.ndarray, str]:
    """A guitar at -20 dBFS RMS, (1, samples), and whose it is; a phrase that begins with silence is drawn again."""
    source = GeneratedGuitars(seconds=seconds, sample_rate=sample_rate)
    while True:
        clip = source.clip(rng, split)
        if np.sqrt(np.mean(clip.audio[:, : clip.audio.shape[1] // 2] ** 2)) > 1e-4:
            return set_rms(clip.audio, -20.0), clip.source_id


def equaliser(n_bands: int, sample_rate: int) -> Board:
    """Peaks from 80 Hz to 8 kHz, evenly spaced by ear, whose gains turn; as narrow as they stand close.

    Args:
        n_bands: at least 2.
        sample_rate: Hz, above 16200.

    Returns:
        A board of `n_bands` knobs of +-18 dB.

    Raises:
        ValueError: for fewer than 2 bands.
    """
    if n_bands < 2:
        raise ValueError(f"n_bands must be at least 2, got {n_bands}")
    q = max(0.7, n_bands / 7)
    bands = (
        Pedal("peak", {"cutoff_frequency_hz": float(f), "q": q})
        for f in np.geomspace(80.0, 8000.0, n_bands)
    )
    return Board(tuple(bands), sample_rate)
