"""Figures: every axis with its unit, colours that the colour-blind tell apart, a description in words.

Each function returns a figure and changes nothing else; the last expression of a cell shows it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from labkit.lab.charts import (
    attention,
    chain_diagram,
    confusion,
    histograms,
    intervals,
    training_curve,
)
from labkit.lab.figures import COLOURS, LabFigure, live_figure, new_figure, styled
from labkit.measure.loudness import Clip, as_channels
from labkit.measure.score import Row
from labkit.signal import spectra

__all__ = [
    "attention",
    "chain_diagram",
    "compare_spectrograms",
    "confusion",
    "growth",
    "histograms",
    "intervals",
    "live_figure",
    "spectrogram",
    "training_curve",
    "waveform",
]

_POINTS = 500
_SILENCE_DB = -99.0


def waveform(audio: np.ndarray, sample_rate: int, *, title: str = "") -> LabFigure:
    """Sample value against time; a long clip is drawn as its envelope, so that no peak is lost.

    Args:
        audio: `(channels, samples)`, full scale 1; each channel is a line.
        sample_rate: Hz.
        title: above the axes.

    Returns:
        The figure.

    Raises:
        ValueError: if the audio is empty or not finite.
    """
    audio = as_channels(audio)
    seconds = audio.shape[1] / sample_rate
    figure = new_figure(
        f"Waveform {title}".strip() + f": {seconds:.2f} s, peak {np.abs(audio).max():.3f}",
        height=1.8,
    )
    with styled():
        axes = figure.subplots()
    step = -(-audio.shape[1] // _POINTS)
    for k, channel in enumerate(audio):
        if step == 1:
            axes.plot(np.arange(len(channel)) / sample_rate, channel, lw=1)
            continue
        blocks = np.pad(channel, (0, -len(channel) % step), mode="edge").reshape(-1, step)
        at = np.arange(len(blocks)) * step / sample_rate
        axes.fill_between(
            at, blocks.min(1), blocks.max(1), color=COLOURS[k % len(COLOURS)], alpha=0.7, lw=0.5
        )
    axes.set(xlabel="time (s)", ylabel="full scale", title=title, xlim=(0, seconds))
    return figure


def _draw_spectrogram(
    axes: Axes, audio: np.ndarray, sample_rate: int, scale: str, n_fft: int
) -> AxesImage:
    mono = torch.from_numpy(as_channels(audio).mean(0).astype(np.float32))
    hop_length = max(1, min(n_fft // 4, len(mono) // 400))
    level_db = _level_db(mono, sample_rate, scale, n_fft, hop_length).numpy()
    extent = (
        0,
        len(mono) / sample_rate,
        0,
        level_db.shape[0] if scale == "mel" else sample_rate / 2000,
    )
    image = axes.imshow(level_db, origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes.set_xlabel("time (s)")
    if scale == "mel":
        hertz = [f for f in (100, 300, 1000, 3000, 10000) if f < sample_rate / 2]
        low, high = (2595 * np.log10(1 + f / 700) for f in (30, sample_rate / 2))
        mel = (2595 * np.log10(1 + np.array(hertz) / 700) - low) / (high - low) * level_db.shape[0]
        axes.set_yticks(mel, [f"{f / 1000:g}" for f in hertz])
    return image


def _level_db(
    mono: torch.Tensor, sample_rate: int, scale: str, n_fft: int, hop_length: int
) -> torch.Tensor:
    if scale == "mel":
        return spectra.log_mel(mono, sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=80)
    if scale == "linear":
        frames = spectra.stft(mono, n_fft=n_fft, hop_length=hop_length)
        return 10 * torch.log10(spectra.power(frames) / ((n_fft / 2) ** 2 / 4) + 1e-10)
    raise ValueError(f"scale must be 'mel' or 'linear', got {scale!r}")


def compare_spectrograms(
    clips: Mapping[str, Clip], *, scale: str = "mel", n_fft: int = 2048, range_db: float = 80.0
) -> LabFigure:
    """Spectrograms side by side under one colour scale, so that equal colours are equal levels.

    Args:
        clips: name -> (audio `(channels, samples)`, sample_rate in Hz); channels are averaged.
        scale: ``"mel"`` or ``"linear"`` frequency.
        n_fft: frame length in samples, even.
        range_db: how far below the loudest point the colours reach.

    Returns:
        The figure; 0 dB is a full-scale sine.

    Raises:
        ValueError: if there are no clips, one is empty or not finite, or `scale` is unknown.
    """
    if not clips:
        raise ValueError("clips must hold at least one name -> (audio, sample_rate), got none")
    names = ", ".join(clips)
    figure = new_figure(f"Spectrogram ({scale} frequency): {names}", width=3.2 * max(2, len(clips)))
    with styled():
        row = figure.subplots(1, len(clips), squeeze=False)[0]
    images = [
        _draw_spectrogram(axes, audio, rate, scale, n_fft)
        for axes, (audio, rate) in zip(row, clips.values(), strict=True)
    ]
    top_db = max(image.get_clim()[1] for image in images)
    top_db = 0.0 if top_db <= _SILENCE_DB else top_db
    for axes, image, name in zip(row, images, clips, strict=True):
        image.set_clim(top_db - range_db, top_db)
        axes.set_title(name)
    row[0].set_ylabel("frequency (kHz)" + (", mel scale" if scale == "mel" else ""))
    figure.colorbar(images[-1], ax=list(row), label="level (dB)", fraction=0.05)
    return figure


def spectrogram(
    audio: np.ndarray,
    sample_rate: int,
    *,
    scale: str = "mel",
    n_fft: int = 2048,
    range_db: float = 80.0,
    title: str = "",
) -> LabFigure:
    """One spectrogram in dB. Args, result and errors as `compare_spectrograms`; `title` stands above it."""
    return compare_spectrograms(
        {title: (audio, sample_rate)}, scale=scale, n_fft=n_fft, range_db=range_db
    )


def growth(rows: Sequence[Row]) -> LabFigure:
    """Time and memory against what grows: a line each for items, seconds and pedals, and for each device.

    Args:
        rows: as `labkit.systems.growth.growth_rows` gives them; others are left out, so all rows of a file will do.

    Returns:
        The figure, on logarithmic scales: a cost in proportion to the size rises one decade a decade.

    Raises:
        ValueError: if no row tells of growth.
    """
    lines = _growth_lines(rows)
    if not lines["time"]:
        raise ValueError(f"rows must hold the growth of a cost, got {len(rows)} others")
    words = (
        f"{name}: {points[0][1]:.3g} s at {points[0][0]:g}, {points[-1][1]:.3g} s at {points[-1][0]:g}"
        for name, points in lines["time"].items()
    )
    panels = [
        (kind, unit)
        for kind, unit in (("time", "time (s)"), ("memory", "peak memory (MB)"))
        if lines[kind]
    ]
    figure = new_figure(
        f"Growth of the cost. {'; '.join(words)}", width=4.2 * len(panels), height=3.0
    )
    with styled():
        row_of_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (kind, unit) in zip(row_of_axes, panels, strict=True):
        for name, points in lines[kind].items():
            axes.loglog(*zip(*points, strict=True), "o-", ms=3, label=name)
        axes.set(xlabel="how many", ylabel=unit)
    row_of_axes[0].legend(frameon=False)
    return figure


def _growth_lines(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Time and memory -> what grows (on which device, if on several) -> (size, cost)."""
    grown = [row for row in rows if row.protocol.startswith("growth with ")]
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {"time": {}, "memory": {}}
    for row in grown:
        kind, number, axis = row.metric.replace(":", "").split(" ")
        name = axis if len({other.name for other in grown}) == 1 else f"{axis}; {row.name}"
        lines[kind].setdefault(name, []).append((float(number), row.ours))
    return lines
