"""Pictures of tone: equaliser curves, and words placed by what people do with them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.transforms import Bbox

from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled


def eq_curves(
    curves: Mapping[str, np.ndarray], hz: Sequence[float], *, unit: str = "gain (dB)"
) -> LabFigure:
    """Gain against frequency, a line for each name.

    Args:
        curves: name -> (m,), in `unit`.
        hz: (m,) Hz, above 0.
        unit: the label of the vertical axis.

    Returns:
        The figure; the frequency axis is logarithmic.

    Raises:
        ValueError: if there are no curves, or one has another length than `hz`.
    """
    if not curves or any(len(curve) != len(hz) for curve in curves.values()):
        raise ValueError(f"curves must hold at least one name -> {len(hz)} values")
    tops = ", ".join(
        f"{name} highest at {hz[int(np.argmax(curve))]:.0f} Hz" for name, curve in curves.items()
    )
    figure = new_figure(f"Equaliser curves: {tops}", width=6.4, height=2.8)
    with styled():
        axes = figure.subplots()
    for k, (name, curve) in enumerate(curves.items()):
        axes.plot(
            hz,
            curve,
            label=name,
            color=COLOURS[k % len(COLOURS)],
            ls="-" if k < len(COLOURS) else "--",
        )
    axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    axes.set(xscale="log", xlabel="frequency (Hz)", ylabel=unit, xlim=(30, 20000))
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return figure


def word_map(places: Mapping[str, tuple[float, float]], *, xlabel: str, ylabel: str) -> LabFigure:
    """Words on a plane.

    Args:
        places: word -> (x, y).
        xlabel: what x is.
        ylabel: what y is.

    Returns:
        The figure.

    Raises:
        ValueError: if there are no words.
    """
    if not places:
        raise ValueError("places must hold at least one word, got none")
    ends = sorted(places, key=lambda word: places[word][0])
    figure = new_figure(
        f"{len(places)} words, from {ends[0]} (left) to {ends[-1]} (right)", width=6.4, height=4.2
    )
    with styled():
        axes = figure.subplots()
    x, y = np.array(list(places.values())).T
    axes.scatter(x, y, s=6, color=COLOURS[5])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.draw_without_rendering()  # lays out the axes, in which the words are measured
    # Left to right, each word in the first corner of its point where it covers none before it.
    taken: list[Bbox] = []
    for word in ends:
        for dx, dy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            side = {"ha": "left" if dx > 0 else "right", "va": "bottom" if dy > 0 else "top"}
            label = axes.annotate(
                word,
                places[word],
                xytext=(2 * dx, 2 * dy),
                textcoords="offset points",
                fontsize=7,
                **side,
            )
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            label.remove()
        else:
            axes.add_artist(label)
        taken.append(box)
    return figure


def group_map(groups: Mapping[str, np.ndarray], *, title: str = "") -> LabFigure:
    """Vectors of several groups on the plane in which they spread most.

    Args:
        groups: name -> (n, d), d at least 2.
        title: above the axes.

    Returns:
        The figure.

    Raises:
        ValueError: if there are fewer than three vectors in all.

    Source: principal components.
    """
    vectors = np.concatenate(list(groups.values()))
    if len(vectors) < 3:
        raise ValueError(f"groups must hold at least three vectors, got {len(vectors)}")
    middle = vectors.mean(0)
    axes_2d = np.linalg.svd(vectors - middle, full_matrices=False)[2][:2].T
    figure = new_figure(
        f"{len(groups)} groups on a plane: {', '.join(groups)}", width=5.2, height=3.6
    )
    with styled():
        axes = figure.subplots()
    for k, (name, some) in enumerate(groups.items()):
        axes.scatter(
            *((some - middle) @ axes_2d).T, s=18, color=COLOURS[k % len(COLOURS)], label=name
        )
    axes.set(xlabel="first component", ylabel="second component", title=title)
    axes.legend(frameon=False, fontsize=8)
    return figure
