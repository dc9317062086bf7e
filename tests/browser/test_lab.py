"""What a reader does in a real browser after `make lab`: look around, listen, turn a knob, give a file."""

import itertools
import json
import time

import numpy as np
import pytest

from labkit.lab.listen import wav_bytes

RATE = 48000
CELLS = {
    "path": """import shutil
print(shutil.which("labkit"), shutil.which("tensorboard"))""",
    "upload": """from labkit.lab.upload import Upload
from labkit.signal.sources import load_phrase, phrase_path
riff, rate = load_phrase("riff")
Upload(phrase_path("riff"))""",
    "player": """import ipywidgets as widgets
from labkit.lab import listen, plots, results
slider = widgets.FloatSlider(1.0, min=0.5, max=1.5, step=0.1, description="gain")
sound, picture = listen.LivePlayer(riff, rate), plots.LiveFigure(plots.spectrogram(riff, rate))
def turned(change):
    sound.update(riff * np.hanning(riff.shape[1]) ** change["new"], rate)
    picture.update(plots.spectrogram(riff, rate, title=str(change["new"])))
import numpy as np
slider.observe(turned, "value")
widgets.VBox([slider, sound, picture])""",
    "players": """names = ("dry", "wet: distortion, chorus, reverb", "re-created from what was heard")
listen.players({name: (riff, rate) for name in names})""",
    "chain": """from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
spaces = {name: effect(name).space for name in ("distortion", "compressor", "chorus", "phaser", "delay", "reverb")}
plots.chain_diagram(Chain(tuple(Step(n, s.from_unit(np.full(len(s), 0.5))) for n, s in spaces.items())))""",
    "figure": "plots.compare_spectrograms({name: (riff, rate) for name in names})",
    "table": "results.shipped_table('pedal_order')",
    "four": "plots.compare_spectrograms({name: (riff, rate) for name in 'abcd'})",
    "exercises": """from labkit.lab import exercises
exercises.progress()""",
    "board": """from labkit.lab.board import PedalBoard
from labkit.lab.upload import Recorder
from labkit.effects.chain import Chain, Step
board = PedalBoard(riff, rate, Chain((Step("distortion", {"drive_db": 20.0}),)))
widgets.VBox([board, Recorder()])""",
}
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells
    .map(cell => JSON.stringify(cell.getOutputs()))"""
# Where what is read and pressed stands, and how many pixels an output's widest part and its code stick out.
BOXES = """(cell) => {
    const visible = (part) => part.getBoundingClientRect().width > 0;
    const boxes = (name) => [...cell.querySelectorAll(name)].filter(visible).map(part => part.getBoundingClientRect());
    const ends = (name) => boxes(name).map(box => box.right);
    const code = cell.querySelector('.cm-scroller');
    return {
        parts: boxes('audio, .labkit-players button, figcaption, .labkit-caption, .labkit-chain b').map(box => [box.left, box.top, box.right, box.bottom]),
        cut: Math.max(...ends('.jp-OutputArea-output *')) - Math.max(...ends('.jp-OutputArea-output')),
        code: code.scrollWidth - code.clientWidth,
    };
}"""


@pytest.fixture(scope="module")
def notebook(run_all, checkout, page):
    """A page on which every cell above has run, and each cell's outputs as text."""
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [blank | {"source": source, "id": name} for name, source in CELLS.items()]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": cells}
    (checkout / "notebooks" / "widgets.ipynb").write_text(json.dumps(content))
    run_all(page, "widgets.ipynb")
    outputs = dict(zip(CELLS, page.evaluate(OUTPUTS), strict=True))
    assert not [name for name, shown in outputs.items() if '"error"' in shown], outputs
    return page, outputs


def wait_until(holds, what):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def assert_in_step(before, after, loop_seconds):
    """A sound that repeats has gone on as the clock did; each is (place, time, ...) in seconds.

    A busy machine decodes for half a second; one that begins again would be off by one or more.
    """
    ahead = after[0] - before[0] - (after[1] - before[1])
    assert abs((ahead + loop_seconds / 2) % loop_seconds - loop_seconds / 2) < 0.6


def test_the_printed_address_opens_notebook_00_with_the_checkout_at_its_root(lab, page):
    page.goto(lab)
    page.wait_for_function("() => window.jupyterapp")
    path, root = page.evaluate("""async () => {
        const app = window.jupyterapp;
        await app.restored;
        while (!app.shell.currentWidget?.context) await new Promise(done => setTimeout(done, 50));
        const root = await app.serviceManager.contents.get('');
        return [app.shell.currentWidget.context.path, root.content.map(entry => entry.name)];
    }""")
    assert path == "notebooks/00_start_here.ipynb"
    assert {"README.md", "data", "notebooks"} <= set(root)
    page.wait_for_timeout(1000)
    assert page.locator(".Toastify__toast").count() == 0  # no question about news


def test_commands_are_found_in_a_cell_and_in_a_terminal_of_lab(notebook, checkout):
    page, outputs = notebook
    assert "bin/labkit" in outputs["path"]
    assert "bin/tensorboard" in outputs["path"]
    page.evaluate("""async () => {
        const terminal = await window.jupyterapp.serviceManager.terminals.startNew();
        terminal.send({type: 'stdin', content: ['command -v labkit tensorboard > found.txt\\r']});
    }""")
    found = checkout / "found.txt"
    wait_until(lambda: found.exists() and found.read_text().count("\n") == 2, "not found")


