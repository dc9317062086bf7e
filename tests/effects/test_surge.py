"""Surge XT: its set, what each value sets, and what is said where it is not installed."""

import re
import struct
import types

import numpy as np
import pytest

from labkit.effects.hosts import engines
from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths import surge
from labkit.effects.synths.registry import Synth
from labkit.effects.synths.spec import NOTE
from labkit.effects.synths.surge import SIMPLE, SurgeEngine, find_surge, routed, start
from labkit.signal.seeds import generator
from labkit.systems.synth.predict import patch_of
from labkit.systems.synth.train import exchanges, varied

# The parameters of scene A that matter here, and of the whole, as pedalboard shows them of Surge XT 1.3.
CLASSIC = "shape width_1 width_2 sub_mix sync"
MODERN = "sawtooth pulse triangle width sync"
WHOLE = """a_feedback a_filter_balance a_filter_configuration a_fm_routing a_highpass a_link_resonance a_noise_color
a_noise_mute a_noise_route a_noise_solo a_noise_volume a_octave a_osc_drift a_pan a_pitch a_play_mode a_portamento
a_pre_filter_gain a_vca_gain a_waveshaper_drive a_waveshaper_type active_scene fx_chain_bypass scene_mode
a_filter_2_offset_mode"""
PARTS = {
    "a_{}_eg": (("amp", "filter"), "attack decay release sustain envelope_mode"),
    "a_filter": ((1, 2), "cutoff resonance type feg_mod_amount keytrack"),
    "a_lfo": (range(1, 7), "amplitude attack decay deform delay hold phase rate release sustain"),
    "a_ring_modulation": (("1x2", "2x3"), "mute solo"),
}
OSCILLATOR = "keytrack mute octave pitch retrigger route solo unison_detune unison_voices volume "


def names_of(oscillator: str) -> list[str]:
    """Every name, with oscillators whose first five parameters are these."""
    found = WHOLE.split()
    for part, (members, knobs) in PARTS.items():
        for one in members:
            prefix = part.format(one) if "{" in part else f"{part}_{one}"
            found += [f"{prefix}_{knob}" for knob in knobs.split()]
    return found + [f"a_osc_{k}_{x}" for k in (1, 2, 3) for x in (OSCILLATOR + oscillator).split()]


NAMES = names_of(MODERN)
FILTERS = "Off|LP 12 dB|LP 24 dB|LP Legacy Ladder|HP 12 dB|HP 24 dB|BP 12 dB|N 12 dB"
OCTAVES, ROUTES = "-3|-2|-1|0|1|2|3", "Filter 1|Both|Filter 2"
VOICES = "1 voice|" + "|".join(f"{n} voices" for n in range(2, 17))
CONFIGURATIONS = "Serial 1|Serial 2|Serial 3|Dual 1|Dual 2|Stereo|Ring|Wide"
# Parameter -> the words that it shows, from the low end of its travel to the high.
WORDS = {"a_octave": OCTAVES, "a_noise_route": ROUTES, "a_filter_configuration": CONFIGURATIONS}
WORDS |= {"a_waveshaper_type": "Off|Soft|Hard|Asymmetric|Sine|Digital"}
WORDS |= {f"a_filter_{k}_type": FILTERS for k in (1, 2)}
WORDS |= {f"a_{name}_eg_envelope_mode": "Digital|Analog" for name in ("amp", "filter")}
for number in (1, 2, 3):
    WORDS |= {f"a_osc_{number}_route": ROUTES, f"a_osc_{number}_octave": OCTAVES}
    WORDS |= {f"a_osc_{number}_unison_voices": VOICES}
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


class FakeKnob:
    """A parameter that takes 0..1 and nothing else, and shows words if it has any."""

    def __init__(self, words: str) -> None:
        self._words, self._value = words.split("|") if words else [], 0.5

    @property
    def raw_value(self) -> float:
        return self._value

    @raw_value.setter
    def raw_value(self, value: float) -> None:
        assert isinstance(value, float)
        assert 0 <= value <= 1
        self._value = value

    def get_text_for_raw_value(self, raw: float) -> str:
        if not self._words:
            return f"{100 * raw:.2f} %"
        return self._words[round(raw * (len(self._words) - 1))]


