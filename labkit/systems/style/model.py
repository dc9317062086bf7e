"""The processor (equaliser and compressor), the network that sets it, and their use."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.chain import Chain, ChainSpace, Step
from labkit.learn.training import Plan
from labkit.signal.files import AudioError, check_audio, resample, to_mono, write_audio
from labkit.signal.paths import replace_text
from labkit.signal.seeds import seeded
from labkit.signal.spectra import log_mel
from labkit.signal.units import amplitude_to_db, db_to_amplitude
from labkit.systems import system

# Every sound goes in and comes out at this peak: a recording's level does not belong to its style.
PEAK = db_to_amplitude(-12)
_SILENT = 1e-5
# Log-mel levels are centred and scaled to about -1..1.
_FLOOR_DB, _MIDDLE_DB, _SCALE_DB = -110.0, -65.0, 35.0
_LEVEL_QUANTILES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
# Five bands of +-18 dB, then a compressor with all its knobs.
_PEDALS = ChainSpace(
    (
        ("low_shelf", {"cutoff_frequency_hz": 200.0, "q": 0.7}),
        ("peak", {"cutoff_frequency_hz": 500.0, "q": 0.8}),
        ("peak", {"cutoff_frequency_hz": 1200.0, "q": 0.8}),
        ("peak", {"cutoff_frequency_hz": 2800.0, "q": 0.8}),
        ("high_shelf", {"cutoff_frequency_hz": 5500.0, "q": 0.7}),
        ("compressor", {}),
    )
)
_BANDS = ("bass_db", "500_hz_db", "1200_hz_db", "2800_hz_db", "treble_db")

Gradient = Literal["autodiff", "spsa", "proxy", "regression"]
GRADIENTS: tuple[Gradient, ...] = ("autodiff", "spsa", "proxy", "regression")


@dataclass(frozen=True)
class Sound:
    """The training examples and their log-mel spectrograms."""

    sample_rate: int = 22_050  # Hz
    seconds: float = 1.0  # length of the clip that is processed and compared with its target
    encoder_seconds: float = 3.0  # length of recording and reference at the encoder's input
    n_mels: int = 64  # number of mel bands
    n_examples: int = 4000  # number of different examples, which are used repeatedly


@dataclass(frozen=True)
class Net:
    """The networks, and how their gradient passes the processor."""

    width: int = 128  # width of the networks' layers
    # how to learn: from the sound, through differentiable effects (autodiff), pedalboard (spsa) or
    # a network that imitates it (proxy); or from the true parameters (regression)
    gradient: Gradient = "autodiff"
    proxy_steps: int = 1200  # steps that first train the proxy

    def __post_init__(self) -> None:
        if self.gradient not in GRADIENTS:
            raise ValueError(
                f"gradient must be one of {', '.join(GRADIENTS)}, got {self.gradient!r}"
            )


@dataclass(frozen=True)
class Config(system.Config):
    """Everything that decides a style network."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(
        default_factory=lambda: Plan(steps=2400, batch_size=8, learning_rate=7e-4, warmup_steps=50)
    )


NAMES = (*_BANDS, *_PEDALS.spaces[-1].names)


def render(audio: np.ndarray, sample_rate: int, params_unit: np.ndarray) -> np.ndarray:
    """Five bands and a compressor by pedalboard: (channels, samples), (9,) in 0..1 -> float32."""
    return at_peak(_PEDALS.from_unit(params_unit).render(audio, sample_rate))


def differentiable(audio: Tensor, sample_rate: int, params_unit: Tensor) -> Tensor:
    """The same in torch, in batches: (b, channels, samples) and (b, 9)."""
    wet = _PEDALS.render_batch(audio, sample_rate, params_unit)
    return wet * (PEAK / wet.abs().amax((1, 2), keepdim=True).clamp_min(_SILENT))


def at_peak(audio: np.ndarray) -> np.ndarray:
    """(channels, samples) brought to a peak of -12 dBFS; silence stays silent."""
    return (audio * (PEAK / max(float(np.abs(audio).max()), _SILENT))).astype(np.float32)


class Encoder(nn.Module):
    """A log-mel spectrogram of any length becomes one vector.

    A style changes the average spectrum and the dynamics, so these are measured; convolutions,
    averaged by a learnt weight, add to them. The vector is a linear function of the measures plus a
    nonlinear one of everything: the difference of two vectors then holds the spectral change.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, n_mels = config.net.width, config.sound.n_mels
        n_measures = 6 * n_mels + len(_LEVEL_QUANTILES) + 1
        self.register_buffer("middle", torch.zeros(n_measures))
        self.register_buffer("scale", torch.ones(n_measures))
        self.linear = nn.Linear(n_measures, width)
        self.conv = nn.Conv1d(n_mels, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**k, dilation=2**k) for k in range(2)
        )
        self.attention = nn.Conv1d(width, 1, 1, bias=False)
        self.nonlinear = nn.Sequential(
            nn.Linear(2 * width + n_measures, width), nn.GELU(), nn.Linear(width, width)
        )

    def standardise(self, spectrograms: Tensor) -> None:
        """From then on the measures of (n, n_mels, frames) have mean 0 and deviation 1."""
        measured = measures(spectrograms)
        self.middle.copy_(measured.mean(0))
        self.scale.copy_(measured.std(0) + 0.01)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(b, n_mels, frames) -> (b, width)."""
        measured = (measures(spectrogram) - self.middle) / self.scale
        h = nn.functional.gelu(self.conv(spectrogram))
        for block in self.blocks:
            h = h + nn.functional.gelu(block(h))
        share = self.attention(h).softmax(-1)
        mean = (share * h).sum(-1)
        deviation = (share * (h - mean[..., None]).square()).sum(-1).add(1e-5).sqrt()
        return self.linear(measured) + self.nonlinear(torch.cat([mean, deviation, measured], dim=1))


