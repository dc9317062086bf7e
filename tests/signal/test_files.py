"""Files: every format round-trips, and what is broken ends in a named error, not a bad array."""

import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from labkit.signal.files import (
    AudioError,
    AudioFileError,
    read_audio,
    to_mono,
    write_audio,
)

FORMATS = dict.fromkeys((".wav", ".flac", ".aiff", ".ogg", ".mp3"), 44_100) | {".opus": 48_000}
LOSSLESS = {".wav", ".flac", ".aiff"}
# A WAV header that promises no samples.
NO_SAMPLES = (
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0"
)


def sine(frequency_hz, sample_rate, seconds=0.5, channels=1, amplitude=0.5):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = amplitude * np.sin(2 * np.pi * frequency_hz * time)
    return np.stack([tone * (1 - 0.1 * channel) for channel in range(channels)]).astype(np.float32)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(tmp_path, suffix, channels):
    rate = FORMATS[suffix]
    audio = sine(440, rate, 0.5, channels)
    back, back_rate = read_audio(write_audio(tmp_path / f"a{suffix}", audio, rate))
    assert (back_rate, back.dtype, back.shape) == (rate, np.float32, audio.shape)
    # 24 bit: one step is 2**-23; lossy codecs keep a 440 Hz sine to within a few per cent.
    limit = 2**-22 if suffix in LOSSLESS else 0.05
    assert np.abs(back - audio)[:, 3000:-3000].max() < limit


def test_7_1_mono_and_max_seconds(tmp_path):
    audio = sine(440, 48_000, channels=8)
    path = write_audio(tmp_path / "a.wav", audio, 48_000)
    assert read_audio(path)[0].shape == (8, 24_000)
    assert read_audio(path, max_seconds=0.25)[0].shape == (8, 12_000)
    mono, _ = read_audio(path, mono=True)
    np.testing.assert_allclose(mono[0], audio.mean(axis=0), atol=2**-22)


@pytest.mark.parametrize("rate", [8_000, 11_025, 96_000])
def test_odd_rates_are_resampled(tmp_path, rate):
    path = write_audio(tmp_path / "a.wav", sine(440, rate, 1.0), rate)
    audio, got = read_audio(path, sample_rate=44_100)
    assert (got, audio.shape) == (44_100, (1, 44_100))
    error = np.abs(audio - sine(440, 44_100, 1.0))[:, 2000:-2000]
    assert error.max() < 1e-3  # soxr HQ is 100 dB down; edges ring


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg program here to make an m4a with"
)
def test_m4a_through_ffmpeg(tmp_path):
    write_audio(tmp_path / "a.wav", sine(440, 44_100, 1.0, 2), 44_100)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), str(tmp_path / "a.m4a")]
    subprocess.run(command, check=True)
    audio, rate = read_audio(tmp_path / "a.m4a")
    assert (rate, audio.shape[0]) == (44_100, 2)
    spectrum = np.abs(np.fft.rfft(audio[0]))
    assert abs(np.argmax(spectrum) * rate / audio.shape[1] - 440) < 2
    data = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioFileError, match=r"cut\.m4a: audio expected, ffmpeg found"):
        read_audio(tmp_path / "cut.m4a")


def test_m4a_without_a_decoder_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioFileError, match=r"a\.m4a.*install ffmpeg"):
        read_audio(tmp_path / "a.m4a")


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac", ".mp3"])
def test_truncated_file_is_named(tmp_path, suffix):
    data = write_audio(tmp_path / f"a{suffix}", sine(440, 44_100, 1.0), 44_100).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(AudioFileError, match=re.escape(cut.name)):
        read_audio(cut)


