"""What the network is given of a clip: a log-mel picture, the codes of a codec, or that codec's latents."""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labkit.learn.encoders import ConvStem, FrameStem
from labkit.signal.spectra import log_mel

if TYPE_CHECKING:
    from labkit.learn.codec import Codec
    from labkit.systems.pedal_order.config import Config


def picture(wet: Tensor, config: "Config", dry: Tensor | None = None) -> Tensor:
    """A clip as the network sees it, at a fixed loudness unless `config.fix_level` is off.

    Args:
        wet: (..., samples) at `config.sample_rate`; silence gives a constant log-mel picture.
        config: the front end.
        dry: (..., samples), aligned with `wet`; only where `config.hear_dry`.

    Returns:
        (..., rows, frames) float32 as `shape` says: log-mel of roughly unit variance, a codec's latents, or its codes
        (whole numbers: names, to be embedded). Dry frames stand before wet ones.

    Raises:
        ValueError: if the network hears the dry sound too and there is none, or of another shape.
        CheckpointError: if no codec ships and the front end needs one.
    """
    if not config.hear_dry:
        return _seen(wet, config)
    if dry is None or dry.shape != wet.shape:
        raise ValueError(
            f"this network hears dry and wet: dry must be {tuple(wet.shape)}, got {_shape_of(dry)}"
        )
    return torch.cat([_seen(dry, config), _seen(wet, config)], dim=-1)


def shape(config: "Config", samples: int | None = None) -> tuple[int, int]:
    """Rows and frames of the `picture` of a clip of `samples`; of `config.samples` when None."""
    samples = config.samples if samples is None else samples
    if config.front_end == "mel":
        rows, frames = config.n_mels, 1 + samples // config.hop_length
    else:
        codec = _codec().config
        rows = codec.n_codebooks if config.front_end == "codes" else codec.latent_dim
        frames = -(-samples // codec.hop_length)
    return rows, frames * (2 if config.hear_dry else 1)


def stem(config: "Config") -> nn.Module:
    """The layers that turn `picture` into vectors: (b, rows, frames) -> (b, about frames / 2 or / 4, width)."""
    if config.front_end == "mel":
        return ConvStem(config.n_mels, config.width, config.channels)
    n_words = hidden_word(config) + 1 if config.front_end == "codes" else 0
    return FrameStem(shape(config)[0], config.width, n_words=n_words)


def hidden_word(config: "Config") -> int:
    """What training writes over the stripes that it hides: a word of its own among codes, 0 elsewhere."""
    return _codec().config.codebook_size if config.front_end == "codes" else 0


def _seen(audio: Tensor, config: "Config") -> Tensor:
    if config.fix_level:
        audio = 0.1 * audio / audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-8)
    if config.front_end == "mel":
        sizes = {
            name: getattr(config, name)
            for name in ("n_fft", "hop_length", "n_mels", "low_hz", "high_hz")
        }
        return (log_mel(audio, config.sample_rate, **sizes) + 60.0) / 20.0
    codec = _codec().to(audio.device)
    listen = codec.encode if config.front_end == "codes" else codec.latents
    frames = listen(audio.reshape(-1, 1, audio.shape[-1]), config.sample_rate).float()
    return frames.reshape(*audio.shape[:-1], *frames.shape[1:])


@lru_cache(maxsize=1)
def _codec() -> "Codec":
    from labkit.learn.codec import load  # takes seconds, and log-mel does without

    return load()


def _shape_of(audio: Tensor | None) -> str:
    return "none" if audio is None else str(tuple(audio.shape))
