"""What the network is given of a clip: pictures for its encoder, and views that show what a curve did to the wave.

The views are made without learning and name no depth. They put the question so that reading it off is a small task:
how are the amplitudes spread; how rough is the sound once a curve of this depth is undone; how high did it go where a
curve cut it off; which output did which input give, on the way up and on the way down; what remains when the reference
is bent by this depth.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from labkit.effects.saturation import CURVES, MEMORYLESS
from labkit.signal.declip import filled_tops
from labkit.signal.spectra import log_mel, stft
from labkit.systems.saturation.config import Config
from labkit.systems.saturation.oracles import align

_QUANTILES = 32
_UNDONE = tuple(name for name in MEMORYLESS if CURVES[name].straighten is not None)
_UNDO_DEPTHS, _BEND_DEPTHS = 9, 24
_BLOCK, _BLOCKS, _BANDS = 8192, 2, 10
# Up to these heights each curve can be undone in 16 bits; what went higher shows in how long it stayed there.
_HEIGHTS = {
    "tanh": (0.5, 1.0, 2.0, 3.0, 3.5, 4.0),
    "arctan": (0.5, 1.0, 2.0, 4.0, 6.0),
    "hard_clip": (0.4, 0.8, 0.95, 0.98),
    "cubic": (0.5, 1.1, 1.45),
}
# Above these the samples of curves that go flat are taken to be missing, and are filled in.
_FLAT = {"tanh": (2.0, 3.0, 3.7), "hard_clip": (0.97,), "cubic": (1.45,)}
_FILLED = 3
_INPUTS = 48
_FEW = 4096
# Mean and deviation of power-law magnitudes over music, as published with the network that this one follows.
_MEAN, _DEVIATION = 0.322970, 0.278452

_N_HEIGHTS = sum(map(len, _HEIGHTS.values()))
_N_FLAT = sum(map(len, _FLAT.values()))
BLIND = _QUANTILES + 2 * (_N_HEIGHTS + _N_FLAT) + len(_UNDONE) * _UNDO_DEPTHS * _BANDS
PAIRED = _QUANTILES + 4 * _INPUTS + len(MEMORYLESS) * _BEND_DEPTHS + 1
N_VIEWS = BLIND + PAIRED + 1


def hear(config: Config, wet: np.ndarray, reference: np.ndarray | None) -> dict[str, Tensor]:
    """Everything that the model is given; the level of either signal does not matter.

    Args:
        config: the front end.
        wet: (samples,) float32.
        reference: (samples + 2 margins,) float32, or None.

    Returns:
        ``wet`` and ``reference`` pictures (height, frames), ``views`` (N_VIEWS,), ``given`` () 1 with a reference,
        else 0. Without a reference its picture and views are zeros.

    Raises:
        ValueError: for another length.
    """
    for name, audio, samples in (
        ("wet", wet, config.samples),
        ("reference", reference, _reference_samples(config)),
    ):
        if audio is not None and audio.shape != (samples,):
            raise ValueError(f"{name} must be ({samples},), got {audio.shape}")
    seen = picture(torch.from_numpy(_full_scale(wet)), config)
    other, views = torch.zeros_like(seen), np.zeros(N_VIEWS, np.float32)
    if config.views:
        views[:BLIND] = blind_view(_full_scale(wet), config.sample_rate)
    if reference is not None:
        middle = reference[config.margin : config.margin + config.samples]
        if config.views:
            clean, alike = align(reference, wet)
            views[BLIND:-1] = pair_view(_full_scale(clean), _full_scale(wet), alike)
            middle = clean
        other = picture(torch.from_numpy(_full_scale(middle)), config)
        views[-1] = 1.0
    return {
        "wet": seen,
        "reference": other,
        "views": torch.from_numpy(views),
        "given": torch.tensor(views[-1]),
    }


def _reference_samples(config: Config) -> int:
    return config.samples + 2 * config.margin


def _full_scale(audio: np.ndarray) -> np.ndarray:
    peak = float(np.abs(audio).max())
    return np.ascontiguousarray(audio / np.float32(peak if peak > 1e-6 else 1.0), dtype=np.float32)


def picture(audio: Tensor, config: Config) -> Tensor:
    """What the encoder sees of a clip.

    Args:
        audio: (..., samples) at `config.sample_rate`, peak 1.
        config: the front end.

    Returns:
        (..., height, frames) float32: log-mel bands in units of 20 dB, or magnitudes to the power of 0.3.

    Source: the power law is that of Steinmetz et al. 2022 (DeepAFx-ST), section 3.1.
    """
    if config.picture == "mel":
        sizes = {
            name: getattr(config, name)
            for name in ("n_fft", "hop_length", "n_mels", "low_hz", "high_hz")
        }
        return (log_mel(audio, config.sample_rate, **sizes) + 60.0) / 20.0
    seen = (stft(audio, n_fft=config.n_fft, hop_length=config.hop_length).abs() + 1e-8) ** 0.3
    return (seen - _MEAN) / _DEVIATION if config.standardise else seen


def blind_view(wet: np.ndarray, sample_rate: int) -> np.ndarray:
    """What the wet wave alone shows.

    Args:
        wet: (samples,) peak 1.
        sample_rate: Hz.

    Returns:
        (BLIND,) float32: log quantiles of its amplitudes; then, for each curve that can be undone and each of
        9 depths, how much power of the undone sound lies in each of 10 bands, as a log share (at the true depth the
        harmonics that the curve made are gone); then for each curve and several heights the `summits`, and for curves
        that go flat the `filled_tops`.
    """
    blocks = wet[: len(wet) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    loudest = np.argsort(-np.square(blocks).sum(1), kind="stable")[:_BLOCKS]
    heard = torch.from_numpy(blocks[np.sort(loudest)])
    depths = torch.logspace(0, 1, _UNDO_DEPTHS)[:, None, None]
    # A clean peak of 1 leaves the curve at `bend(depth)`: so that is the level of the wet peak.
    undone = [
        CURVES[name].straighten(heard * CURVES[name].bend(depths)) / depths for name in _UNDONE
    ]
    spectrum = torch.fft.rfft(torch.stack(undone) * torch.hann_window(_BLOCK), dim=-1)
    power = (spectrum.real.square() + spectrum.imag.square()).sum(-2)
    bands = power @ _bands(sample_rate)
    share = torch.log10(bands / power.sum(-1, keepdim=True).clamp(min=1e-12) + 1e-9)
    return np.concatenate([_quantiles(wet), share.flatten().numpy(), _all_summits(wet)])


def _all_summits(wet: np.ndarray) -> np.ndarray:
    found = []
    for name, heights in _HEIGHTS.items():
        straighten = CURVES[name].straighten or torch.clone
        undone = straighten(torch.from_numpy(wet).clamp(-0.9998, 0.9998)).numpy()
        found += [summits(np.abs(undone), height) for height in heights]
        found += [_filled(undone, height) for height in _FLAT.get(name, ())]
    return np.log(np.concatenate(found)).astype(np.float32)


def summits(loud: np.ndarray, height: float) -> np.ndarray:
    """How high a wave went that was cut off, from how steeply it came up, how steeply it went, and how long it stayed.

    A parabola that passes `height` with slope s and comes back T later reaches ``height + s T / 4``.

    Args:
        loud: (samples,) amplitudes >= 0.
        height: below which they are to be trusted, > 0.

    Returns:
        (2,) the highest summit, and the mean of the four highest; `height` where none is.
    """
    edges = np.diff((loud > height).view(np.int8))
    up, down = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if len(down) and len(up) and down[0] < up[0]:
        down = down[1:]
    up, down = up[: len(down)], down[: len(up)]
    if not len(up):
        return np.full(2, height)
    rise, fall = loud[up + 1] - loud[up], loud[down] - loud[down + 1]
    begin, end = up + (height - loud[up]) / rise, down + (loud[down] - height) / fall
    tops = np.sort(height + 0.5 * (rise + fall) * (end - begin) / 4)
    return np.array([tops[-1], tops[-4:].mean()])


def _filled(undone: np.ndarray, height: float) -> np.ndarray:
    """(2,) the highest of the `filled_tops` and their mean, up to 30 times `height`; `height` where none is."""
    tops = filled_tops(undone, height, stretches=_FILLED)
    return (
        np.clip([tops.max(), tops.mean()], height, 30 * height) if len(tops) else np.full(2, height)
    )


@cache
def _bands(sample_rate: int) -> Tensor:
    """(bins, bands) 0/1: bands of equal ratio from 200 Hz to just below half the sample rate."""
    hz = torch.fft.rfftfreq(_BLOCK, 1 / sample_rate)
    edges = torch.logspace(np.log10(200.0), np.log10(0.48 * sample_rate), _BANDS + 1)
    return ((hz[:, None] >= edges[:-1]) & (hz[:, None] < edges[1:])).float()


def _quantiles(audio: np.ndarray) -> np.ndarray:
    ranks = 1 - np.linspace(1, 0, _QUANTILES) ** 2 * 0.98  # closest at the top, where a curve bends
    amplitudes = np.sort(np.abs(audio))
    return np.log10(amplitudes[((len(audio) - 1) * ranks).astype(int)] + 1e-3).astype(np.float32)


def pair_view(clean: np.ndarray, wet: np.ndarray, alike: float) -> np.ndarray:
    """What a clean wave and its wet one show together.

    Args:
        clean: (samples,) peak 1, aligned.
        wet: (samples,) peak 1.
        alike: their correlation, 0..1.

    Returns:
        (PAIRED,) float32: quantiles of the clean amplitudes; the mean output for each of 48 inputs, rising and
        falling, the spread of the output, and how many samples there are; then for each curve without memory and
        each of 24 depths, the log share of the wet energy that the best level of the bent clean wave leaves; `alike`.
    """
    remains = _remains(clean, wet)
    return np.concatenate([_quantiles(clean), _transfer(clean, wet), remains, [alike]]).astype(
        np.float32
    )


def _transfer(clean: np.ndarray, wet: np.ndarray) -> np.ndarray:
    # Bins of equal width in the signed square root of the input: narrow at 0, where deep curves bend.
    place = np.sqrt(np.abs(clean)) * np.sign(clean)
    place = np.minimum(((place + 1) * (_INPUTS / 2)).astype(int), _INPUTS - 1)
    rising = np.diff(clean, prepend=clean[:1]) > 0
    both = place + _INPUTS * rising
    count = np.bincount(both, minlength=2 * _INPUTS)
    total = np.bincount(both, wet, minlength=2 * _INPUTS)
    mean = total / np.maximum(count, 1)
    n, squares = count.reshape(2, -1).sum(0), np.bincount(place, np.square(wet), minlength=_INPUTS)
    middle = total.reshape(2, -1).sum(0) / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(n, 1) - middle**2, 0.0))
    scale = np.sqrt((middle**2).sum() / max(1, (n > 0).sum())) + 1e-6
    return np.concatenate([mean / scale, np.log10(spread / scale + 1e-3), np.log10(n + 1.0)])


def _remains(clean: np.ndarray, wet: np.ndarray) -> np.ndarray:
    step = max(1, len(clean) // _FEW)
    x, y = torch.from_numpy(clean[::step].copy()), torch.from_numpy(wet[::step].copy())
    bent = torch.stack(
        [CURVES[name].bend(torch.logspace(0, 1, _BEND_DEPTHS)[:, None] * x) for name in MEMORYLESS]
    )
    match = (bent * y).sum(-1) ** 2 / (bent.square().sum(-1) * y.square().sum()).clamp(min=1e-12)
    return torch.log10((1 - match).clamp(min=0) + 1e-7).flatten().numpy()
