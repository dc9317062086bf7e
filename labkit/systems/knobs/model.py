"""What the network hears of a clip, and how it reads the knobs of a known chain of pedals.

Beside the log-mel spectrogram it hears ripples along frequency, which show delays. It looks up a
delay or a rate where the sound shows it: bin b of a knob in s or Hz reads the strength of ripples
at that delay, or of modulation at that rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.chain import Chain, chain_space
from labkit.effects.registry import effect
from labkit.learn.encoders import ConvStem
from labkit.learn.training import Plan
from labkit.learn.transformer import Encoder
from labkit.signal.seeds import seeded
from labkit.signal.spectra import ripples, stft
from labkit.systems import system
from labkit.systems.pedal_order.config import NINE, Names, Sound
from labkit.systems.pedal_order.model import feature_shape, features

# Delays in s: of a frame's cells, and of those of a whole clip. Bands in Hz.
FRAME_EDGES = tuple(np.linspace(1e-3, 30e-3, 97).tolist())
CLIP_EDGES = tuple(np.geomspace(10e-3, 0.95, 193).tolist())
FRAME_BANDS = ((100.0, 3000.0), (1000.0, 12000.0))
CLIP_BANDS = ((100.0, 1500.0), (1000.0, 5000.0), (4000.0, 14000.0))
# A knob is a guess where its standard deviation is above this; of one drawn evenly it is .29.
GUESS = 0.25
# A delay with a smaller one is looked for again, in steps of so many seconds.
SURE, _EXACT_SECONDS = 0.1, 2.5e-4
_RATE_FFT = 128  # frames, with zeros at the end, of the spectrum of modulation
_PROFILES = 8  # channels in which a value is looked up


@dataclass(frozen=True)
class Net:
    """The network's sizes."""

    pedals: tuple[str, ...] = NINE  # whose knobs it reads
    n_bins: int = 16  # cells of a knob's range
    width: int = 192  # channels of the encoder
    n_heads: int = 4  # attention heads
    encoder_layers: int = 2  # transformer layers that read the audio
    channels: tuple[int, ...] = (16, 32, 64, 112, 160)  # of the convolutions before the encoder
    hidden: int = 384  # width of the layers that put together what was heard
    dropout: float = 0.1  # dropout rate, 0 to 1


@dataclass(frozen=True)
class Config(system.Config):
    """Settings of the reader of knobs."""

    sound: Sound = field(
        default_factory=lambda: Sound(("nine", "six", "wide", "nine"), behind_share=0.3)
    )
    net: Net = field(default_factory=Net)
    plan: Plan = field(
        default_factory=lambda: Plan(
            4000, 64, 1e-3, warmup_steps=100, decay_share=0.7, weight_decay=0.02, n_workers=2
        )
    )

    def __post_init__(self) -> None:
        if self.sound.use_dry:
            raise ValueError("use_dry must be off: the reader of knobs hears the wet sound alone")


def knobs_of(pedals: Sequence[str]) -> list[tuple[str, str]]:
    """(pedal, knob) of each knob, pedal by pedal."""
    return [(pedal, knob) for pedal in pedals for knob in effect(pedal).space.names]


def delays_of(wet: Tensor, sound: Sound) -> dict[str, Tensor]:
    """Ripples of the spectra of a clip along frequency, whatever its level.

    Args:
        wet: (..., samples).

    Returns:
        ``ripples`` (..., 2, 96, frames / 2): of frames, in two bands, log(1 + dB).
        ``echoes`` (..., 3, 192): of the clip, in three bands, log of their ratio to the median.
    """
    frames = stft(_at_level(wet), n_fft=sound.n_fft, hop_length=2 * sound.hop_length)
    frames, bin_hz = frames.transpose(-1, -2), sound.sample_rate / sound.n_fft
    of_frames = [
        ripples(frames, bin_hz, FRAME_EDGES, low_hz=low, high_hz=high, smooth_hz=600, range_db=60)
        for low, high in FRAME_BANDS
    ]
    echoes = _clip_ripples(wet, sound, CLIP_EDGES)
    usual = echoes.median(-1, keepdim=True).values.clamp(min=1e-6)
    return {
        "ripples": torch.stack(of_frames, -3).transpose(-1, -2).log1p(),
        "echoes": (echoes / usual).clamp(min=1e-3).log(),
    }


