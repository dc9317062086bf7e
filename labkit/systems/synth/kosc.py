"""k exchangeable oscillators: encoder, flow and regressor of their settings, trained on the fly.

The encoder gives a map, the amount and the brightness of sound at each frequency, which does not
depend on the order of the oscillators. Field and regressor read the map.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.effects.synths.kosc import SPACE, render
from labkit.learn.fields import Regressor, TokenField
from labkit.learn.flow import flow_loss, sample
from labkit.signal.seeds import torch_generator

if TYPE_CHECKING:  # the other network's module imports this one
    from labkit.systems.synth.model import Config

N_MAP = 128
_N_VALUES = len(SPACE)
_N_FILTERS = 200
# Compressions of the magnitudes.
_POWERS = (1.0, 0.5)
# Width of an oscillator's curve on the map, as a share of the frequency range: 40 Hz.
_BLUR = 0.01
# Scales the map, a few tenths at most, to about 1.
_GAIN = 4.0
# Reaches of an oscillator's view of the map, as shares of the range.
_REACHES = (0.01, 0.03, 0.1)


def log_spectral_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference in dB over the bins, without a window and from -80 dB on: LSD.

    Source: Hayes et al. 2025.
    """
    spectra = (torch.fft.rfft(one, norm="forward").abs() for one in (first, second))
    a, b = (20 * torch.log10(one + 1e-4) for one in spectra)
    return (a - b).square().mean(1).sqrt()


def magnitude(audio: Tensor) -> Tensor:
    """(b, 1024) -> (b, 513), Hann window; 1 for a sine of amplitude 1."""
    window = torch.hann_window(audio.shape[-1], device=audio.device)
    return (torch.fft.rfft(audio * window) * (2 / window.sum())).abs()


class Settings(Dataset):
    """Random settings (k, 3) in 0..1; example `number` depends on it and the seed alone."""

    def __init__(self, config: "Config", n: int) -> None:
        self.shape = (config.sound.n_oscillators, _N_VALUES)
        self.seed = config.plan.seed
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        drawn = np.random.default_rng((self.seed, number)).random(self.shape, dtype=np.float32)
        return {"settings": torch.from_numpy(drawn), "number": torch.tensor(number)}


def to_values(settings: Tensor) -> Tensor:
    """(b, k, 3) in 0..1 -> (b, 3 k) of mean 0 and variance 1, as large as a flow's noise."""
    return ((settings - 0.5) * math.sqrt(12)).flatten(1)


def to_settings(values: Tensor) -> Tensor:
    """(..., 3 k) -> (..., k, 3), clamped to 0..1."""
    return (values / math.sqrt(12) + 0.5).clamp(0, 1).unflatten(-1, (-1, _N_VALUES))


def true_map(settings: Tensor) -> Tensor:
    """The encoder's target: (b, k, 3) in 0..1 -> (b, 2 N_MAP)."""
    frequency, amplitude, waveform = settings[..., None].unbind(2)
    places = torch.linspace(0, 1, N_MAP, device=settings.device)
    near = amplitude * torch.exp(-0.5 * ((frequency - places) / _BLUR) ** 2)
    return _GAIN * torch.cat([near.sum(1), ((2 * waveform - 1) * near).sum(1)], dim=1)


