"""The phrases in data/phrases: there, as their README says, and what the code makes."""

import re

import numpy as np
import pytest

from labkit.signal.files import describe
from labkit.signal.paths import data_dir
from labkit.signal.shipped import (
    load_phrase,
    make_phrases,
    phrase_names,
    phrase_path,
    render_phrase,
    samples_hash,
)
from labkit.signal.soundfont import SoundFontMissingError, find_soundfont

README = data_dir() / "phrases" / "README.md"


def test_readme_names_every_phrase_with_its_hash():
    stated = dict(re.findall(r"`(\w+)\.flac` .*`([0-9a-f]{64})`", README.read_text()))
    assert stated == {name: samples_hash(phrase_path(name)) for name in phrase_names()}
    assert "Frank Wen" in README.read_text()


def test_phrases_are_short_clean_and_small():
    assert sum(phrase_path(name).stat().st_size for name in phrase_names()) < 1_000_000
    for name in phrase_names():
        facts = describe(*load_phrase(name))
        assert (facts["channels"], facts["sample_rate"]) == (1, 44_100)
        assert 4 <= facts["seconds"] <= 6
        assert facts["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
        assert facts["clipped_share"] == 0


@pytest.mark.parametrize("name", phrase_names())
def test_rendered_anew_they_are_the_same(name):
    if not name.startswith("generated"):
        try:
            find_soundfont()
        except SoundFontMissingError as error:
            pytest.skip(f"no soundfont: {error}")
    shipped, _ = load_phrase(name)
    # One step of 16 bits for the rounding, another for the last bit of another platform's sine
    np.testing.assert_allclose(render_phrase(name), shipped, atol=2 / 32768)


def test_make_phrases_writes_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "labkit.signal.shipped._RECIPES", {"one": lambda: np.full((1, 44_100), 0.1, np.float32)}
    )
    hashes = make_phrases(tmp_path / "new")
    assert hashes == {"one": samples_hash(tmp_path / "new" / "one.flac")}


def test_an_unknown_phrase_is_named():
    with pytest.raises(ValueError, match=r"name must be one of riff, .*got 'solo'"):
        load_phrase("solo")
