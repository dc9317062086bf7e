"""A SoundFont bank: where it is, which samples a program plays from, and an offline synthesizer.

The synthesizer is FluidSynth through pyfluidsynth. Its own reverb and chorus are off: a source must be dry.
"""

import ctypes
import functools
import itertools
import os
import struct
import sys
from pathlib import Path

import numpy as np

from labkit.signal.files import AudioError, check_rate
from labkit.signal.optional import need

_VOICES = 64
_PRIMER = (1, 0, 105)  # channel, bank, program: the banjo is centred, and one voice a note
BLOCK = 64  # FluidSynth renders in blocks of 64 samples; events on their borders make every render repeatable
_NAME = "FluidR3_GM.sf2"
_FOLDERS = {
    "linux": (
        "/usr/share/sounds/sf2",
        "/usr/share/soundfonts",
        "/usr/local/share/soundfonts",
        "~/.local/share/sounds/sf2",
    ),
    "darwin": (
        "~/Library/Audio/Sounds/Banks",
        "/Library/Audio/Sounds/Banks",
        "/opt/homebrew/share/soundfonts",
    ),
    "win32": ("C:/soundfonts", "~/Documents/SoundFonts", "~/AppData/Local/SoundFonts"),
}
_INSTRUMENT, _KEY_RANGE, _SAMPLE_ID = 41, 43, 53  # SoundFont 2.04 specification, section 8.1.3


class SoundFontMissingError(FileNotFoundError):
    """FluidR3_GM.sf2 was not found; the message says how to get it."""


def find_soundfont() -> Path:
    """The FluidR3 General MIDI bank.

    Returns:
        `$LABKIT_SOUNDFONT` where set, else FluidR3_GM.sf2 in the usual folders of this system.

    Raises:
        SoundFontMissingError: with the folders searched and the command that installs it.
    """
    wanted = os.environ.get("LABKIT_SOUNDFONT")
    if wanted:
        if Path(wanted).is_file():
            return Path(wanted)
        raise SoundFontMissingError(f"LABKIT_SOUNDFONT names {wanted}, and there is no such file")
    folders = [
        Path(folder).expanduser() for folder in _FOLDERS.get(sys.platform, _FOLDERS["linux"])
    ]
    for folder in folders:
        if (folder / _NAME).is_file():
            return folder / _NAME
    raise SoundFontMissingError(
        f"{_NAME} is not in {', '.join(map(str, folders))}: apt-get install fluid-soundfont-gm "
        "(or download FluidR3 GM and set LABKIT_SOUNDFONT to the .sf2 file)"
    )


@functools.lru_cache(maxsize=2)
def sample_zones(path: Path) -> dict[tuple[int, int], tuple[tuple[str, int, int], ...]]:
    """Which recordings each program plays, and on which keys: the proof that two programs share none.

    Args:
        path: a SoundFont 2 file.

    Returns:
        `{(bank, program): ((sample name, lowest key, highest key), ...)}`, keys as MIDI numbers.

    Raises:
        AudioError: if the file is not a SoundFont.

    Source: SoundFont Technical Specification 2.04, section 7 (the pdta chunk).
    """
    chunks = _preset_chunks(path)
    names = [_text(row[0]) for row in struct.iter_unpack("<20s26x", chunks[b"shdr"])]
    headers = list(struct.iter_unpack("<20sHHH12x", chunks[b"phdr"]))
    instruments = [first for _, first in struct.iter_unpack("<20sH", chunks[b"inst"])]
    in_instrument = [
        [
            (names[target], low, high)
            for target, low, high in _zones(chunks, b"i", *pair, _SAMPLE_ID)
        ]
        for pair in itertools.pairwise(instruments)
    ]
    programs = {}
    for (_, number, bank, first), (_, _, _, last) in itertools.pairwise(headers):
        found = set()
        for instrument, low, high in _zones(chunks, b"p", first, last, _INSTRUMENT):
            found |= {(name, max(low, a), min(high, b)) for name, a, b in in_instrument[instrument]}
        programs[bank, number] = tuple(sorted(zone for zone in found if zone[1] <= zone[2]))
    return programs


def samples_played(path: Path, bank: int, number: int, low: int, high: int) -> set[str]:
    """Names of the samples that a program can sound on the keys `low` to `high` (MIDI numbers, inclusive)."""
    return {
        name
        for name, first, last in sample_zones(path)[bank, number]
        if first <= high and last >= low
    }


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode("latin-1")


def _preset_chunks(path: Path) -> dict[bytes, bytes]:
    with open(path, "rb") as file:
        riff, _, kind = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if (riff, kind) != (b"RIFF", b"sfbk"):
            raise AudioError(f"{path}: a SoundFont 2 file was expected")
        while header := file.read(12):
            _, size, kind = struct.unpack("<4sI4s", header)
            if kind == b"pdta":
                return _split(file.read(size - 4))
            file.seek(size - 4 + (size & 1), os.SEEK_CUR)
    raise AudioError(f"{path}: this SoundFont has no presets (no pdta chunk)")


def _split(data: bytes) -> dict[bytes, bytes]:
    chunks, at = {}, 0
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)
    return chunks


