"""What LV2 bundles say of themselves on paper: which plug-ins they hold, and the units of the knobs."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from labkit.signal.paths import plugin_folders

# Turtle allows more than this; what bundles are written with is this.
_PLUGIN = re.compile(r"^\s*<([^<>\s]+)>\s+a\s+[^;.\[\]]*\blv2:Plugin\b", re.MULTILINE)
_COMMENT = re.compile(r"(?m)^\s*#.*$")
_NAME = re.compile(r'lv2:name\s+"([^"]*)"')
_UNIT = re.compile(r"units?:unit\s+units?:(\w+)")
_WORDS = {
    "db": "dB",
    "hz": "Hz",
    "khz": "kHz",
    "pc": "%",
    "min": "min",
    "ms": "ms",
    "s": "s",
    "bpm": "BPM",
}


@cache
def bundles() -> dict[str, Path]:
    """The URI of each plug-in installed -> the folder of its bundle; the first folder that holds one wins."""
    found: dict[str, Path] = {}
    for manifest in _manifests(plugin_folders("LV2")):
        for uri in _PLUGIN.findall(
            _COMMENT.sub("", manifest.read_text(encoding="utf-8", errors="replace"))
        ):
            found.setdefault(uri, manifest.parent)
    return found


def _manifests(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.glob("*.lv2/manifest.ttl"))]


def port_units(uri: str) -> dict[str, str]:
    """The units of an LV2's knobs, by the knob's name.

    Args:
        uri: the plug-in's. Anything else has no units on paper.

    Returns:
        Name -> ``"dB"``, ``"ms"``, ...; knobs without a unit are left out.
    """
    folder = bundles().get(uri)
    units: dict[str, str] = {}
    for path in sorted(folder.glob("*.ttl")) if folder else ():
        text = path.read_text(encoding="utf-8", errors="replace")
        if f"<{uri}>" not in text:
            continue
        for port in re.split(r"lv2:index\s", text)[1:]:
            name, unit = _NAME.search(port), _UNIT.search(port)
            if name and unit and unit[1].lower() in _WORDS:
                units[name[1]] = _WORDS[unit[1].lower()]
    return units
