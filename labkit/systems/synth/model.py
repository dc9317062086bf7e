"""Features and pitch of a note, and the network that turns them into patches."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.synths.registry import SETS
from labkit.effects.synths.spec import SynthSpec
from labkit.learn.fields import MLPField, Regressor
from labkit.learn.flow import flow_loss
from labkit.learn.training import Plan
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.seeds import seeded, torch_generator
from labkit.signal.spectra import log_mel, power, stft
from labkit.signal.units import db_to_amplitude
from labkit.systems import system
from labkit.systems.synth.kosc import KoscModel

# The parameter set that needs no synthesizer installed: `labkit.effects.synths.kosc`.
KOSC = "kosc"


@dataclass(frozen=True)
class Sound:
    """What the network hears."""

    parameters: str = "vital_simple"  # parameter set: vital_..., surge_simple, or kosc
    seconds: float = 1.5  # length of the note at the network's input, as in the data set
    n_oscillators: int = 2  # number of oscillators of kosc

    def __post_init__(self) -> None:
        if self.parameters not in (*SETS, KOSC):
            known = ", ".join((*SETS, KOSC))
            raise ValueError(f"parameters must be one of {known}, got {self.parameters!r}")

    @property
    def spec(self) -> SynthSpec:
        return SETS[self.parameters]


@dataclass(frozen=True)
class Net:
    """The network: an encoder of the note, a flow that draws patches, and a regressor."""

    channels: tuple[int, ...] = (24, 48, 96, 128)  # channels of the encoder's convolutions
    hidden: int = 192  # width of the encoder's other layers
    condition: int = 192  # length of the vector that the encoder returns
    # width of the layers of flow and regressor; the flow of kosc has a third of it
    width: int = 192
    n_layers: int = 3  # layers of the flow
    dropout: float = 0.2  # dropout rate of the encoder's vector, 0 to 1
    averaging: float = 0.99  # share of the running mean of the weights that each step keeps


def _plan(**changes: int | float) -> Plan:
    usual = {"steps": 5000, "batch_size": 128, "learning_rate": 1e-3, "warmup_steps": 100}
    usual |= {"decay_share": 0.5, "weight_decay": 0.05, "checkpoint_every": 100}
    return Plan(**{**usual, **changes})


@dataclass(frozen=True)
class Config(system.Config):
    """See `labkit.systems.system.Config`."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(default_factory=_plan)


PRESETS = {
    "vital_simple": Config(),
    "vital_full": Config(Sound(parameters="vital_full"), Net(width=256), _plan(steps=8000)),
    "surge_simple": Config(Sound(parameters="surge_simple", seconds=4.0)),
    KOSC: Config(
        Sound(parameters=KOSC),
        Net(hidden=192),
        _plan(steps=2000, learning_rate=2e-3, weight_decay=0.0),
    ),
}

SAMPLE_RATE = 44_100
LEVEL_LUFS = -23.0
N_FFT, HOP_LENGTH, N_MELS = 2048, 1024, 64
LOW_HZ, HIGH_HZ = 30.0, 16_000.0
# The fine spectrum: three lines a semitone from C1 on; 1.3 Hz between bins.
FINE_FFT, PER_OCTAVE, N_LINES, FIRST_HZ = 32_768, 36, 312, 32.703
FLOOR_DB = -100.0
# Keys from C1 on, one for each three lines.
_N_KEYS = 96
# Moments and noises of the flow for each note of a batch: the field is cheaper than the encoder.
_N_MOMENTS = 4
# Keys that are looked for, every twentieth of a semitone.
GRID = np.arange(24.0, 98.0, 0.05)
_PITCH_FFT, _N_HARMONICS, _DECAY = 2**16, 10, 0.84
# Of pYIN, which needs no more: its weight beside the harmonic sum, chosen on validation notes.
_PYIN_RATE, _PYIN_FRAME, _PYIN_HOP, _PYIN_WEIGHT = 11_025, 1024, 256, 0.25
# In semitones: its votes are wider, so finer steps cost five times the time and change nothing.
_PYIN_STEP = 0.25
_QUIET_DB = -25.0


class Features(NamedTuple):
    """Of a note at `LEVEL_LUFS`, in dB."""

    mel: np.ndarray  # (N_MELS, frames) float16 log-mel
    lines: np.ndarray  # (N_LINES,) float16 mean power in each third of a semitone


def n_frames(seconds: float) -> int:
    """Frames of the log-mel of so much sound."""
    return 1 + round(seconds * SAMPLE_RATE) // HOP_LENGTH


def mono(audio: np.ndarray) -> np.ndarray:
    """(channels, samples) -> (1, samples), the mean."""
    return audio.mean(0, keepdims=True, dtype=np.float32)


