"""Charts of what was learnt: confusion, training curves, chains, attention, distributions, scores."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled
from labkit.measure.score import Row


def confusion(matrix: np.ndarray, labels: Sequence[str], *, title: str = "") -> LabFigure:
    """What was taken for what; each row is shaded by its share, each cell says its count.

    Args:
        matrix: `(labels, labels)`, rows the truth, columns the answer.
        labels: names of rows and columns.
        title: above the axes.

    Returns:
        The figure.

    Raises:
        ValueError: if the matrix is not square with one row per label.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            f"matrix must be {len(labels)} x {len(labels)}, one row per label, got {matrix.shape}"
        )
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.6 + 0.45 * len(labels)
    right = np.trace(matrix) / max(matrix.sum(), 1)
    figure = new_figure(
        f"Confusion matrix {title}: {100 * right:.1f} % on the diagonal",
        width=side + 0.8,
        height=side,
    )
    with styled():
        axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = share[row, column] > 0.55
        axes.text(
            column,
            row,
            f"{count:g}",
            ha="center",
            va="center",
            color="white" if dark else "black",
            size=8,
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer", ylabel="truth", title=title)
    return figure


def training_curve(
    rows: Iterable[Mapping[str, float]],
    *,
    floors: Mapping[str, float] | None = None,
    unit: str = "loss (nats)",
) -> LabFigure:
    """Every column of a training log against its `step`, with the floors it must fall below.

    Args:
        rows: dicts with `step` and any other numbers; a row may lack a column.
        floors: name -> value drawn as a dashed line, e.g. ``{"ignores the audio": 2.1}``.
        unit: what the vertical axis counts.

    Returns:
        The figure.

    Raises:
        ValueError: if a row has no `step`, or there are no rows.
    """
    rows = list(rows)
    if not rows or any("step" not in row for row in rows):
        raise ValueError("rows must be dicts that each hold 'step', and at least one")
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "step"]
    figure = new_figure(f"Training curve: {', '.join(names)} over {rows[-1]['step']:g} steps")
    with styled():
        axes = figure.subplots()
    for name in names:
        axes.plot(
            *zip(*((row["step"], row[name]) for row in rows if name in row), strict=True),
            label=name,
        )
    for k, (name, value) in enumerate((floors or {}).items()):
        axes.axhline(
            value, ls="--", lw=1, color=COLOURS[(len(names) + k) % len(COLOURS)], label=name
        )
    axes.set(xlabel="step", ylabel=unit)
    axes.legend(frameon=False)
    return figure


def chain_diagram(
    chain: Iterable[tuple[str, Mapping[str, object]]], *, title: str = ""
) -> LabFigure:
    """A pedal chain as boxes from input to output.

    Args:
        chain: (name, {parameter with its unit: value}) in the order of the signal; may be empty.
        title: above the boxes.

    Returns:
        The figure.
    """
    boxes = [(name, _settings(parameters)) for name, parameters in chain]
    words = " -> ".join(["input", *(name for name, _ in boxes), "output"])
    tallest = max([1, *(text.count("\n") + 2 for _, text in boxes)])
    figure = new_figure(
        f"Pedal chain {title}".strip() + f": {words}",
        width=1.6 + 1.65 * len(boxes),
        height=0.4 + 0.19 * tallest,
    )
    axes = figure.subplots()
    axes.set(xlim=(-0.95, max(len(boxes), 0.1) - 0.05), ylim=(0, 1), title=title)
    axes.axis("off")
    for k, (name, text) in enumerate(boxes):
        axes.add_patch(
            FancyBboxPatch(
                (k - 0.4, 0.06), 0.8, 0.88, boxstyle="round,pad=0.02", fc="#eef4fa", ec=COLOURS[0]
            )
        )
        axes.text(k, 0.9, name, ha="center", va="top", weight="bold", size=9)
        axes.text(k, 0.9, "\n" + text, ha="center", va="top", size=7, linespacing=1.3)
    for k in range(len(boxes) + 1):
        axes.add_patch(
            FancyArrowPatch((k - 0.6, 0.5), (k - 0.41, 0.5), arrowstyle="-|>", mutation_scale=9)
        )
    axes.text(-0.62, 0.5, "in", ha="right", va="center")
    return figure


def _settings(parameters: Mapping[str, object]) -> str:
    lines = (
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )
    return "\n".join(textwrap.shorten(line, 24, placeholder="…") for line in lines)


