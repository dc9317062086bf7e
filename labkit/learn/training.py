"""The training loop of every system: logs, TensorBoard, atomic checkpoints, exact resume."""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from labkit.signal.optional import need
from labkit.signal.paths import alone, replace_text, replacing
from labkit.signal.seeds import torch_generator

Batch = Mapping[str, Tensor]
# (model, batch) -> (scalar to minimise, figures to log).
Loss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]]
Row = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int  # number of optimiser steps
    batch_size: int  # examples per step, over all devices
    learning_rate: float  # highest learning rate, after the warm-up and before the decay
    warmup_steps: int = 0  # steps over which the learning rate rises linearly from zero
    # share of the steps, 0 to 1, at the end, over which the learning rate falls linearly to zero. A
    # run that has not reached this decay can still be given more steps
    decay_share: float = 0.3
    weight_decay: float = 0.0  # weight decay of AdamW, for weight matrices only
    clip_norm: float = 1.0  # gradients with a larger norm are scaled down to it
    checkpoint_every: int = 200  # steps between checkpoints; there is also one at the end
    precision: str = "32-true"  # number format, as in Lightning Fabric, e.g. "bf16-mixed"
    n_workers: int = 0  # processes per device that prepare examples
    # number of GPUs (of processes without a GPU) that share every batch; it must divide batch_size.
    # In a notebook it must be 1, because each process starts the whole program again
    n_devices: int = 1
    seed: int = 0  # random seed of initial weights, dropout and examples

    def __post_init__(self) -> None:
        if self.n_devices < 1 or self.batch_size % self.n_devices:
            raise ValueError(
                f"n_devices must divide batch_size {self.batch_size}, got {self.n_devices}"
            )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rising = (step + 1) / max(1, self.warmup_steps)
        falling = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * min(1.0, rising, falling)


