"""Figures are small, described, free of global state, and show what they were given."""

import io

import numpy as np
import pytest
from matplotlib import get_backend, rcParams
from PIL import Image

from labkit.effects.chain import Chain, Step
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
}
ALTS = {
    "curve": "loss (nats) over step: loss 3 to 1; valid 2 to 2",
    "lines": "y over x: a 3 to 4",
    "words": "y over x: sad, loud",
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_described_labelled_and_free_of_global_state(name):
    before = dict(rcParams)
    figure = FIGURES[name]()
    data, metadata = figure._repr_mimebundle_()
    image = Image.open(io.BytesIO(data["image/png"])).convert("RGBA")
    assert len(data["image/png"]) < 60_000
    assert image.size[0] <= 1000
    assert len(np.unique(np.asarray(image))) > 3  # something is drawn
    assert image.getpixel((0, 0))[3] == 0  # the page's own background, light or dark
    assert data["text/plain"] == repr(figure) == metadata["image/png"]["alt"]
    assert ALTS.get(name, "") in repr(figure)
    assert dict(rcParams) == before
    assert get_backend(auto_select=False) is None or get_backend().lower() == "agg"
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert any(axes.get_xlabel() for axes in drawn)
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


def test_the_highest_sample_rate_has_a_spectrogram():
    (image,) = plots.spectrogram(SINE, 768_000).axes[0].images
    assert image.get_array().max() > -6


def test_a_live_figure_redraws_at_its_own_size():
    live = plots.LiveFigure(plots.spectrogram(SINE, RATE))
    before = live.value
    live.update(FIGURES["compare"]())
    assert live.value != before
    assert repr(live) == "LiveFigure: Spectrogram (mel frequency): dry, wet, low"
    assert 'alt="Spectrogram (mel frequency): dry, wet, low"' in live.value
    live.update(plots.chain_diagram(CHAIN))
    assert live.value == plots.chain_diagram(CHAIN)._repr_html_()


def test_a_chain_diagram_is_text_with_units():
    shown = plots.chain_diagram([*CHAIN, ("<own>", {"rate_hz": 0.5, "steps": 3})])
    reverb = "reverb (room size 0.5, wet level 0.33, frozen False)"
    own = "<own> (rate 0.5 Hz, steps 3)"
    assert (
        str(shown)
        == f"Pedal chain: input -> distortion (drive 20 dB) -> {reverb} -> {own} -> output"
    )
    assert "<b>&lt;own&gt;</b><br>rate 0.5 Hz" in shown._repr_html_()
    nothing = "no pedals (the recording is dry)"
    assert str(plots.chain_diagram([])) == f"Pedal chain: input -> {nothing} -> output"


def test_a_card_shows_knobs_as_a_clock_does(tmp_path):
    # A third of -36 to -15 dB; a gain beyond its range stops at the end.
    steps = Step("clipping", {"threshold_db": -29.0}), Step("gain", {"gain_db": 30.0})
    card = plots.chain_card(Chain(steps), -14.2)
    words = [text.get_text() for text in card.axes[0].texts]
    assert words[:2] == ["1. clipping", "threshold -29 dB\n10:30"]
    assert words[3] == "gain 30 dB\n5:00"
    card.save(tmp_path / "card.svg")
    assert "input: -14 dBFS RMS" in (tmp_path / "card.svg").read_text()
    assert "no pedals" in plots.chain_card(Chain()).axes[0].texts[0].get_text()


def test_what_matplotlib_draws_black_is_legible_on_a_dark_page():
    figure = plots.LabFigure("lines and an image")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], color="black", label="line")
    left.legend(frameon=False)
    right.imshow(np.ones((2, 2)))
    on_image = right.text(0, 0, "on the image", color="black")
    image = np.asarray(Image.open(io.BytesIO(figure.png())).convert("RGBA"))[:, :250].astype(int)
    drawn = image[image[..., 3] > 100][:, :3].mean(1)
    assert len(drawn) > 100
    assert drawn.min() > 0x60
    assert on_image.get_color() == "black"


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
