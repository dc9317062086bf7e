"""Real plug-ins behind one face: pedalboard's pedals, VST3 files, LV2 by URI; knobs in 0..1, lag taken out, from rest.

Foreign plug-ins run in a process of their own with a time limit. One that crashes, hangs or is missing ends in a
`PluginError`, and the next call starts a fresh process.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.effects.hosts.face import Plugin, PluginError, PluginInfo, PluginParameter
    from labkit.effects.hosts.listing import Source, installed_plugins
    from labkit.effects.hosts.plugin import HostedPlugin
    from labkit.effects.hosts.pool import PluginPool, open_plugin

__all__ = [
    "HostedPlugin",
    "Plugin",
    "PluginError",
    "PluginInfo",
    "PluginParameter",
    "PluginPool",
    "Source",
    "installed_plugins",
    "open_plugin",
]

_HOMES = {"face": __all__[1:5], "listing": ["Source", "installed_plugins"], "plugin": __all__[:1]}


def __getattr__(name: str) -> Any:
    # Nothing is imported before it is asked for: a worker's process, which finds its engine in this package, must
    # start in a fraction of the time that torch takes.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "pool")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
