"""Surge XT: its set, what each value sets, and what is said where it is not installed."""

import re
import struct

import numpy as np
import pytest

from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths import surge
from labkit.effects.synths.registry import Synth
from labkit.effects.synths.spec import NOTE
from labkit.effects.synths.surge import SIMPLE, SurgeEngine, find_surge, routed, start
from labkit.signal.seeds import generator
from labkit.systems.synth.predict import patch_of
from labkit.systems.synth.train import exchanges, varied

# The part of a new instance's patch that is changed.
PATCH = (
    '<?xml version="1.0"?>\n<patch><parameters><a_pitch type="2" value="0.0" extend_range="0" />'
)
PATCH += "".join(
    f'<a_osc{k}_type type="0" value="0" /><a_osc{k}_param3 type="2" value="0.5" />'
    for k in (1, 2, 3)
)
PATCH += "".join(f'<a_filter{k}_cutoff type="2" value="9" extend_range="0" />' for k in (1, 2))
PATCH += '<a_lfo5_shape type="0" value="0" /></parameters></patch>'


def preset_file(patch: str) -> bytes:
    """A `.vstpreset` file: header, the patch, more of the state, another chunk, the list of chunks."""
    state = (
        b"sub3" + struct.pack("<I7i", len(patch), *[0] * 7) + patch.encode() + b"JUCEPrivateData"
    )
    places = [(b"Comp", 48, len(state)), (b"Info", 48 + len(state), 4)]
    chunks = b"".join(struct.pack("<4sqq", *place) for place in places)
    head = b"VST3" + struct.pack("<i", 1) + b"A" * 32 + struct.pack("<q", 52 + len(state))
    return head + state + b"meta" + b"List" + struct.pack("<i", 2) + chunks


class Recorder:
    """In place of the hosted instrument, whose tests are beside this file: it notes what it is asked."""

    def __init__(self, where, names, prepare):
        self.where, self.names, self.content = where, set(names), prepare(preset_file(PATCH))
        self.placed, self.played, self.reloads = {}, [], 0

    def place(self, name, word):
        self.placed[name] = word

    def settle(self, settings, sample_rate):
        self.played.append((settings, sample_rate))

    def play(self, settings, key, held, seconds, **note):
        self.played.append((settings, key, held, seconds, note))

    def state(self):
        return self.content

    def reload(self):
        self.reloads += 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SurgeEngine:
    monkeypatch.setattr(surge, "Vst3Instrument", Recorder)
    monkeypatch.setattr(surge, "find_surge", lambda: "/a/Surge XT.vst3")
    return SurgeEngine("surge_simple")


def patch(seed: int) -> dict[str, float | str]:
    return SIMPLE.draw(generator(seed, "patch"))


def test_the_set_is_the_published_one() -> None:
    every = [field.name for field in SIMPLE.fields]
    assert len(every) == 92
    assert [name for name in every if name.startswith("note_")] == list(NOTE)
    assert not set(start()) & set(every)
    counts = {"a_osc_": 21, "a_lfo_": 52, "a_filter_": 10, "a_amp_eg_": 4, "a_noise_": 1}
    assert {x: sum(name.startswith(x) for name in every) for x in counts} == counts
    assert not {"a_lfo_6_phase", "a_lfo_6_rate"} & set(every)  # it is an envelope
    assert (SIMPLE["note_pitch"].low, SIMPLE["note_pitch"].high) == (48, 72)
    drawn = [patch(seed) for seed in range(300)]
    for field in SIMPLE.fields:
        assert len({values[field.name] for values in drawn}) > 1, field.name
        if field.name not in NOTE:
            # An envelope's times are 2 ** (13 x - 8) seconds: 4 s.
            times = ("attack", "decay", "release", "hold")
            assert (field.low, field.high) == (0, 0.77 if field.name.endswith(times) else 1)


def test_a_preset_gets_its_routes_and_stays_whole() -> None:
    before, after = preset_file(PATCH), routed(preset_file(PATCH))
    assert after == preset_file(after[after.index(b"<?xml") : after.index(b"JUCE")].decode())
    found = re.findall(rb'<(\w+)[^>]*><modrouting source="(\d+)" depth="(\d+)"', after)
    moved = {name.decode(): (int(source), int(depth)) for name, source, depth in found}
    assert moved["a_filter2_cutoff"] == (18, 130)  # LFO 2, 130 semitones
    assert moved["a_osc3_param3"] == (21, 1)
    assert moved["a_pitch"] == (22, 14)
    assert len(moved) == 6
    assert before.count(b'value="8"') == 0
    assert after.count(b'value="8"') == 3  # Modern
    with pytest.raises(ValueError, match="no patch of Surge XT"):
        routed(b"VST3" + bytes(80))
    with pytest.raises(ValueError, match="without a_pitch"):
        routed(preset_file(PATCH.replace("a_pitch", "a_tune")))


