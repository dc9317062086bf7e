"""Which plug-ins are installed, and which one a name means. Nothing is opened."""

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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
# Turtle allows more than these patterns; bundles are written with these.
_LV2_PLUGIN = re.compile(r"^\s*<([^<>\s]+)>\s+a\s+[^;.\[\]]*\blv2:Plugin\b", re.MULTILINE)
_LV2_COMMENT = re.compile(r"(?m)^\s*#.*$")
_LV2_NAME = re.compile(r'lv2:name\s+"([^"]*)"')
_LV2_UNIT = re.compile(r"units?:unit\s+units?:(\w+)")
_UNITS = {"db": "dB", "hz": "Hz", "khz": "kHz", "pc": "%", "min": "min", "ms": "ms", "s": "s"}


@dataclass(frozen=True)
class PluginInfo:
    """One plug-in, as `labkit plugins` lists it."""

    name: str  # unique in its kind
    kind: Kind
    where: str  # what its engine opens: a pedal's name, a file, a URI
    engine: str = ""  # "module:Class"

    @property
    def foreign(self) -> bool:
        """Whether it runs in a process of its own."""
        return self.kind != "builtin"

    @property
    def why_not(self) -> str:
        """What is missing to host its kind; empty when nothing is."""
        library = _HOSTS[self.kind][0]
        if importlib.util.find_spec(library):
            return ""
        return f"{library} is not installed: pip install {library}"

    @property
    def usable(self) -> bool:
        """Whether its kind can be hosted. Whether it opens is known after opening it."""
        return not self.why_not


def installed_plugins() -> list[PluginInfo]:
    """The lab's own pedals, then VST3, LV2 and VST2, each by name."""
    from labkit.effects.registry import EFFECTS  # not at import: a worker needs no pedals

    found: list[tuple[str, Kind, str]] = [(name, "builtin", name) for name in EFFECTS]
    found += [(path.stem, "VST3", str(path)) for path in _files("VST3")]
    found += [(name, "LV2", uri) for name, uri in _lv2_names()]
    found += [(path.stem, "VST2", str(path)) for path in _files("VST2")]
    return [PluginInfo(name, kind, where, _HOSTS[kind][1]) for name, kind, where in found]


def find(wanted: str) -> PluginInfo:
    """The plug-in that a name, file or URI means; of several kinds the pedal, VST3, LV2, VST2.

    Raises:
        PluginError: if there is no such plug-in, or its kind cannot be hosted here.
    """
    kind = _SUFFIXES.get(Path(wanted).suffix.lower())
    if kind and Path(wanted).exists():
        path = Path(wanted).resolve()
        info = PluginInfo(path.stem, kind, str(path), _HOSTS[kind][1])
    else:
        named = (
            info
            for info in installed_plugins()
            if wanted.lower() == info.name.lower() or wanted == info.where
        )
        info = next(named, None)
        if info is None:
            raise PluginError(
                f"no plug-in {wanted!r} here: `labkit plugins` lists what is installed"
            )
    if not info.usable:
        raise PluginError(f"{info.kind} plug-in {info.name} cannot be hosted: {info.why_not}")
    return info


def _files(kind: Literal["VST3", "VST2"]) -> Iterator[Path]:
    suffixes = [suffix for suffix, of in _SUFFIXES.items() if of == kind]
    for folder in plugin_folders(kind):
        # Makers may have a folder of their own; what lies deeper is inside a bundle.
        paths = [*folder.glob("*"), *folder.glob("*/*")]
        yield from sorted(path for path in paths if path.suffix in suffixes)


@cache
def lv2_bundles() -> dict[str, Path]:
    """URI of each LV2 installed -> folder of its bundle; the first folder that holds it wins."""
    found: dict[str, Path] = {}
    for folder in plugin_folders("LV2"):
        for manifest in sorted(folder.glob("*.lv2/manifest.ttl")):
            text = manifest.read_text(encoding="utf-8", errors="replace")
            for uri in _LV2_PLUGIN.findall(_LV2_COMMENT.sub("", text)):
                found.setdefault(uri, manifest.parent)
    return found


def lv2_units(uri: str) -> dict[str, str]:
    """Parameter -> unit of an LV2, from its bundle; empty for anything else."""
    folder = lv2_bundles().get(uri)
    units: dict[str, str] = {}
    for path in sorted(folder.glob("*.ttl")) if folder else ():
        text = path.read_text(encoding="utf-8", errors="replace")
        if f"<{uri}>" not in text:
            continue
        for port in re.split(r"lv2:index\s", text)[1:]:
            name, unit = _LV2_NAME.search(port), _LV2_UNIT.search(port)
            if name and unit and unit[1].lower() in _UNITS:
                units[name[1]] = _UNITS[unit[1].lower()]
    return units


def _lv2_names() -> list[tuple[str, str]]:
    """(name, URI): the last word of each URI, with its fragment only where two would be equal."""
    uris = lv2_bundles()
    words = {uri: uri.replace(":", "/").rsplit("/", 1)[-1].partition("#") for uri in uris}
    count = Counter(word.lower() for word, _, _ in words.values())
    names = []
    for uri, (word, mark, fragment) in words.items():
        name = word if count[word.lower()] == 1 else word + mark + fragment
        names.append((name.strip("_"), uri))
    return sorted(names, key=lambda pair: pair[0].lower())
