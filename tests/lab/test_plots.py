"""Figures are small, described, free of global state, and show what they were given."""

import io

import numpy as np
import pytest
from matplotlib import get_backend, rcParams
from PIL import Image

from labkit.effects.chain import Chain, Step
from labkit.lab import plots
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.predict import Prediction

RATE = 44100
NOISE = generator(0, "show").normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
SINE = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
CHAIN = [
    ("distortion", {"drive_db": 20.0}),
    ("reverb", {"room_size": 0.5, "wet_level": 0.33, "frozen": False}),
]
DRIVEN = Chain((Step("distortion", {"drive_db": 20.0}),))
PREDICTED = Prediction(
    DRIVEN, 0.5, ((("distortion",), 0.5), ((), 0.25), (("chorus", "distortion"), 0.125))
)
PATH = np.linspace(np.array([-1.0, 0.0, 0.5, 2.0]), np.array([-1.0, -1.0, -1.0, 1.0]), 6)
PAIRS = np.array([[0.0, 1.0], [0.2, 0.4]])
WORDS = {
    "sad": (3.0, 1.5),
    "relaxing": (3.05, 1.5),
    "smooth": (3.05, 1.45),
    "tinny": (-5.0, 0.0),
    "loud": (0.0, -4.0),
}
FAR = np.array([0, 0, 0, 10, 0])
GROUPS = {
    "here": generator(0, "here").normal(0, 1, (20, 5)),
    "there": FAR + generator(0, "there").normal(0, 1, (20, 5)),
}
FIGURES = {
    "spectrogram": lambda: plots.spectrogram(NOISE, RATE),
    "linear": lambda: plots.spectrogram(NOISE, RATE, scale="linear", title="noise"),
    "silence": lambda: plots.spectrogram(np.zeros((2, RATE)), RATE),
    "one sample": lambda: plots.spectrogram(np.ones((1, 1)), RATE),
    "compare": lambda: plots.compare_spectrograms(
        {"dry": (SINE, RATE), "wet": (NOISE, RATE), "low": (NOISE, 22050)}
    ),
    "confusion": lambda: plots.confusion(np.array([[8, 2], [0, 0]]), ["chorus", "phaser"]),
    "curve": lambda: plots.training_curve(
        [{"step": 0, "loss": 3.0}, {"step": 9, "loss": 1.0, "valid": 2.0}],
        floors={"ignores the audio": 2.1},
    ),
    "lines": lambda: plots.lines(
        [1, 2], {"a": [3.0, 4.0]}, xlabel="x", ylabel="y", log_x=True, diagonal=True
    ),
    "chain": lambda: plots.chain_diagram(CHAIN),
    "no chain": lambda: plots.chain_diagram([]),
    "alternatives": lambda: plots.alternatives({"three": PREDICTED, "six": PREDICTED}),
    "attention": lambda: plots.attention(
        np.full((3, 100), 0.01), [str(k) for k in range(100)], ["a", "b", "c"], n_named=2
    ),
    "histograms": lambda: plots.histograms({f"knob {k} (dB)": NOISE[0] for k in range(5)}),
    "words": lambda: plots.word_map(WORDS, xlabel="x", ylabel="y"),
    "groups": lambda: plots.group_map(GROUPS),
    "paths": lambda: plots.flow_paths(PATH, title="three of four"),
    "pairs": lambda: plots.pair_answers(
        PAIRS, {"mean": PAIRS.mean(1, keepdims=True).repeat(2, 1)}, labels=("a", "b")
    ),
}
ALTS = {
    "curve": "loss (nats) over step: loss 3 to 1; valid 2 to 2",
    "lines": "y over x: a 3 to 4",
    "alternatives": "Probability of the chains three: distortion 0.50; six: distortion 0.50",
    "paths": "4 paths in 5 steps; 75% end below 0. three of four",
    "words": "5 words, from tinny (left) to smooth (right)",
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_described_and_free_of_global_state(name):
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


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"chain", "no chain"}))
def test_every_figure_labels_its_axes(name):
    figure = FIGURES[name]()
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert any(axes.get_xlabel() for axes in drawn)
    assert any(axes.get_ylabel() for axes in figure.axes) or name == "alternatives"


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
    live = plots.live_figure(plots.spectrogram(SINE, RATE))
    before = bytes(live.value)
    live.update(FIGURES["compare"]())
    assert bytes(live.value) != before
    assert int(live.width) == Image.open(io.BytesIO(live.value)).size[0]
    assert repr(live) == "LiveFigure: Spectrogram (mel frequency): dry, wet, low"


def bars(axes):
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    return dict(zip(labels, [patch.get_width() for patch in axes.patches], strict=True))


def test_bars_are_the_probabilities_and_the_rest():
    figure = plots.alternatives({"three": PREDICTED})
    assert bars(figure.axes[0]) == {
        "distortion": 0.5,
        "(clean)": 0.25,
        "chorus → distortion": 0.125,
        "all others": 0.125,
    }
    assert bars(plots.alternatives({"": PREDICTED}, most=1).axes[0])["all others"] == 0.5
    over = Prediction(DRIVEN, 1.0, ((("distortion",), 1.0000001),))
    assert bars(plots.alternatives({"": over}).axes[0])["all others"] == 0.0


def test_paths_groups_and_pairs_are_where_they_were_given():
    paths = FIGURES["paths"]()
    time, first = paths.axes[0].lines[3].get_data()
    assert (time[0], time[-1], first[0], first[-1]) == (0, 1, 2, 1)
    assert sum(patch.get_width() for patch in paths.axes[1].patches) == 4
    here, there = (dots.get_offsets()[:, 0] for dots in FIGURES["groups"]().axes[0].collections)
    # Ten deviations between the means, whichever way round the component points.
    assert abs(np.mean(here) - np.mean(there)) == pytest.approx(10, abs=1)
    pairs = FIGURES["pairs"]().axes[0].lines
    assert [line.get_xdata().tolist() for line in pairs[:2]] == [[0.0, 0.2], [1.0, 0.4]]
    assert pairs[2].get_ydata().tolist() == pytest.approx([0.5, 0.3])


def test_no_word_of_a_map_covers_another():
    figure = FIGURES["words"]()
    figure.draw_without_rendering()
    labels = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert set(labels) == set(WORDS)
    assert not [(a, b) for a in labels for b in labels if a < b and labels[a].overlaps(labels[b])]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.spectrogram(SINE, RATE, scale="bark"), "scale must be 'mel' or 'linear'"),
        (lambda: plots.spectrogram(np.array([np.inf]), RATE), "audio must be finite"),
        (lambda: plots.compare_spectrograms({}), "at least one"),
        (lambda: plots.confusion(np.eye(3), ["a"]), r"matrix must be 1 x 1, .* got \(3, 3\)"),
        (lambda: plots.training_curve([{"loss": 1.0}]), "each hold 'step'"),
        (lambda: plots.lines([1, 2], {"a": [3.0]}, xlabel="x", ylabel="y"), "as long as x"),
        (lambda: plots.attention(np.eye(2), ["a"], ["b"]), r"weights must be \(1, 1\)"),
        (lambda: plots.histograms({"a": []}), r"columns\['a'\] must be finite and not empty"),
        (lambda: plots.histograms({}), "at least one"),
        (lambda: plots.alternatives({}), "at least one title"),
        (lambda: plots.group_map({"one": np.zeros((1, 4))}), "at least three vectors, got 1"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
