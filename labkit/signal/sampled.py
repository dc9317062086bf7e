"""Recorded instruments: programs of the FluidR3 bank play drawn phrases, dry, through FluidSynth.

No recording is in two splits. Programs whose samples already carry what the course wants to
recognise are left out: distortion, beating or an ensemble, tremolo or vibrato, a room, noise.
"""

import ctypes
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from labkit.signal.files import AudioError
from labkit.signal.optional import need
from labkit.signal.paths import soundfont_places
from labkit.signal.pool import Clip, check_split, ranges_of_splits
from labkit.signal.seeds import generator

BLOCK = 64  # FluidSynth renders in blocks; events on their borders make every render repeatable
_VOICES = 64
_PRIMER = (1, 0, 105)  # channel, bank, program: the banjo is centred, and has one voice a note
_BEND_PER_SEMITONE = 4096  # MIDI's default range: 8192 steps for two semitones


class SoundFontMissingError(FileNotFoundError):
    """FluidR3_GM.sf2 was not found; the message says how to get it."""


def find_soundfont() -> Path:
    """The FluidR3 bank: `$LABKIT_SOUNDFONT`, else in the usual folders."""
    places = soundfont_places()
    for place in places:
        if place.is_file():
            return place
    raise SoundFontMissingError(
        f"no SoundFont at {', '.join(map(str, places))}: apt-get install fluid-soundfont-gm "
        "(or download FluidR3 GM and set LABKIT_SOUNDFONT to the .sf2 file)"
    )


class Synthesizer:
    """FluidSynth, offline and dry: one bank, one channel, float output that cannot clip."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not 8_000 <= sample_rate <= 96_000:
            raise AudioError(f"sample_rate must be 8000 to 96000 Hz, got {sample_rate}")
        fluidsynth = need("fluidsynth")
        settings = {
            "synth.reverb.active": 0,
            "synth.chorus.active": 0,
            "synth.polyphony": _VOICES,
            "synth.dynamic-sample-loading": 1,  # reads the samples of a program when it is chosen
        }
        rate = float(sample_rate)
        self._synth = fluidsynth.Synth(gain=0.5, samplerate=rate, channels=16, **settings)
        # pyfluidsynth wraps the 16-bit writer, which dithers and clips.
        self._write = fluidsynth._fl.fluid_synth_write_float
        pointer, count = ctypes.c_void_p, ctypes.c_int
        self._write.argtypes = [pointer, count, pointer, count, count, pointer, count, count]
        self._bank = self._synth.sfload(str(path))
        if self._bank < 0:
            raise AudioError(f"{path}: FluidSynth cannot load this SoundFont")
        channel, bank, number = _PRIMER
        self._synth.program_select(channel, self._bank, bank, number)
        self._stop_all()

    def play(
        self, bank: int, number: int, events: list[tuple[int, str, int, int]], samples: int
    ) -> np.ndarray:
        """Render one program from silence: float32 `(1, samples)`.

        `events` are `(sample index, "on" | "off" | "bend", key or bend, velocity)` in order of
        time; a bend is -8192 to 8191 for -2 to 2 semitones.
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
            if kind == "on":
                self._synth.noteon(0, value, velocity)
            elif kind == "off":
                self._synth.noteoff(0, value)
            else:
                self._synth.pitch_bend(0, value)
        self._render(stereo, at, stereo.shape[1])
        self._stop_all()
        # The louder channel: the sum of a stereo pair of microphones would be a comb filter.
        louder = int(np.square(stereo[1]).sum() > np.square(stereo[0]).sum())
        return np.ascontiguousarray(stereo[louder : louder + 1, :samples])

    def _render(self, stereo: np.ndarray, start: int, stop: int) -> None:
        if stop > start:
            left, right = (channel[start:].ctypes.data for channel in stereo)
            if self._write(self._synth.synth, stop - start, left, 0, 1, right, 0, 1) != 0:
                raise RuntimeError("FluidSynth could not render")

    def _stop_all(self) -> None:
        """Stop everything and sound every voice once on one centred sample.

        A FluidSynth voice glides over its first block from the panning that it had last, so a clip
        would depend on the one before it.
        """
        self._synth.all_sounds_off(0)
        self._synth.pitch_bend(0, 0)
        unused = np.zeros((2, BLOCK), np.float32)
        self._render(unused, 0, BLOCK)
        for key in range(_VOICES - self._synth.get_active_voice_count()):
            self._synth.noteon(_PRIMER[0], 32 + key, 64)
        self._render(unused, 0, BLOCK)
        self._synth.all_sounds_off(_PRIMER[0])
        self._render(unused, 0, BLOCK)