def test_20_megabytes_arrive_and_the_same_name_counts_twice(notebook, tmp_path):
    page, _ = notebook
    chooser = page.locator(".labkit-upload input[type=file]")
    status = page.locator(".labkit-upload p")
    path = tmp_path / "mine.wav"

    def give():
        with page.expect_file_chooser() as chosen:
            chooser.click()
        chosen.value.set_files(path)

    for seconds in (105, 2):
        path.write_bytes(wav_bytes(np.full((2, seconds * RATE), 0.1), RATE))
        assert path.stat().st_size > 20e6 or seconds == 2
        give()
        heard = "the first 30.00 s" if seconds > 30 else f"{seconds}.00 s"
        heard = f"mine.wav: {heard}, {RATE} Hz"
        wait_until(lambda heard=heard: status.inner_text() == heard, status.inner_text())
    path.write_text("no sound")
    give()
    page.locator(".labkit-upload p[role=alert]").wait_for()
    assert "Still using mine.wav." in status.inner_text()


def test_a_knob_changes_sound_and_picture_and_the_player_goes_on(notebook):
    page, _ = notebook
    cell = page.locator(".jp-CodeCell", has=page.locator(".noUi-handle"))
    audio, picture, slider = (
        cell.locator("audio"),
        cell.locator("img"),
        cell.locator(".noUi-handle"),
    )
    audio.evaluate("async (element) => { element.currentTime = 1; await element.play(); }")
    for _ in range(3):
        source, shown = audio.get_attribute("src"), picture.get_attribute("src")
        before = audio.evaluate("element => [element.currentTime, performance.now() / 1000]")
        slider.press("ArrowRight")
        wait_until(lambda old=shown: picture.get_attribute("src") != old, "the same picture")
        wait_until(lambda old=source: audio.get_attribute("src") != old, "the same sound")
        page.wait_for_timeout(300)
        after = audio.evaluate(
            "element => [element.currentTime, performance.now() / 1000, element.paused]"
        )
        assert after[2] is False
        assert_in_step(before, after, audio.evaluate("element => element.duration"))


@pytest.mark.parametrize("width", [1280, 760])
def test_nothing_overlaps_and_nothing_is_cut_off(notebook, width):
    page, _ = notebook
    page.set_viewport_size({"width": width, "height": 1000})
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    cells = page.locator(".jp-CodeCell")
    for k, name in enumerate(CELLS):
        cells.nth(k).scroll_into_view_if_needed()
        shown = cells.nth(k).evaluate(BOXES)
        assert shown["cut"] <= 1, name
        assert shown["code"] <= 1, name
        assert bool(shown["parts"]) == (name in ("player", "players", "chain", "board"))
        for one, other in itertools.combinations(shown["parts"], 2):
            (left, top, right, bottom), (left_2, top_2, right_2, bottom_2) = one, other
            beside = right <= left_2 or right_2 <= left
            assert beside or bottom <= top_2 or bottom_2 <= top, name


def test_figures_are_not_shrunk_and_words_stand_at_the_left(notebook):
    page, _ = notebook
    page.set_viewport_size({"width": 1280, "height": 1000})
    cells = page.locator(".jp-CodeCell")
    for name in ("figure", "four"):  # a shrunk figure has labels that nobody can read
        cell = cells.nth(list(CELLS).index(name))
        cell.scroll_into_view_if_needed()
        picture = cell.locator(".jp-OutputArea-output img")
        assert picture.evaluate("img => img.getBoundingClientRect().width / img.naturalWidth") > 0.9
    for name in ("table", "exercises"):
        cell = cells.nth(list(CELLS).index(name))
        cell.scroll_into_view_if_needed()
        for kind, side in (("words", "left"), ("number", "right")):
            part = cell.locator(f"td.{kind}").first
            assert part.evaluate("part => getComputedStyle(part).textAlign") == side, name
    assert all(cells.nth(list(CELLS).index("exercises")).locator("th").all_inner_texts())


def test_the_keys_of_a_widget_are_not_those_of_the_notebook(notebook):
    page, _ = notebook
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    page.evaluate("window.jupyterapp.shell.currentWidget.content.mode = 'command'")
    cells = page.locator(".jp-CodeCell")
    cell = cells.nth(list(CELLS).index("players"))
    cell.scroll_into_view_if_needed()
    group = cell.locator(".labkit-players")
    group.focus()
    page.keyboard.press(" ")
    wait_until(lambda: group.get_attribute("data-playing") == "yes", "space does not play")
    wait_until(lambda: float(group.get_attribute("data-seconds")) > 0.3, "nothing is played")
    before = group.evaluate("group => [Number(group.dataset.seconds), performance.now() / 1000]")
    for key in ("2", "3", "a", "b", "d", "d", "x"):  # Lab would insert and delete cells
        page.keyboard.press(key)
    assert group.get_attribute("data-choice").startswith("re-created")
    page.wait_for_timeout(300)
    after = group.evaluate("group => [Number(group.dataset.seconds), performance.now() / 1000]")
    assert_in_step(before, after, float(cell.locator(".labkit-clock").inner_text().split()[2]))
    page.keyboard.press(" ")
    assert group.get_attribute("data-playing") == "no"
    at = float(group.get_attribute("data-seconds"))
    page.keyboard.press("ArrowLeft")
    assert float(group.get_attribute("data-seconds")) == pytest.approx(max(0, at - 1), abs=0.1)
    for label in ("play or stop (space)", "dry (key 1)"):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == label
    page.keyboard.press("Enter")
    assert group.get_attribute("data-choice") == "dry"

    cell = cells.nth(list(CELLS).index("board"))
    cell.scroll_into_view_if_needed()
    drive = cell.get_by_label("distortion drive")
    was = float(drive.input_value())
    drive.focus()
    page.keyboard.press("ArrowRight")
    assert float(drive.input_value()) > was
    assert page.evaluate(count) == len(CELLS)
    assert cell.get_by_text("dBFS").count() == 1  # the meter says its unit
