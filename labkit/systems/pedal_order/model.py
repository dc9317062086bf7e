"""The features of a clip, and the network that reads them and writes the tokens of a chain."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn.encoders import ConvStem
from labkit.learn.transformer import Decoder, Encoder
from labkit.signal.seeds import seeded
from labkit.signal.spectra import log_mel
from labkit.systems.pedal_order.config import SHELVES, Config, Sound

if TYPE_CHECKING:
    from labkit.systems.codec import Codec

# What a clip can be: a guitar, dry or through pedals of the shelf of three; through others of the
# shelf of six, or of nine; through a pedal that is on none; or no guitar.
KINDS = (*SHELVES, "other", "none")
_JUDGE_WIDTH = 64


def features(wet: Tensor, sound: Sound, dry: Tensor | None = None) -> Tensor:
    """The input of the network for a clip, after its level is normalised.

    Args:
        wet: (..., samples).
        dry: the same shape, aligned with `wet`; needed where `sound.use_dry`.

    Returns:
        (..., n_mels, frames) float32: log-mel of roughly unit variance. Dry frames come before wet
        frames. For codes and latents it is the spectrogram of what the codec decodes from them.
    """
    if not sound.use_dry:
        return _front_end(wet, sound)
    if dry is None or dry.shape != wet.shape:
        given = "none" if dry is None else str(tuple(dry.shape))
        raise ValueError(
            f"this network needs the dry sound too: dry must be {tuple(wet.shape)}, got {given}"
        )
    return torch.cat([_front_end(dry, sound), _front_end(wet, sound)], dim=-1)


def feature_shape(sound: Sound) -> tuple[int, int]:
    """Rows and frames of a clip's `features`."""
    frames = 1 + sound.samples // sound.hop_length
    return sound.n_mels, frames * (2 if sound.use_dry else 1)


def _front_end(audio: Tensor, sound: Sound) -> Tensor:
    audio = 0.1 * audio / audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-8)
    if sound.front_end != "mel":
        coder = codec().to(audio.device)
        through = coder.round_trip if sound.front_end == "codes" else coder.unquantised
        audio = through(audio.reshape(-1, 1, audio.shape[-1]), sound.sample_rate).view(audio.shape)
    decibels = log_mel(
        audio,
        sound.sample_rate,
        n_fft=sound.n_fft,
        hop_length=sound.hop_length,
        n_mels=sound.n_mels,
        low_hz=sound.low_hz,
        high_hz=sound.high_hz,
    )
    return (decibels + 60.0) / 20.0


@lru_cache(maxsize=1)
def codec() -> "Codec":
    """The shipped codec, whose codebooks and decoder read codes (and latents) for the network."""
    from labkit.systems.codec import load  # takes seconds, and log-mel does not need it

    return load()


class Heard(NamedTuple):
    """Of b clips."""

    encoded: Tensor  # (b, frames, width)
    summary: Tensor  # (b, width)
    hints: Tensor  # (b, n_pedals * (1 + n_pedals)) logits, see `PedalOrderModel.encode`
    pooled: Tensor  # (b, n) the input of `judge` and `cabinet`


