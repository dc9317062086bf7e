"""A JupyterLab as `make lab` starts it, on a copy of the checkout, and a real Chromium that looks at it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("notebooks", "tools")  # Lab may write beside a notebook; the rest is linked
WAIT_SECONDS = 240  # for anything a page does: ten times what two idle cores need

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


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    copy = tmp_path_factory.mktemp("lab") / "checkout"
    copy.mkdir()
    ignored = shutil.ignore_patterns(".ipynb_checkpoints", "runs", "output", "__pycache__")
    for entry in ROOT.iterdir():
        if entry.name in COPIED:
            shutil.copytree(entry, copy / entry.name, ignore=ignored)
        elif not entry.name.startswith("."):
            (copy / entry.name).symlink_to(entry)
    shown = "c = get_config()\nc.LabApp.expose_app_in_browser = True\n"
    (copy / "tools" / "jupyter" / "jupyter_lab_config.py").write_text(shown)
    return copy


@pytest.fixture(scope="session")
def lab(checkout, tmp_path_factory):
    """The address that `make lab` prints; nothing of this user's settings is known to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    log = home / "server.log"
    names = ("JUPYTER", "IPYTHON", "XDG_", "MAKE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    kept["PATH"] = os.pathsep.join(
        folder
        for folder in kept["PATH"].split(os.pathsep)
        if not (Path(folder) / "labkit").exists()
    )
    # As if the installation were up to date: it is the one that runs this test.
    command = ["make", "-o", "setup", "lab", "BROWSER=no", f"PORT={port}", f"VENV={sys.prefix}"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=checkout,
            env=kept | {"HOME": str(home), "OMP_NUM_THREADS": "1", "LAB_BUDGET": "smoke"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield printed_address(server, log)
    finally:
        # Lab ends its kernels when it is asked to; make waits for it.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def printed_address(server, log):
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until and server.poll() is None:
        found = re.search(r"^ +(http://127\.0\.0\.1:\S+)", log.read_text(), re.MULTILINE)
        if found:
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def chromium():
    """A function (playwright, *flags) that starts this machine's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    usual = ["--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    usual += ["--no-sandbox"] if os.geteuid() == 0 else []
    return lambda play, *flags: play.chromium.launch(executable_path=path, args=[*usual, *flags])


@pytest.fixture(scope="module")  # only one playwright at a time, and other modules start their own
def browser(chromium):
    with playwright.sync_playwright() as play:
        browser = chromium(play)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(1000 * WAIT_SECONDS)
    yield page
    page.close()


@pytest.fixture(scope="session")
def run_all(lab):
    """A function (page, notebook) that opens a notebook and runs it from top to bottom."""

    def run(page, name):
        page.goto(lab.replace("00_start_here.ipynb", name) + "&reset")
        page.wait_for_function("() => window.jupyterapp")
        page.evaluate(RUN_ALL)
        page.wait_for_function("() => window.finished", polling=100)

    return run
