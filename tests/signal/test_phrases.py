"""The phrases in data/phrases: there, as their README says, and what the code makes."""

import re
import runpy

import numpy as np
import pytest

from labkit.signal.paths import data_dir
from labkit.signal.sources import TAKES, load_phrase, phrase_names, phrase_path

README = data_dir() / "phrases" / "README.md"
TOOL = runpy.run_path(str(data_dir().with_name("tools") / "phrases.py"))


def test_readme_names_every_phrase_with_its_hash():
    stated = dict(re.findall(r"`(\w+)\.flac` .*`([0-9a-f]{64})`", README.read_text()))
    assert stated == {
        name: TOOL["samples_hash"](phrase_path(name)) for name in (*phrase_names(), *TAKES)
    }
    for maker in ("Frank Wen", "Mike Oliphant", "Placeboing", "Sub-d"):
        assert maker in README.read_text()


def test_phrases_are_short_clean_and_small():
    names = (*phrase_names(), *TAKES)
    assert sum(phrase_path(name).stat().st_size for name in names) < 1_200_000
    for name in names:
        audio, sample_rate = load_phrase(name)
        assert (len(audio), sample_rate) == (1, 44_100)
        assert 4 <= audio.shape[1] / sample_rate <= 6
        assert np.abs(audio).max() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("name", phrase_names())
def test_rendered_anew_they_are_the_same(name, request):
    if not name.startswith("generated"):
        request.getfixturevalue("soundfont")
    # One step of 16 bits for the rounding, another for the last bit of another platform's sine
    rendered = TOOL["render_phrase"](name)
    np.testing.assert_allclose(rendered, load_phrase(name)[0], atol=2 / 32768)


def test_every_rendered_phrase_has_a_recipe():
    assert tuple(TOOL["RECIPES"]) == phrase_names()
