"""Four kinds of attention, which differ in what they keep of each position.

Axis letters: b batch, t target positions, s source positions, d model width, h heads, e head size.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["multi_head", "grouped_query", "multi_query", "latent"]


class Attention(nn.Module):
    """Scaled dot-product attention: multi-head, or with fewer heads of keys and values.

    A cache lies between `remember` and `read`. Source: Vaswani et al. 2017, eq. 1; Shazeer 2019
    (multi-query); Ainslie et al. 2023 (grouped).
    """

    def __init__(self, width: int, n_heads: int, *, n_key_heads: int | None = None) -> None:
        super().__init__()
        n_key_heads = n_heads if n_key_heads is None else n_key_heads
        if width % n_heads:
            raise ValueError(f"width must be a multiple of n_heads, got {width} and {n_heads}")
        if n_key_heads < 1 or n_heads % n_key_heads:
            raise ValueError(f"n_key_heads must divide n_heads, got {n_key_heads} and {n_heads}")
        self.n_heads = n_heads
        self.n_key_heads = n_key_heads
        self.floats_per_position = 2 * n_key_heads * (width // n_heads)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, self.floats_per_position)
        self.output = nn.Linear(width, width)

    def remember(self, source: Tensor) -> Tensor:
        """What is kept of `source` (b, s, d): (b, s, floats_per_position)."""
        return self.key_value(source)

    def read(self, x: Tensor, remembered: Tensor, *, causal: bool = False) -> Tensor:
        """(b, t, d) from `x`, the last t of the s remembered positions if `causal`."""
        query = _split(self.query(x), self.n_heads)
        return self.output(_join(_mix(query, *self._keys_values(remembered), causal=causal)))

    def forward(self, x: Tensor, source: Tensor, *, causal: bool = False) -> Tensor:
        """Let every position of `x` (b, t, d) attend to `source` (b, s, d): (b, t, d)."""
        query = _split(self.query(x), self.n_heads)
        keys_values = self._keys_values(self.remember(source))
        return self.output(_join(_mix(query, *keys_values, causal=causal)))

    def _keys_values(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        key, value = remembered.chunk(2, dim=-1)
        return _split(key, self.n_key_heads), _split(value, self.n_key_heads)


class LatentAttention(Attention):
    """Multi-head latent attention: one short vector of length `rank` is kept of each position.

    Keys and values are linear in it. `read` does not compute them: (U c)·q = c·(Uᵀq) and
    Σ w (V c) = V (Σ w c). Source: DeepSeek-V2, 2024, eq. 9-13, without compressed queries.
    """

    def __init__(self, width: int, n_heads: int, *, rank: int | None = None) -> None:
        super().__init__(width, n_heads)
        self.floats_per_position = width // 4 if rank is None else rank
        self.latent = nn.Linear(width, self.floats_per_position)
        self.key_value = nn.Linear(self.floats_per_position, 2 * width, bias=False)

    def remember(self, source: Tensor) -> Tensor:
        """The short vectors of `source`: (b, s, rank)."""
        return self.latent(source)

    def read(self, x: Tensor, remembered: Tensor, *, causal: bool = False) -> Tensor:
        """As `Attention.read`, among the short vectors themselves."""
        query = _split(self.query(x), self.n_heads)
        size = query.shape[-1]
        # (key or value, h, e, rank)
        up_key, up_value = self.key_value.weight.view(2, self.n_heads, size, -1)
        short = remembered.unsqueeze(1)
        # The scale is that of the keys, which are never computed.
        mixed = _mix(query @ up_key, short, short, causal=causal, scale=size**-0.5)
        return self.output(_join(mixed @ up_value.transpose(-1, -2)))

    def _keys_values(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.key_value(remembered).chunk(2, dim=-1)
        return _split(key, self.n_heads), _split(value, self.n_heads)


def attention(kind: Kind, width: int, n_heads: int) -> Attention:
    """Attention of one kind; ``"grouped_query"`` has half as many heads of keys as of queries."""
    if kind == "latent":
        return LatentAttention(width, n_heads)
    key_heads = {"multi_head": n_heads, "grouped_query": max(1, n_heads // 2), "multi_query": 1}
    if kind not in key_heads:
        raise ValueError(f"kind must be one of {', '.join((*key_heads, 'latent'))}, got {kind!r}")
    return Attention(width, n_heads, n_key_heads=key_heads[kind])


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
    # A single query is last and may see all; torch's own causal mask is for t = s.
    if causal and 1 < t < s:
        mask = torch.ones(t, s, dtype=torch.bool, device=query.device).tril(s - t)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=causal and t == s,
        scale=scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )
