"""Plug-ins of every format behind one class: pedalboard's pedals, VST3 and VST2 files, LV2 by URI.

Their parameters lie in 0..1, their latency is removed, and every call starts from rest. A foreign
plug-in runs in a process of its own with a time limit: one that crashes, hangs or is missing ends
in a `PluginError`, and the next call starts a fresh process.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.effects.hosts.engines import PluginParameter
    from labkit.effects.hosts.listing import PluginInfo, installed_plugins
    from labkit.effects.hosts.plugin import HostedPlugin, Rack, Unit, open_plugin
    from labkit.effects.hosts.worker import PluginError

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
__all__ = [
    "HostedPlugin",
    "PluginError",
    "PluginInfo",
    "PluginParameter",
    "Rack",
    "Unit",
    "installed_plugins",
    "open_plugin",
]


def __getattr__(name: str) -> Any:
    # Imported when first used: a worker's process must start without torch.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
