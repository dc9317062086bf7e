"""Four kinds of attention, and a pre-norm encoder-decoder transformer that writes with a cache.

The kinds differ in what they keep of each position. Axis letters: b batch, t target positions,
s source positions, d model width, h heads, e head size.
"""

from dataclasses import dataclass
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
        # Of this class: `LatentAttention` has another way for reading a cache.
        return Attention.read(self, x, self.remember(source), causal=causal)

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


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
    )


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on a normalised copy and added back (pre-norm)."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.norm_forward = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.feed_forward = _feed_forward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d)."""
        normed = self.norm_attention(x)
        x = x + self.dropout(self.attention(normed, normed))
        return x + self.dropout(self.feed_forward(self.norm_forward(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the encoder's memory, feed-forward; pre-norm."""

    def __init__(
        self, width: int, n_heads: int, dropout: float, *, kind: Kind = "multi_head"
    ) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.norm_cross = nn.LayerNorm(width)
        self.norm_forward = nn.LayerNorm(width)
        self.self_attention = attention(kind, width, n_heads)
        self.cross_attention = attention(kind, width, n_heads)
        self.feed_forward = _feed_forward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(b, t, d) and memory (b, s, d) -> (b, t, d)."""
        normed = self.norm_self(x)
        x = x + self.dropout(self.self_attention(normed, normed, causal=True))
        x = x + self.dropout(self.cross_attention(self.norm_cross(x), memory))
        return x + self.dropout(self.feed_forward(self.norm_forward(x)))

    def step(self, x: Tensor, own: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """New positions `x` (b, t, d) alone, after those in `own` (b, length, floats).

        Returns their output and a longer `own`. Row r reads row r % m of `source` (m, s, floats).
        """
        normed = self.norm_self(x)
        own = torch.cat([own, self.self_attention.remember(normed)], dim=1)
        x = x + self.self_attention.read(normed, own, causal=True)
        x = x + self._cross(self.norm_cross(x), source)
        return x + self.feed_forward(self.norm_forward(x)), own

    def _cross(self, x: Tensor, source: Tensor) -> Tensor:
        if len(x) == len(source):
            return self.cross_attention.read(x, source)
        # Rows that read one source are put side by side, as if they were positions of one row.
        grouped = x.unflatten(0, (-1, len(source))).transpose(0, 1)
        out = self.cross_attention.read(grouped.flatten(1, 2), source)
        return out.view(grouped.shape).transpose(0, 1).flatten(0, 1)


class Encoder(nn.Module):
    """A stack of `EncoderLayer` with learned positions and a final norm."""

    def __init__(
        self, width: int, n_heads: int, n_layers: int, *, max_length: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(EncoderLayer(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d), for s up to `max_length`."""
        x = x + self.position[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


@dataclass(frozen=True)
class Cache:
    """What a decoder keeps of the tokens and of the source, for each layer; never changed.

    `own` is (b, length, floats) and `source` (m, s, floats); row r reads row r % m.
    """

    own: tuple[Tensor, ...]
    source: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """Number of tokens so far."""
        return self.own[0].shape[1]

    def pick(self, rows: Tensor) -> "Cache":
        """Row i becomes row `rows[i]`, for beams; it keeps its source: ``rows[i] % m == i % m``."""
        return Cache(tuple(layer.index_select(0, rows) for layer in self.own), self.source)


class Decoder(nn.Module):
    """Token embedding, learned positions, a stack of `DecoderLayer`, and logits.

    `start` and `step` give the logits of `forward` token by token, at the cost of the new ones.
    """

    def __init__(
        self,
        n_tokens: int,
        width: int,
        n_heads: int,
        n_layers: int,
        *,
        max_length: int,
        dropout: float = 0.0,
        kind: Kind = "multi_head",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width)
        self.position = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, n_heads, dropout, kind=kind) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, n_tokens)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Tokens (b, t) and memory (b, s, d) -> logits (b, t, n_tokens) of each next token."""
        x = self._embed(tokens, 0)
        for layer in self.layers:
            x = layer(x, memory)
        return self.logits(self.norm(x))

    def start(self, memory: Tensor) -> Cache:
        """The cache before the first token, for memory (m, s, d)."""
        own, source = [], []
        for layer in self.layers:
            floats = layer.self_attention.floats_per_position
            own.append(memory.new_empty(len(memory), 0, floats))
            source.append(layer.cross_attention.remember(memory))
        return Cache(tuple(own), tuple(source))

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Logits (b, t, n_tokens) of tokens (b, t) that follow the cache, and a longer cache."""
        x, longer = self._embed(tokens, cache.length), []
        for layer, own, source in zip(self.layers, cache.own, cache.source, strict=True):
            x, own = layer.step(x, own, source)
            longer.append(own)
        return self.logits(self.norm(x)), Cache(tuple(longer), cache.source)

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        return self.embedding(tokens) + self.position[start : start + tokens.shape[1]]