def measures(spectrogram: Tensor) -> Tensor:
    """(b, n_mels, frames) -> (b, 6 n_mels + 9): levels over time, of each band and of the sound."""
    power = 10 ** (spectrogram * (_SCALE_DB / 10))
    bands = [torch.log10(power.mean(-1)), spectrogram.mean(-1), spectrogram.std(-1)]
    quantiles = spectrogram.new_tensor((0.1, 0.5, 0.9))
    bands += [*torch.quantile(spectrogram, quantiles, dim=-1)]
    level = torch.log10(power.sum(1))
    levels = torch.quantile(level, level.new_tensor(_LEVEL_QUANTILES), dim=-1).T
    return torch.cat([*bands, levels, level.std(-1, keepdim=True)], dim=1)


class StyleModel(nn.Module):
    """Two recordings -> the parameters that bring the first to the style of the second."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        width, n_params = config.net.width, len(NAMES)
        self.linear = nn.Linear(3 * width, n_params)
        self.nonlinear = nn.Sequential(
            nn.Linear(3 * width, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, n_params),
        )
        # All parameters start in the middle, where the equaliser is flat.
        for layer in (self.linear, self.nonlinear[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, plain: Tensor, reference: Tensor) -> Tensor:
        """Two log-mel spectrograms (b, n_mels, frames) -> (b, 9) in 0..1."""
        a, b = self.encoder(plain), self.encoder(reference)
        both = torch.cat([a, b, b - a], dim=1)
        return torch.sigmoid(self.linear(both) + self.nonlinear(both))


def build(config: Config) -> StyleModel:
    """An untrained model; its weights depend on the plan's seed, not on the gradient."""
    return seeded(lambda: StyleModel(config), config.plan.seed, "style")


def features(config: Config, audio: Tensor) -> Tensor:
    """(b, samples) at a peak of -12 dBFS -> log-mel (b, n_mels, frames), about -1 to 1."""
    sound = config.sound
    spectrogram = log_mel(audio, sound.sample_rate, n_mels=sound.n_mels, floor_db=_FLOOR_DB)
    return (spectrogram - _MIDDLE_DB) / _SCALE_DB


def features_of(
    config: Config, audio: np.ndarray, sample_rate: int, *, name: str = "audio"
) -> Tensor:
    """The features of any recording (channels, samples): (1, n_mels, frames), without silence.

    Raises AudioError, which calls the audio `name`, if it is empty, silent or not finite.
    """
    mono = to_mono(check_audio(audio, sample_rate, name=name))
    mono = resample(mono, sample_rate, config.sound.sample_rate)
    if float(np.abs(mono).max()) < _SILENT:
        raise AudioError(f"{name} is silent (peak below -100 dBFS): it has no style")
    found = features(config, torch.from_numpy(at_peak(mono)))
    found = found[..., found[0].amax(0) > (_FLOOR_DB + 0.1 - _MIDDLE_DB) / _SCALE_DB]
    return found if found.shape[-1] > 1 else found.repeat(1, 1, 2)  # one frame has no deviation


@dataclass(frozen=True)
class Transfer:
    """A recording in another's style, at a peak of -12 dBFS."""

    audio: np.ndarray
    params_unit: np.ndarray
    settings: dict[str, float]  # in physical units
    chain: Chain  # makes the sound of the recording as it was


@torch.no_grad()
def predict(
    model: StyleModel,
    audio: np.ndarray,
    sample_rate: int,
    *,
    reference: np.ndarray,
    reference_rate: int | None = None,
) -> Transfer:
    """A recording treated like another one, which may be of anything, of any length.

    Channels share the parameters; `reference_rate` is `sample_rate` when None. Raises AudioError if
    audio or reference is empty, silent or not finite; ValueError for a rate below 16000 Hz.
    """
    audio = check_audio(audio, sample_rate)
    if sample_rate < 16_000:  # the highest band lies at 5.5 kHz
        raise ValueError(f"sample_rate must be at least 16000 Hz, got {sample_rate}")
    plain = features_of(model.config, audio, sample_rate)
    wanted = features_of(model.config, reference, reference_rate or sample_rate, name="reference")
    params_unit = model(plain, wanted)[0].double().numpy()
    steps = _to_peak(audio) + _PEDALS.from_unit(params_unit).steps
    steps += _to_peak(Chain(steps).render(audio, sample_rate))
    chain = Chain(steps)
    parts = zip(_PEDALS.spaces, _PEDALS.columns, strict=True)
    values = [v for space, part in parts for v in space.from_unit(params_unit[part]).values()]
    settings = dict(zip(NAMES, values, strict=True))
    return Transfer(chain.render(audio, sample_rate), params_unit, settings, chain)


def _to_peak(audio: np.ndarray) -> tuple[Step]:
    gain_db = amplitude_to_db(PEAK / max(float(np.abs(audio).max()), _SILENT))
    return (Step("gain", {"gain_db": gain_db}),)


def write(found: Transfer, sample_rate: int, sound: Path, settings: Path, code: Path) -> None:
    """Write a sound (24-bit wav), its settings (JSON) and code that makes it of the recording."""
    sound.parent.mkdir(parents=True, exist_ok=True)
    write_audio(sound, found.audio, sample_rate, subtype="PCM_24")
    facts = {
        "settings": found.settings,
        "params_unit": found.params_unit.tolist(),
        "sample_rate": sample_rate,
    }
    replace_text(settings, json.dumps(facts, indent=1) + "\n")
    replace_text(code, found.chain.to_code() + "\n")