_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 4, 7, 9),
    (0, 2, 3, 5, 7, 9, 10),
)
# fmt: off
_CHORDS = (
    (0, 7, 12, 16, 19, 24), (0, 7, 12, 15, 19, 24), (0, 7, 12), (0, 7, 10, 16, 19),
    (0, 7, 11, 16), (0, 5, 12, 17, 19), (0, 4, 7, 12), (0, 3, 7, 10),
)
# fmt: on
_STYLES = {
    "guitar": {"line": 4, "riff": 2, "strum": 4, "arpeggio": 3, "double": 2, "held": 1, "chug": 2},
    "bass": {"line": 4, "riff": 4, "chug": 2, "held": 1, "double": 1},
    "plucked": {"line": 4, "riff": 2, "strum": 2, "arpeggio": 3, "double": 2, "held": 1},
    "keys": {"line": 3, "riff": 2, "strum": 3, "arpeggio": 3, "double": 2, "held": 1, "chug": 1},
    "mallet": {"line": 4, "riff": 2, "arpeggio": 2, "double": 2, "chug": 1},
    "bowed": {"line": 4, "riff": 1, "double": 2, "held": 3},
    "wind": {"line": 5, "riff": 2, "held": 2},
}
# How often a family is drawn, relative to the others, and how often its lines are bent.
_WEIGHTS = dict(zip(_STYLES, (6.0, 2.5, 2.5, 1.5, 1.0, 1.0, 0.7), strict=True))
_BENDING = {"guitar": 0.25, "bass": 0.15, "plucked": 0.1, "bowed": 0.2, "wind": 0.15}


@dataclass(frozen=True)
class Note:
    """One note: start and length of the held key, MIDI key, and velocity 1 to 127."""

    start_seconds: float
    seconds: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Phrase:
    """Notes in order of time, and pitch bends: `(seconds, semitones)` steps that hold."""

    notes: tuple[Note, ...]
    bends: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class _Hand:
    """What stays the same through one phrase, and the stream that decides the rest."""

    rng: np.random.Generator
    seconds: float
    low: int
    high: int
    root: int
    scale: tuple[int, ...]
    beat_seconds: float
    velocity: float
    length: float  # share of its step that a note is held
    rests: float

    def note(self, start: float, seconds: float, key: int, accent: float = 0) -> Note:
        """A note near a key, moved by octaves into the register."""
        key = int(key)
        while key > self.high:
            key -= 12
        while key < self.low:
            key += 12
        velocity = int(np.clip(round(self.velocity + accent + self.rng.normal(0, 8)), 15, 127))
        return Note(max(0.0, float(start)), max(0.04, float(seconds)), key, velocity)

    def grid(self, *steps_beats: float) -> list[tuple[float, float]]:
        """(start, step) pairs that fill the time, some left out as rests, a little uneven."""
        now, slots = 0.0, []
        while now < self.seconds:
            step = steps_beats[self.rng.integers(len(steps_beats))] * self.beat_seconds
            if not slots or self.rng.random() >= self.rests:
                start = now + self.rng.normal(0, 0.006)
                slots.append((float(np.clip(start, 0, self.seconds)), step))
            now += step
        return slots

    def degree(self, degree: int) -> int:
        octave, step = divmod(int(degree), len(self.scale))
        return self.root + 12 * octave + self.scale[step]

    def chord(self) -> list[int]:
        shape = _CHORDS[self.rng.integers(len(_CHORDS))]
        base = int(self.rng.integers(self.low, min(self.low + 13, self.high - 11)))
        return [base + offset for offset in shape if base + offset <= self.high]


