"""A network that imitates an effect with its parameters, so that gradients can pass through it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from labkit.learn.training import Loss
from labkit.signal.seeds import seeded


class _Block(nn.Module):
    """A dilated causal convolution that the parameters scale and shift (FiLM); a shortcut."""

    def __init__(self, channels: int, kernel: int, dilation: int, width: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.convolution = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.film = nn.Linear(width, 2 * channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        filtered = self.convolution(nn.functional.pad(x, (self.past, 0)))
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return x + self.mix(torch.tanh(filtered * (1 + scale) + shift))


class ProxyTCN(nn.Module):
    """A conditioned temporal convolutional network: dry audio and parameters to wet audio.

    It begins as a wire and keeps a straight path from dry to wet. Each block is 6 times as
    dilated as the one before. Source: Steinmetz and Reiss, AES 152, 2022; Perez et al. 2018 (FiLM).
    """

    def __init__(self, n_params: int) -> None:
        super().__init__()
        width, channels, kernel = 32, 12, 7
        self.condition = nn.Sequential(
            nn.Linear(n_params, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.enter = nn.Conv1d(1, channels, 1)
        self.blocks = nn.ModuleList(_Block(channels, kernel, 6**k, width) for k in range(4))
        self.leave = nn.Conv1d(channels, 1, 1)
        self.straight = nn.Linear(width, 1)
        for layer in (self.leave, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, audio: Tensor, params_unit: Tensor) -> Tensor:
        """(b, channels, samples) and (b, d) in 0..1 -> wet audio, each channel alone."""
        batch, channels, samples = audio.shape
        condition = self.condition(2 * params_unit - 1).repeat_interleave(channels, 0)
        dry = audio.reshape(batch * channels, 1, samples)
        x = self.enter(dry)
        for block in self.blocks:
            x = block(x, condition)
        wet = self.leave(x) + (1 + self.straight(condition)[..., None]) * dry
        return wet.view(batch, channels, samples)


def fresh_proxy(n_params: int, seed: int) -> ProxyTCN:
    """A proxy with weights from a seed of its own."""
    return seeded(lambda: ProxyTCN(n_params), seed, "proxy")


def imitation_loss(distance: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The loss of batches of ``dry``, ``params_unit`` and ``wet``.

    `distance` (imitated, wet) -> (b,) is e.g. spectral; the wave's relative error is added.
    """

    def loss(proxy: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        wet = batch["wet"]
        imitated = proxy(batch["dry"], batch["params_unit"])
        error = (imitated - wet).square().mean((1, 2)) / (wet.square().mean((1, 2)) + 1e-8)
        return (distance(imitated, wet) + error).mean(), {}

    return loss
