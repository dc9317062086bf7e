"""Files: every format round-trips, and what is broken ends in a named error, not a bad array."""

import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from labkit.signal.files import (
    AudioError,
    AudioFileError,
    Recording,
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


def no_xing(data):
    """An MP3 without its first frame, in which the encoder counts the others."""
    return data[data.index(data[:2], 4) :]


def test_an_mp3_that_does_not_say_its_length_is_read_to_its_end(tmp_path):
    """The length guessed from the first frame is wrong by a factor where the bit rate changes."""
    noise = 0.3 * np.random.default_rng(0).standard_normal((1, 88_200)).clip(-3, 3)
    audio = np.concatenate([np.zeros((1, 44_100)), noise, sine(440, 44_100, 3.0)], axis=1)
    for mode in ("CONSTANT", "VARIABLE"):
        soundfile.write(tmp_path / "a.mp3", audio.T, 44_100, bitrate_mode=mode)
        (tmp_path / "b.mp3").write_bytes(no_xing((tmp_path / "a.mp3").read_bytes()))
        back, _ = read_audio(tmp_path / "b.mp3")
        assert back.shape[1] % 1152 == 0
        assert 0 <= back.shape[1] - audio.shape[1] < 3 * 1152
        assert np.abs(back[0, -22_050:-11_025]).max() == pytest.approx(0.5, abs=0.02)


FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")


def by_ffmpeg(source, target, *options):
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)


@FFMPEG
@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.webm", "a.mp4"])
def test_what_libsndfile_cannot_read_goes_through_ffmpeg(tmp_path, monkeypatch, name):
    path = tmp_path / name
    by_ffmpeg(write_audio(tmp_path / "a.wav", sine(440, 48_000, 1.0, 2), 48_000), path)
    audio, rate = read_audio(path)
    assert (rate, audio.shape[0]) == (48_000, 2)
    spectrum = np.abs(np.fft.rfft(audio[0]))
    assert abs(np.argmax(spectrum) * rate / audio.shape[1] - 440) < 2
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    if name != "a.aac":  # which promises no length
        with pytest.raises(AudioFileError, match=rf"{name}.*(truncated|audio expected)"):
            read_audio(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioFileError, match=rf"{name}.*install ffmpeg"):
        read_audio(path)


@FFMPEG
def test_a_telephone_prompt_which_has_no_header_is_known_by_its_name(tmp_path):
    path = write_audio(tmp_path / "a.wav", sine(440, 16_000, 1.0), 16_000)
    by_ffmpeg(path, tmp_path / "a.g722")
    audio, rate = read_audio(tmp_path / "a.g722")
    assert (audio.shape[0], rate) == (1, 16_000)
    assert audio.shape[1] == pytest.approx(16_000, abs=100)


@FFMPEG
@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".opus", ".flac"])
def test_streams_one_after_the_other_in_a_file_are_all_read(tmp_path, suffix):
    """A radio's recording; FLAC is streamed here, that is without its length."""
    rate = FORMATS[suffix]
    path = write_audio(tmp_path / f"a{suffix}", sine(440, rate, 1.0), rate)
    data = path.read_bytes()
    if suffix == ".flac":
        path.write_bytes(data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:])
        data = b""
    else:
        path.write_bytes(data + data)
    with Recording(path) as recording:
        assert recording.survey().samples == pytest.approx(2 * rate if data else rate, abs=5000)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "W64", "RF64", "FLAC", "MP3", "OGG"])
