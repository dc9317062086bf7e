"""The static book, made of one small notebook: its page plays, links, shows equations, and asks no other server."""

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import EFFECTS
from labkit.measure.loudness import loudness_lufs
from labkit.measure.metrics import relative_error_db
from labkit.signal.sources import load_phrase

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)
pytest.importorskip("furo", reason="no Sphinx here: pip install -e '.[site]'")

pytestmark = pytest.mark.long  # Sphinx alone takes more than a minute
ROOT = Path(__file__).resolve().parents[2]
CODE = """import numpy as np
from labkit.lab import listen
t = np.arange(44100) / 44100
tone = 0.3 * np.sin(2 * np.pi * 220 * t)[None]
listen.players({"dry": (tone, 44100), "driven": (np.tanh(6 * tone), 44100)})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    (folder / "diagrams").mkdir()
    shutil.copy(ROOT / "notebooks/diagrams/04_transformer.svg", folder / "diagrams")
    words = nbformat.v4.new_markdown_cell(
        "# A page\n\n![A diagram](diagrams/04_transformer.svg)\n\nThe curve is $y = \\tanh(d x)$.\n\n$$\\int_0^1 x\\,dx = \\frac{1}{2}$$"
    )
    notebook = nbformat.v4.new_notebook(cells=[words, nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, folder / "00_page.ipynb")
    command = [
        sys.executable,
        ROOT / "tools/site/build.py",
        "--out",
        folder / "site",
        folder / "00_page.ipynb",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


@pytest.fixture(scope="module")
def address(site):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(site), **options)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_its_sounds_are_equally_loud_and_small(site):
    files = sorted((site / "_static/sounds").glob("*.opus"))
    assert len(files) == 2
    loudness = []
    for file in files:
        audio, rate = soundfile.read(file, always_2d=True)
        assert len(audio) == pytest.approx(rate, rel=0.05)
        loudness.append(loudness_lufs(audio.T.astype(np.float32), rate))
        assert file.stat().st_size < 20_000
    assert loudness == pytest.approx([-23.0, -23.0], abs=0.5)


def test_no_link_is_broken(site):
    pages = {
        page.relative_to(site).as_posix(): page.read_text(encoding="utf-8")
        for page in site.rglob("*.html")
    }
    assert {"00_page.html", "index.html", "effects.html"} <= set(pages)
    for name, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"#?][^"]*)"', text):
            if not re.match(r"[a-z]+:", link):
                path, _, _ = link.partition("#")
                target = (site / name).parent / path.split("?")[0]
                assert target.exists(), f"{name} links to {link}"
    assert 'href="lab.html#labkit.lab.listen.players"' in pages["00_page.html"]
    assert pages["00_page.html"].count("<math") == 2
    assert "_images/04_transformer.svg" in pages["00_page.html"]


@pytest.fixture(scope="module")
def page(page, address):
    """The browser's page with a list `wrong` of its errors and its requests to other servers."""
    page.wrong = wrong = []
    own = (address, "data:", "blob:")
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(r.url))
    return page


def test_a_page_plays_without_an_error_or_another_server(page, address):
    page.goto(address + "00_page.html")
    page.get_by_role("button", name="play or stop").click()
    page.wait_for_function(
        "Number(document.querySelector('.labkit-players').dataset.seconds) > 0.3"
    )
    assert page.locator(".labkit-players").get_attribute("data-playing") == "yes"
    assert page.wrong == []


# The page with the pedals

RENDER = """async ([sound, rate, steps]) =>
    (await (await import('./_static/live/live.js')).render(sound, rate, steps)).map((side) => Array.from(side))"""
# Plays the riff through a chain in real time and records each block. What the chain makes of the
# same sound offline must be equal to the last sample; counted are blocks that never came, how late
# the sound's clock is, and the blocks that the output wanted before they were there.
LIVE = """async ([seconds, steps]) => {
    const { chainNode, render } = await import('./_static/live/live.js');
    const recorder = `registerProcessor('recorder', class extends AudioWorkletProcessor {
        process([input], [output]) {
            this.port.postMessage([currentFrame, input.map((side) => side.slice())]);
            input.forEach((side, k) => output[k].set(side));
            return true;
        }
    });`;
    const context = new AudioContext({ latencyHint: 'interactive' });
    await context.suspend();
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([recorder], { type: 'text/javascript' })));
    const file = await (await fetch('./_static/live/riff.flac')).arrayBuffer();
    const riff = await context.decodeAudioData(file);
    const source = new AudioBufferSourceNode(context, { buffer: riff, loop: true });
    const tape = new AudioWorkletNode(context, 'recorder', { outputChannelCount: [2] });
    const blocks = [];
    source.connect(await chainNode(context, steps)).connect(tape).connect(context.destination);
    source.start();
    const counted = () => (context.playbackStats ?? context.playoutStats)?.underrunEvents ?? null;
    const length = Math.ceil(seconds * context.sampleRate / 128) * 128;
    const done = new Promise((finish) => {
        tape.port.onmessage = ({ data }) => blocks.push(data) * 128 >= length && finish();
    });
    const underruns = counted();
    await context.resume();
    const [wall, clock] = [performance.now(), context.currentTime];
    await done;
    const late = (performance.now() - wall) / 1000 - (context.currentTime - clock);
    await context.suspend();
    const [one] = [riff.getChannelData(0)];
    const sound = Float32Array.from({ length }, (_, k) => one[k % one.length]);
    const offline = performance.now();
    const wanted = await render([sound], context.sampleRate, steps);
    const offlineSeconds = (performance.now() - offline) / 1000;
    let [wrong, power] = [0, 0];
    blocks.slice(0, length / 128).forEach(([, sides], n) => sides.forEach((side, k) => side.forEach((x, i) => {
        wrong += (x - wanted[k][128 * n + i]) ** 2;
        power += x * x;
    })));
    const missing = (blocks.at(-1)[0] - blocks[0][0]) / 128 + 1 - blocks.length;
    return { seconds: length / context.sampleRate, missing, late, underruns: counted() === null ? null : counted() - underruns,
        null_db: 10 * Math.log10(wrong / power + 1e-30), level_db: 10 * Math.log10(power / length / 2), offlineSeconds };
}"""
DATA = "document.querySelector('#labkit-live').dataset"
ORDER = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")


