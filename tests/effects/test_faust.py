"""A chain as a program in Faust: complete, set as the chain is, and a plug-in that other hosts play."""

import functools
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from labkit.effects import faust
from labkit.effects.chain import Chain, Step
from labkit.effects.hosts.engines import SETTLE_SECONDS
from labkit.effects.registry import _EFFECTS, EFFECTS
from labkit.measure.metrics import relative_error_db
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

RATE = 44_100


def setting(name, unit=0.5):
    space = EFFECTS[name].space
    return Step(name, space.from_unit(np.full(len(space), unit)))


# The gain of a level step may leave its range; 0.12 s is a delay whose product in float32 rounds up.
CHAIN = Chain(
    (
        Step("gain", {"gain_db": -23.456789}),
        setting("distortion", 0.4),
        setting("chorus", 0.37),
        Step("delay", {"delay_seconds": 0.12, "feedback": 0.3, "mix": 0.31234567}),
        setting("reverb", 0.61),
        Step("gain", {"gain_db": 2.0}),
    )
)
EVERY_PEDAL = Chain(tuple(setting(name) for name in EFFECTS))


@pytest.fixture(scope="module")
def riff():
    riff = phrase(generator(3, "riff"), sample_rate=RATE, seconds=3.0, style="riff")
    return np.concatenate([set_rms(riff, -6.0), set_rms(-riff, -12.0)])


def needs(kind=""):
    if faust.missing(kind):
        pytest.skip(f"Faust cannot compile here: {faust.missing(kind)}")


@pytest.mark.parametrize("channels", [1, 2])
def test_a_program_plays_its_chain_without_any_other_file(channels, riff):
    needs()
    text = faust.program(CHAIN, channels=channels)
    assert "import(" not in text
    assert text.startswith(f"// {CHAIN}\n")
    wet = faust.Renderer(text)(riff[:channels], RATE)
    assert relative_error_db(CHAIN.render(riff[:channels], RATE), wet) < -80


def test_every_knob_is_a_slider_with_unit_range_and_setting():
    text = faust.program(CHAIN)
    assert 'hslider("v:1 gain/[0]gain_db [unit:dB]", -23.456789, -23.456789, 18.0, 4e-02)' in text
    rate = setting("chorus", 0.37).params["rate_hz"]
    label = "v:3 chorus/[0]rate_hz [unit:Hz] [scale:log]"
    assert f'hslider("{label}", {rate!r}, 0.3, 4.0, 4e-03)' in text
    assert "compressor" not in text  # only families that play are in it


def test_all_pedals_fit_into_one_program_with_sliders_in_their_order(riff):
    needs()
    play = faust.Renderer(faust.program(EVERY_PEDAL, channels=2))
    for unit in (0.5, 0.4):
        chain = Chain(tuple(setting(name, unit) for name in EFFECTS))
        values = [value for _, params in chain for value in params.values()]
        assert relative_error_db(chain.render(riff, RATE), play(riff, RATE, values)) < -60


def test_without_pedals_it_plays_straight_on(riff):
    needs()
    wet = faust.Renderer(faust.program(Chain(), channels=2))(riff, RATE)
    np.testing.assert_array_equal(wet, riff)


