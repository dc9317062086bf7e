"""The network: an ear for picture and fine spectrum, a field that turns noise into patches, and a plain regressor."""

import math

import torch
from torch import Tensor, nn

from labkit.learn.encoders import PatchTransformer
from labkit.learn.fields import MLPField, Regressor, TokenField
from labkit.learn.flow import flow_loss
from labkit.signal.seeds import torch_generator
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.config import Config

# The transformer that looks at patches of 8 bands and 8 frames.
_PATCHES = {"patch": 8, "width": 128, "n_heads": 4, "n_layers": 3}
# Keys from C1 on, one for each three lines.
_N_KEYS = 96


class Ear(nn.Module):
    """Both views of a note become one vector.

    Args:
        config: sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        for name, n in (("mel", features.N_MELS), ("lines", features.N_LINES)):
            self.register_buffer(f"{name}_mean", torch.full((n,), -70.0))
            self.register_buffer(f"{name}_deviation", torch.full((n,), 20.0))
        if config.ear == "patches":
            self.picture: nn.Module = PatchTransformer(features.N_MELS, config.n_frames, **_PATCHES)
        else:
            self.picture = nn.Sequential(*_convolutions(config.channels), nn.Flatten())
        with torch.no_grad():
            n_flat = self.picture(torch.zeros(1, 1, features.N_MELS, config.n_frames)).shape[1]
        self.from_picture = nn.Linear(n_flat, config.hidden)
        self.spectrum = nn.Sequential(
            nn.Linear(features.N_LINES + _N_KEYS, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
        )
        self.register_buffer("comb", _comb(), persistent=False)
        self.together = nn.Sequential(
            nn.LayerNorm(2 * config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.hidden, config.condition),
        )

    def set_statistics(self, statistics: dict[str, dict[str, list[float]]]) -> None:
        """Take over mean and deviation of every band from the training split."""
        for name, found in statistics.items():
            for moment, values in found.items():
                getattr(self, f"{name}_{moment}").copy_(torch.tensor(values))

    def forward(self, mel: Tensor, lines: Tensor) -> Tensor:
        """(b, N_MELS, frames) and (b, N_LINES), dB -> (b, condition)."""
        mel = (mel - self.mel_mean[:, None]) / self.mel_deviation[:, None]
        # How much stands on the harmonics of every key: the network need not learn what a pitch is.
        keys = (lines - lines.mean(1, keepdim=True)) @ self.comb / 10
        lines = torch.cat([(lines - self.lines_mean) / self.lines_deviation, keys], dim=1)
        heard = self.from_picture(self.picture(mel[:, None])), self.spectrum(lines)
        return self.together(torch.cat(heard, dim=1))


def _comb() -> Tensor:
    """(N_LINES, _N_KEYS): the first ten harmonics of each key, later ones less; the gaps below them against it."""
    comb = torch.zeros(features.N_LINES, _N_KEYS)
    for key in range(_N_KEYS):
        for k in range(1, 11):
            line = round(3 * key + features.PER_OCTAVE * math.log2(k))
            gap = round(3 * key + features.PER_OCTAVE * math.log2(k - 0.5))
            for place, sign in ((line, 1.0), (gap, -1.0)):
                if 0 <= place < features.N_LINES:
                    comb[place, key] += sign * 0.84 ** (k - 1)
    return comb / 4


def _convolutions(channels: tuple[int, ...]) -> list[nn.Module]:
    """Each halves both axes."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *channels), channels, strict=False):
        size = 5 if before == 1 else 3
        layers += [nn.Conv2d(before, after, size, 2, size // 2), nn.GroupNorm(8, after), nn.GELU()]
    return layers


class SynthModel(nn.Module):
    """Patches for a sound: many, drawn by the flow, or the one mean patch of the regressor.

    Args:
        config: sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        n = config.spec.size
        self.ear = Ear(config)
        if config.field == "mlp":
            self.field = MLPField(n, config.condition, width=config.width, n_layers=config.n_layers)
        else:
            self.field = TokenField(
                n, config.condition, width=config.width, n_layers=config.n_layers
            )
        self.regressor = Regressor(n, config.condition, width=config.width, n_layers=1)

    def forward(
        self, mel: Tensor, lines: Tensor, target: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both losses of a batch; `number` (b,) names the example and so the noise."""
        config, rng = self.config, torch_generator(self.config.seed, "flow", int(number[0]))
        heard = self.ear(mel, lines)
        repeated = (
            heard.repeat_interleave(config.draws, 0),
            target.repeat_interleave(config.draws, 0),
        )
        flow = flow_loss(self.field, repeated[1], repeated[0], rng, drop=config.drop)
        if config.field == "token":
            flow = flow + 0.01 * self.field.assignment_penalty()
        return flow, (self.regressor(heard) - target).square().mean()


def build(config: Config) -> SynthModel:
    """A fresh model whose weights depend on `config.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SynthModel(config)


def summary(model: SynthModel) -> str:
    """The parts of a model with their numbers of parameters, a line each, and the sum."""
    parts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()
    }
    return "\n".join(
        f"{name:10s} {n:9,d}" for name, n in {**parts, "total": sum(parts.values())}.items()
    )