def _clip_ripples(wet: Tensor, sound: Sound, edges: tuple[float, ...]) -> Tensor:
    """(..., 3, cells): ripples of the spectrum of whole clips (..., samples), in three bands."""
    window = torch.hann_window(wet.shape[-1]).to(wet).sqrt()
    whole, bin_hz = torch.fft.rfft(_at_level(wet) * window), sound.sample_rate / wet.shape[-1]
    of_clip = [
        ripples(whole, bin_hz, edges, low_hz=low, high_hz=high, smooth_hz=100, range_db=80)
        for low, high in CLIP_BANDS
    ]
    return torch.stack(of_clip, -2)


def _at_level(wet: Tensor) -> Tensor:
    return 0.1 * wet / wet.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-8)


class Ear(nn.Module):
    """The convolutions and the encoder of a network of pedal order; they are not trained here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        net = config.net
        self.stem = ConvStem(config.sound.n_mels, net.width, net.channels)
        n_frames = feature_shape(config.sound)[1]
        self.encoder = Encoder(net.width, net.n_heads, net.encoder_layers, max_length=n_frames)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, clips: Tensor) -> Tensor:
        """(b, n_mels, frames) -> (b, frames / 2, width)."""
        return self.encoder(self.stem(clips))


def _halving(n_in: int, n_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, stride=(2, 1), padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class Lookup(nn.Module):
    """Finds knobs whose values the sound shows, and reads how strongly it shows them there.

    Args:
        knobs: (pedal, knob) of all knobs; those called `name` are looked up.
        cells: the values, in the unit of that knob, for which the sound is shown.
        n_shown: channels of what is shown.
    """

    def __init__(
        self, knobs: Sequence[tuple[str, str]], name: str, cells: np.ndarray, n_shown: int, net: Net
    ) -> None:
        super().__init__()
        self.rows = [row for row, (_, knob) in enumerate(knobs) if knob == name]
        self.profile = nn.Conv1d(n_shown, _PROFILES, 3, padding=1)
        self.trust = nn.Linear(net.hidden, len(self.rows) * _PROFILES)
        self.n_strengths = 2 * len(self.rows) * _PROFILES
        # Where each bin looks, and twice as far: the second echo, the second harmonic.
        parameters = [effect(knobs[row][0]).space[name] for row in self.rows]
        units = (np.arange(net.n_bins) + 0.5) / net.n_bins
        values = np.array([[p.from_unit(unit) for unit in units] for p in parameters])
        weights = [
            [np.interp(k * values, cells, one) for one in np.eye(len(cells))] for k in (1, 2)
        ]
        # (1 or 2, cells, knobs, bins): linear interpolation between the two nearest cells
        self.register_buffer("at", torch.tensor(np.array(weights)).float(), persistent=False)

    def forward(self, shown: Tensor, hidden: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Better `logits` (b, knobs, n_bins), and (b, n_strengths), from (b, n_shown, cells)."""
        seen = torch.einsum("bpc,mckn->bkmpn", self.profile(shown), self.at)
        trust = self.trust(hidden).view(len(hidden), len(self.rows), _PROFILES, 1)
        rows = torch.tensor(self.rows, device=logits.device)
        logits = logits.index_add(1, rows, (trust * seen[:, :, 0]).sum(2))
        share = logits[:, rows].softmax(-1)[:, :, None, None]
        return logits, (seen * share).sum(-1).flatten(1)


def _middles(edges: Sequence[float]) -> np.ndarray:
    return (np.array(edges[:-1]) + np.array(edges[1:])) / 2