class Encoder(nn.Module):
    """Magnitudes (b, 513) to the map (b, 2 N_MAP): fixed filters, then a perceptron.

    The filters are a ridge regression on the spectra of 400 sines and saws, in two compressions.

    Source: Hoerl and Kennard 1970.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        frequency = (torch.arange(_N_FILTERS) + 0.5) / _N_FILTERS
        one = torch.ones_like(frequency)
        pure = [torch.stack([frequency, one, shape * one], dim=-1) for shape in (0.0, 1.0)]
        known = magnitude(render(torch.cat(pure)[:, None]))
        filters = torch.stack([_ridge(known.pow(p)) for p in _POWERS])
        self.register_buffer("filters", filters, persistent=False)
        self.layers = Regressor(2 * N_MAP, 2 * 2 * _N_FILTERS, width=width, n_layers=2)

    def forward(self, magnitude: Tensor) -> Tensor:
        parts = []
        for power, filters in zip(_POWERS, self.filters, strict=True):
            part = (magnitude + 1e-7).pow(power) @ filters
            parts.append(_GAIN * (part - part.mean(1, keepdim=True)))
        return self.layers(torch.cat(parts, dim=1))


def _ridge(known: Tensor) -> Tensor:
    """(m, bins) -> (bins, m)."""
    gram = known @ known.T
    return torch.linalg.solve(gram + 1e-2 * gram.diagonal().mean() * torch.eye(len(gram)), known).T


def view_of_map(place: Tensor, condition: Tensor) -> Tensor:
    """Amount, direction of its centre and brightness of the map around each oscillator.

    (b, k) places in 0..1 and the map (b, 2 N_MAP) -> (b, k, 9): the figures at three reaches.

    Source: the step of mean shift, Fukunaga and Hostetler 1975.
    """
    amount, bright = condition.unflatten(1, (2, -1)).unbind(1)
    reaches = place.new_tensor(_REACHES)
    places = torch.linspace(0, 1, N_MAP, device=place.device, dtype=place.dtype)
    away = places - place[..., None]  # (b, k, N_MAP)
    near = torch.exp(-0.5 * (away[:, :, None] / reaches[:, None]) ** 2)
    weight = near * amount.clamp_min(0)[:, None, None]
    mass = weight.sum(-1) + 1e-3
    shift = (weight * away[:, :, None]).sum(-1) / mass / reaches
    brightness = (near * bright[:, None, None]).sum(-1) / mass
    level = torch.log(mass / (reaches * N_MAP))
    return torch.cat([level, shift, brightness.clamp(-2, 2)], dim=-1)


class Field(nn.Module):
    """The flow's field: a transformer with one token for each oscillator, so it is equivariant.

    It reads the map and each oscillator's view of it.
    """

    def __init__(self, config: "Config") -> None:
        super().__init__()
        net = config.net
        self.k = config.sound.n_oscillators
        self.n_values = self.k * _N_VALUES
        n_each = _N_VALUES + 3 * len(_REACHES)
        kinds = list(range(n_each)) * self.k
        slots = np.repeat(np.arange(self.k), n_each).tolist()
        sizes = {"width": net.width // 3, "n_layers": net.n_layers}
        self.net = TokenField(self.k * n_each, 2 * N_MAP, kinds=kinds, slots=slots, **sizes)

    def forward(
        self,
        values: Tensor,
        time: Tensor,
        condition: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Velocities (b, 3 k); arguments as `labkit.learn.fields.MLPField.forward`."""
        own = values.unflatten(1, (self.k, -1))
        if condition is None:  # nothing of the map is seen
            view = own.new_zeros(*own.shape[:2], 3 * len(_REACHES))
        else:
            view = view_of_map(own[..., 0] / math.sqrt(12) + 0.5, condition)
        if kept is not None:
            view = torch.where(kept[:, None, None], view, torch.zeros_like(view))
        seen = torch.cat([own, view], dim=-1).flatten(1)
        velocity = self.net(seen, time, condition, kept)
        return velocity.unflatten(1, (self.k, -1))[..., :_N_VALUES].flatten(1)


class KoscModel(nn.Module):
    """Encoder, flow and regressor of k oscillators; keeps its config."""

    def __init__(self, config: "Config") -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.net.hidden)
        self.field = Field(config)
        sizes = {"width": config.net.width, "n_layers": config.net.n_layers}
        self.regressor = Regressor(self.field.n_values, 2 * N_MAP, **sizes)

    def encode(self, audio: Tensor) -> Tensor:
        """(b, 1024) -> the map (b, 2 N_MAP)."""
        return self.encoder(magnitude(audio) * self.config.sound.n_oscillators)

    def forward(self, settings: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of encoder, flow and regressor; the last two do not train the encoder."""
        found = self.encode(render(settings))
        condition = found.detach()
        values = to_values(settings)
        rng = torch_generator(self.config.plan.seed, "k-osc noise", int(number[0]))
        flow = flow_loss(self.field, values, condition, rng, drop=0.1, pairing=ranked)
        regression = (self.regressor(condition) - values).square().mean()
        return (found - true_map(settings)).square().mean(), flow, regression

    @torch.no_grad()
    def propose(self, audio: Tensor, *, n: int = 1) -> tuple[Tensor, Tensor]:
        """Settings in 0..1 for sounds (b, 1024): (b, n, k, 3) of the flow, (b, k, 3) regressed."""
        condition = self.encode(audio)
        options = {"steps": 32, "guidance": 2.0, "rng": torch_generator(0, "k-osc sample")}
        drawn = sample(self.field, condition, n_samples=n, **options)
        return to_settings(drawn), to_settings(self.regressor(condition))


def ranked(noise: Tensor, target: Tensor) -> Tensor:
    """The noise with its oscillators reordered to rank by frequency as the target's, (b, 3 k).

    The order of the target is random, so the noise stays normal, and the paths no longer cross.

    Source: equivariant optimal transport, Klein et al. 2023, on the frequency alone.
    """
    own, goal = (one.unflatten(1, (-1, _N_VALUES)) for one in (noise, target))
    order = own[..., 0].argsort(1).gather(1, goal[..., 0].argsort(1).argsort(1))
    return own.gather(1, order[..., None].expand_as(own)).flatten(1)


def scores(model: KoscModel, n: int, seed: int) -> dict[str, np.ndarray]:
    """LSD in dB of every model's answers to `n` random sounds, and of answers to another one."""
    shape = (n, model.config.sound.n_oscillators, _N_VALUES)
    settings = torch.rand(shape, generator=torch_generator(seed, "k-osc scores"))
    audio = render(settings)
    drawn, plain = model.propose(audio)
    answers = {"regression": plain, "flow, one draw": drawn[:, 0]}
    answers |= {"shuffled sound": drawn[:, 0].roll(1, 0), "best constant": 0 * settings + 0.5}
    return {x: log_spectral_distance(render(one), audio).numpy() for x, one in answers.items()}
