"""Pictures of gradients: estimators against what they are given, and a slope on the curve that it belongs to."""

import re
from collections.abc import Sequence

import numpy as np

from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled
from labkit.measure.score import Row

# Behind a metric's word: ": eps 1e-02", or ": 8 renders" and ", 2 renders".
_VARIED = {"eps": re.compile(r": eps (\S+)"), "renders": re.compile(r"[:,] (\d+) renders")}


def curves(
    rows: Sequence[Row], protocols: Sequence[str], word: str, *, axis: str, log: bool = False
) -> LabFigure:
    """A line for each estimator, a panel for each effect; dashed, what theory says.

    Args:
        rows: as `labkit evaluate gradients` writes them; others are left out, so all rows of the file will do.
        protocols: effects, one panel each.
        word: of the metric, before its colon, e.g. ``"cosine"`` or ``"bias"``.
        axis: what is varied: ``"eps"`` or ``"renders"``.
        log: a logarithmic vertical axis.

    Returns:
        The figure; the horizontal axis is logarithmic.

    Raises:
        ValueError: if no row fits.
    """
    panels = {protocol: _lines(rows, protocol, word, axis) for protocol in protocols}
    if not all(panels.values()):
        raise ValueError(f"rows must hold {word} against {axis} for each of {list(protocols)}")
    words = "; ".join(f"{protocol}: {', '.join(lines)}" for protocol, lines in panels.items())
    figure = new_figure(
        f"{word} against {axis}. {words}", width=max(5.0, 3.1 * len(panels)), height=2.8
    )
    with styled():
        row_of_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for panel, (protocol, lines) in zip(row_of_axes, panels.items(), strict=True):
        for name, points in lines.items():
            colour = COLOURS[names.index(name)]
            panel.plot(
                [p[0] for p in points], [p[1] for p in points], "o-", ms=3, label=name, color=colour
            )
        theory = [(at, said) for at, _, said in next(iter(lines.values())) if said is not None]
        if theory:
            panel.plot(*zip(*theory, strict=True), "k--", lw=1, label="theory")
        panel.set(xlabel=_LABELS[axis], title=protocol, yscale="log" if log else "linear")
        panel.set_xscale("log", base=2 if axis == "renders" else 10)
    row_of_axes[0].set_ylabel(_LABELS.get(word, word))
    row_of_axes[0].legend(frameon=False, fontsize=8)
    return figure


_LABELS = {
    "eps": "turn of a knob (share of its range)",
    "renders": "renders for a gradient",
    "bias": "bias (share of the gradient)",
    "spread": "spread (share of the gradient)",
    "cosine": "cosine to the exact gradient",
}


def _lines(
    rows: Sequence[Row], protocol: str, word: str, axis: str
) -> dict[str, list[tuple[float, float, float | None]]]:
    lines: dict[str, list[tuple[float, float, float | None]]] = {}
    for row in rows:
        found = _VARIED[axis].fullmatch(row.metric.removeprefix(word))
        if row.protocol == protocol and row.metric.startswith(word) and found:
            lines.setdefault(row.name, []).append((float(found[1]), row.ours, row.reference))
    return {name: sorted(points) for name, points in lines.items()}


def slope(
    units: Sequence[float],
    losses: Sequence[float],
    at: float,
    value: float,
    gradient: float,
    *,
    knob: str,
) -> LabFigure:
    """A loss along one knob, and the straight line that a gradient draws at one place.

    Args:
        units: knob positions in 0..1.
        losses: at those.
        at: where the gradient was taken.
        value: the loss there.
        gradient: per whole range.
        knob: its name.

    Returns:
        The figure.

    Raises:
        ValueError: if positions and losses are not equally many, or fewer than two.
    """
    if len(units) != len(losses) or len(units) < 2:
        raise ValueError(
            f"units and losses must be equally many, at least 2, got {len(units)} and {len(losses)}"
        )
    figure = new_figure(
        f"Loss along {knob}: {value:.2f} dB at {at:.2f}, slope {gradient:.2f} dB", height=2.2
    )
    with styled():
        axes = figure.subplots()
    axes.plot(units, losses, color=COLOURS[0], label="loss")
    reach = np.array([-0.12, 0.12])
    axes.plot(
        at + reach, value + gradient * reach, color=COLOURS[1], label="what the gradient says"
    )
    axes.plot([at], [value], "o", color=COLOURS[1])
    axes.set(xlabel=f"{knob} (share of its range)", ylabel="loss (dB)", xlim=(0, 1))
    axes.legend(frameon=False)
    return figure
