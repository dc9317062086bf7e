"""Three losses for one small network: the depth itself, the sound it makes, or both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from labkit.measure.score import Row
from labkit.signal.seeds import generator
from labkit.systems.saturation.config import CONDITIONS, Config
from labkit.systems.saturation.model import build
from labkit.systems.saturation.train import answers, collect, examples, loss_of

LOSSES = ("parameter", "audio", "both")


def compare_losses(
    config: Config,
    *,
    n_train: int,
    n_test: int,
    condition: str = "level",
    kinds: Sequence[str] = ("generated",),
    losses: Sequence[str] = LOSSES,
) -> list[Row]:
    """Train the same network from the same weights on the same examples by each loss.

    Args:
        config: sizes, steps and rate; its own `loss` does not matter.
        n_train: examples, made once.
        n_test: examples of other sources.
        condition: a name in `CONDITIONS`.
        kinds: of dry sources.
        losses: of `LOSSES`.

    Returns:
        A row for each loss, the mean error of depth; `prior` is that of guessing the middle.
    """
    config = replace(config, loss="both")  # the examples carry their clean sound
    sets = []
    for split, n in (("train", n_train), ("test", n_test)):
        made = examples(config, split, config.seed, n_dry=n, kinds=kinds)
        made.condition, made.training = CONDITIONS[condition], False
        sets.append(collect(made, n))
    learn, test = sets
    true = test["log_depth"].exp().numpy()
    facts = {
        "protocol": f"{config.steps} steps of {config.batch_size}, {CONDITIONS[condition].says}",
        "unit": "",
    }
    facts |= {
        "sources": "generated",
        "metric": "depth error",
        "low": None,
        "high": None,
        "n": n_test,
    }
    facts |= {"seed": config.seed, "prior": float(np.abs(true - 5.5).mean())}
    rows = []
    for loss in losses:
        said = _trained(replace(config, loss=loss), learn, test)
        rows.append(Row(name=f"trained by {loss}", ours=float(np.abs(said - true).mean()), **facts))
    return rows


def _trained(
    config: Config, learn: dict[str, torch.Tensor], test: dict[str, torch.Tensor]
) -> np.ndarray:
    """What the network says of the test examples after its steps."""
    model, order, cost = build(config).train(), generator(config.seed, "order"), loss_of(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    for _ in range(config.steps):
        some = torch.from_numpy(order.permutation(len(learn["curve"]))[: config.batch_size])
        value, _ = cost(model, {key: tensor[some] for key, tensor in learn.items()})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return answers(model.eval(), test).of(test["curve"]).exp().numpy()
