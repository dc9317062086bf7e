"""Training: the loss, the first guess that the network starts from, and the run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit.learn.training import Loss
from labkit.systems.system import Training
from labkit.systems.text.data import (
    DB_PER_UNIT,
    MIN_TRUSTED,
    Examples,
    band_spread,
    eq_words,
    examples,
    sounds,
    table_of,
)
from labkit.systems.text.lexicon import stem
from labkit.systems.text.model import Config, TextToEffects, asked_curve, nearness, room_features
from labkit.systems.text.preset import SPACES, fitted_gains_db

_INPUTS = ("pieces", "pieces_mask", "hints", "hints_mask", "log_mel", "level_db")
# Of what people set in the loss, and of what the lexicon says.
_WEIGHTS, _LEXICON_WEIGHT = {"curve": 1.0, "reverb": 1.0}, 0.3


@dataclass(frozen=True)
class Data:
    """People's settings for words (from LABKIT_REAL_DATA), on shipped phrases."""

    without: tuple[str, ...] = ()  # words to leave out, with all words of the same stem
    n_sounds: int = 48  # number of different dry clips


@contextmanager
def training(
    config: Config, data: Data, model: TextToEffects, _run_dir: Path
) -> Iterator[Training]:
    """One run; the model's config gets the stems of the words that it is taught.

    Raises as `data.eq_words`, and ModuleNotFoundError without the sentence encoder.
    """
    rows = examples(config, without=frozenset(map(stem, data.without)))
    taught = {stem(word) for row in rows if "curve" in row.targets for word in row.words}
    many = {stem(word.word) for word in eq_words() if word.n >= MIN_TRUSTED} & taught
    model.config = config.but(taught=tuple(sorted(taught)), trusted=tuple(sorted(many)))
    table = table_of(rows, config.net.sentences)
    fit_first_guess(model, table)
    dataset = Examples(config, table, sounds(config, "train", data.n_sounds))
    yield Training(dataset, loss_of(torch.from_numpy(band_spread()).float()))


def shape_of(curve_db: Tensor) -> Tensor:
    """(b, 40) dB -> standard deviations of one's own curve, as people's are given: no level."""
    return (curve_db - curve_db.mean(-1, keepdim=True)) / DB_PER_UNIT


def loss_of(spread: Tensor) -> Loss:
    """Squared distance of EQ curves in units of `spread` (40,), and absolute one of units."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        settings = model({name: batch[name] for name in _INPUTS}).straight_through()
        error = shape_of(settings.eq_curve_db()) - batch["curve"]
        errors = {"curve": (error / spread.to(error)).square().mean(-1)}
        for name in SPACES:
            errors[name] = (settings.units[name] - batch[name]).abs().mean(-1)
        total, figures = 0.0, {}
        for name, values in errors.items():
            known = batch[f"{name}_weight"]
            mean = (values * known).sum() / known.sum().clamp_min(1e-6)
            total = total + _WEIGHTS.get(name, _LEXICON_WEIGHT) * mean
            figures[f"train/{name}"] = mean.item()
        return total, figures

    return loss


def fit_first_guess(model: TextToEffects, table: Mapping[str, Tensor]) -> None:
    """Fit `first_gains` and `first_room` to a table of `data.table_of`, by ridge regression.

    Source: radial basis functions with given centres (Broomhead and Lowe 1988).
    """
    curves = _known(table, "curve")
    gains = [fitted_gains_db(DB_PER_UNIT * c) for c in curves["curve"].numpy()]
    near = nearness(asked_curve(curves), model.centres)
    # Not centred: a word that is near nothing in the lexicon gets the mean gain.
    target = torch.from_numpy(np.stack(gains))
    _ridge(model.first_gains, near, target, curves["curve_weight"], 0.3, centred=False)
    rooms = _known(table, "reverb")
    if len(rooms["reverb"]):
        weight = rooms["reverb_weight"]
        _ridge(model.first_room, room_features(rooms), rooms["reverb"], weight, 1.0, centred=True)


def _known(table: Mapping[str, Tensor], target: str) -> dict[str, Tensor]:
    kept = table[f"{target}_weight"] > 0
    return {name: column[kept] for name, column in table.items()}


@torch.no_grad()
def _ridge(
    layer: nn.Linear, x: Tensor, y: Tensor, weight: Tensor, penalty: float, *, centred: bool
) -> None:
    """Put the weighted ridge regression from x (n, k) to y (n, m) into a layer."""
    x, y, weight = x.double(), y.double(), weight.double()[:, None]
    y_mean = (weight * y).sum(0) / weight.sum()
    x_mean = x.mean(0) if centred else torch.zeros_like(x[0])
    x = x - x_mean
    normal = x.T @ (weight * x) + penalty * torch.eye(x.shape[1]).double()
    solved = torch.linalg.solve(normal, x.T @ (weight * (y - y_mean))).T
    layer.weight.copy_(solved)
    layer.bias.copy_(y_mean - solved @ x_mean)
