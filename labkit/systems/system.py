"""The interface of every system: its record, and shared training, loading, saving and scoring."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labkit.learn import checkpoints
from labkit.signal.paths import data_dir

if TYPE_CHECKING:  # `labkit --help` does without torch, which takes seconds
    from torch import nn
    from torch.utils.data import Dataset

    from labkit.learn.training import Loss, Plan
    from labkit.measure.score import Row

# Folders here, each with a record `SYSTEM`; their modules are imported at their first use.
SYSTEMS = ("pedal_order", "knobs", "saturation", "blackbox", "style", "synth", "text", "codec")


@dataclass(frozen=True)
class Config:
    """All settings of a network; each system's own Config gives defaults."""

    sound: Any  # what the network receives: a frozen dataclass of the system
    net: Any  # its sizes and loss weights: a frozen dataclass of the system
    plan: Plan  # how it is trained

    def but(self, **changes: Any) -> Self:
        """The same config with other values: `config.but(steps=100, width=64)`.

        Raises ValueError if no record has a field of that name.
        """
        records = {name: getattr(self, name) for name in ("sound", "net", "plan")}
        for name, record in records.items():
            own = {field.name for field in fields(record)} & changes.keys()
            records[name] = replace(record, **{field: changes.pop(field) for field in own})
        if changes:
            known = ", ".join(sorted(self.flat()))
            raise ValueError(f"{', '.join(changes)} is not a setting of this system: {known}")
        return replace(self, **records)

    def flat(self) -> dict[str, Any]:
        """Every setting by its name; names are unique over the three records."""
        return {**asdict(self.sound), **asdict(self.net), **asdict(self.plan)}


@dataclass(frozen=True)
class Training:
    """What a training run needs besides the network and its plan."""

    dataset: Dataset  # item i depends on i alone, see `labkit.learn.training.fit`
    loss: Loss  # (model, batch) -> (scalar to minimise, figures to log)
    # scores of the model on validation clips, to log
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    validate_every: int = 1000  # steps between validations
    # the figure of `validate` whose minimum selects the weights; None keeps the last weights
    best: str | None = None
    # called with the trained model on the CPU, e.g. to calibrate it.
    finish: Callable[[nn.Module], None] | None = None
    # what to train instead of the model, e.g. the model with the running mean of its weights;
    # `finish` then copies the result
    trained: nn.Module | None = None


