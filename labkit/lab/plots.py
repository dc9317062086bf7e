"""Figures of the course: every axis has its unit, and every figure a description in words.

Each function returns a figure and changes nothing else; the last expression of a cell shows it.
"""

import io
from collections.abc import Iterable, Mapping, Sequence

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from labkit.measure.loudness import Clip, as_channels
from labkit.signal import spectra

# Okabe & Ito: told apart with every common colour blindness, and by their lightness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
}


class LabFigure(Figure):
    """A matplotlib figure that shows itself as a small PNG; `alt` is its description."""

    alt: str = "Figure"

    def png(self) -> bytes:
        """A PNG of at most 96 colours; what a `widgets.Image` takes as its value."""
        canvas = FigureCanvasAgg(self)
        canvas.draw()
        size = canvas.get_width_height()
        image = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        image = image.convert("RGB").quantize(
            96, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, object], dict[str, object]]:
        return {"image/png": self.png(), "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def new_figure(alt: str, *, width: float = 6.4, height: float = 2.6) -> LabFigure:
    """An empty figure in inches at 80 dots each, outside pyplot's global list."""
    figure = LabFigure(figsize=(width, height), dpi=80, layout="constrained")
    figure.alt = alt
    return figure


def styled() -> matplotlib.RcParams:
    """A context in which new axes take the style of the course."""
    return matplotlib.rc_context(_STYLE)


def _axes(alt: str, *, n: int = 1, width: float = 6.4, height: float = 2.6, **sizes) -> list[Axes]:
    """`n` styled axes in a row on a new figure."""
    figure = new_figure(alt, width=width, height=height)
    with styled():
        return list(figure.subplots(1, n, squeeze=False, **sizes)[0])


class LiveFigure(widgets.Image):
    """A figure that a slider's callback replaces: ``live.update(plots.spectrogram(audio, rate))``.

    Only `.value` changes, as notebook runners need.
    """

    def update(self, figure: LabFigure) -> None:
        """Show this figure from now on, at its own size."""
        with self.hold_sync():
            self.value = figure.png()
            self.width = str(round(figure.get_figwidth() * figure.dpi))
        self._alt = figure.alt

    def __repr__(self) -> str:
        return f"LiveFigure: {self._alt}"


def live_figure(figure: LabFigure) -> LiveFigure:
    """A widget that shows `figure` until its `.update(figure)` is called."""
    layout = widgets.Layout(max_width="100%", align_self="flex-start")
    live = LiveFigure(format="png", layout=layout)
    live.update(figure)
    return live


def lines(
    x: Sequence[float] | None,
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    diagonal: bool = False,
    floors: Mapping[str, float] | None = None,
) -> LabFigure:
    """Lines over one axis.

    Args:
        x: positions of the values; None if each series is a pair (x, values) of its own.
        series: name -> values, each as long as `x`.
        xlabel, ylabel: with units.
        diagonal: draw y = x too.
        floors: name -> value of a dashed horizontal line.

    Raises:
        ValueError: if there are no series, or one has another length than `x`.
    """
    pairs = dict(series) if x is None else {name: (x, values) for name, values in series.items()}
    if not pairs or any(len(at) != len(values) for at, values in pairs.values()):
        raise ValueError(f"series must hold at least one name -> values as long as x, got {series}")
    ends = [f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in pairs.items()]
    axes = _axes(f"{ylabel} over {xlabel}: {'; '.join(ends)}", width=7.2)[0]
    if diagonal:
        axes.axline((0, 0), slope=1, ls="--", lw=1, color="0.5")
    for k, (name, (at, values)) in enumerate(pairs.items()):
        style = "o-" if k < len(COLOURS) else "o--"
        axes.plot(at, values, style if len(at) <= 50 else style[1:], ms=3, label=name)
    for k, (name, value) in enumerate((floors or {}).items(), start=len(pairs)):
        axes.axhline(value, ls="--", lw=1, color=COLOURS[k % len(COLOURS)], label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log_x else "linear")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes.figure


def training_curve(
    rows: Iterable[Mapping[str, float]],
    *,
    floors: Mapping[str, float] | None = None,
    unit: str = "loss (nats)",
) -> LabFigure:
    """Every column of a training log against its `step`, with the floors it must fall below.

    Raises:
        ValueError: if a row has no `step`, or there are no rows.
    """
    rows = list(rows)
    if not rows or any("step" not in row for row in rows):
        raise ValueError("rows must be dicts that each hold 'step', and at least one")
    series = {}
    for name in dict.fromkeys(name for row in rows for name in row if name != "step"):
        points = [(row["step"], row[name]) for row in rows if name in row]
        series[name] = tuple(zip(*points, strict=True))
    return lines(None, series, xlabel="step", ylabel=unit, floors=floors)


def matrix(
    values: np.ndarray,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    written: bool = False,
) -> LabFigure:
    """A matrix (y, x) as colours, each row relative to its sum; `written`: with its values as text.

    Raises:
        ValueError: if the labels do not fit the values.
    """
    values = np.asarray(values)
    if values.shape != (len(y_labels), len(x_labels)):
        raise ValueError(
            f"values must be {(len(y_labels), len(x_labels))}, as the labels, got {values.shape}"
        )
    alt = f"{ylabel} ({', '.join(y_labels)}) against {len(x_labels)} of {xlabel}"
    axes = _axes(alt, height=1.4 + 0.3 * len(y_labels))[0]
    share = values / np.maximum(values.sum(1, keepdims=True), 1e-9)
    axes.imshow(share, aspect="auto", cmap="Blues", vmin=0)
    for (row, column), value in np.ndenumerate(values) if written else ():
        axes.text(column, row, f"{value:g}", ha="center", va="center", color="#d55e00", size=8)
    shown = range(0, len(x_labels), max(1, -(-len(x_labels) // 16)))
    axes.set_xticks(shown, [x_labels[k] for k in shown], rotation=45, ha="right")
    axes.set_yticks(range(len(y_labels)), y_labels)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes.figure


def scatter(
    groups: Mapping[str, np.ndarray], *, xlabel: str, ylabel: str, named: bool = False
) -> LabFigure:
    """Points (n, 2) of several groups; `named` writes the name of a group at its points."""
    alt = f"{ylabel} over {xlabel}: {', '.join(groups)}"
    axes = _axes(alt, width=5.2, height=3.6)[0]
    for name, points in groups.items():
        axes.scatter(*np.asarray(points).T, s=12, label=name, color=COLOURS[5] if named else None)
        for point in points if named else ():
            axes.annotate(name, point, xytext=(2, 2), textcoords="offset points", fontsize=7)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if not named:
        axes.legend(frameon=False, fontsize=8)
    return axes.figure


def spectrogram(
    audio: np.ndarray,
    sample_rate: int,
    *,
    scale: str = "mel",
    n_fft: int = 2048,
    range_db: float = 80.0,
    title: str = "",
) -> LabFigure:
    """One spectrogram in dB, see `compare_spectrograms`."""
    clips = {title: (audio, sample_rate)}
    return compare_spectrograms(clips, scale=scale, n_fft=n_fft, range_db=range_db)


def compare_spectrograms(
    clips: Mapping[str, Clip], *, scale: str = "mel", n_fft: int = 2048, range_db: float = 80.0
) -> LabFigure:
    """Spectrograms side by side on one colour scale; 0 dB is a full-scale sine.

    Args:
        clips: name -> (audio (channels, samples), sample_rate); channels are averaged.
        scale: ``"mel"`` or ``"linear"`` frequency.
        range_db: how far below the loudest point the colours reach.

    Raises:
        ValueError: if there are no clips, one is empty or not finite, or `scale` is unknown.
    """
    if not clips:
        raise ValueError("clips must hold at least one name -> (audio, sample_rate), got none")
    alt = f"Spectrogram ({scale} frequency): {', '.join(clips)}"
    row = _axes(alt, n=len(clips), width=3.2 * max(2, len(clips)))
    images = [
        _draw_spectrogram(axes, audio, rate, scale, n_fft)
        for axes, (audio, rate) in zip(row, clips.values(), strict=True)
    ]
    top_db = max(image.get_clim()[1] for image in images)
    top_db = 0.0 if top_db <= -99.0 else top_db  # all silent
    for axes, image, name in zip(row, images, clips, strict=True):
        image.set_clim(top_db - range_db, top_db)
        axes.set_title(name)
    row[0].set_ylabel("frequency (kHz)" + (", mel scale" if scale == "mel" else ""))
    row[0].figure.colorbar(images[-1], ax=row, label="level (dB)", fraction=0.05)
    return row[0].figure


def _draw_spectrogram(
    axes: Axes, audio: np.ndarray, sample_rate: int, scale: str, n_fft: int
) -> AxesImage:
    mono = torch.from_numpy(as_channels(audio).mean(0).astype(np.float32))
    hop = max(1, min(n_fft // 4, len(mono) // 400))
    top = sample_rate / 2000
    if scale == "mel":
        level_db = spectra.log_mel(mono, sample_rate, n_fft=n_fft, hop_length=hop, n_mels=80)
        top = len(level_db)
    elif scale == "linear":
        frames = spectra.stft(mono, n_fft=n_fft, hop_length=hop)
        level_db = 10 * torch.log10(spectra.power(frames) / ((n_fft / 2) ** 2 / 4) + 1e-10)
    else:
        raise ValueError(f"scale must be 'mel' or 'linear', got {scale!r}")
    extent = (0, len(mono) / sample_rate, 0, top)
    image = axes.imshow(
        level_db.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma"
    )
    axes.set_xlabel("time (s)")
    if scale == "mel":
        hz = np.array([f for f in (100, 300, 1000, 3000, 10000) if f < sample_rate / 2])
        mel = 2595 * np.log10(1 + np.array([30, sample_rate / 2, *hz]) / 700)
        ticks = (mel[2:] - mel[0]) / (mel[1] - mel[0]) * len(level_db)
        axes.set_yticks(ticks, [f"{f / 1000:g}" for f in hz])
    return image


def chain_diagram(chain: Iterable[tuple[str, Mapping[str, object]]]) -> LabFigure:
    """A pedal chain as boxes from input to output: (name, {parameter: value}) in signal order."""
    boxes = ["input"]
    names = []
    for name, parameters in chain:
        shown = [
            f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in parameters.items()
        ]
        boxes.append("\n".join([name.upper(), *(line[:24] for line in shown)]))
        names.append(name)
    boxes.append("output")
    tallest = max(text.count("\n") + 1 for text in boxes)
    alt = f"Pedal chain: {' -> '.join(['input', *names, 'output'])}"
    axes = _axes(alt, width=1.65 * len(boxes), height=0.5 + 0.19 * tallest)[0]
    axes.set(xlim=(-0.5, len(boxes) - 0.5), ylim=(0, 1))
    axes.axis("off")
    frame = {"boxstyle": "round,pad=0.4", "fc": "#eef4fa", "ec": COLOURS[0]}
    for k, text in enumerate(boxes):
        axes.text(k, 0.5, text, ha="center", va="center", size=7, linespacing=1.3, bbox=frame)
        if k:
            arrow = {"arrowstyle": "-|>"}
            axes.annotate("", (k - 0.38, 0.5), xytext=(k - 0.62, 0.5), arrowprops=arrow)
    return axes.figure
