import base64
import io
import re
import wave

import numpy as np
import pytest
import soundfile

from labkit.lab import listen
from labkit.lab.listen import wav_bytes
from labkit.measure.loudness import loudness_lufs
from labkit.signal.seeds import generator

RATE = 22050


def sine(amplitude: float, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    tone = amplitude * np.sin(2 * np.pi * 997 * np.arange(int(seconds * RATE)) / RATE)
    return np.tile(tone, (channels, 1)).astype(np.float32)


def sounds(shown: listen.Players) -> list[np.ndarray]:
    """What a browser would decode out of the page."""
    found = re.findall(r"<audio [^>]* src=\"data:audio/\w+;base64,([^\"]+)\"", shown._repr_html_())
    return [soundfile.read(io.BytesIO(base64.b64decode(data)), always_2d=True)[0] for data in found]


def test_players_are_matched_in_what_is_played():
    clips = {
        "dry": (sine(0.5), RATE),
        "<wet>": (sine(0.01, 2.0, 2), RATE),
        "long": (sine(0.02, 9.0), RATE),
        "7.1": (sine(0.1, channels=8), RATE),
        "silence": (np.zeros((1, 99)), RATE),
    }
    shown = listen.players(clips)
    heard = sounds(shown)
    assert [audio.shape[1] for audio in heard] == [1, 2, 1, 1, 1]
    for audio in heard[:-1]:
        assert loudness_lufs(audio.T, RATE) == pytest.approx(-23.0, abs=0.1)
    # The shift that is printed is the shift that was applied.
    assert 20 * np.log10(heard[0].max() / 0.5) == pytest.approx(-13.9, abs=0.05)
    captions = repr(shown).splitlines()
    assert captions[0] == "dry -23.0 LUFS (shift -13.9 dB)"
    assert captions[-1] == "silence (silence) (shift +0.0 dB)"
    assert shown._repr_html_().count("&lt;wet&gt; -23.0 LUFS") == 1
    assert "<wet>" not in shown._repr_html_()


def test_all_go_lower_together_and_the_note_tells():
    click = np.zeros((1, RATE), dtype=np.float32)
    click[0, ::5000] = 1.0
    shown = listen.players({"click": (click, RATE), "sine": (sine(0.1), RATE)})
    assert shown.note.startswith("all at -")
    assert shown.note in str(shown)
    click, tone = (loudness_lufs(audio.T, RATE) for audio in sounds(shown))
    assert click == pytest.approx(tone, abs=0.1)


def test_without_matching_an_over_lowers_all_and_the_note_tells():
    shown = listen.players({"soft": (sine(0.5), RATE), "over": (sine(2.0), RATE)}, match=False)
    soft, over = sounds(shown)
    assert over.max() == pytest.approx(1.0, abs=1e-3)
    assert soft.max() == pytest.approx(0.25, abs=1e-3)
    assert shown.note == "all lowered by 6.0 dB, so that no peak is clipped"


def test_a_long_clip_at_a_rate_that_vorbis_does_not_have_travels_as_wav():
    hiss = 0.1 * generator(0, "hiss").standard_normal((1, 352_800 * 9))
    assert "data:audio/wav" in listen.players({"hiss": (hiss, 352_800)})._repr_html_()


def test_no_clips_and_broken_ones_are_refused():
    wrong = {"at least one": {}, "1 NaN": {"x": (np.array([[np.nan]]), RATE)}}
    wrong["got 'x' -> ndarray"] = {"x": np.zeros((2, RATE))}
    for message, clips in wrong.items():
        with pytest.raises(ValueError, match=message):
            listen.players(clips)


def test_wav_bytes_rounds_to_sixteen_bits():
    audio = np.array([[0.0, 1.0, -1.0, 0.5, 2.0]])
    with wave.open(io.BytesIO(wav_bytes(audio, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 32767, -32767, 16384, 32767]


def test_a_live_player_swaps_its_sound_at_equal_loudness():
    live = listen.LivePlayer(sine(0.5), RATE)
    first, shift = live.media, live.caption
    live.update(sine(0.05), RATE)
    assert shift == "wet -23.0 LUFS (shift -13.9 dB)"
    assert live.caption == "wet -23.0 LUFS (shift +6.1 dB)"
    ours, before = (soundfile.read(io.BytesIO(bytes(x)))[0] for x in (live.media, first))
    assert np.abs(ours - before).max() < 2 / 32767  # the same tone at the same loudness
    assert repr(live) == "LivePlayer: wet -23.0 LUFS (shift +6.1 dB)"


def test_the_verdict_by_hand():
    assert listen.abx_verdict(0, 0) == "no trials yet"
    assert (
        listen.abx_verdict(9, 10) == "9 of 10 right, p = 0.011: you hear a difference"
    )  # 11 / 1024
    assert listen.abx_verdict(5, 5).startswith("5 of 5 right, p = 0.031")  # 1 / 32
    assert listen.abx_verdict(6, 10).endswith("this could be luck")
    assert "too few trials" in listen.abx_verdict(4, 4)


def test_the_widget_counts_blind_trials():
    test = listen.abx(sine(0.5), sine(0.1, 0.5), RATE, seed=1)
    truth = []
    for _ in range(6):
        truth.append(test.x_is_b)
        assert test.answer("B" if test.x_is_b else "A")
    assert not test.answer("A" if test.x_is_b else "B")
    assert (test.n_trials, test.n_correct) == (7, 6)
    assert test.verdict == "6 of 7 right, p = 0.062: this could be luck"
    assert len(set(truth)) == 2
    test._on_message(test, {"answer": "A"}, [])
    test._on_message(test, {"answer": "C"}, [])
    assert test.n_trials == 8
    with pytest.raises(ValueError, match="x_is must be 'A' or 'B', got 'X'"):
        test.answer("X")
