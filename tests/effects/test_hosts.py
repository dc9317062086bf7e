"""The hosts' face: the lab's own pedals, and engines that lag, leak, hang, crash and lie."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from labkit.effects.hosts import (
    HostedPlugin,
    PluginError,
    PluginPool,
    Source,
    installed_plugins,
    open_plugin,
)
from labkit.effects.hosts.face import Plugin
from labkit.effects.hosts.probe import measure_lag, noise
from labkit.effects.registry import EFFECTS

RATE = 44_100
# Engines for the worker's process: it finds this module on the path.
ENGINES = '''
import os, sys, time
import numpy as np
from labkit.effects.hosts.face import PluginParameter


class Gain:
    """A gain 0..1, and a knob that asks for trouble."""

    widths = (1,)
    latency_samples = None
    parameters = (
        PluginParameter("gain", "", 0.0, 1.0, 0, 1.0),
        PluginParameter("trouble", "", 0.0, 1.0, 4, 0.0),
        PluginParameter("bypass", "", 0.0, 1.0, 2, 0.0),
    )
    stands_at = 0.0

    def __init__(self, where):
        self.lag = int(where or 0)

    def render(self, audio, sample_rate, values, care):
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
    """Without the knob that asks for trouble, so that probing may turn them all."""

    parameters = Gain.parameters[:1]
    needed = "reset"

    def __init__(self, where):
        super().__init__(where)
        self.before = self.parameters[0].default_unit

    def render(self, audio, sample_rate, values, care):
        before = values[0] if ("reset", "settle", "reload").index(care) >= self.level else self.before
        self.before = values[0]
        return audio * np.linspace(before, values[0], audio.shape[1], dtype=np.float32), 0


class Reset(Quiet):
    level = 0


class Settle(Quiet):
    level = 1


class Reload(Quiet):
    level = 2


class Never(Quiet):
    level = 3


class Deaf(Quiet):
    def render(self, audio, sample_rate, values, care):
        return audio, 0


class Stereo(Gain):
    widths = (2,)

    def render(self, audio, sample_rate, values, care):
        assert audio.shape[0] == 2
        return audio * np.array([[1.0], [0.5]], dtype=np.float32), 0


class Trimming(Gain):
    """A host that takes 100 of the 130 samples of lag out by itself."""

    def render(self, audio, sample_rate, values, care):
        out = np.zeros_like(audio)
        out[:, 30:] = audio[:, :-30]
        return values[0] * out, 100


class Lookahead(Gain):
    """A host that takes all the lag out, which a knob makes longer."""

    def render(self, audio, sample_rate, values, care):
        return audio.copy(), 50 + int(100 * (1 - values[0]))


class Nan(Gain):
    def render(self, audio, sample_rate, values, care):
        return np.full_like(audio, np.nan if values[0] < 0.5 else 1.0), 0


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
        plugins.append(HostedPlugin(Source(name, "VST3", where, f"{engines}:{name}"), **given))
        return plugins[-1]

    yield open_fake
    for plugin in plugins:
        plugin.close()


def riff(channels=1, samples=4000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(
        np.float32
    )


# The lab's own pedals


@pytest.mark.parametrize("name", EFFECTS)
def test_a_builtin_is_its_effect_with_knobs_in_unit(name):
    record = EFFECTS[name]
    settings = np.random.default_rng(1).random(len(record.space))
    with open_plugin(name) as plugin:
        assert isinstance(plugin, Plugin)
        assert [knob.name for knob in plugin.parameters] == list(record.space.names)
        assert plugin.latency_samples == record.latency_samples
        audio = riff(2)
        heard = plugin.process(audio, RATE, settings)
        physical = record.space.from_unit(settings)
        np.testing.assert_array_equal(heard, record.render(audio, RATE, **physical))
        plugin.process(audio, RATE, 1 - settings)
        np.testing.assert_array_equal(heard, plugin.process(audio, RATE, settings))


def test_knobs_are_chosen_fixed_or_rest_in_the_middle():
    space = EFFECTS["compressor"].space
    plugin = open_plugin(
        "compressor", parameters=["ratio", "threshold_db"], fixed={"attack_ms": 0.25}
    )
    assert [knob.name for knob in plugin.parameters] == ["ratio", "threshold_db"]
    assert (plugin.parameters[1].low, plugin.parameters[1].high, plugin.parameters[1].unit) == (
        -50.0,
        -20.0,
        "dB",
    )
    heard = plugin.process(riff(), RATE, np.array([0.9, 0.1]))
    wanted = EFFECTS["compressor"].render(
        riff(), RATE, **space.from_unit(np.array([0.1, 0.9, 0.25, 0.5]))
    )
    np.testing.assert_array_equal(heard, wanted)
    assert len(open_plugin("compressor", fixed={"ratio": 0.1}).parameters) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": ["ratio", "knee"]}, "unknown: knee"),
        ({"parameters": ["ratio", "ratio"]}, "named twice"),
        ({"parameters": ["ratio"], "fixed": {"ratio": 0.5}}, "named twice"),
        ({"fixed": {"ratio": 4.0}}, r"fixed settings lie in 0..1, got \{'ratio': 4.0\}"),
        ({"timeout_s": 0.0}, "timeout_s must be a number of seconds above 0, got 0.0"),
    ],
)
def test_a_wrong_choice_of_knobs_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        open_plugin("compressor", **given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (np.zeros(3), r"params_unit must have shape \(4,\), got \(3,\)"),
        (np.array([0.5, 0.5, 0.5, 1.1]), "params_unit must lie in 0..1, got 0.5 to 1.1"),
        (np.array([0.5, 0.5, 0.5, np.nan]), "params_unit must lie in 0..1"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        open_plugin("compressor").process(riff(), RATE, settings)


def test_unusable_audio_is_refused():
    with pytest.raises(ValueError, match="audio is empty"):
        open_plugin("compressor").process(np.zeros((1, 0), np.float32), RATE, np.full(4, 0.5))


def test_a_plug_in_that_is_not_there():
    with pytest.raises(PluginError, match=r"no plug-in 'nosuch'.*`labkit plugins`"):
        open_plugin("nosuch")


def test_builtins_are_listed():
    assert [info.name for info in installed_plugins() if info.kind == "builtin"] == list(EFFECTS)


# A process of its own


def test_a_hanging_plug_in_is_ended_and_comes_back(opened):
    plugin = opened("Gain", fixed={"bypass": 0.0}, timeout_s=30.0)
    plugin._host.timeout_s = 1.0
    start = time.perf_counter()
    with pytest.raises(
        PluginError, match="Gain: it has not answered within 1 s, and its process was ended"
    ):
        plugin.process(riff(), RATE, np.array([0.5, 1 / 3]))
    assert time.perf_counter() - start < 20  # one second, and what a busy machine adds
    plugin._host.timeout_s = 30.0
    np.testing.assert_array_equal(plugin.process(riff(), RATE, np.array([0.5, 0.0])), 0.5 * riff())


def test_a_crashing_plug_in_says_so_and_comes_back(opened):
    plugin = opened("Gain")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"VST3 plug-in Gain: it crashed \(SIGABRT\)"):
            plugin.process(riff(), RATE, np.array([0.5, 2 / 3]))
        np.testing.assert_array_equal(
            plugin.process(riff(), RATE, np.array([0.5, 0.0])), 0.5 * riff()
        )


def test_an_engine_that_raises_is_heard_and_lives(opened):
    plugin = opened("Gain")
    process = plugin._host._process.pid
    with pytest.raises(PluginError, match="RuntimeError: no licence found"):
        plugin.process(riff(), RATE, np.array([0.5, 1.0]))
    assert plugin._host._process.pid == process


def test_a_plug_in_that_does_not_open(opened):
    with pytest.raises(PluginError, match=r"VST3 plug-in Slow: it has not opened within 1\.5 s"):
        opened("Slow", timeout_s=1.5)
    with pytest.raises(
        PluginError, match="VST3 plug-in Refusing: ValueError: this file is no plug-in"
    ):
        opened("Refusing")


def test_the_process_ends_with_the_plug_in(opened):
    plugin = opened("Reset")
    process = plugin._host._process
    assert process.poll() is None
    plugin.close()
    assert process.poll() is not None
    plugin.process(riff(), RATE, np.array([0.5]))
    assert plugin._host._process is not process
    with plugin:
        process = plugin._host._process
    assert process.poll() is not None


def test_an_interrupt_leaves_no_answer_behind(opened, monkeypatch):
    plugin = opened("Reset")
    with monkeypatch.context() as patch:
        patch.setattr(
            "labkit.effects.hosts.worker.pickle.load",
            lambda _: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            plugin.process(riff(), RATE, np.array([0.1]))
    np.testing.assert_array_equal(plugin.process(riff(seed=3), RATE, np.array([1.0])), riff(seed=3))


def test_a_copy_travels_by_pickle(opened):
    plugin = opened("Gain", where="64", parameters=["gain"])
    copy = pickle.loads(pickle.dumps(plugin))
    assert (copy.parameters, copy.latency_samples) == (plugin.parameters, 64)
    assert copy._host._process is None  # it starts when it is first asked
    with copy:
        np.testing.assert_array_equal(copy.process(riff(), RATE, np.array([0.5])), 0.5 * riff())


# What is measured


@pytest.mark.parametrize("lag", [0, 1, 700])
def test_lag_is_measured_and_taken_out(opened, lag):
    plugin = opened("Gain", where=str(lag), parameters=["gain"])
    assert plugin.latency_samples == lag
    for samples in (1, 50, 4000):
        audio = riff(2, samples)
        np.testing.assert_array_equal(plugin.process(audio, RATE, np.array([1.0])), audio)


def test_lag_that_the_host_takes_out_counts_and_is_not_taken_out_twice(opened):
    plugin = opened("Trimming", parameters=["gain"])
    assert plugin.latency_samples == 130
    np.testing.assert_array_equal(plugin.process(riff(), RATE, np.array([1.0])), riff())


def test_lag_that_a_knob_makes_longer_stays_the_hosts_affair(opened):
    plugin = opened("Lookahead", parameters=["gain"])
    assert plugin.latency_samples == 50
    np.testing.assert_array_equal(plugin.process(riff(), RATE, np.array([0.0])), riff())


def test_lag_is_where_the_response_begins():
    dry = noise(22_050, 1)

    def through(response, late):
        return np.convolve(dry[0], np.concatenate([np.zeros(late), response]))[None, : dry.shape[1]]

    one_pole, plateau = 0.1 * 0.9 ** np.arange(200), np.full(100, 0.01)
    assert measure_lag(dry, through(one_pole, 0), RATE) == 0
    assert measure_lag(dry, through(one_pole, 17), RATE) == 17
    assert measure_lag(dry, through(plateau, 5), RATE) == 5
    assert (
        measure_lag(dry, -np.tanh(10 * through([1.0], 33)), RATE) == 33
    )  # twisted, and turned over
    assert measure_lag(dry, through([1.0, *np.zeros(3000), 0.9], 0), RATE) == 0  # an echo is no lag
    assert measure_lag(dry, 0 * dry, RATE) == 0


@pytest.mark.parametrize(
    ("name", "care"), [("Reset", "reset"), ("Settle", "settle"), ("Reload", "reload")]
)
def test_the_cheapest_way_to_forget_is_found(opened, name, care):
    plugin = opened(name)
    assert (plugin.care, plugin.repeatable) == (care, True)
    first = plugin.process(riff(), RATE, np.array([0.3]))
    plugin.process(riff(), RATE, np.array([0.9]))
    np.testing.assert_array_equal(plugin.process(riff(), RATE, np.array([0.3])), first)


def test_a_plug_in_that_never_forgets_is_said_so(opened):
    plugin = opened("Never")
    assert not plugin.repeatable
    assert plugin.repeat_error > 0.01


def test_knobs_that_do_nothing_are_said_so(opened):
    assert opened("Reset").responds
    assert not opened("Deaf").responds
    assert not opened(
        "Gain", parameters=["bypass"], fixed={"gain": 0.5}
    ).responds  # only what is turned counts


def test_channels_are_brought_to_what_the_plug_in_takes(opened):
    mono, stereo = opened("Gain", parameters=["gain"]), opened("Stereo", parameters=["gain"])
    np.testing.assert_array_equal(mono.process(riff(3), RATE, np.array([0.5])), 0.5 * riff(3))
    np.testing.assert_array_equal(stereo.process(riff(1), RATE, np.array([0.5])), riff(1))
    both = riff(2)
    np.testing.assert_array_equal(
        stereo.process(both, RATE, np.array([0.5])), both * [[1.0], [0.5]]
    )
    with pytest.raises(ValueError, match="audio must have 1 or 2 channels for Stereo, got 3"):
        stereo.process(riff(3), RATE, np.array([0.5]))


def test_nan_is_an_error(opened):
    plugin = opened("Nan", parameters=["gain"])
    with pytest.raises(PluginError, match="Nan returned 4000 NaN or infinite of 4000 samples"):
        plugin.process(riff(), RATE, np.array([0.2]))


def test_switches_that_turn_it_off_are_left_out_unless_named(opened):
    assert [knob.name for knob in opened("Gain").parameters] == ["gain", "trouble"]
    assert [knob.name for knob in opened("Gain", parameters=["bypass"]).parameters] == ["bypass"]


# Batches


def test_a_pool_keeps_order_and_every_setting(opened):
    audios = [riff(1 + k % 2, 1000 + k, seed=k) for k in range(7)]
    settings = np.linspace(0, 1, 7)[:, None]
    with PluginPool(opened("Reset"), workers=2) as pool:
        heard = pool.map(audios, RATE, settings)
        assert all(plugin._host._process is not None for plugin in pool._plugins)
    for audio, setting, out in zip(audios, settings, heard, strict=True):
        np.testing.assert_allclose(
            out, audio * np.float32(setting), atol=1e-7
        )  # one rounding of float32
    assert all(plugin._host._process is None for plugin in pool._plugins)


def test_a_pool_of_builtins():
    with PluginPool("distortion", workers=3) as pool:
        heard = pool.map([riff(), riff(2)], RATE, np.array([[0.1], [0.9]]))
    for audio, unit, out in zip((riff(), riff(2)), (0.1, 0.9), heard, strict=True):
        np.testing.assert_array_equal(
            out, EFFECTS["distortion"].render(audio, RATE, drive_db=8.0 + 22.0 * unit)
        )


def test_one_bad_item_does_not_spoil_the_pool(opened):
    with PluginPool(opened("Gain"), workers=2) as pool:
        with pytest.raises(PluginError, match="crashed"):
            pool.map([riff()] * 3, RATE, np.array([[1.0, 0.0], [1.0, 2 / 3], [1.0, 0.0]]))
        assert len(pool.map([riff()] * 3, RATE, np.array([[1.0, 0.0]] * 3))) == 3


def test_a_pool_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        PluginPool("distortion", workers=0)
    with (
        PluginPool("distortion") as pool,
        pytest.raises(
            ValueError, match=r"params_unit must have shape \(2, n_parameters\), got \(3, 1\)"
        ),
    ):
        pool.map([riff(), riff()], RATE, np.zeros((3, 1)))


def test_a_worker_starts_without_torch():
    program = "import sys, labkit.effects.hosts.worker, labkit.effects.hosts.pedalboard; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_package_has_what_it_says():
    from labkit.effects import hosts

    assert all(getattr(hosts, name).__name__ == name for name in hosts.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hosts.nothing  # noqa: B018
