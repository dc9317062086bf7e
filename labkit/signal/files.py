"""Audio arrays and audio files: checked at the edges, with a named error instead of a bad array.

Audio is float32 `(channels, samples)`, full scale 1, finite.
"""

import os
import re
import shutil
import subprocess
import tempfile
from numbers import Real
from pathlib import Path

import numpy as np

from labkit.signal.optional import need
from labkit.signal.paths import replacing

_MAX_CHANNELS = 64
_FORMATS = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_24"),
}
# Values per read. A broken header may promise any length, so nothing is allocated from it.
_BLOCK_VALUES = 1 << 18


class AudioError(ValueError):
    """Audio that cannot be used: the message names the argument, the expectation and the value."""


class AudioFileError(AudioError):
    """A file that cannot be used as audio: the message names it and what is wrong with it."""


def check_rate(sample_rate: int, name: str = "sample_rate") -> int:
    """The sample rate as an int, or an AudioError if it is not a whole number up to 1,000,000."""
    is_number = isinstance(sample_rate, Real) and not isinstance(sample_rate, bool)
    if not is_number or not 1 <= sample_rate <= 1_000_000 or sample_rate != int(sample_rate):
        raise AudioError(
            f"{name} must be a whole number of Hz from 1 to 1000000, got {sample_rate!r}"
        )
    return int(sample_rate)


def check_audio(audio: np.ndarray, sample_rate: int, *, name: str = "audio") -> np.ndarray:
    """The audio as C-contiguous float32 `(channels, samples)`; the input itself when it is that.

    Taken are floats of 1 to 64 channels, or `(samples,)` for mono; all else is an AudioError.
    """
    check_rate(sample_rate)
    if not isinstance(audio, np.ndarray):
        raise AudioError(
            f"{name} must be a NumPy array (channels, samples), got {type(audio).__name__}"
        )
    if not np.issubdtype(audio.dtype, np.floating):
        raise AudioError(
            f"{name} must be floats with full scale 1, got {audio.dtype}: "
            "divide integers by their full scale first"
        )
    if audio.ndim == 1:
        audio = audio[None]
    if audio.ndim != 2 or 0 in audio.shape:
        raise AudioError(
            f"{name} must have shape (channels, samples) and not be empty, got {audio.shape}"
        )
    if audio.shape[0] > _MAX_CHANNELS:
        turned = ": this looks like (samples, channels), pass audio.T"
        hint = turned if audio.shape[1] <= _MAX_CHANNELS else ""
        raise AudioError(
            f"{name} must have 1 to {_MAX_CHANNELS} channels first, got shape {audio.shape}{hint}"
        )
    # A float64 beyond float32 becomes infinite, which is reported just below.
    with np.errstate(over="ignore"):
        audio = np.ascontiguousarray(audio, dtype=np.float32)
    bad = audio.size - int(np.count_nonzero(np.isfinite(audio)))
    if bad:
        raise AudioError(
            f"{name} must be finite, got {bad} NaN or infinite of {audio.size} samples"
        )
    return audio


