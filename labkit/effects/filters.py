"""Short linear filters: the three EQ bands, highpass and lowpass."""

from labkit.effects.effect import SHORT_MEMORY_MS, Effect
from labkit.effects.parameters import Parameter, ParameterSpace


def _band(name: str, plugin: str, low_hz: float, high_hz: float, q: tuple[float, float]) -> Effect:
    return Effect(
        name=name,
        space=ParameterSpace(
            (
                Parameter("cutoff_frequency_hz", "Hz", low_hz, high_hz, "log"),
                Parameter("gain_db", "dB", -15.0, 15.0),
                Parameter("q", "", *q, "log"),
            )
        ),
        plugin=plugin,
        linear=True,
        time_invariant=True,
        memory_ms=SHORT_MEMORY_MS,
        neutral={"cutoff_frequency_hz": (low_hz * high_hz) ** 0.5, "gain_db": 0.0, "q": 0.707},
    )


def _pass(name: str, plugin: str, low_hz: float, high_hz: float) -> Effect:
    return Effect(
        name=name,
        space=ParameterSpace((Parameter("cutoff_frequency_hz", "Hz", low_hz, high_hz, "log"),)),
        plugin=plugin,
        linear=True,
        time_invariant=True,
        memory_ms=SHORT_MEMORY_MS,
    )


LOW_SHELF = _band("low_shelf", "LowShelfFilter", 80.0, 400.0, (0.5, 1.0))
PEAK = _band("peak", "PeakFilter", 300.0, 4000.0, (0.5, 4.0))
HIGH_SHELF = _band("high_shelf", "HighShelfFilter", 1500.0, 8000.0, (0.5, 1.0))
HIGHPASS = _pass("highpass", "HighpassFilter", 60.0, 800.0)
LOWPASS = _pass("lowpass", "LowpassFilter", 1000.0, 8000.0)
