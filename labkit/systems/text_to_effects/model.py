"""The network: a sentence and a sound attend to each other, and every effect asks both what it should do."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.systems.text_to_effects.config import SENTENCE_WIDTHS, Config
from labkit.systems.text_to_effects.grammar import vocabulary
from labkit.systems.text_to_effects.inputs import HINT_DEGREE, HINT_WIDTH
from labkit.systems.text_to_effects.lexicon import ANCHORS_HZ
from labkit.systems.text_to_effects.preset import BAND, SPACES, Band, Preset
from labkit.systems.text_to_effects.response import START, TYPES, curve_db, fitted_gains_db

EFFECTS = tuple(SPACES)
N_ANCHORS = len(ANCHORS_HZ)
# How far a curve of the lexicon reaches, in units of 4 dB over its six anchors.
NEARNESS = 1.5
# What a hint counts beside the 384 numbers of a sentence in the first guess of the room.
_HINT_SHARE = 0.3
# Where the heads start, as units: nothing is done to the sound.
_START_UNIT = {
    "pitch": (0.5,),
    "distortion": (0.06, 0.5),
    "compressor": (0.65, 0.05, 0.6, 0.45),
    "reverb": (0.5, 0.2, 0.8, 0.4, 0.06),
}


class Settings(NamedTuple):
    """What the network says of a batch, all differentiable.

    Attributes:
        band_unit: (b, 5, 3), knobs of the bands in 0..1.
        type_shares: (b, 5, 5), how much of each type a band is.
        units: effect -> (b, knobs) in 0..1.
    """

    band_unit: Tensor
    type_shares: Tensor
    units: dict[str, Tensor]

    def eq_curve_db(self) -> Tensor:
        """(b, 40) dB."""
        return curve_db(
            *(BAND.from_unit_batch(self.band_unit)[name] for name in BAND.names), self.type_shares
        )

    def hard(self) -> "Settings":
        """The same with every band of one type alone, as an equaliser must be.

        The likeliest type is taken; a pass, which takes a whole side of the spectrum away, only with half of the share.
        """
        rash = self.type_shares.new_tensor([kind.endswith("pass") for kind in TYPES]) * (
            self.type_shares < 0.5
        )
        shares = functional.one_hot((self.type_shares - rash).argmax(-1), len(TYPES)).to(
            self.type_shares
        )
        return self._replace(type_shares=shares)

    def straight(self) -> "Settings":
        """As `hard` where it is heard, as the mixture where gradients pass: what is trained is what will be used.

        Source: Bengio, Leonard and Courville 2013 (straight-through estimator).
        """
        return self._replace(
            type_shares=self.hard().type_shares + self.type_shares - self.type_shares.detach()
        )

    def preset(self, row: int) -> Preset:
        """One of the batch as a preset."""
        knobs = BAND.from_unit_batch(self.band_unit[row].detach().double())
        kinds = self.type_shares[row].argmax(-1).tolist()
        bands = [
            Band(TYPES[kind], *(float(knobs[name][band]) for name in BAND.names))
            for band, kind in enumerate(kinds)
        ]
        rest = {
            name: SPACES[name].from_unit(self.units[name][row].detach().double().numpy())
            for name in EFFECTS
        }
        return Preset(tuple(bands), **rest)


class Exchange(nn.Module):
    """Two sequences read each other, then each itself: bidirectional cross-attention with refinement.

    Args:
        width, n_heads, dropout: as in `Config`.

    Source: Tan and Bansal 2019 (LXMERT), cross-modality layer.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.text_asks, self.audio_asks = (
            _Ask(width, n_heads, dropout),
            _Ask(width, n_heads, dropout),
        )
        self.text_refines, self.audio_refines = (
            _Ask(width, n_heads, dropout),
            _Ask(width, n_heads, dropout),
        )

    def forward(self, text: Tensor, mask: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, d), (b, t) bool and (b, f, d) -> both sequences, richer."""
        asked = self.text_asks(text, audio)
        audio = self.audio_asks(audio, text, mask)
        return self.text_refines(asked, asked, mask), self.audio_refines(audio, audio)


class _Ask(nn.Module):
    """Attention into another sequence and a feed-forward layer, each on a normalised copy and added back."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.norm_memory, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, n_heads, dropout=dropout, batch_first=True)
        self.forward_layers = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        memory = self.norm_memory(memory)
        hidden = None if mask is None else ~mask
        told, _ = self.attention(
            self.norm(x), memory, memory, key_padding_mask=hidden, need_weights=False
        )
        x = x + told
        return x + self.forward_layers(self.norm_forward(x))


