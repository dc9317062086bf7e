"""Figures of the course: every axis has its unit, and every figure a description in words.

Each function returns a figure and changes nothing else; the last expression of a cell shows it.
"""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from PIL import Image

from labkit.effects.chain import NO_PEDALS, Chain
from labkit.effects.registry import effect
from labkit.measure.loudness import Clip, as_channels
from labkit.signal import spectra
from labkit.signal.paths import replacing

# For text and axes: 4.3 to 1 against white and against JupyterLab's dark background alike.
INK = "#7a7a7a"
# Okabe & Ito: told apart with every common colour blindness, and by their lightness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
_STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "axes.facecolor": "none",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
}
_CLEAR_TO_BLUE = LinearSegmentedColormap.from_list("clear to blue", ["#0072b200", "#0072b2ff"])
_ON_BLUE = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="#00466e")]}
_UNITS = {"db": "dB", "hz": "Hz", "ms": "ms", "seconds": "s", "semitones": "semitones"}
_LEGEND_BESIDE = {"frameon": False, "fontsize": 9, "loc": "center left", "bbox_to_anchor": (1, 0.5)}


class LabFigure(Figure):
    """A figure in the style of the course, in inches of 80 dots; it shows itself as a small PNG."""

    def __init__(self, alt: str, *, width: float = 6.4, height: float = 2.6) -> None:
        size = (width, height)
        super().__init__(figsize=size, dpi=80, layout="constrained", facecolor="none")
        self.alt = alt

    def add_subplot(self, *args: object, **kwargs: object) -> Axes:
        """Axes in the style of the course."""
        with matplotlib.rc_context(_STYLE):
            return super().add_subplot(*args, **kwargs)

    def png(self) -> bytes:
        """A PNG of at most 128 colours on a transparent background, for light and dark pages."""
        canvas = FigureCanvasAgg(self)
        with matplotlib.rc_context(_STYLE):  # some ticks are made while they are drawn
            _black_to_ink(self)
            canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba()))
        image = image.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, object], dict[str, object]]:
        return {"image/png": self.png(), "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def _black_to_ink(figure: Figure) -> None:
    """Labels, legends and lines made with matplotlib's default colour; text on images stays."""
    on_images = {text for axes in figure.axes if axes.images for text in axes.texts}
    for artist in figure.findobj(lambda found: isinstance(found, Text | Line2D)):
        if artist not in on_images and to_rgb(artist.get_color()) == (0, 0, 0):
            artist.set_color(INK)


class LiveFigure(widgets.HTML):
    """A figure that a slider's callback replaces: ``live.update(plots.spectrogram(audio, rate))``.

    It takes figures and chain diagrams. Only `.value` changes, as notebook runners need.
    """

    def __init__(self, figure: "LabFigure | ChainDiagram") -> None:
        super().__init__()
        self.update(figure)

    def update(self, figure: "LabFigure | ChainDiagram") -> None:
        """Show this figure from now on, at its own size."""
        self._alt = repr(figure)
        if isinstance(figure, ChainDiagram):
            self.value = figure._repr_html_()
        else:
            source = f"data:image/png;base64,{base64.b64encode(figure.png()).decode()}"
            alt = html.escape(self._alt)
            self.value = f'<img src="{source}" alt="{alt}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"LiveFigure: {self._alt}"


def lines(
    x: Sequence[float] | None,
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    floors: Mapping[str, float] | None = None,
) -> LabFigure:
    """Lines over one axis: name -> values at `x`, or pairs (x, values) where that is None.

    `floors` are dashed horizontal lines.
    """
    pairs = dict(series) if x is None else {name: (x, values) for name, values in series.items()}
    ends = [f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in pairs.items()]
    figure = LabFigure(f"{ylabel} over {xlabel}: {'; '.join(ends)}", width=7.2)
    axes = figure.subplots()
    for k, (name, (at, values)) in enumerate(pairs.items()):
        dashes = "-" if k < len(COLOURS) else "--"
        marker = "o" if len(at) <= 50 else ""
        axes.plot(at, values, dashes, marker=marker, markersize=3, label=name)
    for k, (name, value) in enumerate((floors or {}).items(), start=len(pairs)):
        axes.axhline(value, ls="--", lw=1, color=COLOURS[k % len(COLOURS)], label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log_x else "linear")
    axes.legend(**_LEGEND_BESIDE)
    return figure


def training_curve(
    rows: Iterable[Mapping[str, float]], *, unit: str, floors: Mapping[str, float] | None = None
) -> LabFigure:
    """Every column of a training log against its `step`, with the floors it must fall below."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append((row["step"], value))
    del columns["step"]
    series = {name: tuple(zip(*points, strict=True)) for name, points in columns.items()}
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
    """A matrix (y, x) as colours, each row relative to its sum; `written`: with its values."""
    alt = f"{ylabel} ({', '.join(y_labels)}) against {len(x_labels)} of {xlabel}"
    figure = LabFigure(alt, height=1.4 + 0.3 * len(y_labels))
    axes = figure.subplots()
    share = values / np.maximum(values.sum(1, keepdims=True), 1e-9)
    axes.imshow(share, aspect="auto", cmap=_CLEAR_TO_BLUE, vmin=0)
    for (row, column), value in np.ndenumerate(values) if written else ():
        style = _ON_BLUE if share[row, column] > 0.15 * share.max() else {"color": INK}
        axes.text(column, row, f"{value:g}", ha="center", va="center", size=9, **style)
    shown = range(0, len(x_labels), max(1, -(-len(x_labels) // 16)))
    axes.set_xticks(shown, [x_labels[k] for k in shown], rotation=45, ha="right")
    axes.set_yticks(range(len(y_labels)), y_labels)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def scatter(
    groups: Mapping[str, np.ndarray], *, xlabel: str, ylabel: str, named: bool = False
) -> LabFigure:
    """Points (n, 2) of several groups; `named` writes the name of a group at its points."""
    figure = LabFigure(f"{ylabel} over {xlabel}: {', '.join(groups)}", width=6.8, height=4.6)
    axes = figure.subplots()
    for name, points in groups.items():
        axes.scatter(*np.asarray(points).T, s=12, label=name, color=COLOURS[5] if named else None)
        for point in points if named else ():
            axes.annotate(name, point, xytext=(2, 2), textcoords="offset points", fontsize=8)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if not named:
        axes.legend(frameon=False, fontsize=9)
    return figure


def spectrogram(
    audio: np.ndarray, sample_rate: int, *, title: str = "", **options: object
) -> LabFigure:
    """One spectrogram in dB; options as of `compare_spectrograms`."""
    return compare_spectrograms({title: (audio, sample_rate)}, **options)


def compare_spectrograms(
    clips: Mapping[str, Clip], *, scale: str = "mel", n_fft: int = 2048, range_db: float = 80.0
) -> LabFigure:
    """Spectrograms, at most three in a row, on one colour scale; 0 dB is a full-scale sine.

    Channels are averaged. The frequency scale is "mel" or "linear"; colours reach `range_db` below
    the loudest point. Raises ValueError if there are no clips, one is empty or not finite, or
    `scale` is unknown.
    """
    if not clips:
        raise ValueError("clips must hold at least one name -> (audio, sample_rate), got none")
    if scale not in ("mel", "linear"):
        raise ValueError(f"scale must be 'mel' or 'linear', got {scale!r}")
    alt = f"Spectrogram ({scale} frequency): {', '.join(clips)}"
    n = len(clips)
    columns, width = (n, 3.2 * max(2, n)) if n <= 3 else (2, 7.6) if n == 4 else (3, 9.6)
    rows, images = -(-n // columns), []
    figure = LabFigure(alt, width=width, height=2.4 * rows + 0.2)
    row = [figure.add_subplot(rows, columns, k + 1) for k in range(n)]
    for axes, (name, (audio, sample_rate)) in zip(row, clips.items(), strict=True):
        mono = torch.from_numpy(as_channels(audio).mean(0).astype(np.float32))
        images.append(_draw_spectrogram(axes, mono, sample_rate, scale == "mel", n_fft))
        axes.set(title=name, xlabel="time (s)")
    top_db = max(image.get_clim()[1] for image in images)
    top_db = 0.0 if top_db <= -99.0 else top_db  # all silent
    for image in images:
        image.set_clim(top_db - range_db, top_db)
    for axes in row[::columns]:
        axes.set_ylabel("frequency (kHz)" + (", mel scale" if scale == "mel" else ""))
    with matplotlib.rc_context(_STYLE):
        figure.colorbar(images[-1], ax=row, label="level (dB)", fraction=0.05)
    return figure


def _draw_spectrogram(
    axes: Axes, mono: torch.Tensor, sample_rate: int, mel: bool, n_fft: int
) -> AxesImage:
    n_fft *= max(1, round(sample_rate / 96_000))  # else the lowest mel bands hold no bin
    hop = max(1, min(n_fft // 4, len(mono) // 400))
    if mel:
        level_db = spectra.log_mel(mono, sample_rate, n_fft=n_fft, hop_length=hop, n_mels=80)
        top = len(level_db)
        hz = np.array([f for f in (100, 300, 1000, 3000, 10000) if f < sample_rate / 2])
        mels = 2595 * np.log10(1 + np.array([30, sample_rate / 2, *hz]) / 700)
        ticks = (mels[2:] - mels[0]) / (mels[1] - mels[0]) * top
        axes.set_yticks(ticks, [f"{f / 1000:g}" for f in hz])
    else:
        power = spectra.power(spectra.stft(mono, n_fft=n_fft, hop_length=hop))
        level_db = 10 * torch.log10(power / (n_fft / 4) ** 2 + 1e-10)  # 0: a full-scale sine
        top = sample_rate / 2000
    extent = (0, len(mono) / sample_rate, 0, top)
    return axes.imshow(level_db.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma")


@dataclass(frozen=True)
class ChainDiagram:
    """Boxes from input to output, in rows as wide as the page; `str` is the same in one line."""

    boxes: tuple[tuple[str, tuple[str, ...]], ...]  # (name, lines of text)

    def __str__(self) -> str:
        words = [f"{name} ({', '.join(rows)})" if rows else name for name, rows in self.boxes]
        return f"Pedal chain: {' -> '.join(words)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        box = "border:1.5px solid #0072b2;border-radius:6px;padding:.4em .7em;line-height:1.4"
        parts = []
        for name, rows in self.boxes:
            text = "<br>".join([f"<b>{html.escape(name)}</b>", *map(html.escape, rows)])
            arrow = "<span>&rarr;</span>" if parts else ""
            row = "display:flex;align-items:center;gap:.5em"
            parts.append(f'<div style="{row}">{arrow}<div style="{box}">{text}</div></div>')
        style = "display:flex;flex-wrap:wrap;align-items:center;gap:.5em"
        return f'<div class="labkit-chain" style="{style}">{"".join(parts)}</div>'


def chain_diagram(chain: Iterable[tuple[str, Mapping[str, object]]]) -> ChainDiagram:
    """A pedal chain as boxes from input to output: (name, {parameter: value}) in signal order."""
    pedals = [
        (name, tuple(_with_unit(knob, value) for knob, value in parameters.items()))
        for name, parameters in chain
    ]
    what, _, why = NO_PEDALS.partition(": ")
    return ChainDiagram((("input", ()), *(pedals or [(what, (why,))]), ("output", ())))


class ChainCard(LabFigure):
    """What to set on the floor: pedals in order, knobs as they stand on a clock."""

    def save(self, path: Path) -> None:
        """Write it on white paper, as SVG, PDF or PNG by the path's suffix."""
        with replacing(path) as temporary, matplotlib.rc_context({"svg.fonttype": "none"}):
            self.savefig(temporary, facecolor="white")


def chain_card(chain: Chain, input_dbfs: float | None = None) -> ChainCard:
    """A card of a chain, for an input of this RMS level if given; knobs go from 7 to 5 o'clock."""
    most = max((len(params) for _, params in chain), default=1)
    card = ChainCard(f"Card of the chain {chain}", width=1.7 * max(len(chain), 3), height=most + 1)
    axes = card.add_subplot(aspect="equal", xlim=(-0.9, 1.8 * max(len(chain), 3) - 0.9))
    level = "" if input_dbfs is None else f"input: {input_dbfs:.0f} dBFS RMS; "
    axes.set_title(f"{level}signal: left to right")
    axes.set_ylim(0.2 - most, 0.8)
    axes.set_axis_off()
    for column, (name, params) in enumerate(chain):
        x = 1.8 * column
        axes.text(x, 0.55, f"{column + 1}. {name.replace('_', ' ')}", ha="center", weight="bold")
        for row, (knob, value) in enumerate(params.items()):
            ends = effect(name).space[knob]
            hours = 7 + 10 * ends.to_unit(min(max(value, ends.low), ends.high))
            half_hours = round(2 * hours)
            clock = f"{(half_hours // 2 - 1) % 12 + 1}:{30 * (half_hours % 2):02d}"
            angle = np.pi * hours / 6
            axes.add_patch(Circle((x, -row), 0.28, fill=False, color=COLOURS[0], linewidth=1.5))
            pointer = [[x, x + 0.28 * np.sin(angle)], [-row, -row + 0.28 * np.cos(angle)]]
            axes.plot(*pointer, color=COLOURS[0], linewidth=2)
            axes.text(x, -row - 0.54, f"{_with_unit(knob, value)}\n{clock}", ha="center", size=7)
    if not len(chain):
        axes.text(0, 0, NO_PEDALS)
    return card


def _with_unit(name: str, value: object) -> str:
    """``"drive 20 dB"`` for ``("drive_db", 20.0)``."""
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    stem, _, suffix = name.rpartition("_")
    if suffix not in _UNITS:
        return f"{name.replace('_', ' ')} {number}"
    return f"{stem.replace('_', ' ')} {number} {_UNITS[suffix]}"