def note_features(audio: np.ndarray, loudness: float | None = None) -> Features:
    """Features of a note (channels, samples) at 44.1 kHz; ValueError if it is silent.

    `loudness` in LUFS, if it is known.
    """
    single = mono(audio)
    loudness = loudness_lufs(single, SAMPLE_RATE) if loudness is None else loudness
    if not np.isfinite(loudness):
        raise ValueError("audio must not be silent")
    sound = torch.from_numpy(single * np.float32(db_to_amplitude(LEVEL_LUFS - loudness)))
    sizes = {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "n_mels": N_MELS}
    limits = {"low_hz": LOW_HZ, "high_hz": HIGH_HZ, "floor_db": FLOOR_DB}
    mel = log_mel(sound, SAMPLE_RATE, **sizes, **limits)[0].numpy()
    lines = _fine_spectrum(sound)
    return Features(mel.astype(np.float16), lines.astype(np.float16))


def _fine_spectrum(sound: Tensor) -> np.ndarray:
    """Mean power of every line in dB; 0 dB is a constant sine of full scale."""
    missing = max(0, FINE_FFT - sound.shape[-1])
    sound = nn.functional.pad(sound, (0, missing))
    mean = power(stft(sound, n_fft=FINE_FFT, hop_length=FINE_FFT // 4))[0].mean(-1)
    bands = _line_filters() @ (mean / ((FINE_FFT / 2) ** 2 / 4))
    return (10 * torch.log10(bands.clamp(min=10 ** (FLOOR_DB / 10)))).numpy()


@lru_cache(maxsize=1)
def _line_filters() -> Tensor:
    """(N_LINES, bins) triangles, as wide as two lines or four bins."""
    centre = FIRST_HZ * 2 ** (np.arange(N_LINES) / PER_OCTAVE)
    bins = np.arange(FINE_FFT // 2 + 1) * SAMPLE_RATE / FINE_FFT
    half = np.maximum(centre * (2 ** (1 / PER_OCTAVE) - 1), 2 * SAMPLE_RATE / FINE_FFT)
    rows = np.clip(1 - np.abs(bins - centre[:, None]) / half[:, None], 0, None)
    return torch.from_numpy(rows.astype(np.float32))


class Pitch(NamedTuple):
    """The pitch of a note, by harmonic sum and pYIN together: alone each errs by octaves."""

    key: float  # MIDI key with its fraction
    # pYIN's probability that there is a pitch, weighted by power: below .02 for noise, above .2 for
    # plucked notes, even damped ones
    certainty: float


def pitch_of(sound: np.ndarray, *, near: float | None = None) -> Pitch:
    """The pitch of (samples,) at 44.1 kHz, within half a semitone of `near` if that is given.

    Source: Mauch and Dixon 2014 (pYIN).
    """
    librosa = need("librosa")
    slow = resample(sound[None], SAMPLE_RATE, _PYIN_RATE)[0]
    sizes = {"frame_length": _PYIN_FRAME, "hop_length": _PYIN_HOP}
    options = {"fmin": 30.0, "fmax": 2100.0, "sr": _PYIN_RATE, "resolution": _PYIN_STEP, **sizes}
    hertz, voiced, probability = librosa.pyin(slow, **options)
    energy = librosa.feature.rms(y=slow, **sizes)[0] ** 2
    keys = librosa.hz_to_midi(np.where(voiced, hertz, 1.0))
    share = energy * voiced / max(energy.sum(), 1e-12)
    votes = (np.abs(keys - GRID[:, None]) < 0.5) @ share
    certainty = float(share @ probability)
    score = harmonic_sum(sound) + _PYIN_WEIGHT * votes
    if near is not None:
        score[np.abs(GRID - near) > 0.5] = -np.inf
    return Pitch(float(GRID[score.argmax()]), certainty)


def played_key(sound: np.ndarray) -> float:
    """The key of a synthesizer's note (samples,), by harmonic sum alone; NaN for silence."""
    return float(GRID[harmonic_sum(sound).argmax()]) if np.abs(sound).max() > 1e-6 else np.nan


def harmonic_sum(sound: np.ndarray) -> np.ndarray:
    """How well each key of the grid fits (samples,): harmonics minus the gaps below them, up to 1.

    Source: Hermes 1988; the gaps are those of Camacho and Harris 2008.
    """
    held = _held(sound)[:_PITCH_FFT]
    spectrum = np.sqrt(np.abs(np.fft.rfft(held * np.hanning(len(held)), _PITCH_FFT)))
    bins = 440 * 2 ** ((GRID[:, None] - 69) / 12) * _PITCH_FFT / SAMPLE_RATE
    order = np.arange(1, _N_HARMONICS + 1)
    weights = _DECAY**order
    places = np.arange(len(spectrum))
    on, between = (np.interp(bins * k, places, spectrum) @ weights for k in (order, order - 0.5))
    return (on - between) / max((on - between).max(), 1e-9)


def _held(sound: np.ndarray) -> np.ndarray:
    """From the loudest moment until 25 dB below it, at least a fifth of a second."""
    frames = sound[: len(sound) // 1024 * 1024].reshape(-1, 1024)
    level = np.sqrt(np.square(frames).mean(1))
    first = int(np.argmax(level))
    last = np.flatnonzero(level >= level[first] * db_to_amplitude(_QUIET_DB))[-1]
    return sound[1024 * first : 1024 * max(last + 1, first + 8)]


class Encoder(nn.Module):
    """Log-mel and fine spectrum to one vector."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        net = config.net
        for name, n in (("mel", N_MELS), ("lines", N_LINES)):
            self.register_buffer(f"{name}_mean", torch.full((n,), -70.0))
            self.register_buffer(f"{name}_deviation", torch.full((n,), 20.0))
        self.convolutions = nn.Sequential(*_convolutions(net.channels), nn.Flatten())
        with torch.no_grad():
            mel = torch.zeros(1, 1, N_MELS, n_frames(config.sound.seconds))
            n_flat = self.convolutions(mel).shape[1]
        self.from_mel = nn.Linear(n_flat, net.hidden)
        self.from_lines = nn.Sequential(
            nn.Linear(N_LINES + _N_KEYS, net.hidden), nn.GELU(), nn.Linear(net.hidden, net.hidden)
        )
        self.register_buffer("comb", _comb(), persistent=False)
        self.join = nn.Sequential(
            nn.LayerNorm(2 * net.hidden),
            nn.GELU(),
            nn.Dropout(net.dropout),
            nn.Linear(2 * net.hidden, net.condition),
        )

    def standardise(self, mel: np.ndarray, lines: np.ndarray) -> None:
        """Take mean and deviation of every band from (n, N_MELS, frames) and (n, N_LINES)."""
        for name, values in (("mel", mel), ("lines", lines)):
            bands = [values[:, k].astype(np.float64) for k in range(values.shape[1])]
            moments = torch.tensor([[band.mean(), max(band.std(), 1e-3)] for band in bands])
            getattr(self, f"{name}_mean").copy_(moments[:, 0])
            getattr(self, f"{name}_deviation").copy_(moments[:, 1])

    def forward(self, mel: Tensor, lines: Tensor) -> Tensor:
        """(b, N_MELS, frames) and (b, N_LINES), dB -> (b, condition)."""
        mel = (mel - self.mel_mean[:, None]) / self.mel_deviation[:, None]
        # The power on the harmonics of every key, so that pitch need not be learned.
        keys = (lines - lines.mean(1, keepdim=True)) @ self.comb / 10
        lines = torch.cat([(lines - self.lines_mean) / self.lines_deviation, keys], dim=1)
        parts = self.from_mel(self.convolutions(mel[:, None])), self.from_lines(lines)
        return self.join(torch.cat(parts, dim=1))


def _comb() -> Tensor:
    """(N_LINES, _N_KEYS): each key's first ten harmonics, falling, minus the gaps below them."""
    comb = torch.zeros(N_LINES, _N_KEYS)
    for key in range(_N_KEYS):
        for k in range(1, 11):
            line = round(3 * key + PER_OCTAVE * math.log2(k))
            gap = round(3 * key + PER_OCTAVE * math.log2(k - 0.5))
            for place, sign in ((line, 1.0), (gap, -1.0)):
                if 0 <= place < N_LINES:
                    comb[place, key] += sign * 0.84 ** (k - 1)
    return comb / 4


def _convolutions(channels: tuple[int, ...]) -> list[nn.Module]:
    """Each halves both axes."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *channels), channels, strict=False):
        size = 5 if before == 1 else 3
        layers += [nn.Conv2d(before, after, size, 2, size // 2), nn.GroupNorm(8, after), nn.GELU()]
    return layers


class SynthModel(nn.Module):
    """Patches for a note: many drawn by the flow, or the one mean patch of the regressor."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net = config.net
        n = config.sound.spec.size
        self.encoder = Encoder(config)
        self.field = MLPField(n, net.condition, width=net.width, n_layers=net.n_layers)
        self.regressor = Regressor(n, net.condition, width=net.width, n_layers=1)

    def forward(
        self, mel: Tensor, lines: Tensor, target: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses of flow and regressor; `number` (b,) names the examples and so the noise."""
        rng = torch_generator(self.config.plan.seed, "flow", int(number[0]))
        condition = self.encoder(mel, lines)
        several = (x.repeat_interleave(_N_MOMENTS, 0) for x in (target, condition))
        flow = flow_loss(self.field, *several, rng, drop=0.1)
        return flow, (self.regressor(condition) - target).square().mean()


def build(config: Config) -> nn.Module:
    """The model of a config, with weights that depend on the plan's seed alone."""
    kind = KoscModel if config.sound.parameters == KOSC else SynthModel
    return seeded(lambda: kind(config), config.plan.seed, "weights")