class TextToEffects(nn.Module):
    """Sentence and sound in, settings of every effect out.

    Each band and each effect has a query of its own, so that no two heads say the same.

    Args:
        config: sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, width = config, config.width
        piece_width = SENTENCE_WIDTHS[config.sentences]
        self.read_pieces = nn.Sequential(nn.Linear(piece_width, width), nn.LayerNorm(width))
        self.read_hints = nn.Sequential(
            nn.Linear(HINT_WIDTH, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
            nn.LayerNorm(width),
        )
        self.read_audio = nn.Linear(config.n_mels + 1, width)
        self.moment = nn.Parameter(0.02 * torch.randn(config.n_frames, width))
        self.drop = nn.Dropout(config.dropout)
        self.register_buffer("centres", hint_centres())
        self.guess = nn.Linear(len(self.centres), len(START))
        self.guess_room = nn.Linear(piece_width + HINT_WIDTH, len(SPACES["reverb"]))
        parts = (width, config.n_heads, config.dropout)
        self.exchanges = nn.ModuleList(Exchange(*parts) for _ in range(config.n_layers))
        self.queries = nn.Parameter(torch.randn(len(START) + len(EFFECTS), width))
        self.ask = nn.ModuleList(_Ask(*parts) for _ in range(2))
        self.agree = _Ask(*parts)
        self.norm = nn.LayerNorm(width)
        self.band_heads = nn.ModuleList(nn.Linear(width, len(BAND) + len(TYPES)) for _ in START)
        self.effect_heads = nn.ModuleDict(
            {name: nn.Linear(width, len(SPACES[name])) for name in EFFECTS}
        )
        self._begin_neutral()

    def _begin_neutral(self) -> None:
        with torch.no_grad():
            for head, (kind, hz, q) in zip(self.band_heads, START, strict=True):
                units = [BAND["frequency_hz"].to_unit(hz), 0.5, BAND["q"].to_unit(q)]
                kinds = 3.0 * functional.one_hot(torch.tensor(TYPES.index(kind)), len(TYPES))
                head.weight.zero_()
                head.bias.copy_(torch.cat([torch.logit(torch.tensor(units)), kinds]))
            self.guess.weight.zero_()
            self.guess.bias.zero_()
            self.guess_room.weight.zero_()
            self.guess_room.bias.copy_(torch.tensor(_START_UNIT["reverb"]))
            for name, head in self.effect_heads.items():
                head.weight.mul_(0.3)
                head.bias.copy_(torch.logit(torch.tensor(_START_UNIT[name])))
            self.effect_heads["reverb"].bias.zero_()  # `guess_room` says where the room starts
            self.effect_heads["reverb"].weight.mul_(0.1)

    def forward(self, batch: Mapping[str, Tensor]) -> Settings:
        """Settings for a batch of `inputs.read_prompts`, with `picture` (b, f, m) and `level_db` (b,)."""
        text = torch.cat(
            [self.read_hints(batch["hints"]), self.read_pieces(batch["pieces"])], dim=1
        )
        mask = torch.cat([batch["hints_mask"], batch["pieces_mask"]], dim=1)
        level = ((batch["level_db"] + 20) / 10)[:, None, None].expand(
            -1, batch["picture"].shape[1], 1
        )
        audio = self.read_audio(torch.cat([batch["picture"], level], dim=-1)) + self.moment
        text, audio = self.drop(text), self.drop(audio)
        for exchange in self.exchanges:
            text, audio = exchange(text, mask, audio)
        known = torch.cat([mask, mask.new_ones(audio.shape[:2])], dim=1)
        memory, asked = torch.cat([text, audio], dim=1), self.queries.expand(len(text), -1, -1)
        for ask in self.ask:
            asked = ask(asked, memory, known)
        asked = self.norm(self.agree(asked, asked))
        bands = torch.stack([head(asked[:, k]) for k, head in enumerate(self.band_heads)], dim=1)
        said = {
            name: head(asked[:, len(START) + k])
            for k, (name, head) in enumerate(self.effect_heads.items())
        }
        said["reverb"] = said["reverb"] + torch.logit(self.guessed_room(batch))
        units = {name: torch.sigmoid(value) for name, value in said.items()}
        knobs, kinds = bands.split([len(BAND), len(TYPES)], dim=-1)
        # 18 dB a band: the sigmoid's slope turns 9 dB into one unit of its input.
        gain = functional.pad(self.guess_db(batch)[..., None] / 9.0, (1, 1))
        knobs = knobs + gain
        return Settings(torch.sigmoid(knobs), kinds.softmax(-1), units)

    def guess_db(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(b, 5) dB: a first guess at the gains, a smooth function of what the hints ask for together."""
        return self.guess(self.nearness(asked_of(batch)))

    def guessed_room(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(b, 5) units: a first guess at the room, linear in the sentence's vector and what the hints ask for."""
        return self.guess_room(told_of(batch)).clamp(0.02, 0.98)

    def guessed_bands(self, batch: Mapping[str, Tensor], row: int) -> tuple[Band, ...]:
        """The first guess of one of the batch as an equaliser: every item for itself, times its signed degree.

        Nearness is no linear thing: the opposite of *thin* is minus what people do for *thin*, not what they do for a
        curve turned over.
        """
        hints = batch["hints"][row][batch["hints_mask"][row]]
        degree = hints[:, HINT_DEGREE, None]
        apart = (hints[:, :N_ANCHORS] / torch.where(degree.abs() < 0.05, 1.0, degree)).float()
        said = functional.linear(self.nearness(apart), self.guess.weight) * degree
        total = self.guess.bias + said.sum(0) / max(1, len(hints)) ** 0.5
        gains = total.clamp(BAND["gain_db"].low, BAND["gain_db"].high).tolist()
        return tuple(
            Band(kind, hz, gain, q) for (kind, hz, q), gain in zip(START, gains, strict=True)
        )

    def nearness(self, asked: Tensor) -> Tensor:
        """As the function `nearness`, to the model's own centres."""
        return nearness(asked, self.centres)


def told_of(batch: Mapping[str, Tensor]) -> Tensor:
    """(b, 405): the sentence as one vector of length 1, and beside it the sum of the hints."""
    sentence = functional.normalize(
        (batch["pieces"] * batch["pieces_mask"][..., None]).sum(1), dim=-1
    )
    return torch.cat(
        [sentence, _HINT_SHARE * (batch["hints"] * batch["hints_mask"][..., None]).sum(1)], dim=-1
    )


def asked_of(batch: Mapping[str, Tensor]) -> Tensor:
    """(b, 6): the curve that the hints ask for together, in units of 4 dB."""
    return (batch["hints"][..., :N_ANCHORS] * batch["hints_mask"][..., None]).sum(1)


def nearness(asked: Tensor, centres: Tensor) -> Tensor:
    """(b, 6), a curve asked for in units of 4 dB -> (b, centres), how near it is to each of the lexicon's curves."""
    return torch.exp(-(asked[:, None] - centres).square().sum(-1) / (2 * NEARNESS**2))


def hint_centres() -> Tensor:
    """(n, 6): the different curves of the lexicon, in units of 4 dB."""
    curves = {meaning.eq_db for meaning in vocabulary().values() if any(meaning.eq_db)}
    return torch.tensor(sorted(curves), dtype=torch.float32) / 4.0


@torch.no_grad()
def begin(
    model: TextToEffects, table: Mapping[str, Tensor], rows: Tensor, *, penalty: float = 0.3
) -> None:
    """Set the first guesses: ridge regressions from nearness to people's gains, and from the sentence to their room.

    Args:
        model: its `guess` and `guess_room` are overwritten.
        table: of `table.tensors`.
        rows: indices into it; each part learns from those that know it.
        penalty: of the squared weights of the first, against the sum of the rows' weights; the second's is 1.

    Source: radial basis functions with given centres (Broomhead and Lowe 1988).
    """
    toned = rows[table["curve_weight"][rows] > 0]
    if len(toned):
        near = model.nearness(
            asked_of({name: table[name][toned] for name in ("hints", "hints_mask")})
        )
        curves = model.config.db_per_unit * table["curve"][toned].double().numpy()
        gains = torch.from_numpy(np.stack([fitted_gains_db(curve) for curve in curves]))
        # Not centred: what is near nothing in the lexicon gets the mean gain.
        ridge_into(model.guess, near, gains, table["curve_weight"][toned], penalty, centred=False)
    rooms = rows[table["reverb_weight"][rows] > 0] if "reverb" in table else rows[:0]
    if len(rooms):
        told = told_of(
            {name: table[name][rooms] for name in ("pieces", "pieces_mask", "hints", "hints_mask")}
        )
        ridge_into(
            model.guess_room,
            told,
            table["reverb"][rooms],
            table["reverb_weight"][rooms],
            1.0,
            centred=True,
        )


@torch.no_grad()
def ridge_into(
    layer: nn.Linear,
    inputs: Tensor,
    outputs: Tensor,
    weight: Tensor,
    penalty: float,
    *,
    centred: bool,
) -> None:
    """The weighted least squares from inputs (n, k) to outputs (n, m) with a penalty, put into a layer.

    Args:
        layer: k inputs, m outputs; overwritten.
        inputs: (n, k).
        outputs: (n, m).
        weight: (n,).
        penalty: of the squared weights.
        centred: take the mean out of the inputs first.
    """
    inputs, outputs, weight = inputs.double(), outputs.double(), weight.double()[:, None]
    mean = (weight * outputs).sum(0) / weight.sum()
    middle = inputs.mean(0) if centred else torch.zeros_like(inputs[0])
    apart = inputs - middle
    normal = apart.T @ (weight * apart) + penalty * torch.eye(inputs.shape[1]).double()
    solved = torch.linalg.solve(normal, apart.T @ (weight * (outputs - mean))).T
    layer.weight.copy_(solved)
    layer.bias.copy_(mean - solved @ middle)


def build(config: Config) -> TextToEffects:
    """A fresh model whose weights depend on `config.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return TextToEffects(config)
