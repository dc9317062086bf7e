"""A preset on a file of any length in constant memory: blocks through a board that keeps its state, level matched."""

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.signal.files import AudioFileError, read_audio
from labkit.signal.optional import need
from labkit.systems.text_to_effects.preset import Preset

BLOCK = 1 << 17
_HOP_SECONDS = 0.1
_MAX_TAIL_BLOCKS = 64  # of 8192 samples: far longer than any latency


class Meter:
    """Integrated loudness of a stream, as `measure.loudness` gives for a whole clip.

    It keeps the energy of every tenth of a second, 80 bytes for a second of stereo, and nothing else.

    Args:
        sample_rate: Hz, at least 4000.
        channels: 1 to 5.

    Source: ITU-R BS.1770-4; the filters are pyloudnorm's.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        if sample_rate < 4000:
            raise ValueError(
                f"sample_rate must be at least 4000 Hz for a loudness, got {sample_rate}"
            )
        if not 1 <= channels <= 5:
            raise ValueError(f"channels must be 1 to 5 for a loudness, got {channels}")
        stages = need("pyloudnorm").Meter(sample_rate)._filters.values()
        self.filters = [
            [np.asarray(stage.b), np.asarray(stage.a), None, stage.passband_gain]
            for stage in stages
        ]
        self.hop = round(_HOP_SECONDS * sample_rate)
        self.energies: list[np.ndarray] = []
        self.rest = np.zeros((channels, 0))
        self.peak = 0.0

    def feed(self, audio: np.ndarray) -> None:
        """Take the next block, (channels, samples)."""
        lfilter, weighted = need("scipy.signal").lfilter, audio.astype(np.float64)
        self.peak = max(self.peak, float(np.abs(audio).max(initial=0.0)))
        for stage in self.filters:
            b, a, state, gain = stage
            state = np.zeros((len(audio), max(len(a), len(b)) - 1)) if state is None else state
            weighted, stage[2] = lfilter(b, a, weighted, axis=-1, zi=state)
            weighted = weighted * gain
        weighted = np.concatenate([self.rest, weighted], axis=1)
        whole = weighted.shape[1] // self.hop
        cut = weighted[:, : whole * self.hop].reshape(len(audio), whole, self.hop)
        self.energies += list(np.square(cut).mean(-1).T)
        self.rest = weighted[:, whole * self.hop :]

    def lufs(self) -> float:
        """The loudness so far; -inf for silence, and for less than 0.4 s the loudness of what there is."""
        energies = self.energies if len(self.energies) >= 4 else [*self.energies, *self._short()]
        hops = np.array(energies)
        weights = np.array([1.0, 1.0, 1.0, 1.41, 1.41])[: hops.shape[1]]
        size = min(4, len(hops))
        blocks = (
            np.stack([hops[i : i + size].mean(0) for i in range(len(hops) - size + 1)]) @ weights
        )
        kept = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
        if not len(kept):
            return -math.inf
        kept = kept[kept > 0.1 * kept.mean()]
        return -0.691 + 10 * math.log10(kept.mean())

    def _short(self) -> list[np.ndarray]:
        return [np.square(self.rest).mean(-1)] if self.rest.shape[1] else []


@dataclass(frozen=True)
class Rendered:
    """What was written.

    Attributes:
        path: the file.
        seconds, sample_rate, channels: of it.
        dry_lufs, wet_lufs: loudness before the match.
        shift_db: what was added to the effect's output to be as loud as the input, or as near as its peak allows.
    """

    path: Path
    seconds: float
    sample_rate: int
    channels: int
    dry_lufs: float
    wet_lufs: float
    shift_db: float


def blocks(path: Path, max_seconds: float | None) -> Iterator[tuple[np.ndarray, int]]:
    """A file as (channels, samples) blocks with its rate; what only `read_audio` can decode comes as one.

    Raises:
        AudioFileError: if it is not audio, holds none, or NaN.
    """
    read_audio(path, max_seconds=0.1)  # says at once, and well, what is wrong with a file
    soundfile = need("soundfile")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError:
        audio, rate = read_audio(path, max_seconds=max_seconds)
        yield audio, rate
        return
    with file:
        left = (
            file.frames
            if max_seconds is None
            else min(file.frames, max(1, round(max_seconds * file.samplerate)))
        )
        while left > 0:
            block = file.read(min(BLOCK, left), dtype="float32", always_2d=True).T
            if not block.shape[1]:
                return
            if not np.isfinite(block).all():
                raise AudioFileError(f"{path}: its audio holds NaN or infinite samples")
            left -= block.shape[1]
            yield np.ascontiguousarray(block), file.samplerate


class Player:
    """A preset that audio is fed through block by block; stereo pairs share a board, as a room needs it.

    Args:
        preset: the settings.
        sample_rate: Hz.
        channels: of the audio.
    """

    def __init__(self, preset: Preset, sample_rate: int, channels: int) -> None:
        groups = [slice(0, 2)] if channels == 2 else [slice(k, k + 1) for k in range(channels)]
        self.boards: list[tuple[slice, Any]] = [
            (group, preset.board(sample_rate)) for group in groups
        ]
        self.rate, self.owed = sample_rate, 0

    def feed(self, audio: np.ndarray) -> np.ndarray:
        """The next block, (channels, samples); fewer samples come back while a pitch shifter fills up."""
        self.owed += audio.shape[1]
        made = [
            board.process(audio[group], self.rate, buffer_size=8192, reset=False)
            for group, board in self.boards
        ]
        return self._counted(np.concatenate(made))

    def finish(self) -> Iterator[np.ndarray]:
        """What is still inside, until as much came out as went in."""
        for _ in range(_MAX_TAIL_BLOCKS):
            if self.owed <= 0:
                return
            silence = [
                (np.zeros((group.stop - group.start, 8192), np.float32), board)
                for group, board in self.boards
            ]
            made = [board.process(block, self.rate, reset=False) for block, board in silence]
            yield self._counted(np.concatenate(made)[:, : self.owed])

    def _counted(self, audio: np.ndarray) -> np.ndarray:
        self.owed -= audio.shape[1]
        return np.nan_to_num(audio)


def render_file(
    preset: Preset, source: str | Path, target: str | Path, *, max_seconds: float | None = None
) -> Rendered:
    """Apply a preset to a file: same rate, channels and length, as loud as it was.

    Args:
        preset: the settings.
        source: wav, flac, mp3, ogg and more; any rate from 4 kHz on, up to 5 channels.
        target: a .wav file; written under a temporary name, then renamed.
        max_seconds: of the source; None is all.

    Returns:
        What was written.

    Raises:
        AudioFileError: for a source that is not usable audio.
        ValueError: for a rate or number of channels without a loudness.
    """
    source, target = Path(source), Path(target)
    soundfile = need("soundfile")
    player = dry = wet = None
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        raw = Path(folder) / "wet.wav"
        out, samples = None, 0
        for block, rate in blocks(source, max_seconds):
            if player is None:
                player, channels = Player(preset, rate, len(block)), len(block)
                dry, wet = Meter(rate, channels), Meter(rate, channels)
                out = soundfile.SoundFile(raw, "w", rate, channels, "FLOAT", format="RF64")
            samples += block.shape[1]
            dry.feed(block)
            _put(out, wet, player.feed(block))
        if player is None:
            raise AudioFileError(f"{source}: audio expected, the file has a header but no samples")
        for block in player.finish():
            _put(out, wet, block)
        out.close()
        shift_db = _shift_db(dry, wet)
        _scaled(raw, target, 10 ** (shift_db / 20))
    return Rendered(target, samples / rate, rate, channels, dry.lufs(), wet.lufs(), shift_db)


def _put(file: Any, meter: Meter, block: np.ndarray) -> None:
    if block.shape[1]:
        meter.feed(block)
        file.write(block.T)


def _shift_db(dry: Meter, wet: Meter) -> float:
    before, after = dry.lufs(), wet.lufs()
    wanted = before - after if math.isfinite(before) and math.isfinite(after) else 0.0
    room_db = -0.1 - 20 * math.log10(wet.peak) if wet.peak > 0 else 0.0
    return min(wanted, room_db)


def _scaled(raw: Path, target: Path, factor: float) -> None:
    soundfile = need("soundfile")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with soundfile.SoundFile(raw) as file:
            kind = "RF64" if file.frames * file.channels * 3 > 2**32 - 2**16 else "WAV"
            with soundfile.SoundFile(
                temporary, "w", file.samplerate, file.channels, "PCM_24", format=kind
            ) as out:
                while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                    out.write(np.clip(factor * block, -1.0, 1.0))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
