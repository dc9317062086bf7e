"""Surge XT: its set, what each value sets, and what is said where it is not installed."""

import types

import numpy as np
import pytest

from labkit.effects.hosts import instrument
from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths import surge
from labkit.effects.synths.registry import Synth
from labkit.effects.synths.spec import NOTE, Knob
from labkit.effects.synths.surge import SIMPLE, SurgeEngine, controls_of, find_surge, start
from labkit.signal.seeds import generator
from labkit.systems.synth.predict import patch_of
from labkit.systems.synth.train import exchanges, varied

# The parameters of scene A without LFOs and sends, and of the whole, as pedalboard shows those of a fresh Surge XT 1.3.
NAMES = """
a_amp_eg_attack a_amp_eg_attack_shape a_amp_eg_decay a_amp_eg_decay_shape a_amp_eg_envelope_mode a_amp_eg_release
a_amp_eg_release_shape a_amp_eg_sustain a_feedback a_filter_1_cutoff a_filter_1_feg_mod_amount a_filter_1_keytrack
a_filter_1_resonance a_filter_1_subtype a_filter_1_type a_filter_2_cutoff a_filter_2_feg_mod_amount
a_filter_2_keytrack a_filter_2_offset_mode a_filter_2_resonance a_filter_2_subtype a_filter_2_type a_filter_balance
a_filter_configuration a_filter_eg_attack a_filter_eg_attack_shape a_filter_eg_decay a_filter_eg_decay_shape
a_filter_eg_envelope_mode a_filter_eg_release a_filter_eg_release_shape a_filter_eg_sustain a_fm_depth a_fm_routing
a_highpass a_keytrack_root_key a_link_resonance a_noise_color a_noise_mute a_noise_route a_noise_solo a_noise_volume
a_octave a_osc_1_keytrack a_osc_1_mute a_osc_1_octave a_osc_1_pitch a_osc_1_retrigger a_osc_1_route a_osc_1_shape
a_osc_1_solo a_osc_1_sub_mix a_osc_1_sync a_osc_1_type a_osc_1_unison_detune a_osc_1_unison_voices a_osc_1_volume
a_osc_1_width_1 a_osc_1_width_2 a_osc_2_keytrack a_osc_2_mute a_osc_2_octave a_osc_2_pitch a_osc_2_retrigger
a_osc_2_route a_osc_2_shape a_osc_2_solo a_osc_2_sub_mix a_osc_2_sync a_osc_2_type a_osc_2_unison_detune
a_osc_2_unison_voices a_osc_2_volume a_osc_2_width_1 a_osc_2_width_2 a_osc_3_keytrack a_osc_3_mute a_osc_3_octave
a_osc_3_pitch a_osc_3_retrigger a_osc_3_route a_osc_3_shape a_osc_3_solo a_osc_3_sub_mix a_osc_3_sync a_osc_3_type
a_osc_3_unison_detune a_osc_3_unison_voices a_osc_3_volume a_osc_3_width_1 a_osc_3_width_2 a_osc_drift a_pan a_pitch
a_pitch_bend_down_range a_pitch_bend_up_range a_play_mode a_portamento a_pre_filter_gain a_ring_modulation_1x2_mute
a_ring_modulation_1x2_route a_ring_modulation_1x2_solo a_ring_modulation_1x2_volume a_ring_modulation_2x3_mute
a_ring_modulation_2x3_route a_ring_modulation_2x3_solo a_ring_modulation_2x3_volume a_vca_gain a_velocity_vca_gain
a_volume a_waveshaper_drive a_waveshaper_type a_width active_scene bypass_surge_xt character fx_a1_fx_type
fx_chain_bypass global_volume polyphony_limit scene_mode split_point
""".split()  # noqa: SIM905 - a line for each would be a page and a half
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
    WORDS |= {f"a_osc_{number}_type": "Classic|Sine|Wavetable|Modern"}
    WORDS |= {f"a_osc_{number}_route": ROUTES, f"a_osc_{number}_octave": OCTAVES}
    WORDS |= {f"a_osc_{number}_unison_voices": VOICES}


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
        self.where, self.notes = where, []
        self.parameters = {name: FakeKnob(WORDS.get(name, "")) for name in NAMES}

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
        return np.array([knob.raw_value for knob in self.parameters.values()]).tobytes()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeSurge]:
    """Every fake instance that was made, in order."""
    found: list[FakeSurge] = []

    def make(where: str) -> FakeSurge:
        found.append(FakeSurge(where))
        return found[-1]

    monkeypatch.setattr(instrument, "need", lambda _: types.SimpleNamespace(VST3Plugin=make))
    monkeypatch.setattr(surge, "find_surge", lambda: "/a/Surge XT.vst3")
    return found


