"""The figure every drawing of the course is made on: small PNGs, alt text, no global state."""

import io
from collections.abc import Mapping
from types import MappingProxyType

import ipywidgets as widgets
import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 80
# Okabe & Ito: told apart with every common colour blindness, and by their lightness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_STYLE: Mapping[str, object] = MappingProxyType(
    {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.grid": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    }
)


class LabFigure(Figure):
    """A matplotlib figure that shows itself in a notebook as a small PNG with a description.

    Attributes:
        alt: what the picture shows, in words; it is the text form of the cell's output.
    """

    alt: str = "Figure"

    def png(self) -> bytes:
        """The picture as a PNG of at most 96 colours; what a `widgets.Image` takes as its value."""
        canvas = FigureCanvasAgg(self)
        canvas.draw()
        width, height = canvas.get_width_height()
        picture = Image.frombuffer(
            "RGBA", (width, height), canvas.buffer_rgba(), "raw", "RGBA", 0, 1
        )
        few = picture.convert("RGB").quantize(
            96, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        buffer = io.BytesIO()
        few.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, object], dict[str, object]]:
        return {"image/png": self.png(), "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def new_figure(alt: str, *, width: float = 6.4, height: float = 2.6) -> LabFigure:
    """An empty figure of the house.

    Args:
        alt: what it will show, in words.
        width: inches at 80 dots each.
        height: inches.

    Returns:
        A figure that belongs to no global list, so nothing has to be closed.
    """
    figure = LabFigure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.alt = alt
    return figure


def styled() -> matplotlib.RcParams:
    """A context in which new axes take the house style."""
    return matplotlib.rc_context(_STYLE)


class LiveFigure(widgets.Image):
    """A picture that a slider's callback redraws: ``live.update(show.spectrogram(audio, sample_rate))``."""

    def update(self, figure: LabFigure) -> None:
        """Show this figure from now on, at its own size."""
        with self.hold_sync():
            self.value = figure.png()
            self.width = str(round(figure.get_figwidth() * figure.dpi))
        self._alt = figure.alt

    def __repr__(self) -> str:
        return f"LiveFigure: {self._alt}"


def live_figure(figure: LabFigure) -> LiveFigure:
    """A widget that holds `figure` until its `.update(figure)` is called; only `.value` changes, as runners need.

    Args:
        figure: what it shows at first.

    Returns:
        A widget.
    """
    live = LiveFigure(
        format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start")
    )
    live.update(figure)
    return live
