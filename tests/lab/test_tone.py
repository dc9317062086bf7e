import numpy as np
import pytest

from labkit.lab.tone import group_map, word_map


def test_groups_lie_apart_along_the_direction_in_which_they_differ():
    rng = np.random.default_rng(0)
    far = np.zeros(5)
    far[3] = 10
    figure = group_map(
        {"here": rng.normal(0, 1, (20, 5)), "there": far + rng.normal(0, 1, (20, 5))}
    )
    (axes,) = figure.axes
    here, there = (dots.get_offsets()[:, 0] for dots in axes.collections)
    # Ten deviations between the middles, whichever way round the component points.
    assert abs(np.mean(here) - np.mean(there)) == pytest.approx(10, abs=1)


def test_two_vectors_make_no_plane():
    with pytest.raises(ValueError, match="three"):
        group_map({"one": np.zeros((1, 4)), "two": np.ones((1, 4))})


def test_no_word_of_a_map_covers_another() -> None:
    places = {
        "sad": (3.0, 1.5),
        "relaxing": (3.05, 1.5),
        "smooth": (3.05, 1.45),
        "tinny": (-5.0, 0.0),
        "loud": (0.0, -4.0),
    }
    figure = word_map(places, xlabel="x", ylabel="y")
    figure.draw_without_rendering()
    labels = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert set(labels) == set(places)
    pairs = [(a, b) for a in labels for b in labels if a < b and labels[a].overlaps(labels[b])]
    assert not pairs
