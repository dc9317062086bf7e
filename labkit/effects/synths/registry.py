"""The synthesizers, each in its own process; a parameter set names the one that plays it."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple, Self

import numpy as np

from labkit.effects.hosts.worker import Worker
from labkit.effects.synths import surge, vital
from labkit.effects.synths.spec import NOTE, SynthSpec, Values
from labkit.signal.optional import need

_TIMEOUT_S = 120.0  # of the start and of each call


def _need_vital() -> None:
    if find_spec("vita") is None:  # not imported: it may change this process's float mode
        need("vita")


class Synthesizer(NamedTuple):
    """A synthesizer that can be matched."""

    title: str
    suffix: str  # of its preset files
    sets: dict[str, SynthSpec]
    # the class that plays it in this process, built from the name of a set
    engine: Callable[[str], Any]
    # raises ImportError or PluginError, with advice, if it is not installed
    needed: Callable[[], object]


SYNTHESIZERS = (
    Synthesizer("Vital", ".vital", vital.SETS, vital.VitalEngine, _need_vital),
    Synthesizer("Surge XT", ".vstpreset", surge.SETS, surge.SurgeEngine, surge.find_surge),
)
SETS = {name: spec for synthesizer in SYNTHESIZERS for name, spec in synthesizer.sets.items()}


def synthesizer_of(parameters: str) -> Synthesizer:
    """The synthesizer of a parameter set; ValueError for an unknown name."""
    for synthesizer in SYNTHESIZERS:
        if parameters in synthesizer.sets:
            return synthesizer
    raise ValueError(f"parameters must be one of {', '.join(SETS)}, got {parameters!r}")


class Synth:
    """A synthesizer in a process of its own, which may crash or hang. A context manager.

    Raises ValueError if `spec` is not one of `SETS`; ImportError or PluginError if the synthesizer
    is not installed.
    """

    def __init__(self, spec: SynthSpec) -> None:
        synthesizer = synthesizer_of(spec.name)
        synthesizer.needed()
        self.spec = spec
        engine = synthesizer.engine
        self._worker = Worker(f"{engine.__module__}:{engine.__name__}", spec.name, _TIMEOUT_S)

    def render(
        self,
        values: Values,
        *,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,
        **setting: float,
    ) -> np.ndarray:
        """The note of a patch: (2, samples) float32 at 44.1 kHz.

        Args:
            values: a patch of `spec`.
            phases: (3,) in 0..1, where Vital's oscillators start; 0 when None. Surge ignores them.
            setting: of the whole patch: `volume_db`, relative to the synthesizer's own, -48 to 12,
                and `tuning` in semitones, -36 to 36; both are 0 by default.

        Raises ValueError if `values` is no patch of the set, or `seconds` is not positive;
        PluginError if the synthesizer crashed or hung.
        """
        self._check(values, seconds)
        return self._worker.call("render", dict(values), seconds, phases, setting)

    def first_note(self, values: Values, *, seconds: float = 2.0, **setting: float) -> np.ndarray:
        """The note as a new instance plays it from the preset; `setting` and errors as `render`."""
        self._check(values, seconds)
        return self._worker.call("first_note", dict(values), seconds, setting)

    def preset(self, values: Values, *, name: str = "labkit", **setting: float) -> str | bytes:
        """The content of a preset file that the synthesizer opens, with volume_db and tuning."""
        self._check(values, 1.0)
        return self._worker.call("preset", dict(values), name, setting)

    def play(self, preset: str, values: Values, *, seconds: float = 2.0) -> np.ndarray:
        """Anybody's preset of Vital in a new instance, with key and length from `values`."""
        note = {name: float(values[name]) for name in NOTE if name in values}
        return self._worker.call("play", preset, note, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def _check(self, values: Values, seconds: float) -> None:
        self.spec.check(values)
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds}")
