"""Which plug-ins are installed, and which one a name means; none is opened."""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labkit.effects.hosts.worker import PluginError
from labkit.signal.paths import plugin_folders

Kind = Literal["builtin", "VST3", "VST2", "LV2"]
# Kind -> the library that hosts it, and the engine that uses it.
_HOSTS: dict[Kind, tuple[str, str]] = {
    "builtin": ("pedalboard", "labkit.effects.hosts.engines:BuiltinEngine"),
    "VST3": ("pedalboard", "labkit.effects.hosts.engines:Vst3Engine"),
    "LV2": ("dawdreamer", "labkit.effects.hosts.engines:DawdreamerEngine"),
    "VST2": ("dawdreamer", "labkit.effects.hosts.engines:DawdreamerEngine"),
}
_SUFFIXES: dict[str, Kind] = {".vst3": "VST3", ".so": "VST2", ".dll": "VST2", ".vst": "VST2"}
_STAND_IN = "built-in for "
# Turtle allows more than these patterns; bundles are written with these.
_LV2_PLUGIN = re.compile(r"^\s*<([^<>\s]+)>\s+a\s+[^;.\[\]]*\blv2:Plugin\b", re.MULTILINE)
_LV2_COMMENT = re.compile(r"(?m)^\s*#.*$")


@dataclass(frozen=True)
class PluginInfo:
    """One plug-in, as `labkit plugins` lists it."""

    name: str
    kind: Kind
    where: str  # what its engine opens: a pedal's name, a file, a URI
    engine: str = ""  # "module:Class"; the kind's own when empty

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", self.engine or _HOSTS[self.kind][1])

    @property
    def why_not(self) -> str:
        """What is missing to host its kind; empty when nothing is."""
        library = _HOSTS[self.kind][0]
        if importlib.util.find_spec(library):
            return ""
        return f"{library} is not installed: pip install {library}"


def installed_plugins() -> list[PluginInfo]:
    """The lab's own pedals, then VST3, LV2 and VST2, each by name."""
    from labkit.effects.registry import EFFECTS, HOSTED  # not at import: a worker needs no pedals

    found = [PluginInfo(name, "builtin", name) for name in (*EFFECTS, *HOSTED)]
    found += [PluginInfo(path.stem, "VST3", str(path)) for path in _files("VST3")]
    lv2 = [PluginInfo(re.split("[/:]", uri)[-1], "LV2", uri) for uri in _lv2_uris()]
    found += sorted(lv2, key=lambda info: info.name.lower())
    found += [PluginInfo(path.stem, "VST2", str(path)) for path in _files("VST2")]
    return found


def stand_in_for(plugin: str) -> str:
    """The name to open instead of a plug-in that cannot be hosted here; empty if it can.

    Raises PluginError if there is no substitute.
    """
    from labkit.effects.registry import STAND_INS

    try:
        find(plugin)
    except PluginError:
        if plugin not in STAND_INS:
            raise
        return f"{_STAND_IN}{plugin}"
    return ""


def find(wanted: str) -> PluginInfo:
    """The plug-in of a name, file or URI; if several match: the pedal, then VST3, LV2, VST2.

    A name that `stand_in_for` gave means pedalboard's effects with the plug-in's knobs. Raises
    PluginError if there is no such plug-in, or its kind cannot be hosted here.
    """
    if wanted.startswith(_STAND_IN):
        return PluginInfo(wanted, "builtin", wanted.removeprefix(_STAND_IN))
    path = Path(wanted)
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind and path.exists():
        info = PluginInfo(path.stem, kind, str(path.resolve()))
    else:
        every = installed_plugins()
        named = [p for p in every if wanted.lower() == p.name.lower() or wanted == p.where]
        if not named:
            raise PluginError(
                f"no plug-in {wanted!r} here: `labkit plugins` lists what is installed"
            )
        info = named[0]
    if info.why_not:
        raise PluginError(f"{info.kind} plug-in {info.name} cannot be hosted: {info.why_not}")
    return info


def _files(kind: Kind) -> Iterator[Path]:
    for folder in plugin_folders(kind):
        # Makers may have a folder of their own; what lies deeper is inside a bundle.
        paths = [*folder.glob("*"), *folder.glob("*/*")]
        yield from sorted(path for path in paths if _SUFFIXES.get(path.suffix) == kind)


def _lv2_uris() -> Iterator[str]:
    manifests = [path for f in plugin_folders("LV2") for path in f.glob("*.lv2/manifest.ttl")]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in manifests]
    found = [uri for text in texts for uri in _LV2_PLUGIN.findall(_LV2_COMMENT.sub("", text))]
    yield from dict.fromkeys(found)