@pytest.fixture
def pedals(page, address, site):
    if not (site / "play.html").is_file():
        pytest.skip("no Faust here: apt-get install faust")
    page.goto(address + "play.html")
    page.wait_for_selector("#labkit-live fieldset")
    return page


@pytest.mark.parametrize("names", [*((name,) for name in EFFECTS), ORDER], ids="-".join)
def test_pedals_in_the_page_play_as_labkit_does(pedals, names):
    riff, rate = load_phrase("riff")
    riff = riff[:, :rate]
    spaces = {name: EFFECTS[name].space for name in names}
    chain = Chain(tuple(Step(n, s.from_unit(np.full(len(s), 0.6))) for n, s in spaces.items()))
    steps = [{"effect": name, "params": params} for name, params in chain]
    stereo = np.concatenate([riff, 0.5 * riff[:, ::-1]])
    wet = np.float32(pedals.evaluate(RENDER, [stereo.tolist(), rate, steps]))
    null_db = relative_error_db(chain.render(stereo, rate), wet)
    print(f"null test of {' '.join(names)}: {null_db:.0f} dB")
    assert null_db < -80
    assert pedals.wrong == []


def test_a_visitor_turns_knobs_and_drags_pedals_while_the_riff_plays(pedals):
    names = (
        "[...document.querySelectorAll('#labkit-live fieldset')].map((box) => box.dataset.effect)"
    )
    pedals.get_by_role("button", name="play the riff").click()
    pedals.wait_for_function(f"Number({DATA}.seconds) > 0.5")
    pedals.get_by_role("slider", name="distortion drive").fill("0.9")
    assert "27.8" in pedals.locator("#labkit-live textarea").first.input_value()
    reverb = pedals.locator("fieldset[data-effect=reverb]")
    reverb.locator("legend").drag_to(pedals.locator("fieldset[data-effect=distortion]"))
    assert pedals.evaluate(names) == ["compressor", "reverb", "distortion", "chorus"]
    seconds = pedals.evaluate(f"Number({DATA}.seconds)")
    pedals.wait_for_function(f"Number({DATA}.seconds) > {seconds} + 0.5")
    assert -40 < pedals.evaluate(f"Number({DATA}.level)") < 0
    assert pedals.wrong == []


@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=pytest.mark.long)])
def test_pedals_play_live_without_a_dropout(pedals, seconds):
    steps = []
    for name in ORDER:
        space = EFFECTS[name].space
        steps.append({"effect": name, "params": space.from_unit([0.6] * len(space))})
    idle = os.getloadavg()[0] < 0.75 * os.cpu_count()
    bare = pedals.evaluate(LIVE, [seconds, []])  # what this machine drops with no pedal at all
    live = pedals.evaluate(LIVE, [seconds, steps])
    for label, one in (("no pedal", bare), (f"{len(steps)} pedals", live)):
        print(
            f"{label}, {one['seconds']:.1f} s: {one['missing']} blocks missing, underruns "
            f"{one['underruns']}, clock {1000 * one['late']:.0f} ms late, live against offline "
            f"{one['null_db']:.0f} dB, {1000 * one['offlineSeconds'] / one['seconds']:.1f} ms a second"
        )
    assert live["level_db"] > -40
    assert live["missing"] == 0
    assert live["null_db"] < -120
    if idle:  # else other programs take the time
        assert not live["underruns"]
        assert live["late"] < 0.1
    else:
        print("underruns are printed only: other programs use this machine")


def test_without_faust_the_site_goes_without_the_page_and_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "tools/site")
    monkeypatch.setenv("PATH", "")
    from live import write_live

    assert not write_live(tmp_path)
    assert "apt-get install faust" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
