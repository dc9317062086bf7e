"""A musically motivated convolutional network: filters tall as timbres, and long as rhythms, at once."""

import torch
from torch import Tensor, nn

# Heights of the timbral filters as shares of the picture, and lengths of the temporal ones in frames.
_HEIGHTS = (0.4, 0.7)
_TIMBRE_FRAMES = 7
_LENGTHS = (17, 33, 65)
_N_MIDDLE = 3


def _normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU(inplace=True), nn.BatchNorm1d(channels))


class Timbre(nn.Module):
    """Filters over part of the bands: the strongest answer wherever it stands, so that pitch does not matter.

    Args:
        height: bands that a filter spans.
        channels: filters.
    """

    def __init__(self, height: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, (height, _TIMBRE_FRAMES), padding=(0, _TIMBRE_FRAMES // 2)),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(channels),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """(b, 1, n_mels, frames) -> (b, channels, frames)."""
        return self.layers(picture).amax(2)


class Musicnn(nn.Module):
    """A log-mel picture becomes one vector.

    Args:
        n_mels: bands of the picture, at least 8.
        n_out: length of the vector.
        width: of every layer; 1 is the paper's.

    Raises:
        ValueError: if a size is too small.

    Source: Pons and Serra, "musicnn", ISMIR late-breaking demo 2019: timbral and temporal filters side by side, three
        layers with shortcuts, mean and maximum over time. Ours has fewer and shorter temporal filters, for clips of a
        second, and one linear layer at the end.
    """

    def __init__(self, n_mels: int, n_out: int, *, width: float = 0.35) -> None:
        super().__init__()
        if n_mels < 8 or n_out < 1 or not width > 0:
            raise ValueError(
                f"n_mels must be at least 8, n_out 1 and width above 0, got {(n_mels, n_out, width)}"
            )
        tall, long, middle = (max(4, round(channels * width)) for channels in (68, 32, 64))
        self.timbres = nn.ModuleList(Timbre(round(share * n_mels), tall) for share in _HEIGHTS)
        # Over the mean of all bands: what is left is how loud it is from moment to moment.
        self.rhythms = nn.ModuleList(
            _normalised(nn.Conv1d(1, long, frames, padding=frames // 2), long)
            for frames in _LENGTHS
        )
        n_front = len(_HEIGHTS) * tall + len(_LENGTHS) * long
        self.enter = _normalised(nn.Conv1d(n_front, middle, 7, padding=3), middle)
        self.middle = nn.ModuleList(
            _normalised(nn.Conv1d(middle, middle, 7, padding=3), middle)
            for _ in range(_N_MIDDLE - 1)
        )
        self.leave = nn.Linear(2 * (n_front + _N_MIDDLE * middle), n_out)

    def forward(self, picture: Tensor) -> Tensor:
        """(b, 1, n_mels, frames) -> (b, n_out)."""
        loudness = picture.mean(2)
        front = torch.cat(
            [*(f(picture) for f in self.timbres), *(f(loudness) for f in self.rhythms)], dim=1
        )
        layers = [self.enter(front)]
        for layer in self.middle:
            layers.append(layers[-1] + layer(layers[-1]))
        every = torch.cat([front, *layers], dim=1)
        return self.leave(torch.cat([every.mean(-1), every.amax(-1)], dim=1))
