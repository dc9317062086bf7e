"""Figures are small, described, free of global state, and show what they were given."""

import io

import numpy as np
import pytest
from matplotlib import get_backend, rcParams
from PIL import Image

from labkit.lab import plots
from labkit.signal.seeds import generator

RATE = 44100
NOISE = generator(0, "show").normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
SINE = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
CHAIN = [
    ("distortion", {"drive_db": 20.0}),
    ("reverb", {"room_size": 0.5, "wet_level": 0.33, "frozen": False}),
]
AXES = {"xlabel": "x", "ylabel": "y"}
LABELS = [str(k) for k in range(100)]
FIGURES = {
    "linear": lambda: plots.spectrogram(NOISE, RATE, scale="linear", title="noise"),
    "silence": lambda: plots.spectrogram(np.zeros((2, RATE)), RATE),
    "one sample": lambda: plots.spectrogram(np.ones((1, 1)), RATE),
    "compare": lambda: plots.compare_spectrograms(
        {"dry": (SINE, RATE), "wet": (NOISE, RATE), "low": (NOISE, 22050)}
    ),
    "curve": lambda: plots.training_curve(
        [{"step": 0, "loss": 3.0}, {"step": 9, "loss": 1.0, "valid": 2.0}],
        unit="loss (nats)",
        floors={"ignores the audio": 2.1},
    ),
    "lines": lambda: plots.lines([1, 2], {"a": [3.0, 4.0]}, **AXES, log_x=True),
    "matrix": lambda: plots.matrix(np.full((3, 100), 0.01), LABELS, ["a", "b", "c"], **AXES),
    "counts": lambda: plots.matrix(np.eye(2), ["a", "b"], ["a", "b"], **AXES, written=True),
    "scatter": lambda: plots.scatter({"here": NOISE[0, :20].reshape(10, 2)}, **AXES),
    "words": lambda: plots.scatter({"sad": [(0, 1)], "loud": [(2, 3)]}, **AXES, named=True),
    "chain": lambda: plots.chain_diagram(CHAIN),
    "no chain": lambda: plots.chain_diagram([]),
}
ALTS = {
    "curve": "loss (nats) over step: loss 3 to 1; valid 2 to 2",
    "lines": "y over x: a 3 to 4",
    "words": "y over x: sad, loud",
    "chain": "Pedal chain: input -> distortion -> reverb -> output",
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_described_labelled_and_free_of_global_state(name):
    before = dict(rcParams)
    figure = FIGURES[name]()
    data, metadata = figure._repr_mimebundle_()
    image = Image.open(io.BytesIO(data["image/png"]))
    assert len(data["image/png"]) < 60_000
    assert image.size[0] <= 1000
    assert len(np.unique(np.asarray(image))) > 3  # something is drawn
    assert data["text/plain"] == repr(figure) == metadata["image/png"]["alt"]
    assert ALTS.get(name, "") in repr(figure)
    assert dict(rcParams) == before
    assert get_backend(auto_select=False) is None or get_backend().lower() == "agg"
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert any(axes.get_xlabel() for axes in drawn) or "chain" in name
    assert not any(axes.spines["top"].get_visible() for axes in drawn)


def test_spectrograms_share_one_scale_and_put_the_sine_where_it_is():
    figure = plots.compare_spectrograms(
        {"a": (SINE, RATE), "b": (0.1 * SINE, RATE)}, scale="linear"
    )
    a, b = (axes.images[0] for axes in figure.axes[:2])
    assert a.get_clim() == b.get_clim()
    # Full scale, within the scalloping loss.
    assert a.get_array().max() == pytest.approx(0.0, abs=1.5)
    assert a.get_array().max() - b.get_array().max() == pytest.approx(20, abs=0.01)
    row = int(a.get_array()[:, 50].argmax())
    assert row / (a.get_array().shape[0] - 1) * RATE / 2 == pytest.approx(1000, abs=RATE / 2048)


def test_mel_ticks_stand_at_their_frequency():
    axes = plots.spectrogram(SINE, RATE).axes[0]
    tick = axes.get_yticks()[[label.get_text() for label in axes.get_yticklabels()].index("1")]
    assert abs(axes.images[0].get_array()[:, 50].argmax() + 0.5 - tick) <= 1.0


def test_a_live_figure_redraws_at_its_own_size():
    live = plots.LiveFigure(plots.spectrogram(SINE, RATE))
    before = bytes(live.value)
    live.update(FIGURES["compare"]())
    assert bytes(live.value) != before
    assert int(live.width) == Image.open(io.BytesIO(live.value)).size[0]
    assert repr(live) == "LiveFigure: Spectrogram (mel frequency): dry, wet, low"


@pytest.mark.parametrize(
    ("clips", "scale", "message"),
    [
        ({"": (SINE, RATE)}, "bark", "scale must be 'mel' or 'linear', got 'bark'"),
        ({"": (np.array([np.inf]), RATE)}, "mel", "audio must be finite"),
        ({}, "mel", "at least one"),
    ],
)
def test_errors(clips, scale, message):
    with pytest.raises(ValueError, match=message):
        plots.compare_spectrograms(clips, scale=scale)
