"""Match my pedal: known chains are found again, and what is no pedal's work is refused."""

import functools

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt

from labkit.cli import main
from labkit.effects.chain import Chain, Step
from labkit.measure.losses import mr_stft
from labkit.signal.files import AudioError, read_audio, write_audio
from labkit.signal.seeds import generator
from labkit.signal.sources import load_phrase
from labkit.signal.units import set_rms
from labkit.systems.blackbox import match as matching
from labkit.systems.blackbox.match import match

RACK = {"one": ("gain", "clipping", "high_shelf")}
UNIT = Chain(
    (
        Step("gain", {"gain_db": 9.0}),
        Step("clipping", {"threshold_db": -24.0}),
        Step("high_shelf", {"cutoff_frequency_hz": 1500.0, "gain_db": -12.0, "q": 0.7}),
    )
)


@pytest.fixture(scope="module")
def pair():
    dry, rate = load_phrase("riff")
    dry = set_rms(dry[:, : 2 * rate], -20.0)
    return dry, UNIT.render(dry, rate), rate


def test_a_known_unit_is_found_late_inverted_and_at_another_level(pair):
    dry, wet, rate = pair
    late = np.pad(-0.5 * wet, ((0, 0), (rate // 10, 0)))
    found = match(dry, late, rate, racks=RACK, renders=300, grey_box=False)
    assert found.explained
    assert found.left < 0.15
    assert found.likeness < -0.5
    assert found.lag_ms == pytest.approx(100, abs=0.1)
    clipping = next(step for step in found.chain.steps if step.effect == "clipping")
    drive = next(step for step in found.chain.steps[1:] if step.effect == "gain")
    # Only how far the gain goes above the threshold can be heard.
    over_db = drive.params["gain_db"] - clipping.params["threshold_db"]
    assert over_db == pytest.approx(33.0, abs=1.5)
    out = found.chain.render(dry, rate)
    assert np.sqrt(np.mean(out**2)) == pytest.approx(np.sqrt(np.mean((0.5 * wet) ** 2)), rel=0.1)


def test_the_grey_box_comes_near_a_curve_between_filters(pair, monkeypatch):
    dry, wet, rate = pair
    fewer = functools.partial(matching.fit_grey_box, steps=30, tried=9)
    monkeypatch.setattr(matching, "fit_grey_box", fewer)
    found = match(dry, wet, rate, racks={"tone": ("high_shelf",)}, renders=40)
    assert found.grey_box < 0.5 * found.nothing
    assert found.grey_box < found.distance


@pytest.mark.parametrize("cuts_bass_first", [False, True])
def test_the_grey_box_begins_as_the_unit_does(pair, cuts_bass_first):
    dry, _, rate = pair
    bright = sosfilt(butter(1, 700, "high", fs=rate, output="sos"), dry)
    wet = dry + 0.3 * np.tanh(60 * bright) if cuts_bass_first else np.tanh(20 * dry)
    wet = set_rms(wet, -20.0).astype(np.float32)
    model = matching.fit_grey_box(dry, wet, [0, 1, 2], steps=40, tried=12)
    out = model(torch.from_numpy(dry)).numpy()
    # From the other unit's start 1.36 and .49 are left.
    assert mr_stft(out, wet, rate) < 0.45 * mr_stft(dry, wet, rate)


def test_a_filter_of_the_grey_box_has_its_levels_and_rings_no_longer_than_it_must():
    model, n = matching.GreyBox(cutoff_hz=700), 8192
    response = model._response(model.before, n).detach().numpy()
    hz = np.fft.rfftfreq(n, 1 / 44_100)[10:-10]
    analogue = 1j * hz / (700 + 1j * hz)
    assert np.abs(response[10:-10] - analogue).max() < 0.05  # phase too: it is of minimum phase
    assert np.abs(model(torch.zeros(1, 1000)).detach().numpy()).max() < 1e-6


def test_another_performance_is_no_match(pair):
    dry, _, rate = pair
    noise = 0.1 * generator(0, "no match").standard_normal(dry.shape).astype(np.float32)
    for other in (noise, load_phrase("line")[0][:, : 2 * rate]):
        assert not match(dry, other, rate, racks=RACK, renders=60, grey_box=False).explained


def test_wrong_pairs_are_named(pair):
    dry, wet, rate = pair
    for given, words in (
        ((dry, 0 * wet), "must both hold sound"),
        ((dry, wet[:, :9000]), "1.5 s"),
        ((dry, -0.5 * dry), "got the same sound"),
    ):
        with pytest.raises(AudioError, match=words):
            match(*given, rate)
    with pytest.raises(ValueError, match="renders must be at least 1, got 0"):
        match(dry, wet, rate, renders=0)


def test_the_command_writes_a_chain_that_makes_its_sound(pair, tmp_path, capsys):
    dry, wet, rate = pair
    write_audio(tmp_path / "dry.wav", dry, rate)
    write_audio(tmp_path / "wet.wav", wet / np.abs(wet).max(), rate)  # the match may go beyond
    command = ["match", str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav"), "--out"]
    options = ["--rack", *RACK["one"], "--renders", "200", "--no-grey-box"]
    assert main([*command, str(tmp_path / "out"), *options]) == 0
    assert "held-out sound" in capsys.readouterr().out
    chain = Chain.load(tmp_path / "out" / "wet.chain.json")
    matched, _ = read_audio(tmp_path / "out" / "wet.matched.wav")
    board = {}
    exec((tmp_path / "out" / "wet.board.py").read_text(), board)
    for made in (chain.render(dry, rate), board["board"](dry, rate)):
        assert np.abs(made - matched).max() < 1e-3
