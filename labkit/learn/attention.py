"""Attention in four kinds that differ in what they remember of each position, with or without rotary positions.

Axis letters: b batch, t target positions, s source positions, d model width, h heads, e size of a head.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["multi_head", "grouped_query", "multi_query", "latent"]
Positions = Literal["learned", "rotary"]


def rotate(x: Tensor, *, start: int = 0, base: float = 10_000.0) -> Tensor:
    """Turn pairs of numbers by angles that grow with the position: a dot product then knows the distance alone.

    Args:
        x: (..., t, e), e even; number i pairs with i + e/2.
        start: position of the first of the t.
        base: pair i turns by `base`**(-2i/e) radians a position.

    Returns:
        The shape of `x`; each pair's length is kept.

    Raises:
        ValueError: if e is odd.

    Source: Su et al. 2021 (RoFormer), eq. 34; pairs are halves apart, not neighbours.
    """
    *_, t, size = x.shape
    if size % 2:
        raise ValueError(f"rotary positions need an even last axis, got {size}")
    speed = base ** (-torch.arange(0, size, 2, device=x.device) / size)
    angle = torch.arange(start, start + t, device=x.device)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Scaled dot-product attention: multi-head, or grouped-query and multi-query with fewer heads of keys and values.

    Two halves: `remember` says what is kept of the source, `read` lets queries look at it. A cache keeps what
    `remember` gave.

    Args:
        width: model width d, a multiple of `n_heads`.
        n_heads: heads of queries.
        n_key_heads: heads of keys and values, a divisor of `n_heads`; as many when None, 1 is multi-query.
        rotary: turn queries and keys by their positions.

    Raises:
        ValueError: if the sizes do not divide.

    Source: Vaswani et al. 2017, eq. 1 and section 3.2.2; Shazeer 2019 (multi-query); Ainslie et al. 2023
        (grouped-query). Ours has no dropout on the weights.
    """

    def __init__(
        self, width: int, n_heads: int, *, n_key_heads: int | None = None, rotary: bool = False
    ) -> None:
        super().__init__()
        n_key_heads = n_heads if n_key_heads is None else n_key_heads
        if width % n_heads:
            raise ValueError(f"width must be a multiple of n_heads, got {width} and {n_heads}")
        if n_key_heads < 1 or n_heads % n_key_heads:
            raise ValueError(f"n_key_heads must divide n_heads, got {n_key_heads} and {n_heads}")
        self.n_heads, self.n_key_heads, self.rotary = n_heads, n_key_heads, rotary
        self.floats_per_position = 2 * n_key_heads * (width // n_heads)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, self.floats_per_position)
        self.output = nn.Linear(width, width)

    def remember(self, source: Tensor, *, start: int = 0) -> Tensor:
        """What is kept of `source` (b, s, d), whose first position is `start`: (b, s, floats_per_position)."""
        remembered = self.key_value(source)
        if not self.rotary:
            return remembered
        key, value = remembered.chunk(2, dim=-1)
        return torch.cat([_join(rotate(_split(key, self.n_key_heads), start=start)), value], dim=-1)

    def read(
        self, x: Tensor, remembered: Tensor, *, start: int = 0, causal: bool = False
    ) -> Tensor:
        """Let every position of `x` look at what is remembered.

        Args:
            x: (b, t, d).
            remembered: (b, s, floats_per_position) from `remember`.
            start: position of the first of the t.
            causal: no position looks at a later one; `x` then holds the last t of the s positions.

        Returns:
            (b, t, d).
        """
        mixed = _mix(self._queries(x, start), *self._keys_values(remembered), causal=causal)
        return self.output(_join(mixed))

    def forward(self, x: Tensor, source: Tensor, *, causal: bool = False) -> Tensor:
        """Let every position of `x` (b, t, d) read `source` (b, s, d); `causal`: only itself and what is before."""
        mixed = _mix(self._queries(x, 0), *self._keys_values(self.remember(source)), causal=causal)
        return self.output(_join(mixed))

    @torch.no_grad()
    def weights(self, x: Tensor, source: Tensor) -> Tensor:
        """The attention weights (b, h, t, s) that `forward` mixes with (no causal mask): for figures."""
        query, (key, _) = self._queries(x, 0), self._keys_values(self.remember(source))
        key = key.repeat_interleave(self.n_heads // key.shape[1], dim=1)
        return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)

    def _queries(self, x: Tensor, start: int) -> Tensor:
        query = _split(self.query(x), self.n_heads)
        return rotate(query, start=start) if self.rotary else query

    def _keys_values(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        key, value = remembered.chunk(2, dim=-1)
        return _split(key, self.n_key_heads), _split(value, self.n_key_heads)


class LatentAttention(Attention):
    """Multi-head latent attention: one short vector is kept of each position.

    All heads' keys and values are linear functions of it. `forward` computes them. `read` never does: it moves
    their matrices over to the query and to the mixture, (U c)·q = c·(Uᵀq) and Σ w (V c) = V (Σ w c), so that a step
    costs what the short vectors cost. A rotation that depends on the position cannot be moved over, so rotary
    positions have a few numbers of their own, one key for all heads.

    Args:
        width: model width d, a multiple of `n_heads`.
        n_heads: number of heads.
        rank: length of the short vector; a quarter of the width when None.
        rotary: with a rotary part of half a head's size.

    Raises:
        ValueError: if the sizes do not divide.

    Source: DeepSeek-V2, 2024, eq. 9-19. Queries are not compressed (that saves no cache), and the short vector is
        not normalised.
    """

    def __init__(
        self, width: int, n_heads: int, *, rank: int | None = None, rotary: bool = False
    ) -> None:
        super().__init__(width, n_heads)
        size = width // n_heads
        if rotary and size % 4:
            raise ValueError(f"rotary latent attention needs heads of a multiple of 4, got {size}")
        self.rotary = rotary
        self.rank = width // 4 if rank is None else rank
        self.rotary_size = size // 2 if rotary else 0
        self.floats_per_position = self.rank + self.rotary_size
        self.query = nn.Linear(width, n_heads * (size + self.rotary_size))
        self.latent = nn.Linear(width, self.floats_per_position)
        self.key_value = nn.Linear(self.rank, 2 * width, bias=False)

    def remember(self, source: Tensor, *, start: int = 0) -> Tensor:
        """The short vectors of `source` and, behind them, its rotary keys: (b, s, floats_per_position)."""
        return self._rotate_tail(self.latent(source), start)

    def read(
        self, x: Tensor, remembered: Tensor, *, start: int = 0, causal: bool = False
    ) -> Tensor:
        """As `Attention.read`, among the short vectors themselves."""
        query = self._queries(x, start)
        size = query.shape[-1] - self.rotary_size
        # (key or value, h, e, rank)
        up_key, up_value = self.key_value.weight.view(2, self.n_heads, size, self.rank)
        moved = torch.cat([query[..., :size] @ up_key, query[..., size:]], dim=-1)
        short = remembered.unsqueeze(1)
        # The scale is that of the keys which are never made.
        mixed = _mix(
            moved, short, short[..., : self.rank], causal=causal, scale=query.shape[-1] ** -0.5
        )
        return self.output(_join(mixed @ up_value.transpose(-1, -2)))

    def _queries(self, x: Tensor, start: int) -> Tensor:
        return self._rotate_tail(_split(self.query(x), self.n_heads), start)

    def _keys_values(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        short, tail = remembered.split([self.rank, self.rotary_size], dim=-1)
        key, value = (_split(part, self.n_heads) for part in self.key_value(short).chunk(2, dim=-1))
        return torch.cat([key, tail.unsqueeze(1).expand(-1, self.n_heads, -1, -1)], dim=-1), value

    def _rotate_tail(self, x: Tensor, start: int) -> Tensor:
        if not self.rotary:
            return x
        head, tail = x.split([x.shape[-1] - self.rotary_size, self.rotary_size], dim=-1)
        return torch.cat([head, rotate(tail, start=start)], dim=-1)


def attention(kind: Kind, width: int, n_heads: int, *, rotary: bool = False) -> Attention:
    """Attention of one kind.

    Args:
        kind: ``"multi_head"``, ``"grouped_query"`` (half as many heads of keys), ``"multi_query"`` or ``"latent"``.
        width: model width, a multiple of `n_heads`.
        n_heads: heads of queries.
        rotary: turn queries and keys by their positions.

    Returns:
        The module.

    Raises:
        ValueError: for another kind, or sizes that do not divide.
    """
    if kind == "latent":
        return LatentAttention(width, n_heads, rotary=rotary)
    key_heads = {"multi_head": n_heads, "grouped_query": max(1, n_heads // 2), "multi_query": 1}
    if kind not in key_heads:
        raise ValueError(f"kind must be one of {', '.join((*key_heads, 'latent'))}, got {kind!r}")
    return Attention(width, n_heads, n_key_heads=key_heads[kind], rotary=rotary)


def _split(x: Tensor, n_heads: int) -> Tensor:
    """(b, t, h*e) -> (b, h, t, e)."""
    return x.view(*x.shape[:2], n_heads, -1).transpose(1, 2)


def _join(x: Tensor) -> Tensor:
    """(b, h, t, e) -> (b, t, h*e)."""
    return x.transpose(1, 2).flatten(2)


def _mix(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float | None = None
) -> Tensor:
    t, s = query.shape[2], key.shape[2]
    mask = None
    if (
        causal and 1 < t < s
    ):  # a single query stands last and may see all; torch's own mask is for t = s
        mask = torch.ones(t, s, dtype=torch.bool, device=query.device).tril(s - t)
    grouped = key.shape[1] != query.shape[1]
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=causal and t == s,
        scale=scale,
        enable_gqa=grouped,
    )
