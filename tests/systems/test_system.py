"""The face that all systems share: settings, training, and a checkpoint that comes back as it was."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from labkit.learn.checkpoints import CheckpointError, file_hash
from labkit.learn.training import Plan
from labkit.signal.seeds import seeded
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    sample_rate: int = 8000


@dataclass(frozen=True)
class Net:
    width: int = 3
    names: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True)
class Config(system.Config):
    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(default_factory=lambda: Plan(steps=120, batch_size=8, learning_rate=0.1))


class Doubler(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.layer = config, nn.Linear(config.net.width, 1)

    def forward(self, x):
        return self.layer(x)


@dataclass(frozen=True)
class Data:
    factor: float = 2.0


class Sums(Dataset):
    def __init__(self, config, data):
        self.width, self.factor = config.net.width, data.factor

    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        x = torch.randn(self.width, generator=torch.Generator().manual_seed(index))
        return {"x": x, "y": self.factor * x.sum(0, keepdim=True)}


def loss(model, batch):
    value = F.mse_loss(model(batch["x"]), batch["y"])
    return value, {"mse": value.item()}


@contextmanager
def training(config, data, _model, _run_dir):
    yield system.Training(Sums(config, data), loss, finish=lambda m: m.layer.bias.data.fill_(7.0))


@pytest.fixture
def toy(monkeypatch):
    """A system of one module, found the way that a package's modules are."""
    module = ModuleType("toy_system.train")
    module.Data, module.training = Data, training
    monkeypatch.setitem(sys.modules, "toy_system", ModuleType("toy_system"))
    monkeypatch.setitem(sys.modules, "toy_system.train", module)

    def build(config):
        return seeded(lambda: Doubler(config), config.plan.seed, "toy")

    return system.System("toy", {"default": Config()}, build, "toy_system", {})


def test_a_setting_is_found_in_the_record_that_has_it():
    config = Config().but(width=5, steps=7, sample_rate=16000)
    assert (config.net.width, config.plan.steps, config.sound.sample_rate) == (5, 7, 16000)
    assert Config.from_flat(config.flat()) == config
    with pytest.raises(ValueError, match=r"depth is not a setting of this system: .*width"):
        config.but(depth=3)


def test_training_learns_and_finishes_and_a_checkpoint_comes_back(toy, tmp_path):
    config = Config()
    model = toy.train(config, tmp_path / "run")
    assert torch.allclose(model.layer.weight, torch.full((1, 3), 2.0), atol=0.1)
    assert model.layer.bias.item() == 7.0
    assert not model.training
    digest = toy.save(model, tmp_path / "toy.safetensors")
    loaded = toy.load(tmp_path / "toy.safetensors")
    assert digest == file_hash(tmp_path / "toy.safetensors")
    assert loaded.config == config
    x = torch.randn(4, 3)
    assert torch.allclose(loaded(x), model(x), atol=1e-2)  # weights are kept in half precision


def test_data_and_start_are_part_of_what_a_run_is(toy, tmp_path):
    config = Config().but(steps=2)
    model = toy.train(config, tmp_path / "a")
    toy.save(model, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="another config"):
        toy.train(config, tmp_path / "a", data=Data(factor=3.0))
    begun = toy.train(config, tmp_path / "b", start=tmp_path / "a.safetensors")
    assert not torch.equal(begun.layer.weight, model.layer.weight)
    with pytest.raises(ValueError, match="another config"):
        toy.train(config, tmp_path / "b")


def test_building_leaves_the_random_state_alone(toy):
    before = torch.get_rng_state()
    first, second = toy.build(Config()), toy.build(Config())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.layer.weight, second.layer.weight)


def test_what_is_not_there_is_said(toy, tmp_path):
    with pytest.raises(ValueError, match="system must be one of pedal_order"):
        system.system("pedals")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        toy.load(tmp_path / "none.safetensors")
    named = system.System("toy", {"default": Config()}, Doubler, "toy_system", {"default": "toy"})
    with pytest.raises(ValueError, match=r"preset must be one that ships \(default\), got 'big'"):
        named.shipped_path("big")


@pytest.mark.parametrize("name", system.SYSTEMS)
def test_numbers_that_no_training_can_use_are_refused_before_it_begins(name, tmp_path):
    record = system.system(name)
    config = next(iter(record.presets.values()))
    for wrong in ({"batch_size": 0}, {"learning_rate": -1.0}, {"steps": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .*got "):
            record.train(config.but(**wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()
