"""Notebook 00 in a real browser, as `make lab` opens it: it runs from top to bottom, and its slider is heard."""

import base64
import io
import os
import time
import wave
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)
WAIT_SECONDS = 240

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

MEDIA = """async (element) => {
    const bytes = new Uint8Array(await (await fetch(element.currentSrc || element.src)).arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def media(locator):
    """The bytes that an audio element plays or an image shows."""
    return base64.b64decode(locator.evaluate(MEDIA))


def samples(wav):
    with wave.open(io.BytesIO(wav)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def until_changed(locator, before):
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        with suppress(playwright.Error):  # a source may be replaced while it is being read
            after = media(locator)
            if after != before:
                return after
        time.sleep(0.2)
    pytest.fail("moving the slider changed nothing")


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
def test_notebook_00_runs_and_its_slider_changes_sound_and_picture(run_all, page):
    run_all(page, "00_start_here.ipynb")
    with suppress(playwright.TimeoutError):  # a busy page counts its cells a little later
        counted = f"() => ({CODE_CELLS})().every(cell => cell.ran)"
        page.wait_for_function(counted, polling=200, timeout=10_000)
    cells = page.evaluate(CODE_CELLS)
    assert len(cells) >= 15
    assert [(cell["first"], cell["errors"]) for cell in cells if cell["errors"]] == []
    assert [cell["first"] for cell in cells if not cell["ran"]] == []
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0

    assert page.evaluate(SHOW_CELL, "widgets.FloatSlider(") > 0
    cell = page.locator(".jp-CodeCell", has=page.locator(".noUi-handle"))
    slider, audio, picture = map(cell.locator, (".noUi-handle", "audio", "img"))
    slider.wait_for()
    sound_before, picture_before = media(audio), media(picture)
    caption_before = cell.locator(".labkit-caption").inner_text()
    at_first = float(slider.get_attribute("aria-valuenow"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    sound_after = until_changed(audio, sound_before)
    picture_after = until_changed(picture, picture_before)
    caption_after = cell.locator(".labkit-caption").inner_text()
    if "LAB_FILM" in os.environ:  # `make pictures` takes README's picture here
        film(page, os.environ["LAB_FILM"])

    assert float(slider.get_attribute("aria-valuenow")) > at_first
    assert picture_before.startswith(b"\x89PNG")
    assert picture_after.startswith(b"\x89PNG")
    before, after = samples(sound_before), samples(sound_after)
    assert len(before) == len(after) > 44100
    assert min(np.abs(before).max(), np.abs(after).max()) > 0.05
    # A decibel more drive is a small change, and the player holds the loudness: far above rounding, far below a swap.
    assert 0.001 < np.abs(after - before).max() < 1.0
    assert caption_after != caption_before
