"""Hosted plug-ins: the lab's pedals, and engines with latency and memory, that hang and crash."""

import pickle
import struct
import sys
import time

import numpy as np
import pytest

from labkit.effects.hosts.listing import PluginInfo, installed_plugins
from labkit.effects.hosts.plugin import HostedPlugin, Rack, Unit, measure_latency, noise
from labkit.effects.hosts.worker import PluginError
from labkit.effects.registry import EFFECTS, HOSTED

RATE = 44_100
# Engines for the worker's process: it finds this module on the path.
ENGINES = '''
import os, sys, time
import numpy as np
from labkit.effects.hosts.engines import PluginParameter


class Gain:
    """A gain 0..1, and a parameter that fails."""

    widths = (1,)
    latency_samples = None
    parameters = (
        PluginParameter("gain", "0", "1", 1.0),
        PluginParameter("trouble", "0", "1", 0.0),
        PluginParameter("bypass", "Off", "On", 0.0),
    )

    def __init__(self, where):
        self.lag = int(where or 0)

    def render(self, audio, sample_rate, values, mode):
        print("flood " * 20_000)
        print("flood " * 20_000, file=sys.stderr)
        if values[1] == 1 / 3:
            time.sleep(600)
        if values[1] == 2 / 3:
            os.abort()
        if values[1] == 1:
            raise RuntimeError("no licence found")
        out = np.zeros_like(audio)
        out[:, self.lag :] = audio[:, : audio.shape[1] - self.lag]
        return values[0] * out, 0


class Quiet(Gain):
    """Without the knob that fails, so that the probe may turn them all."""

    parameters = Gain.parameters[:1]

    def __init__(self, where):
        super().__init__(where)
        self.before = self.parameters[0].default_unit

    def render(self, audio, sample_rate, values, mode):
        forgets = ("reset", "settle", "reload").index(mode) >= self.level
        before = values[0] if forgets else self.before
        self.before = values[0]
        return audio * np.linspace(before, values[0], audio.shape[1], dtype=np.float32), 0


for level, name in enumerate(("Reset", "Settle", "Reload", "Never")):
    globals()[name] = type(name, (Quiet,), {"level": level})


class Stereo(Gain):
    widths = (2,)

    def render(self, audio, sample_rate, values, mode):
        assert audio.shape[0] == 2
        return audio * np.array([[1.0], [0.5]], dtype=np.float32), 0


class Trimming(Gain):
    """A host that takes 100 of the 130 samples of lag out by itself."""

    def render(self, audio, sample_rate, values, mode):
        out = np.zeros_like(audio)
        out[:, 30:] = audio[:, :-30]
        return values[0] * out, 100


class Nan(Gain):
    def render(self, audio, sample_rate, values, mode):
        return np.full_like(audio, np.nan if values[0] < 0.5 else 1.0), 0


class Short(Gain):
    def render(self, audio, sample_rate, values, mode):
        return (audio[:, :-1] if values[0] < 0.5 else audio), 0


class Liar(Gain):
    """Answers with what Python would run, if it were unpickled, and with what is no answer."""

    def render(self, audio, sample_rate, values, mode):
        if values[0] < 0.5:
            for descriptor in (3, 4, 5):
                try:
                    os.write(descriptor, bytes.fromhex(self.where))
                except OSError:
                    pass
        return audio, 0

    def __init__(self, where):
        self.where = where


class Slow(Gain):
    def __init__(self, where):
        time.sleep(600)


class Refusing(Gain):
    def __init__(self, where):
        raise ValueError("this file is no plug-in")
'''


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    (folder / "engines_for_a_test.py").write_text(ENGINES)
    sys.path.insert(0, str(folder))
    yield "engines_for_a_test"
    sys.path.remove(str(folder))


@pytest.fixture
def opened(engines):
    """Opens fakes, and closes what a test leaves open."""
    plugins = []

    def open_fake(name, where="", **given):
        plugins.append(HostedPlugin(PluginInfo(name, "VST3", where, f"{engines}:{name}"), **given))
        return plugins[-1]

    yield open_fake
    for plugin in plugins:
        plugin.close()


