"""Vital: what a patch sounds like, its preset, and what a crash does."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.registry import Synth
from labkit.effects.synths.spec import SAMPLE_RATE, Knob, SynthSpec
from labkit.effects.synths.vital import SETS, SIMPLE, controls_of
from labkit.signal.seeds import generator

pytest.importorskip("vita", reason="the package vita is not installed")


@pytest.fixture(scope="module")
def vital() -> Iterator[Synth]:
    with Synth(SIMPLE) as synth:
        yield synth


def plain(**changed: float | str) -> dict[str, float | str]:
    """One sine, held, nothing else."""
    values = {field.name: field.rest for field in SIMPLE.fields}
    off = {f.name: f.point for f in SIMPLE.fields if isinstance(f, Knob) and f.point is not None}
    note = {
        "env_1_attack": 0.05,
        "env_1_sustain": 1.0,
        "env_1_release": 0.2,
        "note_pitch": 69.0,
        "note_seconds": 1.0,
    }
    return SIMPLE.settle(
        values | off | note | {"osc_1_level": 0.65, "osc_1_wave_frame": 0.0} | changed
    )


def peak_hz(audio: np.ndarray) -> float:
    held = audio.mean(0)[4410:35280] * np.hanning(30870)
    return float(np.abs(np.fft.rfft(held)).argmax() * SAMPLE_RATE / 30870)


@pytest.mark.parametrize(
    ("key", "transpose", "tuning", "hz"),
    [(69.0, "0", 0.0, 440.0), (57.0, "24", 0.0, 880.0), (57.0, "12", -12.5, 213.74)],
)
def test_a_sine_has_the_pitch_of_its_key_and_tuning(
    vital: Synth, key: float, transpose: str, tuning: float, hz: float
) -> None:
    values = plain(note_pitch=key, osc_1_transpose=transpose)
    audio = vital.render(values, seconds=1.0, tuning=tuning)
    assert audio.shape == (2, SAMPLE_RATE)
    assert audio.dtype == np.float32
    assert peak_hz(audio) == pytest.approx(hz, abs=1.5)  # a bin is 1.43 Hz


@pytest.mark.parametrize("seed", [0, 1])
def test_a_preset_opens_again_and_sounds_the_same(seed: int) -> None:
    values = SIMPLE.settle(
        SIMPLE.draw(generator(seed, "q")) | {"chorus_dry_wet": 0.0, "reverb_dry_wet": 0.0}
    )
    with Synth(SIMPLE) as synth:
        played = synth.render(values, seconds=1.0, volume_db=-3.0)
        text = synth.preset(values, name="mine", volume_db=-3.0)
        opened = synth.play(text, values, seconds=1.0)
    assert json.loads(text)["preset_name"] == "mine"
    assert set(re.findall(r'"(?:synth_)?version": "([^"]*)"', text)) == {"1.0.7"}
    assert np.abs(played).max() > 1e-3
    np.testing.assert_allclose(opened, played, atol=1e-6)  # float32 rounding


def shape(part: object) -> object:
    """The keys, in their order, and the types of a part of a preset; of a list, the last item."""
    if isinstance(part, dict):
        return {key: shape(value) for key, value in part.items()}
    return [shape(x) for x in part[-1:]] if isinstance(part, list) else type(part).__name__


@pytest.mark.parametrize("spec", SETS.values(), ids=SETS)
def test_a_preset_has_the_fields_of_one_that_vital_1_0_7_wrote(spec: SynthSpec) -> None:
    """In their order and of their types; the list was taken from a preset of somebody else."""
    with Synth(spec) as synth:
        ours = shape(json.loads(synth.preset(spec.draw(generator(0, "patch")))))
    theirs = json.loads(Path(__file__).with_name("vital_fields.json").read_text())
    assert json.dumps(ours, indent=1) == json.dumps(theirs, indent=1)


@pytest.mark.parametrize("spec", SETS.values(), ids=SETS)
def test_vital_knows_every_control(vital: Synth, spec: SynthSpec) -> None:
    known = set(json.loads(vital.preset(plain()))["settings"])
    told = set().union(*(controls_of(spec.draw(generator(seed, "patch"))) for seed in range(40)))
    assert told <= known


def test_a_crash_is_an_error_and_the_next_note_plays(vital: Synth) -> None:
    note = plain(note_seconds=0.25)
    vital.render(note, seconds=0.4)
    before = vital.render(note, seconds=0.4)
    os.kill(vital._worker._process.pid, signal.SIGSEGV)
    with pytest.raises(PluginError, match="crashed"):
        vital.render(note, seconds=0.4)
    after = vital.render(note, seconds=0.4)
    assert after.std() == pytest.approx(
        before.std(), rel=0.05
    )  # a synthesizer's first note begins otherwise


def test_this_process_keeps_its_small_numbers(vital: Synth) -> None:
    vital.render(plain(), seconds=0.2)
    assert np.float32(1e-40) * np.float32(1) != 0  # Vital flushes them to zero, in its own process


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda v: v.render({"osc_1_level": 1.0}), "must name the fields"),
        (lambda v: v.render(plain(), seconds=0.0), "seconds must be positive"),
        (lambda _: Synth(SynthSpec("mine", SIMPLE.fields)), "vital_simple, vital_full"),
    ],
)
def test_bad_requests_are_named(vital: Synth, act, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        act(vital)
