"""The network: sentence and sound attend to each other, and every effect attends to both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn import text as encoders
from labkit.learn.training import Plan
from labkit.signal.files import check_audio, to_mono
from labkit.signal.spectra import log_mel
from labkit.systems import system
from labkit.systems.text.grammar import parse
from labkit.systems.text.lexicon import ANCHORS_HZ, Meaning, lexicon
from labkit.systems.text.preset import BAND, SPACES, START, TYPES, Band, Preset, curve_db

# Width of each sentence encoder's vectors.
SENTENCE_WIDTHS = {"minilm": 384, "mpnet": 768}


@dataclass(frozen=True)
class Sound:
    """The log-mel spectrogram of the recording's loudest part, averaged into a few frames."""

    sample_rate: int = 44100  # Hz
    seconds: float = 2.0  # length of that part
    n_mels: int = 32  # number of mel bands
    n_frames: int = 12  # number of frames after averaging


@dataclass(frozen=True)
class Net:
    """Sizes and regularisation."""

    sentences: Literal["minilm", "mpnet"] = "minilm"  # sentence encoder, see `labkit.learn.text`
    width: int = 48  # width of the transformer
    n_heads: int = 4  # attention heads
    n_layers: int = 1  # cross-attention layers
    dropout: float = 0.05  # dropout rate, 0 to 1
    hint_dropout: float = 0.05  # share of training sentences without their hints from the lexicon
    piece_dropout: float = 0.1  # share of training sentences without their word pieces
    hint_noise: float = 0.05  # standard deviation of the noise on hints in training
    taught: tuple[str, ...] = ()  # stems of the words that were trained; training sets it
    trusted: tuple[str, ...] = ()  # those of them that ten people or more set; training sets it

    def __post_init__(self) -> None:
        if self.sentences not in SENTENCE_WIDTHS:
            known = ", ".join(SENTENCE_WIDTHS)
            raise ValueError(f"sentences must be one of {known}, got {self.sentences!r}")


_PLAN = Plan(steps=2000, batch_size=64, learning_rate=2e-3, warmup_steps=20, weight_decay=0.05)


