"""The codec: audio to codes and back, by our network or by Descript's.

Channels are folded into the batch: channel c of item i is item ``i * channels + c`` of the codes.
"""

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import resample

from labkit.learn import checkpoints
from labkit.learn.training import Plan
from labkit.signal.optional import need
from labkit.signal.seeds import seeded
from labkit.systems import system


@dataclass(frozen=True)
class Sound:
    """The clips of training."""

    sample_rate: int = 44_100  # Hz
    clip_seconds: float = 2.5  # length of a clip that goes through the pedals
    seconds: float = 1.0  # length of the piece of that clip which is coded
    wet_share: float = 0.7  # share of the clips, 0 to 1, that go through one to six random pedals


@dataclass(frozen=True)
class Net:
    """The network."""

    hop_length: int = 512  # samples per frame; the MDCT window is twice as long
    width: int = 384  # channels of the convolution blocks
    latent_dim: int = 96  # length of a frame's vector before quantisation
    # dilation of each convolution block, in the encoder and again in the decoder
    dilations: tuple[int, ...] = (1, 3, 9)
    n_codebooks: int = 8  # codebooks of the residual quantiser
    codebook_size: int = 1024  # codewords in each codebook
    # share of a batch, 0 to 1, that is decoded from a random number of codebooks
    quantizer_dropout: float = 0.5
    # training predicts the log-mel spectrogram, which has no phase, from this many first codebooks,
    # 1 to n_codebooks
    mel_codebooks: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.mel_codebooks <= self.n_codebooks:
            n = self.n_codebooks
            raise ValueError(
                f"mel_codebooks must be 1 to n_codebooks {n}, got {self.mel_codebooks}"
            )


_PLAN = Plan(
    steps=12_000,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=200,
    decay_share=0.6,
    clip_norm=10.0,
)


@dataclass(frozen=True)
class Config(system.Config):
    """Sound, network and plan of a codec; the defaults are the shipped one's."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN

    @property
    def hop_length(self) -> int:
        return self.net.hop_length

    @property
    def frames_per_second(self) -> float:
        return self.sound.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        bits = self.net.n_codebooks * math.log2(self.net.codebook_size)
        return bits * self.frames_per_second


MEL_BANDS = 64
_OFFICIAL = (
    "https://github.com/descriptinc/descript-audio-codec/releases/download/0.0.1/weights.pth"
)
_OFFICIAL_SHA256 = "a88eed82a7024ccc1facdb1e605c4c2f99281c8118c22c9895ffa846d8fb61aa"

_FORGET = 0.01  # of the running counts and sums, per batch
_EXPIRE_BELOW = 0.05  # frames per batch; a codeword that is chosen less often is moved


def bend(spectrum: Tensor) -> Tensor:
    """Compress amplitudes by three times a signed square root, so that quiet coefficients count."""
    return 3 * spectrum.sign() * ((spectrum.abs() + 1e-4).sqrt() - 1e-2)


class MDCT(nn.Module):
    """Modified discrete cosine transform with a sine window of two hops, as one convolution.

    Source: Princen and Bradley 1986; orthonormal.
    """

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        at = torch.arange(2 * hop_length).double() + 0.5
        band = torch.arange(hop_length)[:, None] + 0.5
        cosine = torch.cos(math.pi / hop_length * (at + hop_length / 2) * band)
        window = torch.sin(math.pi * at / (2 * hop_length)) * math.sqrt(2 / hop_length)
        self.hop_length = hop_length
        self.register_buffer("basis", (cosine * window).float()[:, None], persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(b, 1, samples), whole hops -> (b, hop_length, samples / hop_length + 1)."""
        padded = F.pad(audio, (self.hop_length, self.hop_length))
        return F.conv1d(padded, self.basis, stride=self.hop_length)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """(b, hop_length, n + 1) -> (b, 1, n * hop_length)."""
        audio = F.conv_transpose1d(spectrum, self.basis, stride=self.hop_length)
        return audio[..., self.hop_length : -self.hop_length]


