"""Training a controller through real plug-ins: SPSA gives the gradient, the row grows in stages."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.effects.hosts.plugin import Rack
from labkit.learn.gradients import SPSA, black_box
from labkit.learn.training import Loss
from labkit.measure.align import aligned_distance
from labkit.signal.seeds import generator
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.data import Examples, cached, from_pairs, held_out, paired_files
from labkit.systems.blackbox.model import Controller
from labkit.systems.system import Training

_N_VALIDATION = 32
_VALIDATE_EVERY = 140
_N_OUTPUT_RANGE = 256


@dataclass(frozen=True)
class Data:
    """The sound to train on: made from seeds, unless two folders are given."""

    # a folder of your own recordings; any rate and number of channels, each as long as its pair.
    # From DAPS (`labkit data get daps`), for speech: daps/cleanraw.
    dry: Path | None = None
    # the folder of their targets, which may be the same: a_wet.wav or a.wav for a_dry.wav or a.wav.
    # From DAPS: daps/clean. Recordings whose names agree up to the first underscore are one source,
    # which is trained on or validated on.
    wet: Path | None = None

    def __post_init__(self) -> None:
        if (self.dry is None) != (self.wet is None):
            raise ValueError(
                "dry and wet must be given together: two folders whose recordings have equal names"
            )

    def clips(self, config: Config) -> tuple[Examples, Examples]:
        """To train on, and to validate on, of other sources."""
        n = config.sound.n_clips
        if self.dry is None:
            return cached(config, "train", n=n), cached(config, "validation", n=_N_VALIDATION)
        rest, kept = held_out(paired_files(Path(self.dry), Path(self.wet)))
        return from_pairs(config, rest, n=n), from_pairs(config, kept, n=_N_VALIDATION)


class DrawnExamples(Dataset):
    """Training examples: the index decides clip, level and disturbance."""

    def __init__(self, config: Config, clips: Examples) -> None:
        self.config, self.clips = config, clips

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.config.plan.seed, "dress", index)
        k = int(rng.integers(len(self.clips.dry)))
        dry, target = self.clips.draw(self.config.task, k, rng)
        sounds = {"dry": torch.from_numpy(dry), "target": torch.from_numpy(target)}
        return {**sounds, "index": torch.tensor(index)}


def loss_of(
    config: Config, rack: Rack, *, note: Callable[[int, Tensor], None] | None = None
) -> Loss:
    """The distance from the target at which the rack ends, set by the controller.

    `note` gets each step's number and its estimated gradient, (batch, knobs that play).
    """
    net, plan = config.net, config.plan
    estimator = SPSA(net.eps, net.pairs)

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        first = int(batch["index"][0])
        units = config.units_playing(first // plan.batch_size)
        knobs = model(batch["dry"])[:, : sum(len(unit.knobs) for unit in units)].clamp(0, 1)
        if note is not None and knobs.requires_grad:
            knobs.register_hook(lambda gradient: note(first // plan.batch_size, gradient))
        rng = generator(plan.seed, "tosses", first)
        wet = black_box(rack.render, batch["dry"], knobs, estimator, rng)
        distance = aligned_distance(wet, batch["target"], time_weight=net.time_weight).mean()
        figures = {
            "train/distance": distance.item(),
            "train/units": float(len(units)),
            "train/knobs_std": knobs.detach().std(0).mean().item(),
        }
        return distance, figures

    return loss


def validation(
    config: Config, clips: Examples, rack: Rack
) -> Callable[[nn.Module], dict[str, float]]:
    """``val/left``: the distance on validation clips, over that of the dry sound."""
    rng = generator(config.plan.seed, "blackbox validation")
    pairs = [clips.draw(config.task, k, rng) for k in range(len(clips.dry))]
    dry, target = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    before = aligned_distance(dry, target).mean()

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        wet = torch.from_numpy(rack.render(dry.numpy(), model(dry).double().numpy()))
        return {"val/left": float(aligned_distance(wet, target).mean() / before)}

    return validate


@contextmanager
def training(
    config: Config,
    data: Data,
    model: Controller,  # noqa: ARG001
    run_dir: Path,
) -> Iterator[Training]:
    """What a run needs. Raises PluginError where a plug-in is not installed.

    `run_dir` gets `gradients.jsonl`: for every step the gradient of the loss by each knob, as if
    the batch shared it. A step that ran again after an interruption stands there twice.
    """
    clips, held = data.clips(config)
    dataset = DrawnExamples(config, clips)

    def finish(trained: Controller) -> None:
        n = min(_N_OUTPUT_RANGE, len(dataset))
        trained.set_output_range(torch.stack([dataset[k]["dry"] for k in range(n)]))

    def note(step: int, gradient: Tensor) -> None:
        columns = dict(zip(config.task.names, gradient.sum(0).tolist(), strict=False))
        with (run_dir / "gradients.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **columns}) + "\n")

    with Rack(config.task.units, config.sound.sample_rate, workers=config.net.n_copies) as rack:
        validate = validation(config, held, rack)
        loss = loss_of(config, rack, note=note)
        yield Training(dataset, loss, validate, validate_every=_VALIDATE_EVERY, finish=finish)
