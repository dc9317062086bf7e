"""Real plug-ins, where they are installed: VST3 through pedalboard, LV2 and VST2 through dawdreamer."""

import importlib.util

import numpy as np
import pytest

from labkit.effects.hosts import PluginError, installed_plugins, listing, open_plugin
from labkit.effects.hosts.listing import find

RATE = 44_100
TS9 = "http://guitarix.sourceforge.net/plugins/gxts9#ts9sim"


def installed(name, kind):
    """`open_plugin`'s argument, or a skip that says what is missing."""
    found = [info for info in installed_plugins() if (info.kind, info.name) == (kind, name)]
    if not found:
        pytest.skip(
            f"{kind} plug-in {name} is not installed (Debian: zam-plugins, guitarix-lv2, calf-plugins)"
        )
    if not found[0].usable:
        pytest.skip(found[0].why_not)
    return found[0].where


@pytest.fixture(scope="module")
def compressor():
    with open_plugin(
        installed("ZamComp", "VST3"), parameters=["threshold_db", "makeup_db"]
    ) as plugin:
        yield plugin


def tone(dbfs, samples=RATE // 2):
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * 1000 * np.arange(samples) / RATE)).astype(
        np.float32
    )[None]


def level_db(audio):
    """Of the second half: attacks are over."""
    return 20 * np.log10(np.abs(audio[:, audio.shape[1] // 2 :]).max())


# VST3


def test_a_vst3_tells_its_knobs(compressor):
    threshold, makeup = compressor.parameters
    assert (threshold.name, threshold.unit, threshold.low, threshold.high) == (
        "threshold_db",
        "dB",
        -80.0,
        0.0,
    )
    assert (threshold.steps, threshold.default_unit, makeup.default_unit) == (0, 1.0, 0.0)
    with open_plugin(installed("ZamComp", "VST3")) as every:
        names = [knob.name for knob in every.parameters]
        assert {"attack_ms", "ratio", "sidechain"} < set(names)
        assert not {
            "sample_rate_frames",
            "buffer_size_frames",
            "current_program",
            "output_level_db",
        } & set(names)
        assert {knob.name: knob.steps for knob in every.parameters}["sidechain"] == 2


def test_a_vst3_does_what_its_knobs_say(compressor):
    """Threshold 0 dB passes all; -40 dB at ratio 4 lets 10 of the 40 dB above it through; makeup adds 15 of 30 dB."""
    audio = tone(-0.1)
    np.testing.assert_allclose(
        compressor.process(audio, RATE, np.array([1.0, 0.0])), audio, atol=1e-6
    )
    compressed = level_db(compressor.process(audio, RATE, np.array([0.5, 0.0])))
    assert compressed == pytest.approx(-30, abs=2)  # its detector follows the wave a little
    raised = level_db(compressor.process(audio, RATE, np.array([0.5, 0.5])))
    assert raised - compressed == pytest.approx(15, abs=0.01)


def test_a_vst3_starts_from_rest(compressor):
    audio, setting = tone(-6), np.array([0.3, 0.2])
    first = compressor.process(audio, RATE, setting)
    compressor.process(tone(0), RATE, np.array([0.9, 0.9]))
    np.testing.assert_array_equal(compressor.process(audio, RATE, setting), first)
    with compressor.copy() as fresh:
        np.testing.assert_array_equal(fresh.process(audio, RATE, setting), first)
    assert compressor.repeatable


def test_a_vst3_takes_any_length_and_both_rates(compressor):
    for samples, rate in ((1, RATE), (100, 48_000), (20_000, 22_050)):
        audio = tone(-20, samples)
        np.testing.assert_allclose(
            compressor.process(audio, rate, np.array([1.0, 0.0])), audio, atol=1e-6
        )


def test_a_stereo_vst3_plays_mono_too():
    with open_plugin(installed("ZamCompX2", "VST3"), parameters=["threshold_db"]) as plugin:
        both = np.concatenate([tone(-3), tone(-9)])
        np.testing.assert_allclose(plugin.process(both, RATE, np.array([1.0])), both, atol=1e-6)
        np.testing.assert_allclose(
            plugin.process(both[:1], RATE, np.array([1.0])), both[:1], atol=1e-6
        )


def test_a_plug_in_that_does_not_forget_is_found_out():
    """ZamTube as VST3 keeps what it played, and returns no knob to where it stood first: a new instance each time."""
    with open_plugin(installed("ZamTube", "VST3"), parameters=["tube_drive"]) as plugin:
        assert plugin.probe.reset_mode == "reload"
        assert (
            plugin.probe.repeat_error < 1e-2
        )  # 5e-4 at most was seen; without reloading it is above 0.1


def test_a_file_that_is_no_vst3(tmp_path):
    pytest.importorskip("pedalboard")
    (tmp_path / "letter.vst3").write_text("Dear reader")
    with pytest.raises(PluginError, match="VST3 plug-in letter: "):
        open_plugin(str(tmp_path / "letter.vst3"))


# LV2 and VST2


def test_an_lv2_by_uri_turns_and_forgets():
    uri = installed("gxts9", "LV2")
    assert uri == TS9
    with open_plugin(uri) as plugin:
        assert [knob.name for knob in plugin.parameters] == [
            "level",
            "tone",
            "drive",
        ]  # and no bypass
        assert [(knob.low, knob.high) for knob in plugin.parameters] == [
            (-20, 4),
            (100, 1000),
            (0, 1),
        ]
        assert plugin.repeatable
        assert plugin.probe.responds
        quiet = plugin.process(tone(-20), RATE, np.array([0.0, 0.5, 0.5]))
        loud = plugin.process(tone(-20), RATE, np.array([0.5, 0.5, 0.5]))
        assert level_db(loud) - level_db(quiet) == pytest.approx(12, abs=0.01)  # half of its 24 dB
        np.testing.assert_array_equal(
            plugin.process(tone(-20), RATE, np.array([0.0, 0.5, 0.5])), quiet
        )


def test_one_compressor_in_three_formats_sounds_alike():
    """The VST3 hosted by pedalboard against the LV2 and the VST2 hosted by dawdreamer."""
    heard = {}
    for name, kind in (("ZamComp", "VST3"), ("ZamComp", "LV2"), ("ZamComp-vst", "VST2")):
        with open_plugin(installed(name, kind)) as plugin:
            words = [
                knob.name.removesuffix("_ms").removesuffix("_db") for knob in plugin.parameters
            ]
            turned = {"threshold": 0.5, "makeup": 0.4}
            setting = [
                turned.get(w, k.default_unit) for w, k in zip(words, plugin.parameters, strict=True)
            ]
            heard[kind] = plugin.process(tone(-3), RATE, np.array(setting))
    np.testing.assert_allclose(
        heard["LV2"], heard["VST3"], atol=1e-4
    )  # the formats round knobs differently
    np.testing.assert_allclose(heard["VST2"], heard["VST3"], atol=1e-4)


def test_an_lv2_has_the_units_of_its_bundle_and_its_switches_count():
    with open_plugin(installed("ZamComp", "LV2")) as plugin:
        knobs = {knob.name: knob for knob in plugin.parameters}
    assert [knobs[name].unit for name in ("attack", "threshold", "ratio")] == ["ms", "dB", ""]
    assert knobs["sidechain"].steps == 2
    assert (knobs["sidechain"].low, knobs["sidechain"].high) == (0.0, 1.0)  # it shows Off and On


def test_a_stereo_lv2_of_another_maker_turns():
    where = next(
        (
            i.where
            for i in installed_plugins()
            if i.where == "http://calf.sourceforge.net/plugins/Gate"
        ),
        None,
    )
    if where is None or not importlib.util.find_spec("dawdreamer"):
        pytest.skip("Calf's gate is not installed (Debian: calf-plugins), or dawdreamer is not")
    with open_plugin(where, parameters=["threshold"]) as plugin:
        assert (plugin.repeatable, plugin.probe.responds) == (True, True)
        opened = level_db(plugin.process(tone(-20), RATE, np.array([0.0])))
        closed = level_db(plugin.process(tone(-20), RATE, np.array([1.0])))
        assert opened == pytest.approx(-20, abs=0.5)
        assert closed < -30  # one to two below 0 dB: 20 dB lower


def test_an_lv2_synthesiser_is_refused():
    with pytest.raises(PluginError, match="takes 0 channels of audio and gives 2: no effect"):
        open_plugin(installed("Organ", "LV2"))


# Finding them


MANIFEST = """
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
# <urn:old:Commented> a lv2:Plugin .
<urn:maker:Warm>
    a lv2:Plugin ;
    lv2:binary <warm.so> .
<http://maker.org/amp#mono> a lv2:CompressorPlugin, lv2:Plugin ; lv2:binary <amp.so> .
<http://maker.org/amp#stereo> a lv2:Plugin .
<urn:maker:Warm#preset> a pset:Preset ; lv2:appliesTo <urn:maker:Warm> .
"""
PORTS = """
<urn:maker:Warm> lv2:port [
  a lv2:InputPort, lv2:ControlPort ; lv2:index 0 ; lv2:name "Drive" ; unit:unit unit:db ;
] , [
  a lv2:InputPort, lv2:ControlPort ; lv2:index 1 ; lv2:name "Colour" ;
] , [
  a lv2:InputPort, lv2:ControlPort ; lv2:index 2 ; lv2:name "Pitch" ; units:unit units:hz ;
] .
"""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Plug-ins on paper in folders of our own."""
    (tmp_path / "warm.lv2").mkdir()
    (tmp_path / "warm.lv2" / "manifest.ttl").write_text(MANIFEST)
    (tmp_path / "warm.lv2" / "warm.ttl").write_text(PORTS)
    (tmp_path / "Maker" / "Bright.vst3" / "Contents").mkdir(parents=True)
    (tmp_path / "Bright.so").touch()
    for variable in ("VST3_PATH", "LV2_PATH", "VST_PATH"):
        monkeypatch.setenv(variable, str(tmp_path))
    listing.lv2_bundles.cache_clear()
    yield tmp_path
    listing.lv2_bundles.cache_clear()


def test_what_is_installed_is_read_from_folders_and_manifests(folders):
    found = [
        (info.name, info.kind, info.where) for info in installed_plugins() if info.kind != "builtin"
    ]
    assert found == [
        ("Bright", "VST3", str(folders / "Maker" / "Bright.vst3")),
        ("amp#mono", "LV2", "http://maker.org/amp#mono"),
        ("amp#stereo", "LV2", "http://maker.org/amp#stereo"),
        ("Warm", "LV2", "urn:maker:Warm"),
        ("Bright", "VST2", str(folders / "Bright.so")),
    ]
    assert listing.lv2_units("urn:maker:Warm") == {"Drive": "dB", "Pitch": "Hz"}


def test_a_name_a_file_or_a_uri_finds_it(folders, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    vst3 = str(folders / "Maker" / "Bright.vst3")
    assert (find("bright").kind, find("bright").where) == ("VST3", vst3)
    assert find(vst3).where == vst3
    assert find(str(folders / "Bright.so")).kind == "VST2"
    assert find("Warm").where == find("urn:maker:Warm").where == "urn:maker:Warm"
    assert find("compressor").kind == "builtin"
    with pytest.raises(PluginError, match="no plug-in 'urn:maker:Cold' here"):
        find("urn:maker:Cold")


def test_a_host_that_is_not_installed_is_named(folders, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "dawdreamer")
    with pytest.raises(
        PluginError,
        match="LV2 plug-in Warm cannot be hosted: dawdreamer is not installed: pip install",
    ):
        find("Warm")
    assert {info.kind for info in installed_plugins() if not info.usable} == {"LV2", "VST2"}