class PedalOrderModel(nn.Module):
    """Reads the features of a wet clip and writes the tokens of its chain.

    The decoder attends to the encoded frames and to three more vectors: the shelf (the pedals that
    may occur), a summary of the clip, and the hints. Hints are an auxiliary output that is trained
    too: which pedals are present, and which of each pair comes first.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net = config.net
        tokens = net.tokens
        n_pedals = len(tokens.pedals)
        self.stem = ConvStem(config.sound.n_mels, net.width, net.channels)
        sizes = {"width": net.width, "n_heads": net.n_heads, "dropout": net.dropout}
        n_frames = feature_shape(config.sound)[1]
        self.encoder = Encoder(n_layers=net.encoder_layers, max_length=n_frames, **sizes)
        self.decoder = Decoder(
            tokens.n_tokens, n_layers=net.decoder_layers, max_length=tokens.max_length, **sizes
        )
        self.shelf = nn.Linear(n_pedals, net.width)
        self.summary = nn.Sequential(nn.Linear(2 * net.width, net.width), nn.ReLU())
        self.hints = nn.Linear(net.width, n_pedals + n_pedals * n_pedals)
        self.advice = nn.Linear(n_pedals + n_pedals * n_pedals, net.width)
        # `judge`, `clean` and `cabinet`, fitted to the finished network by tools/judge.py: zeros
        # until then.
        n_pooled = 3 * net.width + self.hints.out_features
        self.register_buffer("judge_in", torch.zeros(_JUDGE_WIDTH, n_pooled + 1))
        self.register_buffer("judge_out", torch.zeros(len(KINDS), _JUDGE_WIDTH + 1))
        self.register_buffer("judge_clean", torch.zeros(2))
        self.register_buffer("judge_cabinet", torch.zeros(n_pooled + 1))

    def encode(self, clips: Tensor, shelf: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (b, s, width), which the decoder attends to, and hint logits.

        The hints (b, n_pedals, 1 + n_pedals): column 0, the pedal is present; column 1 + j, it
        comes before pedal j.
        """
        heard = self.hear(clips)
        return self.memory(heard, shelf), heard.hints.view(len(clips), shelf.shape[1], -1)

    def hear(self, clips: Tensor) -> Heard:
        """What the encoder finds, whatever the shelf."""
        encoded = self.encoder(self.stem(clips))
        statistics = torch.cat([encoded.mean(1), encoded.amax(1)], dim=1)
        summary = self.summary(statistics)
        hints = self.hints(summary)
        return Heard(encoded, summary, hints, torch.cat([statistics, summary, hints], dim=1))

    def memory(self, heard: Heard, shelf: Tensor) -> Tensor:
        """What the decoder attends to, see `encode`."""
        extra = torch.stack([self.shelf(shelf), heard.summary, self.advice(heard.hints)], dim=1)
        return torch.cat([extra, heard.encoded], dim=1)

    @property
    def can_judge(self) -> bool:
        """Whether `judge` and `clean` were fitted."""
        return bool(self.judge_out.any())

    def forget_judge(self) -> None:
        """Clear what was fitted to other weights."""
        for name, fitted in self.named_buffers():
            if name.startswith("judge"):
                fitted.zero_()

    def judge(self, pooled: Tensor) -> dict[str, float]:
        """The probability of each of `KINDS` for a recording; its windows vote."""
        hidden = F.linear(pooled, self.judge_in[:, :-1], self.judge_in[:, -1]).relu()
        votes = F.linear(hidden, self.judge_out[:, :-1], self.judge_out[:, -1]).log_softmax(1)
        return dict(zip(KINDS, votes.mean(0).softmax(0).tolist(), strict=True))

    def clean(self, empty: float) -> float:
        """The probability that there are no pedals, above .5 for 95 % of dry validation clips.

        `empty` is the decoder's, with every pedal that it knows on the shelf.
        """
        slope, offset = self.judge_clean
        return float((slope * torch.tensor(empty).logit(1e-6) + offset).sigmoid())

    def cabinet(self, pooled: Tensor) -> float:
        """The probability that a guitar cabinet stands behind the chain; windows vote."""
        into, offset = self.judge_cabinet[:-1], self.judge_cabinet[-1]
        return float((pooled @ into + offset).mean().sigmoid())

    def forward(self, clips: Tensor, shelf: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, t, n_tokens) of the token after each of `tokens` (b, t), and hint logits."""
        memory, hints = self.encode(clips, shelf)
        return self.decoder(tokens, memory), hints

    def shelf_vector(self, shelf: Sequence[str]) -> Tensor:
        """(n_pedals,) with 1 for every pedal on the shelf."""
        return torch.tensor([float(name in shelf) for name in self.config.net.tokens.pedals])


def build(config: Config) -> PedalOrderModel:
    """A model with random weights, which depend on the plan's seed alone."""
    model = seeded(lambda: PedalOrderModel(config), config.plan.seed, "pedal order")
    # Channels last: the same numbers, a faster convolution.
    model.stem.to(memory_format=torch.channels_last)
    return model
