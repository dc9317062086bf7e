"""Networks that map point, time and condition to a velocity; and a plain regressor.

Axis letters: b batch, d values of a vector, c size of a condition, n tokens, w width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.learn.transformer import Attention

_TIME_SIZE = 32


def time_features(time: Tensor) -> Tensor:
    """(b,) in 0..1 -> (b, 32) sines and cosines, from half a turn to 64 turns."""
    turns = 2.0 ** torch.linspace(-1, 6, _TIME_SIZE // 2, device=time.device, dtype=time.dtype)
    angle = 2 * math.pi * time[:, None] * turns
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Conditioning(nn.Module):
    """Time and condition in one vector (b, w); a trained token stands for no condition.

    Source: Ho and Salimans 2021 (classifier-free guidance).
    """

    def __init__(self, n_condition: int, width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(0.02 * torch.randn(n_condition))
        self.layers = nn.Sequential(
            nn.Linear(n_condition + _TIME_SIZE, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, time: Tensor, condition: Tensor | None, kept: Tensor | None) -> Tensor:
        """Times (b,), conditions (b, c) or None, and the rows (b,) bool that keep theirs."""
        if condition is None:
            condition = self.null.expand(len(time), -1)
        elif kept is not None:
            condition = torch.where(kept[:, None], condition, self.null.to(condition))
        return self.layers(torch.cat([condition, time_features(time).to(condition)], dim=1))


class _Modulated(nn.Module):
    """`inner` between a norm that the condition scales and a gate that it opens; begins closed.

    Source: Peebles and Xie 2023 (DiT), adaLN-Zero.
    """

    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.inner = inner
        self.modulation = nn.Sequential(nn.GELU(), nn.Linear(width, 3 * width))
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(b, w) or (b, n, w), and (b, w)."""
        shift, scale, gate = (
            self.modulation(context).unflatten(1, (3, *(1,) * (x.ndim - 2), -1)).unbind(1)
        )
        return x + gate * self.inner(self.norm(x) * (1 + scale) + shift)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, n_heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x)


def _feed_forward(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class MLPField(nn.Module):
    """A residual perceptron on the whole vector."""

    def __init__(
        self, n_values: int, n_condition: int, *, width: int = 256, n_layers: int = 4
    ) -> None:
        super().__init__()
        self.n_values = n_values
        self.conditioning = Conditioning(n_condition, width)
        self.enter = nn.Linear(n_values, width)
        self.blocks = nn.ModuleList(
            _Modulated(width, _feed_forward(width, 2 * width)) for _ in range(n_layers)
        )
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, n_values)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Velocities (b, d) at points (b, d) and times (b,), 0 where there is noise.

        `condition` is (b, c) or None; `kept` (b,) bool names the rows whose condition is used.
        """
        context = self.conditioning(time, condition, kept)
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, context)
        return self.leave(self.norm(x))


class TokenField(nn.Module):
    """A transformer on the parts of a vector, without positions: exactly equivariant.

    `kinds` (d,) says what each value is, `slots` (d,) to which part it belongs: exchange two parts,
    and the velocities are exchanged.

    Source: Hayes et al. 2025 (ISMIR), "Param2Tok", with a fixed assignment; our vectors have an
        offset, so a value of 0 has one too.
    """

    def __init__(
        self,
        n_values: int,
        n_condition: int,
        *,
        kinds: Sequence[int],
        slots: Sequence[int],
        width: int = 64,
        n_layers: int = 3,
    ) -> None:
        super().__init__()
        self.n_values = n_values
        self.register_buffer("kinds", torch.tensor(list(kinds)))
        n_kinds = int(self.kinds.max()) + 1
        self.scale = nn.Parameter(torch.randn(n_kinds, width))
        self.offset = nn.Parameter(torch.randn(n_kinds, width))
        self.read = nn.Parameter(torch.randn(n_kinds, width))
        self.embed = _feed_forward(width, width)
        self.unembed = nn.Linear(width, width)
        # (n, d): mixes the vectors of values into tokens and carries the outputs back.
        assignment = nn.functional.one_hot(torch.tensor(list(slots))).T.float()
        self.register_buffer("assignment", assignment)
        self.conditioning = Conditioning(n_condition, width)
        self.blocks = nn.ModuleList(
            _Modulated(width, inner)
            for _ in range(n_layers)
            for inner in (_SelfAttention(width, 4), _feed_forward(width, 2 * width))
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        context = self.conditioning(time, condition, kept)
        vectors = self.embed(x[..., None] * self.scale[self.kinds] + self.offset[self.kinds])
        tokens = self.assignment @ vectors
        for block in self.blocks:
            tokens = block(tokens, context)
        answers = self.assignment.T @ self.unembed(self.norm(tokens))
        return (answers * self.read[self.kinds]).sum(-1) / math.sqrt(answers.shape[-1])


class Regressor(nn.Module):
    """Condition to values in one pass, by a residual perceptron."""

    def __init__(
        self, n_values: int, n_condition: int, *, width: int = 256, n_layers: int = 4
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(n_condition, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), *_feed_forward(width, 2 * width))
            for _ in range(n_layers)
        )
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, n_values)

    def forward(self, condition: Tensor) -> Tensor:
        """(b, c) -> (b, d)."""
        x = self.enter(condition)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(self.norm(x))