@dataclass(frozen=True)
class Config(system.Config):
    """Everything that decides the network; the defaults are the shipped model's."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN


MAX_PIECES, MAX_HINTS, HINT_WIDTH = 16, 4, 21
N_ANCHORS = len(ANCHORS_HZ)
# Units of a hint's curve are 4 dB, so that all entries of a hint are of order 1.
HINT_DB = 4.0
# Width of the first guess's radial basis functions, over a curve's six anchors.
_BASIS_WIDTH = 1.5
# How sharply an unknown word selects its neighbours in the lexicon.
_SHARPNESS = 12.0
# Weight of the hints beside the sentence vector in the first guess of the room.
_ROOM_HINT_WEIGHT = 0.3
_ENCODED_AT_ONCE = 64
# Where the heads start, in units: nothing is done to the sound.
_START_UNIT = {
    "pitch": (0.5,),
    "distortion": (0.06, 0.5),
    "compressor": (0.65, 0.05, 0.6, 0.45),
    "reverb": (0.5, 0.2, 0.8, 0.4, 0.06),
}


def hint_vector(meaning: Meaning, weight: float, *, known: bool) -> np.ndarray:
    """(21,) what one item asks for, every entry of order 1."""
    room, compressor = np.zeros(5), np.zeros(4)
    if meaning.room:
        room[:] = 1.0, *meaning.room[:3], meaning.room[3] / 100
    if meaning.compressor:
        below_db, ratio, attack_ms, release_ms = meaning.compressor
        compressor[:] = below_db / 20, np.log(ratio), np.log10(attack_ms), np.log10(release_ms) - 2
    eq = np.array(meaning.eq_db) / HINT_DB
    drive = meaning.drive_db / 15, meaning.colour
    asked = weight * np.concatenate([eq, room, drive, compressor, [meaning.semitones / 6]])
    return np.concatenate([asked, [weight, float(known), 1.0]])


def encode(texts: Sequence[str], sentences: str) -> encoders.Encoded:
    """Sentences of at most 16 pieces by the encoder of that name; raises where it is missing."""
    encoder = encoders.minilm() if sentences == "minilm" else encoders.mpnet()
    found = []
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        encoded = encoder(texts[start : start + _ENCODED_AT_ONCE])
        missing = MAX_PIECES - encoded.mask.shape[1]  # below 0 cuts
        tokens = F.pad(encoded.tokens, (0, 0, 0, missing))
        found.append((tokens, F.pad(encoded.mask, (0, missing)), encoded.sentence))
    return encoders.Encoded(*map(torch.cat, zip(*found, strict=True)))


@cache
def _lexicon_vectors(sentences: str) -> tuple[Tensor, np.ndarray]:
    """The sentence vector of every entry, and its hint."""
    words = [word.replace("-", " ") for word in lexicon()]
    hints = [hint_vector(meaning, 1.0, known=False) for meaning in lexicon().values()]
    return encode(words, sentences).sentence, np.array(hints)


def _hints_of(prompt: str, sentence: Tensor, sentences: str) -> np.ndarray:
    """(1 to 4, 21): a hint for each item; where no word is known, one blended from near entries."""
    items = parse(prompt)[:MAX_HINTS]
    if items:
        return np.array([hint_vector(i.meaning, i.weight, known=True) for i in items])
    keys, values = _lexicon_vectors(sentences)
    attention = (_SHARPNESS * keys @ sentence).softmax(0).numpy()
    return attention[None].astype(float) @ values


def encode_prompts(prompts: Sequence[str], sentences: str = "minilm") -> dict[str, Tensor]:
    """`pieces` (b, 16, width) and `hints` (b, 4, 21) of sentences, and `pieces_mask`, `hints_mask`.

    The masks are True where there is something; `sentences` names the encoder.
    """
    encoded = encode(prompts, sentences)
    hints = torch.zeros(len(prompts), MAX_HINTS, HINT_WIDTH)
    hints_mask = torch.zeros(len(prompts), MAX_HINTS, dtype=torch.bool)
    for k, prompt in enumerate(prompts):
        found = torch.from_numpy(_hints_of(prompt, encoded.sentence[k], sentences))
        hints[k, : len(found)] = found
        hints_mask[k, : len(found)] = True
    pieces = {"pieces": encoded.tokens, "pieces_mask": encoded.mask}
    return {**pieces, "hints": hints, "hints_mask": hints_mask}


def spectrogram(audio: np.ndarray, sound: Sound) -> tuple[Tensor, float]:
    """The log-mel spectrogram of the loudest part of (channels, samples), and its RMS in dBFS.

    (n_frames, n_mels), 20 dB to the unit, less its mean; silence is allowed and has -80 dBFS.
    """
    mono = to_mono(check_audio(audio, sound.sample_rate))[0]
    samples = round(sound.seconds * sound.sample_rate)
    if len(mono) > samples:
        energy = np.cumsum(np.concatenate([[0.0], np.square(mono, dtype=np.float64)]))
        start = int((energy[samples:] - energy[:-samples]).argmax())
        mono = mono[start : start + samples]
    mono = np.pad(mono, (0, max(0, samples - len(mono))))
    level_db = max(-80.0, 10 * float(np.log10(np.square(mono, dtype=np.float64).mean() + 1e-12)))
    sizes = {"n_mels": sound.n_mels, "low_hz": 30.0, "high_hz": 16000.0}
    mel = log_mel(torch.from_numpy(mono), sound.sample_rate, **sizes)
    pooled = F.adaptive_avg_pool1d(mel[None], sound.n_frames)[0].T
    return (pooled - pooled.mean()) / 20.0, level_db


class Settings(NamedTuple):
    """The network's output for a batch, all differentiable."""

    band_unit: Tensor  # (b, 5, 3), knobs of the bands in 0..1
    type_shares: Tensor  # (b, 5, 5), how much of each type a band is
    units: dict[str, Tensor]  # effect -> (b, knobs) in 0..1

    def eq_curve_db(self) -> Tensor:
        """(b, 40) dB."""
        knobs = BAND.from_unit_batch(self.band_unit)
        return curve_db(*(knobs[name] for name in BAND.names), self.type_shares)

    def hard(self) -> "Settings":
        """The same with one type for each band: the likeliest one, but a pass only with half."""
        is_pass = self.type_shares.new_tensor([kind.endswith("pass") for kind in TYPES])
        refused = is_pass * (self.type_shares < 0.5)
        chosen = (self.type_shares - refused).argmax(-1)
        return self._replace(type_shares=F.one_hot(chosen, len(TYPES)).to(self.type_shares))

    def straight_through(self) -> "Settings":
        """As `hard`, with the gradients of the mixture (Bengio, Leonard and Courville 2013)."""
        soft = self.type_shares
        return self._replace(type_shares=self.hard().type_shares + soft - soft.detach())

    def preset(self, row: int) -> Preset:
        """One item of the batch."""
        knobs = BAND.from_unit_batch(self.band_unit[row].detach().double())
        types = [TYPES[k] for k in self.type_shares[row].argmax(-1)]
        columns = [knobs[name].tolist() for name in BAND.names]
        units = {name: unit[row].detach().double().numpy() for name, unit in self.units.items()}
        effects = {name: SPACES[name].from_unit(unit) for name, unit in units.items()}
        return Preset(tuple(map(Band, types, *columns)), **effects)


