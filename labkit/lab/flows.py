"""Pictures of flows: paths from noise to data, and answers beside the truths."""

from collections.abc import Mapping

import numpy as np

from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled


def paths(path: np.ndarray, *, title: str = "") -> LabFigure:
    """Ways from noise to data of one value, and where they end.

    Args:
        path: (steps + 1, n), as `labkit.learn.flow.integrate` gives it for one value.
        title: above the picture.

    Returns:
        The figure: time to the right, a histogram of the ends beside it.

    Raises:
        ValueError: if `path` is not (steps + 1, n), with at least one step.
    """
    if path.ndim != 2 or len(path) < 2:
        raise ValueError(f"path must be (steps + 1, n) with at least one step, got {path.shape}")
    low = float((path[-1] < 0).mean())
    figure = new_figure(
        f"{path.shape[1]} paths in {len(path) - 1} steps; {low:.0%} end below 0. {title}",
        height=2.6,
    )
    with styled():
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    time = np.linspace(0, 1, len(path))
    left.plot(time, path[:, :60], color=COLOURS[0], lw=0.7, alpha=0.6)
    left.set(xlabel="time", ylabel="value", title=title, ylim=(-3, 3))
    right.hist(path[-1], bins=np.linspace(-3, 3, 49), orientation="horizontal", color=COLOURS[1])
    right.set(xlabel="ends")
    return figure


def answers(
    truth: np.ndarray, said: Mapping[str, np.ndarray], *, labels: tuple[str, str]
) -> LabFigure:
    """Two exchangeable numbers, true and answered, a panel for each who answers.

    Args:
        truth: (n, 2).
        said: name -> (n, 2).
        labels: of the axes.

    Returns:
        The figure: truths in grey in both orders, answers in colour.

    Raises:
        ValueError: if a shape is not that of `truth`.
    """
    wrong = [name for name, points in said.items() if points.shape != truth.shape]
    if wrong or truth.ndim != 2 or truth.shape[1] != 2:
        raise ValueError(f"truth and all answers must be (n, 2), got {truth.shape} and {wrong}")
    figure = new_figure(
        f"answers of {', '.join(said)} to {len(truth)} pairs", width=3.0 * len(said), height=2.9
    )
    with styled():
        panels = figure.subplots(1, len(said), squeeze=False, sharey=True)[0]
    for panel, (name, points) in zip(panels, said.items(), strict=True):
        for order in (truth, truth[:, ::-1]):
            panel.plot(order[:, 0], order[:, 1], ".", ms=3, color="0.8")
        panel.plot(points[:, 0], points[:, 1], ".", ms=4, color=COLOURS[0])
        panel.set(title=name, xlabel=labels[0], aspect="equal")
    panels[0].set_ylabel(labels[1])
    return figure
