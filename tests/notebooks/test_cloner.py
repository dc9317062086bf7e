"""Every notebook as someone has it who just cloned: no recordings, plug-ins, SoundFont, optional packages.

Such a page must run, and must show no `nan`, no empty axes, and every player and figure that it made.
"""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ABSENT = ("dawdreamer", "transformers", "vita")
# Run in the kernel before the first cell: hides packages, and watches what is made and what is shown.
WATCH = """
import importlib.abc, sys
class _Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in %r:
            raise ModuleNotFoundError(f"{name} is absent in this test", name=name)
sys.meta_path.insert(0, _Absent())

def _watch():
    from labkit.lab import listen, plots
    made, shown, faults = {}, set(), []
    def keep(thing):
        made[id(thing)] = thing
        return thing
    def marks(owner, method):
        real = getattr(owner, method)
        def called(self, *given, **named):
            shown.add(id(self))
            return real(self, *given, **named)
        setattr(owner, method, called)
    marks(listen.Players, "_repr_html_")
    marks(plots.LabFigure, "_repr_mimebundle_")
    players, figure = listen.players, plots.LabFigure.__init__
    listen.players = lambda *given, **named: keep(players(*given, **named))
    plots.LabFigure.__init__ = lambda self, *given, **named: figure(keep(self), *given, **named)
    png = plots.LabFigure.png
    def checked(figure):
        shown.add(id(figure))
        empty = [one for one in figure.axes if one.axison and not (one.has_data() or one.texts)]
        if empty:
            faults.append(f"empty axes in a figure of {figure.alt!r}")
        return png(figure)
    plots.LabFigure.png = checked
    def report():
        hidden = [thing for key, thing in made.items() if key not in shown]
        faults.extend(f"made and not shown: {thing!r:.80}" for thing in hidden)
        return faults
    return report
_report = _watch()
"""
# The page that a cloner opens first; the others run in `make test-all`.
IN_EVERY_RUN = ("00",)
PAGES = [
    pytest.param(
        path, id=path.stem, marks=[] if path.stem[:2] in IN_EVERY_RUN else pytest.mark.long
    )
    for path in sorted(FOLDER.glob("*.ipynb"))
]
NOT_A_FIGURE = re.compile(r"\bnan\b|\bno data\b", re.IGNORECASE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_and_shows_all_it_made_as_a_cloner_has_it(path, tmp_path, monkeypatch):
    nowhere = str(tmp_path / "nowhere")
    for name in ("LABKIT_REAL_DATA", "LABKIT_SOUNDFONT", "VST3_PATH", "LV2_PATH", "VST_PATH"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("LAB_BUDGET", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WATCH % (ABSENT,)))
    notebook.cells.append(nbformat.v4.new_code_cell("import json; print(json.dumps(_report()))"))
    os.symlink(FOLDER / "diagrams", tmp_path / "diagrams")
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    *cells, last = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert json.loads(last.outputs[0].text) == []
    for cell in cells[1:]:
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            found = NOT_A_FIGURE.search(text)
            assert not found, f"{text[:200]!r} is the output of\n{cell.source}"
