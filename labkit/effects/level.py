"""Gain: the effect that an ear, once levels are matched, cannot name."""

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace

GAIN = Effect(
    name="gain",
    space=ParameterSpace((Parameter("gain_db", "dB", -18.0, 18.0, identifiable=False),)),
    plugin="Gain",
    linear=True,
    time_invariant=True,
    memory_ms=0.0,
    stateful=False,
    level_only=True,
    neutral={"gain_db": 0.0},
)