class _Attention(nn.Module):
    """Attention to another sequence and a feed-forward layer, pre-norm with residuals."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.norm_memory, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, n_heads, dropout=dropout, batch_first=True)
        inner, outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        dropouts = nn.Dropout(dropout), nn.Dropout(dropout)
        self.feed_forward = nn.Sequential(inner, nn.GELU(), dropouts[0], outer, dropouts[1])

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        memory = self.norm_memory(memory)
        hidden = None if mask is None else ~mask
        attended, _ = self.attention(
            self.norm(x), memory, memory, key_padding_mask=hidden, need_weights=False
        )
        x = x + attended
        return x + self.feed_forward(self.norm_forward(x))


class CrossAttention(nn.Module):
    """Two sequences attend to each other, then each to itself.

    Source: Tan and Bansal 2019 (LXMERT), cross-modality layer.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        sizes = (width, n_heads, dropout)
        self.text_to_audio, self.audio_to_text = _Attention(*sizes), _Attention(*sizes)
        self.text_to_text, self.audio_to_audio = _Attention(*sizes), _Attention(*sizes)

    def forward(self, text: Tensor, mask: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, d), (b, t) bool and (b, f, d) -> both sequences."""
        attended = self.text_to_audio(text, audio)
        audio = self.audio_to_text(audio, text, mask)
        return self.text_to_text(attended, attended, mask), self.audio_to_audio(audio, audio)


class TextToEffects(nn.Module):
    """Sentence and sound in, settings of every effect out; each band and effect has its own query.

    The equaliser and the room start from a first guess, which `train.fit_first_guess` sets by
    regression on what people set; the network adds to it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, net = config, config.net
        width, piece_width = net.width, SENTENCE_WIDTHS[net.sentences]
        self.piece_encoder = nn.Sequential(nn.Linear(piece_width, width), nn.LayerNorm(width))
        inner, outer = nn.Linear(HINT_WIDTH, 2 * width), nn.Linear(2 * width, width)
        self.hint_encoder = nn.Sequential(inner, nn.GELU(), outer, nn.LayerNorm(width))
        self.audio_encoder = nn.Linear(config.sound.n_mels + 1, width)
        self.frame_position = nn.Parameter(0.02 * torch.randn(config.sound.n_frames, width))
        self.dropout = nn.Dropout(net.dropout)
        self.register_buffer("centres", lexicon_curves())
        self.first_gains = nn.Linear(len(self.centres), len(START))
        self.first_room = nn.Linear(piece_width + HINT_WIDTH, len(SPACES["reverb"]))
        sizes = (width, net.n_heads, net.dropout)
        self.cross_attention = nn.ModuleList(CrossAttention(*sizes) for _ in range(net.n_layers))
        self.queries = nn.Parameter(torch.randn(len(START) + len(SPACES), width))
        self.decoder = nn.ModuleList(_Attention(*sizes) for _ in range(2))
        self.query_attention = _Attention(*sizes)
        self.norm = nn.LayerNorm(width)
        self.band_heads = nn.ModuleList(nn.Linear(width, len(BAND) + len(TYPES)) for _ in START)
        heads = {name: nn.Linear(width, len(space)) for name, space in SPACES.items()}
        self.effect_heads = nn.ModuleDict(heads)
        self._start_neutral()

    @torch.no_grad()
    def _start_neutral(self) -> None:
        for head, (kind, hz, q) in zip(self.band_heads, START, strict=True):
            units = torch.tensor([BAND["frequency_hz"].to_unit(hz), 0.5, BAND["q"].to_unit(q)])
            types = 3.0 * F.one_hot(torch.tensor(TYPES.index(kind)), len(TYPES))
            head.weight.zero_()
            head.bias.copy_(torch.cat([torch.logit(units), types]))
        for layer in (self.first_gains, self.first_room):
            layer.weight.zero_()
        self.first_gains.bias.zero_()
        self.first_room.bias.copy_(torch.tensor(_START_UNIT["reverb"]))
        for name, head in self.effect_heads.items():
            head.weight.mul_(0.3)
            head.bias.copy_(torch.logit(torch.tensor(_START_UNIT[name])))
        # Where the room starts is the task of `first_room`.
        self.effect_heads["reverb"].bias.zero_()
        self.effect_heads["reverb"].weight.mul_(0.1)

    def forward(self, batch: Mapping[str, Tensor]) -> Settings:
        """Settings for a batch of `encode_prompts`, `log_mel` (b, f, m) and `level_db` (b,)."""
        pieces, hints = self.piece_encoder(batch["pieces"]), self.hint_encoder(batch["hints"])
        text = torch.cat([hints, pieces], dim=1)
        mask = torch.cat([batch["hints_mask"], batch["pieces_mask"]], dim=1)
        n_frames = batch["log_mel"].shape[1]
        level = ((batch["level_db"] + 20) / 10)[:, None, None].expand(-1, n_frames, 1)
        audio = self.audio_encoder(torch.cat([batch["log_mel"], level], dim=-1))
        text, audio = self.dropout(text), self.dropout(audio + self.frame_position)
        for layer in self.cross_attention:
            text, audio = layer(text, mask, audio)
        memory = torch.cat([text, audio], dim=1)
        mask = torch.cat([mask, mask.new_ones(audio.shape[:2])], dim=1)
        queries = self.queries.expand(len(text), -1, -1)
        for layer in self.decoder:
            queries = layer(queries, memory, mask)
        queries = self.norm(self.query_attention(queries, queries))
        bands = [head(queries[:, k]) for k, head in enumerate(self.band_heads)]
        knobs, types = torch.stack(bands, dim=1).split([len(BAND), len(TYPES)], dim=-1)
        # 18 dB a band: the sigmoid's slope turns 9 dB into one unit of its input.
        knobs = knobs + F.pad(self.guess_db(batch)[..., None] / 9.0, (1, 1))
        rows = queries[:, len(START) :].unbind(1)
        heads = self.effect_heads.items()
        logits = {name: head(row) for (name, head), row in zip(heads, rows, strict=True)}
        guess = self.first_room(room_features(batch)).clamp(0.02, 0.98)
        logits["reverb"] = logits["reverb"] + torch.logit(guess)
        units = {name: torch.sigmoid(value) for name, value in logits.items()}
        return Settings(torch.sigmoid(knobs), types.softmax(-1), units)

    def guess_db(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(b, 5) dB: the first guess of the gains, a smooth function of the curve asked for."""
        return self.first_gains(nearness(asked_curve(batch), self.centres))


def room_features(batch: Mapping[str, Tensor]) -> Tensor:
    """(b, 405): the sentence as one vector of length 1, and the sum of the hints."""
    pieces, hints = ((batch[n] * batch[f"{n}_mask"][..., None]).sum(1) for n in ("pieces", "hints"))
    return torch.cat([F.normalize(pieces, dim=-1), _ROOM_HINT_WEIGHT * hints], dim=-1)


def asked_curve(batch: Mapping[str, Tensor]) -> Tensor:
    """(b, 6): the curve that all hints together ask for, in units of 4 dB."""
    return (batch["hints"][..., :N_ANCHORS] * batch["hints_mask"][..., None]).sum(1)


def nearness(curves: Tensor, centres: Tensor) -> Tensor:
    """(b, 6) and (n, 6) curves in units of 4 dB -> (b, n), Gaussian in their distance."""
    distance2 = (curves[:, None] - centres).square().sum(-1)
    return torch.exp(-distance2 / (2 * _BASIS_WIDTH**2))


def lexicon_curves() -> Tensor:
    """(n, 6): the different curves of the lexicon, in units of 4 dB."""
    curves = {meaning.eq_db for meaning in lexicon().values() if meaning.has_tone}
    return torch.tensor(sorted(curves), dtype=torch.float32) / HINT_DB


def build(config: Config) -> TextToEffects:
    """A model with random weights that depend on the plan's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.plan.seed)
        return TextToEffects(config)