def is_first_process() -> bool:
    """Whether this process writes files; of several that share the batches, only one does."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def clear(run_dir: Path) -> None:
    """Delete the run in a folder, but no other files; ValueError if the run is in progress."""
    if run_dir.is_dir() and is_first_process():
        with alone(run_dir):
            names = ("checkpoint.pt", "config.json", "gradients.jsonl", "log.jsonl", "training.log")
            for name in names:
                (run_dir / name).unlink(missing_ok=True)
            for name in ("cache", "proxy"):
                shutil.rmtree(run_dir / name, ignore_errors=True)
        (run_dir / "lock").unlink()


def fit(
    model: nn.Module,
    dataset: Dataset,
    loss: Loss,
    plan: Plan,
    run_dir: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    on_log: Callable[[Row], None] | None = None,
    validate: Callable[[nn.Module], Row] | None = None,
    best: str | None = None,
    log_every: int = 20,
    validate_every: int = 1000,
) -> list[Row]:
    """Train `model` in place. An interrupted run that is called again ends at the same weights.

    Step ``s`` takes examples ``s * batch_size`` onwards; dropout's generator state is part of the
    checkpoint. With several devices the first one's figures are logged. After Ctrl-C, SIGTERM or an
    error in a step or its data the checkpoint is that of the last whole step; after an error in
    `validate` or `on_log` it is the last one written. `training.log` says what happened. A finished
    run continues if `plan` has more steps.

    Args:
        dataset: at least ``steps * batch_size`` long; item ``i`` must depend on ``i`` alone.
        loss: with several devices it must call the model exactly once.
        run_dir: gets `checkpoint.pt`, `config.json`, `log.jsonl`, `training.log` and TensorBoard's
            event files.
        validate: called every `validate_every` steps, a multiple of `log_every`, and at the end;
            its figures are logged.
        best: a figure of `validate`; the weights at its minimum are the result.

    Returns every logged row, those of earlier parts of the run included. Raises ValueError if
    `run_dir` holds a run with another `config` or with more steps, is in use, or has a damaged
    checkpoint; FloatingPointError if the loss is not finite; OSError if `run_dir` cannot be
    written.
    """
    if validate_every % log_every:
        raise ValueError(
            f"validate_every must be a multiple of log_every {log_every}, got {validate_every}"
        )
    first = is_first_process()
    run = _Run(Path(run_dir), model, _adamw(model, plan))
    with contextlib.ExitStack() as stack:
        if first:
            run.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(run.folder))
            run.claim(config, plan.steps)
        fabric = need("lightning_fabric").Fabric(
            accelerator="auto",
            devices=plan.n_devices,
            strategy="ddp" if plan.n_devices > 1 else "auto",
            precision=plan.precision,
        )
        fabric.launch()
        # Torch's own generators go on afterwards as if there had been no training.
        stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        torch.manual_seed(torch_generator(plan.seed, "training").initial_seed())
        wrapped, optimizer = fabric.setup(model, run.optimizer)
        run.resume()
        started = time.perf_counter()
        if first:
            signals = stack.enter_context(_deferred_signals())
            writer = need("torch.utils.tensorboard").SummaryWriter
            board = stack.enter_context(writer(run.folder, purge_step=run.step + 1))
            stack.enter_context(run.rescued())
        wrapped.train()
        run.begin_step()
        for batch in _batches(dataset, plan, run.step, fabric.global_rank):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(run.step)
            value, figures = loss(wrapped, {k: v.to(fabric.device) for k, v in batch.items()})
            if not torch.isfinite(value):
                raise FloatingPointError(f"the loss became {value.item()} at step {run.step}")
            fabric.backward(value)
            fabric.clip_gradients(wrapped, optimizer, max_norm=plan.clip_norm)
            run.before = None  # from here on the weights change
            optimizer.step()
            optimizer.zero_grad()
            run.step += 1
            if not first:
                continue
            last = run.step == plan.steps
            if run.step % log_every == 0 or last:
                row = {"step": run.step, "loss": value.item(), **figures}
                row["seconds"] = time.perf_counter() - started
                if validate and (run.step % validate_every == 0 or last):
                    row |= validate(model.eval())
                    wrapped.train()
                    if best and (run.best is None or row[best] < run.best["figure"]):
                        run.best = {"figure": row[best], "model": deepcopy(model.state_dict())}
                run.rows.append(row)
                for name, figure in row.items():
                    if name != "step":
                        board.add_scalar(name, figure, run.step)
                if on_log:
                    on_log(row)
            stopping = bool(signals)
            if run.step % plan.checkpoint_every == 0 or last or stopping:
                run.save()
            if stopping:
                raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(143)
            run.begin_step()
        fabric.barrier()
    if not first:  # batch norm's running figures differ between devices: take the first one's
        run.resume()
    if run.best:
        model.load_state_dict(run.best["model"])
    return run.rows


class _Run:
    """A run between two steps, from which another process can continue, and its files."""

    def __init__(self, folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self.path = folder / "checkpoint.pt"
        self.config: dict[str, Any] = {}
        self.step, self.best = 0, None
        self.rows: list[Row] = []
        # What a step changes before the optimiser does, and the generators on CPU and GPUs.
        self.before: tuple[list[Tensor], Tensor, list[Tensor]] | None = None

    def begin_step(self) -> None:
        """Keep what `rescued` needs to undo a step that fails."""
        kept = [tensor.detach().clone() for tensor in self._without_gradient()]
        self.before = kept, torch.get_rng_state(), torch.cuda.get_rng_state_all()

    def _without_gradient(self) -> list[Tensor]:
        """Buffers, and weights such as codewords or the running mean of others."""
        frozen = (weight for weight in self.model.parameters() if not weight.requires_grad)
        return [*self.model.buffers(), *frozen]

    @contextlib.contextmanager
    def rescued(self) -> Iterator[None]:
        """After an error, log it in `training.log` and save the run as before the step."""
        try:
            yield
        except Exception:
            with contextlib.suppress(OSError):
                with open(self.folder / "training.log", "a", encoding="utf-8") as file:
                    file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {traceback.format_exc()}")
                if self.before is not None:
                    for tensor, value in zip(self._without_gradient(), self.before[0], strict=True):
                        tensor.data.copy_(value)
                    torch.set_rng_state(self.before[1])
                    torch.cuda.set_rng_state_all(self.before[2])
                    self.save()
            raise

    def claim(self, config: Mapping[str, Any] | None, steps: int) -> None:
        """Write the config into a new run folder; refuse a folder with another config.

        Only the steps and the worker processes, which change no example, may differ.
        """
        self.config = json.loads(json.dumps(dict(config or {})))
        path, state = self.folder / "config.json", self._state()
        if state is not None or path.exists():
            try:
                held = json.loads(path.read_bytes()) if state is None else state["config"]
            except ValueError:
                raise ValueError(f"{path} is damaged: start again (--fresh)") from None
            names = self.config.keys() | held.keys()
            other = [name for name in names if self.config.get(name) != held.get(name)]
            if other := sorted(set(other) - {"steps", "n_workers"}):
                raise ValueError(
                    f"{self.folder} holds a run with another config ({', '.join(other)}): give "
                    "another folder (--run-dir), or start again (--fresh)"
                )
        done = state["step"] if state else 0
        if done > steps:
            raise ValueError(
                f"steps must be at least {done}, which the run in {self.folder} has done, got "
                f"{steps}: give another folder (--run-dir), or start again (--fresh)"
            )
        if done:
            print(f"{done} of {steps} steps are done in {self.folder}", file=sys.stderr)
        replace_text(path, json.dumps(self.config, indent=1, sort_keys=True))

    def resume(self) -> None:
        """Restore weights, optimiser, generator and rows, where there is a checkpoint."""
        state = self._state()
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"])
            n_gpus = torch.cuda.device_count()  # the run may have begun on another machine
            torch.cuda.set_rng_state_all(state.get("gpu_rng", [])[:n_gpus])
            self.step, self.rows, self.best = state["step"], state["rows"], state["best"]

    def save(self) -> None:
        """Write the checkpoint and the log."""
        state = {"step": self.step, "rows": self.rows, "best": self.best, "config": self.config}
        state |= {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        with replacing(self.path) as temporary:
            # In one piece: torch says nothing of a full disk.
            buffer = io.BytesIO()
            rng = {"rng": torch.get_rng_state(), "gpu_rng": torch.cuda.get_rng_state_all()}
            torch.save(state | rng, buffer)
            temporary.write_bytes(buffer.getbuffer())
        rows = "".join(json.dumps(row) + "\n" for row in self.rows)
        replace_text(self.folder / "log.jsonl", rows)

    def _state(self) -> dict[str, Any] | None:
        """The checkpoint, if there is one."""
        if not self.path.exists():
            return None
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch and zip have many kinds
            raise ValueError(f"{self.path} is damaged: start again (--fresh)") from error


@contextlib.contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM only become numbers in the list that this gives; the second one acts."""
    arrived: list[int] = []

    def arrive(number: int, _frame: Any) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)
        os.write(2, b"stopping after this step\n")

    usual = {}
    if threading.current_thread() is threading.main_thread():
        kept = (signal.SIG_IGN, None)  # a background job ignores Ctrl-C
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) not in kept]
        usual = {number: signal.signal(number, arrive) for number in numbers}
    try:
        yield arrived
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _adamw(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


def _batches(dataset: Dataset, plan: Plan, step: int, rank: int) -> Iterator[Batch]:
    # Device k of n takes every n-th example from k on.
    indices = range(step * plan.batch_size + rank, plan.steps * plan.batch_size, plan.n_devices)
    # Workers are spawned: forking a process that has started torch's threads can hang.
    workers = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if plan.n_workers else {}
    loader = DataLoader(
        dataset,
        plan.batch_size // plan.n_devices,
        sampler=indices,
        num_workers=plan.n_workers,
        # Not torch's own generator: dropout is resumed with that one.
        generator=torch_generator(plan.seed, "loader"),
        worker_init_fn=_one_thread,
        **workers,
    )
    return iter(loader)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
