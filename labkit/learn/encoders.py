"""From log-mel pictures to sequences of vectors."""

from torch import Tensor, nn


def _block(n_in: int, n_out: int, stride: tuple[int, int]) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class ConvStem(nn.Module):
    """A convolutional stem: a log-mel picture becomes one vector for every 4 frames.

    Args:
        n_mels: height of the picture, a multiple of 8.
        width: size of the vectors.
        channels: of the three stages.
    """

    def __init__(self, n_mels: int, width: int, channels: tuple[int, int, int] = (32, 64, 128)) -> None:
        super().__init__()
        if n_mels % 8:
            raise ValueError(f"n_mels must be a multiple of 8, got {n_mels}")
        first, second, third = channels
        self.layers = nn.Sequential(
            _block(1, first, (2, 2)),
            _block(first, second, (2, 2)),
            _block(second, second, (1, 1)),
            _block(second, third, (2, 1)),
            _block(third, third, (1, 1)),
        )
        self.project = nn.Linear(third * n_mels // 8, width)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) -> (batch, ceil(frames / 4), width)."""
        features = self.layers(log_mel.unsqueeze(1))
        return self.project(features.permute(0, 3, 1, 2).flatten(2))