def _zones(
    chunks: dict[bytes, bytes], level: bytes, first: int, last: int, link: int
) -> list[tuple[int, int, int]]:
    """(linked index, lowest key, highest key) of zones `first` to `last` - 1 of presets or instruments."""
    bags, generators = chunks[level + b"bag"], chunks[level + b"gen"]
    zones, common = [], (0, 127)
    for zone in range(first, last):
        start, stop = (struct.unpack_from("<H", bags, 4 * i)[0] for i in (zone, zone + 1))
        values = dict(struct.unpack_from("<HH", generators, 4 * i) for i in range(start, stop))
        keys = (
            (values[_KEY_RANGE] & 0xFF, values[_KEY_RANGE] >> 8) if _KEY_RANGE in values else common
        )
        if link in values:
            zones.append((values[link], *keys))
        elif zone == first:
            common = keys  # a first zone without a link is the global zone: defaults for the others
    return zones


class Synthesizer:
    """FluidSynth, offline and dry: one bank, one channel, float output that cannot clip.

    Args:
        path: the SoundFont.
        sample_rate: Hz, 8,000 to 96,000.

    Raises:
        AudioError: a bad sample rate, or a bank that FluidSynth refuses.
        ModuleNotFoundError: without pyfluidsynth.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not 8_000 <= check_rate(sample_rate) <= 96_000:
            raise AudioError(
                f"sample_rate must be 8000 to 96000 Hz for FluidSynth, got {sample_rate}"
            )
        fluidsynth = need("fluidsynth")
        settings = {
            "synth.reverb.active": 0,
            "synth.chorus.active": 0,
            "synth.polyphony": _VOICES,
            "synth.dynamic-sample-loading": 1,  # reads the samples of a program when it is chosen
        }
        self._synth = fluidsynth.Synth(
            gain=0.5, samplerate=float(sample_rate), channels=16, **settings
        )
        self._write = _float_writer(fluidsynth)
        self._bank = self._synth.sfload(str(path))
        if self._bank < 0:
            raise AudioError(f"{path}: FluidSynth cannot load this SoundFont")
        self.sample_rate = sample_rate
        channel, bank, number = _PRIMER
        self._synth.program_select(channel, self._bank, bank, number)
        self._silence()

    def close(self) -> None:
        """Give the synthesizer's memory back."""
        self._synth.delete()

    def play(
        self, bank: int, number: int, events: list[tuple[int, str, int, int]], samples: int
    ) -> np.ndarray:
        """Render one program from silence.

        Args:
            bank: MIDI bank.
            number: program number, 0-127.
            events: `(sample index, "on" | "off" | "bend", key or bend, velocity)`, in order of time; a bend
            is
                -8192 to 8191 for -2 to 2 semitones. Times are rounded down to blocks of 64 samples.
            samples: how many to render, >= 1.

        Returns:
            float32 `(1, samples)`, the louder of the two output channels: the sum of a stereo pair of
            microphones would be a comb filter.

        Raises:
            AudioError: if the bank has no such program.
        """
        if self._synth.program_select(0, self._bank, bank, number) != 0:
            raise AudioError(f"the SoundFont has no program {number} in bank {bank}")
        stereo = np.zeros((2, -(-samples // BLOCK) * BLOCK), np.float32)
        at = 0
        for when, kind, value, velocity in events:
            start = max(0, when // BLOCK * BLOCK)
            if start >= stereo.shape[1]:
                break
            self._render(stereo, at, start)
            at = max(at, start)
            self._send(kind, value, velocity)
        self._render(stereo, at, stereo.shape[1])
        self._silence()
        louder = int(np.square(stereo[1]).sum() > np.square(stereo[0]).sum())
        return np.ascontiguousarray(stereo[louder : louder + 1, :samples])

    def _send(self, kind: str, value: int, velocity: int) -> None:
        if kind == "on":
            self._synth.noteon(0, value, velocity)
        elif kind == "off":
            self._synth.noteoff(0, value)
        else:
            self._synth.pitch_bend(0, value)

    def _render(self, stereo: np.ndarray, start: int, stop: int) -> None:
        if stop > start:
            left, right = (channel[start:].ctypes.data for channel in stereo)
            if self._write(self._synth.synth, stop - start, left, 0, 1, right, 0, 1) != 0:
                raise RuntimeError("FluidSynth could not render")

    def _silence(self) -> None:
        """Stop everything and leave all voices alike, whatever they have played.

        A FluidSynth voice glides over its first block from the panning that it had last, so a clip would depend
        on the one before it. Sounding every voice once on the same centred sample takes that memory away.
        """
        self._synth.all_sounds_off(0)
        self._synth.pitch_bend(0, 0)
        nowhere = np.zeros((2, BLOCK), np.float32)
        self._render(nowhere, 0, BLOCK)
        for key in range(_VOICES - self._synth.get_active_voice_count()):
            self._synth.noteon(_PRIMER[0], 32 + key, 64)
        self._render(nowhere, 0, BLOCK)
        self._synth.all_sounds_off(_PRIMER[0])
        self._render(nowhere, 0, BLOCK)


def _float_writer(fluidsynth):
    """`fluid_synth_write_float`: pyfluidsynth wraps the 16-bit writer only, which dithers and clips."""
    write = fluidsynth._fl.fluid_synth_write_float
    write.restype = ctypes.c_int
    pointer, count = ctypes.c_void_p, ctypes.c_int
    write.argtypes = [pointer, count, pointer, count, count, pointer, count, count]
    return write