def draw_phrase(
    rng: np.random.Generator, *, family: str, low: int, high: int, seconds: float
) -> Phrase:
    """A phrase in one of the styles that suit a `family` of instruments.

    Every key lies within `low` to `high`, an octave or more, and every start within 0 to `seconds`.
    Attacks, gaps, densities, chords, bends and levels vary as widely as they do in recordings.
    """
    weights = np.array(list(_STYLES[family].values()), float)
    style = list(_STYLES[family])[rng.choice(len(weights), p=weights / weights.sum())]
    hand = _Hand(
        rng=rng,
        seconds=seconds,
        low=low,
        high=high,
        root=low + int((high - 11 - low) * rng.beta(1.2, 2.8)),  # players live in the lower half
        scale=_SCALES[rng.integers(len(_SCALES))],
        beat_seconds=60.0 / rng.uniform(60, 180),
        velocity=rng.uniform(45, 115),
        length=rng.uniform(0.3, 1.1),
        rests=rng.choice([0.0, 0.1, 0.3], p=[0.4, 0.4, 0.2]),
    )
    notes = _PLAYERS[style](hand)
    bending = style in ("line", "held") and rng.random() < _BENDING.get(family, 0.0)
    bends = _bends(rng, notes) if bending else ()
    return Phrase(tuple(sorted(notes, key=lambda note: note.start_seconds)), bends)


