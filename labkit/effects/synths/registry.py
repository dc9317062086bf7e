"""Which synthesizers there are: a parameter set says which one plays it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from labkit.effects.synths import surge, vital, voice
from labkit.effects.synths.spec import SynthSpec
from labkit.signal.optional import need

# A synthesizer that is open for everybody, and one that plays in the process that asks.
Synth = vital.Vital | surge.Surge | voice.Voice
Engine = vital.VitalEngine | surge.SurgeEngine | voice.Voice


@dataclass(frozen=True)
class Synthesizer:
    """A synthesizer that can be matched.

    Attributes:
        title: what people call it.
        suffix: of its preset files.
        sets: its parameter sets.
        adapter: what plays it in a process of its own, if it is not ours, for a set.
        engine: what plays it in this process, for a set's name.
        needed: raises where it is not installed, naming what to do.
    """

    title: str
    suffix: str
    sets: Mapping[str, SynthSpec]
    adapter: Callable[..., Synth]
    engine: Callable[..., Engine]
    needed: Callable[[], object]


SYNTHESIZERS = (
    Synthesizer(
        "Vital", ".vital", vital.SETS, vital.Vital, vital.VitalEngine, partial(need, "vita")
    ),
    Synthesizer(
        "Surge XT", ".vstpreset", surge.SETS, surge.Surge, surge.SurgeEngine, surge.find_surge
    ),
    Synthesizer(
        "our own voice",
        ".voice",
        voice.SETS,
        voice.Voice,
        lambda name: voice.Voice(voice.SETS[name]),
        lambda: None,
    ),
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
