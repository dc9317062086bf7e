"""Pictures of gradients: what they draw is what the rows hold."""

import pytest

from labkit.lab import slopes
from labkit.measure.score import Row


def row(name, metric, ours, reference=None):
    return Row("EQ", name, "generated", metric, "", ours, None, None, 3, 1, reference=reference)


ROWS = [
    row("SPSA", "cosine: 4 renders", 0.5, 0.45),
    row("SPSA", "cosine, 2 renders", 0.4, 0.39),
    row("SPSA", "bias: eps 1e-02", 0.1),
    row("central", "cosine: eps 1e-03", 1.0),
    row("proxy", "cosine, taught by 400 renders", 0.8),
    row("central", "cosine, worst of eps 1e-3 to 1e-1", 0.9),
]


def test_points_are_read_from_the_metrics_and_sorted():
    assert slopes._lines(ROWS, "EQ", "cosine", "renders") == {
        "SPSA": [(2.0, 0.4, 0.39), (4.0, 0.5, 0.45)]
    }
    assert slopes._lines(ROWS, "EQ", "cosine", "eps") == {"central": [(0.001, 1.0, None)]}
    figure = slopes.curves(ROWS, ["EQ"], "cosine", axis="renders")
    assert [line.get_label() for line in figure.axes[0].lines] == ["SPSA", "theory"]
    assert "SPSA" in figure.alt
    assert figure.png()[:4] == b"\x89PNG"


def test_the_line_of_a_slope():
    figure = slopes.slope([0.0, 1.0], [2.0, 4.0], 0.5, 3.0, 2.0, knob="gain")
    x, y = figure.axes[0].lines[1].get_data()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(2.0)


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="rows must hold spread against eps"):
        slopes.curves(ROWS, ["EQ"], "spread", axis="eps")
    with pytest.raises(ValueError, match="equally many, at least 2, got 1 and 2"):
        slopes.slope([0.0], [1.0, 2.0], 0.5, 3.0, 2.0, knob="gain")
