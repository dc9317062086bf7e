"""A real VST3 instrument, built here from `reed/`: notes, parameters by name, states."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labkit.effects.hosts.engines import Vst3Instrument
from labkit.effects.hosts.worker import PluginError, Worker

RATE = 44_100
FRAMEWORK = Path("/usr/share/dpf/distrho")
QUIET = {"wave": "Sine", "octave": "0", "level": 0.5, "release": 0.0, "retrigger": 1.0}


@pytest.fixture(scope="module")
def reed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundle. Its MIDI controls get the name that pedalboard skips, to open fast."""
    if platform.machine() != "x86_64" or not FRAMEWORK.exists() or not shutil.which("g++"):
        pytest.skip(
            "what builds a VST3 instrument is not here (x86_64 Linux; Debian: dpf-source, g++)"
        )
    folder = tmp_path_factory.mktemp("reed")
    shutil.copytree(FRAMEWORK, folder / "distrho")
    source = folder / "distrho" / "src" / "DistrhoPluginVST3.cpp"
    text = source.read_text()
    assert '"MIDI Ch. %d CC %d"' in text, "dpf-source names its controls of MIDI otherwise"
    source.write_text(text.replace('"MIDI Ch. %d CC %d"', '"MIDI CC %d|%d"'))
    binary = folder / "Reed.vst3" / "Contents" / "x86_64-linux" / "Reed.so"
    binary.parent.mkdir(parents=True)
    here = Path(__file__).parent / "reed"
    command = ["g++", "-O1", "-std=gnu++14", "-shared", "-fPIC", "-fvisibility=hidden"]
    command += ["-DDISTRHO_PLUGIN_TARGET_VST3", f"-I{here}", f"-I{folder / 'distrho'}"]
    command += [str(here / "reed.cpp"), str(folder / "distrho" / "DistrhoPluginMain.cpp")]
    command += ["-o", str(binary)]
    subprocess.run(command, check=True, capture_output=True)
    return str(folder / "Reed.vst3")


@pytest.fixture(scope="module")
def host(reed: str) -> Iterator[Worker]:
    worker = Worker("labkit.effects.hosts.engines:Vst3Instrument", reed, 60)
    yield worker
    worker.close()


def peak_hz(audio: np.ndarray) -> float:
    samples = audio.shape[1]
    spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(samples)))
    return float(spectrum.argmax() * RATE / samples)


@pytest.mark.parametrize(
    ("key", "octave", "hz"), [(69, "0", 440), (57, "0", 220), (57, "2", 880), (69, "-1", 220)]
)
def test_a_key_has_its_pitch_and_a_word_its_place(
    host: Worker, key: int, octave: str, hz: int
) -> None:
    audio = host.call("play", QUIET | {"octave": octave}, key, 1.0, 1.0)
    assert audio.shape == (2, RATE)
    assert audio.dtype == np.float32
    assert peak_hz(audio) == pytest.approx(hz, abs=1)  # a bin is 1 Hz


@pytest.mark.parametrize("release", [0.06, 1.0])
def test_what_rings_on_is_not_heard_in_the_next_note(host: Worker, release: float) -> None:
    """Half a second, and eight, which is too long to wait for: then a new instance plays."""
    alone = host.call("play", QUIET | {"release": release}, 60, 0.2, 0.5)
    for retrigger in (1.0, 0.0):
        loud = {"release": release, "level": 1.0, "retrigger": retrigger}
        host.call("play", QUIET | loud, 72, 0.3, 0.4)
        again = host.call("play", QUIET | {"release": release}, 60, 0.2, 0.5)
        np.testing.assert_allclose(again, alone, atol=1e-5)


def test_a_state_brings_a_sound_back(host: Worker, reed: str) -> None:
    settings = QUIET | {"octave": "1", "level": 0.3}
    del settings["wave"]
    host.call("reload")
    audio = host.call("play", settings, 60, 0.3, 0.5)
    state = host.call("state")
    assert state[:4] == b"VST3"
    with_fresh = Worker("labkit.effects.hosts.engines:Vst3Instrument", reed, 60)
    with_fresh.call("load", state)
    np.testing.assert_allclose(with_fresh.call("play", {}, 60, 0.3, 0.5), audio, atol=1e-6)
    with pytest.raises(PluginError, match="does not read this preset"):
        with_fresh.call("load", b"Dear reader")
    with_fresh.close()


def test_what_it_lacks_is_named(host: Worker, reed: str) -> None:
    with pytest.raises(PluginError, match="wave never shows 'Noise'; it shows "):
        host.call("play", QUIET | {"wave": "Noise"}, 60, 0.1, 0.1)
    with pytest.raises(PluginError, match="nosuch is none of the"):
        host.call("play", {"nosuch": 0.5}, 60, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"but not these 2 of 3: cutoff, nosuch"):
        Vst3Instrument(reed, ["wave", "cutoff", "nosuch"])
