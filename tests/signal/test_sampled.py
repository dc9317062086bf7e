"""Recorded instruments: no recording in two splits, the same clip from the same stream."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from labkit.signal.files import AudioError
from labkit.signal.pool import SPLITS
from labkit.signal.sampled import (
    Note,
    Phrase,
    Sampled,
    SoundFontMissingError,
    Synthesizer,
    find_soundfont,
    programs,
)


@pytest.fixture(scope="module")
def zones(soundfont):
    path = Path(__file__).with_name("soundfont_zones.py")
    spec = importlib.util.spec_from_file_location("soundfont_zones", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.sample_zones(soundfont)


@pytest.fixture(scope="module")
def instruments(soundfont):  # noqa: ARG001 - skips where there is none
    return Sampled(seconds=1.0)


def samples(zones, bank, number, low, high):
    found = zones[bank, number]
    return {name for name, first, last in found if first <= high and last >= low}


def test_no_recording_is_in_two_splits(zones):
    played = {}
    for split in SPLITS:
        names = [samples(zones, p.bank, p.number, p.low, p.high) for p in programs(split)]
        played[split] = set().union(*names)
    for first, second in itertools.combinations(SPLITS, 2):
        assert not played[first] & played[second], (first, second)


def test_splits_hold_the_guitars_they_must_and_no_wet_program():
    numbers = {split: {(p.bank, p.number) for p in programs(split)} for split in SPLITS}
    assert {(0, 25), (0, 27), (0, 28)} <= numbers["test"]
    assert {(0, 24), (0, 26)} <= numbers["train"]
    for split in SPLITS:
        assert len(numbers[split]) == len(programs(split))
        families = [p.family for p in programs(split)]
        assert 1 <= families.count("guitar") <= len(families) - 2
    wet = {(0, n) for n in (3, 5, 16, 17, 18, 19, 29, 30, *range(80, 104), *range(119, 128))}
    assert not wet & set().union(*numbers.values())


def test_a_missing_soundfont_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_SOUNDFONT", str(tmp_path / "no.sf2"))
    with pytest.raises(SoundFontMissingError, match=r"no SoundFont at .*no\.sf2"):
        find_soundfont()
    monkeypatch.delenv("LABKIT_SOUNDFONT")
    monkeypatch.setattr("labkit.signal.paths._SOUNDFONT_FOLDERS", str(tmp_path))
    with pytest.raises(SoundFontMissingError, match="apt-get install fluid-soundfont-gm"):
        find_soundfont()


def test_a_phrase_may_begin_in_the_middle_of_a_note(instruments):
    phrase = Phrase((Note(0.0, 2.0, 52, 100),))
    steel = programs("test")[0]
    late = instruments.play(phrase, steel, lead_seconds=0.5)
    early = instruments.play(phrase, steel)
    np.testing.assert_array_equal(late[0, :22_000], early[0, 22_050:44_050])
    waiting = instruments.play(phrase, steel, lead_seconds=-0.25)
    assert not waiting[0, :10_900].any()
    assert waiting[0, 11_100:].any()


def fundamental(audio, near_hz):
    spectrum = np.abs(np.fft.rfft(audio[0, 8_000:40_768] * np.hanning(32_768), 1 << 19))
    bins = np.arange(len(spectrum)) * 44_100 / (1 << 19)
    spectrum[(bins < near_hz * 0.97) | (bins > near_hz * 1.03)] = 0
    return bins[np.argmax(spectrum)]


def test_pitch_and_bend(instruments):
    note, jazz = (Note(0.0, 1.0, 57, 90),), programs("train")[2]
    straight = fundamental(instruments.play(Phrase(note), jazz), 220.0)
    assert straight == pytest.approx(220.0, rel=0.01)  # the recording itself is a little off
    for bend in (2.0, -1.0, 0.5):
        audio = instruments.play(Phrase(note, ((0.0, bend),)), jazz)
        bent = fundamental(audio, 220.0 * 2 ** (bend / 12))
        # The pitch of a plucked string drifts by some cents.
        assert 12 * np.log2(bent / straight) == pytest.approx(bend, abs=0.04)


def test_the_synthesizer_is_dry(soundfont):
    synthesizer = Synthesizer(soundfont, 44_100)
    woodblock = [(0, "on", 76, 100), (4_410, "off", 76, 0)]
    audio = synthesizer.play(0, 115, woodblock, 66_150)
    tail = np.sqrt(np.mean(np.square(audio[0, -22_050:])))
    assert tail < 1e-5 * np.abs(audio).max()  # 100 dB down one second after the stroke: no reverb
    with pytest.raises(AudioError, match="no program 5 in bank 77"):
        synthesizer.play(77, 5, [], 64)


def test_notes_after_the_end_are_not_played(instruments, capfd):
    inside = tuple(Note(0.1 * i, 0.05, 48 + i, 100) for i in range(9))
    # More than there are voices
    outside = tuple(Note(1.01 + 0.01 * i, 0.05, 48 + i % 30, 100) for i in range(200))
    banjo = programs("validation")[0]
    expected = instruments.play(Phrase(inside), banjo)
    np.testing.assert_array_equal(instruments.play(Phrase(inside + outside), banjo), expected)
    np.testing.assert_array_equal(instruments.play(Phrase(inside), banjo), expected)
    assert "error" not in capfd.readouterr().err
