"""Progress bars, the reader's own file, and the dial of sizes."""

import re
import time

import numpy as np
import pytest

from labkit.lab.budget import budget, claim, pick
from labkit.lab.listen import wav_bytes
from labkit.lab.progress import Progress, progress
from labkit.lab.upload import Recorder, Upload

RATE = 22050


def test_a_bar_counts_items_and_shows_figures_and_the_time_that_is_left(capsys):
    steps = [time.sleep(0.06) for _ in progress(range(8), label="fit")]
    assert len(steps) == 8
    shown = capsys.readouterr().err.split("\r")
    assert any(re.search(r"fit .* [2-7]/8, 00:00 left", bar) for bar in shown)
    assert re.search(r"fit .* 8/8, 00:0\d *$", shown[-1])
    with Progress(2000, label="mine") as bar:
        for step in (1, 1000, 2000):
            bar.at(step, loss=1 / step)
        assert bar.n == 2000
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"mine .* 2000/2000, 00:00, loss=0.0005", last)


@pytest.fixture
def default(tmp_path):
    path = tmp_path / "riff.wav"
    path.write_bytes(wav_bytes(np.full((1, RATE), 0.25), RATE))
    return path


def give(widget, name, content, *, size=None):
    """What the browser does: a piece goes when the last has arrived, until no more are asked for."""
    asked = []
    widget.send = asked.append
    widget._on_message(widget, {"id": name, "name": name, "size": size or len(content)}, [])
    while "received" in asked[-1]:
        at = asked[-1]["received"]
        piece = memoryview(content)[at : at + 1000]
        widget._on_message(widget, {"id": name, "at": at}, [piece])
    assert asked[-1] == {"id": name}
    return asked


def test_a_take_is_kept_or_said_to_be_lost_and_each_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder, said = Recorder(), []
    recorder.observe(lambda change: said.append(change["new"]), "message")

    def take(value, pieces=1):
        piece = memoryview(np.full(65536, value, "<f4").tobytes())
        for k in range(pieces):
            recorder._receive(None, {"piece": k, "of": pieces, "rate": 192_000}, [piece])

    take(0.0)
    take(0.0)
    assert [text.startswith("The take is silent") for text in said] == [False, True] * 2
    take(0.5, pieces=60 * 192_000 // 65536 + 1)  # a minute
    assert recorder.path.stat().st_size > 60 * 192_000 * 3
    (tmp_path / "output").rename(tmp_path / "old")
    (tmp_path / "output").write_text("a file of this name")
    take(0.5)
    assert said[-1].startswith("The take is lost: ")


def test_of_a_long_file_the_first_half_minute_is_used_and_the_status_says_so(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wav_bytes(np.full((1, 31 * 8000), 0.25), 8000))
    assert Upload(path).status == "song.wav: the first 30.00 s, 8000 Hz"


def test_the_default_is_used_until_an_upload_replaces_it(default):
    widget = Upload(default)
    assert (widget.audio.shape, widget.sample_rate, widget.name) == ((1, RATE), RATE, "riff.wav")
    assert repr(widget) == "Upload: riff.wav: 1.00 s, 22050 Hz"
    for seconds in (1, 2):  # a name that was given before is a new file
        asked = give(
            widget, "../own & loud.wav", wav_bytes(np.full((2, 8000 * seconds), 0.5), 8000)
        )
        assert len(asked) == seconds * 32 + 2
        assert (widget.audio.shape, widget.sample_rate) == ((1, 8000 * seconds), 8000)
        assert widget.audio[0, 0] == pytest.approx(0.5, abs=1e-4)
        assert widget.status == f"own & loud.wav: {seconds}.00 s, 8000 Hz"


def test_an_upload_that_is_given_up_leaves_nothing_in_the_next(default):
    widget = Upload(default)
    widget._on_message(widget, {"id": "first", "name": "first.wav", "size": 5000}, [])
    widget._on_message(widget, {"id": "first", "at": 0}, [b"not a sound"])
    give(widget, "second.wav", wav_bytes(np.full((1, 8000), 0.5), 8000))
    widget._on_message(widget, {"id": "first", "at": 11}, [b"late"])
    assert (widget.status, widget.refused) == ("second.wav: 1.00 s, 8000 Hz", False)


def test_a_typed_path_works_too_resampled_and_cut(default, tmp_path):
    (tmp_path / "two.wav").write_bytes(wav_bytes(np.zeros((2, 31 * RATE)), RATE))
    widget = Upload(default, sample_rate=RATE // 2)
    widget._on_message(widget, {"path": f"'{tmp_path / 'two.wav'}' "}, [])
    assert (widget.audio.shape, widget.sample_rate) == ((1, 15 * RATE), RATE // 2)
    assert widget.status.endswith("silent")


@pytest.mark.parametrize("content", [b"", b"<html>not audio</html>", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused_in_words(default, content):
    widget = Upload(default)
    give(widget, "bad.wav", content)
    assert widget.status.startswith("bad.wav: ")
    assert widget.status.endswith("Still using riff.wav.")
    assert widget.refused
    assert (widget.name, widget.audio.shape) == ("riff.wav", (1, RATE))
    give(widget, "large.wav", content, size=2_000_000_000)
    assert "large.wav has 2000 MB, and at most 268 can be uploaded: type its path" in widget.status
    for path in ("/no/such/file.wav", "~nobody-here/file.wav", "x" * 300, "a\0b"):
        widget.refused = False
        widget.take(path)
        assert widget.refused
        assert widget.status.endswith(". Still using riff.wav.")


def test_the_dial_picks_and_refuses(monkeypatch):
    monkeypatch.delenv("LAB_BUDGET", raising=False)
    assert (budget(), pick(smoke=1, laptop=2, full=3)) == ("laptop", 2)
    for name, steps in (("smoke", 1), ("laptop", 2), ("full", 3)):
        monkeypatch.setenv("LAB_BUDGET", name)
        assert (budget(), pick(smoke=1, laptop=2, full=3)) == (name, steps)
    monkeypatch.setenv("LAB_BUDGET", "huge")
    with pytest.raises(ValueError, match="must be one of smoke, laptop, full, got 'huge'"):
        pick(smoke=1, laptop=2, full=3)


def test_a_claim_that_does_not_hold_stops_a_notebook_above_the_smoke_budget(monkeypatch, capsys):
    for name in ("smoke", "laptop"):
        monkeypatch.setenv("LAB_BUDGET", name)
        claim("one is less than two", 1 < 2)
    monkeypatch.setenv("LAB_BUDGET", "smoke")
    claim("two is less than one", 2 < 1)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "holds: one is less than two",
        "not at the smoke budget: two is less than one",
    ]
    monkeypatch.setenv("LAB_BUDGET", "laptop")
    with pytest.raises(AssertionError, match="does not hold: two is less than one"):
        claim("two is less than one", 2 < 1)
