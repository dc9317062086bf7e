"""The codec: descript-audio-codec's network, with our weights or the official ones.

Channels are folded into the batch: channel c of item i is item ``i * channels + c`` of the codes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn import checkpoints
from labkit.signal.optional import need
from labkit.signal.seeds import seeded
from labkit.systems.codec.config import Config

_OFFICIAL = (
    "https://github.com/descriptinc/descript-audio-codec/releases/download/0.0.1/weights.pth"
)
_OFFICIAL_SHA256 = "a88eed82a7024ccc1facdb1e605c4c2f99281c8118c22c9895ffa846d8fb61aa"
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

    The file (300 MB) is opened only where its sha256 is that of the published one: opening another
    one might run code in it. CheckpointError says where to put it by hand.
    """
    place = Path.home() / ".cache" / "descript" / "dac" / "weights_44khz_8kbps_0.0.1.pth"
    place = place if path is None else Path(path)
    try:
        if path is None:
            known = {"known_hash": f"sha256:{_OFFICIAL_SHA256}"}
            need("pooch").retrieve(_OFFICIAL, fname=place.name, path=place.parent, **known)
        elif (found := checkpoints.file_hash(place)) != _OFFICIAL_SHA256:
            raise ValueError(f"its sha256 is {found}, not that of the published file")
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise checkpoints.CheckpointError(
            f"the official weights could not be had ({first:.200}): "
            f"download {_OFFICIAL} in a browser and save it as {place}"
        ) from error
    stored = torch.load(place, map_location="cpu", weights_only=True)
    sizes = stored["metadata"]["kwargs"]
    rates = tuple(int(rate) for rate in sizes["encoder_rates"])
    sizes["latent_dim"] = sizes["latent_dim"] or sizes["encoder_dim"] * 2 ** len(rates)
    names = (*_SIZES, "codebook_dim", "sample_rate")
    codec = build(Config().but(rates=rates, **{name: sizes[name] for name in names}))
    checkpoints.fill(codec.network, stored["state_dict"])
    return codec.eval()


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
