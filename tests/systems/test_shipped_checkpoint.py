"""The checkpoint in data/ is the one that its card describes, and scores again what the card says."""

import hashlib
import json

import numpy as np
import pytest

from labkit.measure.score import read
from labkit.signal.files import read_audio
from labkit.systems import pedal_order
from labkit.systems.pedal_order.baselines import canonical_names
from labkit.systems.pedal_order.evaluate import fixed_score
from labkit.systems.pedal_order.examination import evaluation_set, predictions


@pytest.fixture(scope="module")
def card():
    return json.loads(pedal_order.shipped_path().with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def model():
    return pedal_order.load()


def test_the_file_is_the_one_described(card):
    content = pedal_order.shipped_path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] <= 15_000_000


def test_it_scores_again_what_its_card_says(card, model):
    scores = fixed_score(model)
    for name, right in card["fixed_score"].items():
        # Other processors round differently: a chain or two may fall on the other side of a tie.
        assert scores[name] == pytest.approx(right, abs=2), name


def test_it_listens(model):
    """With every clip answered by another clip's audio, the score falls to the prior's."""
    tests = evaluation_set(model.config, pedal_order.PROTOCOLS["three"], "generated", 48, seed=11)
    said = [
        canonical_names(p.chain.names) for p in predictions(model, tests.pictures, tests.protocol)
    ]
    ours = np.mean([a == b for a, b in zip(said, tests.orders, strict=True)])
    shuffled = np.mean([a == b for a, b in zip(said[7:] + said[:7], tests.orders, strict=True)])
    # 48 clips at 1/16: more than 9 right by luck happens once in a thousand times.
    assert shuffled <= 9 / 48 < ours


def test_it_knows_chains_on_real_guitars(real_data, model):
    """The published row for real recordings holds on another draw of clips (n = 96: 2 standard errors are 0.1)."""
    assert real_data.is_dir()
    tests = evaluation_set(model.config, pedal_order.PROTOCOLS["three"], "real", 96, seed=12)
    said = [
        canonical_names(p.chain.names) for p in predictions(model, tests.pictures, tests.protocol)
    ]
    exact = np.mean([a == b for a, b in zip(said, tests.orders, strict=True)])
    row = next(
        r
        for r in read("pedal_order")
        if (r.protocol, r.sources, r.metric) == ("three", "real", "exact chain")
    )
    assert exact == pytest.approx(row.ours, abs=0.12)
    assert exact > 3 * row.chance


def test_an_unknown_real_chain_gets_a_chain(real_data, model):
    audio, sample_rate = read_audio(real_data / "pairs" / "fxchain_nicg" / "wet.flac")
    for shelf in (pedal_order.THREE, pedal_order.SIX):
        found = pedal_order.predict(model, audio, sample_rate, shelf=shelf)
        assert set(found.chain.names) <= set(shelf)
        assert 0 < found.probability <= 1
