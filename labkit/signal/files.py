"""Audio arrays and audio files: checked at the edges, with a named error instead of a bad array.

Audio is float32 `(channels, samples)`, full scale 1, finite.
"""

import io
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from numbers import Real
from pathlib import Path

import numpy as np

from labkit.signal.optional import need
from labkit.signal.paths import replacing

LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000
HIGHEST_VORBIS_RATE = 200_000  # of more, libsndfile's encoder ends the process
_MAX_CHANNELS = 64
_FORMATS = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_24"),
}
# Integers of 32 bits that were not scaled lie below; squares of more would overflow.
_LOUDEST = 1e10
# Values per read. A broken header may promise any length, so nothing is allocated from it.
_BLOCK_VALUES = 1 << 18
# A whole recording in memory: 256 MB, 25 minutes of mono at 44.1 kHz.
_MOST_VALUES = 1 << 26
# Programs that write to a pipe cannot fill in a length: they leave 0, or about the largest.
_STREAMED = [range(0x7FFFEE00, 0x80001000), range(0xFFFFEE00, 1 << 32), range(1 << 63, 1 << 64)]
# No file is that long: a libsndfile that says so has guessed.
_GUESSED = 1 << 33
# What stands in the first frame of an MP3 that says its length.
_MP3_LENGTHS = (b"Xing", b"Info", b"VBRI")
# A stream of Ogg may end so much before its last page says, and is whole.
_OGG_TAIL_S = 0.2
_AFTER_DATA = (b"", b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"PEAK", b"JUNK")
_FFMPEG_BYTES = 1 << 32
_FFMPEG_READS = "aac,ac3,amr,ape,asf,flac,g722,matroska,mov,mp3,ogg,wav,wv"
_FFMPEG_CUT = re.compile("partial file|prematurely|Input buffer exhausted")


class AudioError(ValueError):
    """Audio that cannot be used: the message names the argument, the expectation and the value."""


class AudioFileError(AudioError):
    """A file that cannot be used as audio: the message names it and what is wrong with it."""


class _OtherDecoderError(Exception):
    """What libsndfile cannot read (to its end)."""


