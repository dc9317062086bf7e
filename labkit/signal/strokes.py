"""What a guitarist plays in two seconds: seeded strokes on strings and frets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Stroke:
    """One stroke of the picking hand: one note or a chord."""

    onset_seconds: float  # negative if before the phrase
    duration_seconds: float
    frets: tuple[tuple[int, int], ...]  # (string, fret) as the pick meets them; string 0 is lowest
    velocity: float = 0.8
    spread_seconds: float = 0.0  # from the first string to the last
    mute: float = 0.0  # 0 rings freely, about 0.6 is a palm mute, 1 a dead string
    harmonic: int = 1  # 1 a normal note, n the n-th natural harmonic
    bend: tuple[tuple[float, float], ...] = ()  # (seconds after the onset, semitones)
    vibrato: tuple[float, float] = (0.0, 0.0)  # (rate in Hz, depth in cents)


@dataclass(frozen=True)
class _Hand:
    """Where and how fast one phrase is played, and the stream that decides what."""

    rng: np.random.Generator
    seconds: float
    beat_seconds: float
    fret: int
    scale: tuple[int, ...]
    root: int
    tuning: tuple[int, ...]
    looseness_seconds: float

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence):
        return options[int(self.rng.integers(len(options)))]

    def articulation(self) -> float:
        """How much of its slot a note fills: often nearly all of it, sometimes less than half."""
        low, high = (0.25, 0.7) if self.chance(0.35) else (0.7, 1.0)
        return float(self.rng.uniform(low, high))

    def slots(
        self, weights: dict[float, float], rest: float = 0.08
    ) -> Iterator[tuple[float, float]]:
        """(onset, duration) one after another, from before time zero; beats drawn by weight."""
        lengths, odds = np.array(list(weights)), np.array(list(weights.values()))
        size = int(self.rng.integers(2, 9))
        bar = self.rng.choice(lengths, size=size, p=odds / odds.sum()) * self.beat_seconds
        time = -float(self.rng.uniform(0, 1.2)) * float(bar.max())
        rested = step = 0
        while time < self.seconds - 0.05:
            length = float(bar[step % len(bar)])
            sounding = rested > 0 or length > 0.8 or not self.chance(rest)
            if sounding:
                yield time + float(self.rng.normal(0, self.looseness_seconds)), length
            rested = 0 if sounding else rested + 1
            time, step = time + length, step + 1

    def on_scale(self, degree: int) -> int:
        octave, place = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[place]

    def place(self, midi: int) -> tuple[int, int]:
        """A (string, fret) for a pitch, near the hand."""
        frets = [midi - open_string for open_string in self.tuning]
        reachable = [s for s, f in enumerate(frets) if 0 <= f <= 22]
        if not reachable:
            return (0, 0) if midi < self.tuning[0] else (len(self.tuning) - 1, 22)
        string = min(reachable, key=lambda s: abs(frets[s] - self.fret - 1.5))
        return string, frets[string]


def _velocities(hand: _Hand) -> Iterator[float]:
    """How hard each stroke is, about one dynamic."""
    base, spread = hand.rng.uniform(0.35, 1.0), hand.rng.uniform(0.02, 0.2)
    while True:
        yield float(np.clip(hand.rng.normal(base, spread), 0.12, 1.0))


def _melody(hand: _Hand) -> Iterator[int]:
    """Pitches of a random walk on the scale, within reach of the hand."""
    degree = int(hand.rng.integers(0, 2 * len(hand.scale)))
    low, high = hand.tuning[0], hand.tuning[-1] + min(hand.fret + 5, 22)
    while True:
        midi = hand.on_scale(degree)
        if low <= midi <= high:
            yield midi
        step = int(hand.rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
        degree += step if low <= midi <= high else (1 if midi < low else -1) * len(hand.scale)


def _stop_when_replucked(strokes: list[Stroke]) -> list[Stroke]:
    """Each stroke ends no later than the next one on any of its strings begins."""
    strokes = sorted(strokes, key=lambda s: s.onset_seconds)
    out: list[Stroke] = []
    next_onset: dict[int, float] = {}
    for stroke in reversed(strokes):
        limit = min((next_onset.get(s, np.inf) for s, _ in stroke.frets)) - stroke.onset_seconds
        duration = float(max(min(stroke.duration_seconds, limit), 0.03))
        out.append(replace(stroke, duration_seconds=duration))
        next_onset.update({s: stroke.onset_seconds for s, _ in stroke.frets})
    return out[::-1]


STANDARD_TUNING = (40, 45, 50, 55, 59, 64)

_SCALES = (
    (0, 3, 5, 7, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 9, 10),
)
# One letter a string from the lowest up: a fret, or x for a string that is not played.
# fmt: off
_OPEN_CHORDS = (
    "022100", "022000", "020100", "x02220", "x02210", "x02020", "xx0232", "xx0231", "xx0212",
    "320003", "320033", "x32010", "x32030", "x02000", "x21202", "xx3211", "x20230", "x32033",
    "xx0230", "x00230",
)
_MOVABLE_CHORDS = (
    "133211", "133111", "131211", "x13331", "x13321", "x13121", "x1x222", "1x221x", "1x111x",
    "xx1232", "xxx121", "xx3211", "1x2210", "x12122",
)
# fmt: on
_NATURAL_HARMONICS = (2, 2, 3, 3, 4, 5)


def _timed(hand: _Hand, weights: dict[float, float], rest: float = 0.08) -> Iterator[tuple]:
    """(onset, duration, velocity), slot after slot."""
    for slot, velocity in zip(hand.slots(weights, rest), _velocities(hand), strict=False):
        yield *slot, velocity


def _melodic(hand: _Hand, weights: dict[float, float], rest: float = 0.08) -> Iterator[tuple]:
    """(onset, duration, MIDI number, velocity) of a melody, slot after slot."""
    melodies = zip(hand.slots(weights, rest), _melody(hand), _velocities(hand), strict=False)
    for slot, midi, velocity in melodies:
        yield *slot, midi, velocity


def _line(hand: _Hand, weights: dict[float, float] | None = None) -> list[Stroke]:
    weights = weights or hand.pick(
        ({0.5: 3, 1: 2, 0.25: 1}, {1: 2, 2: 1, 0.5: 1}, {0.5: 1}, {1 / 3: 2, 1: 1})
    )
    articulation = hand.articulation()
    mute = float(hand.rng.uniform(0.2, 0.6)) if hand.chance(0.15) else 0.0
    return [
        Stroke(onset, length * articulation, (hand.place(midi),), velocity, mute=mute)
        for onset, length, midi, velocity in _melodic(hand, weights)
    ]


def _run(hand: _Hand) -> list[Stroke]:
    return _line(hand, hand.pick(({0.25: 1}, {1 / 3: 1}, {0.25: 3, 0.5: 1})))


def _expressive(hand: _Hand) -> list[Stroke]:
    """A line whose longer notes are bent, slid into or shaken."""
    strokes = _line(hand, {1: 2, 2: 1, 0.5: 1})
    vibrato = (float(hand.rng.uniform(4, 7.5)), float(hand.rng.uniform(5, 60)))
    out = []
    for stroke in strokes:
        start, rise = float(hand.rng.uniform(0, 0.12)), float(hand.rng.uniform(0.04, 0.25))
        amount = float(hand.pick((1, 2, 2, 0.5, 3)))
        kind = hand.pick(("bend", "bend", "prebend", "slide", "slide", "vibrato", "plain"))
        steps = int(hand.pick((-5, -3, -2, -1, 1, 2, 2, 3, 5)))
        if kind == "bend" and hand.chance(0.4):
            back = start + rise + float(hand.rng.uniform(0.05, 0.3))
            bend = ((start, 0.0), (start + rise, amount), (back, amount), (back + rise, 0.0))
        elif kind == "slide":
            stairs = np.arange(abs(steps) + 1) * np.sign(steps) - steps
            bend = tuple((start + rise * k / len(stairs), float(s)) for k, s in enumerate(stairs))
        elif kind == "bend":
            bend = ((start, 0.0), (start + rise, amount))
        elif kind == "prebend":
            bend = ((start, amount), (start + rise, 0.0))
        else:
            bend = ()
        shaken = vibrato if kind == "vibrato" or hand.chance(0.3) else (0.0, 0.0)
        out.append(replace(stroke, bend=bend, vibrato=shaken, mute=0.0))
    return out


def _sustain(hand: _Hand) -> list[Stroke]:
    vibrato = (0.0, 0.0)
    if hand.chance(0.4):
        vibrato = (float(hand.rng.uniform(4, 7)), float(hand.rng.uniform(3, 40)))
    return [
        Stroke(onset, length, (hand.place(midi),), velocity, vibrato=vibrato)
        for onset, length, midi, velocity in _melodic(hand, {2: 1, 4: 2, 6: 1}, 0)
    ]


def _power_frets(hand: _Hand, fret: int) -> tuple[tuple[int, int], ...]:
    string = int(hand.rng.integers(0, 3))
    shape = ((string, fret), (string + 1, fret + 2), (string + 2, fret + (3 if string == 2 else 2)))
    return shape[: 2 + hand.chance(0.6)]


def _power(hand: _Hand) -> list[Stroke]:
    weights = hand.pick(({2: 2, 1: 1}, {1: 2, 0.5: 1}, {4: 1}, {0.5: 1}))
    strokes, frets, held = [], _power_frets(hand, hand.fret % 10), hand.articulation()
    for onset, length, velocity in _timed(hand, weights):
        if hand.chance(0.5):
            fret = int(np.clip(hand.fret % 10 + hand.pick((-2, 0, 0, 3, 5)), 0, 15))
            frets = _power_frets(hand, fret)
        spread = float(hand.rng.uniform(0.001, 0.02))
        strokes.append(Stroke(onset, length * held, frets, velocity, spread))
    return strokes


def _riff(hand: _Hand) -> list[Stroke]:
    """Palm-muted low notes with accents left to ring."""
    weights = hand.pick(({0.25: 1}, {0.5: 2, 0.25: 1}, {0.25: 2, 0.5: 1}, {1 / 3: 1}))
    mute, accents = float(hand.rng.uniform(0.3, 0.8)), float(hand.rng.uniform(0.1, 0.5))
    pedal = (0, int(hand.pick((0, 0, 0, hand.fret % 8))))
    strokes = []
    for onset, length, midi, velocity in _melodic(hand, weights):
        if hand.chance(accents):
            power = hand.chance(0.5)
            frets = _power_frets(hand, hand.fret % 8) if power else (hand.place(midi - 12),)
            strokes.append(Stroke(onset, length * 0.95, frets, min(velocity * 1.2, 1), 0.004))
        else:
            strokes.append(Stroke(onset, length, (pedal,), velocity, mute=mute))
    return strokes


def _chord_frets(hand: _Hand) -> tuple[tuple[int, int], ...]:
    movable = hand.chance(0.5)
    shape = hand.pick(_MOVABLE_CHORDS if movable else _OPEN_CHORDS)
    shift = int(hand.rng.integers(0, 9)) if movable else 0
    frets = tuple((s, int(f) + shift) for s, f in enumerate(shape) if f != "x")
    return frets if hand.chance(0.7) else frets[int(hand.rng.integers(0, 2)) :]


def _chords(hand: _Hand) -> list[Stroke]:
    strokes, fingered, held = [], hand.chance(0.4), hand.articulation()
    for onset, length, velocity in _timed(hand, {4: 1, 2: 2, 1: 1}):
        spread = float(hand.rng.uniform(0, 0.008) if fingered else hand.rng.uniform(0.01, 0.12))
        strokes.append(Stroke(onset, length * held, _chord_frets(hand), velocity, spread))
    return strokes


def _strum(hand: _Hand) -> list[Stroke]:
    """Down and up strokes over a chord, some of them on dead strings."""
    dead = float(hand.pick((0, 0, 0.15, 0.4)))
    weights = hand.pick(({0.5: 1}, {1: 1, 0.5: 2}, {0.5: 2, 0.25: 1}))
    strokes, frets, base = [], _chord_frets(hand), float(hand.rng.uniform(0.01, 0.04))
    for index, (onset, length, velocity) in enumerate(_timed(hand, weights)):
        if index % 4 == 0 and hand.chance(0.4):
            frets = _chord_frets(hand)
        up = index % 2 == 1
        played = frets[::-1][: int(hand.rng.integers(3, 6))] if up else frets
        mute = 1.0 if hand.chance(dead) else 0.0
        spread = base * float(hand.rng.uniform(0.7, 1.4))
        strokes.append(Stroke(onset, length, played, velocity * (0.75 if up else 1), spread, mute))
    return strokes


def _arpeggio(hand: _Hand) -> list[Stroke]:
    weights = hand.pick(({0.5: 1}, {1 / 3: 1}, {0.25: 1}, {0.5: 2, 1: 1}))
    frets = _chord_frets(hand)
    order = [*range(len(frets)), *range(len(frets) - 2, 0, -1)]
    order = list(hand.rng.permutation(order)) if hand.chance(0.4) else order
    strokes, ring = [], float(hand.rng.uniform(1.5, 6))
    for index, (onset, length, velocity) in enumerate(_timed(hand, weights, 0.03)):
        strokes.append(Stroke(onset, length * ring, (frets[order[index % len(order)]],), velocity))
    return strokes


def _double_stops(hand: _Hand) -> list[Stroke]:
    interval, held = int(hand.pick((2, 2, 3, 4, 5))), hand.articulation()
    strokes = []
    for onset, length, midi, velocity in _melodic(hand, {1: 2, 0.5: 2, 2: 1}):
        low = hand.place(midi)
        upper = midi + int(hand.pick((3, 4, 5, 7))) if interval < 4 else midi + interval + 4
        string = min(low[0] + 1 + (interval >= 4), len(hand.tuning) - 1)
        fret = upper - hand.tuning[string]
        pair = (low, (string, fret)) if string != low[0] and 0 <= fret <= 22 else (low,)
        spread = float(hand.rng.uniform(0, 0.012))
        strokes.append(Stroke(onset, length * held, pair, velocity, spread))
    return strokes


def _harmonics(hand: _Hand) -> list[Stroke]:
    strokes = []
    for onset, length, velocity in _timed(hand, {1: 2, 2: 1, 0.5: 1}):
        frets = ((int(hand.rng.integers(len(hand.tuning))), 0),)
        number = int(hand.pick(_NATURAL_HARMONICS))
        ring = length * float(hand.pick((1, 2, 3)))
        strokes.append(Stroke(onset, ring, frets, velocity, harmonic=number))
    return strokes


# Each style with its odds.
_PLAYERS: dict[str, tuple[Callable[[_Hand], list[Stroke]], float]] = {
    "line": (_line, 4),
    "run": (_run, 1.5),
    "expressive": (_expressive, 2.5),
    "sustain": (_sustain, 2),
    "power": (_power, 2),
    "riff": (_riff, 2),
    "chords": (_chords, 3),
    "strum": (_strum, 2.5),
    "arpeggio": (_arpeggio, 3),
    "double_stops": (_double_stops, 1.5),
    "harmonics": (_harmonics, 0.7),
}
STYLES: tuple[str, ...] = tuple(_PLAYERS)


def play(
    rng: np.random.Generator, style: str | None, seconds: float, tuning: tuple[int, ...]
) -> list[Stroke]:
    """Strokes of a style in order of onset; the first often begins before time zero."""
    if style is None:
        odds = np.array([odds for _, odds in _PLAYERS.values()])
        style = STYLES[int(rng.choice(len(STYLES), p=odds / odds.sum()))]
    if style not in _PLAYERS:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
    hand = _Hand(
        rng=rng,
        seconds=seconds,
        beat_seconds=60 / float(rng.triangular(65, 120, 210)),
        fret=int(rng.integers(0, 15)),
        scale=_SCALES[int(rng.integers(len(_SCALES)))],
        root=tuning[0] + int(rng.integers(0, 24)),
        tuning=tuning,
        looseness_seconds=float(rng.uniform(0, 0.015)),
    )
    strokes = _stop_when_replucked(_PLAYERS[style][0](hand))
    latest = max(seconds - 0.1, 0.05)
    if not any(-0.3 < s.onset_seconds < latest or s.duration_seconds > 1 for s in strokes):
        onset = float(rng.uniform(-0.2, 0.3)) * min(seconds, 1)
        strokes.append(Stroke(onset, seconds, (hand.place(hand.root),)))
    return [s for s in strokes if s.onset_seconds + s.duration_seconds > 0]