class KnobModel(nn.Module):
    """Reads the knobs of a chain whose pedals and order are known."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net, sound = config.net, config.sound
        n_pedals = len(net.pedals)
        self.knobs = knobs_of(net.pedals)
        self.ear, self.has_ear = Ear(config), False
        n_bands, n_cells = len(FRAME_BANDS), len(FRAME_EDGES) - 1
        self.comb = nn.Sequential(
            nn.BatchNorm2d(n_bands), _halving(n_bands, 16), _halving(16, 24), _halving(24, 32)
        )
        self.teeth = nn.Conv1d(n_cells // 8 * 32, 96, 1)
        self.frames = nn.Sequential(
            nn.Conv1d(net.width + 96, 128, 5, padding=2, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Conv1d(128, 128, 5, padding=2),
        )
        self.echoes = nn.Sequential(
            nn.BatchNorm1d(len(CLIP_BANDS)), nn.Conv1d(len(CLIP_BANDS), 16, 5, padding=2), nn.ReLU()
        )
        self.rates = nn.Conv1d(128, 32, 1)
        n_rates = _RATE_FFT // 2
        vectors = {
            "echoes": 16 * (len(CLIP_EDGES) - 1),
            "rates": 32 * n_rates,
            "delays": 2 * n_bands * n_cells,
            "chain": n_pedals + n_pedals**2,
        }
        self.vectors = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(n, 96), nn.ReLU()) for name, n in vectors.items()}
        )
        self.together = nn.Sequential(
            nn.Linear(2 * net.width + 3 * 128 + 96 * len(vectors), net.hidden),
            nn.ReLU(),
            nn.Dropout(net.dropout),
            nn.Linear(net.hidden, net.hidden),
            nn.ReLU(),
            nn.Dropout(net.dropout),
        )
        self.logits = nn.Linear(net.hidden, len(self.knobs) * net.n_bins)
        frame_rate = sound.sample_rate / (2 * sound.hop_length)
        rates_hz = np.arange(1, n_rates + 1) * frame_rate / _RATE_FFT
        clip_s, frame_ms = _middles(CLIP_EDGES), 1000 * _middles(FRAME_EDGES)
        self.lookups = nn.ModuleDict(
            {
                "echoes": Lookup(self.knobs, "delay_seconds", clip_s, 16, net),
                "delays": Lookup(self.knobs, "centre_delay_ms", frame_ms, 2 * n_bands, net),
                "rates": Lookup(self.knobs, "rate_hz", rates_hz, 32, net),
            }
        )
        n_strengths = sum(lookup.n_strengths for lookup in self.lookups.values())
        self.strengths = nn.Sequential(
            nn.Linear(net.hidden + n_strengths, net.hidden),
            nn.ReLU(),
            nn.Linear(net.hidden, len(self.knobs) * net.n_bins),
        )

    @torch.no_grad()
    def hear(self, wet: Tensor) -> dict[str, Tensor]:
        """``frames`` (b, frames / 2, width) of the ear, and `delays_of`, of clips (b, samples)."""
        sound = self.config.sound
        return {"frames": self.ear(features(wet, sound)), **delays_of(wet, sound)}

    def forward(self, heard: Mapping[str, Tensor], place: Tensor) -> Tensor:
        """Logits (b, knobs, n_bins) from what `hear` gives, for chains `place` (b, n_pedals).

        `place` is the pedal's place in the chain, -1 where it is not there. Knobs are those of all
        pedals, in the order of `knobs`.
        """
        encoded = heard["frames"]
        comb = heard["ripples"][..., : encoded.shape[1]]
        teeth = self.teeth(self.comb(comb).flatten(1, 2))
        moving = self.frames(torch.cat([encoded.transpose(1, 2), teeth], dim=1))
        rates = self.rates(moving)
        rates = (rates - rates.mean(-1, keepdim=True)) * torch.hann_window(
            rates.shape[-1], device=rates.device
        )
        rates = torch.fft.rfft(rates, _RATE_FFT).abs()[..., 1:].log1p()
        echoes = self.echoes(heard["echoes"])
        delays = torch.cat([comb.mean(-1), comb.amax(-1)], dim=1)
        moving = moving.relu()
        present = (place >= 0).float()
        both = present.unsqueeze(2) * present.unsqueeze(1)
        before = (place.unsqueeze(2) < place.unsqueeze(1)).float() * both
        vectors = {"echoes": echoes, "rates": rates, "delays": delays}
        vectors["chain"] = torch.cat([present, before.flatten(1)], dim=1)
        parts = [self.vectors[name](vector.flatten(1)) for name, vector in vectors.items()]
        parts += [encoded.mean(1), encoded.amax(1)]
        parts += [moving.mean(-1), moving.amax(-1), moving.std(-1)]
        hidden = self.together(torch.cat(parts, dim=1))
        logits = self.logits(hidden).view(len(place), len(self.knobs), -1)
        read = [hidden]
        for name, lookup in self.lookups.items():
            logits, strengths = lookup(vectors[name], hidden, logits)
            read.append(strengths)
        return logits + self.strengths(torch.cat(read, dim=1)).view(logits.shape)


def build(config: Config) -> KnobModel:
    """A model with random weights, which depend on the plan's seed alone."""
    return seeded(lambda: KnobModel(config), config.plan.seed, "knobs")


