"""Recorded instruments: no recording in two splits, the same clip from the same stream."""

import pickle

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
    draw_phrase,
    find_soundfont,
    programs,
)


@pytest.fixture(scope="module")
def instruments(soundfont):  # noqa: ARG001 - skips where there is none
    return Sampled(seconds=1.0)


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
    elsewhere = pickle.loads(pickle.dumps(instruments))  # as a worker process gets it
    np.testing.assert_array_equal(elsewhere.play(phrase, steel), early)
    waiting = instruments.play(phrase, steel, lead_seconds=-0.25)
    assert not waiting[0, :10_900].any()
    assert waiting[0, 11_100:].any()


def test_the_synthesizer_is_dry(soundfont):
    synthesizer = Synthesizer(soundfont, 44_100)
    woodblock = [(0, "on", 76, 100), (4_410, "off", 76, 0)]
    audio = synthesizer.play(0, 115, woodblock, 66_150)
    tail = np.sqrt(np.mean(np.square(audio[0, -22_050:])))
    assert tail < 1e-5 * np.abs(audio).max()  # 100 dB down one second after the stroke: no reverb
    with pytest.raises(AudioError, match="no program 5 in bank 77"):
        synthesizer.play(77, 5, [], 64)


def drawn(seed, family="guitar", high=80):
    rng = np.random.default_rng(seed)
    return draw_phrase(rng, family=family, low=40, high=high, seconds=2.0)


@pytest.mark.parametrize("family", sorted({program.family for program in programs("train")}))
def test_phrases_keep_register_and_time(family):
    for phrase in (drawn(seed, family, 60) for seed in range(100)):
        assert phrase.notes
        assert all(40 <= note.key <= 60 and 1 <= note.velocity <= 127 for note in phrase.notes)
        assert all(0 <= note.start_seconds <= 2.0 and note.seconds >= 0.04 for note in phrase.notes)
        for times in ([n.start_seconds for n in phrase.notes], [time for time, _ in phrase.bends]):
            assert times == sorted(times)


def test_notes_after_the_end_are_not_played(instruments, capfd):
    inside = tuple(Note(0.1 * i, 0.05, 48 + i, 100) for i in range(9))
    # More than there are voices
    outside = tuple(Note(1.01 + 0.01 * i, 0.05, 48 + i % 30, 100) for i in range(200))
    banjo = programs("validation")[0]
    expected = instruments.play(Phrase(inside), banjo)
    np.testing.assert_array_equal(instruments.play(Phrase(inside + outside), banjo), expected)
    np.testing.assert_array_equal(instruments.play(Phrase(inside), banjo), expected)
    assert "error" not in capfd.readouterr().err
