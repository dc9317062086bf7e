"""Progress bars, the reader's own file, and the dial of sizes."""

import datetime

import numpy as np
import pytest

from labkit.lab.budget import budget, pick
from labkit.lab.listen import wav_bytes
from labkit.lab.progress import Progress, progress
from labkit.lab.upload import Upload
from labkit.signal.files import AudioFileError

RATE = 22050


def test_a_bar_counts_items_and_shows_figures_without_times(capsys):
    assert list(progress(range(7), label="fit")) == list(range(7))
    assert "fit" in capsys.readouterr().err
    with Progress(2000) as bar:
        for step in (1, 1000, 2000):
            bar.at(step, loss=1 / step)
        assert bar.n == 2000
    last = capsys.readouterr().err.split("\r")[-1]
    assert "2000/2000" in last
    assert "loss=0.0005" in last
    assert "it/s" not in last


@pytest.fixture
def default(tmp_path):
    path = tmp_path / "riff.wav"
    path.write_bytes(wav_bytes(np.full((1, RATE), 0.25), RATE))
    return path


def give(widget, name, content):
    stamp = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    sent = {"name": name, "type": "", "size": len(content), "last_modified": stamp}
    widget.button.value = ({**sent, "content": content},)


def test_the_default_is_used_until_an_upload_replaces_it(default):
    widget = Upload(default)
    assert (widget.audio.shape, widget.sample_rate, widget.name) == ((1, RATE), RATE, "riff.wav")
    assert repr(widget) == "Upload: riff.wav: 1.00 s, 22050 Hz"
    give(widget, "own & loud.wav", wav_bytes(np.full((2, 8000), 0.5), 8000))
    assert (widget.audio.shape, widget.sample_rate) == ((1, 8000), 8000)
    assert widget.audio[0, 0] == pytest.approx(0.5, abs=1e-4)
    assert widget.status.value == "own &amp; loud.wav: 1.00 s, 8000 Hz"


def test_a_typed_path_works_too_resampled_and_cut(default, tmp_path):
    (tmp_path / "two.wav").write_bytes(wav_bytes(np.zeros((2, 31 * RATE)), RATE))
    widget = Upload(default, sample_rate=RATE // 2)
    widget.path.value = f"'{tmp_path / 'two.wav'}' "
    assert (widget.audio.shape, widget.sample_rate) == ((1, 15 * RATE), RATE // 2)
    assert widget.status.value.endswith("silent")


@pytest.mark.parametrize("content", [b"", b"<html>not audio</html>", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused_in_words(default, content):
    widget = Upload(default)
    give(widget, "bad.wav", content)
    assert widget.status.value.startswith('<b role="alert">bad.wav: ')
    assert widget.status.value.endswith("Still using riff.wav.")
    assert (widget.name, widget.audio.shape) == ("riff.wav", (1, RATE))
    widget.path.value = "/no/such/file.wav"
    assert "file.wav: an audio file was expected" in widget.status.value


def test_a_missing_default_is_an_error(tmp_path):
    with pytest.raises(AudioFileError, match=r"none\.wav"):
        Upload(tmp_path / "none.wav")


def test_the_dial_picks_and_refuses(monkeypatch):
    monkeypatch.delenv("LAB_BUDGET", raising=False)
    assert (budget(), pick(smoke=1, laptop=2, full=3)) == ("laptop", 2)
    for name, steps in (("smoke", 1), ("laptop", 2), ("full", 3)):
        monkeypatch.setenv("LAB_BUDGET", name)
        assert (budget(), pick(smoke=1, laptop=2, full=3)) == (name, steps)
    monkeypatch.setenv("LAB_BUDGET", "huge")
    with pytest.raises(ValueError, match="must be one of smoke, laptop, full, got 'huge'"):
        pick(smoke=1, laptop=2, full=3)
