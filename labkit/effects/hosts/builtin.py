"""The lab's own pedals as hosted plug-ins: safe in this process, pedalboard plays them."""

import numpy as np

from labkit.effects.effect import Effect
from labkit.effects.hosts.face import Care, PluginParameter
from labkit.effects.registry import effect


def as_plugin_parameters(record: Effect) -> tuple[PluginParameter, ...]:
    """The knobs of a pedal in the host's words; they rest in the middle of their travel."""
    return tuple(
        PluginParameter(p.name, p.unit, p.low, p.high, 0, 0.5) for p in record.space.parameters
    )


class BuiltinEngine:
    """Hosts a pedal of the registry: every render builds it afresh.

    Args:
        where: its name.
    """

    widths = (1, 2)

    def __init__(self, where: str) -> None:
        self._effect = effect(where)
        self.parameters = as_plugin_parameters(self._effect)
        self.latency_samples = self._effect.latency_samples

    def render(
        self,
        audio: np.ndarray,
        sample_rate: int,
        values: np.ndarray,
        care: Care,  # noqa: ARG002 - a new pedal has nothing to forget
    ) -> tuple[np.ndarray, int]:
        """As `Engine.render`."""
        return self._effect.render(audio, sample_rate, **self._effect.space.from_unit(values)), 0
