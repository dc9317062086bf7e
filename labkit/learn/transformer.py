"""A pre-norm encoder-decoder transformer, written out: two stacks of attention and feed-forward, and the cache.

Axis letters: b batch, t target positions, s source positions, d model width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.learn.attention import Attention, Kind, Positions, attention

__all__ = ["Attention", "Cache", "Decoder", "DecoderLayer", "Encoder", "EncoderLayer"]


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
    )


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on a normalised copy and added back (pre-norm)."""

    def __init__(self, width: int, n_heads: int, dropout: float, *, rotary: bool = False) -> None:
        super().__init__()
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, n_heads, rotary=rotary)
        self.feed_forward = _feed_forward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d)."""
        normed = self.norm_attention(x)
        x = x + self.dropout(self.attention(normed, normed))
        return x + self.dropout(self.feed_forward(self.norm_forward(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention into the encoder's memory, feed-forward; all pre-norm."""

    def __init__(
        self,
        width: int,
        n_heads: int,
        dropout: float,
        *,
        kind: Kind = "multi_head",
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = attention(kind, width, n_heads, rotary=rotary)
        # Between two sequences there is no distance to turn by.
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
        """The same for new positions alone, without dropout.

        Args:
            x: (b, t, d), the new positions.
            own: (b, length, floats), what self-attention remembers of the earlier ones.
            source: (m, s, floats), what cross-attention remembers; row r of `x` reads row r % m.

        Returns:
            (b, t, d), and `own` with the new positions behind.
        """
        start, normed = own.shape[1], self.norm_self(x)
        own = torch.cat([own, self.self_attention.remember(normed, start=start)], dim=1)
        x = x + self.self_attention.read(normed, own, start=start, causal=True)
        x = x + self._ask(self.norm_cross(x), source)
        return x + self.feed_forward(self.norm_forward(x)), own

    def _ask(self, x: Tensor, source: Tensor) -> Tensor:
        if len(x) == len(source):
            return self.cross_attention.read(x, source)
        # Cross-attention knows no positions: rows that read one source go side by side, as if they were positions.
        asked = x.unflatten(0, (-1, len(source))).transpose(0, 1)
        told = self.cross_attention.read(asked.flatten(1, 2), source)
        return told.view(asked.shape).transpose(0, 1).flatten(0, 1)


class Encoder(nn.Module):
    """A stack of `EncoderLayer` with positions and a final norm.

    Args:
        width, n_heads, n_layers, dropout: sizes.
        max_length: longest source.
        positions: ``"learned"``, one vector each added at the start, or ``"rotary"``, turned at every layer.
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        n_layers: int,
        *,
        max_length: int,
        dropout: float = 0.0,
        positions: Positions = "learned",
    ) -> None:
        super().__init__()
        rotary = _is_rotary(positions)
        self.max_length = max_length
        self.position = None if rotary else nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(
            EncoderLayer(width, n_heads, dropout, rotary=rotary) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d). Raises ValueError when s exceeds `max_length`."""
        if x.shape[1] > self.max_length:
            raise ValueError(f"at most {self.max_length} source positions, got {x.shape[1]}")
        if self.position is not None:
            x = x + self.position[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


@dataclass(frozen=True)
class Cache:
    """What a decoder keeps of the tokens it has read and of the source. Never changed: a step gives a new one.

    Attributes:
        own: one (b, length, floats) for each layer, of the tokens so far.
        source: one (m, s, floats) for each layer, of the memory; row r of the tokens reads row r % m.
    """

    own: tuple[Tensor, ...]
    source: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """How many tokens were read."""
        return self.own[0].shape[1]

    def pick(self, rows: Tensor) -> "Cache":
        """The cache whose row i is row `rows[i]` of this one, for beams that split and die; the source stays.

        Args:
            rows: (n,) int, n a multiple of m; a row must keep its source: ``rows[i] % m == i % m``.
        """
        return Cache(tuple(layer.index_select(0, rows) for layer in self.own), self.source)


class Decoder(nn.Module):
    """Token embedding, positions, a stack of `DecoderLayer`, and logits over the vocabulary.

    `forward` reads whole sentences (training). To write one, `start` and then `step` token by token: the same logits,
    at the cost of the new tokens alone.

    Args:
        n_tokens: size of the vocabulary.
        width, n_heads, n_layers, dropout: sizes.
        max_length: longest sentence.
        kind: of attention, see `labkit.learn.attention.attention`.
        positions: ``"learned"`` or ``"rotary"``, as for `Encoder`.
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
        positions: Positions = "learned",
    ) -> None:
        super().__init__()
        rotary = _is_rotary(positions)
        self.max_length = max_length
        self.embedding = nn.Embedding(n_tokens, width)
        self.position = None if rotary else nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, n_heads, dropout, kind=kind, rotary=rotary) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, n_tokens)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Token ids (b, t) and memory (b, s, d) -> logits (b, t, n_tokens) for the token after each position.

        Raises:
            ValueError: when t exceeds `max_length`.
        """
        x = self._embed(tokens, 0)
        for layer in self.layers:
            x = layer(x, memory)
        return self.logits(self.norm(x))

    def start(self, memory: Tensor) -> Cache:
        """The cache before the first token: what cross-attention remembers of `memory` (m, s, d), computed once."""
        own = [
            memory.new_empty(len(memory), 0, layer.self_attention.floats_per_position)
            for layer in self.layers
        ]
        return Cache(
            tuple(own), tuple(layer.cross_attention.remember(memory) for layer in self.layers)
        )

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read the tokens that follow those in the cache.

        Args:
            tokens: (b, t) ids, the new ones only; b is the cache's number of rows.
            cache: from `start`, `step` or `Cache.pick`.

        Returns:
            Logits (b, t, n_tokens) as `forward` gives for these positions, and the longer cache.

        Raises:
            ValueError: when the sentence exceeds `max_length`.
        """
        x, longer = self._embed(tokens, cache.length), []
        for layer, own, source in zip(self.layers, cache.own, cache.source, strict=True):
            x, own = layer.step(x, own, source)
            longer.append(own)
        return self.logits(self.norm(x)), Cache(tuple(longer), cache.source)

    def cache_bytes_per_token(self) -> int:
        """Bytes that the cache grows by for each token of one sentence, at the precision of the weights."""
        size = self.logits.weight.element_size()
        return size * sum(layer.self_attention.floats_per_position for layer in self.layers)

    def cache_bytes_per_source_position(self) -> int:
        """Bytes that the cache holds for each position of the memory, whatever the length of the sentence."""
        size = self.logits.weight.element_size()
        return size * sum(layer.cross_attention.floats_per_position for layer in self.layers)

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        stop = start + tokens.shape[1]
        if stop > self.max_length:
            raise ValueError(f"at most {self.max_length} target positions, got {stop}")
        x = self.embedding(tokens)
        return x if self.position is None else x + self.position[start:stop]


def _is_rotary(positions: Positions) -> bool:
    if positions not in ("learned", "rotary"):
        raise ValueError(f"positions must be learned or rotary, got {positions!r}")
    return positions == "rotary"
