"""`labkit plugins`: the list, one plug-in's knobs, and the measurement of all, without any that is installed."""

import importlib.util

import pytest

from labkit.cli import main
from labkit.effects.hosts import PluginError, PluginInfo, listing


@pytest.fixture(autouse=True)
def three(monkeypatch):
    """One pedal, one plug-in that is gone when it is opened, and one that nothing here can host."""
    listed = [
        PluginInfo("compressor", "builtin", "compressor", listing._HOSTS["builtin"][1]),
        PluginInfo("Gone", "VST3", "gone.vst3"),
        PluginInfo("Warm", "LV2", "urn:maker:Warm"),
    ]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dawdreamer" else find_spec(name)
    )
    monkeypatch.setattr(listing, "installed_plugins", lambda: listed)


def test_the_list_says_what_cannot_be_used(capsys):
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["builtin", "compressor"],
        ["VST3", "Gone"],
        ["LV2", "Warm"],
    ]
    assert lines[2].endswith("not usable: dawdreamer is not installed: pip install dawdreamer")


def test_one_kind(capsys):
    assert main(["plugins", "--kinds", "VST3"]) == 0
    assert capsys.readouterr().out.split() == ["VST3", "Gone", "gone.vst3"]


def test_checking_opens_all_and_fails_where_one_does_not_open(capsys, monkeypatch):
    def fault(_kind):
        raise PluginError("it crashed (SIGSEGV)")

    assert main(["plugins", "--kinds", "builtin", "--check"]) == 0
    assert "4 parameters, latency 0 samples, repeats itself (by reset)" in capsys.readouterr().out
    find = listing.find
    monkeypatch.setattr(
        "labkit.effects.hosts.plugin.find", lambda name: fault(name) if "gone" in name else find(name)
    )
    assert main(["plugins", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("gone.vst3   it crashed (SIGSEGV)")
    assert "not usable" in lines[2]


def test_the_knobs_of_one(capsys):
    assert main(["plugins", "compressor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("compressor (builtin, compressor): 4 parameters, latency 0 samples")
    assert lines[1].split() == [
        "threshold_db",
        "-50",
        "to",
        "-20",
        "dB",
        "rests",
        "at",
        "0.500",
        "of",
        "0..1",
    ]


def test_one_that_is_not_there(capsys):
    assert main(["plugins", "nosuch"]) == 1
    assert (
        capsys.readouterr().err
        == "labkit: no plug-in 'nosuch' here: `labkit plugins` lists what is installed\n"
    )
