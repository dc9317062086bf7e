"""The network: a clip's picture and shelf in, next-token logits out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.learn.transformer import Decoder, Encoder
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.front_ends import shape, stem


class PedalOrderModel(nn.Module):
    """Reads the picture of a wet clip and writes the chain's sentence.

    Three more vectors stand in the memory that the decoder attends to: the shelf (which pedals may occur), a summary
    of the whole clip, and advice. From the summary the model is also asked for hints: which pedals are there, and of
    each pair which comes first. In training they are scored, and bring gradient to the ear before the decoder has
    learnt to look; always they are the advice that the decoder reads.

    Args:
        config: sizes and vocabulary.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        tokens, width = config.tokens, config.width
        sizes = {"width": width, "n_heads": config.n_heads, "dropout": config.dropout}
        self.stem = stem(config)
        self.encoder = Encoder(n_layers=config.encoder_layers, max_length=shape(config)[1], **sizes)
        self.decoder = Decoder(
            tokens.n_tokens, n_layers=config.decoder_layers, max_length=tokens.max_length, **sizes
        )
        n_pedals = len(tokens.pedals)
        self.shelf = nn.Linear(n_pedals, width)
        self.summary = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU())
        self.hints = nn.Linear(width, n_pedals + n_pedals * n_pedals)
        self.advice = nn.Linear(n_pedals + n_pedals * n_pedals, width)

    def hear(self, pictures: Tensor, shelf: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder attends to, and the hints.

        Args:
            pictures: (b, rows, frames), as `picture` gives them.
            shelf: (b, n_pedals) 0/1.

        Returns:
            Memory (b, s, width); hint logits (b, n_pedals, 1 + n_pedals): column 0, the pedal is there; column
            1 + j, it stands before pedal j.
        """
        encoded = self.encoder(self.stem(pictures))
        summary = self.summary(torch.cat([encoded.mean(1), encoded.amax(1)], dim=1))
        hints = self.hints(summary)
        extra = torch.stack([self.shelf(shelf), summary, self.advice(hints)], dim=1)
        return torch.cat([extra, encoded], dim=1), hints.view(len(pictures), shelf.shape[1], -1)

    def memory(self, pictures: Tensor, shelf: Tensor) -> Tensor:
        """The memory of `hear` alone."""
        return self.hear(pictures, shelf)[0]

    def forward(self, pictures: Tensor, shelf: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, t, n_tokens) for the token after each of `tokens` (b, t), and the hint logits of `hear`."""
        memory, hints = self.hear(pictures, shelf)
        return self.decoder(tokens, memory), hints

    def shelf_vector(self, shelf: Sequence[str]) -> Tensor:
        """(n_pedals,) with 1 for every pedal on the shelf."""
        return torch.tensor([float(name in shelf) for name in self.config.tokens.pedals])


def build(config: Config) -> PedalOrderModel:
    """A fresh model whose weights depend on `config.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = PedalOrderModel(config)
    # Channels last: the same numbers, a faster convolution.
    model.stem.to(memory_format=torch.channels_last)
    return model
