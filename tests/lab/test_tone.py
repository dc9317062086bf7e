import numpy as np
import pytest

from labkit.lab.tone import group_map


def test_groups_lie_apart_along_the_direction_in_which_they_differ():
    rng = np.random.default_rng(0)
    far = np.zeros(5)
    far[3] = 10
    figure = group_map({"here": rng.normal(0, 1, (20, 5)), "there": far + rng.normal(0, 1, (20, 5))})
    (axes,) = figure.axes
    here, there = (dots.get_offsets()[:, 0] for dots in axes.collections)
    # Ten deviations between the middles, whichever way round the component points.
    assert abs(np.mean(here) - np.mean(there)) == pytest.approx(10, abs=1)


def test_two_vectors_make_no_plane():
    with pytest.raises(ValueError, match="three"):
        group_map({"one": np.zeros((1, 4)), "two": np.ones((1, 4))})
