"""An encoder that hears where oscillators sound, and heads that say which ones they are."""

import math

import torch
from torch import Tensor, nn

from labkit.effects.synths.kosc import SPACE, render
from labkit.learn.fields import MLPField, Regressor, TokenField
from labkit.learn.flow import Averaged
from labkit.systems.synth_matching.kosc.config import FLOWS, Config
from labkit.systems.synth_matching.kosc.data import spectrum

_N_FILTERS = 200
_POWERS = (1.0, 0.5)
# Of the curve that a map draws around an oscillator's frequency, as a share of the range: 40 Hz.
_BLUR = 0.01
# The encoder's answer is a few tenths at most; the heads like it about 1.
_GAIN = 4.0
# How far an oscillator looks around on the map, as shares of the range.
_DISTANCES = (0.01, 0.03, 0.1)


class FilterBank(nn.Module):
    """Fixed filters that undo the mixing: how much of each of 400 sines and saws explains a magnitude spectrum.

    A ridge regression on the spectra of the oscillators themselves, in two compressions, so it needs no training.

    Source: Hoerl and Kennard 1970.
    """

    def __init__(self) -> None:
        super().__init__()
        frequency = (torch.arange(_N_FILTERS) + 0.5) / _N_FILTERS
        one = torch.ones_like(frequency)
        pure = torch.cat(
            [torch.stack([frequency, one, shape * one], dim=-1) for shape in (0.0, 1.0)]
        )
        known = spectrum(render(pure[:, None])).abs()
        self.register_buffer(
            "filters", torch.stack([_ridge(known.pow(power)) for power in _POWERS])
        )

    @property
    def size(self) -> int:
        """How many numbers come out."""
        return self.filters.shape[0] * self.filters.shape[2]

    def forward(self, magnitude: Tensor) -> Tensor:
        """(b, bins) -> (b, size)."""
        found = [
            (magnitude + 1e-7).pow(p) @ filters
            for p, filters in zip(_POWERS, self.filters, strict=True)
        ]
        return torch.cat([_GAIN * (one - one.mean(1, keepdim=True)) for one in found], dim=1)


def _ridge(known: Tensor) -> Tensor:
    """(m, bins) -> (bins, m)."""
    gram = known @ known.T
    return torch.linalg.solve(gram + 1e-2 * gram.diagonal().mean() * torch.eye(len(gram)), known).T


class Encoder(nn.Module):
    """Magnitudes to a map: at each of `n_map` frequencies how much sounds there, and how bright it is.

    A map says nothing of the order of the oscillators, so nothing about it is ambiguous.

    Args:
        config: sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.filters = FilterBank()
        size, shape = (
            2 * config.n_map,
            {"width": config.encoder_width, "n_layers": config.encoder_layers},
        )
        self.layers = Regressor(size, self.filters.size, **shape)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(b, bins) -> (b, 2 n_map)."""
        return self.layers(self.filters(magnitude))


def true_map(settings: Tensor, config: Config) -> Tensor:
    """What the encoder is trained to say: (b, k, 3) in 0..1 -> (b, 2 n_map)."""
    frequency, amplitude, waveform = settings[..., None].unbind(2)
    if config.broken:
        frequency = (frequency + torch.arange(config.k)[:, None]) / config.k
    places = torch.linspace(0, 1, config.n_map)
    near = amplitude * torch.exp(-0.5 * ((frequency - places) / _BLUR) ** 2)
    return _GAIN * torch.cat([near.sum(1), ((2 * waveform - 1) * near).sum(1)], dim=1)


class Outlook(nn.Module):
    """What an oscillator sees of the map from the frequency where it stands, at several distances.

    At each distance: how much sounds there, in which direction its middle lies, and how bright it is. Exchange two
    oscillators, and what they see is exchanged.

    Args:
        config: k, broken, n_map.

    Source: the step of mean shift, Fukunaga and Hostetler 1975.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.k, self.broken = config.k, config.broken
        self.register_buffer("places", torch.linspace(0, 1, config.n_map))
        self.register_buffer("distances", torch.tensor(_DISTANCES))

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """(b, 3 k) and the map (b, 2 n_map) -> (b, k, 3 distances)."""
        place = values.unflatten(1, (self.k, -1))[..., 0] / math.sqrt(12) + 0.5
        if self.broken:
            place = (place + torch.arange(self.k, device=place.device)) / self.k
        amount, bright = condition.unflatten(1, (2, -1)).unbind(1)
        away = self.places - place[..., None]
        near = torch.exp(-0.5 * (away[:, :, None] / self.distances[:, None]) ** 2)
        weight = near * amount.clamp_min(0)[:, None, None]
        mass = weight.sum(-1) + 1e-3
        shift = (weight * away[:, :, None]).sum(-1) / mass / self.distances
        brightness = (near * bright[:, None, None]).sum(-1) / mass
        level = torch.log(mass / (self.distances * len(self.places)))
        return torch.cat([level, shift, brightness.clamp(-2, 2)], dim=-1)


class Head(nn.Module):
    """A field or a regressor of the settings, given the map and what every oscillator sees of it from its place.

    Args:
        config: the task and the kind of head.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.k, self.n_values, self.outlook = config.k, config.k * len(SPACE), Outlook(config)
        size = len(SPACE) + 3 * len(_DISTANCES)
        n_all, n_map = config.k * size, 2 * config.n_map
        perceptron = {"width": config.width, "n_layers": config.n_layers}
        tokens = {"width": config.width // 3, "n_layers": config.n_layers}
        if config.head not in FLOWS:
            self.net: nn.Module = Regressor(self.n_values, n_map + n_all, **perceptron)
        elif config.head == "mlp flow":
            self.net = MLPField(n_all, n_map, **perceptron)
        elif config.head == "learned flow":
            self.net = TokenField(n_all, n_map, n_tokens=2 * config.k, **tokens)
        else:
            kinds = [kind for _ in range(config.k) for kind in range(size)]
            slots = [slot for slot in range(config.k) for _ in range(size)]
            self.net = TokenField(n_all, n_map, kinds=kinds, slots=slots, **tokens)

    def forward(
        self,
        values: Tensor,
        time: Tensor,
        condition: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Velocities (b, 3 k); arguments as `labkit.learn.fields.MLPField.forward`. No condition, nothing seen."""
        seen = self._seen(values, condition, kept)
        said = self.net(seen.flatten(1), time, condition, kept)
        return said.unflatten(1, (self.k, -1))[..., : len(SPACE)].flatten(1)

    def regress(self, condition: Tensor) -> Tensor:
        """(b, 2 n_map) -> (b, 3 k), as seen from the middle of every oscillator's range."""
        middle = condition.new_zeros(len(condition), self.n_values)
        return self.net(
            torch.cat([condition, self._seen(middle, condition, None).flatten(1)], dim=1)
        )

    def _seen(self, values: Tensor, condition: Tensor | None, kept: Tensor | None) -> Tensor:
        own = values.unflatten(1, (self.k, -1))
        if condition is None:
            return torch.cat([own, own.new_zeros(*own.shape[:2], 3 * len(_DISTANCES))], dim=-1)
        seen = self.outlook(values, condition)
        if kept is not None:
            seen = torch.where(kept[:, None, None], seen, torch.zeros_like(seen))
        return torch.cat([own, seen], dim=-1)


def build(config: Config) -> Averaged:
    """A head, its weights drawn from the seed; with the running mean that is evaluated."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Averaged(Head(config), decay=0.99)
