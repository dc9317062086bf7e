"""Echoes: delay and reverb, linear and time-invariant with a long memory."""

from collections.abc import Mapping

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace

DELAY = Effect(
    name="delay",
    space=ParameterSpace(
        (
            Parameter("delay_seconds", "s", 0.12, 0.6, "log"),
            Parameter("feedback", "", 0.1, 0.6),
            Parameter("mix", "", 0.2, 0.5),
        )
    ),
    plugin="Delay",
    linear=True,
    time_invariant=True,
    memory_ms=float("inf"),
    neutral={"delay_seconds": 0.3, "feedback": 0.0, "mix": 0.0},
)


def _reverb_arguments(params: Mapping[str, float]) -> dict[str, float]:
    # pedalboard's reverb multiplies dry_level by 2 and wet_level by 3: halving both keeps mix = 0 neutral.
    mix = params["mix"]
    return {
        "room_size": params["room_size"],
        "damping": params["damping"],
        "wet_level": 0.5 * mix,
        "dry_level": 0.5 * (1 - mix),
        "width": 1.0,
    }


REVERB = Effect(
    name="reverb",
    space=ParameterSpace(
        (
            Parameter("room_size", "", 0.2, 0.95),
            Parameter("damping", "", 0.1, 0.9),
            Parameter("mix", "", 0.15, 0.6),
        )
    ),
    plugin="Reverb",
    linear=True,
    time_invariant=True,
    memory_ms=float("inf"),
    links_channels=True,
    neutral={"room_size": 0.5, "damping": 0.5, "mix": 0.0},
    arguments=_reverb_arguments,
)