def check_rate(sample_rate: int, name: str = "sample_rate", *, lowest: int = LOWEST_RATE) -> int:
    """The sample rate as an int, or an AudioError if it is not a whole one that audio can have."""
    is_number = isinstance(sample_rate, Real) and not isinstance(sample_rate, bool)
    legal = is_number and lowest <= sample_rate <= HIGHEST_RATE
    if not legal or sample_rate != int(sample_rate):
        raise AudioError(
            f"{name} must be a whole number of Hz from {lowest} to {HIGHEST_RATE}, "
            f"got {sample_rate!r}"
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
    """The mean of the channels, `(1, samples)`; the loudest one alone where they cancel (by 20 dB).

    So a pair of opposite polarity is as good as either of its channels.
    """
    audio = check_audio(audio, LOWEST_RATE)
    if audio.shape[0] == 1:
        return audio
    mono = audio.mean(axis=0, keepdims=True, dtype=np.float32)
    energies = [float(np.vdot(channel, channel)) for channel in audio]
    if float(np.vdot(mono, mono)) < 0.01 * max(energies):
        loudest = int(np.argmax(energies))
        return audio[loudest : loudest + 1].copy()
    return mono


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The same sound of `max(1, round(samples * to_rate / from_rate))` samples, by soxr HQ."""
    # On the way a signal may have a rate that no file has, as a coarse telephone does.
    from_rate, to_rate = (
        check_rate(rate, name, lowest=100)
        for name, rate in (("from_rate", from_rate), ("to_rate", to_rate))
    )
    audio = check_audio(audio, max(from_rate, LOWEST_RATE))
    if from_rate == to_rate:
        return audio
    samples = max(1, round(audio.shape[1] * to_rate / from_rate))
    out = need("soxr").resample(audio.T, int(from_rate), to_rate)
    out = out.reshape(-1, audio.shape[0]).T[:, :samples]
    out = np.pad(out, ((0, 0), (0, samples - out.shape[1])))
    return np.ascontiguousarray(out, dtype=np.float32)


_quiet_lock = threading.RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """What decoders say about a file does not reach file descriptor 2."""
    with _quiet_lock, ExitStack() as stack, open(os.devnull, "wb") as null:
        with suppress(OSError):  # a process may have no stderr
            kept = os.dup(2)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 2)
            os.dup2(null.fileno(), 2)
        yield


class _File(io.BufferedReader):
    """A file for libsndfile, which cannot pass errors on: an impossible seek does nothing."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with suppress(OSError, ValueError):
            return super().seek(offset, whence)
        return self.tell()

    def near(self, place: int) -> bytes:
        """Up to 128 KB from a place on."""
        self.seek(max(0, place))
        return self.read(1 << 17)


@contextmanager
def _handle(path: Path) -> Iterator:
    """A file opened by libsndfile."""
    soundfile = need("soundfile")
    with _File(io.FileIO(path)) as raw:
        try:
            with _quiet():
                file = soundfile.SoundFile(raw)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raise _OtherDecoderError(_reason(error)) from error
        try:
            yield file
        finally:
            with _quiet():
                file.close()


def _reason(error: Exception) -> str:
    # error_string has no repr of the stream in it.
    return getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(". ")


def _check_kind(path: Path) -> None:
    """An error for what is not a file with something in it; a pipe is not opened."""
    expected = f"{path}: an audio file was expected,"
    try:
        facts = os.stat(path)
        if stat.S_ISREG(facts.st_mode):
            open(path, "rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioFileError(f"{expected} cannot open it ({reason})") from error
    if not stat.S_ISREG(facts.st_mode):
        kind = "folder" if stat.S_ISDIR(facts.st_mode) else "pipe, socket or device"
        raise AudioFileError(f"{expected} this is a {kind}")
    if facts.st_size == 0:
        raise AudioFileError(f"{expected} this one is empty (0 bytes)")


class Recording(AbstractContextManager):
    """An audio file, open: all of it in blocks, or pieces by place, in constant memory.

    libsndfile reads WAV, FLAC, MP3, Ogg, Opus, AIFF and more; what it cannot read to its end is
    decoded by an `ffmpeg` program, if there is one, into a temporary file.

    Attributes:
        samples: per channel, as many as can be decoded; 0 until `survey`.

    Raises:
        AudioFileError: also later: missing, not a file, empty, not audio, shorter than it promises,
            NaN or infinite samples, or a rate or number of channels that audio does not have.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path, self.samples = Path(path), 0
        self._stack = ExitStack()
        self._pieces = None  # the handle of `read`
        _check_kind(self.path)
        try:
            self._to_its_end(lambda: self._look_at(self.path), again=False)
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _error(self, words: str) -> AudioFileError:
        return AudioFileError(f"{self.path}: {words}")

    def _look_at(self, path: Path) -> None:
        """Find what the file is, and whether it promises its length."""
        self._opened = path
        with _handle(path) as file:
            self.sample_rate, self.channels = file.samplerate, file.channels
            self._kind, self._promised = file.format, file.frames
            head = file.name.near(0)
            if head.startswith(b"ID3"):  # a tag, perhaps with pictures, whose size has 4 * 7 bits
                head = file.name.near(10 + sum(head[6 + k] << 7 * (3 - k) for k in range(4)))
        if self._kind == "FLAC" and self._promised > _GUESSED:
            raise _OtherDecoderError("a FLAC stream without its length")
        if self._kind == "MP3" and not any(name in head[:4096] for name in _MP3_LENGTHS):
            self._promised = None  # guessed from the size
        at = head.find(b"data\0\0\0\0") + 8
        if self._promised == 0 and at > 7 and head[at : at + 4] not in _AFTER_DATA:
            raise _OtherDecoderError("a WAV file from a pipe, without its length")
        rates, channels = range(LOWEST_RATE, HIGHEST_RATE + 1), range(1, _MAX_CHANNELS + 1)
        if self.sample_rate not in rates or self.channels not in channels:
            raise self._error(
                f"{LOWEST_RATE} to {HIGHEST_RATE} Hz and 1 to {_MAX_CHANNELS} channels were "
                f"expected, its header says {self.sample_rate} and {self.channels}"
            )

    def _decode(self, reason: Exception) -> None:
        """Read from now on what ffmpeg makes of the file."""
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is None:
            hint = "install ffmpeg, which reads m4a, webm, aac and more"
            raise self._error(f"audio expected, found: {reason}; {hint}")
        wav = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "decoded.wav"
        safety = f"-v error -nostdin -protocol_whitelist file -format_whitelist {_FFMPEG_READS}"
        command = [ffmpeg, *safety.split(), "-i", f"file:{self.path.resolve()}", "-vn", "-fs"]
        command += [str(_FFMPEG_BYTES), "-rf64", "auto", "-c:a", "pcm_f32le", str(wav)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=300)
        except subprocess.TimeoutExpired as error:
            raise self._error("audio expected, ffmpeg gave no answer in time") from error
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode or not wav.is_file():
            last = said.rpartition("\n")[2].removeprefix(f"file:{self.path.resolve()}: ")
            raise self._error(f"audio expected, found: {reason}; by ffmpeg: {last}")
        if _FFMPEG_CUT.search(said):
            raise self._error("the file is truncated, says ffmpeg; copy or export it again")
        if wav.stat().st_size > 0.99 * _FFMPEG_BYTES:
            raise self._error("at most 4 GB of decoded sound were expected, got more")
        self._look_at(wav)

    def blocks(self, frames: int | None = None, *, stop: int | None = None) -> Iterator[np.ndarray]:
        """The sound from its beginning in blocks `(channels, up to frames)`, up to sample `stop`.

        Its end is compared with what the file promised, unless `stop` comes first.
        """
        frames = frames or max(1, _BLOCK_VALUES // self.channels)
        place = 0
        with _handle(self._opened) as file:
            while stop is None or place < stop:
                block = self._take(file, place, min(frames, (stop or place + frames) - place))
                if not block.shape[1]:
                    self._check_end(file, place)
                    break
                place += block.shape[1]
                yield block

    def read(self, start: int, stop: int) -> np.ndarray:
        """A piece `(channels, stop - start)`; silence beyond the ends."""
        self._pieces = self._pieces or self._stack.enter_context(_handle(self._opened))
        piece = np.zeros((self.channels, stop - start), np.float32)
        first, last = max(start, 0), min(stop, self.samples)
        if first < last:
            found = self._take(self._pieces, first, last - first)
            piece[:, first - start : first - start + found.shape[1]] = found
        return piece

    def survey(self) -> "Recording":
        """Decode all once, so that `samples` is known and later reading meets nothing new."""

        def count() -> int:
            return sum(block.shape[1] for block in self.blocks())

        self.samples = self._to_its_end(count)
        if self._kind == "OGG" and self.samples != self._promised:
            self._unpack()
        return self

    def _unpack(self) -> None:
        """Read from now on a decoded copy: libsndfile misses places where an Ogg miscounts them."""
        soundfile = need("soundfile")
        copy = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "decoded.wav"
        layout = (self.sample_rate, self.channels, "FLOAT")
        with soundfile.SoundFile(copy, "w", *layout, format="RF64") as file:
            for block in self.blocks():
                file.write(block.T)
        self._look_at(copy)

    def whole(self, max_seconds: float | None = None) -> np.ndarray:
        """All of it, or its beginning, as one array, if that fits into memory."""
        rate = max(self.sample_rate, 48_000)  # it may be resampled
        most = _MOST_VALUES * self.sample_rate // (rate * self.channels)
        stop = None if max_seconds is None else max(1, round(max_seconds * self.sample_rate))

        def gather() -> np.ndarray:
            parts, samples = [], 0
            for block in self.blocks(stop=stop):
                parts.append(block)
                samples += block.shape[1]
                if samples > most:
                    minutes = most / self.sample_rate / 60
                    raise self._error(
                        f"at most {minutes:.1f} minutes of {self.channels} channels fit into "
                        "memory here, got more: cut it into parts"
                    )
            return np.concatenate(parts, axis=1)

        return self._to_its_end(gather)

    def _to_its_end(self, work: Callable, again: bool = True):
        try:
            return work()
        except _OtherDecoderError as error:
            self._decode(error)
            return work() if again else None

    def _take(self, file, place: int, frames: int) -> np.ndarray:
        try:
            with _quiet():
                if file.tell() != place:
                    file.seek(place)
                block = file.read(frames, dtype="float32", always_2d=True)
        except (need("soundfile").SoundFileError, ValueError) as error:
            reason = _reason(error)
            raise self._error(f"broken or cut off after {place} samples ({reason})") from error
        if not (np.abs(block) <= _LOUDEST).all():  # NaN is not either
            found = f"NaN, infinity or more after {place} samples"
            raise self._error(f"samples up to {_LOUDEST:g} expected, found {found}")
        return np.ascontiguousarray(block.T)

    def _check_end(self, file, read: int) -> None:
        """An error where the file holds less than it promised, or another stream."""
        raw, promise = file.name, ""
        place = raw.tell()
        # Some MP3 encoders count the frame of 1152 samples that holds the header.
        missing = (self._promised or read) - read - (1152 if self._kind == "MP3" else 0)
        # libsndfile clamps the length of a cut file without compression and says so in its log.
        sizes = re.search(
            r"^\s*(?:data|SSND|BODY|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)",
            file.extra_info,
            re.MULTILINE,
        )
        declared, present = (int(sizes[1]), int(sizes[2])) if sizes else (0, 0)
        if self._kind == "OGG":
            promise = self._fault_of_ogg(raw, file.extra_info)
            # Some count samples before time 0, or have pages behind the one that is marked last.
            if not promise and missing > _OGG_TAIL_S * self.sample_rate:
                raise _OtherDecoderError(f"{self._promised} samples promised, an end at {read}")
        elif missing > 0:
            promise = f"its header promises {self._promised} samples and {read} could be read"
        elif declared > present and not any(declared in lengths for lengths in _STREAMED):
            promise = f"its header promises {declared} bytes and {present} are there"
        if promise:
            raise self._error(f"the file is truncated, {promise}; copy or export it again")
        if not read:
            raise self._error("audio expected, the file has a header but no samples")
        more = raw.near(place)
        if (self._kind == "MP3" and more.startswith((b"\xff", b"ID3"))) or (
            self._kind == "OGG" and b"OggS" in more
        ):
            raise _OtherDecoderError(f"several streams, the first one of {read} samples")

    @staticmethod
    def _fault_of_ogg(raw: _File, log: str) -> str:
        """What shows that pages of an Ogg are gone: inside by the decoder's log, or at its end."""
        page = raw.near(raw.seek(0, os.SEEK_END) - (1 << 17)).rpartition(b"OggS")[2]
        if "reports a hole" in log:
            return "pages inside it are lost or damaged"
        if len(page) < 23 + sum(page[22 : 23 + (page[22:] or b"0")[0]]):
            return "its last page is incomplete"
        return "" if page[1] & 4 else "its last page is not marked as the end"


def read_audio(
    path: str | os.PathLike,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float | None = None,
) -> tuple[np.ndarray, int]:
    """Any audio file as float32 `(channels, samples)`, and its sample rate; see `Recording`.

    At the file's own rate, or resampled to `sample_rate`; all of it, or `max_seconds` from the
    start. Raises AudioFileError as `Recording`, and for more than fits into memory.
    """
    if sample_rate is not None:
        sample_rate = check_rate(sample_rate)
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(f"max_seconds must be above 0, got {max_seconds!r}")
    with Recording(path) as recording:
        audio, file_rate = recording.whole(max_seconds), recording.sample_rate
    audio = to_mono(audio) if mono else audio
    if sample_rate is None:
        return audio, file_rate
    return resample(audio, file_rate, sample_rate), sample_rate


def write_audio(
    path: str | os.PathLike, audio: np.ndarray, sample_rate: int, *, subtype: str | None = None
) -> Path:
    """Write audio within -1 to 1 as .wav, .flac, .ogg, .opus, .mp3 or .aiff; returns the path.

    `subtype` is libsndfile's sample format, e.g. ``"PCM_16"``; None is 24 bit where possible.
    Raises AudioError for audio that does not fit, AudioFileError where it is not the audio's fault.
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
    if layout[2] == "VORBIS" and sample_rate > HIGHEST_VORBIS_RATE:
        raise AudioFileError(f"{path}: Vorbis ends at {HIGHEST_VORBIS_RATE} Hz, got {sample_rate}")
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
