"""The codec: descript-audio-codec's network, with our weights or the official ones.

Channels are folded into the batch: channel c of item i is item ``i * channels + c`` of the codes.
"""

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn.checkpoints import CheckpointError
from labkit.signal.optional import need
from labkit.signal.seeds import seeded
from labkit.systems.codec.config import Config

# Settings that descript-audio-codec calls by the same names.
_SIZES = ("encoder_dim", "latent_dim", "decoder_dim", "n_codebooks", "codebook_size")


class Codec(nn.Module):
    """Audio to codes and back.

    `fresh`: the weights are random; training then begins with unit frames and new codewords.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.fresh = True
        net = config.net
        with _quiet():
            self.network = need("dac").DAC(
                **{name: getattr(net, name) for name in _SIZES},
                encoder_rates=list(net.rates),
                decoder_rates=list(reversed(net.rates)),
                codebook_dim=net.codebook_dim,
                quantizer_dropout=net.quantizer_dropout,
                sample_rate=config.sound.sample_rate,
            )

    def forward(self, audio: Tensor) -> dict[str, Tensor]:
        """What training needs of (b, 1, samples), a multiple of the hop.

        ``audio``, ``codes`` (b, n, frames), ``latents`` (b, n * codebook_dim, frames) that each
        codebook looked up, and the scalars ``commitment`` and ``codebook``.
        """
        frames = self.network.encoder(audio)
        # bfloat16 cannot tell close codewords apart.
        with torch.autocast(audio.device.type, enabled=False):
            z, codes, latents, commitment, codebook = self.network.quantizer(frames.float())
        names = ("audio", "codes", "latents", "commitment", "codebook")
        values = (self.network.decode(z), codes, latents, commitment, codebook)
        return dict(zip(names, values, strict=True))

    @torch.no_grad()
    def encode(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Codes (b * channels, n_codebooks, frames) int64 of audio (b, channels, samples)."""
        return self.network.encode(self._framed(audio, sample_rate))[1]

    @torch.no_grad()
    def latents(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Frames before quantisation, (b * channels, latent_dim, frames)."""
        return self.network.encoder(self._framed(audio, sample_rate))

    @torch.no_grad()
    def decode(self, codes: Tensor, samples: int) -> Tensor:
        """Audio (b, 1, samples) at the codec's rate, of codes (b, n, frames) of n codebooks."""
        net = self.config.net
        if codes.is_floating_point() or codes.ndim != 3 or codes.shape[1] > net.n_codebooks:
            raise ValueError(
                f"codes must be integers (b, 1..{net.n_codebooks}, frames), "
                f"got {codes.dtype} {tuple(codes.shape)}"
            )
        if codes.min() < 0 or codes.max() >= net.codebook_size:
            raise ValueError(
                f"codes must lie in 0..{net.codebook_size - 1}, "
                f"got {int(codes.min())}..{int(codes.max())}"
            )
        stages = self.network.quantizer.quantizers
        frames = sum(
            stages[book].out_proj(stages[book].decode_code(codes[:, book].long()))
            for book in range(codes.shape[1])
        )
        return self.network.decode(frames)[..., :samples]

    def round_trip(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Encode and decode (b, channels, samples), at its rate."""
        own = self.config.sound.sample_rate
        codes = self.encode(audio, sample_rate)
        decoded = self.decode(codes, codes.shape[-1] * self.config.hop_length)
        return _resample(decoded, own, sample_rate)[..., : audio.shape[-1]].reshape(audio.shape)

    def _framed(self, audio: Tensor, sample_rate: int) -> Tensor:
        """(b * channels, 1, frames * hop) at the codec's rate, zeros at the end."""
        if audio.ndim != 3 or 0 in audio.shape or not torch.isfinite(audio).all():
            raise ValueError(
                f"audio must be finite (b, channels, samples), got {tuple(audio.shape)}"
            )
        flat = audio.reshape(-1, 1, audio.shape[-1]).to(self.network.encoder.block[0].bias)
        flat = _resample(flat, sample_rate, self.config.sound.sample_rate)
        return F.pad(flat, (0, -flat.shape[-1] % self.config.hop_length))


def build(config: Config) -> Codec:
    """A codec with random weights."""
    return seeded(lambda: Codec(config), config.plan.seed, "codec")


def official(path: str | Path | None = None) -> Codec:
    """Descript's own 44.1 kHz codec, 8 kbit/s (Kumar et al. 2023), from a file or dac's cache.

    CheckpointError says where to put the file (300 MB) by hand.
    """
    with _quiet():
        utils, tag = need("dac.utils"), "0.0.1"
    address = utils.__MODEL_URLS__[("44khz", tag, "8kbps")]
    place = Path.home() / ".cache" / "descript" / "dac" / f"weights_44khz_8kbps_{tag}.pth"
    place = place if path is None else Path(path)
    try:
        if path is not None and not place.is_file():
            raise FileNotFoundError(f"no file {place}")
        found = place if place.is_file() else utils.download("44khz", "8kbps", tag)
        with _quiet():
            model = utils.load_model(load_path=str(found))
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"the official weights could not be had ({first:.200}): "
            f"download {address} in a browser and save it as {place}"
        ) from error
    codec = build(_config_of(model))
    codec.network.load_state_dict(model.state_dict())
    return codec.eval()


def _config_of(model: Any) -> Config:
    return Config().but(
        **{name: getattr(model, name) for name in _SIZES},
        rates=tuple(int(rate) for rate in model.encoder_rates),
        codebook_dim=model.quantizer.quantizers[0].codebook.weight.shape[1],
        sample_rate=int(model.sample_rate),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings about what torch has renamed since descript-audio-codec was written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    if from_rate == to_rate:
        return audio
    from torchaudio.functional import resample  # works on the audio's device, unlike soxr

    return resample(audio, from_rate, to_rate)
