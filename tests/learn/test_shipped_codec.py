"""The codec in data/ is the one that its card describes, and scores again what the card says."""

import hashlib
import json
from dataclasses import asdict

import pytest

from labkit.learn.codec import load, shipped_path
from labkit.learn.codec_scores import fixed_score


def test_the_file_is_the_one_described() -> None:
    card, content = (
        json.loads(shipped_path().with_suffix(".json").read_text()),
        shipped_path().read_bytes(),
    )
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] <= 10_000_000
    assert json.loads(json.dumps(asdict(load().config))) == card["config"]


def test_it_scores_again_what_its_card_says() -> None:
    card = json.loads(shipped_path().with_suffix(".json").read_text())
    # Other processors round differently, so a frame between two words may take the other one.
    assert fixed_score(load()) == pytest.approx(card["fixed_score"], abs=0.1)
