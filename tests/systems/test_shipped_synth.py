"""The synth checkpoints in data/ are the ones that their cards describe, and score again what the cards say."""

import hashlib
import json
from dataclasses import asdict

import pytest

from labkit.systems.synth_matching.checkpoint import load, shipped_path
from labkit.systems.synth_matching.evaluate import fixed_score

SHIPPED = ("vital_simple", "vital_full")


@pytest.mark.parametrize("parameters", SHIPPED)
def test_the_file_is_the_one_described(parameters: str) -> None:
    path = shipped_path(parameters)
    card, content, config = (
        json.loads(path.with_suffix(".json").read_text()),
        path.read_bytes(),
        load(path).config,
    )
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] <= 6_000_000
    assert json.loads(json.dumps(asdict(config))) == card["config"]
    assert config.parameters == parameters


@pytest.mark.parametrize("parameters", SHIPPED)
def test_it_scores_again_what_its_card_says(parameters: str) -> None:
    pytest.importorskip("vita", reason="the package vita is not installed")
    path = shipped_path(parameters)
    # Other processors round differently, and a switch of one patch of twelve may tip over: .5 dB is less than half
    # of what the worse of the two ways is behind the better.
    assert fixed_score(load(path)) == pytest.approx(
        json.loads(path.with_suffix(".json").read_text())["fixed_score"], abs=0.5
    )
