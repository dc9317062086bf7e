"""Which synthesizers there are: a parameter set says which one plays it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from labkit.effects.synths import surge, vital
from labkit.effects.synths.spec import SynthSpec
from labkit.signal.optional import need

# A synthesizer that is open in a process of its own, and in this one.
Synth = vital.Vital | surge.Surge
Engine = vital.VitalEngine | surge.SurgeEngine


@dataclass(frozen=True)
class Synthesizer:
    """A synthesizer that can be matched.

    Attributes:
        title: what people call it.
        suffix: of its preset files.
        sets: its parameter sets.
        adapter: the class that plays it in a process of its own.
        engine: the class that plays it in this process.
        needed: raises where it is not installed, naming what to do.
    """

    title: str
    suffix: str
    sets: Mapping[str, SynthSpec]
    adapter: type
    engine: type
    needed: Callable[[], object]


SYNTHESIZERS = (
    Synthesizer("Vital", ".vital", vital.SETS, vital.Vital, vital.VitalEngine, partial(need, "vita")),
    Synthesizer("Surge XT", ".vstpreset", surge.SETS, surge.Surge, surge.SurgeEngine, surge.find_surge),
)
SETS = {name: spec for synthesizer in SYNTHESIZERS for name, spec in synthesizer.sets.items()}


def synthesizer_of(parameters: str) -> Synthesizer:
    """The synthesizer that plays a parameter set, by the set's name. Raises ValueError for another name."""
    for synthesizer in SYNTHESIZERS:
        if parameters in synthesizer.sets:
            return synthesizer
    raise ValueError(f"parameters must be one of {', '.join(SETS)}, got {parameters!r}")


def open_synth(spec: SynthSpec) -> Synth:
    """An adapter for a set; close it, or use it in a `with`. Errors as that of the synthesizer's class."""
    return synthesizer_of(spec.name).adapter(spec)
