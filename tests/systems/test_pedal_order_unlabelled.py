"""Recordings without labels: who is in the archive, who is examined, and what the commands hand on."""

import numpy as np
import pytest

from labkit.cli import main
from labkit.signal.files import write_audio
from labkit.systems import pedal_order

RATE = 16000
SMALL = pedal_order.Config(
    protocols=("three",),
    sample_rate=RATE,
    seconds=0.5,
    preroll_seconds=0.1,
    n_mels=32,
    high_hz=7500.0,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    batch_size=4,
    n_workers=0,
)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "small.safetensors"
    pedal_order.save(pedal_order.build(SMALL), path)
    return path


@pytest.fixture
def takes(tmp_path, monkeypatch):
    """Four files of noise, two a folder, where the real recordings would lie."""
    for k, name in enumerate(
        ["guitar_di/a", "guitar_di/b", "guitar_acoustic/c", "guitar_acoustic/d"]
    ):
        path = tmp_path / "real" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(
            path, 0.1 * np.random.default_rng(k).standard_normal((1, RATE)).astype(np.float32), RATE
        )
    monkeypatch.setenv("LABKIT_REAL_DATA", str(tmp_path / "real"))
    return tmp_path / "real"


def test_the_command_begins_from_what_ships_and_says_what_it_learns_from(
    takes, checkpoint, tmp_path, monkeypatch, capsys
):
    seen = {}

    def fake(config, _run_dir, **options):
        seen.update(options, rate=config.learning_rate)
        return pedal_order.build(SMALL)

    monkeypatch.setattr(pedal_order, "train", fake)
    monkeypatch.setattr(pedal_order, "shipped_path", lambda: checkpoint)
    where = ["--run-dir", str(tmp_path / "run")]
    assert main(["train", "pedal_order", "--unlabelled", str(takes), *where]) == 0
    assert "of 4 recordings are heard with a probability of 0.5 or more" in capsys.readouterr().out
    assert (seen["start"], len(seen["recordings"])) == (checkpoint, 4)
    assert seen["rate"] == pytest.approx(pedal_order.Config().learning_rate / 10)
    assert main(["train", "pedal_order", *where]) == 0
    assert (seen["start"], seen["recordings"]) == (None, [])
    assert seen["rate"] == pedal_order.Config().learning_rate
    assert main(["train", "pedal_order", "--unlabelled", str(tmp_path / "nowhere"), *where]) == 1
    assert "a folder of audio files was expected" in capsys.readouterr().err