def test_headers_that_lie_about_the_length(tmp_path):
    path = write_audio(tmp_path / "a.wav", sine(440, 8_000, 1.0), 8_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.wav").write_bytes(data[: 44 + 4_000])
    with pytest.raises(AudioFileError, match="truncated, its header promises 16000 bytes and 4000"):
        read_audio(tmp_path / "cut.wav")
    # Written to a pipe: the length was never filled in, and the file is read to its end.
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    assert read_audio(path)[0].shape == (1, 8_000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.wav", b"", r"this one is empty \(0 bytes\)"),
        ("text.wav", b"dear diary\n" * 99, "audio expected .* found: Format not recognised$"),
        ("header.wav", NO_SAMPLES, "no samples"),
        ("image.flac", b"\x89PNG\r\n\x1a\n" + bytes(500), "audio expected"),
        ("noise.raw", bytes(range(256)) * 8, "audio expected"),
    ],
)
def test_what_is_not_audio(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioFileError, match=f"{re.escape(name)}.*{message}") as refused:
        read_audio(tmp_path / name)
    assert "<_io" not in str(refused.value)


def test_samples_that_are_not_finite(tmp_path):
    audio = sine(440, 8_000)[0]
    audio[[5, 9]] = np.nan, np.inf
    soundfile.write(tmp_path / "bad.wav", audio, 8_000, "FLOAT")
    with pytest.raises(AudioFileError, match=r"bad\.wav.*finite, got 2 NaN or infinite of 4000"):
        read_audio(tmp_path / "bad.wav")
    soundfile.write(tmp_path / "huge.wav", np.full(100, 1e300), 8_000, "DOUBLE")
    with pytest.raises(AudioFileError, match="finite"):
        read_audio(tmp_path / "huge.wav")


def test_to_mono_is_the_mean_and_names_channels_that_cancel():
    left = np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32)
    for right in (-left, np.round(-left * 32767) / 32767):  # exactly, and but for 16 bits
        with pytest.raises(AudioError, match="channels cancel"):
            to_mono(np.concatenate([left, right]))
    np.testing.assert_array_equal(to_mono(np.concatenate([left, 0 * left])), left / 2)
    assert not to_mono(np.zeros((2, 10), np.float32)).any()


@pytest.mark.parametrize(
    ("name", "gain", "options", "message"),
    [
        ("a.wav", 3, {}, r"its peak is 1\.5"),
        ("a.wav", np.nan, {}, "must be finite"),
        ("a.xyz", 1, {}, r"must end in one of \.wav"),
        ("no/a.wav", 1, {}, "folder does not exist"),
        ("a.opus", 1, {}, "cannot be written as OGG OPUS, 44100 Hz, 1 channels"),
        ("a.wav", 1, {"subtype": "NOPE"}, "cannot be written as WAV NOPE"),
    ],
)
def test_writing_refuses_what_a_file_cannot_hold(tmp_path, name, gain, options, message):
    with pytest.raises(AudioError, match=message):
        write_audio(tmp_path / name, gain * sine(440, 44_100), 44_100, **options)
    assert list(tmp_path.iterdir()) == []  # no temporary file left behind


def _audio_or_named_error(path, data):
    path.write_bytes(data)
    try:
        audio, rate = read_audio(path)
    except AudioFileError as error:
        if path.name not in str(error):
            pytest.fail(f"the message does not name the file: {error}")
        return
    assert np.isfinite(audio).all()
    assert (audio.dtype, audio.shape[1] > 0, rate > 0) == (np.float32, True, True)


@given(
    which=st.integers(0, len(FORMATS) - 1),
    keep=st.floats(0.01, 1.0),
    hits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=6),
    head=st.booleans(),
)
def test_fuzz_cut_and_corrupted_files(tmp_path_factory, valid_files_cache, which, keep, hits, head):
    data = bytearray(valid_files_cache[which])
    reach = min(200, len(data)) if head else len(data)  # headers are where parsers break
    for place, patch in hits:
        at = int(place * reach)
        data[at : at + len(patch)] = patch
    kept = data[: max(1, int(keep * len(data)))]
    _audio_or_named_error(tmp_path_factory.getbasetemp() / "fuzz.bin", kept)


@pytest.fixture(scope="session")
def valid_files_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    return [
        write_audio(folder / f"a{suffix}", sine(440, rate, 0.2, 2), rate).read_bytes()
        for suffix, rate in FORMATS.items()
    ]
