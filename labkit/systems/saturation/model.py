"""The network's inputs, spectrograms and features measured from the waves, and the network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.linalg import solve_toeplitz, solveh_banded
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.effects.saturation import CURVES, MEMORYLESS, SPACE
from labkit.learn.encoders import MobileNetV2
from labkit.learn.training import Plan
from labkit.measure.align import align_signs
from labkit.signal.spectra import log_mel
from labkit.systems import system

CURVE_NAMES = tuple(CURVES)


@dataclass(frozen=True)
class Condition:
    """Whether the network gets the clean signal too, and what is done to the wet one."""

    name: str
    description: str  # for tables
    paired: bool = True
    curves: tuple[str, ...] = ("tanh",)  # each example draws one; the network is told a single one
    snr_db: float | None = None  # of white noise on the wet signal
    mp3: bool = False  # whether the wet signal is coded as MP3
    shift_ms: float = 0.0  # largest time shift of the clean signal, either way


_ALL = (
    Condition("level", "clean and wet, level unknown"),
    Condition("mp3", "clean and wet, up to 10 ms apart, MP3 between", shift_ms=10.0, mp3=True),
    Condition(
        "curve", "clean and wet, one of five curves, 40 dB SNR", curves=CURVE_NAMES, snr_db=40.0
    ),
    Condition("wet", "wet only", paired=False),
    Condition("wet_curve", "wet only, one of five curves", paired=False, curves=CURVE_NAMES),
)
CONDITIONS = {condition.name: condition for condition in _ALL}


@dataclass(frozen=True)
class Sound:
    """Clips and the encoder's log-mel spectrogram."""

    sample_rate: int = 44100  # Hz
    samples: int = 65536  # length of a wet clip
    # the clean clip is this much longer at both ends: the largest time shift between the two
    margin_ms: float = 30.0
    clip_seconds: float = 2.5  # length of the dry clips from which examples are cut
    augment_strength: float = 0.5  # strength of the augmentation of dry training sound; 0 is off
    # share of the examples, 0 to 1, that pass a cabinet, a room, a codec or the like afterwards
    behind_share: float = 0.0
    n_fft: int = 4096  # FFT length of the log-mel spectrogram, samples
    hop_length: int = 2048  # step between its frames, samples
    n_mels: int = 64  # number of its mel bands
    low_hz: float = 40.0  # lower edge of its lowest band
    high_hz: float = 18000.0  # upper edge of its highest band
    # number of different examples (10 kB each on disk); a longer training repeats them
    n_examples: int = 64000

    def __post_init__(self) -> None:
        least = self.samples + 4 * self.margin
        if round(self.clip_seconds * self.sample_rate) < least:
            raise ValueError(f"clip_seconds must hold {least} samples, got {self.clip_seconds}")

    @property
    def margin(self) -> int:
        """Samples by which a reference is longer than the clip on each side."""
        return round(self.margin_ms * self.sample_rate / 1000)


@dataclass(frozen=True)
class Net:
    """Sizes and loss."""

    width: float = 0.5  # size of the encoder (MobileNetV2): factor on its number of channels
    in_channels: int = 1  # copies of the spectrogram at the input of the encoder
    embedding: int = 128  # length of the vector that the encoder returns
    hidden: int = 256  # width of the layers that turn this vector into curve and depth
    dropout: float = 0.0  # dropout rate of these layers, 0 to 1
    features: bool = True  # give these layers statistics of the waveform too
    # what the depth is learnt from: parameter (error of the number), audio (MR-STFT distance after
    # the differentiable processor) or both. The curve is always learnt from its name
    loss: Literal["parameter", "audio", "both"] = "parameter"


_PLAN = Plan(
    steps=8000, batch_size=32, learning_rate=1e-3, warmup_steps=200, weight_decay=0.01, n_workers=2
)


