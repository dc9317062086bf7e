"""One training loop for every system: logs, TensorBoard, atomic checkpoints, exact resume."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from labkit.signal.optional import need
from labkit.signal.paths import replace_text, replacing
from labkit.signal.seeds import torch_generator

Batch = Mapping[str, Tensor]
# (model, batch) -> (scalar to minimise, figures to log).
Loss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]]
Row = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in all.
        batch_size: examples per step, over all devices.
        learning_rate: of the plateau between a linear warm-up and a decay to zero.
        warmup_steps: length of the warm-up.
        decay_share: share of the steps, at the end, over which the rate falls linearly to zero.
            Before that a run does not depend on `steps`, so a plateau can be prolonged.
        weight_decay: of AdamW, for matrices only.
        clip_norm: largest gradient norm.
        checkpoint_every: steps between checkpoints; there is one more at the end.
        precision: as Lightning Fabric names it, e.g. ``"bf16-mixed"``.
        n_workers: processes that make examples, for each device.
        n_devices: GPUs, or processes where there is none, that share every batch evenly. They run
            the script or command again, so more than one does not work in notebooks.
        seed: of weights and dropout.

    Raises:
        ValueError: if the devices cannot share a batch evenly.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 0
    decay_share: float = 0.3
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    checkpoint_every: int = 200
    precision: str = "32-true"
    n_workers: int = 0
    n_devices: int = 1
    seed: int = 0

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
    log_every: int = 20,
    validate_every: int = 1000,
) -> list[Row]:
    """Train `model` in place; a run that was killed and called again ends at the same weights.

    Step ``s`` takes examples ``s * batch_size`` onwards; dropout's generator state is part of the
    checkpoint. With several devices the first one's figures are logged.

    Args:
        dataset: at least ``steps * batch_size`` long; item ``i`` must depend on ``i`` alone.
        loss: with several devices it must call the model exactly once.
        run_dir: gets `checkpoint.pt`, `log.jsonl` and TensorBoard's event files; ValueError if it
            was begun with another `config`, FloatingPointError if the loss is not finite.
        validate: called every `validate_every` steps, a multiple of `log_every`, and at the end;
            its figures are logged.

    Returns:
        Every logged row, those of earlier parts of the run included.
    """
    if validate_every % log_every:
        raise ValueError(
            f"validate_every must be a multiple of log_every {log_every}, got {validate_every}"
        )
    run_dir = Path(run_dir)
    _claim(run_dir, config)
    fabric = need("lightning_fabric").Fabric(
        accelerator="auto",
        devices=plan.n_devices,
        strategy="ddp" if plan.n_devices > 1 else "auto",
        precision=plan.precision,
    )
    fabric.launch()
    torch.manual_seed(torch_generator(plan.seed, "training").initial_seed())
    wrapped, optimizer = fabric.setup(model, _adamw(model, plan))
    step, rows = _resume(run_dir, model, optimizer)
    first = fabric.is_global_zero
    started = time.perf_counter()
    writer = None
    if first:
        writer = need("torch.utils.tensorboard").SummaryWriter(run_dir, purge_step=step)
    wrapped.train()
    for batch in _batches(dataset, plan, step, fabric.global_rank):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        value, figures = loss(wrapped, {k: v.to(fabric.device) for k, v in batch.items()})
        if not torch.isfinite(value):
            raise FloatingPointError(
                f"the loss became {value.item()} at step {step}; the last checkpoint is kept"
            )
        fabric.backward(value)
        fabric.clip_gradients(wrapped, optimizer, max_norm=plan.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        last = step == plan.steps
        if first and (step % log_every == 0 or last):
            row = {"step": step, "loss": value.item(), **figures}
            row["seconds"] = time.perf_counter() - started
            if validate and (step % validate_every == 0 or last):
                row |= validate(model.eval())
                wrapped.train()
            rows.append(row)
            for name, figure in row.items():
                if name != "step":
                    writer.add_scalar(name, figure, step)
            if on_log:
                on_log(row)
        if first and (step % plan.checkpoint_every == 0 or last):
            _checkpoint(run_dir, step, model, optimizer, rows)
    if writer:
        writer.close()
    fabric.barrier()
    if not first:  # batch norm's running figures differ between devices: take the first one's
        rows = _resume(run_dir, model, optimizer)[1]
    return rows


def _adamw(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


def _claim(run_dir: Path, config: Mapping[str, Any] | None) -> None:
    """Write the config into a new run folder; refuse a folder with another one."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "config.json"
    text = json.dumps(dict(config or {}), indent=1, sort_keys=True)
    if path.exists() and path.read_text() != text:
        raise ValueError(
            f"{run_dir} holds a run with another config; give a new run_dir or delete it"
        )
    replace_text(path, text)


def _resume(
    run_dir: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list[Row]]:
    """The step to go on at and the rows so far; restores weights, optimiser and generator."""
    path = run_dir / "checkpoint.pt"
    if not path.exists():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    return state["step"], state["rows"]


def _checkpoint(
    run_dir: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, rows: list[Row]
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "rows": rows,
    }
    with replacing(run_dir / "checkpoint.pt") as temporary:
        torch.save(state, temporary)
    replace_text(run_dir / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


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
