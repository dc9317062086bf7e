"""The synth checkpoint in data/ is the one that its card describes, and scores again what the card says."""

import hashlib
import json
from dataclasses import asdict

import pytest

from labkit.systems.synth_matching.checkpoint import load, shipped_path
from labkit.systems.synth_matching.evaluate import fixed_score


def test_the_file_is_the_one_described() -> None:
    card, content = json.loads(shipped_path().with_suffix(".json").read_text()), shipped_path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] <= 4_000_000
    assert json.loads(json.dumps(asdict(load().config))) == card["config"]


def test_it_scores_again_what_its_card_says() -> None:
    pytest.importorskip("vita", reason="the package vita is not installed")
    card = json.loads(shipped_path().with_suffix(".json").read_text())
    # Other processors round differently, and a switch of one patch of twelve may tip over: .5 dB is less than half
    # of what the worse of the two ways is behind the better.
    assert fixed_score(load()) == pytest.approx(card["fixed_score"], abs=0.5)
