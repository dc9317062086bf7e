"""A pre-norm encoder-decoder transformer with a cache for writing token by token.

Axis letters: b batch, t target positions, s source positions, d model width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.learn.attention import Attention, Kind, attention


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
