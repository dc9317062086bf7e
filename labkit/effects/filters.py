"""Short linear filters: the three EQ bands, highpass and lowpass (both of first order: 6 dB per octave).

The ranges reach into the band where a guitar has its energy: a treble shelf that starts above it changes nothing
that a compressor or a gate could notice, and would pass for a pedal whose place in the chain cannot be heard.
"""

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace


def _band(
    name: str, plugin: str, low_hz: float, high_hz: float, q: tuple[float, float], memory_ms: float
) -> Effect:
    return Effect(
        name=name,
        space=ParameterSpace(
            (
                Parameter("cutoff_frequency_hz", "Hz", low_hz, high_hz, "log"),
                Parameter("gain_db", "dB", -18.0, 18.0),
                Parameter("q", "", *q, "log"),
            )
        ),
        plugin=plugin,
        linear=True,
        time_invariant=True,
        memory_ms=memory_ms,
        neutral={"cutoff_frequency_hz": (low_hz * high_hz) ** 0.5, "gain_db": 0.0, "q": 0.707},
    )


def _pass(name: str, plugin: str, low_hz: float, high_hz: float, memory_ms: float) -> Effect:
    return Effect(
        name=name,
        space=ParameterSpace((Parameter("cutoff_frequency_hz", "Hz", low_hz, high_hz, "log"),)),
        plugin=plugin,
        linear=True,
        time_invariant=True,
        memory_ms=memory_ms,
    )


LOW_SHELF = _band("low_shelf", "LowShelfFilter", 100.0, 600.0, (0.5, 1.0), memory_ms=20.0)
PEAK = _band("peak", "PeakFilter", 300.0, 4000.0, (0.5, 4.0), memory_ms=40.0)
HIGH_SHELF = _band("high_shelf", "HighShelfFilter", 300.0, 3000.0, (0.5, 1.0), memory_ms=10.0)
HIGHPASS = _pass("highpass", "HighpassFilter", 100.0, 1500.0, memory_ms=5.0)
LOWPASS = _pass("lowpass", "LowpassFilter", 250.0, 3000.0, memory_ms=5.0)
