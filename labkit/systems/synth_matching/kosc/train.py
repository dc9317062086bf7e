"""Training: the encoder once for all heads of a seed, then a head on what it hears."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit.effects.synths.kosc import SPACE
from labkit.learn.flow import flow_loss
from labkit.learn.training import Plan, fit
from labkit.measure.sets import chamfer, sorted_error
from labkit.signal.seeds import torch_generator
from labkit.systems.synth_matching.kosc.config import FLOWS, Config
from labkit.systems.synth_matching.kosc.data import Batches, Drawn, TrainingSet
from labkit.systems.synth_matching.kosc.model import Encoder, Head, build, true_map

Log = Callable[[dict[str, float]], None]
# Of the mean entry of a learned assignment, in the loss.
_SPARSITY = 0.01


def train_encoder(config: Config, run_dir: str | Path, *, on_log: Log | None = None) -> Encoder:
    """Train the encoder on sounds without any order, or go on with the run that `run_dir` holds.

    Args:
        config: of it, k and what concerns the encoder.
        run_dir: checkpoints, log, TensorBoard.
        on_log: called with each logged row.

    Returns:
        The encoder, in evaluation mode, its weights fixed.
    """
    heard = replace(config, broken=False, batch_size=config.encoder_batch, seed=config.data_seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.data_seed)
        encoder = Encoder(config)

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        target = true_map(batch["settings"][0], heard)
        return (model(batch["magnitude"][0]) - target).square().mean(), {}

    of_it = ("k", "n_map", "encoder", "data_seed", "learning_rate")
    facts = {name: value for name, value in asdict(config).items() if name.startswith(of_it)}
    plan = _plan(heard, config.encoder_steps, config.learning_rate / 2)
    fit(
        encoder,
        Batches(heard, config.encoder_steps),
        loss,
        plan,
        run_dir,
        config=facts,
        on_log=on_log,
    )
    return encoder.cpu().eval().requires_grad_(False)


def loss_of(config: Config) -> Callable[..., tuple[Tensor, dict[str, float]]]:
    """The loss of a head on a batch of `Drawn`."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        model.follow()
        values, condition = batch["values"][0], batch["condition"][0]
        if config.head in FLOWS:
            rng = torch_generator(config.seed, "k-osc noise", int(batch["index"]))
            pairing = {"ranked": "random" if config.broken else ranked}.get(
                config.pairing, config.pairing
            )
            value = flow_loss(model, values, condition, rng, pairing=pairing)
            learned = config.head == "learned flow"
            return (
                value + _SPARSITY * model.online.net.assignment_penalty() if learned else value,
                {},
            )
        said = model.online.regress(condition)
        if config.head == "regression":
            return (said - values).square().mean(), {}
        measure = chamfer if config.head == "chamfer" else sorted_error
        return measure(said.unflatten(1, (config.k, -1)), values.unflatten(1, (config.k, -1))), {}

    return loss


def ranked(noise: Tensor, target: Tensor) -> Tensor:
    """Noise whose oscillators are exchanged within each row until they rank by frequency as the target's do.

    Nothing is lost: the order of the target is a toss of its own, so the noise stays normal and knows nothing of the
    sound. And the ways no longer cross. Both (b, 3 k), oscillators alike.

    Source: equivariant optimal transport, Klein et al. 2023, on the frequency alone, where it is sorting.
    """
    own, goal = (one.unflatten(1, (-1, len(SPACE))) for one in (noise, target))
    order = own[..., 0].argsort(1).gather(1, goal[..., 0].argsort(1).argsort(1))
    return own.gather(1, order[..., None].expand_as(own)).flatten(1)


def train(
    config: Config, known: TrainingSet, run_dir: str | Path, *, on_log: Log | None = None
) -> Head:
    """Train a head, or go on with the run that `run_dir` holds.

    Args:
        config: everything that decides the result, with the encoder.
        known: of `training_set`, for the same task.
        run_dir: checkpoints, log, TensorBoard.
        on_log: called with each logged row.

    Returns:
        The head with the running mean of its weights, in evaluation mode on the CPU.
    """
    model, plan = build(config), _plan(config, config.steps, config.learning_rate)
    fit(
        model,
        Drawn(config, known),
        loss_of(config),
        plan,
        run_dir,
        config=asdict(config),
        on_log=on_log,
    )
    return model.cpu().eval().best


def _plan(config: Config, steps: int, learning_rate: float) -> Plan:
    # An item of `Batches` or `Drawn` is a whole batch.
    shape = {
        "steps": steps,
        "batch_size": 1,
        "warmup_steps": min(50, steps // 5),
        "decay_share": 0.5,
    }
    return Plan(learning_rate=learning_rate, seed=config.seed, checkpoint_every=500, **shape)
