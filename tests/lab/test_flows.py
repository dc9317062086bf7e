"""Pictures of flows: what they draw is what they were given."""

import numpy as np
import pytest

from labkit.lab import flows


def test_paths_and_where_they_end():
    path = np.linspace(np.array([-1.0, 0.0, 0.5, 2.0]), np.array([-1.0, -1.0, -1.0, 1.0]), 6)
    figure = flows.paths(path, title="three of four")
    assert "4 paths in 5 steps; 75% end below 0" in figure.alt
    time, first = figure.axes[0].lines[3].get_data()
    assert (time[0], time[-1], first[0], first[-1]) == (0, 1, 2, 1)
    assert sum(patch.get_width() for patch in figure.axes[1].patches) == 4
    assert figure.png()[:4] == b"\x89PNG"


def test_answers_stand_beside_both_orders():
    truth = np.array([[0.0, 1.0], [0.2, 0.4]])
    figure = flows.answers(
        truth,
        {"mean": truth.mean(1, keepdims=True).repeat(2, 1), "truth": truth},
        labels=("a", "b"),
    )
    assert [axes.get_title() for axes in figure.axes] == ["mean", "truth"]
    grey = [line.get_xdata().tolist() for line in figure.axes[0].lines[:2]]
    assert grey == [[0.0, 0.2], [1.0, 0.4]]
    assert figure.axes[0].lines[2].get_ydata().tolist() == pytest.approx([0.5, 0.3])


def test_mistakes_are_said():
    with pytest.raises(ValueError, match=r"path must be \(steps"):
        flows.paths(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="must be"):
        flows.answers(np.zeros((3, 2)), {"short": np.zeros((2, 2))}, labels=("a", "b"))
