"""A reader's first minutes: JupyterLab in a real browser, notebook 00 run from top to bottom, one slider moved."""

import base64
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOK = "00_start_here.ipynb"
WAIT_SECONDS = 240  # for anything the page does: ten times what two idle cores need

# Clicking the Run menu as soon as the page looks ready loses the run; waiting for the kernel's own word does not.
RUN_ALL = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    while (!app.shell.currentWidget?.sessionContext) await new Promise(done => setTimeout(done, 50));
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    window.finished = false;
    app.commands.execute('notebook:run-all-cells').finally(() => { window.finished = true; });
}"""

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


@pytest.fixture(scope="module")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return path


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that knows nothing of this user's settings, on a copy of the notebooks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root, home, log = tmp_path / "notebooks", tmp_path / "home", tmp_path / "server.log"
    shutil.copytree(NOTEBOOKS, root, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "runs"))
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "XDG_"))}
    threads = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    server_options = {"ip": "127.0.0.1", "port_retries": 0, "root_dir": root}
    command += [f"--ServerApp.{name}={value}" for name, value in server_options.items()]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=kept | threads | {"HOME": str(home), "LAB_BUDGET": "smoke"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield wait_for_server(server, f"http://127.0.0.1:{port}", log)
    finally:
        server.terminate()  # it ends its kernels, too
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def wait_for_server(server, address, log):
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/status", timeout=5):
                return address
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def page(chromium):
    with playwright.sync_playwright() as play:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=chromium, args=[*flags, "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(1000 * WAIT_SECONDS)
        yield page
        browser.close()


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


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_notebook_00_runs_and_its_slider_changes_sound_and_picture(lab, page):
    page.goto(f"{lab}/lab/tree/{NOTEBOOK}?reset")
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.finished", polling=200)
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
    caption_before = cell.locator(".widget-label", has_text="LUFS").inner_text()
    at_first = float(slider.get_attribute("aria-valuenow"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    sound_after = until_changed(audio, sound_before)
    picture_after = until_changed(picture, picture_before)
    caption_after = cell.locator(".widget-label", has_text="LUFS").inner_text()
    if "LAB_SCREENSHOT" in os.environ:  # `make pictures` takes README's picture here
        page.evaluate(SHOW_CELL, "plots.chain_diagram(found.chain)")
        with suppress(playwright.Error):  # the question about news would cover a corner
            page.get_by_role("button", name="No", exact=True).click(timeout=2000)
        page.wait_for_timeout(1500)
        page.screenshot(path=os.environ["LAB_SCREENSHOT"])

    assert float(slider.get_attribute("aria-valuenow")) > at_first
    assert picture_before.startswith(b"\x89PNG")
    assert picture_after.startswith(b"\x89PNG")
    before, after = samples(sound_before), samples(sound_after)
    assert len(before) == len(after) > 44100
    assert min(np.abs(before).max(), np.abs(after).max()) > 0.05
    # A decibel more drive is a small change, and the player holds the loudness: far above rounding, far below a swap.
    assert 0.001 < np.abs(after - before).max() < 1.0
    assert caption_after != caption_before