@dataclass(frozen=True)
class Config(system.Config):
    """All settings of a saturation network; the defaults are those of the light model."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = _PLAN


LIGHT = Config()
# The size of the network that this system was modelled on; it gets spectrograms only.
BIG = LIGHT.but(width=2.0, in_channels=3, dropout=0.3, features=False, learning_rate=6e-4)

_DEPTH_RANGE = math.log(SPACE["depth"].high / SPACE["depth"].low)

_N_QUANTILES = 32
_INVERTIBLE = tuple(name for name in MEMORYLESS if CURVES[name].invert is not None)
_N_INVERSE_DEPTHS = 9
_BLOCK, _N_BLOCKS, _N_BANDS = 8192, 2, 10
# Levels (in units of the curve's input) up to which 16 bits can be inverted for each curve.
_LEVELS = {
    "tanh": (0.5, 1.0, 2.0, 3.0, 3.5, 4.0),
    "arctan": (0.5, 1.0, 2.0, 4.0, 6.0),
    "hard_clip": (0.4, 0.8, 0.95, 0.98),
    "cubic": (0.5, 1.1, 1.45),
}
# Above these, the samples of curves with a flat end are treated as missing and are filled in.
_FLAT_LEVELS = {"tanh": (2.0, 3.0, 3.7), "hard_clip": (0.97,), "cubic": (1.45,)}
_N_FILLED = 3
_ORDER = 48  # of the predictor that continues a wave into its missing samples
_N_INPUT_BINS = 48
_N_FIT_DEPTHS = 24
_FIT_SAMPLES = 4096

_N_PEAKS = sum(map(len, _LEVELS.values())) + sum(map(len, _FLAT_LEVELS.values()))
N_WET = _N_QUANTILES + 2 * _N_PEAKS + len(_INVERTIBLE) * _N_INVERSE_DEPTHS * _N_BANDS
N_PAIR = _N_QUANTILES + 4 * _N_INPUT_BINS + len(MEMORYLESS) * _N_FIT_DEPTHS + 1
N_FEATURES = N_WET + N_PAIR + 1


def network_inputs(
    config: Config, wet: np.ndarray, reference: np.ndarray | None
) -> dict[str, Tensor]:
    """The inputs of the network for a clip; both signals are brought to peak 1.

    From float32 wet (samples,) and reference (samples + 2 margins,): ``wet`` and ``reference``
    log-mel spectrograms (bands, frames), ``features`` (N_FEATURES,), and ``given`` (): 1 with a
    reference. Without one its parts are zeros.
    """
    sound = config.sound
    features = np.zeros(N_FEATURES, np.float32)
    wet_spectrogram = spectrogram(wet, sound)
    clean_spectrogram = torch.zeros_like(wet_spectrogram)
    if config.net.features:
        features[:N_WET] = wet_features(peak_normalised(wet), sound.sample_rate)
    if reference is not None:
        clean = reference[sound.margin : sound.margin + sound.samples]
        if config.net.features:
            clean, likeness = align_signs(reference, wet)
            features[N_WET:-1] = pair_features(
                peak_normalised(clean), peak_normalised(wet), likeness
            )
        clean_spectrogram = spectrogram(clean, sound)
        features[-1] = 1.0
    return {
        "wet": wet_spectrogram,
        "reference": clean_spectrogram,
        "features": torch.from_numpy(features),
        "given": torch.tensor(features[-1]),
    }


def peak_normalised(audio: np.ndarray) -> np.ndarray:
    """Float32 at peak 1; silence is left as it is."""
    peak = float(np.abs(audio).max())
    return np.ascontiguousarray(audio / np.float32(peak if peak > 1e-6 else 1.0), dtype=np.float32)


def spectrogram(audio: np.ndarray, sound: Sound) -> Tensor:
    """(samples,) -> (bands, frames): log-mel at peak 1, in units of 20 dB above -60 dB."""
    names = ("n_fft", "hop_length", "n_mels", "low_hz", "high_hz")
    sizes = {name: getattr(sound, name) for name in names}
    level_db = log_mel(torch.from_numpy(peak_normalised(audio)), sound.sample_rate, **sizes)
    return (level_db + 60.0) / 20.0


def wet_features(wet: np.ndarray, sample_rate: int) -> np.ndarray:
    """(N_WET,) float32 features of a wet signal (samples,) at peak 1.

    Log quantiles of the amplitudes; for each invertible curve and each of 9 depths the log power in
    10 bands after the inverse curve (the curve's harmonics vanish at the true depth); for each
    curve and several levels the peaks by `parabola_peaks` and `filled_tops`.
    """
    blocks = wet[: len(wet) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    loudest = np.argsort(-np.square(blocks).sum(1), kind="stable")[:_N_BLOCKS]
    loud = torch.from_numpy(blocks[np.sort(loudest)])
    depths = torch.logspace(0, 1, _N_INVERSE_DEPTHS)[:, None, None]
    # A clean peak of 1 leaves the curve at `bend(depth)`, so the wet peak is set to that level.
    inverted = [
        CURVES[name].invert(loud * CURVES[name].apply(depths)) / depths for name in _INVERTIBLE
    ]
    spectrum = torch.fft.rfft(torch.stack(inverted) * torch.hann_window(_BLOCK), dim=-1)
    power = (spectrum.real.square() + spectrum.imag.square()).sum(-2)
    bands = power @ _bands(sample_rate)
    shares = torch.log10(bands / power.sum(-1, keepdim=True).clamp(min=1e-12) + 1e-9)
    return np.concatenate([_quantiles(wet), shares.flatten().numpy(), _hidden_peaks(wet)])


@cache
def _bands(sample_rate: int) -> Tensor:
    """(bins, bands) 0/1: bands of equal ratio from 200 Hz to just below half the sample rate."""
    hz = torch.fft.rfftfreq(_BLOCK, 1 / sample_rate)
    edges = torch.logspace(np.log10(200.0), np.log10(0.48 * sample_rate), _N_BANDS + 1)
    return ((hz[:, None] >= edges[:-1]) & (hz[:, None] < edges[1:])).float()


def _quantiles(audio: np.ndarray) -> np.ndarray:
    ranks = 1 - np.linspace(1, 0, _N_QUANTILES) ** 2 * 0.98  # densest at the top, where curves bend
    amplitudes = np.sort(np.abs(audio))
    return np.log10(amplitudes[((len(audio) - 1) * ranks).astype(int)] + 1e-3).astype(np.float32)


def _hidden_peaks(wet: np.ndarray) -> np.ndarray:
    """(2 * _N_PEAKS,) log levels of the clean peaks, as estimated from below each trusted level."""
    found = []
    for name, levels in _LEVELS.items():
        straighten = CURVES[name].invert or torch.clone
        inverted = straighten(torch.from_numpy(wet).clamp(-0.9998, 0.9998)).numpy()
        found += [parabola_peaks(np.abs(inverted), level) for level in levels]
        for level in _FLAT_LEVELS.get(name, ()):
            tops = filled_tops(inverted, level)
            tops = np.array([tops.max(), tops.mean()]) if len(tops) else np.full(2, level)
            found.append(np.clip(tops, level, 30 * level))
    return np.log(np.concatenate(found)).astype(np.float32)


def parabola_peaks(amplitude: np.ndarray, level: float) -> np.ndarray:
    """(2,) highest and mean of the four highest peaks of a wave that is trusted below `level` only.

    A parabola that passes `level` with slope s and returns a time T later peaks at
    ``level + s T / 4``. `level` where there is no peak.
    """
    edges = np.diff((amplitude > level).view(np.int8))
    up = np.flatnonzero(edges == 1)
    down = np.flatnonzero(edges == -1)
    if len(down) and len(up) and down[0] < up[0]:
        down = down[1:]
    up, down = up[: len(down)], down[: len(up)]
    if not len(up):
        return np.full(2, level)
    rise = amplitude[up + 1] - amplitude[up]
    fall = amplitude[down] - amplitude[down + 1]
    begin = up + (level - amplitude[up]) / rise  # both crossings between two samples
    end = down + (amplitude[down] - level) / fall
    tops = np.sort(level + 0.5 * (rise + fall) * (end - begin) / 4)
    return np.array([tops[-1], tops[-4:].mean()])


def fill_gaps(audio: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Audio (samples,) in float64 with the samples marked in `missing` (samples,) filled in.

    By turns: the predictor that fits the present guess, then the samples with the least prediction
    error. What `audio` holds at missing places is the first guess.

    Source: Janssen, Veldhuis and Vries, IEEE Trans. ASSP 34(2), 1986, eq. 8 and 15.
    """
    found, places = audio.astype(np.float64), np.flatnonzero(missing)
    window, known = np.hanning(len(found)), np.where(missing, 0.0, found)
    # Missing samples further apart than the order are not coupled: the normal equations are banded.
    # Row m of `apart` is the distance from each missing sample to the m-th one after it.
    later = np.arange(_ORDER + 1)[:, None] + np.arange(len(places))
    apart = places[np.minimum(later, len(places) - 1)] - places
    coupled = (later < len(places)) & (apart <= _ORDER)
    for _ in range(3):
        predictor = _predictor(found * window)
        b = np.convolve(predictor, predictor[::-1])[_ORDER:]
        normal = np.where(coupled, b[np.minimum(apart, _ORDER)], 0.0)
        normal[0] *= 1 + 1e-9  # keeps the matrix positive definite
        pull = np.convolve(known, np.concatenate([b[:0:-1], b]), mode="same")[places]
        found[places] = -solveh_banded(normal[: len(places)], pull, lower=True)
    return found


def filled_tops(audio: np.ndarray, height: float) -> np.ndarray:
    """How high a wave (samples,) went where it is missing above `height` on either side of 0.

    One value by `fill_gaps` for each of at most three stretches, the long and steep ones.
    """
    missing = np.abs(audio) > height
    edges = np.diff(np.concatenate([[0], missing.view(np.int8), [0]]))
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    inside = (begin >= 2) & (end <= len(audio) - 2)
    begin, end = begin[inside], end[inside]
    loud, tops = np.abs(audio), []
    steep = loud[begin - 1] - loud[begin - 2] + loud[end] - loud[end + 1]
    for k in np.argsort(-steep * (end - begin), kind="stable")[:_N_FILLED]:
        part = slice(max(0, begin[k] - 500), end[k] + 500)
        filled = np.abs(fill_gaps(audio[part], missing[part]))
        tops.append(filled[begin[k] - part.start : end[k] - part.start].max())
    return np.array(tops)


def _predictor(audio: np.ndarray) -> np.ndarray:
    """(49,) coefficients of the prediction error filter, by the autocorrelation method."""
    lags = np.array([audio[: len(audio) - lag] @ audio[lag:] for lag in range(_ORDER + 1)])
    lags[0] = lags[0] * (1 + 1e-7) + 1e-12
    return np.concatenate([[1.0], -solve_toeplitz(lags[:-1], lags[1:])])


def pair_features(clean: np.ndarray, wet: np.ndarray, likeness: float) -> np.ndarray:
    """(N_PAIR,) float32 features of an aligned pair (samples,) at peak 1.

    Log quantiles of the clean amplitudes; the `_transfer` function; for each memoryless curve and
    each of 24 depths the log share of the wet energy that a fit leaves; their correlation.
    """
    parts = [_quantiles(clean), _transfer(clean, wet), _fit_residuals(clean, wet), [likeness]]
    return np.concatenate(parts).astype(np.float32)


def _transfer(clean: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """Mean output for each of 48 inputs, falling and rising; spread of the output; counts."""
    # Equal bins of the signed square root of the input: narrow at 0, where deep curves bend.
    place = np.sqrt(np.abs(clean)) * np.sign(clean)
    place = np.minimum(((place + 1) * (_N_INPUT_BINS / 2)).astype(int), _N_INPUT_BINS - 1)
    rising = np.diff(clean, prepend=clean[:1]) > 0
    both = place + _N_INPUT_BINS * rising
    count = np.bincount(both, minlength=2 * _N_INPUT_BINS)
    total = np.bincount(both, wet, minlength=2 * _N_INPUT_BINS)
    mean = total / np.maximum(count, 1)
    n = count.reshape(2, -1).sum(0)
    squares = np.bincount(place, np.square(wet), minlength=_N_INPUT_BINS)
    center = total.reshape(2, -1).sum(0) / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(n, 1) - center**2, 0.0))
    scale = np.sqrt((center**2).sum() / max(1, (n > 0).sum())) + 1e-6
    return np.concatenate([mean / scale, np.log10(spread / scale + 1e-3), np.log10(n + 1.0)])


