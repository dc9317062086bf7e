import io

import numpy as np
import pytest
from matplotlib import get_backend, rcParams
from PIL import Image

from labkit.lab import show
from labkit.measure.score import Row
from labkit.signal.seeds import generator

RATE = 44100
NOISE = generator(0, "show").normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
SINE = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
ROWS = [
    Row(
        "3 pedals",
        "transformer",
        kind,
        "exact chain",
        "",
        ours,
        ours - 0.05,
        ours + 0.05,
        100,
        0,
        chance=0.06,
        prior=0.06,
        floor=0.48,
        control=0.07,
        oracle=0.95,
        reference=0.77,
    )
    for kind, ours in (("generated", 0.9), ("sampled", 0.8), ("real", 0.5))
]
CHAIN = [
    ("distortion", {"drive_db": 20.0}),
    ("reverb", {"room_size": 0.5, "wet_level": 0.33, "frozen": False}),
]
GROWTH = [
    Row(
        f"growth with {axis}; others",
        "twins, here",
        "generated",
        f"{kind}: {k} {axis}",
        unit,
        k**power,
        None,
        None,
        1,
        0,
    )
    for axis, power in (("items", 1.0), ("pedals", 0.5))
    for kind, unit in (("time", "s"), ("memory", "MB"))
    for k in (1, 10, 100)
]
FIGURES = {
    "waveform": lambda: show.waveform(np.concatenate([NOISE, SINE]), RATE, title="two"),
    "short waveform": lambda: show.waveform(NOISE[0, :100], RATE),
    "spectrogram": lambda: show.spectrogram(NOISE, RATE),
    "linear": lambda: show.spectrogram(NOISE, RATE, scale="linear", title="noise"),
    "silence": lambda: show.spectrogram(np.zeros((2, RATE)), RATE),
    "one sample": lambda: show.spectrogram(np.ones((1, 1)), RATE),
    "compare": lambda: show.compare_spectrograms(
        {"dry": (SINE, RATE), "wet": (NOISE, RATE), "low": (NOISE, 22050)}
    ),
    "confusion": lambda: show.confusion(np.array([[8, 2], [0, 0]]), ["chorus", "phaser"]),
    "curve": lambda: show.training_curve(
        [{"step": 0, "loss": 3.0}, {"step": 9, "loss": 1.0, "valid": 2.0}],
        floors={"ignores the audio": 2.1},
    ),
    "chain": lambda: show.chain_diagram(CHAIN),
    "no chain": lambda: show.chain_diagram([]),
    "attention": lambda: show.attention(
        np.full((3, 100), 0.01), [str(k) for k in range(100)], ["a", "b", "c"]
    ),
    "histograms": lambda: show.histograms({f"knob {k} (dB)": NOISE[0] for k in range(5)}),
    "intervals": lambda: show.intervals(ROWS),
    "growth": lambda: show.growth(GROWTH),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_described_and_free_of_global_state(name: str) -> None:
    before = dict(rcParams)
    figure = FIGURES[name]()
    data, metadata = figure._repr_mimebundle_()
    picture = Image.open(io.BytesIO(data["image/png"]))
    assert len(data["image/png"]) < 60_000
    assert picture.size[0] <= 1000
    assert len(np.unique(np.asarray(picture))) > 3  # something is drawn
    assert data["text/plain"] == repr(figure) == metadata["image/png"]["alt"]
    assert dict(rcParams) == before


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"chain", "no chain"}))
def test_every_axis_says_what_it_counts(name: str) -> None:
    figure = FIGURES[name]()
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert all(axes.get_xlabel() for axes in drawn)
    assert any(axes.get_ylabel() for axes in figure.axes) or name == "intervals"


def test_pyplot_is_not_needed() -> None:
    assert get_backend(auto_select=False) is None or get_backend().lower() == "agg"


def test_envelope_keeps_the_peak() -> None:
    audio = np.zeros((1, RATE))
    audio[0, 12345] = 0.9
    figure = show.waveform(audio, RATE)
    top = max(path.vertices[:, 1].max() for path in figure.axes[0].collections[0].get_paths())
    assert top == 0.9
    assert "peak 0.900" in figure.alt


def test_spectrograms_share_one_scale_and_put_the_sine_where_it_is() -> None:
    figure = show.compare_spectrograms({"a": (SINE, RATE), "b": (0.1 * SINE, RATE)}, scale="linear")
    a, b = (axes.images[0] for axes in figure.axes[:2])
    assert a.get_clim() == b.get_clim()
    assert a.get_array().max() == pytest.approx(
        0.0, abs=1.5
    )  # full scale, within the scalloping loss
    assert a.get_array().max() - b.get_array().max() == pytest.approx(20, abs=0.01)
    row = int(a.get_array()[:, 50].argmax())
    assert row / (a.get_array().shape[0] - 1) * RATE / 2 == pytest.approx(1000, abs=RATE / 2048)


def test_mel_ticks_stand_at_their_frequency() -> None:
    figure = show.spectrogram(SINE, RATE)
    axes = figure.axes[0]
    tick = axes.get_yticks()[[label.get_text() for label in axes.get_yticklabels()].index("1")]
    assert abs(axes.images[0].get_array()[:, 50].argmax() + 0.5 - tick) <= 1.0


def test_intervals_draw_the_ends() -> None:
    axes = show.intervals(ROWS).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.8, 0.5]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(labels) == {"ours", "chance", "floor", "shuffled audio", "oracle", "reference"}


def test_growth_draws_each_size_once_and_nothing_else() -> None:
    figure = show.growth([*GROWTH, *ROWS])
    time, memory = figure.axes
    assert (
        [line.get_label() for line in time.lines]
        == [line.get_label() for line in memory.lines]
        == ["items", "pedals"]
    )
    np.testing.assert_allclose(time.lines[1].get_xydata(), [[1, 1], [10, 10**0.5], [100, 10]])
    assert time.get_xscale() == time.get_yscale() == "log"
    assert "items: 1 s at 1, 100 s at 100" in figure.alt
    with pytest.raises(ValueError, match="rows must hold the growth of a cost, got 3 others"):
        show.growth(ROWS)


def test_a_live_figure_redraws_at_its_own_size() -> None:
    live = show.live_figure(show.waveform(SINE, RATE))
    before = bytes(live.value)
    live.update(
        show.compare_spectrograms({"a": (SINE, RATE), "b": (NOISE, RATE), "c": (NOISE, RATE)})
    )
    assert bytes(live.value) != before
    assert int(live.width) == Image.open(io.BytesIO(live.value)).size[0]
    assert repr(live) == "LiveFigure: Spectrogram (mel frequency): a, b, c"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: show.spectrogram(SINE, RATE, scale="bark"),
            "scale must be 'mel' or 'linear', got 'bark'",
        ),
        (lambda: show.waveform(np.array([np.inf]), RATE), "audio must be finite"),
        (lambda: show.compare_spectrograms({}), "at least one"),
        (
            lambda: show.confusion(np.eye(3), ["a"]),
            r"matrix must be 1 x 1, one row per label, got \(3, 3\)",
        ),
        (lambda: show.training_curve([{"loss": 1.0}]), "each hold 'step'"),
        (lambda: show.attention(np.eye(2), ["a"], ["b"]), r"weights must be \(1, 1\)"),
        (lambda: show.histograms({"a": []}), r"columns\['a'\] must be finite and not empty"),
        (lambda: show.histograms({}), "at least one"),
        (lambda: show.intervals([]), "exactly one metric"),
    ],
)
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
