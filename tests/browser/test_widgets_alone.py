"""The widgets in a real browser, each alone in a page: a recorded file, a dragged pedal, a switch between players."""

import base64
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from labkit.effects.registry import EFFECTS
from labkit.lab import listen
from labkit.lab.board import _description
from labkit.lab.upload import Recorder
from labkit.signal.files import resample

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)
spec = importlib.util.spec_from_file_location("widgets", Path(__file__).with_name("widgets.py"))
widgets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(widgets)

RATE = 48000
# What reaches the loudspeakers, in `window.heard`: everything that is connected to them is connected to a tap, too.
TAP = """() => {
    const connect = AudioNode.prototype.connect;
    window.heard = [];
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode && this.context instanceof AudioContext) {
            if (!this.context.tap) {
                this.context.tap = this.context.createScriptProcessor(4096, 1, 1);
                this.context.tap.onaudioprocess = (event) => window.heard.push(...event.inputBuffer.getChannelData(0));
                connect.call(this.context.tap, to);
            }
            connect.call(this, this.context.tap);
        }
        return connect.call(this, to, ...rest);
    };
}"""


@pytest.fixture(scope="module")
def sweep():
    """Two seconds that no shifted copy of itself equals."""
    seconds = np.arange(2 * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 * seconds + 400 * seconds**2))).astype(np.float32)


@pytest.fixture
def open_page(tmp_path, sweep, chromium):
    """A function that opens a page in Chromium, with the sweep at its microphone or with none."""
    soundfile.write(tmp_path / "sweep.wav", sweep, RATE, subtype="PCM_16")
    fake = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'sweep.wav'}",
    ]
    with playwright.sync_playwright() as play:
        opened = []

        def launch(*, microphone=False):
            opened.append(chromium(play, *(fake if microphone else [])))
            page = opened[-1].new_page(viewport={"width": 760, "height": 600})
            page.set_default_timeout(60_000)
            return page

        yield launch
        for browser in opened:
            browser.close()