def _line(hand: _Hand) -> list[Note]:
    degree, notes = int(hand.rng.integers(0, 8)), []
    for start, step in hand.grid(0.25, 0.5, 0.5, 1.0, 1.0):
        degree += int(hand.rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
        notes.append(hand.note(start, step * hand.length, hand.degree(degree)))
    return notes


def _held(hand: _Hand) -> list[Note]:
    slots = hand.grid(2.0, 3.0, 4.0)
    degrees = hand.rng.integers(0, 10, len(slots))
    return [
        hand.note(start, step * 1.1, hand.degree(degree))
        for (start, step), degree in zip(slots, degrees, strict=True)
    ]


def _riff(hand: _Hand) -> list[Note]:
    steps = hand.rng.choice([0.25, 0.5, 0.5, 1.0], size=int(hand.rng.integers(3, 8)))
    degrees = hand.rng.choice([0, 0, 0, 2, 3, 4, 5, 7], size=len(steps))
    notes, now = [], 0.0
    while now < hand.seconds:
        place = len(notes) % len(steps)
        step = steps[place] * hand.beat_seconds
        start = min(now + abs(hand.rng.normal(0, 0.004)), hand.seconds)
        accent = 12 if place == 0 else 0
        notes.append(hand.note(start, step * hand.length, hand.degree(degrees[place]), accent))
        now += step
    return notes


def _strum(hand: _Hand) -> list[Note]:
    keys, notes, spread = hand.chord(), [], hand.rng.uniform(0.002, 0.03)
    for start, step in hand.grid(0.5, 1.0, 1.0, 2.0, 4.0):
        if hand.rng.random() < 0.35:
            keys = hand.chord()
        strings = keys if hand.rng.random() < 0.6 else keys[::-1]  # down and up strokes
        for place, key in enumerate(strings):
            late = min(start + place * spread, hand.seconds)
            notes.append(hand.note(late, step * hand.length, key, -place))
    return notes


def _arpeggio(hand: _Hand) -> list[Note]:
    rng, keys, notes = hand.rng, hand.chord(), []
    step, ring = rng.choice([0.25, 0.5, 0.5, 1.0]) * hand.beat_seconds, rng.uniform(0.8, 4.0)
    order = rng.permutation(len(keys)) if rng.random() < 0.5 else np.arange(len(keys))
    for turn in range(int(hand.seconds / step) + 1):
        if turn and turn % len(keys) == 0 and rng.random() < 0.4:
            keys = (hand.chord() * 6)[: len(keys)]
        notes.append(hand.note(turn * step, step * ring, keys[order[turn % len(keys)]]))
    return notes


def _double(hand: _Hand) -> list[Note]:
    notes, interval = [], int(hand.rng.choice([3, 4, 5, 7, 8, 9, 12]))
    for start, step in hand.grid(0.5, 1.0, 2.0):
        key = hand.degree(hand.rng.integers(0, 7))
        for offset in (0, interval):
            notes.append(hand.note(start, step * hand.length, key + offset))
    return notes


def _chug(hand: _Hand) -> list[Note]:
    shape = ((0,), (0, 7), (0, 7, 12))[hand.rng.integers(3)]
    step, notes = hand.rng.choice([0.25, 0.5]) * hand.beat_seconds, []
    root = hand.low + int(hand.rng.integers(0, 8))
    for turn in range(int(hand.seconds / step) + 1):
        if turn and hand.rng.random() < hand.rests:
            continue
        accent, length = (10 if turn % 4 == 0 else -5), step * hand.length * 0.7
        notes += [hand.note(turn * step, length, root + offset, accent) for offset in shape]
    return notes


def _bends(rng: np.random.Generator, notes: list[Note]) -> tuple[tuple[float, float], ...]:
    """Bends into, out of and on some notes, and vibrato, as steps of 12 ms."""
    steps = [(0.0, 0.0)]
    for note in notes:
        if note.seconds < 0.15 or rng.random() < 0.5:
            continue
        time = np.arange(0.0, min(note.seconds, 1.5), 0.012)
        rise = np.clip((time - rng.uniform(0, 0.1)) / rng.uniform(0.06, 0.25), 0, 1)
        start, end = ((0.0, 1.0), (0.0, 2.0), (-1.0, 0.0), (-2.0, 0.0), (0.0, 0.0))[rng.integers(5)]
        vibrato = rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(4, 7) * time)
        curve = start + (end - start) * rise + vibrato * np.clip(2 * (time - 0.2), 0, 1)
        for t, semitones in zip(time.tolist(), curve.tolist(), strict=True):
            steps.append((note.start_seconds + t, semitones))
        steps.append((note.start_seconds + float(time[-1]) + 0.012, 0.0))
    return tuple(sorted(steps, key=lambda step: step[0]))


_PLAYERS = {"line": _line, "held": _held, "riff": _riff, "strum": _strum}
_PLAYERS |= {"arpeggio": _arpeggio, "double": _double, "chug": _chug}


@dataclass(frozen=True)
class Program:
    """One instrument of the bank; `low` and `high` are the MIDI keys used."""

    bank: int
    number: int
    name: str
    family: str
    low: int
    high: int

    @property
    def source_id(self) -> str:
        """Its name, e.g. ``"fluidr3/000-025"``."""
        return f"fluidr3/{self.bank:03d}-{self.number:03d}"


@cache
def programs(split: str) -> tuple[Program, ...]:
    """The instruments of a split; those of validation and test are never trained on."""
    # By split and family, as `bank:number lowest-highest name`, keys as MIDI numbers. Guitars stop
    # at key 83: from 84 on the nylon (train) and the steel guitar (test) play the same sample.
    table = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    found = []
    for family, rows in table[check_split(split)].items():
        for row in rows:
            place, keys, name = row.split(maxsplit=2)
            (bank, number), (low, high) = place.split(":"), keys.split("-")
            found.append(Program(int(bank), int(number), name, family, int(low), int(high)))
    return tuple(found)


_PHRASES = (2_000, 200, 200)  # of each program, in train, validation and test


