"""Recorded instruments: no recording in two splits, the same clip from the same stream, registers kept."""

import itertools
import pickle
import struct

import numpy as np
import pytest

from labkit.signal.files import AudioError
from labkit.signal.notes import FAMILIES, Note, Phrase, draw_phrase
from labkit.signal.sampled import SPLITS, SampledInstruments, programs, shares
from labkit.signal.soundfont import (
    SoundFontMissingError,
    Synthesizer,
    find_soundfont,
    sample_zones,
    samples_played,
)


@pytest.fixture(scope="module")
def soundfont():
    try:
        return find_soundfont()
    except SoundFontMissingError as error:
        pytest.skip(f"no soundfont: {error}")


@pytest.fixture(scope="module")
def instruments(soundfont):
    return SampledInstruments(soundfont=soundfont, seconds=1.0, phrases=20)


def played(soundfont, split):
    names = (samples_played(soundfont, p.bank, p.number, p.low, p.high) for p in programs(split))
    return set().union(*names)


def test_no_recording_is_in_two_splits(soundfont):
    for first, second in itertools.combinations(SPLITS, 2):
        assert not played(soundfont, first) & played(soundfont, second), (first, second)


def test_the_proof_sees_shared_recordings(soundfont):
    # Nylon (train) and steel (test) share one sample, on keys that the registers leave out.
    assert samples_played(soundfont, 0, 24, 0, 127) & samples_played(soundfont, 0, 25, 0, 127) == {
        "Extension"
    }
    assert not samples_played(soundfont, 0, 24, 40, 83) & samples_played(soundfont, 0, 25, 40, 83)
    # The mandolin and the steel guitar are the same strings, so both must be in one split.
    assert samples_played(soundfont, 16, 25, 55, 83) <= samples_played(soundfont, 0, 25, 0, 127)


def test_every_key_of_every_program_has_a_sample(soundfont):
    for program in itertools.chain(*map(programs, SPLITS)):
        for key in range(program.low, program.high + 1):
            assert samples_played(soundfont, program.bank, program.number, key, key), (
                program.name,
                key,
            )


def test_splits_hold_the_guitars_they_must():
    numbers = {split: {(p.bank, p.number) for p in programs(split)} for split in SPLITS}
    assert {(0, 25), (0, 27), (0, 28)} <= numbers["test"]
    assert {(0, 24), (0, 26)} <= numbers["train"]
    for split in SPLITS:
        assert len(numbers[split]) == len(programs(split))
        assert any(p.family == "guitar" for p in programs(split))
        assert sum(p.family != "guitar" for p in programs(split)) >= 2
    wet = {(0, n) for n in (3, 5, 16, 17, 18, 19, 29, 30, *range(80, 104), *range(119, 128))}
    assert not wet & set().union(*numbers.values())


def test_plucked_strings_weigh_most():
    share = dict(zip((p.family for p in programs("train")), shares("train"), strict=True))
    assert share["guitar"] > share["bass"] > share["wind"]
    assert shares("train").sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'dev'"):
        programs("dev")


def test_sample_zones_of_a_bank_made_by_hand(tmp_path):
    path = tmp_path / "tiny.sf2"
    path.write_bytes(tiny_soundfont())
    assert sample_zones(path) == {(0, 5): (("high", 60, 100), ("low", 10, 59))}
    assert samples_played(path, 0, 5, 0, 59) == {"low"}
    assert samples_played(path, 0, 5, 59, 60) == {"low", "high"}


def tiny_soundfont():
    """One preset with keys 10-100, one instrument that splits at key 60, two samples."""

    def chunk(name, data):
        return name + struct.pack("<I", len(data)) + data

    def pad(name):
        return name.ljust(20, b"\0")

    def generators(*rows):
        return b"".join(struct.pack("<HH", *row) for row in rows)

    keys, instrument, sample = 43, 41, 53
    pdta = b"".join(
        [
            chunk(
                b"phdr",
                pad(b"one")
                + struct.pack("<HHHIII", 5, 0, 0, 0, 0, 0)
                + pad(b"EOP")
                + struct.pack("<HHHIII", 0, 0, 1, 0, 0, 0),
            ),
            chunk(b"pbag", generators((0, 0), (2, 0))),
            chunk(b"pmod", bytes(10)),
            chunk(b"pgen", generators((keys, 10 | 100 << 8), (instrument, 0), (0, 0))),
            chunk(
                b"inst", pad(b"split") + struct.pack("<H", 0) + pad(b"EOI") + struct.pack("<H", 2)
            ),
            chunk(b"ibag", generators((0, 0), (2, 0), (4, 0))),
            chunk(b"imod", bytes(10)),
            chunk(
                b"igen",
                generators(
                    (keys, 0 | 59 << 8), (sample, 0), (keys, 60 | 127 << 8), (sample, 1), (0, 0)
                ),
            ),
            chunk(
                b"shdr",
                pad(b"low") + bytes(26) + pad(b"high") + bytes(26) + pad(b"EOS") + bytes(26),
            ),
        ]
    )
    body = (
        b"sfbk"
        + chunk(b"LIST", b"INFO" + chunk(b"ifil", bytes(4)))
        + chunk(b"LIST", b"pdta" + pdta)
    )
    return chunk(b"RIFF", body)


def test_not_a_soundfont(tmp_path):
    (tmp_path / "x.sf2").write_bytes(b"hello")
    with pytest.raises(AudioError, match=r"x\.sf2: a SoundFont 2 file was expected"):
        sample_zones(tmp_path / "x.sf2")


