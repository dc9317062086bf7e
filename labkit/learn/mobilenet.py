"""MobileNetV2 for spectrograms."""

from torch import Tensor, nn

# Expansion, channels, blocks, stride of the first block: the seven stages of the paper's table 2.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM = 32


def scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def _convolution(
    n_in: int, n_out: int, size: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    layer = nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow without a nonlinearity; a shortcut where it fits."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = n_in * expansion
        widen = [_convolution(n_in, middle, 1)] if expansion != 1 else []
        filtered = _convolution(middle, middle, 3, stride=stride, groups=middle)
        narrow = [nn.Conv2d(middle, n_out, 1, bias=False), nn.BatchNorm2d(n_out)]
        self.layers = nn.Sequential(*widen, filtered, *narrow)
        self.shortcut = stride == 1 and n_in == n_out

    def forward(self, image: Tensor) -> Tensor:
        """(b, n_in, h, w) -> (b, n_out, h / stride, w / stride), rounded up."""
        return image + self.layers(image) if self.shortcut else self.layers(image)


class MobileNetV2(nn.Module):
    """An image of any size to one vector of length `n_out`; `width` scales all channels.

    Source: Sandler et al. 2018, table 2; ends in a convolution to the vector, without a classifier.
    """

    def __init__(self, n_out: int, *, width: float = 1.0, in_channels: int = 1) -> None:
        super().__init__()
        if n_out < 1 or in_channels < 1 or not width > 0:
            raise ValueError(
                "n_out, width and in_channels must be positive, "
                f"got {n_out}, {width} and {in_channels}"
            )
        last = scaled(_STEM, width)
        layers: list[nn.Module] = [_convolution(in_channels, last, 3, stride=2)]
        for expansion, channels, blocks, stride in STAGES:
            for block in range(blocks):
                n_next = scaled(channels, width)
                layers.append(
                    InvertedResidual(last, n_next, stride if block == 0 else 1, expansion)
                )
                last = n_next
        self.layers = nn.Sequential(*layers, _convolution(last, n_out, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, image: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, n_out)."""
        return self.layers(image).mean((2, 3))
