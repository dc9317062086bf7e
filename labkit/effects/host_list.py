"""Which plug-ins are installed, and which one a name means."""

from dataclasses import dataclass

from labkit.effects.host_face import Kind, PluginError, PluginInfo
from labkit.effects.registry import EFFECTS

_ENGINES: dict[Kind, str] = {"builtin": "labkit.effects.host_builtin:BuiltinEngine"}


@dataclass(frozen=True)
class Source:
    """Where a plug-in comes from.

    Attributes:
        name: for messages.
        kind: its format.
        where: what its engine opens: a pedal's name, a file, a URI.
        engine: ``"module:Class"`` of the engine.
        foreign: whether it runs in a process of its own.
    """

    name: str
    kind: Kind
    where: str
    engine: str
    foreign: bool = True


def installed_plugins() -> list[PluginInfo]:
    """Every plug-in that `open_plugin` can be asked for: built-ins first, then by kind and name."""
    return [PluginInfo(name, "builtin", f"pedalboard.{record.plugin}", True) for name, record in EFFECTS.items()]


def find(name_or_path_or_uri: str) -> Source:
    """What a name, file or URI stands for.

    Raises:
        PluginError: if there is no such plug-in.
    """
    if name_or_path_or_uri in EFFECTS:
        return Source(name_or_path_or_uri, "builtin", name_or_path_or_uri, _ENGINES["builtin"], foreign=False)
    raise PluginError(f"no plug-in {name_or_path_or_uri!r}: `labkit plugins` lists what is installed")
