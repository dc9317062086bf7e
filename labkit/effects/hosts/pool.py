"""Opening a plug-in, and several copies of one that share a batch."""

import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from labkit.effects.hosts.listing import find
from labkit.effects.hosts.plugin import HostedPlugin


def open_plugin(
    name_or_path_or_uri: str,
    *,
    parameters: Sequence[str] | None = None,
    timeout_s: float = 20.0,
    fixed: Mapping[str, float] | None = None,
) -> HostedPlugin:
    """Open a plug-in, measure its lag and whether it repeats itself.

    Args:
        name_or_path_or_uri: a pedal of the lab (``"compressor"``), a name that `labkit plugins` prints
            (``"ZamComp"``), a `.vst3` or VST2 file, or an LV2 URI.
        parameters: names of the knobs to turn, in the order wanted; None takes all but switches that turn the
            plug-in off and displays.
        timeout_s: seconds that opening, and each call, may take; > 0.
        fixed: other knobs' settings, 0..1; what is neither turned nor fixed rests at its default.

    Returns:
        A `Plugin`; close it, or use it in a `with`, when done. It can be pickled: a copy starts its own process.

    Raises:
        ValueError: for an unknown or doubly named knob, a setting outside 0..1, or a time limit that is none.
        PluginError: when there is no such plug-in, it crashes, hangs or is refused by its host, or the library that
            hosts this kind is not installed.
    """
    return HostedPlugin(
        find(name_or_path_or_uri), parameters=parameters, timeout_s=timeout_s, fixed=fixed
    )


class PluginPool:
    """Several copies of a plug-in that render a batch in parallel, each in its own process. A context manager.

    Args:
        plugin: an open plug-in (it stays the caller's), or what `open_plugin` takes.
        workers: how many copies; >= 1.

    Raises:
        ValueError: for fewer than one worker.
        PluginError: as `open_plugin`.
    """

    def __init__(self, plugin: HostedPlugin | str, *, workers: int = 2) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        first = open_plugin(plugin) if isinstance(plugin, str) else plugin.copy()
        self._plugins = [first, *(first.copy() for _ in range(workers - 1))]
        self.parameters = first.parameters
        self._threads = ThreadPoolExecutor(workers)

    def map(
        self, audios: Sequence[np.ndarray], sample_rate: int, params_unit: np.ndarray
    ) -> list[np.ndarray]:
        """Each sound through the plug-in at its own setting.

        Args:
            audios: n times (channels, samples) float; lengths may differ.
            sample_rate: Hz, of all.
            params_unit: (n, n_parameters) in 0..1.

        Returns:
            n times (channels, samples) float32, as `Plugin.process` gives them, in order.

        Raises:
            ValueError: when the numbers of sounds and settings differ, and as `Plugin.process`.
            PluginError: of the first item that failed; the others are played to the end.
        """
        params_unit = np.asarray(params_unit)
        if params_unit.ndim != 2 or len(params_unit) != len(audios):
            raise ValueError(
                f"params_unit must have shape ({len(audios)}, n_parameters), got {params_unit.shape}"
            )
        free: queue.SimpleQueue[HostedPlugin] = queue.SimpleQueue()
        for plugin in self._plugins:
            free.put(plugin)

        def play(audio: np.ndarray, setting: np.ndarray) -> np.ndarray:
            plugin = free.get()
            try:
                return plugin.process(audio, sample_rate, setting)
            finally:
                free.put(plugin)

        futures = [
            self._threads.submit(play, *item) for item in zip(audios, params_unit, strict=True)
        ]
        return [future.result() for future in futures]

    def close(self) -> None:
        """End every copy's process."""
        for plugin in self._plugins:
            plugin.close()
        self._threads.shutdown()

    def __enter__(self) -> "PluginPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