class Sampled:
    """Phrases played by recorded instruments; a group is a program's phrase.

    A clip of a phrase varies in key, touch, tuning and in where it begins, which may be the middle
    of a note. The sample rate is 8,000 to 96,000 Hz.
    """

    kind = "sampled"

    def __init__(self, *, seed: int = 0, seconds: float = 2.5, sample_rate: int = 44_100) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate
        self._phrases = ranges_of_splits(_PHRASES)
        self._synthesizer: Synthesizer | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_synthesizer": None}  # a C object: each process makes its own

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        indices = self._phrases[check_split(split)]
        return [f"{one.source_id}/{index:05d}" for one in programs(split) for index in indices]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A phrase on a random instrument of the split, peak at most 0.99."""
        weights = np.array([_WEIGHTS[program.family] for program in programs(split)])
        program = programs(split)[rng.choice(len(weights), p=weights / weights.sum())]
        index = int(rng.choice(self._phrases[split]))
        lead = rng.uniform(0, 0.8) if rng.random() < 0.5 else -rng.uniform(0, 0.15)
        phrase = draw_phrase(
            generator(self.seed, "sampled", program.source_id, index),
            family=program.family,
            low=program.low,
            high=program.high,
            seconds=self.seconds + max(lead, 0.0),
        )
        audio = self.play(_vary(rng, phrase, program), program, lead_seconds=lead)
        return Clip(audio, self.sample_rate, f"{program.source_id}/{index:05d}", self.kind)

    def play(self, phrase: Phrase, program: Program, *, lead_seconds: float = 0.0) -> np.ndarray:
        """A phrase from `lead_seconds` on (less than 0 is silence before it), peak at most 0.99."""
        if self._synthesizer is None:
            self._synthesizer = Synthesizer(find_soundfont(), self.sample_rate)
        samples = round(self.seconds * self.sample_rate)
        lead = max(0, round(lead_seconds * self.sample_rate))
        events = _events(phrase, self.sample_rate, silence_seconds=max(0.0, -lead_seconds))
        whole = self._synthesizer.play(program.bank, program.number, events, lead + samples)
        audio = whole[:, lead:]
        peak = float(np.abs(audio).max())
        return np.ascontiguousarray(audio if peak <= 0.99 else audio * np.float32(0.99 / peak))


def _vary(rng: np.random.Generator, phrase: Phrase, program: Program) -> Phrase:
    """The phrase with another key, touch, pace and tuning."""
    keys = [note.key for note in phrase.notes]
    lowest, highest = max(-5, program.low - min(keys)), min(5, program.high - max(keys))
    shift = int(rng.integers(lowest, highest + 1))
    touch, pace, tuning = rng.uniform(-15, 15), rng.uniform(0.9, 1.1), rng.normal(0, 0.12)
    notes = []
    for note in phrase.notes:
        velocity = int(np.clip(round(note.velocity + touch), 10, 127))
        notes.append(
            Note(note.start_seconds * pace, note.seconds * pace, note.key + shift, velocity)
        )
    bends = phrase.bends or ((0.0, 0.0),)
    return Phrase(tuple(notes), tuple((start * pace, bend + tuning) for start, bend in bends))


def _events(
    phrase: Phrase, sample_rate: int, *, silence_seconds: float
) -> list[tuple[int, str, int, int]]:
    """The synthesizer's events in order of time; a key is released before it is struck again."""
    rows = []
    for start, semitones in phrase.bends:
        steps = int(np.clip(round(semitones * _BEND_PER_SEMITONE), -8192, 8191))
        rows.append((start, 1, "bend", steps, 0))
    for note in phrase.notes:
        rows.append((note.start_seconds, 2, "on", note.key, note.velocity))
        rows.append((note.start_seconds + note.seconds, 0, "off", note.key, 0))
    events = [
        (int((start + silence_seconds) * sample_rate), rank, *event) for start, rank, *event in rows
    ]
    events.sort(key=lambda event: (event[0] // BLOCK, event[1]))
    return [(start, *event) for start, _, *event in events]
