"""Takes audio and widget state out of notebooks' outputs, and leaves text and pictures.

    python tools/strip_audio.py NOTEBOOK...          rewrites the files that need it
    python tools/strip_audio.py --check NOTEBOOK...  status 1 if one needs it; "-" is standard input

Needs nothing but Python, so that the commit hook works in a fresh checkout.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

# A player goes with its tags; a payload in any other place loses its data only.
_PLAYER = re.compile(r"<audio\b.*?</audio\s*>", re.DOTALL | re.IGNORECASE)
_SWITCH = re.compile(r'<script class="labkit-switch">.*?</script>', re.DOTALL)
_PAYLOAD = re.compile(r"data:audio/[\w.+-]+(?:;[\w=.+-]+)*,[A-Za-z0-9+/=%_-]*", re.IGNORECASE)
_IN_ITS_PLACE = "<em>Sound: run this cell to hear it.</em>"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def _strip_text(text: str) -> str:
    with_audio = bool(_PAYLOAD.search(text))
    text = _SWITCH.sub("", text)
    return _PAYLOAD.sub("", _PLAYER.sub(_IN_ITS_PLACE, text)) if with_audio else text


def _strip_value(value: Any) -> Any:
    """The same value without audio in its strings; joined lines, since a payload may span them."""
    if isinstance(value, str):
        return _strip_text(value)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        text = "".join(value)
        stripped = _strip_text(text)
        return value if stripped == text else stripped.splitlines(keepends=True)
    if isinstance(value, list):
        return [_strip_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _strip_value(item) for key, item in value.items()}
    return value


def _strip_output(output: dict[str, Any]) -> dict[str, Any] | None:
    """The output without audio, or None where nothing but sound or a live widget was in it."""
    output = _strip_value(output)
    if "data" not in output:
        return output
    kept = {
        m: d for m, d in output["data"].items() if not m.startswith("audio/") and m != _WIDGET_VIEW
    }
    lost = len(kept) < len(output["data"])
    output["data"] = kept
    return None if lost and set(kept) <= {"text/plain"} else output


def strip(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook without audio payloads and widget state.

    Args:
        notebook: parsed `.ipynb`, nbformat 4; not changed.

    Returns:
        A copy. Text, tables and pictures stay as they were; a player becomes a line of text.
    """
    cells = []
    for cell in notebook["cells"]:
        outputs = [_strip_output(output) for output in cell.get("outputs", [])]
        kept = {"outputs": [o for o in outputs if o is not None]} if "outputs" in cell else {}
        cells.append({**cell, **kept})
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    return {**notebook, "cells": cells, "metadata": metadata}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line above; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 if something would change"
    )
    parser.add_argument(
        "notebooks", nargs="+", help="paths, or - for standard input (with --check)"
    )
    options = parser.parse_args(arguments)
    dirty = False
    for name in options.notebooks:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        before = json.loads(text)
        after = strip(before)
        if after == before:
            continue
        dirty = True
        if not options.check:
            Path(name).write_text(
                json.dumps(after, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    return int(dirty and options.check)


if __name__ == "__main__":
    sys.exit(main())