def _fit_residuals(clean: np.ndarray, wet: np.ndarray) -> np.ndarray:
    step = max(1, len(clean) // _FIT_SAMPLES)
    x = torch.from_numpy(clean[::step].copy())
    y = torch.from_numpy(wet[::step].copy())
    depths = torch.logspace(0, 1, _N_FIT_DEPTHS)[:, None]
    bent = torch.stack([CURVES[name].apply(depths * x) for name in MEMORYLESS])
    match = (bent * y).sum(-1) ** 2 / (bent.square().sum(-1) * y.square().sum()).clamp(min=1e-12)
    return torch.log10((1 - match).clamp(min=0) + 1e-7).flatten().numpy()


class Prediction(NamedTuple):
    """The network's output for a batch: a Laplace density of log depth, and the curve."""

    log_depth: Tensor  # (b, curves), the median for each curve
    log_spread: Tensor  # (b,), log of the scale
    curve_logits: Tensor  # (b, curves)

    def of(self, curve: Tensor) -> Tensor:
        """(b,) log depths for the curves with these indices (b,)."""
        return self.log_depth.gather(1, curve[:, None])[:, 0]


class SaturationModel(nn.Module):
    """Curve and depth from a wet sound and, where given, a reference.

    One encoder of log-mel spectrograms serves both; a learnt vector takes the place of a missing
    reference. The controller is a perceptron on both and on the measured features.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net, hidden = config.net, config.net.hidden
        encoder = MobileNetV2(net.embedding, width=net.width, in_channels=net.in_channels)
        # Halves the time: depthwise convolutions are faster with adjacent channels.
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.absent = nn.Parameter(torch.zeros(net.embedding))
        self.features = None
        n_in = 2 * net.embedding
        if net.features:
            n_in += hidden
            self.features = nn.Sequential(
                nn.BatchNorm1d(N_FEATURES),
                # A feature that hardly varied in training must not dominate on another recording.
                nn.Hardtanh(-5.0, 5.0),
                *(nn.Linear(N_FEATURES, hidden), nn.BatchNorm1d(hidden), nn.ReLU()),
                *(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU()),
            )
        self.controller = nn.Sequential(
            *(nn.Linear(n_in, hidden), nn.LeakyReLU(0.01), nn.Dropout(net.dropout)),
            *(nn.Linear(hidden, hidden), nn.LeakyReLU(0.01), nn.Dropout(net.dropout)),
            nn.Linear(hidden, 2 * len(CURVE_NAMES) + 1),
        )
        # Factor on the stated spreads, set by `train.calibrate`.
        self.register_buffer("spread_factor", torch.ones(()))

    def forward(self, inputs: Mapping[str, Tensor]) -> Prediction:
        """The prediction for a batch of `network_inputs`."""
        n = len(inputs["wet"])
        given = inputs["given"] > 0
        spectrograms = torch.cat([inputs["wet"], inputs["reference"][given]]).unsqueeze(1)
        repeated = spectrograms.expand(-1, self.config.net.in_channels, -1, -1)
        embedded = F.normalize(self.encoder(repeated), dim=-1)
        reference = self.absent.to(embedded.dtype).repeat(n, 1)
        reference[given] = embedded[n:]
        parts = [embedded[:n], reference]
        if self.features is not None:
            parts.append(self.features(inputs["features"]))
        out = self.controller(torch.cat(parts, dim=1)).float()
        n_curves = len(CURVE_NAMES)
        log_depth = 0.5 * _DEPTH_RANGE + out[:, :n_curves]
        return Prediction(log_depth, out[:, -1].clamp(-6.0, 2.0), out[:, n_curves:-1])


def build(config: Config) -> SaturationModel:
    """A model with random weights that depend on `config.plan.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.plan.seed)
        return SaturationModel(config)


def summary(model: SaturationModel) -> str:
    """The parts of a model with their numbers of parameters, a line each, and the sum."""
    parts = model.named_children()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
    sizes["absent"] = model.absent.numel()
    sizes["total"] = sum(sizes.values())
    return "\n".join(f"{name:12s} {n / 1e6:6.2f} M  {n:9,d}" for name, n in sizes.items())
