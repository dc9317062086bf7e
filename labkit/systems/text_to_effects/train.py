"""Training: the loss in standard deviations of people's curves, and the run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.learn.training import Plan, fit
from labkit.signal.seeds import generator, torch_generator
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.descriptors import band_spread, stem
from labkit.systems.text_to_effects.model import EFFECTS, Settings, TextToEffects, begin, build
from labkit.systems.text_to_effects.preset import SPACES
from labkit.systems.text_to_effects.render import band_change_db, equalised
from labkit.systems.text_to_effects.table import Lesson, lessons, sounds, tensors

_INPUTS = ("pieces", "pieces_mask", "hints", "hints_mask", "picture", "level_db")


class Lessons(Dataset):
    """Rows of a table, each with a sound: example i is drawn from the seed and i alone.

    Args:
        config: seed and dropout of hints.
        rows: of `lessons`.
        n_sounds: different dry clips.
    """

    def __init__(self, config: Config, rows: Sequence[Lesson], *, n_sounds: int = 48) -> None:
        self.config, self.rows, self.table = config, rows, tensors(rows, config.sentences)
        self.sounds = sounds(config, "train", n_sounds)

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.config.seed, "lesson", index)
        row = int(rng.integers(len(self.table["curve"])))
        sound = int(rng.integers(len(self.sounds["level_db"])))
        example = {name: column[row] for name, column in self.table.items()}
        dropped, noise = rng.random(), rng.standard_normal(example["hints"].shape)
        example |= without_some(example, torch.tensor(dropped), self.config)
        example["hints"] = (
            example["hints"] + self.config.hint_noise * torch.from_numpy(noise).float()
        )
        shift_db = float(rng.uniform(-10, 10))
        level_db = (self.sounds["level_db"][sound] + shift_db).clamp(-60, -6)
        heard = {"audio": self.sounds["audio"][sound]} if self.config.sound_weight else {}
        return example | heard | {"picture": self.sounds["picture"][sound], "level_db": level_db}


def examples(
    config: Config, split: str, seed: int, *, without: frozenset[str] = frozenset()
) -> Lessons:
    """A data set of sentences with sounds; only ``"train"`` is drawn at random, tests are words (`evaluate`)."""
    if split != "train":
        raise ValueError(f'split must be "train": words are tested by `evaluate`, got {split!r}')
    del seed
    return Lessons(config, lessons(config, without=without))


def shape_of(curve_db: Tensor, config: Config) -> Tensor:
    """(b, 40) dB -> standard deviations of one's own curve, as people's are given: without a level."""
    return (curve_db - curve_db.mean(-1, keepdim=True)) / config.db_per_unit


def loss_of(
    config: Config, spread: Tensor
) -> Callable[[nn.Module, Mapping[str, Tensor]], tuple[Tensor, dict[str, float]]]:
    """The loss of a batch: squared distance of EQ curves in units of `spread` (40,), and of knobs in 0..1."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        said = model({name: batch[name] for name in _INPUTS}).straight()
        error = (shape_of(said.eq_curve_db(), config) - batch["curve"]) / spread.to(batch["curve"])
        parts = {"eq": _weighted(error.square().mean(-1), batch["curve_weight"])}
        for name in EFFECTS:
            target = (
                _with_level(batch[name], batch["level_db"]) if name == "compressor" else batch[name]
            )
            parts[name] = _weighted(
                (said.units[name] - target).abs().mean(-1), batch[f"{name}_weight"]
            )
        weights = {
            "eq": config.eq_weight,
            "reverb": config.reverb_weight,
            "compressor": config.dynamics_weight,
            "pitch": config.prior_weight,
            "distortion": config.prior_weight,
        }
        if config.sound_weight:
            parts["sound"], weights["sound"] = (
                sound_loss(said, batch, config, spread),
                config.sound_weight,
            )
        total = sum(weights[name] * value for name, value in parts.items())
        return total, {f"train/{name}": value.item() for name, value in parts.items()}

    return loss


def sound_loss(
    said: Settings, batch: Mapping[str, Tensor], config: Config, spread: Tensor
) -> Tensor:
    """How far the change in the rendered sound is from people's curve, over bands that hold any sound.

    Args:
        said: what the network says of the batch.
        batch: with `audio` (b, samples), `curve` and its weight.
        config: how many items are rendered, and dB of a unit.
        spread: (40,), the unit of the error.
    """
    rows = batch["curve_weight"].nonzero()[: config.sound_items, 0]
    dry, curve = batch["audio"][rows], batch["curve"][rows]
    wet = equalised(
        Settings(said.band_unit[rows], said.type_shares[rows], {}), dry[:, None], config.sample_rate
    )
    moved, heard = band_change_db(dry, wet[:, 0], config.sample_rate)
    error = heard * (moved / config.db_per_unit - curve)
    error = (
        heard
        * (error - error.sum(-1, keepdim=True) / heard.sum(-1, keepdim=True))
        / spread.to(curve)
    )
    return _weighted(error.square().sum(-1) / heard.sum(-1), batch["curve_weight"][rows])


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1e-6)


