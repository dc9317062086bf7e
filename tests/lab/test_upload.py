import datetime
from pathlib import Path

import numpy as np
import pytest

from labkit.lab.clips import wav_bytes
from labkit.lab.upload import Upload, upload_or
from labkit.signal.files import AudioFileError

RATE = 22050


@pytest.fixture
def default(tmp_path: Path) -> Path:
    path = tmp_path / "riff.wav"
    path.write_bytes(wav_bytes(np.full((1, RATE), 0.25), RATE))
    return path


def give(widget: Upload, name: str, content: bytes) -> None:
    stamp = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    widget.button.value = (
        {
            "name": name,
            "type": "",
            "size": len(content),
            "last_modified": stamp,
            "content": content,
        },
    )


def test_the_default_is_used_until_something_comes(default: Path) -> None:
    widget = upload_or(default)
    assert (widget.audio.shape, widget.sample_rate, widget.name) == ((1, RATE), RATE, "riff.wav")
    assert repr(widget) == "Upload: riff.wav: 1.00 s, 1 channel, 22050 Hz"


def test_an_upload_replaces_it_and_calls_back(default: Path) -> None:
    calls: list[str] = []
    widget = upload_or(default, on_change=lambda found: calls.append(found.name))
    give(widget, "own & loud.wav", wav_bytes(np.full((2, 8000), 0.5), 8000))
    assert widget.audio.shape == (2, 8000)
    assert widget.audio[0, 0] == pytest.approx(0.5, abs=1e-4)
    assert (widget.sample_rate, calls) == (8000, ["own & loud.wav"])
    assert widget.status.value == "own &amp; loud.wav: 1.00 s, 2 channels, 8000 Hz"


def test_a_typed_path_works_too_and_the_reading_options_hold(default: Path, tmp_path: Path) -> None:
    (tmp_path / "two.wav").write_bytes(wav_bytes(np.zeros((2, 3 * RATE)), RATE))
    widget = upload_or(default, sample_rate=RATE // 2, mono=True, max_seconds=2.0)
    widget.path.value = f"'{tmp_path / 'two.wav'}' "
    assert (widget.audio.shape, widget.sample_rate) == ((1, RATE), RATE // 2)
    assert widget.status.value.endswith("silent")


@pytest.mark.parametrize("content", [b"", b"<html>not audio</html>", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused_in_words(default: Path, content: bytes) -> None:
    calls: list[str] = []
    widget = upload_or(default, on_change=lambda found: calls.append(found.name))
    give(widget, "bad.wav", content)
    assert widget.status.value.startswith('<b role="alert">bad.wav: ')
    assert widget.status.value.endswith("Still using riff.wav.")
    assert (widget.name, widget.audio.shape, calls) == ("riff.wav", (1, RATE), [])


def test_a_missing_path_is_refused_in_words(default: Path) -> None:
    widget = upload_or(default)
    widget.path.value = "/no/such/file.wav"
    assert "file.wav: an audio file was expected" in widget.status.value
    assert widget.name == "riff.wav"


def test_a_missing_default_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"none\.wav"):
        upload_or(tmp_path / "none.wav")
