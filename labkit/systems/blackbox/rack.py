"""A task's chain of real plug-ins as one box: a batch in, one row of knobs for each item, a batch out."""

import itertools
from collections.abc import Sequence

import numpy as np

from labkit.effects.hosts import PluginPool, open_plugin
from labkit.systems.blackbox.config import Unit


class Rack:
    """Plug-ins in a row, each in as many copies as share a batch. A context manager.

    Args:
        units: the chain, first to last.
        sample_rate: Hz.
        workers: copies of each plug-in; >= 1.

    Raises:
        PluginError: when a plug-in is not installed or cannot be hosted here.
    """

    def __init__(self, units: Sequence[Unit], sample_rate: int, *, workers: int = 1) -> None:
        self.units, self.sample_rate = tuple(units), sample_rate
        self._pools: list[PluginPool] = []
        try:
            for unit in units:
                self._pools.append(_pool(unit, workers))
        except BaseException:
            self.close()
            raise
        ends = np.cumsum([0, *(len(unit.knobs) for unit in units)]).tolist()
        self._columns = [slice(*pair) for pair in itertools.pairwise(ends)]
        self._tied = [_tied(unit) for unit in units]
        self.n_knobs = ends[-1]

    def columns(self, n_units: int) -> int:
        """How many knobs the first `n_units` plug-ins have."""
        return self._columns[n_units - 1].stop

    def render(
        self, audio: Sequence[np.ndarray], params_unit: np.ndarray, *, n_units: int | None = None
    ) -> np.ndarray:
        """The chain applied, every plug-in from rest.

        Args:
            audio: n times (channels, samples), all of one shape.
            params_unit: (n, knobs of the units heard) in 0..1.
            n_units: play only so many plug-ins, from the first; all by default.

        Returns:
            (n, channels, samples) float32.

        Raises:
            ValueError: for settings of another shape or outside 0..1.
            PluginError: when a plug-in crashes, hangs or returns NaN.
        """
        n_units = len(self.units) if n_units is None else n_units
        params_unit = np.asarray(params_unit, dtype=np.float64)
        if params_unit.shape != (len(audio), self.columns(n_units)):
            wanted = (len(audio), self.columns(n_units))
            raise ValueError(f"params_unit must have shape {wanted}, got {params_unit.shape}")
        for pool, columns, tied in zip(
            self._pools[:n_units], self._columns, self._tied, strict=False
        ):
            audio = pool.map(list(audio), self.sample_rate, params_unit[:, columns][:, tied])
        return np.stack(audio)

    def close(self) -> None:
        """End every plug-in's process."""
        for pool in self._pools:
            pool.close()

    def __enter__(self) -> "Rack":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pool(unit: Unit, workers: int) -> PluginPool:
    sliders = [slider for knob in unit.knobs for slider in knob.sliders]
    with open_plugin(unit.plugin, parameters=sliders, fixed=unit.fixed) as plugin:
        return PluginPool(plugin, workers=workers)


def _tied(unit: Unit) -> list[int]:
    """For every slider of the plug-in, which knob turns it."""
    return [k for k, knob in enumerate(unit.knobs) for _ in knob.sliders]
