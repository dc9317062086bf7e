"""Takes a figure out of an executed notebook: pictures.py NOTEBOOK WORDS TARGET.

The figure is the first picture below the first code cell that contains WORDS.
"""

import base64
import json
import sys
from pathlib import Path


def figure(notebook: Path, words: str) -> bytes:
    """The PNG of the cell; ValueError if no cell with these words has one."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and words in "".join(cell["source"]):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise ValueError(f"no cell of {notebook.name} with {words!r} has a picture")


if __name__ == "__main__":
    source, wanted, target = sys.argv[1:]
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(figure(Path(source), wanted))
