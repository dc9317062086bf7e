"""Memoryless curves: distortion, clipping, bit reduction."""

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace

DISTORTION = Effect(
    name="distortion",
    space=ParameterSpace((Parameter("drive_db", "dB", 8.0, 30.0),)),
    plugin="Distortion",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
)

CLIPPING = Effect(
    name="clipping",
    space=ParameterSpace((Parameter("threshold_db", "dB", -30.0, -12.0),)),
    plugin="Clipping",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
    neutral={"threshold_db": 0.0},
)

BITCRUSH = Effect(
    name="bitcrush",
    space=ParameterSpace((Parameter("bit_depth", "bit", 3.0, 8.0),)),
    plugin="Bitcrush",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
)
