"""Training for style transfer: one network, one processor, and four ways for the gradient."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.learn.gradients import (
    SPSA,
    ProxyTCN,
    Surrogate,
    black_box,
    each,
    fresh_proxy,
    imitation_loss,
)
from labkit.learn.training import Loss, Plan, fit
from labkit.measure.losses import magnitude_distance
from labkit.signal.seeds import generator
from labkit.systems.style.data import DrawnExamples
from labkit.systems.style.model import NAMES, Config, StyleModel, differentiable, render
from labkit.systems.system import Training

# Frame lengths of the loss; the score has six. The paper's weight of the wave is five times ours:
# its slope does not shrink near the right parameters.
_N_FFTS = (256, 2048)
_WAVE_WEIGHT = 20.0
_N_STANDARDISE = 500
_PROXY_DRAWS = 1 << 30  # the proxy learns from other draws than the networks


@dataclass(frozen=True)
class Data:
    """The training sound is made from seeds: voices, guitars and instruments."""


def treated(
    config: Config, batch: Mapping[str, Tensor], params_unit: Tensor, proxy: ProxyTCN | None = None
) -> Tensor:
    """A behind the processor, with the gradient that the config names."""
    rate = config.sound.sample_rate
    if config.net.gradient == "autodiff":
        return differentiable(batch["plain"], rate, params_unit)
    estimator = SPSA() if proxy is None else Surrogate(proxy)
    rng = generator(config.plan.seed, "style tosses", int(batch["index"][0]))
    process = each(lambda audio, params: render(audio, rate, params))
    return black_box(process, batch["plain"], params_unit, estimator, rng)


def loss_of(config: Config, proxy: ProxyTCN | None = None) -> Loss:
    """The distance of the treated A from its target, or of the parameters from the true ones."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        params_unit = model(batch["plain_features"], batch["reference_features"])
        error = (params_unit - batch["truth"]).abs().mean()
        if config.net.gradient == "regression":
            return error, {"parameter_error": error.item()}
        wet = treated(config, batch, params_unit, proxy)
        magnitude = magnitude_distance(wet, batch["target"], n_ffts=_N_FFTS).mean()
        value = magnitude + _WAVE_WEIGHT * (wet - batch["target"]).abs().mean()
        return value, {"magnitudes": magnitude.item(), "parameter_error": error.item()}

    return loss


class ProxyExamples(Dataset):
    """Renders of the processor for its proxy, from other draws than the network's."""

    def __init__(self, drawn: DrawnExamples) -> None:
        self.drawn = drawn

    def __len__(self) -> int:
        return _PROXY_DRAWS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = self.drawn[_PROXY_DRAWS + index]
        return {"dry": item["plain"], "params_unit": item["truth"], "wet": item["target"]}


def taught_proxy(config: Config, drawn: DrawnExamples, run_dir: Path) -> ProxyTCN:
    """A network that imitates the processor, from the examples' own renders."""
    proxy = fresh_proxy(len(NAMES), config.plan.seed)
    devices, seed = config.plan.n_devices, config.plan.seed
    plan = Plan(config.net.proxy_steps, config.plan.batch_size, 3e-3, n_devices=devices, seed=seed)
    loss = imitation_loss(partial(magnitude_distance, n_ffts=_N_FFTS))
    fit(proxy, ProxyExamples(drawn), loss, plan, run_dir, config=config.flat())
    return proxy.cpu().eval()


@contextmanager
def training(
    config: Config,
    data: Data,  # noqa: ARG001,
    model: StyleModel,
    run_dir: Path,
) -> Iterator[Training]:
    """What a run needs. A proxy is taught first."""
    drawn = DrawnExamples(config)
    some = [drawn.example(k) for k in range(min(_N_STANDARDISE, config.sound.n_examples))]
    names = ("plain_features", "reference_features")
    model.encoder.standardise(torch.stack([item[name] for name in names for item in some]))
    proxy = None
    if config.net.gradient == "proxy":
        proxy = taught_proxy(config, drawn, run_dir / "proxy")
    yield Training(drawn, loss_of(config, proxy))
