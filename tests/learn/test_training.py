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


SCRIPT = """
import sys, time
from test_training import *
def slowly(model, batch):
    time.sleep(0.02)
    return squared_error(model, batch)
fit(network(), Line(), slowly, PLAN, sys.argv[1], log_every=5)
"""


def test_a_killed_process_resumes_to_the_same_weights(tmp_path, kill_at_checkpoint):
    kill_at_checkpoint(SCRIPT, __file__, tmp_path / "killed")
    resumed, whole = network(), network()
    fit(resumed, Line(), squared_error, PLAN, tmp_path / "killed", log_every=5)
    log = (tmp_path / "killed" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(5, 65, 5))
    fit(whole, Line(), squared_error, PLAN, tmp_path / "whole", log_every=5)
    assert torch.equal(weights(resumed), weights(whole))


def test_another_config_is_refused(tmp_path):
    fit(network(), Line(), squared_error, Plan(2, 4, 0.1), tmp_path, config={"width": 1})
    with pytest.raises(ValueError, match="holds a run with another config"):
        fit(network(), Line(), squared_error, Plan(2, 4, 0.1), tmp_path, config={"width": 2})


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path):
    def explode(model, batch):
        value, figures = squared_error(model, batch)
        step = (
            len((tmp_path / "log.jsonl").read_text().splitlines())
            if (tmp_path / "log.jsonl").exists()
            else 0
        )
        return value / (0.0 if step else 1.0), figures

    with pytest.raises(FloatingPointError, match="loss became inf"):
        fit(network(), Line(), explode, PLAN, tmp_path, log_every=5)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10


def test_the_rate_rises_stays_and_falls():
    plan = Plan(steps=100, batch_size=1, learning_rate=1.0, warmup_steps=10, decay_share=0.2)
    assert [plan.rate(s) for s in (0, 4, 9, 50, 80)] == pytest.approx([0.1, 0.5, 1.0, 1.0, 1.0])
    assert [plan.rate(s) for s in (90, 99)] == pytest.approx([0.5, 0.05])


def undropped(norm=False):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(1, 16), *([nn.BatchNorm1d(4)] if norm else []), nn.Tanh(), nn.Linear(16, 1)
    )


_TWO = """
import os
import sys
from dataclasses import replace
from pathlib import Path
import torch
from test_training import PLAN, Line, fit, squared_error, undropped

torch.set_num_threads(1)
rank = os.environ.get("LOCAL_RANK", "0")
for norm in (False, True):
    model, folder = undropped(norm), Path(sys.argv[1]) / ("norm" if norm else "plain")
    plan = replace(PLAN, n_devices=2)
    options = {"log_every": 5, "validate": lambda _: {"seen": 1.0}}
    rows = fit(model, Line(), squared_error, plan, folder, **options)
    torch.save({"model": model.state_dict(), "rows": rows}, folder / f"rank{rank}.pt")
"""


def test_two_devices_share_batches_and_end_where_one_does(tmp_path):
    """Each step's gradient is the mean of two halves. Figures and log are the first one's."""
    alone = undropped()
    rows = fit(alone, Line(), squared_error, PLAN, tmp_path / "alone", log_every=5)
    script = tmp_path / "two.py"
    script.write_text(_TWO)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind in ("plain", "norm"):
        one, other = (
            torch.load(tmp_path / kind / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)
        )
        assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
        assert one["rows"] == other["rows"]
        assert [row["step"] for row in one["rows"]] == [row["step"] for row in rows]
        assert one["rows"][-1]["seen"] == 1.0
        assert len(list((tmp_path / kind).glob("events.out.tfevents*"))) == 1
        if kind == "plain":
            assert one["rows"][-1]["error"] != rows[-1]["error"]  # of half a batch
            for name, weight in alone.state_dict().items():
                torch.testing.assert_close(one["model"][name], weight, rtol=1e-4, atol=1e-5)
