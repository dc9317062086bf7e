"""Networks that give a velocity for every point, moment and condition; and one that answers at once.

Axis letters: b batch, d values of a vector, c size of a condition, n tokens, w width of the network.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.learn.attention import Attention

_TIME_SIZE = 32


def time_features(time: Tensor, size: int = _TIME_SIZE) -> Tensor:
    """Sines and cosines of a moment: (b,) in 0..1 -> (b, size), from half a turn to 64 turns over the unit.

    Source: Vaswani et al. 2017, section 3.5, with frequencies for 0..1.
    """
    turns = 2.0 ** torch.linspace(-1, 6, size // 2, device=time.device, dtype=time.dtype)
    angle = 2 * math.pi * time[:, None] * turns
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Conditioning(nn.Module):
    """Moment and condition in one vector; where there is no condition, a trained token stands in its place.

    Args:
        n_condition: c.
        width: w.

    Source: Ho and Salimans 2021 (classifier-free guidance); the token must be trained, or guidance points anywhere.
    """

    def __init__(self, n_condition: int, width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(0.02 * torch.randn(n_condition))
        self.layers = nn.Sequential(
            nn.Linear(n_condition + _TIME_SIZE, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, time: Tensor, condition: Tensor | None, kept: Tensor | None) -> Tensor:
        """(b,), (b, c) or None, (b,) bool or None -> (b, w); rows that are not kept read the token."""
        if condition is None:
            condition = self.null.expand(len(time), -1)
        elif kept is not None:
            condition = torch.where(kept[:, None], condition, self.null.to(condition))
        return self.layers(torch.cat([condition, time_features(time).to(condition)], dim=1))


class _Modulated(nn.Module):
    """`inner`, between a norm that the condition shifts and scales and a gate that it opens; starts as nothing.

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
    """A residual perceptron on the whole vector; it must learn every permutation of equal parts by itself.

    Args:
        n_values: d.
        n_condition: c.
        width: w.
        n_layers: residual blocks.
    """

    def __init__(
        self, n_values: int, n_condition: int, *, width: int = 256, n_layers: int = 4
    ) -> None:
        super().__init__()
        self.n_values, self.n_condition = n_values, n_condition
        self.conditioning = Conditioning(n_condition, width)
        self.enter = nn.Linear(n_values, width)
        self.blocks = nn.ModuleList(
            _Modulated(width, _feed_forward(width, 2 * width)) for _ in range(n_layers)
        )
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, n_values)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Velocity at every point.

        Args:
            x: (b, d).
            time: (b,) in 0..1, 0 where there is noise.
            condition: (b, c); None for none.
            kept: (b,) bool, the rows whose condition is looked at; None for all.

        Returns:
            (b, d).
        """
        context = self.conditioning(time, condition, kept)
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, context)
        return self.leave(self.norm(x))


class TokenField(nn.Module):
    """A transformer on tokens that share out the values among themselves, without positions.

    Every value becomes a vector, a matrix A (n, d) mixes the vectors into tokens, and the same matrix carries the
    tokens' answers back. What the network does to one token it does to all, so values that A puts into like tokens
    are treated alike: with `kinds` and `slots` given, A is fixed and the field is exactly equivariant, exchange two
    slots and the velocities are exchanged; without, A is learned, and `assignment_penalty` keeps it sparse.

    Args:
        n_values: d.
        n_condition: c.
        n_tokens: n; from `slots` where they are given.
        width: w, a multiple of `n_heads`.
        n_heads: of attention.
        n_layers: blocks of attention and perceptron.
        kinds: (d,) small ints, what a value is (frequency, amplitude, ...): values of one kind share their vectors.
        slots: (d,) small ints, the part that a value belongs to.

    Raises:
        ValueError: if only one of `kinds` and `slots` is given, or their length is not d.

    Source: Hayes et al. 2025 (ISMIR), "Param2Tok"; our vectors have an offset, so that a value of 0 is seen too, and
        A starts random instead of nearly equal, which breaks the tie between tokens sooner.
    """

    def __init__(
        self,
        n_values: int,
        n_condition: int,
        *,
        n_tokens: int = 16,
        width: int = 64,
        n_heads: int = 4,
        n_layers: int = 3,
        kinds: Sequence[int] | None = None,
        slots: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        _check_parts(n_values, kinds, slots)
        self.n_values, self.n_condition = n_values, n_condition
        self.register_buffer(
            "kinds", torch.tensor(list(range(n_values) if kinds is None else kinds))
        )
        n_kinds = int(self.kinds.max()) + 1
        self.scale, self.offset, self.read = (
            nn.Parameter(torch.randn(n_kinds, width)) for _ in range(3)
        )
        self.embed, self.unembed = _feed_forward(width, width), nn.Linear(width, width)
        if slots is None:
            self.assignment = nn.Parameter(torch.randn(n_tokens, n_values) / math.sqrt(n_values))
        else:
            fixed = nn.functional.one_hot(torch.tensor(list(slots))).T.float()
            self.register_buffer("assignment", fixed)
        self.conditioning = Conditioning(n_condition, width)
        self.blocks = nn.ModuleList(
            _Modulated(width, inner)
            for _ in range(n_layers)
            for inner in (_SelfAttention(width, n_heads), _feed_forward(width, 2 * width))
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Velocity at every point; arguments as `MLPField.forward`."""
        context = self.conditioning(time, condition, kept)
        vectors = self.embed(x[..., None] * self.scale[self.kinds] + self.offset[self.kinds])
        tokens = self.assignment @ vectors
        for block in self.blocks:
            tokens = block(tokens, context)
        answers = self.assignment.T @ self.unembed(self.norm(tokens))
        return (answers * self.read[self.kinds]).sum(-1) / math.sqrt(answers.shape[-1])

    def assignment_penalty(self) -> Tensor:
        """Mean absolute entry of A: added to the loss (the source: .01 of it), it makes A sparse."""
        return self.assignment.abs().mean()


class Conditioned(nn.Module):
    """A field that reads raw features through an encoder of its own, trained with it.

    Args:
        encoder: features (b, ...) -> (b, c).
        field: of conditions (b, c).
    """

    def __init__(self, encoder: nn.Module, field: MLPField | TokenField) -> None:
        super().__init__()
        self.encoder, self.field = encoder, field

    def forward(
        self, x: Tensor, time: Tensor, features: Tensor, kept: Tensor | None = None
    ) -> Tensor:
        """Velocity at every point; as the field's, with features in place of the condition."""
        return self.field(x, time, self.encoder(features), kept)


class Regressor(nn.Module):
    """Condition to values in one pass, by a residual perceptron.

    Args:
        n_values: d.
        n_condition: c.
        width: w.
        n_layers: residual blocks.
    """

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


def _check_parts(n_values: int, kinds: Sequence[int] | None, slots: Sequence[int] | None) -> None:
    if (kinds is None) != (slots is None):
        raise ValueError("kinds and slots must be given together")
    for name, parts in (("kinds", kinds), ("slots", slots)):
        if parts is not None and len(parts) != n_values:
            raise ValueError(
                f"{name} must hold one number for each of the {n_values} values, got {len(parts)}"
            )