def patch(seed: int) -> dict[str, float | str]:
    return SIMPLE.draw(generator(seed, "patch"))


def shown(plugin: FakeSurge, name: str) -> str:
    knob = plugin.parameters[name]
    return knob.get_text_for_raw_value(knob.raw_value)


def test_the_set_names_parameters_that_surge_has() -> None:
    every = [field.name for field in SIMPLE.fields]
    assert len(every) > 45
    assert set(controls_of(patch(0))) <= set(NAMES)
    assert set(every) - set(NOTE) <= set(NAMES)
    assert not set(start()) & set(every)
    drawn = [patch(seed) for seed in range(300)]
    for field in SIMPLE.fields:
        assert len({values[field.name] for values in drawn}) > 1, field.name
        if isinstance(field, Knob) and field.name not in NOTE:
            assert 0 <= field.low < field.high <= 1
    # An envelope's times are 2 ** (13 x - 8) seconds.
    highest = [SIMPLE[f"a_amp_eg_{name}"].high for name in ("attack", "decay", "release")]
    assert (2 ** (13 * np.array(highest) - 8) < (0.83, 2.1, 2.1)).all()


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
        for source in ("osc_1", "osc_2", "osc_3", "noise"):
            assert made[0].parameters[f"a_{source}_mute"].raw_value == float(
                values[f"a_{source}_volume"] == 0
            )
        assert made[0].notes[-1] == (values["note_pitch"], 102, 0.0, values["note_seconds"])
    assert len(made) == 1


def test_a_release_with_other_parameters_is_refused_by_name(
    made: list[FakeSurge], monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = [name for name in NAMES if name not in ("a_osc_2_shape", "a_highpass")]
    monkeypatch.setattr(FakeSurge, "__init__", _with(fewer, WORDS))
    with pytest.raises(
        ValueError,
        match=r"Surge XT 1\.3\.4 has 120 parameters, but not these 2 of \d+: .*a_highpass",
    ):
        SurgeEngine("surge_simple")
    monkeypatch.setattr(
        FakeSurge, "__init__", _with(NAMES, WORDS | {"a_filter_1_type": "Off|Lowpass 12"})
    )
    with pytest.raises(
        ValueError, match="a_filter_1_type never shows 'LP 12 dB'; it shows Off, Lowpass 12"
    ):
        SurgeEngine("surge_simple")
    assert len(made) == 2


def _with(names: list[str], words: dict[str, str]):
    def init(self: FakeSurge, where: str) -> None:
        self.where, self.notes = where, []
        self.parameters = {name: FakeKnob(words.get(name, "")) for name in names}

    return init


def test_volume_presets_and_new_instances(made: list[FakeSurge]) -> None:
    engine, values = SurgeEngine("surge_simple"), patch(1) | {"note_seconds": 0.25}
    loud, quiet = (engine.render(values, 0.5, None, db) for db in (24.0, -24.0))
    assert np.abs(loud).max() / np.abs(quiet).max() == pytest.approx(
        0.75 / 0.25, rel=1e-3
    )  # places of 24 and -24 dB
    state = np.frombuffer(engine.preset(values, volume_db=24.0))
    assert state[NAMES.index("a_vca_gain")] == 0.75
    assert len(made) == 1
    np.testing.assert_array_equal(engine.first_note(values, 0.5, 24.0), loud)
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
    pytest.importorskip("pedalboard", reason="the package pedalboard is not installed")
    (tmp_path / "Maker" / "Surge XT.vst3").mkdir(parents=True)
    assert find_surge() == str(tmp_path / "Maker" / "Surge XT.vst3")


def test_the_system_takes_the_set() -> None:
    """A silent patch gets its loudest source, oscillators change places, and no knob is moved that is not known."""
    values = patch(5)
    order = exchanges(SIMPLE)[1]
    exchanged = SIMPLE.decode(SIMPLE.encode(values)[order])
    assert exchanged["a_osc_2_volume"] == values["a_osc_1_volume"]
    off = {name: 0.0 for name in SIMPLE.names if name.endswith("_volume")}
    sounding = patch_of(SIMPLE, SIMPLE.encode(SIMPLE.settle(values | off)))
    assert sum(sounding[name] != 0 for name in off) == 1
    mel, lines = np.zeros((64, 10), np.float32), np.zeros(312, np.float32)
    assert varied(mel, lines, values, SIMPLE, np.random.default_rng(0))[2] == values