def test_a_cut_file_is_refused_and_its_decoder_is_silent(tmp_path, kind, capfd):
    rate, suffix = 44_100, f".{kind.lower()}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * rate)
    soundfile.write(tmp_path / f"a{suffix}", noise, rate, format=kind)
    data = (tmp_path / f"a{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    for use in (read_audio, lambda path: Recording(path).survey()):
        with pytest.raises(AudioFileError, match=rf"cut\{suffix}: .*(truncated|cut off)"):
            use(cut)
    assert read_audio(cut, max_seconds=0.5)[0].shape == (1, rate // 2)
    assert capfd.readouterr().err == ""


def ogg_pages(data):
    """The pages of an Ogg file, each as its own bytes."""
    pages = [b"OggS" + page for page in data.split(b"OggS")[1:]]
    assert all(len(page) == 27 + page[26] + sum(page[27 : 27 + page[26]]) for page in pages)
    return pages


def ogg_page(page, *, earlier=0, end=False):
    """A page with its granule position moved, or marked as the last one, and its checksum."""
    (position,) = struct.unpack_from("<q", page, 6)
    flags = page[5] | 4 * end
    head = page[:5] + struct.pack("<Bq", flags, position and position - earlier) + page[14:22]
    page, checksum = head + bytes(4) + page[26:], 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x104C11DB7 if checksum >> 31 else 0)
    return page[:22] + struct.pack("<I", checksum) + page[26:]


@pytest.fixture(scope="module")
def vorbis(tmp_path_factory):
    """Eight seconds of noise, (1, samples) as decoded, and the pages of its file."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 64_000))
    path = write_audio(tmp_path_factory.mktemp("ogg") / "a.ogg", noise, 8_000)
    return read_audio(path)[0], ogg_pages(path.read_bytes())


def test_an_ogg_that_begins_before_time_0_is_the_same_in_pieces_and_as_a_whole(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 100_000))
    pages = ogg_pages(write_audio(tmp_path / "a.ogg", noise, 44_100).read_bytes())
    first = max(struct.unpack_from("<q", page, 6)[0] for page in pages[:3])
    moved = b"".join(ogg_page(page, earlier=first + 104) for page in pages)
    (tmp_path / "a.ogg").write_bytes(moved)
    whole, _ = read_audio(tmp_path / "a.ogg")
    assert 90_000 < whole.shape[1] < noise.shape[1]
    with Recording(tmp_path / "a.ogg").survey() as recording:
        for place in range(0, whole.shape[1] - 3_000, 5_000):
            piece = recording.read(place, place + 3_000)
            np.testing.assert_allclose(piece, whole[:, place : place + 3_000], atol=1e-6)


def test_pages_behind_the_end_mark_of_an_ogg_are_no_cut_unless_they_are_many(
    tmp_path, vorbis, monkeypatch
):
    audio, pages = vorbis
    (tmp_path / "few.ogg").write_bytes(
        b"".join([*pages[:-2], ogg_page(pages[-2], end=True), pages[-1]])
    )
    back, _ = read_audio(tmp_path / "few.ogg")
    assert 0 < audio.shape[1] - back.shape[1] < 4_000
    np.testing.assert_allclose(back, audio[:, : back.shape[1]], atol=1e-6)
    (tmp_path / "many.ogg").write_bytes(
        b"".join([*pages[:4], ogg_page(pages[4], end=True), *pages[5:]])
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioFileError, match=r"many\.ogg.* samples promised, an end at .* ffmpeg"):
        read_audio(tmp_path / "many.ogg")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_some_of_its_pages_is_refused(tmp_path, subtype):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8 * 48_000)
    soundfile.write(tmp_path / "a.ogg", noise, 48_000, subtype, format="OGG")
    pages = ogg_pages((tmp_path / "a.ogg").read_bytes())
    hit = pages[5][:-9] + bytes([pages[5][-9] ^ 1]) + pages[5][-8:]
    for kept, message in (
        ([*pages[:5], *pages[6:]], "pages inside it are lost or damaged"),
        ([*pages[:5], hit, *pages[6:]], "pages inside it are lost or damaged"),
        (pages[:-1], "its last page is not marked as the end"),
    ):
        (tmp_path / "a.ogg").write_bytes(b"".join(kept))
        for use in (read_audio, lambda path: Recording(path).survey()):
            with pytest.raises(AudioFileError, match=message):
                use(tmp_path / "a.ogg")


@pytest.mark.parametrize(
    "length", [0, 0x7FFFF000, 0x7FFFEFFA, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFF000]
)
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, length):
    path = write_audio(tmp_path / "a.wav", sine(440, 8_000, 1.0), 8_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.wav").write_bytes(data[: 44 + 4_000])
    with pytest.raises(AudioFileError, match="truncated, its header promises 16000 bytes and 4000"):
        read_audio(tmp_path / "cut.wav")
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", length)
    path.write_bytes(data)
    assert read_audio(path)[0].shape == (1, 8_000)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "zero byte", "long name"])
def test_what_is_not_a_file_is_refused_at_once(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = Path("a.wav")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        targets = {"device": "/dev/zero", "loop": path}
        if kind in targets:
            path.symlink_to(targets[kind])
        else:
            path = Path("a\0.wav" if kind == "zero byte" else 300 * "a")
    with pytest.raises(AudioFileError, match=r"file was expected, (this is a|cannot open)"):
        read_audio(path)


@pytest.mark.parametrize("rate", [1, 10, 1_999, 768_001, 2_000_000_000])
def test_absurd_rates_and_channels_are_refused_before_anything_is_read(tmp_path, rate):
    path = write_audio(tmp_path / "a.wav", sine(440, 8_000, 1.0), 8_000, subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[:24] + struct.pack("<II", rate, 2 * rate % 2**32) + data[32:])
    with pytest.raises(AudioFileError, match=f"2000 to 768000 Hz .* says {rate} and 1"):
        read_audio(path)
    soundfile.write(path, np.zeros((10, 65)), 8_000)
    with pytest.raises(AudioFileError, match=r"1 to 64 channels .* says 8000 and 65"):
        read_audio(path)


def test_more_than_fits_into_memory_is_refused_and_can_be_read_in_blocks(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((10, 64)), 8_000, "PCM_16")
    length = 200_000 * 128
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 8
    data[at - 4 : at] = struct.pack("<I", length)
    path.write_bytes(data[:at])
    os.truncate(path, at + length)  # a file of holes
    with pytest.raises(AudioFileError, match=r"at most 0\.4 minutes of 64 channels fit"):
        read_audio(path)
    with Recording(path) as recording:
        assert recording.survey().samples == 200_000
        assert recording.read(199_990, 200_010).shape == (64, 20)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.wav", b"", r"this one is empty \(0 bytes\)"),
        ("text.wav", b"dear diary\n" * 99, "audio expected, found: Format not recognised"),
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
    with pytest.raises(AudioFileError, match=r"bad\.wav: samples up to .* found NaN"):
        read_audio(tmp_path / "bad.wav")
    soundfile.write(tmp_path / "huge.wav", np.full(100, 1e300), 8_000, "DOUBLE")
    with pytest.raises(AudioFileError, match="found NaN"):
        read_audio(tmp_path / "huge.wav")


def test_to_mono_is_the_mean_and_of_channels_that_cancel_the_loudest():
    left = np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32)
    for right in (-left, np.round(-left * 32767) / 32767):  # exactly, and but for 16 bits
        np.testing.assert_allclose(
            np.abs(to_mono(np.concatenate([left, right]))), abs(left), atol=2e-5
        )
    np.testing.assert_array_equal(to_mono(np.concatenate([left, 0 * left])), left / 2)
    assert not to_mono(np.zeros((2, 10), np.float32)).any()


def test_pieces_by_place_are_those_of_the_whole(tmp_path):
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 40_000))
    for path in (write_audio(tmp_path / f"a{kind}", audio, 44_100) for kind in LOSSLESS):
        whole = np.pad(read_audio(path)[0], ((0, 0), (100, 100)))
        with Recording(path) as recording:
            recording.survey()
            for start, stop in [
                (-100, 50),
                (30_000, 40_100),
                (5, 9),
                (-100, -50),
                (40_020, 40_100),
            ]:
                piece = recording.read(start, stop)
                np.testing.assert_array_equal(piece, whole[:, start + 100 : stop + 100])


@pytest.mark.parametrize(
    ("name", "gain", "options", "message"),
    [
        ("a.wav", 3, {}, r"its peak is 1\.5"),
        ("a.wav", np.nan, {}, "must be finite"),
        ("a.xyz", 1, {}, r"must end in one of \.wav"),
        ("no/a.wav", 1, {}, "folder does not exist"),
        ("a.opus", 1, {}, "cannot be written as OGG OPUS, 44100 Hz, 1 channels"),
        ("a.wav", 1, {"subtype": "NOPE"}, "cannot be written as WAV NOPE"),
        ("a.ogg", 1, {}, "Vorbis ends at 200000 Hz, got 352800"),
    ],
)
def test_writing_refuses_what_a_file_cannot_hold(tmp_path, name, gain, options, message):
    rate = 352_800 if name == "a.ogg" else 44_100
    with pytest.raises(AudioError, match=message):
        write_audio(tmp_path / name, gain * sine(440, 44_100), rate, **options)
    assert list(tmp_path.iterdir()) == []  # no temporary file left behind


def _audio_or_named_error(path, data):
    path.write_bytes(data)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "")  # ffmpeg is fuzzed by its own people
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
