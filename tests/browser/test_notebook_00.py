"""Notebook 00 in a real browser, as `make lab` opens it: it runs from top to bottom."""

import io
import os
from contextlib import suppress

import pytest
from PIL import Image

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)

CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells
    .filter(cell => cell.cell_type === 'code' && cell.getSource().trim())
    .map(cell => ({
        first: cell.getSource().split('\\n')[0],
        ran: cell.execution_count !== null,
        errors: cell.getOutputs().filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`),
    }))"""

# Cells out of sight are not on the page, so the notebook itself has to go there.
SHOW_CELL = """async (words) => {
    const content = window.jupyterapp.shell.currentWidget.content;
    const at = content.widgets.findIndex(cell => cell.model.sharedModel.getSource().includes(words));
    content.activeCellIndex = at;
    await content.scrollToItem(at, 'start');
    return at;
}"""


def film(page, path):
    """README's moving picture: the executed notebook, scrolled from its top, 560 pixels wide."""
    page.evaluate(SHOW_CELL, "# 00")
    frames = []
    for _ in range(16):
        page.wait_for_timeout(400)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shot = shot.resize((560, 560 * shot.height // shot.width), Image.Resampling.LANCZOS)
        frames.append(shot.quantize(32, dither=Image.Dither.NONE))
        page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollBy(0, 620)")
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=700, loop=0, optimize=True
    )


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.timeout(900)
def test_notebook_00_runs_from_top_to_bottom(run_all, page):
    run_all(page, "00_start_here.ipynb")
    with suppress(playwright.TimeoutError):  # a busy page counts its cells a little later
        counted = f"() => ({CODE_CELLS})().every(cell => cell.ran)"
        page.wait_for_function(counted, polling=200, timeout=10_000)
    cells = page.evaluate(CODE_CELLS)
    assert len(cells) >= 15
    assert [(cell["first"], cell["errors"]) for cell in cells if cell["errors"]] == []
    assert [cell["first"] for cell in cells if not cell["ran"]] == []
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0

    if "LAB_FILM" in os.environ:  # `make pictures` takes README's picture here
        film(page, os.environ["LAB_FILM"])
