"""One training loop for every system: progress, TensorBoard, atomic checkpoints, and exact resume."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from labkit.signal.optional import need
from labkit.signal.paths import replace_text
from labkit.signal.seeds import torch_generator

Batch = Mapping[str, Tensor]
# (model, batch) -> (scalar to minimise, figures to log)
Loss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in all.
        batch_size: examples a step.
        learning_rate: of the plateau between a linear warm-up and a decay to zero.
        warmup_steps: length of the warm-up.
        decay_share: share of the steps, at the end, over which the rate falls linearly to zero. Up to there a
            run does not depend on `steps`, so a plateau can be prolonged.
        weight_decay: of AdamW.
        clip_norm: largest gradient norm.
        checkpoint_every: steps between checkpoints (one more at the end).
        precision: Lightning Fabric's.
        n_workers: processes that make examples beside each training one.
        n_devices: GPUs, or where there is none processes, that share every batch evenly; they are started by running
            the script or command again, so more than one is not for notebooks.
        seed: of dropout and the like; the data set brings its own.

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
        """The learning rate of a step, 0-based."""
        rising = (step + 1) / max(1, self.warmup_steps)
        falling = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * min(1.0, rising, falling)


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """torch.save under a temporary name, then rename: a killed write leaves the old checkpoint whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(dict(state), temporary)
    os.replace(temporary, path)


def fit(
    model: nn.Module,
    dataset: Dataset,
    loss: Loss,
    plan: Plan,
    run_dir: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    log_every: int = 20,
    validate_every: int = 1000,
) -> list[dict[str, float]]:
    """Train `model` in place; killed and called again, it ends at the same weights.

    Example ``i`` of `dataset` must depend on ``i`` alone: step ``s`` takes examples ``s * batch_size`` onwards, so a
    resumed run sees what the unbroken one would have seen. Dropout's generator state is part of the checkpoint.
    Several devices see the same batches in parts, and the first one's figures are logged; their gradients meet in calls
    of `model` itself, so `loss` must make one such call.

    Args:
        model: a module; moved to the accelerator that Lightning Fabric finds.
        dataset: map-style, at least ``steps * batch_size`` long.
        loss: (model, batch) -> (scalar, figures to log).
        plan: sizes and rates.
        run_dir: gets `checkpoint.pt`, `log.jsonl` and TensorBoard's event files.
        config: what the run is; a `run_dir` begun with another one is refused.
        on_log: called with each logged row, e.g. to draw progress.
        validate: called every `validate_every` steps and at the end; its figures are logged.
        log_every: steps between log rows.
        validate_every: steps between validations.

    Returns:
        Every row logged, those of earlier parts of the run included.

    Raises:
        ValueError: if `run_dir` belongs to another config.
        FloatingPointError: if the loss is not finite (the last checkpoint stays).
    """
    run_dir = Path(run_dir)
    _claim(run_dir, config)
    strategy = "ddp" if plan.n_devices > 1 else "auto"
    given = {"devices": plan.n_devices, "strategy": strategy, "precision": plan.precision}
    fabric = need("lightning_fabric").Fabric(accelerator="auto", **given)
    fabric.launch()
    torch.manual_seed(torch_generator(plan.seed, "training").initial_seed())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)
    wrapped, optimizer = fabric.setup(model, adamw)
    step, rows = _resume(run_dir, model, optimizer)
    first, started = fabric.is_global_zero, time.perf_counter()
    writer = (
        need("torch.utils.tensorboard").SummaryWriter(run_dir, purge_step=step) if first else None
    )
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
            row = {
                "step": step,
                "loss": value.item(),
                **figures,
                "seconds": time.perf_counter() - started,
            }
            if validate and (step % validate_every == 0 or last):
                row |= validate(model.eval())
                wrapped.train()
            _log(row, rows, writer, on_log)
        if first and (step % plan.checkpoint_every == 0 or last):
            _checkpoint(run_dir, step, model, optimizer, rows)
    if writer:
        writer.close()
    fabric.barrier()
    if not first:  # running figures, which every device has of its own part
        rows = _resume(run_dir, model, optimizer)[1]
    return rows


def _claim(run_dir: Path, config: Mapping[str, Any] | None) -> None:
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
) -> tuple[int, list[dict[str, float]]]:
    path = run_dir / "checkpoint.pt"
    if not path.exists():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    return state["step"], state["rows"]


def _checkpoint(
    run_dir: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: list[dict[str, float]],
) -> None:
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    save_atomically(state | {"rng": torch.get_rng_state(), "rows": rows}, run_dir / "checkpoint.pt")
    replace_text(run_dir / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _batches(dataset: Dataset, plan: Plan, step: int, rank: int) -> Iterator[Batch]:
    indices = range(step * plan.batch_size + rank, plan.steps * plan.batch_size, plan.n_devices)
    # Spawned workers: forking a process that has started torch's threads can hang.
    workers = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if plan.n_workers else {}
    # A generator of its own: the loader must not draw from the one that dropout is resumed with.
    generator = torch_generator(plan.seed, "loader")
    return iter(
        DataLoader(
            dataset,
            plan.batch_size // plan.n_devices,
            sampler=indices,
            num_workers=plan.n_workers,
            generator=generator,
            worker_init_fn=_one_thread,
            **workers,
        )
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def _log(
    row: dict[str, float],
    rows: list[dict[str, float]],
    writer: Any,
    on_log: Callable[[dict[str, float]], None] | None,
) -> None:
    rows.append(row)
    for name, value in row.items():
        if name != "step":
            writer.add_scalar(name, value, row["step"])
    if on_log:
        on_log(row)
