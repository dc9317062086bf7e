"""The network: pictures and views of wet and reference in, curve and depth with its spread out."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.effects.saturation import SPACE
from labkit.learn.mobilenet import MobileNetV2
from labkit.systems.saturation.config import NAMES, Config
from labkit.systems.saturation.views import N_VIEWS

_RANGE = math.log(SPACE["depth"].high / SPACE["depth"].low)


class Answer(NamedTuple):
    """What the network says of a batch.

    Attributes:
        log_depth: (b, curves), natural logarithm of the depth if it were this curve: the median.
        log_spread: (b,), logarithm of the Laplace scale of the logarithm of the depth.
        curve_logits: (b, curves).
    """

    log_depth: Tensor
    log_spread: Tensor
    curve_logits: Tensor

    def of(self, curve: Tensor) -> Tensor:
        """(b,) log depths for the curves with these indices (b,)."""
        return self.log_depth.gather(1, curve[:, None])[:, 0]


class SpectralEncoder(nn.Module):
    """A picture of a sound becomes a direction.

    Args:
        config: width, channels and length of the embedding.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.in_channels = config.in_channels
        network = MobileNetV2(config.embedding, width=config.width, in_channels=config.in_channels)
        # The same figures in half the time: convolutions of one channel each like the channels side by side.
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """(b, height, frames) -> (b, embedding) of length 1."""
        repeated = pictures.unsqueeze(1).expand(-1, self.in_channels, -1, -1)
        return F.normalize(self.network(repeated), dim=-1)


class ParameterController(nn.Module):
    """Three layers from what was heard to what is said.

    Args:
        n_in: length of what was heard.
        hidden: of both layers between.
        n_out: figures to say.
        dropout: after both.
    """

    def __init__(self, n_in: int, hidden: int, n_out: int, dropout: float) -> None:
        super().__init__()
        first = [nn.Linear(n_in, hidden), nn.LeakyReLU(0.01), nn.Dropout(dropout)]
        second = [nn.Linear(hidden, hidden), nn.LeakyReLU(0.01), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*first, *second, nn.Linear(hidden, n_out))

    def forward(self, heard: Tensor) -> Tensor:
        """(b, n_in) -> (b, n_out)."""
        return self.layers(heard)


class SaturationModel(nn.Module):
    """Names the curve between a reference and a wet sound, or of a wet sound alone, and its depth.

    One encoder looks at both; in the place of a reference that is not there stands a learnt vector.

    Args:
        config: sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpectralEncoder(config)
        self.absent = nn.Parameter(torch.zeros(config.embedding))
        self.views = _views_reader(config.hidden) if config.views else None
        n_heard = 2 * config.embedding + (config.hidden if config.views else 0)
        self.controller = ParameterController(
            n_heard, config.hidden, 2 * len(NAMES) + 1, config.dropout
        )
        # Set by calibration: what the stated spreads must be multiplied with to be true.
        self.register_buffer("spread_factor", torch.ones(()))

    def forward(self, heard: Mapping[str, Tensor]) -> Answer:
        """The answer to a batch of what `hear` gives."""
        n, given = len(heard["wet"]), heard["given"] > 0
        seen = self.encoder(torch.cat([heard["wet"], heard["reference"][given]]))
        reference = self.absent.to(seen.dtype).repeat(n, 1)
        reference[given] = seen[n:]
        parts = [seen[:n], reference]
        if self.views is not None:
            parts.append(self.views(heard["views"]))
        said = self.controller(torch.cat(parts, dim=1)).float()
        log_depth, logits = said[:, : len(NAMES)], said[:, len(NAMES) : -1]
        return Answer(0.5 * _RANGE + log_depth, said[:, -1].clamp(-6.0, 2.0), logits)


def _views_reader(hidden: int) -> nn.Sequential:
    # Held within five deviations: a figure that hardly moved in training must not run away on another recording.
    layers = [
        nn.BatchNorm1d(N_VIEWS),
        nn.Hardtanh(-5.0, 5.0),
        nn.Linear(N_VIEWS, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU())


def build(config: Config) -> SaturationModel:
    """A fresh model whose weights depend on `config.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SaturationModel(config)


def summary(model: SaturationModel) -> str:
    """The parts of a model with their numbers of parameters, a line each, and the sum."""
    parts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()
    }
    parts["absent"] = model.absent.numel()
    lines = [f"{name:12s} {n / 1e6:6.2f} M  {n:9,d}" for name, n in parts.items()]
    total = sum(parts.values())
    return "\n".join([*lines, f"{'total':12s} {total / 1e6:6.2f} M  {total:9,d}"])
