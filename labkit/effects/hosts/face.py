"""What a hosted plug-in shows of itself, whatever its format: knobs in 0..1, latency, one `process`."""

import re
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

Kind = Literal["builtin", "VST3", "VST2", "LV2"]
# How an engine forgets what it played before, cheapest first: the plug-in's own reset; a reset and a moment of silence
# at the new setting, so that smoothed knobs have arrived; a new instance and the same silence.
Care = Literal["reset", "settle", "reload"]
CARES: tuple[Care, ...] = ("reset", "settle", "reload")
# guitarix smooths by .999 a sample: -60 dB of the old setting after 0.16 s at 44.1 kHz.
SETTLE_SECONDS = 0.25


class PluginError(RuntimeError):
    """A plug-in that is missing, cannot be hosted, crashed, or did not answer in time. The kernel lives on."""


@dataclass(frozen=True)
class PluginParameter:
    """One knob as the host sees it: 0..1, whatever it shows.

    Attributes:
        name: the plug-in's own word, with `_` for spaces, lower-case.
        unit: ``"dB"``, ``"Hz"``, ... or ``""`` where the plug-in names none.
        low: what it shows at 0; the knob's travel between `low` and `high` is the plug-in's affair.
        high: what it shows at 1. A knob that shows words counts its positions, from 0 to `steps` - 1.
        steps: number of positions, 2 for a switch; 0 for a continuous knob. Gradients mean nothing on a stepped one.
        default_unit: where it stands when the plug-in is opened, 0..1.
    """

    name: str
    unit: str
    low: float
    high: float
    steps: int
    default_unit: float


@dataclass(frozen=True)
class PluginInfo:
    """One line of `labkit plugins`.

    Attributes:
        name: what `open_plugin` takes; unique in its kind.
        kind: ``"builtin"``, ``"VST3"``, ``"VST2"`` or ``"LV2"``.
        where: file, URI, or library.
        usable: whether what hosts this kind is here. Whether the plug-in opens is known after opening it.
        why_not: what is missing; empty when usable.
    """

    name: str
    kind: Kind
    where: str
    usable: bool
    why_not: str = ""


@runtime_checkable
class Plugin(Protocol):
    """A plug-in that is open. Also a context manager; pickling it gives its description, opened anew where it lands.

    Attributes:
        name: for messages.
        parameters: the knobs that `params_unit` turns, in its order.
        latency_samples: by how much the plug-in lags its input at 44.1 kHz; `process` takes it out.
    """

    name: str
    parameters: tuple[PluginParameter, ...]
    latency_samples: int

    def process(self, audio: np.ndarray, sample_rate: int, params_unit: np.ndarray) -> np.ndarray:
        """The plug-in applied, from rest.

        Args:
            audio: (channels, samples) float, or (samples,) for mono; finite.
            sample_rate: Hz.
            params_unit: (n_parameters,) in 0..1, in the order of `parameters`.

        Returns:
            (channels, samples) float32, a new array of the same length, aligned with `audio`.

        Raises:
            ValueError: for unusable audio, or settings of another length or outside 0..1.
            PluginError: when the plug-in crashes, hangs or returns NaN.
        """
        ...

    def close(self) -> None:
        """End its process, if it has one. A later call starts a fresh one."""
        ...


class Engine(Protocol):
    """What hosts one plug-in of one kind: made, with the plug-in's place, in the process where the plug-in runs.

    Attributes:
        parameters: every knob that can be automated.
        widths: the numbers of channels that it takes as they are.
        latency_samples: its lag where that is known beforehand; None where it is to be measured.
    """

    parameters: tuple[PluginParameter, ...]
    widths: tuple[int, ...]
    latency_samples: int | None

    def __init__(self, where: str) -> None: ...

    def render(
        self, audio: np.ndarray, sample_rate: int, values: np.ndarray, care: Care
    ) -> tuple[np.ndarray, int]:
        """The sound of one setting, and how many samples of lag the host took out of it by itself.

        Args:
            audio: (channels, samples) float32, with `channels` among `widths`.
            sample_rate: Hz.
            values: (len(parameters),) in 0..1.
            care: how to forget what was played before.

        Returns:
            (channels, samples) float32 of the same shape, not aligned beyond what the host does, and that lag.
        """
        ...


def number(text: str) -> float | None:
    """The number that a knob's display begins with, e.g. 3.5 of ``"3.5 dB"``; None where it shows words."""
    found = re.match(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text)
    return float(found[0]) if found else None
