"""The shipped saturation checkpoint is the one its card describes, and scores as the card says."""

import json

import numpy as np
import pytest
from torch.utils.data import default_collate

from labkit.learn.checkpoints import file_hash
from labkit.measure.score import read
from labkit.systems import saturation
from labkit.systems.saturation.data import item
from labkit.systems.saturation.predict import predict_batch
from labkit.systems.saturation.score import draw, fixed_score


@pytest.fixture(scope="module")
def model():
    return saturation.load()


def test_file_and_score_are_those_of_the_card(model):
    path = saturation.SYSTEM.shipped_path()
    card = json.loads(path.with_suffix(".json").read_text())
    assert file_hash(path) == card["sha256"]
    assert path.stat().st_size == card["bytes"]
    assert card["parameters"] == sum(p.numel() for p in model.parameters()) <= 1_000_000
    assert card["config"] == model.config.flat()
    scores = fixed_score(model)
    for task, right in card["fixed_score"].items():
        # Other processors round differently: a curve may change at a tie, a depth moves by little.
        near = {"abs": 1} if task == "curves named" else {"abs": 0.02}
        assert scores[task] == pytest.approx(right, **near), task


def predicted_and_true(model, condition, sources, n, seed):
    tests = draw(model.config, saturation.CONDITIONS[condition], sources, n, seed=seed)
    batch = default_collate([item(model.config, example) for example in tests])
    depths = predict_batch(model, batch).of(batch["curve"]).exp().numpy()
    return depths, np.array([example.depth for example in tests])


def test_shuffled_sound_gives_chance(model):
    depth, true = predicted_and_true(model, "level", "generated", 24, 12)
    assert np.abs(depth - true).mean() < 0.3 * np.abs(true - true.mean()).mean()
    # Two independent uniform draws differ by a third of the range, 3.0 (the mean is off by 2.25);
    # 24 of them scatter by 0.45: 2 standard errors below.
    assert np.abs(np.roll(depth, 5) - true).mean() > 2.1


def test_real_recordings_score_as_the_table_says(real_data, model):
    """The published row for real recordings holds on another draw of clips (n = 24)."""
    assert real_data.is_dir()
    depth, true = predicted_and_true(model, "wet", "real", 24, 13)
    wanted = (saturation.CONDITIONS["wet"].description, "network", "real", "depth error")
    row = next(r for r in read("saturation") if (r.protocol, r.name, r.sources, r.metric) == wanted)
    error = np.abs(depth - true)
    # Twice the standard error of these 24 and half the width of the table's interval.
    near = 2 * error.std() / np.sqrt(24) + (row.high - row.low) / 2
    assert error.mean() == pytest.approx(row.ours, abs=near)