def test_every_value_reaches_its_parameter(engine: SurgeEngine) -> None:
    instrument, rest = engine._instrument, start() | {"a_vca_gain": 0.5}
    assert instrument.where == "/a/Surge XT.vst3"
    assert instrument.names == set(rest) | set(SIMPLE.names) - set(NOTE)
    # Every word that may be set is looked up at once: a release that lacks one is refused.
    assert {"a_filter_1_type", "a_osc_1_route", "a_octave"} <= set(instrument.placed)
    for seed in range(40):
        values = patch(seed)
        engine.render(values, 0.1)
        settings, key, held, seconds, note = instrument.played[-1]
        wanted = rest | {"a_pitch": 0.5} | values
        assert settings == {name: wanted[name] for name in wanted if name not in NOTE}
        assert (key, held) == (values["note_pitch"], values["note_seconds"])
        assert (seconds, note["start"], note["velocity"]) == (0.1, values["note_start"], 0.8)


def test_volume_tuning_presets_and_new_instances(engine: SurgeEngine) -> None:
    instrument, values = engine._instrument, patch(1)
    setting = {"volume_db": 24.0, "tuning": -13.0}
    assert engine.preset(values, "", setting) == instrument.content
    moved = {"a_vca_gain": 0.75, "a_octave": "-1", "a_pitch": 0.5 - 1 / 14}  # an octave and a step
    assert moved.items() <= instrument.played[-1][0].items()
    assert instrument.reloads == 0
    engine.first_note(values, 0.5, setting)
    assert moved.items() <= instrument.played[-1][0].items()
    assert instrument.reloads == 1


def test_a_release_that_keeps_no_routes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surge, "Vst3Instrument", Recorder)
    monkeypatch.setattr(surge, "find_surge", lambda: "/a/Surge XT.vst3")
    monkeypatch.setattr(Recorder, "state", lambda _: preset_file(PATCH))
    with pytest.raises(ValueError, match="did not take over the routes of its LFOs"):
        SurgeEngine("surge_simple")


def test_without_surge_the_error_says_how_to_get_it(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VST3_PATH", str(tmp_path))
    for ask in (find_surge, lambda: Synth(SIMPLE), lambda: SurgeEngine("surge_simple")):
        with pytest.raises(
            PluginError, match=r"Surge XT is needed here as VST3.*install it, with its.*VST3_PATH"
        ):
            ask()
    (tmp_path / "Maker" / "Surge XT.vst3").mkdir(parents=True)
    assert find_surge() == str(tmp_path / "Maker" / "Surge XT.vst3")


def test_the_system_takes_the_set() -> None:
    """A silent patch gets its loudest source, oscillators change places, and no knob is moved that is not known."""
    values = SIMPLE.settle(patch(5) | {"a_lfo_3_amplitude": 0.25, "a_lfo_4_amplitude": 0.75})
    order = exchanges(SIMPLE)[2]  # the first two oscillators change places
    exchanged = SIMPLE.decode(SIMPLE.encode(values)[order])
    assert exchanged["a_osc_2_volume"] == values["a_osc_1_volume"]
    assert exchanged["a_lfo_4_amplitude"] == 0.25  # LFO 4 moves oscillator 2
    off = {name: 0.0 for name in SIMPLE.names if name.endswith("_volume")}
    code = SIMPLE.encode(SIMPLE.settle(values | off))
    for k in (1, 2, 3):  # below the range, the third one least
        code[SIMPLE.columns[f"a_osc_{k}_volume"]] -= 1.0 / k
    sounding = patch_of(SIMPLE, code)
    assert [name for name in off if sounding[name] != 0] == ["a_osc_3_volume"]
    mel, lines = np.zeros((64, 10), np.float32), np.zeros(312, np.float32)
    assert varied(mel, lines, values, SIMPLE, np.random.default_rng(0))[2] == values
