"""Which plug-ins are installed, and which one a name means."""

import importlib.util
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.effects.hosts.face import Kind, PluginError, PluginInfo
from labkit.effects.hosts.lv2 import bundles
from labkit.effects.registry import EFFECTS
from labkit.signal.paths import plugin_folders

_VST3 = "labkit.effects.hosts.pedalboard:Vst3Engine"
_DAWDREAMER = "labkit.effects.hosts.dawdreamer:DawdreamerEngine"
_BUILTIN = "labkit.effects.hosts.builtin:BuiltinEngine"
_ENGINES: dict[Kind, str] = {
    "builtin": _BUILTIN,
    "VST3": _VST3,
    "LV2": _DAWDREAMER,
    "VST2": _DAWDREAMER,
}
_LIBRARIES: dict[Kind, str] = {
    "builtin": "pedalboard",
    "VST3": "pedalboard",
    "LV2": "dawdreamer",
    "VST2": "dawdreamer",
}
_SUFFIXES: dict[str, Kind] = {".vst3": "VST3", ".so": "VST2", ".dll": "VST2", ".vst": "VST2"}


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
    """Every plug-in that `open_plugin` can be asked for; nothing is opened.

    Returns:
        The lab's own pedals, then VST3, LV2 and VST2, each by name.
    """
    found: list[tuple[str, Kind, str]] = [
        (n, "builtin", f"pedalboard.{e.plugin}") for n, e in EFFECTS.items()
    ]
    found += [(path.stem, "VST3", str(path)) for path in _files("VST3", (".vst3",))]
    found += [(name, "LV2", uri) for name, uri in _lv2_names(bundles())]
    found += [(path.stem, "VST2", str(path)) for path in _files("VST2", (".so", ".dll", ".vst"))]
    faults = {kind: _fault(kind) for kind in _ENGINES}
    return [
        PluginInfo(name, kind, where, not faults[kind], faults[kind]) for name, kind, where in found
    ]


def find(name_or_path_or_uri: str) -> Source:
    """What a name, file or URI stands for.

    Args:
        name_or_path_or_uri: as `open_plugin`. A name in several kinds means the pedal, then the VST3, LV2, VST2.

    Returns:
        Its source.

    Raises:
        PluginError: if there is no such plug-in, or its kind cannot be hosted here.
    """
    wanted = name_or_path_or_uri
    kind = _SUFFIXES.get(Path(wanted).suffix.lower())
    if kind and Path(wanted).exists():
        info = PluginInfo(Path(wanted).stem, kind, str(Path(wanted).resolve()), True)
    else:
        every = installed_plugins()
        named = [
            info for info in every if wanted.lower() == info.name.lower() or wanted == info.where
        ]
        if not named:
            raise PluginError(
                f"no plug-in {wanted!r} here: `labkit plugins` lists what is installed"
            )
        info = named[0]
    fault = _fault(info.kind)
    if fault:
        raise PluginError(f"{info.kind} plug-in {info.name} cannot be hosted: {fault}")
    builtin = info.kind == "builtin"
    return Source(
        info.name, info.kind, info.name if builtin else info.where, _ENGINES[info.kind], not builtin
    )


def _fault(kind: Kind) -> str:
    library = _LIBRARIES[kind]
    return (
        ""
        if importlib.util.find_spec(library)
        else f"{library} is not installed: pip install {library}"
    )


def _files(kind: Kind, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder in plugin_folders(kind):
        # Makers may have a folder of their own; what lies deeper is inside a bundle.
        yield from sorted(
            p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.suffix in suffixes
        )


def _lv2_names(uris: Iterable[str]) -> list[tuple[str, str]]:
    """The last word of each URI, without its fragment unless two would be alike."""
    words = {uri: uri.replace(":", "/").rsplit("/", 1)[-1].partition("#") for uri in uris}
    count = Counter(word.lower() for word, _, _ in words.values())
    names = (
        (word if count[word.lower()] == 1 else word + mark + part, uri)
        for uri, (word, mark, part) in words.items()
    )
    return sorted(((name.strip("_"), uri) for name, uri in names), key=lambda pair: pair[0].lower())
