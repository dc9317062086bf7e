"""The static book, made of one small notebook: its page plays, links, shows equations, and asks no other server."""

import http.server
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
from labkit.signal.shipped import load_phrase

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install playwright"
)
pytest.importorskip("furo", reason="no Sphinx here: pip install -e '.[site]'")

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

RENDER = """async ([samples, rate, steps]) =>
    Array.from(await (await import('./_static/live/live.js')).render(samples, rate, steps))"""
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
    wet = np.float32(pedals.evaluate(RENDER, [riff[0].tolist(), rate, steps]))[None]
    assert relative_error_db(chain.render(riff, rate), wet) < -80
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


@pytest.mark.long
def test_pedals_play_for_half_a_minute_without_a_dropout(pedals):
    pedals.get_by_role("button", name="play the riff").click()
    pedals.wait_for_function(f"Number({DATA}.seconds) > 1")
    late, dropouts = (float(pedals.evaluate(f"{DATA}.{name}")) for name in ("late", "dropouts"))
    pedals.wait_for_function(f"Number({DATA}.seconds) > 31")
    assert float(pedals.evaluate(f"{DATA}.late")) < late + 0.1  # the clock waits for late blocks
    assert float(pedals.evaluate(f"{DATA}.dropouts")) == dropouts


def test_without_faust_the_site_goes_without_the_page_and_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "tools/site")
    monkeypatch.setenv("PATH", "")
    from live import write_live

    assert not write_live(tmp_path)
    assert "apt-get install faust" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
