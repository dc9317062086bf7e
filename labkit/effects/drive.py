"""Memoryless curves: distortion, clipping, bit reduction.

Ranges are for a dry sound that enters at -20 dBFS RMS: the clipper's ceiling lies below its peaks, and the crusher's
steps (full scale / 2 ** bit_depth) are coarse enough to be heard.
"""

import math

from labkit.effects.effect import Effect, LevelKnob
from labkit.effects.parameters import Parameter, ParameterSpace

DISTORTION = Effect(
    name="distortion",
    space=ParameterSpace((Parameter("drive_db", "dB", 8.0, 30.0),)),
    plugin="Distortion",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
    level_knob=LevelKnob("drive_db", 1.0, absorbs=True),
)

CLIPPING = Effect(
    name="clipping",
    space=ParameterSpace((Parameter("threshold_db", "dB", -36.0, -15.0),)),
    plugin="Clipping",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
    level_knob=LevelKnob("threshold_db", -1.0),
    neutral={"threshold_db": 0.0},
)

BITCRUSH = Effect(
    name="bitcrush",
    space=ParameterSpace((Parameter("bit_depth", "bit", 3.0, 5.0),)),
    plugin="Bitcrush",
    linear=False,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
    level_knob=LevelKnob("bit_depth", 1 / (20 * math.log10(2))),
)
