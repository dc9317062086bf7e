"""Effects that follow the level: compressor, limiter, noise gate.

Ranges are for a dry sound that enters at -20 dBFS RMS. The gate's thresholds reach into the playing, as a rhythmic
gate's do: below it a gate only waits for pauses, and most riffs have none.
"""

from labkit.effects.effect import Effect, LevelKnob
from labkit.effects.parameters import Parameter, ParameterSpace

COMPRESSOR = Effect(
    name="compressor",
    space=ParameterSpace(
        (
            Parameter("threshold_db", "dB", -50.0, -20.0),
            Parameter("ratio", "", 2.0, 12.0, "log"),
            Parameter("attack_ms", "ms", 1.0, 80.0, "log"),
            Parameter("release_ms", "ms", 40.0, 500.0, "log"),
        )
    ),
    plugin="Compressor",
    linear=False,
    time_invariant=True,
    memory_ms=float("inf"),
    level_knob=LevelKnob("threshold_db", -1.0),
    neutral={"threshold_db": -30.0, "ratio": 1.0, "attack_ms": 10.0, "release_ms": 100.0},
)

LIMITER = Effect(
    name="limiter",
    space=ParameterSpace(
        (
            Parameter("threshold_db", "dB", -30.0, -12.0),
            Parameter("release_ms", "ms", 20.0, 400.0, "log"),
        )
    ),
    plugin="Limiter",
    linear=False,
    time_invariant=True,
    memory_ms=float("inf"),
)

NOISE_GATE = Effect(
    name="noise_gate",
    space=ParameterSpace(
        (
            Parameter("threshold_db", "dB", -25.0, -8.0),
            Parameter("ratio", "", 4.0, 20.0, "log"),
            Parameter("attack_ms", "ms", 1.0, 30.0, "log"),
            Parameter("release_ms", "ms", 20.0, 300.0, "log"),
        )
    ),
    plugin="NoiseGate",
    linear=False,
    time_invariant=True,
    memory_ms=float("inf"),
    level_knob=LevelKnob("threshold_db", -1.0),
    neutral={"threshold_db": -100.0, "ratio": 1.0, "attack_ms": 1.0, "release_ms": 100.0},
)
