"""A network that imitates an effect with its knobs, so that gradients can pass through the imitation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.signal.seeds import torch_generator


class _Block(nn.Module):
    """A dilated causal convolution whose channels the knobs scale and shift (FiLM), with a shortcut."""

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
    """A conditioned temporal convolutional network: dry audio and knobs in, an imitation of the wet audio out.

    Args:
        n_params: knobs, at least 1.
        channels: of every block.
        kernel: taps of each convolution.
        blocks: convolutions in a row.
        growth: each is this many times as dilated as the one before.

    Raises:
        ValueError: if a size is below 1.

    Source: Steinmetz and Reiss, AES 152, 2022 (the network); Perez et al. 2018 (FiLM). Ours bends by tanh, which has
        a slope everywhere, and always keeps a straight path from dry to wet, scaled by the knobs.
    """

    def __init__(
        self,
        n_params: int,
        *,
        channels: int = 12,
        kernel: int = 7,
        blocks: int = 4,
        growth: int = 6,
    ) -> None:
        super().__init__()
        if min(n_params, channels, kernel, blocks, growth) < 1:
            raise ValueError(
                f"sizes must be at least 1, got {(n_params, channels, kernel, blocks, growth)}"
            )
        width = 32
        self.condition = nn.Sequential(
            nn.Linear(n_params, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.enter = nn.Conv1d(1, channels, 1)
        self.blocks = nn.ModuleList(
            _Block(channels, kernel, growth**k, width) for k in range(blocks)
        )
        self.leave = nn.Conv1d(channels, 1, 1)
        self.straight = nn.Linear(width, 1)
        # It begins as a wire, and learns only what the effect does.
        for layer in (self.leave, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.receptive_field = 1 + sum(block.past for block in self.blocks)

    def forward(self, audio: Tensor, params_unit: Tensor) -> Tensor:
        """(b, channels, samples) and (b, d) in 0..1 -> (b, channels, samples); channels are taken one by one."""
        batch, channels, samples = audio.shape
        condition = self.condition(2 * params_unit - 1).repeat_interleave(channels, 0)
        dry = audio.reshape(batch * channels, 1, samples)
        x = self.enter(dry)
        for block in self.blocks:
            x = block(x, condition)
        wet = self.leave(x) + (1 + self.straight(condition)[..., None]) * dry
        return wet.view(batch, channels, samples)


def train_proxy(
    proxy: ProxyTCN,
    examples: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    learning_rate: float = 3e-3,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> list[float]:
    """Teach a proxy to sound like its effect.

    Args:
        proxy: changed in place.
        examples: step -> dry (b, c, t), knobs (b, d) and wet (b, c, t), rendered by the effect.
        loss: (imitated, wet) -> (b,), e.g. a spectral distance; the relative error of the wave is added.
        steps: of Adam, at least 1.
        learning_rate: at the beginning; falls to zero by a cosine.
        on_log: called with ``{"step", "loss"}`` after each step.

    Returns:
        The loss of every step.

    Raises:
        ValueError: if `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    optimizer = torch.optim.Adam(proxy.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for step in range(steps):
        dry, params_unit, wet = examples(step)
        imitated = proxy(dry, params_unit)
        error = (imitated - wet).square().mean((1, 2)) / (wet.square().mean((1, 2)) + 1e-8)
        value = (loss(imitated, wet) + error).mean()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(proxy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
        if on_log:
            on_log({"step": step + 1, "loss": losses[-1]})
    return losses


def fresh_proxy(n_params: int, seed: int) -> ProxyTCN:
    """A proxy with weights drawn from a seed of its own, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "proxy").initial_seed())
        return ProxyTCN(n_params)
