"""The network: log-mel picture and shelf in, next-token logits out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.learn.encoders import ConvStem
from labkit.learn.transformer import Decoder, Encoder
from labkit.signal.spectra import log_mel
from labkit.systems.pedal_order.config import Config


class PedalOrderModel(nn.Module):
    """Reads a wet log-mel picture and writes the chain's sentence.

    The shelf (which pedals may occur) is one more vector in the memory that the decoder attends to.

    Args:
        config: sizes and vocabulary.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        tokens = config.tokens
        frames = 1 + config.samples // config.hop_length
        sizes = {"width": config.width, "n_heads": config.n_heads, "dropout": config.dropout}
        self.stem = ConvStem(config.n_mels, config.width, config.channels)
        self.encoder = Encoder(n_layers=config.encoder_layers, max_length=frames, **sizes)
        self.decoder = Decoder(tokens.n_tokens, n_layers=config.decoder_layers, max_length=tokens.max_length, **sizes)
        self.shelf = nn.Linear(len(tokens.pedals), config.width)

    def memory(self, pictures: Tensor, shelf: Tensor) -> Tensor:
        """Pictures (b, n_mels, frames), scaled as by `picture`, and shelf (b, n_pedals) 0/1 -> memory (b, s, width)."""
        encoded = self.encoder(self.stem(pictures))
        return torch.cat([self.shelf(shelf).unsqueeze(1), encoded], dim=1)

    def forward(self, pictures: Tensor, shelf: Tensor, tokens: Tensor) -> Tensor:
        """Logits (b, t, n_tokens) for the token after each of `tokens` (b, t)."""
        return self.decoder(tokens, self.memory(pictures, shelf))

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


def picture(audio: Tensor, config: Config) -> Tensor:
    """What the network sees of a wet clip: log-mel at a fixed loudness.

    Args:
        audio: (..., samples) at `config.sample_rate`. Its level does not matter; silence gives a constant picture.
        config: the front end.

    Returns:
        (..., n_mels, frames) float32 of roughly unit variance.
    """
    rms = audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-8)
    mel = log_mel(
        0.1 * audio / rms,
        config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        low_hz=config.low_hz,
        high_hz=config.high_hz,
    )
    return (mel + 60.0) / 20.0