@dataclass(frozen=True)
class System:
    """A system of the lab.

    Its package holds, imported when first needed: ``train.Data``, a frozen dataclass that says
    where the training sound comes from; ``train.training(config, data, model, run_dir)``, a context
    manager that yields a `Training`, and may keep caches and its best weights in `run_dir`;
    ``score.score(model, **options)``, the rows of its results table; ``score.fixed_score(model)``,
    scores on a few fixed examples; and, if training can begin with part of another network's
    weights, ``train.begin_from(model, start)``.
    """

    name: str  # of its folder, its commands, its checkpoints and its results file
    presets: Mapping[str, Config]  # what can be trained; the first one is the default
    build: Callable[[Any], nn.Module]  # random weights; the model keeps its config
    module: str  # its package
    checkpoints: Mapping[str, str]  # preset -> stem in data/checkpoints, for presets that ship

    def part(self, path: str) -> Any:
        """An object of the system's package, e.g. ``"train:Data"``."""
        module, name = path.split(":")
        return getattr(importlib.import_module(f"{self.module}.{module}"), name)

    def train(
        self,
        config: Config,
        run_dir: str | Path,
        *,
        data: Any = None,
        start: str | Path | None = None,
        on_log: Callable[[dict[str, float]], None] | None = None,
    ) -> nn.Module:
        """Train, or continue the run that `run_dir` holds; returns the model on the CPU.

        `data` is the system's ``train.Data`` (its defaults when None), `start` a checkpoint to
        begin with instead of random weights; `on_log` gets each logged row. Raises ValueError,
        FloatingPointError, OSError as `labkit.learn.training.fit`; CheckpointError if `start`
        cannot be read.
        """
        from labkit.learn.training import fit

        data = self.part("train:Data")() if data is None else data
        settings = settings_of(config, data)
        model = self.build(config)
        if start is not None:
            train, trained = importlib.import_module(f"{self.module}.train"), self.load(start)
            if hasattr(train, "begin_from"):
                train.begin_from(model, trained)
            else:
                checkpoints.fill(model, trained.state_dict())
            settings["start"] = checkpoints.file_hash(start)
        with self.part("train:training")(config, data, model, Path(run_dir)) as run:
            fit(
                model if run.trained is None else run.trained,
                run.dataset,
                run.loss,
                config.plan,
                run_dir,
                config=settings,
                on_log=on_log,
                validate=run.validate,
                validate_every=run.validate_every,
                best=run.best,
            )
            model = model.cpu().eval()
            if run.finish is not None:
                run.finish(model)
        return model.eval()

    def shipped_path(self, preset: str | None = None) -> Path:
        """The path of the checkpoint of a preset (None: the first one that ships).

        Raises ValueError if the preset does not ship.
        """
        preset = preset or next(iter(self.checkpoints))
        if preset not in self.checkpoints:
            shipped = ", ".join(self.checkpoints)
            raise ValueError(f"preset must be one that ships ({shipped}), got {preset!r}")
        return data_dir() / "checkpoints" / f"{self.checkpoints[preset]}.safetensors"

    def load(self, path: str | Path | None = None, *, preset: str | None = None) -> nn.Module:
        """A model in evaluation mode on the CPU; the shipped one of `preset` without a path.

        Raises CheckpointError if the file is missing, damaged or another system's.
        """
        path = path or self.shipped_path(preset)
        values, weights = checkpoints.read(path, system=self.name)
        config_type = type(next(iter(self.presets.values())))
        try:
            config = config_type().but(**values)
        except (ValueError, TypeError) as error:
            raise checkpoints.CheckpointError(
                f"{path}: settings of another version: {error}"
            ) from None
        model = self.build(config)
        checkpoints.fill(model, weights)
        return model.eval()

    def save(self, model: nn.Module, path: str | Path) -> str:
        """Write weights and config in one file, see `checkpoints.write`; returns its sha256."""
        return checkpoints.write(model, path, system=self.name, config=model.config.flat())

    def score(self, model: nn.Module, **options: Any) -> list[Row]:
        """The rows of the results table; options and errors as the package's ``score.score``."""
        return self.part("score:score")(model, **options)

    def card(self, model: nn.Module, path: str | Path, **facts: Any) -> dict[str, Any]:
        """The model card: what a checkpoint holds, and what it scores on a few fixed examples."""
        path = Path(path)
        return {
            "sha256": checkpoints.file_hash(path),
            "bytes": path.stat().st_size,
            "parameters": sum(p.numel() for p in model.parameters()),
            **facts,
            "fixed_score": self.part("score:fixed_score")(model),
            "config": model.config.flat(),
        }


def system(name: str) -> System:
    """The record of a system by its name.

    Raises ValueError if there is none of that name.
    """
    if name not in SYSTEMS:
        raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, got {name!r}")
    return importlib.import_module(f"labkit.systems.{name}").SYSTEM


# Whole numbers whose default is above 0 and that may be 0; fractions that may not.
_MAY_BE_0, _ABOVE_0 = ("warmup_steps", "n_workers"), ("seconds", "clip_seconds")


def settings_of(config: Config, data: Any) -> dict[str, Any]:
    """All settings by name; ValueError for one below 0, or 0 for a size, where its default is not.

    As JSON holds them: paths as text, tuples as lists.
    """
    given = {**config.flat(), **json.loads(json.dumps(asdict(data), default=str))}
    usual = {**type(config)().flat(), **asdict(type(data)())}
    for name, value in given.items():
        default = usual[name]
        if type(default) in (int, float) and default >= 0:
            size = name in _ABOVE_0 or (type(default) is int and name not in _MAY_BE_0)
            wanted = "above 0" if size and default else "0 or more"
            if not value >= 0 or (value == 0 and wanted == "above 0"):
                raise ValueError(f"{name} must be {wanted}, got {value}")
    return given
