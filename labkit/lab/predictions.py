"""What a pedal-order model says, as a picture: not one answer, but how sure it is and what else it might be."""

from collections.abc import Mapping

from labkit.lab.figures import COLOURS, LabFigure, new_figure, styled
from labkit.systems.pedal_order.predict import Prediction


def alternatives(predictions: Mapping[str, Prediction], *, most: int = 5) -> LabFigure:
    """The most probable chains as bars, one panel for each prediction; what is left over is the last bar.

    Args:
        predictions: title -> prediction.
        most: bars in each panel beside "all others", >= 1.

    Returns:
        The figure.

    Raises:
        ValueError: if there are no predictions, or `most` is below 1.
    """
    if not predictions or most < 1:
        raise ValueError(
            f"need at least one prediction and most >= 1, got {len(predictions)} and {most}"
        )
    words = "; ".join(
        f"{title}: {_name(p.chain.names)} {p.probability:.2f}" for title, p in predictions.items()
    )
    figure = new_figure(
        f"Probability of the chains {words}",
        height=(0.35 + 0.24 * (most + 1)) * len(predictions) + 0.3,
    )
    with styled():
        column = figure.subplots(len(predictions), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (title, prediction) in zip(column, predictions.items(), strict=True):
        kept = prediction.alternatives[:most]
        shares = [share for _, share in kept]
        labels = [*(_name(names) for names, _ in kept), "all others"]
        shares.append(max(0.0, 1.0 - sum(shares)))
        colours = [COLOURS[0], *[COLOURS[5]] * (len(kept) - 1), "0.8"]
        bars = axes.barh(range(len(labels)), shares, color=colours)
        axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=2, size=8)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set(xlim=(0, 1.12), xticks=(0, 0.5, 1), title=title)
    column[-1].set_xlabel("probability")
    return figure


def _name(names: tuple[str, ...]) -> str:
    return " → ".join(names) or "(clean)"
