"""The training loop of every system: logs, TensorBoard, atomic checkpoints, exact resume."""

import contextlib
import hashlib
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
_CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")
_HASH_BYTES = 32


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
            names = ("best.pt", "config.json", "gradients.jsonl", "log.jsonl", "training.log")
            for path in [*run_dir.glob("checkpoint.*"), *(run_dir / name for name in names)]:
                path.unlink(missing_ok=True)
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
    checkpoint. With several devices the first one's figures are logged. After an error, Ctrl-C or
    SIGTERM the checkpoint is that of the last whole step, and `training.log` says what happened. A
    finished run continues if `plan` has more steps.

    Args:
        dataset: at least ``steps * batch_size`` long; item ``i`` must depend on ``i`` alone.
        loss: with several devices it must call the model exactly once.
        run_dir: gets `checkpoint.pt`, the one before it, `log.jsonl`, `training.log` and
            TensorBoard's event files.
        validate: called every `validate_every` steps, a multiple of `log_every`, and at the end;
            its figures are logged.
        best: a figure of `validate`; the weights at its minimum are the result.

    Returns every logged row, those of earlier parts of the run included. Raises ValueError if
    `run_dir` holds a run with another `config` or with more steps, or is in use; FloatingPointError
    if the loss is not finite; OSError if `run_dir` cannot be written.
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
        torch.manual_seed(torch_generator(plan.seed, "training").initial_seed())
        wrapped, optimizer = fabric.setup(model, run.optimizer)
        run.resume()
        started = time.perf_counter()
        if first:
            stop = stack.enter_context(_deferred_signals())
            stack.enter_context(run.rescued())
            board = need("torch.utils.tensorboard").SummaryWriter(run.folder, purge_step=run.step)
            stack.enter_context(board)

        def log() -> None:
            """Complete the row of the last step, which may be that of an earlier process."""
            row = run.pending
            stop()
            if validate and (row["step"] % validate_every == 0 or row["step"] == plan.steps):
                row = row | validate(model.eval())
                wrapped.train()
                if best and (run.best is None or row[best] < run.best["figure"]):
                    run.best = {"figure": row[best], "model": _copy(model)}
            run.rows.append(row)
            run.between(None)
            run.note("  ".join(f"{name} {figure:.4g}" for name, figure in row.items()))
            for name, figure in row.items():
                if name != "step":
                    board.add_scalar(name, figure, row["step"])
            if on_log:
                on_log(row)

        wrapped.train()
        if first and run.pending:
            log()
            run.save()
        for batch in _batches(dataset, plan, run.step, fabric.global_rank):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(run.step)
            value, figures = loss(wrapped, {k: v.to(fabric.device) for k, v in batch.items()})
            if not torch.isfinite(value):
                raise FloatingPointError(f"the loss became {value.item()} at step {run.step}")
            fabric.backward(value)
            fabric.clip_gradients(wrapped, optimizer, max_norm=plan.clip_norm)
            run.is_whole = False
            optimizer.step()
            optimizer.zero_grad()
            run.step += 1
            if not first:
                continue
            last = run.step == plan.steps
            run.after_step()
            if run.step % log_every == 0 or last:
                row = {"step": run.step, "loss": value.item(), **figures}
                run.between({**row, "seconds": time.perf_counter() - started})
                log()
            if run.step % plan.checkpoint_every == 0 or last:
                run.save()
            stop()
        fabric.barrier()
    if not first:  # batch norm's running figures differ between devices: take the first one's
        run.resume()
    if run.best:
        model.load_state_dict(run.best["model"])
    return run.rows


