"""Training a controller through real plug-ins: the gradient comes by SPSA, the chain grows stage by stage."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.learn.gradients import SPSA, black_box
from labkit.learn.training import Plan, fit
from labkit.measure.alignment import aligned_distance
from labkit.signal.seeds import generator
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.controller import Controller, build
from labkit.systems.blackbox.data import Examples, cached, from_pairs, held_out, paired_files
from labkit.systems.blackbox.rack import Rack

Folders = tuple[str | Path, str | Path]


class Dressed(Dataset):
    """Training examples by number: a clip, its level, and what is heard on top of it, all decided by the number.

    Args:
        config: task and seed.
        made: the clips.
    """

    def __init__(self, config: Config, made: Examples) -> None:
        self.config, self.made = config, made

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.config.seed, "dress", index)
        dry, target = self.made.dressed(
            self.config.chain, int(rng.integers(len(self.made.groups))), rng
        )
        return {
            "dry": torch.from_numpy(dry),
            "target": torch.from_numpy(target),
            "index": torch.tensor(index),
        }


def loss_of(
    config: Config, rack: Rack
) -> Callable[[nn.Module, Mapping[str, Tensor]], tuple[Tensor, dict[str, float]]]:
    """The loss of a batch: how far the chain, as the controller turns it, ends from the target."""
    estimator = SPSA(config.eps, config.pairs)

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        first = int(batch["index"][0])
        n_units = config.units_heard(first // config.batch_size)
        knobs = model(batch["dry"])[:, : rack.columns(n_units)].clamp(0, 1)
        rng = generator(config.seed, "tosses", first)
        out = black_box(
            lambda a, p: rack.render(a, p, n_units=n_units), batch["dry"], knobs, estimator, rng
        )
        distance = aligned_distance(out, batch["target"], time_weight=config.time_weight)
        figures = {
            "train/distance": distance.mean().item(),
            "train/units": float(n_units),
            "train/knobs_std": knobs.detach().std(0).mean().item(),
        }
        return distance.mean(), figures

    return loss


class Examiner:
    """The distance left on clips that are not trained on, over that of doing nothing.

    Args:
        config: of the run.
        made: validation clips.
        rack: the chain.
    """

    def __init__(self, config: Config, made: Examples, rack: Rack) -> None:
        rng = generator(config.seed, "blackbox validation")
        pairs = [made.dressed(config.chain, k, rng) for k in range(len(made.groups))]
        self.dry, self.target = (
            torch.from_numpy(np.stack(sounds)) for sounds in zip(*pairs, strict=True)
        )
        self.config, self.rack = config, rack

    @torch.no_grad()
    def __call__(self, model: Controller) -> dict[str, float]:
        """``val/left``: with the whole chain as the controller turns it; ``val/mean``: with its mean setting."""
        knobs = model(self.dry).double().numpy()
        scores = {"left": knobs, "mean": np.broadcast_to(knobs.mean(0), knobs.shape)}
        before = aligned_distance(self.dry, self.target).mean()
        rendered = {
            name: torch.from_numpy(self.rack.render(self.dry.numpy(), k))
            for name, k in scores.items()
        }
        return {
            f"val/{k}": float(aligned_distance(x, self.target).mean() / before)
            for k, x in rendered.items()
        }


def train(
    config: Config,
    run_dir: str | Path,
    *,
    pairs: Folders | None = None,
    n_validation: int = 32,
    validate_every: int = 150,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> Controller:
    """Train a controller, or go on with the run that `run_dir` holds.

    Args:
        config: everything that decides the result, with `pairs`.
        run_dir: checkpoints, log, TensorBoard.
        pairs: two folders of recordings, before and after, to train on instead of what the seeds make.
        n_validation: clips that the log's figures are taken from, of sources that are not trained on.
        validate_every: steps between validations.
        on_log: called with each logged row.

    Returns:
        The controller, in evaluation mode, its knobs kept to where they stood on the sounds of the training.

    Raises:
        ValueError, FloatingPointError: as `fit`.
        PluginError: where a plug-in of the chain, or the one that makes the targets, is not installed.
    """
    made, held = _clips(config, pairs, n_validation)
    gc.collect()
    model = build(config)
    names = set(Plan.__dataclass_fields__) - {"n_workers"}
    plan = Plan(**{name: getattr(config, name) for name in names if hasattr(config, name)})
    with Rack(config.chain.units, config.sample_rate, workers=config.n_workers) as rack:
        fit(
            model,
            Dressed(config, made),
            loss_of(config, rack),
            plan,
            run_dir,
            config=asdict(config) | {"folders": [str(folder) for folder in pairs or ()]},
            on_log=on_log,
            validate=Examiner(config, held, rack),
            validate_every=validate_every,
        )
    model.cpu().set_rails(heard_in_training(config, made))
    return model


def heard_in_training(config: Config, made: Examples, n: int = 256) -> Tensor:
    """The first recordings of a training, (n, 1, samples)."""
    data = Dressed(config, made)
    return torch.stack([data[k]["dry"] for k in range(min(n, len(data)))])


def _clips(config: Config, pairs: Folders | None, n_validation: int) -> tuple[Examples, Examples]:
    if pairs is None:
        return cached(config, "train", n=config.n_clips), cached(
            config, "validation", n=n_validation
        )
    rest, kept = held_out(paired_files(*pairs))
    return (
        from_pairs(config, rest, config.seed, n=config.n_clips),
        from_pairs(config, kept, config.seed, n=n_validation),
    )
