"""Recorded instruments: programs of the FluidR3 bank, split so that no recording is in two splits.

Only dry recordings are used. A program is left out when its samples already carry what the course wants to
recognise: distortion (overdriven and distorted guitar, rock organ), beating or an ensemble (12-string,
honky-tonk, accordion, dulcimer, sections, choirs, synthesizer pads), tremolo or vibrato (electric piano 2,
rotary organs), a room (church organ, orchestra hit), or noise (sound effects).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from labkit.signal.notes import Phrase, draw_phrase
from labkit.signal.seeds import generator
from labkit.signal.soundfont import BLOCK, Synthesizer, find_soundfont

SPLITS = ("train", "validation", "test")
_WEIGHTS = {
    "guitar": 6.0,
    "bass": 2.5,
    "plucked": 2.5,
    "keys": 1.5,
    "mallet": 1.0,
    "bowed": 1.0,
    "wind": 0.7,
}
_BEND_PER_SEMITONE = 4096  # MIDI's default range: 8192 steps for two semitones


@dataclass(frozen=True)
class Program:
    """One instrument of the bank.

    Attributes:
        bank: MIDI bank.
        number: program number, counted from 0.
        name: what it is.
        family: how it is played, one of `labkit.signal.notes.FAMILIES`.
        low: lowest MIDI key used.
        high: highest MIDI key used. Guitars stop at 83: from 84 on the nylon guitar (train) and the steel
            guitar (test) of FluidR3 play the same sample.
    """

    bank: int
    number: int
    name: str
    family: str
    low: int
    high: int

    @property
    def weight(self) -> float:
        """How often it is drawn, relative to the others of its split."""
        return _WEIGHTS[self.family]

    @property
    def source_id(self) -> str:
        """Its name in manifests, e.g. ``"fluidr3/000-025"``."""
        return f"fluidr3/{self.bank:03d}-{self.number:03d}"


def _rows(family: str, *rows: tuple[int, int, str, int, int]) -> tuple[Program, ...]:
    return tuple(
        Program(bank, number, name, family, low, high) for bank, number, name, low, high in rows
    )


_TRAIN = (
    *_rows(
        "guitar",
        (0, 24, "nylon guitar", 40, 83),
        (8, 24, "ukulele", 55, 83),
        (0, 26, "jazz guitar", 40, 83),
        (8, 26, "Hawaiian guitar", 43, 81),
    ),
    *_rows(
        "bass",
        (0, 32, "acoustic bass", 28, 60),
        (0, 33, "fingered bass", 28, 62),
        (0, 34, "picked bass", 28, 62),
        (0, 35, "fretless bass", 28, 62),
        (0, 36, "slap bass", 28, 62),
        (0, 37, "pop bass", 28, 62),
    ),
    *_rows(
        "plucked",
        (0, 46, "harp", 36, 91),
        (0, 31, "guitar harmonics", 40, 76),
        (0, 104, "sitar", 45, 79),
        (0, 106, "shamisen", 48, 79),
        (0, 107, "koto", 48, 84),
        (0, 6, "harpsichord", 36, 84),
        (0, 7, "clavinet", 36, 84),
    ),
    *_rows(
        "keys",
        (0, 0, "grand piano", 28, 96),
        (0, 1, "bright piano", 28, 96),
        (0, 2, "electric piano", 34, 88),
        (0, 4, "Rhodes", 34, 88),
        (0, 20, "reed organ", 36, 84),
    ),
    *_rows(
        "mallet",
        (0, 8, "celesta", 60, 96),
        (0, 9, "glockenspiel", 72, 100),
        (0, 10, "music box", 60, 96),
        (0, 11, "vibraphone", 53, 89),
        (0, 13, "xylophone", 60, 96),
    ),
    *_rows(
        "bowed", (0, 40, "violin", 55, 88), (0, 41, "viola", 48, 81), (0, 43, "contrabass", 28, 50)
    ),
    *_rows(
        "wind",
        (0, 22, "harmonica", 55, 84),
        (0, 56, "trumpet", 54, 82),
        (0, 59, "muted trumpet", 54, 82),
        (0, 64, "soprano saxophone", 54, 82),
        (0, 65, "alto saxophone", 49, 76),
        (0, 66, "tenor saxophone", 44, 72),
        (0, 67, "baritone saxophone", 37, 68),
        (0, 68, "oboe", 58, 88),
        (0, 73, "flute", 60, 94),
        (0, 74, "recorder", 60, 91),
        (0, 111, "shenai", 55, 82),
    ),
)
_VALIDATION = (
    *_rows("guitar", (0, 105, "banjo", 48, 80)),
    *_rows("mallet", (0, 108, "kalimba", 55, 84)),
    *_rows("wind", (0, 57, "trombone", 40, 70)),
)
_TEST = (
    *_rows(
        "guitar",
        (0, 25, "steel guitar", 40, 83),
        (0, 27, "clean electric guitar", 40, 83),
        (0, 28, "palm-muted guitar", 40, 76),
        (16, 25, "mandolin", 55, 83),
    ),
    *_rows("mallet", (0, 12, "marimba", 45, 91)),
    *_rows("bowed", (0, 42, "cello", 36, 72)),
    *_rows("wind", (0, 71, "clarinet", 50, 86)),
)
_PROGRAMS = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}


def programs(split: str) -> tuple[Program, ...]:
    """The instruments of a split; those of "validation" and "test" are never trained on.

    Args:
        split: "train", "validation" or "test".

    Raises:
        ValueError: any other split.
    """
    if split not in _PROGRAMS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return _PROGRAMS[split]


@cache
def shares(split: str) -> np.ndarray:
    """The probability of each program of a split, in the order of `programs`; plucked strings weigh more."""
    weights = np.array([program.weight for program in programs(split)])
    return weights / weights.sum()


class SampledInstruments:
    """Phrases played by recorded instruments.

    A source is a program and a phrase of its own random stream; each clip of it also varies in key, touch,
    tuning and in where it begins, which may be the middle of a note.

    Args:
        seed: the seed of the phrases.
        seconds: length of a clip, > 0.
        sample_rate: Hz, 8,000 to 96,000.
        phrases: phrases per program in "train"; "validation" and "test" have a tenth, of other indices.
        soundfont: the bank; None is `find_soundfont()`, looked for at the first clip.

    Raises:
        ValueError: bad `seconds` or `phrases`.
        SoundFontMissingError: at the first clip, without the bank.
    """

    kind = "sampled"

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = 44_100,
        phrases: int = 2_000,
        soundfont: Path | None = None,
    ) -> None:
        if not seconds > 0 or phrases < 10:
            raise ValueError(
                f"seconds must be above 0 and phrases at least 10, got {seconds} and {phrases}"
            )
        self.seed, self.seconds, self.sample_rate, self.soundfont = (
            seed,
            seconds,
            sample_rate,
            soundfont,
        )
        self._phrases = {
            "train": range(phrases),
            "validation": range(phrases, phrases + phrases // 10),
            "test": range(phrases + phrases // 10, phrases + 2 * (phrases // 10)),
        }
        self._synthesizer: Synthesizer | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_synthesizer": None}  # a C object: each process makes its own

    def groups(self, split: str) -> list[str]:
        """The source ids of a split."""
        return [
            self._id(program, phrase)
            for program in programs(split)
            for phrase in self._phrases[split]
        ]

    def draw(self, rng: np.random.Generator, split: str) -> tuple[np.ndarray, str]:
        """Play one clip.

        Args:
            rng: chooses program, phrase and variation.
            split: "train", "validation" or "test".

        Returns:
            `(audio, source_id)`: float32 `(1, samples)`, peak at most 0.99.
        """
        program = programs(split)[rng.choice(len(programs(split)), p=shares(split))]
        index = int(rng.choice(self._phrases[split]))
        lead = rng.uniform(0, 0.8) if rng.random() < 0.5 else -rng.uniform(0, 0.15)
        phrase = draw_phrase(
            generator(self.seed, "sampled", program.source_id, index),
            family=program.family,
            low=program.low,
            high=program.high,
            seconds=self.seconds + max(lead, 0.0),
        )
        return self.play(_vary(rng, phrase, program), program, lead_seconds=lead), self._id(
            program, index
        )

    def play(self, phrase: Phrase, program: Program, *, lead_seconds: float = 0.0) -> np.ndarray:
        """Play a phrase on a program, from `lead_seconds` into it (a negative lead is silence before it).

        Returns:
            float32 `(1, samples)`, peak at most 0.99.
        """
        if self._synthesizer is None:
            self._synthesizer = Synthesizer(self.soundfont or find_soundfont(), self.sample_rate)
        samples = round(self.seconds * self.sample_rate)
        lead = max(0, round(lead_seconds * self.sample_rate))
        events = _events(phrase, self.sample_rate, silence_seconds=max(0.0, -lead_seconds))
        audio = self._synthesizer.play(program.bank, program.number, events, lead + samples)[
            :, lead:
        ]
        peak = float(np.abs(audio).max())
        return np.ascontiguousarray(audio if peak <= 0.99 else audio * np.float32(0.99 / peak))

    @staticmethod
    def _id(program: Program, phrase: int) -> str:
        return f"{program.source_id}/{phrase:05d}"


def _vary(rng: np.random.Generator, phrase: Phrase, program: Program) -> Phrase:
    """The same phrase by another hand: transposed, louder or softer, slower or faster, tuned otherwise."""
    keys = [note.key for note in phrase.notes]
    shift = int(
        rng.integers(max(-5, program.low - min(keys)), min(5, program.high - max(keys)) + 1)
    )
    touch, pace, tuning = rng.uniform(-15, 15), rng.uniform(0.9, 1.1), rng.normal(0, 0.12)
    notes = tuple(
        type(note)(
            note.start_seconds * pace,
            note.seconds * pace,
            note.key + shift,
            int(np.clip(round(note.velocity + touch), 10, 127)),
        )
        for note in phrase.notes
    )
    return Phrase(
        notes, tuple((at * pace, bend + tuning) for at, bend in phrase.bends or ((0.0, 0.0),))
    )


def _events(
    phrase: Phrase, sample_rate: int, *, silence_seconds: float
) -> list[tuple[int, str, int, int]]:
    """Notes and bends as synthesizer events in order of time; a key is released before it is struck again."""
    rows = []
    for at, semitones in phrase.bends:
        rows.append(
            (at, 1, "bend", int(np.clip(round(semitones * _BEND_PER_SEMITONE), -8192, 8191)), 0)
        )
    for note in phrase.notes:
        rows.append((note.start_seconds, 2, "on", note.key, note.velocity))
        rows.append((note.start_seconds + note.seconds, 0, "off", note.key, 0))
    rows.sort(key=lambda row: (int((row[0] + silence_seconds) * sample_rate) // BLOCK, row[1]))
    return [
        (int((at + silence_seconds) * sample_rate), kind, value, velocity)
        for at, _, kind, value, velocity in rows
    ]