def riff(channels=1, samples=4000, seed=0):
    sound = 0.1 * np.random.default_rng(seed).standard_normal((channels, samples))
    return sound.astype(np.float32)


def played(plugin, *setting, audio=None):
    return plugin.process(riff() if audio is None else audio, RATE, np.array(setting))


# The lab's own pedals


@pytest.mark.parametrize("name", EFFECTS)
def test_a_builtin_is_its_effect_with_parameters_in_unit(name):
    record, audio = EFFECTS[name], riff(2)
    settings = np.random.default_rng(1).random(len(record.space))
    with HostedPlugin(name) as plugin:
        assert [parameter.name for parameter in plugin.parameters] == list(record.space.names)
        assert plugin.latency_samples == 0
        wet = plugin.process(audio, RATE, settings)
        wanted = record.render(audio, RATE, **record.space.from_unit(settings))
        np.testing.assert_array_equal(wet, wanted)
        plugin.process(audio, RATE, 1 - settings)
        np.testing.assert_array_equal(wet, plugin.process(audio, RATE, settings))


def test_parameters_are_chosen_fixed_or_rest_in_the_middle():
    space, fixed = EFFECTS["compressor"].space, {"attack_ms": 0.25}
    plugin = HostedPlugin("compressor", parameters=["ratio", "threshold_db"], fixed=fixed)
    ratio, threshold = plugin.parameters
    assert ratio.name == "ratio"
    assert (threshold.low, threshold.high) == ("-50", "-20 dB")
    params = space.from_unit(np.array([0.1, 0.9, 0.25, 0.5]))
    wanted = EFFECTS["compressor"].render(riff(), RATE, **params)
    np.testing.assert_array_equal(played(plugin, 0.9, 0.1), wanted)
    assert len(HostedPlugin("compressor", fixed={"ratio": 0.1}).parameters) == 3


def compressed(*setting, audio=None):
    return lambda: played(HostedPlugin("compressor"), *setting, audio=audio)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HostedPlugin("compressor", parameters=["ratio", "knee"]), "each once, got .*knee"),
        (lambda: HostedPlugin("compressor", parameters=["ratio", "ratio"]), "each once"),
        (lambda: HostedPlugin("compressor", fixed={"ratio": 4.0}), r"0..1, got \{'ratio': 4.0\}"),
        (
            lambda: HostedPlugin("compressor", timeout_s=0.0),
            "timeout_s must be .* above 0, got 0.0",
        ),
        (compressed(0, 0, 0), r"params_unit must have shape \(4,\) and lie in 0..1"),
        (compressed(0.5, 0.5, 0.5, np.nan), r"params_unit must have shape \(4,\) and lie in 0..1"),
        (compressed(0.5, 0.5, 0.5, 0.5, audio=riff(1, 0)), "not be empty"),
        (lambda: Rack([], RATE, workers=0), "workers must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_plug_in_that_is_not_there():
    with pytest.raises(PluginError, match=r"no plug-in 'nosuch'.*`labkit plugins`"):
        HostedPlugin("nosuch")
    builtin = [info.name for info in installed_plugins() if info.kind == "builtin"]
    assert builtin == [*EFFECTS, *HOSTED]


# A process of its own


def test_a_hanging_plug_in_is_ended_and_comes_back(opened):
    plugin = opened("Gain", fixed={"bypass": 0.0}, timeout_s=30.0)
    plugin._host.timeout_s = 1.0
    start = time.perf_counter()
    with pytest.raises(PluginError, match="Gain: it has not answered within 1 s, and its process"):
        played(plugin, 0.5, 1 / 3)
    assert time.perf_counter() - start < 20  # one second, and what a busy machine adds
    plugin._host.timeout_s = 30.0
    np.testing.assert_array_equal(played(plugin, 0.5, 0.0), 0.5 * riff())


def test_a_crashing_plug_in_says_so_and_comes_back(opened):
    plugin = opened("Gain")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"VST3 plug-in Gain: it crashed \(SIGABRT\)"):
            played(plugin, 0.5, 2 / 3)
        np.testing.assert_array_equal(played(plugin, 0.5, 0.0), 0.5 * riff())


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("Gain", (0.5, 1.0), "RuntimeError: no licence found"),
        ("Short", (0.2,), r"Short returned \(1, 3999\) samples for \(1, 4000\)"),
        ("Nan", (0.2,), "Nan returned 4000 NaN or infinite of 4000 samples"),
    ],
)
def test_a_wrong_answer_is_an_error_and_the_process_lives_on(opened, name, setting, message):
    plugin = opened(name, parameters=["gain", "trouble"][: len(setting)])
    process = plugin._host._process.pid
    with pytest.raises(PluginError, match=message):
        played(plugin, *setting)
    assert plugin._host._process.pid == process


