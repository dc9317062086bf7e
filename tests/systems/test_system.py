"""The face that all systems share: settings, training, and a checkpoint that comes back as it was."""

from dataclasses import dataclass

import pytest
import torch

from labkit.learn.checkpoints import CheckpointError, file_hash
from labkit.systems import synth, system
from labkit.systems.synth import train

# Its training sound is made on the way.
TINY = synth.SYSTEM.presets["kosc"].but(
    hidden=16, width=24, n_layers=1, batch_size=4, steps=2, warmup_steps=0
)


def test_a_setting_is_found_in_the_record_that_has_it():
    config = TINY.but(width=48, steps=7, seconds=2.0)
    assert (config.net.width, config.plan.steps, config.sound.seconds) == (48, 7, 2.0)
    with pytest.raises(ValueError, match=r"depth is not a setting of this system: .*width"):
        config.but(depth=3)


def test_a_checkpoint_comes_back_and_data_and_start_are_part_of_what_a_run_is(
    tmp_path, monkeypatch
):
    @dataclass(frozen=True)
    class Data:
        loudness: float = 1.0

    monkeypatch.setattr(train, "Data", Data)
    model = synth.SYSTEM.train(TINY, tmp_path / "a")
    assert not model.training
    path = tmp_path / "a.safetensors"
    assert synth.save(model, path) == file_hash(path)
    loaded = synth.load(path)
    assert loaded.config == TINY
    for name, value in loaded.state_dict().items():  # weights are kept in half precision
        torch.testing.assert_close(value, model.state_dict()[name], atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match=r"another config \(loudness\)"):
        synth.SYSTEM.train(TINY, tmp_path / "a", data=Data(loudness=0.5))
    begun = synth.SYSTEM.train(TINY.but(steps=1, learning_rate=0.0), tmp_path / "b", start=path)
    for name, value in begun.named_parameters():
        torch.testing.assert_close(value, loaded.get_parameter(name))
    with pytest.raises(ValueError, match=r"another config \(learning_rate, start\)"):
        synth.SYSTEM.train(TINY, tmp_path / "b")
    with pytest.raises(CheckpointError, match=r"another version of the model.*: size mismatch"):
        synth.SYSTEM.train(TINY.but(width=48), tmp_path / "c", start=path)


def test_building_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    first, second = (list(synth.build(TINY).parameters()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, first, second))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="system must be one of pedal_order"):
        system.system("pedals")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        synth.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"preset must be one that ships \(vital_.*got 'big'"):
        synth.SYSTEM.shipped_path("big")


@pytest.mark.parametrize("name", system.SYSTEMS)
def test_numbers_that_no_training_can_use_are_refused_before_it_begins(name, tmp_path):
    record = system.system(name)
    config = next(iter(record.presets.values()))
    for wrong in ({"batch_size": 0}, {"learning_rate": -1.0}, {"steps": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .*got "):
            record.train(config.but(**wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()
