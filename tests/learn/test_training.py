"""The training loop: it learns, it resumes to the same weights, and a kill loses nothing."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from labkit.learn.training import Plan, clear, fit
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


class Counter(nn.Module):
    """Counts steps in a weight that no gradient moves, as codewords and running means are."""

    def __init__(self):
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x):
        self.steps += self.training
        return x


def network():
    torch.manual_seed(0)
    layers = nn.Linear(1, 16), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1)
    return nn.Sequential(*layers, Counter())


PLAN = Plan(steps=60, batch_size=8, learning_rate=0.05, warmup_steps=5, checkpoint_every=10)


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.state_dict().values()])


def test_learns_a_line_and_leaves_torchs_own_generator_alone(tmp_path):
    model, before = network(), torch.get_rng_state()
    rows = fit(model, Line(), squared_error, PLAN, tmp_path, log_every=10)
    assert torch.equal(torch.get_rng_state(), before)
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


def test_a_killed_process_resumes_to_the_same_weights(whole, tmp_path, kill_at_checkpoint):
    kill_at_checkpoint(SCRIPT, __file__, tmp_path / "killed")
    assert torch.equal(run(tmp_path / "killed"), whole)
    log = (tmp_path / "killed" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(5, 65, 5))


def run(folder, loss=squared_error, plan=PLAN, **options):
    """A run of the toy; the weights at its end."""
    model = network()
    fit(model, Line(), loss, plan, folder, **{"log_every": 5, **options})
    return weights(model)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


class Fault:
    """A loss that acts once, after the step has changed random numbers."""

    def __init__(self, step, act):
        self.left, self.act = step, act

    def __call__(self, model, batch):
        found = squared_error(model, batch)
        self.left -= 1
        if self.left == 0:
            self.act()
        return found


def fail(*_):
    raise RuntimeError("a cable came loose")


@pytest.mark.parametrize(
    ("fault", "error", "done"),
    [
        ({"loss": Fault(37, fail)}, RuntimeError, 36),
        ({"loss": Fault(37, lambda: signal.raise_signal(signal.SIGINT))}, KeyboardInterrupt, 37),
        ({"loss": Fault(37, lambda: signal.raise_signal(signal.SIGTERM))}, SystemExit, 37),
        ({"validate": fail, "validate_every": 35}, RuntimeError, 30),
    ],
)
def test_after_any_error_a_run_goes_on_as_if_nothing_had_been(
    fault, error, done, whole, tmp_path, capfd, request
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(error) as caught:
        run(tmp_path, **fault)
    assert error is not SystemExit or caught.value.code == 143
    capfd.readouterr()
    assert torch.equal(run(tmp_path), whole)
    assert f"{done} of 60 steps are done" in capfd.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(5, 65, 5))
    if error is RuntimeError:
        log = (tmp_path / "training.log").read_text()
        assert "Traceback" in log
        assert "a cable came loose" in log


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path, plan=replace(PLAN, steps=10))
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"checkpoint.pt is damaged: start again \(--fresh\)"):
        run(tmp_path)


def test_a_finished_run_goes_on_with_more_steps_and_says_when_there_are_fewer(tmp_path, capfd):
    run(tmp_path, plan=replace(PLAN, steps=20), config={"steps": 20, "width": 1})
    steps = []
    more = {"plan": replace(PLAN, steps=40), "config": {"steps": 40, "width": 1, "n_workers": 2}}
    ended = run(tmp_path, **more, on_log=lambda row: steps.append(row["step"]))
    assert steps == [25, 30, 35, 40]
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 40
    # Here, because the processes that import this file do without.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drawn = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [point.step for point in drawn] == [5, 10, 15, 20, 25, 30, 35, 40]
    capfd.readouterr()
    assert torch.equal(run(tmp_path, **more), ended)
    assert "40 of 40 steps are done" in capfd.readouterr().err
    with pytest.raises(ValueError, match=r"steps must be at least 40, which the run .* got 30"):
        run(tmp_path, plan=replace(PLAN, steps=30), config={"steps": 30, "width": 1})
    with pytest.raises(ValueError, match=r"another config \(width\): give another folder"):
        run(tmp_path, plan=replace(PLAN, steps=50), config={"width": 2})
    clear(tmp_path)
    assert not list(tmp_path.glob("*[!0-9]"))  # but TensorBoard's


def test_the_best_weights_on_validation_are_the_result(tmp_path):
    def middle(model):
        seen.append(weights(model))
        return {"far": abs(len(seen) - 2.0)}

    seen = []
    options = {"validate": middle, "validate_every": 15, "best": "far"}
    with pytest.raises(RuntimeError):
        run(tmp_path, Fault(42, fail), **options)
    assert torch.equal(run(tmp_path, **options), seen[1])
    assert len(seen) == 4


def test_a_full_disk_ends_a_run_in_one_line_and_leaves_what_was_whole(whole, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(row):
        if row["step"] == 15:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    # Compiled files would be cut at the limit, too, and stay broken in the installation.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        said = f"^{tmp_path}/checkpoint.pt: cannot be written .File too large.$"
        with pytest.raises(OSError, match=said):
            run(tmp_path, on_log=full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob(".*"))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10
    assert torch.equal(run(tmp_path), whole)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_steps_before(tmp_path):
    def explode(model, batch):
        value, figures = squared_error(model, batch)
        return value / (0.0 if (tmp_path / "log.jsonl").exists() else 1.0), figures

    with pytest.raises(FloatingPointError, match="loss became inf at step 10"):
        run(tmp_path, explode)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10


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