def test_a_plug_in_that_does_not_open(opened):
    with pytest.raises(PluginError, match=r"VST3 plug-in Slow: it has not opened within 1\.5 s"):
        opened("Slow", timeout_s=1.5)
    with pytest.raises(PluginError, match="plug-in Refusing: ValueError: this file is no plug-in"):
        opened("Refusing")


ANSWERS = {
    "a text that is no JSON": struct.pack("<I", 3) + b"abc",
    "an answer of another kind": struct.pack("<I", 2) + b"{}",
    "nested too deep": struct.pack("<I", 200_000) + b"[" * 200_000,
    "objects in an array": b"9\0\0\0" + b'[true, {"array of": "object", "shape": [1]}]'.ljust(57),
    "an array beyond all bounds": b"9\0\0\0"
    + b'[1,{"array of":"uint8","shape":[9999999999999]}]'.ljust(57),
    "an array of a negative size": b"9\0\0\0"
    + b'[1,{"array of":"uint8","shape":[-1, -1]}]'.ljust(57),
}


@pytest.mark.parametrize("case", ["a pickle", *ANSWERS])
def test_what_a_plug_in_sends_is_never_run(opened, payload, case):
    sent = ANSWERS.get(case, pickle.dumps(payload))
    plugin = opened("Liar", where=sent.hex(), parameters=["gain"], timeout_s=10.0)
    with pytest.raises(PluginError, match=r"plug-in Liar: its process sent no answer|not answered"):
        played(plugin, 0.2)
    np.testing.assert_array_equal(played(plugin, 1.0), riff())
    assert not payload.folder.exists()
    pickle.loads(pickle.dumps(payload))  # the payload works
    assert payload.folder.exists()


def test_the_process_ends_with_the_plug_in(opened):
    plugin = opened("Reset")
    process = plugin._host._process
    assert process.poll() is None
    plugin.close()
    assert process.poll() is not None
    played(plugin, 0.5)
    assert plugin._host._process is not process
    with plugin:
        process = plugin._host._process
    assert process.poll() is not None