def test_a_knob_that_is_turned_does_not_click():
    needs()
    # All pedals side by side on a tone; in the middle of it all their knobs jump.
    names = [f"{name}_{place}" for place, name in enumerate(EFFECTS, start=1)]
    beside = f"\nprocess = _ <: {', '.join(names)};"
    beside = re.sub(r"\nprocess = .*", beside, faust.program(EVERY_PEDAL))
    play = faust.Renderer(beside)
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
    middle, second = RATE - 512, RATE // 2
    for units in ((0.2, 0.8), (0.8, 0.2)):
        turned = [setting(name, unit) for unit in units for name in EFFECTS]
        wet = play(tone, RATE, [value for step in turned for value in step.params.values()])
        # A click is what is above 3 kHz then, and neither before nor long after.
        high = np.abs(sosfilt(butter(4, 3000, "high", fs=RATE, output="sos"), wet))
        before, after = high[:, second:middle].max(1), high[:, middle + second :].max(1)
        click = high[:, middle : middle + RATE // 10].max(1)
        loudest = np.abs(wet[:, second:]).max(1)
        click_db = 20 * np.log10(click / loudest)
        print(*(f"{name} {db:.0f} dB" for name, db in zip(EFFECTS, click_db, strict=True)))
        loud = click > np.maximum(2 * np.maximum(before, after), 0.015 * loudest)
        assert not [name for name, clicks in zip(EFFECTS, loud, strict=True) if clicks]


def test_what_cannot_be_a_program_is_refused_in_words(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="channels must be 1 or 2, got 3"):
        faust.program(CHAIN, channels=3)
    own = functools.partial(EFFECTS["gain"].differentiable)
    own.__module__ = None  # as a function has that a notebook's solution makes
    monkeypatch.setitem(_EFFECTS, "mine", replace(EFFECTS["gain"], name="mine", differentiable=own))
    with pytest.raises(ValueError, match="mine has no Faust function"):
        faust.program(Chain((Step("mine", {"gain_db": 0.0}),)))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"apt-get install faust g\+\+"):
        faust.build_plugin(CHAIN, tmp_path / "x.lv2")
    with pytest.raises(ValueError, match=r"bundle must end in \.lv2 or \.vst3, got x\.vst2"):
        faust.build_plugin(CHAIN, tmp_path / "x.vst2")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    needs()
    with pytest.raises(RuntimeError, match=r"faust failed: .*undefined symbol : nothing"):
        faust.Renderer("process = nothing;")


HOSTED = """
import sys, numpy as np
from labkit.effects.hosts.plugin import HostedPlugin
with HostedPlugin("urn:labkit:chain/my_riff") as plugin:
    print(len(plugin.parameters), plugin.repeatable, plugin.latency_samples)
    default = np.array([knob.default_unit for knob in plugin.parameters])
    np.save(sys.argv[2], plugin.process(np.load(sys.argv[1]), 44_100, default))
"""


def test_another_host_plays_the_lv2_as_the_chain(tmp_path, riff):
    needs(".lv2")
    pytest.importorskip("dawdreamer", reason="no dawdreamer here: pip install dawdreamer")
    # dawdreamer looks into the user's folder, and not where LV2_PATH says.
    faust.build_plugin(CHAIN, tmp_path / ".lv2/my riff.lv2", channels=2)
    np.save(tmp_path / "dry.npy", riff)
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("LV2_PATH", None)
    command = [sys.executable, "-c", HOSTED, tmp_path / "dry.npy", tmp_path / "wet.npy"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    knobs = sum(len(params) for _, params in CHAIN)
    assert done.stdout.split() == [str(knobs), "True", "0"]
    # The host plays a moment of silence first, in which the chorus swings already.
    early = round(SETTLE_SECONDS * RATE)
    wet = CHAIN.render(np.pad(riff, ((0, 0), (early, 0))), RATE)[:, early:]
    assert relative_error_db(wet, np.load(tmp_path / "wet.npy")) < -100


def test_pedalboard_plays_the_vst3_as_the_chain(tmp_path, riff):
    needs(".vst3")
    pedalboard = pytest.importorskip("pedalboard", reason="no pedalboard here")
    faust.build_plugin(CHAIN, tmp_path / "my riff.vst3", channels=2)
    plugin = pedalboard.VST3Plugin(str(tmp_path / "my riff.vst3"))
    assert plugin.name == "my_riff"
    knobs = plugin.parameters
    assert len(knobs) == sum(len(params) for _, params in CHAIN)
    assert knobs["3_chorus_rate_hz"].label == "Hz"
    assert knobs["4_delay_delay_s"].range[:2] == pytest.approx((0.12, 0.6))
    for rate in (RATE, 48_000):
        wet = plugin.process(riff, rate, reset=True)
        assert relative_error_db(CHAIN.render(riff, rate), wet) < -100
    # A host turns a knob.
    knobs["2_distortion_drive_db"].raw_value = 0.0
    softer = Chain((CHAIN.steps[0], setting("distortion", 0.0), *CHAIN.steps[2:]))
    wet = plugin.process(riff, RATE, reset=True)
    assert relative_error_db(softer.render(riff, RATE), wet) < -100
