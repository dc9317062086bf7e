"""Training a controller: first it imitates settings known from the draw, then it hears itself.

Through the real plug-ins SPSA gives the gradient, and the row grows in stages.
"""

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
from labkit.signal.seeds import generator
from labkit.systems.blackbox import rules
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.data import Examples, cached, from_pairs, held_out, paired_files
from labkit.systems.blackbox.model import Controller
from labkit.systems.system import Training

_N_VALIDATION = 32
_VALIDATE_EVERY = 100
_N_OUTPUT_RANGE = 256
_HEADROOM_RENDERS = 100
_TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The error of a knob, 0..1, in the size of the distances: .1 of a knob's range costs .5.
_IMITATION_WEIGHT = 5.0


@dataclass(frozen=True)
class Data:
    """The training sound: that of the task, or pairs of recordings from two folders."""

    # folder of your own dry recordings; any sample rate and channels, each as long as its target.
    # For speech, e.g. daps/cleanraw (`labkit data get daps`)
    dry: Path | None = None
    # folder of their targets, which can be the same one: a_wet.wav or a.wav for a_dry.wav or a.wav.
    # For speech, e.g. daps/clean. Recordings with the same name up to the first underscore are
    # never split between training and validation
    wet: Path | None = None
    # first print how much the best settings gain over one fixed setting, on this many clips; slow
    headroom: int = 0

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
        k = int(rng.integers(len(self.clips.sound)))
        made = map(torch.from_numpy, self.clips.draw(self.config, k, rng))
        return dict(zip(("dry", "target", "answer"), made, strict=True)) | {
            "index": torch.tensor(index)
        }


def loss_of(
    config: Config, rack: Rack, *, note: Callable[[int, Tensor], None] | None = None
) -> Loss:
    """The distance from the target at which the rack ends, set by the controller.

    In the first part of the steps it is the distance from the answers that are known instead, and
    nothing is rendered; later that is added by the task's anchor. `note` gets each later step's
    number and its estimated gradient, (batch, knobs that play).
    """
    net, plan = config.net, config.plan
    estimator = SPSA(net.eps, net.pairs)

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        first = int(batch["index"][0])
        step = first // plan.batch_size
        units, knobs = config.units_playing(step), model(batch["dry"])
        known = batch["answer"].isfinite()
        error = (knobs - batch["answer"].nan_to_num()).abs() * known
        error = _IMITATION_WEIGHT * error.sum() / known.sum().clamp(min=1)
        if not units:
            return error, {"train/imitation": error.item()}
        knobs = knobs[:, : sum(len(unit.knobs) for unit in units)].clamp(0, 1)
        if note is not None and knobs.requires_grad:
            knobs.register_hook(lambda gradient: note(step, gradient))
        rng = generator(plan.seed, "tosses", first)
        wet = black_box(rack.render, batch["dry"], knobs, estimator, rng)
        distance = config.distance(wet, batch["target"]).mean()
        figures = {
            "train/distance": distance.item(),
            "train/units": float(len(units)),
            "train/knobs_std": knobs.detach().std(0).mean().item(),
        }
        return distance + config.task.anchor * error, figures

    return loss


class Validation:
    """Distances on validation clips, over that of the dry sound."""

    def __init__(self, config: Config, clips: Examples, rack: Rack) -> None:
        rng = generator(config.plan.seed, "blackbox validation")
        drawn = [clips.draw(config, k, rng)[:2] for k in range(len(clips.sound))]
        self.dry, self.target = (
            torch.from_numpy(np.stack(side)) for side in zip(*drawn, strict=True)
        )
        self.config, self.rack = config, rack
        self.before = config.distance(self.dry, self.target).mean()

    def left(self, knobs: Tensor) -> float:
        """The share that is left at settings (clips, knobs)."""
        wet = torch.from_numpy(self.rack.render(self.dry.numpy(), knobs.double().numpy()))
        return float(self.config.distance(wet, self.target).mean() / self.before)

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """``val/left``; the same at another clip's setting, and at the mean setting."""
        knobs = model(self.dry)
        others = {"another": knobs.roll(1, 0), "mean": knobs.mean(0).expand_as(knobs)}
        figures = {"val/left": self.left(knobs)}
        return figures | {f"val/{name}": self.left(other) for name, other in others.items()}

    @torch.no_grad()
    def set_trust(self, model: Controller) -> None:
        """Answers keep the share of their way from the mean setting that leaves the least here."""
        knobs, left = model(self.dry), {}
        for trust in _TRUSTS:
            left[trust] = self.left(model.mean_setting.lerp(knobs, trust))
        model.trust.fill_(min(left, key=left.get))


@contextmanager
def training(
    config: Config,
    data: Data,
    model: Controller,  # noqa: ARG001
    run_dir: Path,
) -> Iterator[Training]:
    """What a run needs. Raises PluginError where a plug-in is not installed.

    `run_dir` gets `gradients.jsonl`: for every step through the plug-ins the gradient of the loss
    by each knob, as if the batch shared it. A step that ran again after an interruption stands
    there twice.
    """
    clips, held = data.clips(config)
    dataset = DrawnExamples(config, clips)

    def note(step: int, gradient: Tensor) -> None:
        columns = dict(zip(config.task.names, gradient.sum(0).tolist(), strict=False))
        with (run_dir / "gradients.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **columns}) + "\n")

    with Rack(config.task.units, config.sound.sample_rate, workers=config.net.n_copies) as rack:
        if data.headroom:
            some = cached(config, "validation", n=data.headroom)
            print(rules.headroom(config, rack, some, _HEADROOM_RENDERS))
        validate = Validation(config, held, rack)

        def finish(trained: Controller) -> None:
            n = min(_N_OUTPUT_RANGE, len(dataset))
            trained.set_output_range(torch.stack([dataset[k]["dry"] for k in range(n)]))
            validate.set_trust(trained)

        yield Training(
            dataset,
            loss_of(config, rack, note=note),
            validate,
            validate_every=_VALIDATE_EVERY,
            best="val/left",
            finish=finish,
        )
