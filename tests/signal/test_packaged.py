"""Albums and voices of Debian's packages: one split each, stems as one, silence passed over."""

import numpy as np
import pytest
import soundfile

from labkit.signal import packaged
from labkit.signal.packaged import Group, Packaged, groups
from labkit.signal.seeds import generator

RATE = 22_050


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two songs of two stems, of which one is silent at first, and a voice."""
    table = {
        "band": Group("music", "train", "songs", "songs/*/*.wav"),
        "voice": Group("speech", "test", "prompts", "prompts/*.wav"),
    }
    monkeypatch.setattr(packaged, "_SHARE", tmp_path)
    monkeypatch.setattr(packaged, "groups", lambda: table)
    packaged._installed.cache_clear()
    packaged._seconds.cache_clear()
    for song in ("a", "b"):
        (tmp_path / "songs" / song).mkdir(parents=True)
        for stem, level in (("song", 0.1), ("guitar", 0.2)):
            sound = np.full(4 * RATE, level)
            if song == "b":
                sound[: 2 * RATE] = 0
            soundfile.write(tmp_path / "songs" / song / f"{stem}.wav", sound, RATE)
    (tmp_path / "prompts").mkdir()
    soundfile.write(tmp_path / "prompts" / "one.wav", np.full(RATE, 0.1), RATE)  # a word: too short
    yield
    packaged._installed.cache_clear()


@pytest.mark.usefixtures("installed")
def test_stems_are_added_and_silent_places_passed_over():
    source = Packaged("music", seconds=0.5, sample_rate=RATE)
    assert source.groups("train") == ["packaged/band"]
    clips = [source.clip(generator(k, "clips"), "train") for k in range(12)]
    assert {clip.audio.shape for clip in clips} == {(1, RATE // 2)}
    assert min(clip.audio.max() for clip in clips) == pytest.approx(0.3, abs=1e-3)


@pytest.mark.usefixtures("installed")
def test_what_is_not_installed_is_named():
    for kind, split, package in (("speech", "test", "prompts"), ("music", "validation", "")):
        with pytest.raises(FileNotFoundError, match=f"apt-get install {package}"):
            Packaged(kind, seconds=0.5, sample_rate=RATE).groups(split)


def test_no_album_and_no_voice_is_in_two_splits():
    table = groups()
    assert {group.split for group in table.values()} == {"train", "validation", "test"}
    voices: dict[str, set[str]] = {}
    for name, group in table.items():
        voices.setdefault(name.partition("_")[0], set()).add(group.split)
    assert all(len(splits) == 1 for splits in voices.values())
    files = [file for group in table.values() for parts in group.recordings() for file in parts]
    assert len(files) == len(set(files))