class _Run:
    """The state of a run between two steps, from which another process can continue, and its files.

    `pending` is the row of the last step, before validation. `_kept` holds the weights after the
    last whole step: a step that fails may have changed some.
    """

    def __init__(self, folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self.config: dict[str, Any] = {}
        self.step, self.pending, self.best = 0, None, None
        self.rows: list[Row] = []
        self.is_whole = True
        self._saved = self._point = None

    def claim(self, config: Mapping[str, Any] | None, steps: int) -> None:
        """Write the config into a new run folder; refuse a folder with another config."""
        self.config = json.loads(json.dumps(dict(config or {})))
        path, state = self.folder / "config.json", self._newest()
        if state is not None or path.exists():
            try:
                held = json.loads(path.read_bytes()) if state is None else state["config"]
            except ValueError:
                raise ValueError(f"{path} is damaged: start again (--fresh)") from None
            names = self.config.keys() | held.keys()
            other = [name for name in names if self.config.get(name) != held.get(name)]
            if other := sorted(set(other) - {"steps"}):
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
            self.note(f"{done} of {steps} steps are done in {self.folder}", show=True)
        replace_text(path, json.dumps(self.config, indent=1, sort_keys=True))

    def resume(self) -> None:
        """Restore weights, optimiser, generator and rows, where there is a checkpoint."""
        state = self._newest()
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"])
            self.step, self.rows, self.pending, self.best = (
                state[name] for name in ("step", "rows", "pending", "best")
            )
        self._kept = _copy(self.model)
        self.between(self.pending)
        self._saved = self._point

    def after_step(self) -> None:
        """Keep what the step has made."""
        for name, tensor in self.model.state_dict().items():
            self._kept[name].copy_(tensor)
        self.between(None)
        self.is_whole = True

    def between(self, pending: Row | None) -> None:
        """Mark a point to go on from."""
        self.pending = pending
        self._point = (self.step, len(self.rows), pending, torch.get_rng_state())

    def save(self) -> None:
        """Write a checkpoint of the last point; the one before it is kept too."""
        step, n_rows, pending, rng = self._point
        rows = self.rows[:n_rows]
        state = {"step": step, "rows": rows, "pending": pending, "rng": rng, "best": self.best}
        state |= {"config": self.config, "model": self._kept}
        buffer = io.BytesIO()
        torch.save({**state, "optimizer": self.optimizer.state_dict()}, buffer)
        # The zip file's comment is a hash of all before it.
        content = buffer.getvalue()[:-2] + _HASH_BYTES.to_bytes(2, "little")
        path, previous = (self.folder / name for name in _CHECKPOINTS)
        with replacing(path) as temporary:
            temporary.write_bytes(content + hashlib.sha256(content).digest())
            if path.exists():
                path.replace(previous)
        replace_text(self.folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._saved = self._point

    def _newest(self) -> dict[str, Any] | None:
        """The last checkpoint that is whole; a damaged one is named and put aside."""
        for path in (self.folder / name for name in _CHECKPOINTS):
            content = path.read_bytes() if path.exists() else b""
            if content[-_HASH_BYTES:] == hashlib.sha256(content[:-_HASH_BYTES]).digest():
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if content:
                path.replace(path.with_suffix(".damaged"))
                self.note(f"{path} is damaged and put aside", show=True)
        return None

    @contextlib.contextmanager
    def rescued(self) -> Iterator[None]:
        """After an error, save the last point and log what happened."""
        try:
            yield
        except BaseException as error:
            asked = isinstance(error, (KeyboardInterrupt, SystemExit))
            with contextlib.suppress(OSError):
                self.note("stopped" if asked else traceback.format_exc().rstrip())
                if self.is_whole and self._point is not self._saved:
                    self.save()
                self.note(f"{self.folder}: {self._saved[0]} steps are kept", show=True)
            raise

    def note(self, text: str, *, show: bool = False) -> None:
        """A line of training.log, also on stderr if `show`."""
        if show:
            print(text, file=sys.stderr)
        with open(self.folder / "training.log", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@contextlib.contextmanager
def _deferred_signals() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait until the function that this gives is called; the second does not."""
    arrived: list[int] = []

    def arrive(number: int, _frame: Any) -> None:
        if arrived:
            raise KeyboardInterrupt
        arrived.append(number)
        os.write(2, b"stopping after this step\n")

    def stop() -> None:
        if arrived:
            raise KeyboardInterrupt if arrived[0] == signal.SIGINT else SystemExit(143)

    usual = {}
    if threading.current_thread() is threading.main_thread():
        kept = (signal.SIG_IGN, None)  # a background job ignores Ctrl-C
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) not in kept]
        usual = {number: signal.signal(number, arrive) for number in numbers}
    try:
        yield stop
        stop()
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