class FakeSurge:
    """What pedalboard makes of Surge XT, with a sine that is as long as the note; presets are its numbers."""

    name, version, is_instrument = "Surge XT", "1.3.4", True

    def __init__(self, where: str) -> None:
        self.where, self.notes, self.preset_data = where, [], preset_file(PATCH)

    @property
    def parameters(self) -> dict[str, FakeKnob]:
        """Made anew when a preset is loaded: the oscillators' names follow their type."""
        if self._knobs is None:
            modern = b'<a_osc1_type type="0" value="8" />' in self._preset
            every = names_of(MODERN if modern else CLASSIC)
            self._knobs = {name: FakeKnob(WORDS.get(name, "")) for name in every}
        return self._knobs

    def process(
        self, events: list, seconds: float, rate: int, *, num_channels: int, reset: bool
    ) -> np.ndarray:
        assert not reset
        sound = np.zeros((num_channels, int(seconds * rate)), np.float32)
        assert sound.shape[1] % 32 == 0, "the next note would begin within a block of Surge's"
        if events[0][0][0] != 0x90:
            assert [bytes([0x80, key, 0]) for key in range(128)] == [event for event, _ in events]
        else:
            (on, start_s), (off, end_s) = events
            assert (on[0], off[0]) == (0x90, 0x80)
            assert on[1] == off[1]
            self.notes.append((on[1], on[2], start_s, end_s))
            held = np.arange(sound.shape[1]) < end_s * rate
            hertz = 440 * 2 ** ((on[1] - 69) / 12)
            gain = self.parameters["a_vca_gain"].raw_value
            sound[:] = gain * held * np.sin(2 * np.pi * hertz * np.arange(sound.shape[1]) / rate)
        return sound

    @property
    def preset_data(self) -> bytes:
        knobs = self.parameters
        values = [knobs[name].raw_value for name in NAMES if name in knobs]
        return self._preset + np.array(values).tobytes()

    @preset_data.setter
    def preset_data(self, preset: bytes) -> None:
        self._preset, self._knobs = preset, None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeSurge]:
    """Every fake instance that was made, in order."""
    found: list[FakeSurge] = []

    def make(where: str) -> FakeSurge:
        found.append(FakeSurge(where))
        return found[-1]

    monkeypatch.setattr(engines, "need", lambda _: types.SimpleNamespace(VST3Plugin=make))
    monkeypatch.setattr(surge, "find_surge", lambda: "/a/Surge XT.vst3")
    return found


def patch(seed: int) -> dict[str, float | str]:
    return SIMPLE.draw(generator(seed, "patch"))


def shown(plugin: FakeSurge, name: str) -> str:
    knob = plugin.parameters[name]
    return knob.get_text_for_raw_value(knob.raw_value)


def test_the_set_is_the_published_one() -> None:
    every = [field.name for field in SIMPLE.fields]
    assert len(every) == 92
    assert [name for name in every if name.startswith("note_")] == list(NOTE)
    assert set(every) - set(NOTE) <= set(NAMES)
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


def test_every_value_reaches_its_parameter(made: list[FakeSurge]) -> None:
    engine = SurgeEngine("surge_simple")
    assert made[0].where == "/a/Surge XT.vst3"
    for seed in range(40):
        values = patch(seed)
        engine.render(values, 0.1)
        for name, value in (start() | values).items():
            if name in NOTE:
                continue
            if isinstance(value, str):
                assert shown(made[0], name).removesuffix(" voice").removesuffix(" voices") == value
            else:
                assert made[0].parameters[name].raw_value == value, name
        begin, held = values["note_start"], values["note_seconds"]
        assert made[0].notes[-1] == (values["note_pitch"], 102, begin, begin + held)
    assert len(made) == 1


@pytest.mark.usefixtures("made")
def test_a_release_that_differs_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORDS, "a_filter_1_type", "Off|Lowpass 12")
    with pytest.raises(ValueError, match="a_filter_1_type never shows 'LP 12 dB'; it shows Off, "):
        SurgeEngine("surge_simple")
    monkeypatch.setitem(globals(), "MODERN", CLASSIC)
    with pytest.raises(ValueError, match=r"has 154 parameters, but not these 12 of .*_1_sawtooth"):
        SurgeEngine("surge_simple")


def test_volume_presets_and_new_instances(made: list[FakeSurge]) -> None:
    note = {"note_start": 0.125, "note_seconds": 0.25}
    engine, values = SurgeEngine("surge_simple"), patch(1) | note
    loud, quiet = (engine.render(values, 0.5, None, {"volume_db": x}) for x in (24.0, -24.0))
    # Places of 24 and -24 dB.
    assert np.abs(loud).max() / np.abs(quiet).max() == pytest.approx(0.75 / 0.25, rel=1e-3)
    numbers = np.frombuffer(engine.preset(values, "", {"volume_db": 24.0})[-8 * len(NAMES) :])
    assert numbers[NAMES.index("a_vca_gain")] == 0.75
    assert len(made) == 1
    np.testing.assert_array_equal(engine.first_note(values, 0.5, {"volume_db": 24.0}), loud)
    assert len(made) == 2


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