def spread(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (..., knobs), in 0..1, of logits (..., knobs, n_bins)."""
    share = logits.softmax(-1)
    centres = (torch.arange(logits.shape[-1], device=logits.device) + 0.5) / logits.shape[-1]
    mean = share @ centres
    return mean, (share @ centres.square() - mean.square()).clamp(min=0).sqrt()


def place_of(names: Names, pedals: Sequence[str]) -> list[int]:
    """The place of each of `pedals` in a chain; -1 where it is not there."""
    return [names.index(pedal) if pedal in names else -1 for pedal in pedals]


class Reading(NamedTuple):
    """A chain with the knobs that were read."""

    chain: Chain  # every knob at its mean
    guesses: dict[str, list[str]]  # of each pedal, the knobs that are a guess, see `GUESS`
    votes: Tensor  # (knobs, n_bins) log-probabilities, of all pedals that the network knows


@torch.inference_mode()
def read(model: KnobModel, clips: np.ndarray, names: Names) -> Reading:
    """The knobs of a chain of these pedals, each one that the network knows.

    `clips` (windows, samples) of one recording vote; float32, at the rate of the config.
    """
    pedals, heard = model.config.net.pedals, torch.from_numpy(clips)
    place = torch.tensor([place_of(names, pedals)]).expand(len(clips), -1)
    votes = model(model.hear(heard), place).log_softmax(-1).mean(0)
    mean, deviation = spread(votes)
    unit, doubt = (dict(zip(model.knobs, one.tolist(), strict=True)) for one in (mean, deviation))
    delay = ("delay", "delay_seconds")
    if "delay" in names and doubt[delay] < SURE:
        parameter = effect("delay").space["delay_seconds"]
        exact = exact_delay(heard, model.config.sound, parameter.from_unit(unit[delay]))
        unit[delay] = parameter.to_unit(float(np.clip(exact, parameter.low, parameter.high)))
    own = [(name, knob) for name in names for knob in effect(name).space.names]
    chain = chain_space(names).from_unit(np.array([unit[one] for one in own]))
    guesses: dict[str, list[str]] = {}
    for name, knob in own:
        if doubt[name, knob] > GUESS:
            guesses.setdefault(name, []).append(knob)
    return Reading(chain, guesses, votes)


def exact_delay(wet: Tensor, sound: Sound, seconds: float) -> float:
    """The delay within an eighth of `seconds` at which clips (b, samples) ripple most."""
    edges = tuple(np.arange(seconds * 7 / 8, seconds * 9 / 8, _EXACT_SECONDS).tolist())
    strength = _clip_ripples(wet, sound, edges)
    strength = strength / strength.median(-1, keepdim=True).values.clamp(min=1e-6)
    return float(_middles(edges)[int(strength.mean((0, 1)).argmax())])


@lru_cache(maxsize=1)
def shipped() -> KnobModel:
    """The shipped reader of knobs."""
    from labkit.systems.knobs import load  # it imports this module

    return load()
