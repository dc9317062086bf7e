"""Plug-ins of every format behind one class: pedalboard's pedals, VST3 and VST2 files, LV2 by URI.

Their parameters lie in 0..1, their latency is removed, and every call starts from rest. A foreign
plug-in runs in a process of its own with a time limit: one that crashes, hangs or is missing ends
in a `PluginError`, and the next call starts a fresh process.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.effects.hosts.engines import PluginParameter as PluginParameter
    from labkit.effects.hosts.listing import PluginInfo as PluginInfo
    from labkit.effects.hosts.listing import installed_plugins as installed_plugins
    from labkit.effects.hosts.plugin import HostedPlugin as HostedPlugin
    from labkit.effects.hosts.plugin import Rack as Rack
    from labkit.effects.hosts.plugin import Unit as Unit
    from labkit.effects.hosts.plugin import open_plugin as open_plugin
    from labkit.effects.hosts.worker import PluginError as PluginError

_MODULES = {
    "HostedPlugin": "plugin",
    "PluginError": "worker",
    "PluginInfo": "listing",
    "PluginParameter": "engines",
    "Rack": "plugin",
    "Unit": "plugin",
    "installed_plugins": "listing",
    "open_plugin": "plugin",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: a worker's process must start without torch.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
