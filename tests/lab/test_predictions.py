"""The picture of a prediction says what the prediction says."""

import pytest

from labkit.effects.chain import Chain, Step
from labkit.lab.predictions import alternatives
from labkit.systems.pedal_order.predict import Prediction

DRIVEN = Chain((Step("distortion", {"drive_db": 20.0}),))
FOUND = Prediction(
    DRIVEN, 0.5, ((("distortion",), 0.5), ((), 0.25), (("chorus", "distortion"), 0.125))
)


def bars(axes):
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    return dict(zip(labels, [patch.get_width() for patch in axes.patches], strict=True))


def test_bars_are_the_probabilities_and_the_rest():
    figure = alternatives({"three": FOUND})
    assert bars(figure.axes[0]) == {
        "distortion": 0.5,
        "(clean)": 0.25,
        "chorus → distortion": 0.125,
        "all others": 0.125,
    }
    assert figure.alt == "Probability of the chains three: distortion 0.50"
    assert figure.png().startswith(b"\x89PNG")


def test_one_panel_each_and_no_more_bars_than_asked_for():
    figure = alternatives({"three": FOUND, "six": FOUND}, most=1)
    assert [axes.get_title() for axes in figure.axes] == ["three", "six"]
    assert bars(figure.axes[1]) == {"distortion": 0.5, "all others": 0.5}


def test_more_than_everything_leaves_no_negative_rest():
    over = Prediction(DRIVEN, 1.0, ((("distortion",), 1.0000001),))
    assert bars(alternatives({"": over}).axes[0])["all others"] == 0.0


def test_nothing_to_show_is_an_error():
    with pytest.raises(
        ValueError, match=r"need at least one prediction and most >= 1, got 0 and 5"
    ):
        alternatives({})
    with pytest.raises(ValueError, match=r"got 1 and 0"):
        alternatives({"a": FOUND}, most=0)
