"""From log-mel pictures, and from frames of a codec, to sequences of vectors, or to one."""

import itertools

import torch
from torch import Tensor, nn

from labkit.learn.codec import CodeEmbedding
from labkit.learn.transformer import Encoder


def _block(n_in: int, n_out: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class ConvStem(nn.Module):
    """A convolutional stem: a log-mel picture becomes one vector for every 2 frames.

    The mel axis is halved four times and then pooled within two halves, low and high, by mean and by maximum: a
    pattern counts wherever in its half it stands, so that what is learnt on one note serves for all.

    Args:
        n_mels: height of the picture, a multiple of 32.
        width: size of the vectors.
        channels: of the five stages.
    """

    def __init__(self, n_mels: int, width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        if n_mels % 32:
            raise ValueError(f"n_mels must be a multiple of 32, got {n_mels}")
        if len(channels) != 5:
            raise ValueError(f"channels must hold five numbers, got {channels}")
        stages: list[nn.Module] = [_block(1, channels[0], stride=2)]
        for n_in, n_out in itertools.pairwise(channels):
            stages += [
                _block(n_in, n_out),
                nn.MaxPool2d((2, 1)) if n_out != channels[-1] else nn.Identity(),
            ]
        self.layers = nn.Sequential(*stages)
        self.project = nn.Linear(4 * channels[-1], width)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) -> (batch, ceil(frames / 2), width)."""
        low, high = self.layers(log_mel.unsqueeze(1)).chunk(2, dim=2)
        pooled = torch.cat([low.mean(2), high.mean(2), low.amax(2), high.amax(2)], dim=1)
        return self.project(pooled.transpose(1, 2))


class FrameStem(nn.Module):
    """A stem for frames that a codec made: one vector for every 4 of them.

    Codes are embedded, a table for each codebook, and summed; latents are normalised. Two strided convolutions over
    time follow.

    Args:
        n_rows: codebooks, or dimensions of the latents.
        width: size of the vectors.
        n_words: words in each codebook; 0 for latents, which are numbers.
    """

    def __init__(self, n_rows: int, width: int, *, n_words: int = 0) -> None:
        super().__init__()
        self.embed = CodeEmbedding(n_rows, n_words, width) if n_words else None
        self.normal = (
            nn.Sequential(nn.BatchNorm1d(n_rows), nn.Conv1d(n_rows, width, 1))
            if not n_words
            else None
        )
        halves = (
            nn.Conv1d(width, width, 5, stride=2, padding=2),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )
        quarters = (
            nn.Conv1d(width, width, 5, stride=2, padding=2),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.Sequential(*halves, *quarters)
        self.project = nn.Linear(width, width)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, n_rows, frames) latents, or codes as whole floats -> (batch, ceil(frames / 4), width)."""
        vectors = (
            self.normal(frames) if self.embed is None else self.embed(frames.long()).transpose(1, 2)
        )
        return self.project(self.layers(vectors).transpose(1, 2))


class PatchTransformer(nn.Module):
    """A picture is cut into square patches that look at each other; the mean of what they have become stands for it.

    Args:
        height, length: of the picture; what a last patch lacks is filled with zeros.
        patch: side of a patch.
        width, n_heads, n_layers, dropout: of the transformer.

    Source: Gong et al. 2021 (AST); our patches do not overlap, and no token stands beside them.
    """

    def __init__(
        self,
        height: int,
        length: int,
        *,
        patch: int,
        width: int,
        n_heads: int,
        n_layers: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        rows, columns = -(-height // patch), -(-length // patch)
        self.missing = (0, columns * patch - length, 0, rows * patch - height)
        self.cut = nn.Conv2d(1, width, patch, stride=patch)
        self.encoder = Encoder(width, n_heads, n_layers, max_length=rows * columns, dropout=dropout)

    def forward(self, picture: Tensor) -> Tensor:
        """(b, 1, height, length) -> (b, width)."""
        patches = self.cut(nn.functional.pad(picture, self.missing))
        return self.encoder(patches.flatten(2).transpose(1, 2)).mean(1)