def to_mono(audio: np.ndarray) -> np.ndarray:
    """The mean of the channels, `(1, samples)`, or an AudioError where they cancel (by 60 dB)."""
    audio = check_audio(audio, 1)
    if audio.shape[0] == 1:
        return audio
    mono = audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if np.square(mono).mean() < 1e-6 * np.square(audio).mean(axis=1).max():
        raise AudioError(
            "channels cancel in their mean: opposite polarity? Turn one over, or give one alone"
        )
    return mono


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The same sound of `max(1, round(samples * to_rate / from_rate))` samples, by soxr HQ."""
    audio = check_audio(audio, from_rate)
    to_rate = check_rate(to_rate, "to_rate")
    if from_rate == to_rate:
        return audio
    samples = max(1, round(audio.shape[1] * to_rate / from_rate))
    out = need("soxr").resample(audio.T, int(from_rate), to_rate)
    out = out.reshape(-1, audio.shape[0]).T[:, :samples]
    out = np.pad(out, ((0, 0), (0, samples - out.shape[1])))
    return np.ascontiguousarray(out, dtype=np.float32)


def read_audio(
    path: str | os.PathLike,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float | None = None,
) -> tuple[np.ndarray, int]:
    """Any audio file as float32 `(channels, samples)`, and its sample rate.

    WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF and more are read by libsndfile; MPEG-4 (m4a) by
    pedalboard or an `ffmpeg` program.

    Args:
        sample_rate: resample to this rate; None keeps the file's.
        max_seconds: read at most this much from the start; None reads all.

    Raises:
        AudioFileError: missing, a folder, empty, truncated, not audio, or NaN or infinite samples.
    """
    path = Path(path)
    if sample_rate is not None:
        sample_rate = check_rate(sample_rate)
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(f"max_seconds must be above 0, got {max_seconds!r}")
    if _head(path)[4:8] == b"ftyp":
        audio, file_rate = _read_mpeg4(path, max_seconds)
    else:
        audio, file_rate = _read(path, path, max_seconds)
    try:
        audio = check_audio(audio, file_rate, name="its audio")
    except AudioError as error:
        raise AudioFileError(f"{path}: {error}") from error
    audio = to_mono(audio) if mono else audio
    if sample_rate is None:
        return audio, file_rate
    return resample(audio, file_rate, sample_rate), sample_rate


def _head(path: Path) -> bytes:
    """The first 16 bytes of a file."""
    expected = f"{path}: an audio file was expected,"
    if path.is_dir():
        raise AudioFileError(f"{expected} this is a folder")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise AudioFileError(f"{expected} cannot open it ({error.strerror})") from error
    if not head:
        raise AudioFileError(f"{expected} this one is empty (0 bytes)")
    return head


def _frame_limit(frames: int, rate: float, max_seconds: float | None) -> int:
    return frames if max_seconds is None else min(frames, max(1, round(max_seconds * rate)))


def _read(path: Path, shown: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    """Read by libsndfile; `shown` is the file that errors name."""
    soundfile = need("soundfile")
    try:
        with open(path, "rb") as raw, soundfile.SoundFile(raw) as file:
            rate = file.samplerate
            limit = _frame_limit(file.frames, rate, max_seconds)
            audio = _read_blocks(file, limit)
            truncated = _truncated(file, audio.shape[1], limit)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        # error_string has no repr of the stream in it.
        reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(". ")
        raise AudioFileError(
            f"{shown}: audio expected (wav, flac, mp3, ogg, opus, m4a), found: {reason}"
        ) from error
    if audio.shape[1] == 0:
        raise AudioFileError(f"{shown}: audio expected, the file has a header but no samples")
    if truncated:
        raise AudioFileError(
            f"{shown}: the file is truncated, {truncated}; copy or export it again"
        )
    return audio, rate


def _read_blocks(file, limit: int) -> np.ndarray:
    frames = max(1, _BLOCK_VALUES // file.channels)
    blocks = []
    read = 0
    while read < limit:
        block = file.read(min(frames, limit - read), dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block.T)
        read += len(block)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((file.channels, 0), np.float32)


def _truncated(file, read: int, limit: int) -> str:
    """Why the file is shorter than its header says, or an empty string."""
    if read < limit:
        return f"its header promises {limit} samples and {read} could be read"
    # libsndfile clamps the length of a cut WAV or AIFF and says so only in its log.
    sizes = re.search(
        r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    if sizes is None:
        return ""
    declared, present = int(sizes[1]), int(sizes[2])
    streamed = declared >= 0x7FFFFFFF  # written to a pipe, so that the length was never filled in
    if streamed or declared <= present:
        return ""
    return f"its header promises {declared} bytes and {present} are there"


def _read_mpeg4(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    """MPEG-4 by pedalboard, which decodes it on macOS and Windows only, else by ffmpeg."""
    try:
        with need("pedalboard.io").AudioFile(str(path)) as file:
            limit = _frame_limit(file.frames, file.samplerate, max_seconds)
            return file.read(limit), check_rate(file.samplerate)
    except (ModuleNotFoundError, ValueError, RuntimeError, OSError):
        ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise AudioFileError(
            f"{path}: an MPEG-4 (m4a) file, which nothing here can decode: install ffmpeg, "
            "or export it as WAV or FLAC"
        )
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "decoded.wav"
        limits = "" if max_seconds is None else f"-t {max_seconds}"
        safety = "-v error -nostdin -protocol_whitelist file"
        command = [ffmpeg, *safety.split(), "-i", f"file:{path.resolve()}", "-vn"]
        command += [*limits.split(), "-c:a", "pcm_f32le", str(wav)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            answer = (error.stderr or b"no answer in time").decode(errors="replace")
            reason = (answer.strip().splitlines() or ["nothing"])[-1]
            raise AudioFileError(f"{path}: audio expected, ffmpeg found {reason}") from error
        return _read(wav, path, max_seconds)


def write_audio(
    path: str | os.PathLike, audio: np.ndarray, sample_rate: int, *, subtype: str | None = None
) -> Path:
    """Write audio within -1 to 1 as .wav, .flac, .ogg, .opus, .mp3 or .aiff; returns the path.

    Args:
        subtype: libsndfile's sample format, e.g. ``"PCM_16"``; None is 24 bit where possible.

    Raises:
        AudioError: for audio that does not fit, AudioFileError where it is not the audio's fault.
    """
    path = Path(path)
    audio = check_audio(audio, sample_rate)
    peak = float(np.abs(audio).max())
    if peak > 1.0:
        raise AudioError(
            f"audio must stay within -1 to 1 to be written, its peak is {peak:.4g}: lower its level"
        )
    if path.suffix.lower() not in _FORMATS:
        raise AudioFileError(f"{path}: the name must end in one of {' '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise AudioFileError(f"{path}: its folder does not exist")
    kind, usual = _FORMATS[path.suffix.lower()]
    layout = (check_rate(sample_rate), audio.shape[0], subtype or usual)
    soundfile = need("soundfile")
    try:
        with (
            replacing(path) as temporary,
            soundfile.SoundFile(temporary, "w", *layout, format=kind) as file,
        ):
            # Vorbis in libsndfile overflows the stack on one long write.
            for start in range(0, audio.shape[1], 1 << 16):
                file.write(audio[:, start : start + (1 << 16)].T)
    except (soundfile.SoundFileError, ValueError) as error:
        given = f"{kind} {subtype or usual}, {sample_rate} Hz, {audio.shape[0]} channels"
        raise AudioFileError(f"{path}: cannot be written as {given} ({error})") from error
    return path