def test_a_missing_soundfont_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_SOUNDFONT", str(tmp_path / "no.sf2"))
    with pytest.raises(SoundFontMissingError, match=r"LABKIT_SOUNDFONT names .*no\.sf2"):
        find_soundfont()
    monkeypatch.delenv("LABKIT_SOUNDFONT")
    monkeypatch.setattr("labkit.signal.soundfont._FOLDERS", {"linux": (str(tmp_path),)})
    with pytest.raises(SoundFontMissingError, match="apt-get install fluid-soundfont-gm"):
        find_soundfont()


def test_same_stream_same_samples_whatever_was_played_before(soundfont, instruments):
    for seed in range(4):
        first, first_id = instruments.draw(np.random.default_rng(seed), "train")
        fresh = SampledInstruments(soundfont=soundfont, seconds=1.0, phrases=20)
        second, second_id = fresh.draw(np.random.default_rng(seed), "train")
        assert first_id == second_id
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("split", SPLITS)
def test_clips_are_sound(instruments, split):
    rng = np.random.default_rng(0)
    for _ in range(25):
        audio, source_id = instruments.draw(rng, split)
        assert (audio.shape, audio.dtype) == ((1, 44_100), np.float32)
        assert np.isfinite(audio).all()
        assert 1e-3 < np.abs(audio).max() <= 0.99
        assert source_id in instruments.groups(split)


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
    jazz, straight_hz = programs("train")[2], 220.0
    straight = fundamental(instruments.play(Phrase((Note(0.0, 1.0, 57, 90),)), jazz), straight_hz)
    assert (
        1200 * abs(np.log2(straight / straight_hz)) < 15
    )  # cents; the recording itself is a little off
    for bend in (2.0, -1.0, 0.5):
        phrase = Phrase((Note(0.0, 1.0, 57, 90),), ((0.0, bend),))
        bent = fundamental(instruments.play(phrase, jazz), straight_hz * 2 ** (bend / 12))
        assert 1200 * np.log2(bent / straight) == pytest.approx(
            100 * bend, abs=4
        )  # the pitch of a plucked string drifts by some


def test_the_synthesizer_is_dry(soundfont):
    synthesizer = Synthesizer(soundfont, 44_100)
    audio = synthesizer.play(
        0, 115, [(0, "on", 76, 100), (4_410, "off", 76, 0)], 66_150
    )  # a woodblock
    tail = np.sqrt(np.mean(np.square(audio[0, -22_050:])))
    assert tail < 1e-5 * np.abs(audio).max()  # 100 dB down one second after the stroke: no reverb
    with pytest.raises(AudioError, match="no program 5 in bank 77"):
        synthesizer.play(77, 5, [], 64)
    synthesizer.close()


def test_bad_arguments():
    with pytest.raises(ValueError, match="seconds must be above 0"):
        SampledInstruments(seconds=0)
    with pytest.raises(AudioError, match="8000 to 96000"):
        Synthesizer(None, 4_000)


def test_pickles_without_its_synthesizer(instruments):
    audio, _ = instruments.draw(np.random.default_rng(1), "test")
    copy = pickle.loads(pickle.dumps(instruments))
    np.testing.assert_array_equal(copy.draw(np.random.default_rng(1), "test")[0], audio)


@pytest.mark.parametrize("family", FAMILIES)
def test_phrases_keep_register_and_time(family):
    for seed in range(100):
        phrase = draw_phrase(
            np.random.default_rng(seed), family=family, low=40, high=60, seconds=2.0
        )
        assert phrase.notes
        assert all(40 <= note.key <= 60 and 1 <= note.velocity <= 127 for note in phrase.notes)
        assert all(0 <= note.start_seconds <= 2.0 and note.seconds >= 0.04 for note in phrase.notes)
        starts = [note.start_seconds for note in phrase.notes]
        assert starts == sorted(starts)
        assert [at for at, _ in phrase.bends] == sorted(at for at, _ in phrase.bends)


def test_phrases_vary_and_repeat():
    def draw(seed):
        return draw_phrase(
            np.random.default_rng(seed), family="guitar", low=40, high=80, seconds=2.0
        )

    assert draw(3) == draw(3)
    assert len({draw(seed) for seed in range(50)}) == 50
    most = [
        max(sum(abs(a.start_seconds - b.start_seconds) < 0.1 for b in p.notes) for a in p.notes)
        for p in map(draw, range(50))
    ]
    assert max(most) >= 5  # some strums
    assert min(most) == 1  # some single lines


def test_phrase_errors():
    with pytest.raises(ValueError, match=r"family must be one of guitar, .*got 'kazoo'"):
        draw_phrase(np.random.default_rng(0), family="kazoo", low=40, high=60, seconds=1)
    with pytest.raises(ValueError, match="an octave and some time are needed, got keys 40 to 50"):
        draw_phrase(np.random.default_rng(0), family="bass", low=40, high=50, seconds=1)


def test_notes_after_the_end_are_not_played(instruments, capfd):
    inside = tuple(Note(0.1 * i, 0.05, 48 + i, 100) for i in range(9))
    outside = tuple(
        Note(1.01 + 0.01 * i, 0.05, 48 + i % 30, 100) for i in range(200)
    )  # more than there are voices
    banjo = programs("validation")[0]
    expected = instruments.play(Phrase(inside), banjo)
    np.testing.assert_array_equal(instruments.play(Phrase(inside + outside), banjo), expected)
    np.testing.assert_array_equal(instruments.play(Phrase(inside), banjo), expected)
    assert "error" not in capfd.readouterr().err