class Block(nn.Module):
    """A residual block of two convolutions, each after a Snake; it begins as the identity.

    Source: Kumar et al. 2023, section 3.1; Ziyin et al. 2020.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)
        self.alphas = nn.ParameterList([torch.ones(width, 1), torch.ones(width, 1)])
        nn.init.zeros_(self.point.weight)
        nn.init.zeros_(self.point.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, frames) -> the same."""
        first, second = self.alphas
        return x + self.point(snake(self.wide(snake(x, first)), second))


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """The activation x + sin(alpha x)^2 / alpha."""
    return x + torch.sin(alpha * x).square() / (alpha + 1e-9)


def _nearest(words: Tensor, rows: Tensor) -> Tensor:
    """For each row (m, d) the index of the nearest of words (n, d)."""
    # |a - b|^2 without |a|^2, which is the same for all codewords of a row.
    return (words.square().sum(1) - 2 * rows @ words.T).argmin(1)


class ResidualQuantizer(nn.Module):
    """Each codebook codes what the ones before it left over. No gradient trains codewords.

    In training, codewords are running means of the frames that chose them, and those that hardly
    any frame chooses are placed on frames of the batch. Torch's own generator draws: its state is
    part of a training's checkpoint.

    Source: Zeghidour et al. 2021 (SoundStream), sections 3.3 and 3.4.
    """

    def __init__(self, n_codebooks: int, size: int, dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        # No gradient moves them, but they are weights: a checkpoint holds them in half precision.
        self.words = nn.Parameter(torch.zeros(n_codebooks, size, dim), requires_grad=False)
        self.register_buffer("counts", torch.ones(n_codebooks, size))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of codewords, the codes, and the mean squared distance to the sums (a scalar).

        The sums (b, dim, frames) have the gradient of `latents` (straight through). In training
        the share `dropout` of the batch is the sum of a random number of the first codebooks.
        """
        codes = self.codes(latents.detach(), learn=self.training)
        n, batch = len(self.words), len(latents)
        kept = torch.full((batch,), n)
        if self.training:
            fewer = torch.randint(1, n + 1, (batch,))
            kept = torch.where(torch.rand(batch) < self.dropout, fewer, kept)
        heard = (torch.arange(n)[None] < kept[:, None]).to(latents)
        picked = torch.stack([self.words[k][codes[:, k]] for k in range(n)], 1)
        sums = torch.einsum("bk,bkfd->bdf", heard, picked)
        return latents + (sums - latents).detach(), codes, (latents - sums).square().mean()

    @torch.no_grad()
    def codes(self, latents: Tensor, *, learn: bool = False) -> Tensor:
        """The nearest codewords: (b, n_codebooks, frames) int64 of (b, dim, frames)."""
        left = latents.transpose(1, 2).flatten(0, 1).float()
        codes = []
        for k, words in enumerate(self.words):
            code = _nearest(words, left)
            residual = left - words[code]
            if learn:
                self._follow(k, code, left)
            left, codes = residual, [*codes, code]
        return torch.stack([code.view(len(latents), -1) for code in codes], 1)

    def sums(self, codes: Tensor) -> Tensor:
        """Sums of codewords (b, dim, frames) of codes (b, n, frames) of the first n codebooks."""
        return sum(self.words[k][codes[:, k]] for k in range(codes.shape[1])).transpose(1, 2)

    def _follow(self, k: int, code: Tensor, frames: Tensor) -> None:
        """Move the codewords of one codebook towards the frames (n, dim) that chose them."""
        words, counts = self.words[k], self.counts[k]
        chosen = torch.zeros_like(counts).index_add_(0, code, torch.ones_like(frames[:, 0]))
        total = torch.zeros_like(words).index_add_(0, code, frames)
        before = counts * (1 - _FORGET)
        counts.copy_(before + _FORGET * chosen)
        moved = words * before[:, None] + _FORGET * total
        words.copy_(moved / counts.clamp(min=1e-6)[:, None])
        idle = counts < _EXPIRE_BELOW
        picked = torch.randint(len(frames), (len(words),)).to(code)
        words.copy_(torch.where(idle[:, None], frames[picked], words))
        counts.masked_fill_(idle, 2 * _EXPIRE_BELOW)

    @torch.no_grad()
    def begin(self, frames: Tensor) -> None:
        """Codebooks (n, dim) by k-means of frames, each on what the ones before it left over."""
        left = frames
        for words in self.words:
            words.copy_(left[torch.randint(len(left), (len(words),))])
            for _ in range(6):
                code = _nearest(words, left)
                chosen = torch.bincount(code, minlength=len(words)).to(left)
                total = torch.zeros_like(words).index_add_(0, code, left)
                used = chosen[:, None] > 0
                other = left[torch.randint(len(left), (len(words),))]
                words.copy_(torch.where(used, total / chosen.clamp(min=1)[:, None], other))
            left = left - words[_nearest(words, left)]
        self.counts.fill_(1.0)


class Network(nn.Module):
    """MDCT frames to latents, residual codes, and back to audio.

    A frame more than there are hops: the last window reaches beyond the end.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        net = config.net
        self.transform = MDCT(net.hop_length)
        hop, width = net.hop_length, net.width
        blocks = [[Block(width, dilation) for dilation in net.dilations] for _ in range(2)]
        self.encoder = nn.Sequential(
            nn.Conv1d(2 * hop, width, 1), *blocks[0], nn.Conv1d(width, net.latent_dim, 1)
        )
        self.quantizer = ResidualQuantizer(
            net.n_codebooks, net.codebook_size, net.latent_dim, dropout=net.quantizer_dropout
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(net.latent_dim, width, 3, padding=1), *blocks[1], nn.Conv1d(width, 3 * hop, 1)
        )

    def spectrum(self, audio: Tensor) -> Tensor:
        """The input of the encoder for (b, 1, samples): the compressed MDCT, then its log level."""
        spectrum = self.transform(audio)
        return torch.cat([bend(spectrum), (spectrum.abs() + 1e-5).log() / 4 + 1.5], 1)

    def encode(self, audio: Tensor) -> Tensor:
        """(b, 1, samples) -> latents (b, latent_dim, frames)."""
        return self.encoder(self.spectrum(audio))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents, or their sums of codewords -> (b, 1, samples)."""
        tone, level, shape = self.decoder(latents).float().chunk(3, 1)
        # Strong partials by a square that keeps the sign, and the quiet rest by level and shape.
        rest = (level - 6).clamp(max=3).exp() * shape
        return self.transform.inverse(tone * tone.abs() / 9 + rest)

    def codes(self, latents: Tensor) -> Tensor:
        """Codes (b, n_codebooks, frames)."""
        return self.quantizer.codes(latents)

    def sums(self, codes: Tensor) -> Tensor:
        """Sums of codewords (b, latent_dim, frames) of codes (b, n, frames)."""
        return self.quantizer.sums(codes)


class Descript(nn.Module):
    """The network of descript-audio-codec (Kumar et al. 2023) behind the same four methods."""

    def __init__(self, **sizes: object) -> None:
        super().__init__()
        with warnings.catch_warnings(action="ignore"):  # of what torch has renamed since
            self.dac = need("dac").DAC(**sizes)

    def encode(self, audio: Tensor) -> Tensor:
        """(b, 1, samples) -> latents (b, latent_dim, frames)."""
        return self.dac.encoder(audio)

    def decode(self, latents: Tensor) -> Tensor:
        """Sums of codewords -> (b, 1, samples)."""
        return self.dac.decode(latents)

    def codes(self, latents: Tensor) -> Tensor:
        """Codes (b, n_codebooks, frames)."""
        return self.dac.quantizer(latents)[1]

    def sums(self, codes: Tensor) -> Tensor:
        """Sums of codewords (b, latent_dim, frames) of codes (b, n, frames)."""
        stages = self.dac.quantizer.quantizers
        return sum(
            stages[book].out_proj(stages[book].decode_code(codes[:, book]))
            for book in range(codes.shape[1])
        )


class Codec(nn.Module):
    """Audio to codes and back."""

    def __init__(self, config: Config, network: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.network = Network(config) if network is None else network
        # Reads the log-mel spectrogram off the first codebooks' sums.
        self.mel_head = nn.Conv1d(config.net.latent_dim, MEL_BANDS, 1)

    def forward(self, audio: Tensor) -> dict[str, Tensor]:
        """What training needs of (b, 1, samples), a multiple of the hop.

        ``audio``, ``mel`` (b, MEL_BANDS, frames) as the first codebooks say it, and the scalar
        ``commitment``.
        """
        latents = self.network.encode(audio)
        # bfloat16 cannot tell close codewords apart.
        with torch.autocast(audio.device.type, enabled=False):
            latents = latents.float()
            sums, codes, commitment = self.network.quantizer(latents)
            first = self.network.sums(codes[:, : self.config.net.mel_codebooks])
            mel = self.mel_head(latents + (first - latents).detach())
        return {"audio": self.network.decode(sums), "mel": mel, "commitment": commitment}

    @torch.no_grad()
    def encode(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Codes (b * channels, n_codebooks, frames) int64 of audio (b, channels, samples)."""
        return self.network.codes(self.latents(audio, sample_rate))

    @torch.no_grad()
    def latents(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Frames before quantisation, (b * channels, latent_dim, frames)."""
        return self.network.encode(self._framed(audio, sample_rate))

    @torch.no_grad()
    def decode(self, codes: Tensor, samples: int) -> Tensor:
        """Audio (b, 1, samples) at the codec's rate, of codes (b, n, frames) of n codebooks."""
        net = self.config.net
        least, most = int(codes.min()), int(codes.max())
        wrong_shape = codes.ndim != 3 or codes.shape[1] > net.n_codebooks
        if codes.is_floating_point() or wrong_shape or least < 0 or most >= net.codebook_size:
            raise ValueError(
                f"codes must be integers 0..{net.codebook_size - 1} (b, 1..{net.n_codebooks}, "
                f"frames), got {codes.dtype} {least}..{most} {tuple(codes.shape)}"
            )
        return self.network.decode(self.network.sums(codes.long()))[..., :samples]

    @torch.no_grad()
    def round_trip(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Encode and decode (b, channels, samples), at its rate."""
        sums = self.network.sums(self.encode(audio, sample_rate))
        return self._decoded_as(audio, sample_rate, sums)

    @torch.no_grad()
    def unquantised(self, audio: Tensor, sample_rate: int) -> Tensor:
        """`round_trip` without the quantiser: what the encoder and decoder lose by themselves."""
        return self._decoded_as(audio, sample_rate, self.latents(audio, sample_rate))

    def _decoded_as(self, audio: Tensor, sample_rate: int, latents: Tensor) -> Tensor:
        decoded = self.network.decode(latents)
        decoded = resample(decoded, self.config.sound.sample_rate, sample_rate)
        return decoded[..., : audio.shape[-1]].reshape(audio.shape)

    def _framed(self, audio: Tensor, sample_rate: int) -> Tensor:
        """(b * channels, 1, frames * hop) at the codec's rate, zeros at the end."""
        if audio.ndim != 3 or 0 in audio.shape or not torch.isfinite(audio).all():
            raise ValueError(
                f"audio must be finite (b, channels, samples), got {tuple(audio.shape)}"
            )
        flat = audio.reshape(-1, 1, audio.shape[-1]).to(self.mel_head.bias)
        flat = resample(flat, sample_rate, self.config.sound.sample_rate)
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
    codec = descript(**stored["metadata"]["kwargs"])
    checkpoints.fill(codec.network.dac, stored["state_dict"])
    return codec.eval()


def descript(**sizes: object) -> Codec:
    """A codec with the network of descript-audio-codec; `sizes` are the arguments of its DAC."""
    network = Descript(**sizes)
    dac = network.dac
    own = {"hop_length": int(dac.hop_length), "latent_dim": dac.latent_dim, "mel_codebooks": 1}
    own |= {"n_codebooks": dac.n_codebooks, "codebook_size": dac.codebook_size}
    return Codec(Config().but(sample_rate=dac.sample_rate, **own), network)
