"""Linear effects whose filter moves: chorus and phaser."""

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace

CHORUS = Effect(
    name="chorus",
    space=ParameterSpace(
        (
            Parameter("rate_hz", "Hz", 0.3, 4.0, "log"),
            Parameter("depth", "", 0.05, 0.4),
            Parameter("centre_delay_ms", "ms", 5.0, 25.0),
            Parameter("feedback", "", 0.0, 0.4),
            Parameter("mix", "", 0.3, 0.6),
        )
    ),
    plugin="Chorus",
    linear=True,
    time_invariant=False,
    memory_ms=250.0,
    neutral={"rate_hz": 1.0, "depth": 0.25, "centre_delay_ms": 7.0, "feedback": 0.0, "mix": 0.0},
)

PHASER = Effect(
    name="phaser",
    space=ParameterSpace(
        (
            Parameter("rate_hz", "Hz", 0.2, 4.0, "log"),
            Parameter("depth", "", 0.3, 1.0),
            Parameter("centre_frequency_hz", "Hz", 300.0, 2000.0, "log"),
            Parameter("feedback", "", 0.0, 0.6),
            Parameter("mix", "", 0.35, 0.65),
        )
    ),
    plugin="Phaser",
    linear=True,
    time_invariant=False,
    memory_ms=150.0,
    neutral={
        "rate_hz": 1.0,
        "depth": 0.5,
        "centre_frequency_hz": 1300.0,
        "feedback": 0.0,
        "mix": 0.0,
    },
)
