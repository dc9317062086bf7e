"""Training sound matching: the flow and the regressor on one ear, the running mean of the weights kept."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit.learn import checkpoints
from labkit.learn.flow import Averaged
from labkit.learn.training import Batch, Plan, fit
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.data import (
    Examples,
    Notes,
    default_folder,
    read_notes,
    read_statistics,
)
from labkit.systems.synth_matching.model import SynthModel, build


def train(
    config: Config,
    run_dir: str | Path,
    *,
    folder: Path | None = None,
    start: Path | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    validate_every: int = 200,
) -> SynthModel:
    """Train, or go on with the run in `run_dir`.

    Args:
        config: of the run.
        run_dir: checkpoint, log, TensorBoard.
        folder: of the data set; the usual one when None.
        start: a checkpoint of equal sizes to begin with, of whose network only the ear is taken where the parameter
            set is another; fresh weights when None.
        on_log: called with each logged row.
        validate_every: steps between looks at the validation split.

    Returns:
        The mean of the weights, in evaluation mode.

    Raises:
        ValueError: if there is no data set, or `run_dir` belongs to another config.
        CheckpointError: if `start` is missing or of other sizes.
    """
    folder = folder or default_folder(config.parameters)
    notes, kept = read_notes(folder, "train"), read_notes(folder, "validation")
    model = build(config)
    if start is not None:
        _begin(model, start)
    model.ear.set_statistics(read_statistics(folder))
    averaged = Averaged(model, decay=config.averaging)
    plan = Plan(
        **{
            name: getattr(config, name)
            for name in Plan.__dataclass_fields__
            if hasattr(config, name)
        }
    )

    def loss(wrapped: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        flow, regression = wrapped(
            batch["mel"], batch["lines"], batch["parameters"], batch["number"]
        )
        averaged.follow()
        return flow + config.regression_weight * regression, {
            "flow": flow.item(),
            "regression": regression.item(),
        }

    fit(
        averaged,
        Examples(notes, config, config.steps * config.batch_size),
        loss,
        plan,
        run_dir,
        config=asdict(config) | {"folder": str(folder), "n_train": len(notes), "start": str(start)},
        on_log=on_log,
        validate=lambda held: validate(held.best, kept),
        validate_every=validate_every,
    )
    return averaged.best.cpu().eval()


def _begin(model: SynthModel, start: Path) -> None:
    """Take a checkpoint's weights over: all, or what hears when the patches are of another set."""
    config, weights = checkpoints.read(start, system="synth")
    if config["parameters"] == model.config.parameters:
        checkpoints.fill(model, weights)
        return
    mark = "ear."
    checkpoints.fill(
        model.ear,
        {name[len(mark) :]: value for name, value in weights.items() if name.startswith(mark)},
    )


@torch.no_grad()
def validate(model: SynthModel, notes: Notes) -> dict[str, float]:
    """Both losses on notes never trained on, the same noise every time."""
    device = model.ear.mel_mean.device
    given = [
        torch.from_numpy(x.astype(np.float32)).to(device)
        for x in (notes.mel, notes.lines, notes.parameters)
    ]
    model.eval()
    flow, regression = model(*given, torch.zeros(1))
    return {"validation_flow": float(flow), "validation_regression": float(regression)}
