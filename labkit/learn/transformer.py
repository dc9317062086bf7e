"""A pre-norm encoder-decoder transformer, written out: attention, feed-forward, two stacks.

Axis letters: b batch, t target positions, s source positions, d model width, h heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head scaled dot-product attention.

    Args:
        width: model width d, a multiple of `n_heads`.
        n_heads: number of heads.

    Source: Vaswani et al. 2017, eq. 1 and section 3.2.2. Ours has no dropout on the weights.
    Notebook: 04.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"width must be a multiple of n_heads, got {width} and {n_heads}")
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, *, causal: bool = False) -> Tensor:
        """Let every position of `x` (b, t, d) read `source` (b, s, d); `causal`: only itself and what is before."""
        split = (*x.shape[:1], -1, self.n_heads, x.shape[-1] // self.n_heads)
        query = self.query(x).view(split).transpose(1, 2)
        key, value = (part.reshape(split).transpose(1, 2) for part in self.key_value(source).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.output(mixed.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def weights(self, x: Tensor, source: Tensor) -> Tensor:
        """The attention weights (b, h, t, s) that `forward` mixes with (no causal mask): for figures."""
        split = (*x.shape[:1], -1, self.n_heads, x.shape[-1] // self.n_heads)
        query = self.query(x).view(split).transpose(1, 2)
        key = self.key_value(source).chunk(2, dim=-1)[0].reshape(split).transpose(1, 2)
        return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on a normalised copy and added back (pre-norm)."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.feed_forward = _feed_forward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d)."""
        normed = self.norm_attention(x)
        x = x + self.dropout(self.attention(normed, normed))
        return x + self.dropout(self.feed_forward(self.norm_forward(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention into the encoder's memory, feed-forward; all pre-norm."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, n_heads)
        self.cross_attention = Attention(width, n_heads)
        self.feed_forward = _feed_forward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(b, t, d) and memory (b, s, d) -> (b, t, d)."""
        normed = self.norm_self(x)
        x = x + self.dropout(self.self_attention(normed, normed, causal=True))
        x = x + self.dropout(self.cross_attention(self.norm_cross(x), memory))
        return x + self.dropout(self.feed_forward(self.norm_forward(x)))


class Encoder(nn.Module):
    """A stack of `EncoderLayer` with learned positions and a final norm.

    Args:
        width, n_heads, n_layers, dropout: sizes.
        max_length: longest source.
    """

    def __init__(self, width: int, n_heads: int, n_layers: int, *, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(EncoderLayer(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) -> (b, s, d). Raises ValueError when s exceeds `max_length`."""
        if x.shape[1] > len(self.position):
            raise ValueError(f"at most {len(self.position)} source positions, got {x.shape[1]}")
        x = x + self.position[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Decoder(nn.Module):
    """Token embedding, learned positions, a stack of `DecoderLayer`, and logits over the vocabulary."""

    def __init__(
        self, n_tokens: int, width: int, n_heads: int, n_layers: int, *, max_length: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width)
        self.position = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.layers = nn.ModuleList(DecoderLayer(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, n_tokens)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Token ids (b, t) and memory (b, s, d) -> logits (b, t, n_tokens) for the token after each position.

        Raises:
            ValueError: when t exceeds `max_length`.
        """
        if tokens.shape[1] > len(self.position):
            raise ValueError(f"at most {len(self.position)} target positions, got {tokens.shape[1]}")
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, memory)
        return self.logits(self.norm(x))