def attention(
    weights: np.ndarray,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    *,
    xlabel: str = "audio frame",
    n_named: int = 0,
) -> LabFigure:
    """Where each output token looks.

    Args:
        weights: `(outputs, inputs)`, rows add to 1.
        x_labels: names of the inputs; where there are more than 12, every so many are shown.
        y_labels: names of the outputs.
        xlabel: what the inputs are, with the unit.
        n_named: so many first inputs are no frames: their names stand above the picture.

    Returns:
        The figure.

    Raises:
        ValueError: if the labels do not fit the weights.
    """
    weights = np.asarray(weights)
    if weights.shape != (len(y_labels), len(x_labels)):
        raise ValueError(
            f"weights must be {(len(y_labels), len(x_labels))}, as the labels, got {weights.shape}"
        )
    figure = new_figure(
        f"Attention of {len(y_labels)} outputs over {len(x_labels)} inputs",
        height=1.2 + 0.22 * len(y_labels),
    )
    with styled():
        axes = figure.subplots()
    image = axes.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
    every = max(1, -(-len(x_labels) // 12))
    frames = range(n_named, len(x_labels), every)
    axes.set_xticks(frames, [x_labels[frame] for frame in frames])
    if n_named:
        above = axes.secondary_xaxis("top")
        above.set_xticks(range(n_named), x_labels[:n_named], rotation="vertical", fontsize=6)
    axes.set_yticks(range(len(y_labels)), y_labels)
    axes.set(xlabel=xlabel, ylabel="output token")
    figure.colorbar(image, ax=axes, label="weight")
    return figure


def histograms(columns: Mapping[str, Sequence[float]], *, bins: int = 30) -> LabFigure:
    """A panel of histograms, one for each parameter.

    Args:
        columns: name with its unit, e.g. ``"drive (dB)"`` -> values.
        bins: bars per histogram.

    Returns:
        The figure.

    Raises:
        ValueError: if there are no columns, or one is empty or not finite.
    """
    if not columns:
        raise ValueError("columns must hold at least one name -> values, got none")
    for name, values in columns.items():
        if len(values) == 0 or not np.isfinite(np.asarray(values, dtype=float)).all():
            raise ValueError(f"columns[{name!r}] must be finite and not empty")
    across = min(4, len(columns))
    down = -(-len(columns) // across)
    figure = new_figure(
        f"Histograms: {', '.join(columns)}", width=max(3.2, 2.0 * across), height=0.3 + 1.5 * down
    )
    with styled():
        grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(columns) :]:
        axes.axis("off")
    for axes, (name, values) in zip(grid.flat, columns.items(), strict=False):
        axes.hist(values, bins=bins, color=COLOURS[0])
        axes.set_xlabel(name)
    for axes in grid[:, 0]:
        axes.set_ylabel("count")
    return figure


def intervals(rows: Sequence[Row], *, title: str = "") -> LabFigure:
    """Scores with their confidence intervals, beside chance, the floor, the shuffled-audio control and the oracle.

    Args:
        rows: of one protocol and one metric.
        title: above the axes.

    Returns:
        The figure.

    Raises:
        ValueError: if there are no rows, or they hold several metrics.
    """
    if len({(row.metric, row.unit) for row in rows}) != 1:
        raise ValueError(
            "rows must hold exactly one metric, got " + str(sorted({row.metric for row in rows}))
        )
    words = "; ".join(f"{row.name} on {row.sources} {row.ours:.3g}" for row in rows)
    figure = new_figure(f"{rows[0].metric}: {words}", height=0.9 + 0.4 * len(rows))
    with styled():
        axes = figure.subplots()
    at = np.arange(len(rows))[::-1]
    error = [
        [
            row.ours - (row.ours if row.low is None else row.low),
            (row.ours if row.high is None else row.high) - row.ours,
        ]
        for row in rows
    ]
    axes.barh(
        at,
        [row.ours for row in rows],
        height=0.55,
        color=COLOURS[5],
        xerr=np.array(error).T,
        capsize=3,
        label="ours",
    )
    for field, marker, colour in (
        ("chance", "|", 4),
        ("floor", "v", 1),
        ("control", "x", 3),
        ("oracle", "D", 2),
        ("reference", "*", 6),
    ):
        points = [
            (getattr(row, field), y)
            for row, y in zip(rows, at, strict=True)
            if getattr(row, field) is not None
        ]
        if points:
            words = "shuffled audio" if field == "control" else field
            axes.scatter(
                *zip(*points, strict=True),
                marker=marker,
                color=COLOURS[colour],
                zorder=3,
                label=words,
            )
    axes.set_yticks(at, [f"{row.name}, {row.sources} (n = {row.n})" for row in rows])
    axes.set(xlabel=rows[0].metric + (f" ({rows[0].unit})" if rows[0].unit else ""), title=title)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
