"""Pictures of saturation: a curve with its harmonics, lines, a surface, and stated against true shares."""

from collections.abc import Mapping, Sequence

import numpy as np

from labkit.effects.saturation import check_curve, saturate
from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled
from labkit.measure.score import Row

_PERIOD, _CYCLES = 512, 4


def harmonics_db(curve: str, depth: float, *, bias: float = 0.3, most: int = 15) -> np.ndarray:
    """What a curve makes of a full-scale sine: (most,) levels of its harmonics in dB, the first one 0.

    Args:
        curve: a name in `CURVES`.
        depth: 1..10.
        bias: of hysteresis.
        most: harmonics, >= 1.

    Returns:
        Levels, floored at -120 dB.

    Raises:
        ValueError: as `saturate`.
    """
    _, wet = _cycle(curve, depth, bias)
    power = np.abs(np.fft.rfft(wet))[1 : most + 1] / np.abs(np.fft.rfft(wet))[1]
    return 20 * np.log10(np.maximum(power, 1e-6))


def _cycle(curve: str, depth: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Input and output of the last of a few periods: a curve with memory has settled by then."""
    sine = np.sin(2 * np.pi * np.arange(_PERIOD * _CYCLES) / _PERIOD)
    return sine[-_PERIOD:], saturate(sine, depth, curve=curve, bias=bias)[-_PERIOD:]


def transfer(curve: str, depth: float, *, bias: float = 0.3) -> LabFigure:
    """Output against input over one period of a full-scale sine, and the harmonics that come of it.

    Args:
        curve: a name in `CURVES`.
        depth: 1..10.
        bias: of hysteresis.

    Returns:
        The figure.

    Raises:
        ValueError: as `saturate`.
    """
    check_curve(curve)
    dry, wet = _cycle(curve, depth, bias)
    levels = harmonics_db(curve, depth, bias=bias)
    words = ", ".join(f"{k} {levels[k - 1]:.0f} dB" for k in (3, 5, 7))
    figure = new_figure(f"{curve} at depth {depth:.1f}; harmonics {words}", width=6.4, height=2.4)
    with styled():
        left, right = figure.subplots(1, 2)
    left.plot(np.append(dry, dry[0]), np.append(wet, wet[0]))
    left.set(
        xlabel="input",
        ylabel="output",
        xlim=(-1.05, 1.05),
        ylim=(-1.05, 1.05),
        title=f"{curve}, {depth:.1f}",
    )
    numbers = np.arange(1, len(levels) + 1)
    right.bar(numbers, np.maximum(levels, -80.0) + 80.0, bottom=-80.0, color=COLOURS[0])
    right.set(xlabel="harmonic", ylabel="level (dB)", xticks=numbers[::2], ylim=(-80, 3))
    return figure


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
    diagonal: bool = False,
) -> LabFigure:
    """Lines over one axis.

    Args:
        x: where the values stand.
        series: name -> values, each as long as `x`.
        xlabel: with its unit.
        ylabel: with its unit.
        log_x: logarithmic axis.
        log_y: logarithmic axis.
        diagonal: draw y = x too.

    Returns:
        The figure.

    Raises:
        ValueError: if there are no series, or one has another length than `x`.
    """
    if not series or any(len(values) != len(x) for values in series.values()):
        raise ValueError(
            f"series must hold lines of {len(x)} values, got {[len(v) for v in series.values()]}"
        )
    ends = "; ".join(
        f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, values in series.items()
    )
    figure = new_figure(f"{ylabel} over {xlabel}: {ends}", width=7.2)
    with styled():
        axes = figure.subplots()
    if diagonal:
        axes.plot([min(x), max(x)], [min(x), max(x)], ls="--", lw=1, color="0.5")
    for name, values in series.items():
        axes.plot(x, values, "o-", ms=3, label=name)
    axes.set(
        xlabel=xlabel,
        ylabel=ylabel,
        **({"xscale": "log"} if log_x else {}),
        **({"yscale": "log"} if log_y else {}),
    )
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def surface(
    values: np.ndarray,
    x: Sequence[float],
    y: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    mark: tuple[float, float] | None = None,
) -> LabFigure:
    """A quantity over a plane, as colours with contours.

    Args:
        values: `(len(y), len(x))`, finite.
        x: columns.
        y: rows.
        xlabel: with its unit.
        ylabel: with its unit.
        label: of the quantity.
        mark: (x, y) of a point to cross.

    Returns:
        The figure.

    Raises:
        ValueError: if the shape does not fit.
    """
    values = np.asarray(values)
    if values.shape != (len(y), len(x)) or not np.isfinite(values).all():
        raise ValueError(f"values must be finite and {(len(y), len(x))}, got {values.shape}")
    row, column = np.unravel_index(values.argmin(), values.shape)
    figure = new_figure(
        f"{label} over {xlabel} and {ylabel}; least at {x[column]:.3g}, {y[row]:.3g}",
        width=5.0,
        height=3.0,
    )
    with styled():
        axes = figure.subplots()
    image = axes.pcolormesh(x, y, values, shading="nearest", cmap="viridis")
    axes.contour(x, y, values, levels=10, colors="white", linewidths=0.4)
    if mark is not None:
        axes.plot(*mark, "+", ms=12, mew=2, color="white")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image, ax=axes, label=label)
    return figure


def coverage(rows: Sequence[Row]) -> LabFigure:
    """How often intervals held the truth against how often they said they would, a line for each task and source.

    Args:
        rows: of which those of metric ``"interval: 80%"`` and the like count.

    Returns:
        The figure; on the diagonal a network knows how much it knows.

    Raises:
        ValueError: if there are no such rows.
    """
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        if row.metric.startswith("interval: "):
            stated = float(row.metric.removeprefix("interval: ").rstrip("%")) / 100
            found.setdefault(f"{row.protocol}, {row.sources}", {})[stated] = row.ours
    if len({tuple(sorted(line)) for line in found.values()}) != 1:
        raise ValueError(
            f"rows must hold the same intervals for every task and source, got {len(found)} of them"
        )
    stated = sorted(next(iter(found.values())))
    series = {name: [line[share] for share in stated] for name, line in found.items()}
    return lines(stated, series, xlabel="stated share", ylabel="share held", diagonal=True)
