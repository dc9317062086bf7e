import base64
import io
import re
import wave

import numpy as np
import pytest
import soundfile
from scipy import stats

from labkit.lab import listen
from labkit.lab.abx import abx_p_value, abx_verdict
from labkit.lab.listen import wav_bytes
from labkit.measure.loudness import loudness_lufs

RATE = 22050


def sine(amplitude: float, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    tone = amplitude * np.sin(2 * np.pi * 997 * np.arange(int(seconds * RATE)) / RATE)
    return np.tile(tone, (channels, 1)).astype(np.float32)


def sounds(markup: str) -> list[tuple[np.ndarray, int]]:
    """What a browser would decode out of the page."""
    found = re.findall(r"<audio controls[^>]* src=\"data:audio/\w+;base64,([^\"]+)\"", markup)
    return [soundfile.read(io.BytesIO(base64.b64decode(data)), always_2d=True) for data in found]


def test_players_are_matched_in_what_is_played(capsys):
    clips = {
        "dry": (sine(0.5), RATE),
        "wet": (sine(0.01, 2.0, 2), RATE),
        "long": (sine(0.02, 9.0), RATE),
    }
    shown = listen.players(clips, captions={"wet": "<chorus>"})
    heard = sounds(shown._repr_html_())
    assert [audio.shape[1] for audio, _ in heard] == [1, 2, 1]
    for audio, rate in heard:
        assert loudness_lufs(audio.T, rate) == pytest.approx(-23.0, abs=0.1)
    printed = capsys.readouterr().out.splitlines()
    assert printed == str(shown).splitlines()
    assert repr(shown) == "Players: dry, wet, long"
    assert printed[0] == "dry -23.0 LUFS (shift -13.9 dB)"
    assert "&lt;chorus&gt;" in shown._repr_html_()
    assert "<chorus>" not in shown._repr_html_()


def test_the_shift_printed_is_the_shift_applied():
    shown = listen.players({"dry": (sine(0.5), RATE)})
    [(audio, _)] = sounds(shown._repr_html_())
    assert 20 * np.log10(audio.max() / 0.5) == pytest.approx(shown.items[0].shift_db, abs=0.01)


def test_long_clips_travel_as_ogg_and_short_ones_as_wav():
    shown = listen.players({"short": (sine(0.1), RATE), "long": (sine(0.1, 9.0), RATE)})
    assert [item.mime for item in shown.items] == ["audio/wav", "audio/ogg"]
    assert len(shown.items[1].media) < 9 * RATE * 2 / 4  # a quarter of 16-bit WAV


def test_all_go_lower_together_and_it_is_said():
    click = np.zeros((1, RATE), dtype=np.float32)
    click[0, ::5000] = 1.0
    shown = listen.players({"click": (click, RATE), "sine": (sine(0.1), RATE)})
    assert shown.note.startswith("all at -")
    assert shown.note in str(shown)
    assert shown.items[0].lufs == pytest.approx(shown.items[1].lufs, abs=0.1)


def test_one_player_keeps_its_level():
    [(audio, _)] = sounds(listen.player(sine(0.01), RATE)._repr_html_())
    assert np.abs(audio).max() == pytest.approx(0.01, abs=1 / 32767)


def test_without_matching_an_over_is_lowered_and_said():
    shown = listen.players({"soft": (sine(0.5), RATE), "over": (sine(2.0), RATE)}, match=False)
    (soft, _), (over, _) = sounds(shown._repr_html_())
    assert over.max() == pytest.approx(1.0, abs=1e-3)
    assert soft.max() == pytest.approx(0.25, abs=1e-3)
    assert shown.note == "all lowered by 6.0 dB, so that no peak is clipped"


def test_silence_and_many_channels_are_played_as_they_can_be(
    capsys,
):
    listen.players({"silence": (np.zeros((1, 99)), RATE), "7.1": (sine(0.1, channels=8), RATE)})
    assert capsys.readouterr().out.splitlines()[0] == "silence (silence) (shift +0.0 dB)"


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ({}, "clips must hold at least one"),
        ({"x": (np.array([[np.nan]]), RATE)}, "audio must be finite, got 1 NaN"),
        ({"x": (np.zeros((1, 0)), RATE)}, "at least one sample"),
    ],
)
def test_errors(clips: dict, message: str):
    with pytest.raises(ValueError, match=message):
        listen.players(clips)


def test_wav_bytes_rounds_to_sixteen_bits():
    audio = np.array([[0.0, 1.0, -1.0, 0.5, 2.0]])
    with wave.open(io.BytesIO(wav_bytes(audio, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 32767, -32767, 16384, 32767]


def test_a_live_player_swaps_its_sound_at_equal_loudness():
    live = listen.live_player(sine(0.5), RATE)
    first, shift = live.audio.value, live.caption.value
    live.update(sine(0.05), RATE)
    assert bytes(live.audio.value[:4]) == b"RIFF"
    assert shift == "wet -23.0 LUFS (shift -13.9 dB)"
    assert live.caption.value == "wet -23.0 LUFS (shift +6.1 dB)"
    ours, before = (soundfile.read(io.BytesIO(bytes(x)))[0] for x in (live.audio.value, first))
    assert np.abs(ours - before).max() < 2 / 32767  # the same tone at the same loudness
    assert repr(live) == "LivePlayer: wet -23.0 LUFS (shift +6.1 dB)"


def test_binomial_score_by_hand():
    assert abx_p_value(0, 0) == 1.0
    assert abx_p_value(5, 5) == pytest.approx(1 / 32)
    assert abx_p_value(9, 10) == pytest.approx(11 / 1024)
    assert abx_p_value(0, 7) == pytest.approx(1.0)
    assert abx_verdict(9, 10) == "9 of 10 right, p = 0.011: you hear a difference"
    assert abx_verdict(6, 10).endswith("this could be luck")
    assert "too few trials" in abx_verdict(4, 4)
    with pytest.raises(ValueError, match="got 3 and 2"):
        abx_p_value(3, 2)


def test_the_widget_counts_blind_trials():
    test = listen.abx(sine(0.5), sine(0.1, 0.5), RATE, seed=1)
    truth = []
    for _ in range(6):
        truth.append(test.x_is_b)
        assert test.answer("B" if test.x_is_b else "A")
    assert (test.n_trials, test.n_correct) == (6, 6)
    assert test.p_value == pytest.approx(1 / 64)
    assert not test.answer("A" if test.x_is_b else "B")
    assert test.verdict == "6 of 7 right, p = 0.062: this could be luck"
    assert len(set(truth)) == 2
    test._on_message(test, {"answer": "A"}, [])
    test._on_message(test, {"answer": "C"}, [])
    assert test.n_trials == 8
    with pytest.raises(ValueError, match="x_is must be 'A' or 'B', got 'X'"):
        test.answer("X")


def test_guessing_is_right_half_the_time():
    test = listen.abx(sine(0.5), sine(0.1), RATE, seed=2)
    right = sum(test.answer("A") for _ in range(400))
    assert stats.binomtest(right, 400).pvalue > 0.001


def test_a_and_b_are_as_loud_and_as_long_as_each_other():
    test = listen.abx(sine(0.5), sine(0.01, 0.5, channels=2), RATE, seed=0)
    (a, _), (b, _) = (soundfile.read(io.BytesIO(clip), always_2d=True) for clip in (test.a, test.b))
    assert a.shape == b.shape == (RATE, 2)
    assert "(shift A" in repr(test)
    assert repr(test).endswith("no trials yet")
