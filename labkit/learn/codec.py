"""Sound as a string of tokens: one face around descript-audio-codec's network, its weights ours or the official ones.

Channels are folded into the batch: channel c of item i is item ``i * channels + c`` of the codes.
"""

import math
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn import checkpoints
from labkit.learn.checkpoints import CheckpointError
from labkit.signal.files import check_rate
from labkit.signal.optional import need
from labkit.signal.paths import data_dir


@dataclass(frozen=True)
class CodecConfig:
    """The shape of a codec; the defaults are the embedded one's.

    Attributes:
        sample_rate: Hz.
        rates: strides of the encoder's stages, even; their product is the hop in samples.
        encoder_dim: channels at the full sample rate; each stage doubles them.
        latent_dim: channels of a frame before quantisation.
        decoder_dim: channels where the decoder begins; each stage halves them.
        n_codebooks: stages of the residual quantiser.
        codebook_size: words in each.
        codebook_dim: dimension in which words are looked up.
        quantizer_dropout: share of a training batch that is decoded from a random number of codebooks.

    Raises:
        ValueError: for a size that cannot be built.

    Source: Kumar et al. 2023 (Descript Audio Codec), section 3; ours is smaller, and strides 4 at once at the full
        rate, where most of the time goes.
    """

    sample_rate: int = 44_100
    rates: tuple[int, ...] = (4, 4, 4, 8)
    encoder_dim: int = 8
    latent_dim: int = 128
    decoder_dim: int = 128
    n_codebooks: int = 8
    codebook_size: int = 1024
    codebook_dim: int = 8
    quantizer_dropout: float = 0.5

    def __post_init__(self) -> None:
        check_rate(self.sample_rate)
        if not self.rates or any(rate < 2 or rate % 2 for rate in self.rates):
            raise ValueError(f"rates must be even strides >= 2, got {self.rates}")
        if self.decoder_dim % 2 ** len(self.rates):
            raise ValueError(
                f"decoder_dim must be divisible by {2 ** len(self.rates)}, got {self.decoder_dim}"
            )
        for name in ("encoder_dim", "latent_dim", "n_codebooks", "codebook_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.codebook_size < 2 or not 0 <= self.quantizer_dropout <= 1:
            raise ValueError(
                f"need codebook_size >= 2 and quantizer_dropout in 0..1, "
                f"got {self.codebook_size} and {self.quantizer_dropout}"
            )

    @property
    def hop_length(self) -> int:
        """Samples a frame."""
        return math.prod(self.rates)

    @property
    def frames_per_second(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def context_frames(self) -> int:
        """Frames on either side of a frame that its code can depend on: what a chunk needs around it."""
        reach, stride = 3, 1  # a kernel of 7 reaches 3 samples to either side
        for rate in self.rates:
            reach += stride * (
                3 * (1 + 3 + 9) + rate
            )  # three residual units, dilated 1, 3, 9; then the stride
            stride *= rate
        return math.ceil((reach + stride) / stride)  # the last kernel of 3 sees one frame further

    def bits_per_second(self, n_codebooks: int | None = None) -> float:
        """Bits a second of plain codes, of the first `n_codebooks` or all; an entropy coder needs no more."""
        n = self.n_codebooks if n_codebooks is None else n_codebooks
        return n * math.log2(self.codebook_size) * self.frames_per_second


class Codec(nn.Module):
    """Sound to codes and back.

    Args:
        config: its shape. The weights are random until loaded or trained.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        shared = (
            "encoder_dim",
            "latent_dim",
            "decoder_dim",
            "n_codebooks",
            "codebook_size",
            "codebook_dim",
        )
        shape = {
            name: getattr(config, name) for name in (*shared, "quantizer_dropout", "sample_rate")
        }
        rates = {"encoder_rates": list(config.rates), "decoder_rates": list(reversed(config.rates))}
        with quiet():
            self.network = need("dac").DAC(**shape, **rates)

    def forward(self, audio: Tensor) -> dict[str, Tensor]:
        """What training needs of (b, 1, samples), a multiple of the hop.

        Returns:
            ``audio`` (b, 1, samples), ``codes`` (b, n, frames), ``latents`` (b, n * codebook_dim, frames): the frames
            as each codebook looked them up, and the scalars ``commitment`` and ``codebook``.
        """
        frames = self.network.encoder(audio)
        # Words that lie close are told apart by less than bfloat16 can hold, whatever the training's precision.
        with torch.autocast(audio.device.type, enabled=False):
            z, codes, latents, commitment, codebook = self.network.quantizer(frames.float())
        decoded = self.network.decode(z)
        return {
            "audio": decoded,
            "codes": codes,
            "latents": latents,
            "commitment": commitment,
            "codebook": codebook,
        }

    @torch.no_grad()
    def encode(self, audio: Tensor, sample_rate: int, *, n_codebooks: int | None = None) -> Tensor:
        """The codes of a sound.

        Args:
            audio: (b, channels, samples) float, full scale 1; resampled where the rate is another than the codec's.
            sample_rate: Hz.
            n_codebooks: the first so many, 1..all; fewer are a prefix of more. All when None.

        Returns:
            (b * channels, n_codebooks, frames) int64: names of codewords, not numbers. Embed them.

        Raises:
            TypeError, ValueError: for audio, rate or `n_codebooks` that cannot be used.
        """
        count = self._count(n_codebooks)
        return self.network.encode(self._framed(audio, sample_rate))[1][:, :count]

    @torch.no_grad()
    def encode_in_chunks(
        self,
        audio: Tensor,
        sample_rate: int,
        *,
        chunk_frames: int,
        context_frames: int | None = None,
    ) -> Tensor:
        """The codes of a long sound, encoded piece by piece.

        Args:
            audio: as `encode`.
            sample_rate: Hz.
            chunk_frames: frames a piece, >= 1.
            context_frames: frames of real sound put around each piece and dropped again: 0 leaves each piece alone
                with silence around it, `config.context_frames` (None) gives the codes of the whole.

        Returns:
            As `encode`.

        Raises:
            TypeError, ValueError: as `encode`, or for sizes below the least.
        """
        context = self.config.context_frames if context_frames is None else context_frames
        if chunk_frames < 1 or context < 0:
            raise ValueError(
                f"need chunk_frames >= 1 and context_frames >= 0, got {chunk_frames} and {context}"
            )
        whole, hop = self._framed(audio, sample_rate), self.config.hop_length
        frames, codes = whole.shape[-1] // hop, []
        for start in range(0, frames, chunk_frames):
            end, before = min(frames, start + chunk_frames), max(0, start - context)
            piece = whole[..., before * hop : min(frames, end + context) * hop]
            codes.append(self.network.encode(piece)[1][..., start - before : end - before])
        return torch.cat(codes, -1)

    @torch.no_grad()
    def latents(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The encoder's frames before any quantisation: (b * channels, latent_dim, frames). Args and errors: `encode`."""
        return self.network.encoder(self._framed(audio, sample_rate))

    @torch.no_grad()
    def decode(
        self,
        codes: Tensor,
        samples: int,
        *,
        sample_rate: int | None = None,
        books: Sequence[int] | None = None,
    ) -> Tensor:
        """The sound of codes.

        Args:
            codes: (b, n, frames) integers, of the first n codebooks.
            samples: length of the sound at `sample_rate`.
            sample_rate: Hz of the result; the codec's when None.
            books: decode these rows of `codes` only, e.g. ``(0,)`` or ``(2,)``; all when None.

        Returns:
            (b, 1, samples) float, within -1..1 up to resampling.

        Raises:
            TypeError, ValueError: for codes that are not words of this codec, an unknown book, or `samples` that the
                frames do not reach.
        """
        codes = self._check_codes(codes)
        rate = self.config.sample_rate if sample_rate is None else check_rate(sample_rate)
        most = math.ceil(codes.shape[-1] * self.config.hop_length * rate / self.config.sample_rate)
        if not 1 <= samples <= most:
            raise ValueError(
                f"samples must lie in 1..{most} for {codes.shape[-1]} frames, got {samples}"
            )
        audio = self.network.decode(self._vectors(codes, books))
        return _resample(audio, self.config.sample_rate, rate)[..., :samples]

    def round_trip(
        self, audio: Tensor, sample_rate: int, *, n_codebooks: int | None = None
    ) -> Tensor:
        """Encode and decode: the same shape and rate as (b, channels, samples) `audio`. Args and errors: `encode`."""
        codes = self.encode(audio, sample_rate, n_codebooks=n_codebooks)
        return self.decode(codes, audio.shape[-1], sample_rate=sample_rate).reshape(audio.shape)

    def _count(self, n_codebooks: int | None) -> int:
        count = self.config.n_codebooks if n_codebooks is None else n_codebooks
        if not 1 <= count <= self.config.n_codebooks:
            raise ValueError(f"n_codebooks must lie in 1..{self.config.n_codebooks}, got {count}")
        return count

    def _framed(self, audio: Tensor, sample_rate: int) -> Tensor:
        """(b * channels, 1, frames * hop) at the codec's rate, zeros at the end."""
        if not isinstance(audio, Tensor) or not audio.is_floating_point():
            kind = getattr(audio, "dtype", type(audio).__name__)
            raise TypeError(f"audio must be a float tensor (b, channels, samples), got {kind}")
        if audio.ndim != 3 or 0 in audio.shape:
            raise ValueError(
                f"audio must be (b, channels, samples), none of them 0, got {tuple(audio.shape)}"
            )
        if not torch.isfinite(audio).all():
            raise ValueError("audio must be finite, got NaN or infinity")
        flat = audio.reshape(-1, 1, audio.shape[-1]).to(self.network.encoder.block[0].bias)
        flat = _resample(flat, check_rate(sample_rate), self.config.sample_rate)
        return F.pad(flat, (0, -flat.shape[-1] % self.config.hop_length))

    def _check_codes(self, codes: Tensor) -> Tensor:
        if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.dtype == torch.bool:
            kind = getattr(codes, "dtype", type(codes).__name__)
            raise TypeError(f"codes must be an integer tensor (b, n, frames), got {kind}")
        n, size = self.config.n_codebooks, self.config.codebook_size
        if codes.ndim != 3 or 0 in codes.shape or codes.shape[1] > n:
            raise ValueError(f"codes must be (b, 1..{n}, frames), got {tuple(codes.shape)}")
        if codes.min() < 0 or codes.max() >= size:
            raise ValueError(
                f"codes must lie in 0..{size - 1}, got {int(codes.min())}..{int(codes.max())}"
            )
        return codes.long()

    def _vectors(self, codes: Tensor, books: Sequence[int] | None) -> Tensor:
        books = range(codes.shape[1]) if books is None else books
        if not len(books) or any(not 0 <= book < codes.shape[1] for book in books):
            raise ValueError(
                f"books must name rows 0..{codes.shape[1] - 1} of codes, got {list(books)}"
            )
        stages = self.network.quantizer.quantizers
        return sum(
            stages[book].out_proj(stages[book].decode_code(codes[:, book])) for book in books
        )


class CodeEmbedding(nn.Module):
    """Codes as vectors that a model learns: a table for each codebook, summed over the codebooks of a frame.

    Args:
        n_codebooks: rows of the codes.
        codebook_size: words in each.
        width: of the vectors.
    """

    def __init__(self, n_codebooks: int, codebook_size: int, width: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.table = nn.Embedding(n_codebooks * codebook_size, width)
        nn.init.normal_(self.table.weight, std=n_codebooks**-0.5)  # the sum has unit variance
        self.register_buffer(
            "first", torch.arange(n_codebooks)[:, None] * codebook_size, persistent=False
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(b, n, frames) integers, n at most `n_codebooks` -> (b, frames, width).

        Raises:
            ValueError: if the codes do not fit the tables.
        """
        if codes.ndim != 3 or codes.shape[1] > len(self.first):
            raise ValueError(
                f"codes must be (b, 1..{len(self.first)}, frames), got {tuple(codes.shape)}"
            )
        if codes.is_floating_point() or codes.min() < 0 or codes.max() >= self.codebook_size:
            raise ValueError(
                f"codes must be integers in 0..{self.codebook_size - 1}, got {codes.dtype}"
            )
        return self.table(codes + self.first[: codes.shape[1]]).sum(1)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of what torch has renamed since descript-audio-codec was written: no reader can mend them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    if from_rate == to_rate:
        return audio
    from torchaudio.functional import resample  # on the audio's own device, which soxr cannot

    return resample(audio, from_rate, to_rate)


def build(config: CodecConfig, *, seed: int = 0) -> Codec:
    """A fresh codec whose weights depend on `seed` alone. Errors: as `CodecConfig`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Codec(config)


def shipped_path() -> Path:
    """Where the shipped codec lies."""
    return data_dir() / "checkpoints" / "codec.safetensors"


def save(codec: Codec, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(codec, path, system="codec", config=asdict(codec.config))


def load(path: str | Path | None = None) -> Codec:
    """A codec in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped codec when None.

    Returns:
        The codec.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a codec.
    """
    config, weights = checkpoints.read(path if path is not None else shipped_path(), system="codec")
    codec = build(CodecConfig(**config))
    checkpoints.fill(codec, weights)
    return codec.eval()


def official(path: str | Path | None = None) -> Codec:
    """Descript's own 44.1 kHz codec, 8 kbit/s, by descript-audio-codec's loader.

    Args:
        path: a weights file that you have; None takes the package's cache, and downloads (about 300 MB) into it.

    Returns:
        The codec, in evaluation mode on the CPU.

    Raises:
        CheckpointError: with the file's name, its address, and where to put it by hand, if it cannot be had or read.

    Source: Kumar et al. 2023, the released weights 0.0.1.
    """
    with quiet():
        utils, tag = need("dac.utils"), "0.0.1"
    address = utils.__MODEL_URLS__[("44khz", tag, "8kbps")]
    place = Path.home() / ".cache" / "descript" / "dac" / f"weights_44khz_8kbps_{tag}.pth"
    place = place if path is None else Path(path)
    by_hand = f"download {address} in a browser and save it as {place}"
    try:
        if path is not None and not place.is_file():
            raise FileNotFoundError(f"no file {place}")
        with quiet():
            model = utils.load_model(
                load_path=str(place if place.is_file() else utils.download("44khz", "8kbps", tag))
            )
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"the official weights could not be had ({first:.200}): {by_hand}"
        ) from error
    codec = build(_config_of(model))
    codec.network.load_state_dict(model.state_dict())
    return codec.eval()


def _config_of(model: Any) -> CodecConfig:
    return CodecConfig(
        sample_rate=int(model.sample_rate),
        rates=tuple(int(rate) for rate in model.encoder_rates),
        encoder_dim=model.encoder_dim,
        latent_dim=model.latent_dim,
        decoder_dim=model.decoder_dim,
        n_codebooks=model.n_codebooks,
        codebook_size=model.codebook_size,
        codebook_dim=model.quantizer.quantizers[0].codebook.weight.shape[1],
        quantizer_dropout=float(model.quantizer.quantizer_dropout),
    )
