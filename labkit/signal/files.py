"""Audio files in and out: any rate, any channel count, and a named error instead of a bad array.

The checks on arrays live in `labkit.signal.audio` and are importable from here as well.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from labkit.signal.audio import AudioError, check_audio, check_rate, describe, resample, to_mono
from labkit.signal.optional import need

__all__ = [
    "AudioError",
    "AudioFileError",
    "check_audio",
    "check_rate",
    "describe",
    "read_audio",
    "resample",
    "to_mono",
    "write_audio",
]

_FORMATS = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_24"),
}
_BLOCK_VALUES = (
    1 << 18
)  # values per read: a broken header may promise any length, so nothing is allocated from it


class AudioFileError(AudioError):
    """A file that cannot be used as audio: the message names it, what was expected and what was found."""


def read_audio(
    path: str | os.PathLike,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float | None = None,
) -> tuple[np.ndarray, int]:
    """Any audio file as float32, at its own rate or at the one asked for.

    WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF and more are read by libsndfile; MPEG-4 (m4a) by pedalboard or by
    an `ffmpeg` program, where one of them can. Silence is a recording and is returned; see `describe`. A cut
    Ogg or Opus stream is a shorter valid stream, so what is left of it is returned.

    Args:
        path: the file.
        sample_rate: resample to this rate in Hz; None keeps the file's.
        mono: average the channels.
        max_seconds: read no more than this from the start, > 0; None reads all.

    Returns:
        `(audio, sample_rate)`: float32 `(channels, samples)`, and its rate in Hz.

    Raises:
        AudioFileError: missing, a folder, empty, truncated, not audio, or NaN or infinite samples.
        AudioError: a bad `sample_rate` or `max_seconds`.
    """
    path = Path(path)
    if sample_rate is not None:
        sample_rate = check_rate(sample_rate)
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(f"max_seconds must be above 0, got {max_seconds!r}")
    head = _head(path)
    audio, file_rate = (
        _read_mpeg4(path, max_seconds) if head[4:8] == b"ftyp" else _read(path, path, max_seconds)
    )
    try:
        audio = check_audio(audio, file_rate, name="its audio")
    except AudioError as error:
        raise AudioFileError(f"{path}: {error}") from error
    audio = to_mono(audio) if mono else audio
    if sample_rate is None:
        return audio, file_rate
    return resample(audio, file_rate, sample_rate), sample_rate


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise AudioFileError(f"{path}: an audio file was expected, this is a folder")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise AudioFileError(
            f"{path}: an audio file was expected, cannot open it ({error.strerror})"
        ) from error
    if not head:
        raise AudioFileError(f"{path}: an audio file was expected, this one is empty (0 bytes)")
    return head


def _read(path: Path, shown: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    soundfile = need("soundfile")
    try:
        with open(path, "rb") as raw, soundfile.SoundFile(raw) as file:
            limit = (
                file.frames
                if max_seconds is None
                else min(file.frames, max(1, round(max_seconds * file.samplerate)))
            )
            audio = _read_blocks(file, limit)
            truncated = _truncated(file, audio.shape[1], limit)
            rate = file.samplerate
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        said = (
            getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(". ")
        )  # no repr of our stream
        raise AudioFileError(
            f"{shown}: audio expected (wav, flac, mp3, ogg, opus, m4a), found: {said}"
        ) from error
    if audio.shape[1] == 0:
        raise AudioFileError(f"{shown}: audio expected, the file has a header but no samples")
    if truncated:
        raise AudioFileError(
            f"{shown}: the file is truncated, {truncated}; copy or export it again"
        )
    return audio, rate


def _read_blocks(file: "soundfile.SoundFile", limit: int) -> np.ndarray:  # noqa: F821
    frames = max(1, _BLOCK_VALUES // file.channels)
    blocks, read = [], 0
    while read < limit:
        block = file.read(min(frames, limit - read), dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block.T)
        read += len(block)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((file.channels, 0), np.float32)


def _truncated(file: "soundfile.SoundFile", read: int, limit: int) -> str:  # noqa: F821
    """Why the file is shorter than its header says, or an empty string."""
    if read < limit:
        return f"its header promises {limit} samples and {read} could be read"
    # libsndfile clamps the length of a cut WAV or AIFF and says so only in its log
    sizes = re.search(
        r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    if sizes is None:
        return ""
    declared, present = int(sizes[1]), int(sizes[2])
    streamed = declared >= 0x7FFFFFFF  # written to a pipe, so that the length was never filled in
    return (
        ""
        if streamed or declared <= present
        else f"its header promises {declared} bytes and {present} are there"
    )


def _read_mpeg4(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    try:
        return _read_pedalboard(path, max_seconds)
    except (ModuleNotFoundError, ValueError, RuntimeError, OSError):
        ffmpeg = shutil.which("ffmpeg")  # pedalboard decodes MPEG-4 on macOS and Windows only
    if ffmpeg is None:
        raise AudioFileError(
            f"{path}: an MPEG-4 (m4a) file, which nothing here can decode: install ffmpeg, or export it as WAV or FLAC"
        )
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "decoded.wav"
        limit = [] if max_seconds is None else ["-t", str(max_seconds)]
        command = [
            ffmpeg,
            "-v",
            "error",
            "-nostdin",
            "-protocol_whitelist",
            "file",
            "-i",
            f"file:{path.resolve()}",
        ]
        try:
            subprocess.run(
                [*command, "-vn", *limit, "-c:a", "pcm_f32le", str(wav)],
                check=True,
                capture_output=True,
                timeout=120,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = (
                (error.stderr or b"no answer in time").decode(errors="replace").strip().splitlines()
            )
            raise AudioFileError(
                f"{path}: audio expected, ffmpeg found {said[-1] if said else 'nothing'}"
            ) from error
        return _read(wav, path, max_seconds)


def _read_pedalboard(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    with need("pedalboard.io").AudioFile(str(path)) as file:
        limit = (
            file.frames
            if max_seconds is None
            else min(file.frames, max(1, round(max_seconds * file.samplerate)))
        )
        return file.read(limit), check_rate(file.samplerate)


def write_audio(
    path: str | os.PathLike, audio: np.ndarray, sample_rate: int, *, subtype: str | None = None
) -> Path:
    """Write an audio file in one step: a reader sees the old file or the whole new one.

    Args:
        path: ends in .wav, .flac, .ogg, .opus, .mp3 or .aiff.
        audio: `(channels, samples)`, finite, within -1 to 1.
        sample_rate: Hz; Opus takes 8, 12, 16, 24 and 48 kHz only.
        subtype: libsndfile's sample format, e.g. ``"PCM_16"`` or ``"FLOAT"``; None is 24 bit where there is a
            choice.

    Returns:
        The path.

    Raises:
        AudioError: unusable audio, or samples beyond full scale.
        AudioFileError: an unknown suffix, a missing folder, or a rate or subtype that the format cannot hold.
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
    soundfile = need("soundfile")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write_blocks(soundfile, temporary, audio, check_rate(sample_rate), kind, subtype or usual)
        os.replace(temporary, path)
    except (soundfile.SoundFileError, ValueError) as error:
        given = f"{kind} {subtype or usual}, {sample_rate} Hz, {audio.shape[0]} channels"
        raise AudioFileError(f"{path}: cannot be written as {given} ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _write_blocks(
    soundfile, path: Path, audio: np.ndarray, rate: int, kind: str, subtype: str
) -> None:
    with soundfile.SoundFile(path, "w", rate, audio.shape[0], subtype, format=kind) as file:
        for start in range(
            0, audio.shape[1], 1 << 16
        ):  # Vorbis in libsndfile overflows the stack on one long write
            file.write(audio[:, start : start + (1 << 16)].T)