def test_an_interrupt_leaves_no_answer_behind(opened, monkeypatch):
    plugin = opened("Reset")

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("labkit.effects.hosts.worker.receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            played(plugin, 0.1)
    np.testing.assert_array_equal(played(plugin, 1.0, audio=riff(seed=3)), riff(seed=3))


# What is measured


@pytest.mark.parametrize("latency", [0, 1, 700])
def test_latency_is_measured_and_removed(opened, latency):
    plugin = opened("Gain", where=str(latency), parameters=["gain"])
    assert plugin.latency_samples == latency
    for samples in (1, 50, 4000):
        audio = riff(2, samples)
        np.testing.assert_array_equal(played(plugin, 1.0, audio=audio), audio)


def test_latency_that_the_host_removes_counts_and_is_removed_once(opened):
    plugin = opened("Trimming", parameters=["gain"])
    assert plugin.latency_samples == 130
    np.testing.assert_array_equal(played(plugin, 1.0), riff())


def test_latency_ends_where_the_response_begins():
    dry = noise(22_050, 1)

    def through(response, late):
        return np.convolve(dry[0], np.concatenate([np.zeros(late), response]))[None, : dry.shape[1]]

    one_pole, plateau = 0.1 * 0.9 ** np.arange(200), np.full(100, 0.01)
    for late in (0, 17):
        assert measure_latency(dry, through(one_pole, late), RATE) == late
    assert measure_latency(dry, through(plateau, 5), RATE) == 5
    assert measure_latency(dry, -np.tanh(10 * through([1.0], 33)), RATE) == 33
    echo = through([1.0, *np.zeros(3000), 0.9], 0)
    assert measure_latency(dry, echo, RATE) == 0
    assert measure_latency(dry, 0 * dry, RATE) == 0


@pytest.mark.parametrize("name", ["Reset", "Settle", "Reload", "Never"])
def test_the_cheapest_way_to_forget_is_found_or_that_there_is_none(opened, name):
    plugin = opened(name)
    assert plugin.repeatable == (name != "Never")
    assert plugin.reset_mode == (name.lower() if plugin.repeatable else "reset")
    first = played(plugin, 0.3)
    played(plugin, 0.9)
    assert np.array_equal(played(plugin, 0.3), first) == plugin.repeatable


def test_channels_are_adapted_to_the_plug_in(opened):
    mono, stereo = opened("Gain", parameters=["gain"]), opened("Stereo", parameters=["gain"])
    both = riff(2)
    np.testing.assert_array_equal(played(mono, 0.5, audio=riff(3)), 0.5 * riff(3))
    np.testing.assert_array_equal(played(stereo, 0.5), riff())
    np.testing.assert_array_equal(played(stereo, 0.5, audio=both), both * [[1.0], [0.5]])
    with pytest.raises(ValueError, match="audio must have 1 or 2 channels for Stereo, got 3"):
        played(stereo, 0.5, audio=riff(3))


def test_switches_that_turn_it_off_are_left_out_unless_named(opened):
    assert [parameter.name for parameter in opened("Gain").parameters] == ["gain", "trouble"]
    assert opened("Gain", parameters=["bypass"]).parameters[0].name == "bypass"


# Several in a row


@pytest.fixture
def fakes(opened, monkeypatch):
    """Racks of fakes."""

    def open_fake(name, *, parameters, fixed):
        return opened(name, parameters=parameters, fixed=fixed)

    monkeypatch.setattr("labkit.effects.hosts.plugin.HostedPlugin", open_fake)


@pytest.mark.usefixtures("fakes")
def test_a_rack_keeps_order_and_every_setting():
    audio = np.stack([riff(1, 1000, seed=k) for k in range(7)])
    settings = np.linspace(0, 1, 7)[:, None]
    with Rack([Unit("Reset", {"gain": 1.0})], RATE, workers=2) as rack:
        wet = rack.render(audio, settings)
        processes = [plugin._host._process for row in rack._rows for plugin in row]
    np.testing.assert_allclose(wet, audio * settings[..., None], atol=1e-7)
    assert len({process.pid for process in processes}) == 2
    assert all(process.poll() is not None for process in processes)


def test_a_rack_plays_part_of_its_row():
    units = [Unit("gain", {"gain_db": 0.5}), Unit("peak", {"gain_db": 0.4, "q": 0.6})]
    dry, setting = [riff(), riff(seed=1)], np.array([[0.75, 0.2, 0.5], [0.5, 0.9, 0.1]])
    peak = EFFECTS["peak"]
    with Rack(units, RATE, workers=2) as rack:
        first = rack.render(dry, setting[:, :1])
        np.testing.assert_allclose(first[0], dry[0] * 10 ** (9 / 20), rtol=1e-5)
        wet = rack.render(dry, setting)
        with pytest.raises(ValueError, match=r"must have shape \(2, one of \[1, 3\]\), got"):
            rack.render(dry, setting[:, :2])
    params = peak.space.from_unit([0.5, 0.9, 0.1])
    np.testing.assert_allclose(wet[1], peak.render(dry[1], RATE, **params), atol=1e-6)
