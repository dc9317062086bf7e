"""The training loop: it learns, it resumes to the same weights, and a kill loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from labkit.learn.training import Plan, fit
from labkit.signal.seeds import torch_generator


class Line(Dataset):
    """y = 3 x - 1, drawn from the index alone."""

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        x = torch.rand(4, generator=torch_generator(0, "line", index))
        return {"x": x, "y": 3 * x - 1}


def squared_error(model, batch):
    error = (model(batch["x"].unsqueeze(-1)).squeeze(-1) - batch["y"]).square().mean()
    return error, {"error": error.item()}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))


PLAN = Plan(steps=60, batch_size=8, learning_rate=0.05, warmup_steps=5, checkpoint_every=10)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_learns_a_line(tmp_path):
    rows = fit(network(), Line(), squared_error, PLAN, tmp_path, log_every=10)
    assert rows[-1]["error"] < 0.4 * rows[0]["error"]
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == rows
    assert list(tmp_path.glob("events.out.tfevents*"))


class Stop(Exception):  # noqa: N818 - not an error
    """What a test raises to break a run off."""


def test_a_broken_run_resumes_to_the_same_weights(tmp_path):
    whole = network()
    fit(whole, Line(), squared_error, PLAN, tmp_path / "whole", log_every=5)

    def stop(row):
        if row["step"] == 35:
            raise Stop

    with pytest.raises(Stop):
        fit(network(), Line(), squared_error, PLAN, tmp_path / "broken", log_every=5, on_log=stop)
    resumed = network()
    rows = fit(resumed, Line(), squared_error, PLAN, tmp_path / "broken", log_every=5)
    assert torch.equal(weights(whole), weights(resumed))
    assert [row["step"] for row in rows] == list(range(5, 65, 5))


SCRIPT = """
import sys, time
from test_training import *
def slowly(model, batch):
    time.sleep(0.02)
    return squared_error(model, batch)
model = network()
fit(model, Line(), slowly, PLAN, sys.argv[1], log_every=5)
torch.save(weights(model), sys.argv[1] + "/end.pt")
"""


def test_a_killed_process_resumes_to_the_same_weights(tmp_path, kill_at_checkpoint):
    kill_at_checkpoint(SCRIPT, __file__, tmp_path / "killed")
    assert not (tmp_path / "killed" / "end.pt").exists()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    whole = network()
    fit(whole, Line(), squared_error, PLAN, tmp_path / "whole", log_every=5)
    assert torch.equal(torch.load(tmp_path / "killed" / "end.pt", weights_only=True), weights(whole))


def test_another_config_is_refused(tmp_path):
    fit(network(), Line(), squared_error, Plan(2, 4, 0.1), tmp_path, config={"width": 1})
    with pytest.raises(ValueError, match="holds a run with another config"):
        fit(network(), Line(), squared_error, Plan(2, 4, 0.1), tmp_path, config={"width": 2})


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path):
    def explode(model, batch):
        value, figures = squared_error(model, batch)
        step = len((tmp_path / "log.jsonl").read_text().splitlines()) if (tmp_path / "log.jsonl").exists() else 0
        return value / (0.0 if step else 1.0), figures

    with pytest.raises(FloatingPointError, match="loss became inf"):
        fit(network(), Line(), explode, PLAN, tmp_path, log_every=5)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10


def test_the_rate_rises_stays_and_falls():
    plan = Plan(steps=100, batch_size=1, learning_rate=1.0, warmup_steps=10, decay_share=0.2)
    assert [plan.rate(s) for s in (0, 4, 9, 50, 80)] == pytest.approx([0.1, 0.5, 1.0, 1.0, 1.0])
    assert [plan.rate(s) for s in (90, 99)] == pytest.approx([0.5, 0.05])