def _with_level(unit: Tensor, level_db: Tensor) -> Tensor:
    """The threshold as a knob: the audio's level less the squeeze, which a table holds in parts of 40 dB."""
    knob = SPACES["compressor"]["threshold_db"]
    threshold_db = (level_db - 40.0 * unit[:, 0]).clamp(knob.low, knob.high)
    return torch.cat(
        [((threshold_db - knob.low) / (knob.high - knob.low))[:, None], unit[:, 1:]], dim=1
    )


def train(
    config: Config,
    run_dir: str | Path,
    *,
    without: frozenset[str] = frozenset(),
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> TextToEffects:
    """Train, or go on with the run that `run_dir` holds.

    Args:
        config: everything that decides the result, with `without`.
        run_dir: checkpoints, log, TensorBoard.
        without: stems of words that the model must never see.
        on_log: called with each logged row.

    Returns:
        The model in evaluation mode on the CPU.

    Raises:
        FileNotFoundError: if people's settings are not here.
        ModuleNotFoundError: if the sentence encoder is not installed.
    """
    dataset = examples(config, "train", config.seed, without=without)
    taught = {stem(word) for row in dataset.rows if row.curve is not None for word in row.words}
    model = build(replace(config, taught=tuple(sorted(taught))))
    plan = Plan(
        **{
            name: getattr(config, name)
            for name in Plan.__dataclass_fields__
            if hasattr(config, name)
        }
    )
    facts = asdict(config) | {"without": sorted(without)}
    spread = torch.from_numpy(band_spread()).float()
    begin(model, dataset.table, torch.arange(len(dataset.table["curve"])))
    fit(model, dataset, loss_of(config, spread), plan, run_dir, config=facts, on_log=on_log)
    return model.cpu().eval()


def train_quickly(
    config: Config,
    table: Mapping[str, Tensor],
    heard: Mapping[str, Tensor],
    rows: np.ndarray,
    *,
    seed: int,
) -> TextToEffects:
    """A model on some rows of a table that is in memory, for the many models of a leave-word-out test.

    Args:
        config: sizes and steps.
        table: of `table.tensors`.
        heard: of `table.sounds`.
        rows: indices into the table.
        seed: of weights, batches and dropout.

    Returns:
        The model in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "quick model").initial_seed())
        model, rng = TextToEffects(config).train(), generator(seed, "quick batches")
        begin(model, table, torch.from_numpy(rows))
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        loss = loss_of(config, torch.from_numpy(band_spread()).float())
        for step in range(config.steps):
            rate = min(
                1.0,
                (step + 1) / config.warmup_steps,
                0.5 + 0.5 * math.cos(math.pi * step / config.steps),
            )
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate
            value, _ = loss(model, _drawn(table, heard, rows, config, rng))
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()


def without_some(batch: Mapping[str, Tensor], dropped: Tensor, config: Config) -> dict[str, Tensor]:
    """Masks in which some sentences lost their hints, others all their pieces, none both.

    Args:
        batch: with `hints_mask` and `pieces_mask`.
        dropped: (b,) or () in 0..1, uniform: below `hint_dropout` the hints go, above 1 - `piece_dropout` the pieces.
        config: the shares.
    """
    return {
        "hints_mask": batch["hints_mask"] & (dropped >= config.hint_dropout)[..., None],
        "pieces_mask": batch["pieces_mask"] & (dropped < 1 - config.piece_dropout)[..., None],
    }


def _drawn(
    table: Mapping[str, Tensor],
    heard: Mapping[str, Tensor],
    rows: np.ndarray,
    config: Config,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    chosen = torch.from_numpy(rng.choice(rows, config.batch_size))
    sound = torch.from_numpy(rng.integers(0, len(heard["level_db"]), config.batch_size))
    batch = {name: column[chosen] for name, column in table.items()}
    dropped = torch.from_numpy(rng.random(config.batch_size))
    batch = batch | without_some(batch, dropped, config)
    noise = torch.from_numpy(rng.standard_normal(batch["hints"].shape)).float()
    batch["hints"] = batch["hints"] + config.hint_noise * noise
    return batch | {name: column[sound] for name, column in heard.items()}
