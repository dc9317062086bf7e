"""Real plug-ins where installed: VST3 through pedalboard, LV2 and VST2 through dawdreamer."""

import importlib.util

import numpy as np
import pytest

from labkit.effects.hosts.listing import find, installed_plugins
from labkit.effects.hosts.plugin import HostedPlugin
from labkit.effects.hosts.worker import PluginError

RATE = 44_100
TS9 = "http://guitarix.sourceforge.net/plugins/gxts9#ts9sim"


def installed(name, kind):
    """What `HostedPlugin` takes, or a skip that says what is missing."""
    for info in installed_plugins():
        if info.kind == kind and name in (info.name, info.where):
            if info.why_not:
                pytest.skip(info.why_not)
            return info.where
    packages = "Debian: zam-plugins, guitarix-lv2, calf-plugins"
    return pytest.skip(f"{kind} plug-in {name} is not installed ({packages})")


@pytest.fixture(scope="module")
def compressor():
    turned = ["threshold_db", "makeup_db"]
    with HostedPlugin(installed("ZamComp", "VST3"), parameters=turned) as plugin:
        yield plugin


def tone(dbfs, samples=RATE // 2):
    wave = np.sin(2 * np.pi * 1000 * np.arange(samples) / RATE)
    return (10 ** (dbfs / 20) * wave).astype(np.float32)[None]


def level_db(audio):
    """Of the second half: attacks are over."""
    return 20 * np.log10(np.abs(audio[:, audio.shape[1] // 2 :]).max())


def played(plugin, audio, *setting, rate=RATE):
    return plugin.process(audio, rate, np.array(setting))


# VST3


def test_a_vst3_names_its_parameters(compressor):
    threshold, makeup = compressor.parameters
    assert threshold.name == "threshold_db"
    assert (float(threshold.low), float(threshold.high.removesuffix(" dB"))) == (-80.0, 0.0)
    assert (threshold.default_unit, makeup.default_unit) == (1.0, 0.0)
    with HostedPlugin(installed("ZamComp", "VST3")) as every:
        names = {parameter.name for parameter in every.parameters}
    assert {"attack_ms", "ratio"} < names
    assert not {"sample_rate_frames", "current_program", "output_level_db"} & names


def test_a_vst3_does_what_its_parameters_say(compressor):
    """Threshold 0 dB passes all; -40 dB at ratio 4 lets 10 of 40 dB through; makeup adds 15."""
    audio = tone(-0.1)
    np.testing.assert_allclose(played(compressor, audio, 1.0, 0.0), audio, atol=1e-6)
    compressed = level_db(played(compressor, audio, 0.5, 0.0))
    assert compressed == pytest.approx(-30, abs=2)  # its detector follows the wave a little
    raised = level_db(played(compressor, audio, 0.5, 0.5))
    assert raised - compressed == pytest.approx(15, abs=0.01)


def test_a_vst3_starts_from_rest_at_any_length_and_rate(compressor):
    first = played(compressor, tone(-6), 0.3, 0.2)
    played(compressor, tone(0), 0.9, 0.9)
    np.testing.assert_array_equal(played(compressor, tone(-6), 0.3, 0.2), first)
    with compressor.copy() as fresh:
        np.testing.assert_array_equal(played(fresh, tone(-6), 0.3, 0.2), first)
    assert compressor.repeatable
    for samples, rate in ((1, RATE), (100, 48_000), (20_000, 22_050)):
        wet = played(compressor, tone(-20, samples), 1.0, 0.0, rate=rate)
        np.testing.assert_allclose(wet, tone(-20, samples), atol=1e-6)


def test_a_plug_in_that_does_not_forget_is_found():
    """ZamTube as VST3 keeps what it played: only a new instance each time is near (5e-4)."""
    with HostedPlugin(installed("ZamTube", "VST3"), parameters=["tube_drive"]) as plugin:
        assert plugin.reset_mode == "reload"
        assert plugin.repeat_error < 1e-2


# LV2 and VST2


def test_an_lv2_by_uri_turns_and_forgets():
    with HostedPlugin(installed(TS9, "LV2")) as plugin:
        ranges = [(p.name, p.low, p.high) for p in plugin.parameters]  # and no bypass
        assert ranges == [("level", "-20", "4"), ("tone", "100", "1000"), ("drive", "0", "1")]
        assert plugin.repeatable
        quiet = played(plugin, tone(-20), 0.0, 0.5, 0.5)
        loud = played(plugin, tone(-20), 0.5, 0.5, 0.5)
        assert level_db(loud) - level_db(quiet) == pytest.approx(12, abs=0.01)  # half of 24 dB
        np.testing.assert_array_equal(played(plugin, tone(-20), 0.0, 0.5, 0.5), quiet)


def test_one_compressor_in_three_formats_sounds_alike():
    wet = {}
    for name, kind in (("ZamComp", "VST3"), ("ZamComp", "LV2"), ("ZamComp-vst", "VST2")):
        with HostedPlugin(installed(name, kind)) as plugin:
            setting = []
            for parameter in plugin.parameters:
                word = parameter.name.removesuffix("_db")
                turned = {"threshold": 0.5, "makeup": 0.4}
                setting.append(turned.get(word, parameter.default_unit))
            wet[kind] = played(plugin, tone(-3), *setting)
    for kind in ("LV2", "VST2"):  # the formats round parameters differently
        np.testing.assert_allclose(wet[kind], wet["VST3"], atol=1e-4)


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


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Files and manifests of plug-ins in folders of our own."""
    (tmp_path / "warm.lv2").mkdir()
    (tmp_path / "warm.lv2" / "manifest.ttl").write_text(MANIFEST)
    (tmp_path / "Maker" / "Bright.vst3" / "Contents").mkdir(parents=True)
    (tmp_path / "Bright.so").touch()
    for variable in ("VST3_PATH", "LV2_PATH", "VST_PATH"):
        monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path


def test_what_is_installed_is_read_from_folders_and_manifests(folders):
    every = [info for info in installed_plugins() if info.kind != "builtin"]
    assert [(info.name, info.kind, info.where) for info in every] == [
        ("Bright", "VST3", str(folders / "Maker" / "Bright.vst3")),
        ("amp#mono", "LV2", "http://maker.org/amp#mono"),
        ("amp#stereo", "LV2", "http://maker.org/amp#stereo"),
        ("Warm", "LV2", "urn:maker:Warm"),
        ("Bright", "VST2", str(folders / "Bright.so")),
    ]


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


@pytest.mark.usefixtures("folders")
def test_a_host_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "dawdreamer")
    with pytest.raises(PluginError, match="Warm cannot be hosted: dawdreamer is not installed"):
        find("Warm")
    assert {info.kind for info in installed_plugins() if info.why_not} == {"LV2", "VST2"}