def test_a_take_reaches_python_as_it_was_played(open_page, sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = open_page(microphone=True)
    errors = widgets.show(page, "recorder.js", seconds=4.0, count_in=1, beat_ms=100, message="")
    for _ in range(3):  # on a busy machine Chromium's microphone drops blocks
        page.evaluate("window.sent.length = 0")
        page.get_by_role("button", name="record").click()
        page.wait_for_function("window.sent.some(({ content: c }) => c.piece === c.of - 1)")
        takes = []
        recorder = Recorder(lambda audio, rate, takes=takes: takes.append((audio, rate)))
        for content, buffers in widgets.messages(page):
            recorder._receive(None, content, buffers)
        assert len(takes) == 1, recorder.message
        audio, rate = takes[0]
        assert audio.shape == (1, round(4.0 * rate))
        # It plays the file again and again: its middle lies whole somewhere in the take.
        piece = resample(sweep[None, RATE // 2 : 3 * RATE // 2], RATE, rate)[0]
        energy = np.concatenate([[0.0], np.cumsum(audio[0].astype(float) ** 2)])
        norms = np.sqrt(energy[len(piece) :] - energy[: -len(piece)]) * np.linalg.norm(piece)
        likeness = signal.correlate(audio[0], piece, "valid", "fft") / (norms + 1e-9)
        if likeness.max() > 0.99:
            break
    assert errors == []
    assert likeness.max() > 0.99
    kept, kept_rate = soundfile.read(recorder.path)
    assert kept_rate == rate
    np.testing.assert_allclose(kept, audio[0], atol=1e-3)


def test_without_a_microphone_the_recorder_says_so(open_page):
    page = open_page()
    widgets.show(page, "recorder.js", seconds=2.0, count_in=0, beat_ms=100, message="")
    page.get_by_role("button", name="record").click()
    page.get_by_text("An uploaded file does the same.").wait_for()
    assert page.get_by_role("status").inner_text().startswith("Not recorded: ")
    assert widgets.messages(page) == []


def test_a_second_press_during_the_count_in_stops(open_page):
    page = open_page(microphone=True)
    state = {"seconds": 1.0, "count_in": 4, "beat_ms": 2000, "message": ""}
    errors = widgets.show(page, "recorder.js", **state)
    page.get_by_role("button", name="record").click()
    page.get_by_text("4 ...").wait_for()
    page.get_by_role("button", name="stop").click()
    page.get_by_text("Stopped before the take began.").wait_for()
    page.wait_for_timeout(500)
    assert page.get_by_role("button", name="record").is_visible()
    assert widgets.messages(page) == errors == []


def test_a_blind_test_that_is_stopped_and_started_plays_each_sound_once(open_page):
    page = open_page()
    state = {"caption": "", "verdict": "", "x_is_b": False, "n_trials": 0}
    widgets.show(page, "abx.js", **state)
    page.evaluate(TAP)
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)[None]
    files = {"a": listen.wav_bytes(tone, RATE), "b": listen.wav_bytes(0 * tone, RATE)}
    for name, file in files.items():
        text = base64.b64encode(file).decode()
        bytes_of = f"Uint8Array.from(atob('{text}'), (one) => one.charCodeAt(0))"
        page.evaluate(f"state['{name}'] = new DataView({bytes_of}.buffer)")
    press = "(key) => new KeyboardEvent('keydown', { key, bubbles: true })"
    group = page.locator(".labkit-abx")
    # Stopped and started again while the clips are decoded.
    group.evaluate(
        f"group => ['a', ' ', 'a'].map({press}).forEach((one) => group.dispatchEvent(one))"
    )
    page.wait_for_function("window.heard.some((sample) => sample !== 0)")
    group.press("b")
    page.wait_for_timeout(500)
    page.evaluate("window.heard.length = 0")
    page.wait_for_function("window.heard.length > 8192")
    assert np.abs(page.evaluate("window.heard")).max() == 0


def test_pedals_are_added_dragged_moved_by_keys_turned_and_bypassed(open_page):
    page = open_page()
    shelf = [_description(name) for name in EFFECTS]
    errors = widgets.show(page, "board.js", shelf=shelf, steps=[], json="", code="", message="")

    def order():
        return page.evaluate("state.steps.map((step) => step.effect)")

    for name in ("distortion", "chorus", "reverb"):
        page.get_by_label("a pedal to add").select_option(name)
        page.get_by_role("button", name="add", exact=True).click()
    assert order() == ["distortion", "chorus", "reverb"]
    page.get_by_role("button", name="earlier: reverb").press("Enter")
    assert order() == ["distortion", "reverb", "chorus"]
    page.locator("fieldset[data-effect=chorus] legend").drag_to(
        page.locator("fieldset[data-effect=distortion]")
    )
    assert order() == ["chorus", "distortion", "reverb"]
    page.get_by_label("distortion drive").press("ArrowRight")
    page.get_by_role("button", name="bypass: reverb").click()
    steps = page.evaluate("state.steps")
    knob = EFFECTS["distortion"].space["drive_db"]
    assert steps[1]["params"]["drive_db"] == pytest.approx(knob.from_unit(0.505))
    assert [step["on"] for step in steps] == [True, True, False]
    page.get_by_role("button", name="remove: chorus").click()
    assert order() == ["distortion", "reverb"]
    assert errors == []


def test_a_switch_between_players_leaves_no_gap(open_page):
    page = open_page()
    widgets.show(page, "board.js", shelf=[], steps=[], json="", code="", message="")
    page.evaluate(TAP)
    tone = np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE).astype(np.float32)[None]
    shown = listen.players({"sine": (tone, RATE), "driven": (np.tanh(5 * tone), RATE)})
    page.set_content(shown._repr_html_())
    group = page.locator(".labkit-players")
    group.focus()
    # Pressed again while the clips are decoded: still one sound.
    press = "new KeyboardEvent('keydown', { key: ' ', bubbles: true })"
    group.evaluate(f"group => [1, 2, 3].forEach(() => group.dispatchEvent({press}))")
    page.wait_for_function("window.heard.some((sample) => sample !== 0)")
    for key in "2121":
        page.wait_for_timeout(150)
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    heard = np.array(page.evaluate("window.heard"))
    loud = np.flatnonzero(np.abs(heard) > 1e-3)
    assert np.diff(loud).max() < 0.002 * RATE  # a sine is near zero for much less
    assert np.abs(heard).max() < 1.1 * max(np.abs(clip).max() for clip, _ in shown.clips.values())
