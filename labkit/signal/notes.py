"""Notes for recorded instruments: what a player would do with a keyboard of one, drawn from a generator.

The music is beside the point; what matters is that attacks, gaps, densities, chords, bends and levels vary as
widely as they do in recordings, because every effect reacts to them.
"""

from dataclasses import dataclass

import numpy as np

_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 4, 7, 9),
    (0, 2, 3, 5, 7, 9, 10),
)
_CHORDS = (
    (0, 7, 12, 16, 19, 24),
    (0, 7, 12, 15, 19, 24),
    (0, 7, 12),
    (0, 7, 10, 16, 19),
    (0, 7, 11, 16),
    (0, 5, 12, 17, 19),
    (0, 4, 7, 12),
    (0, 3, 7, 10),
)
_INTERVALS = (3, 4, 5, 7, 8, 9, 12)
_STYLES = {
    "guitar": {"line": 4, "riff": 2, "strum": 4, "arpeggio": 3, "double": 2, "held": 1, "chug": 2},
    "bass": {"line": 4, "riff": 4, "chug": 2, "held": 1, "double": 1},
    "plucked": {"line": 4, "riff": 2, "strum": 2, "arpeggio": 3, "double": 2, "held": 1},
    "keys": {"line": 3, "riff": 2, "strum": 3, "arpeggio": 3, "double": 2, "held": 1, "chug": 1},
    "mallet": {"line": 4, "riff": 2, "arpeggio": 2, "double": 2, "chug": 1},
    "bowed": {"line": 4, "riff": 1, "double": 2, "held": 3},
    "wind": {"line": 5, "riff": 2, "held": 2},
}
FAMILIES = tuple(_STYLES)
_BENDING = {"guitar": 0.25, "bass": 0.15, "plucked": 0.1, "bowed": 0.2, "wind": 0.15}


@dataclass(frozen=True)
class Note:
    """One note: when it starts and how long the key is held (seconds), which MIDI key, how hard (1-127)."""

    start_seconds: float
    seconds: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Phrase:
    """Notes in order of time, and the pitch bend as `(seconds, semitones)` steps that hold until the next."""

    notes: tuple[Note, ...]
    bends: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class _Hand:
    """What stays the same through one phrase: register, scale, beat, touch."""

    low: int
    high: int
    root: int
    scale: tuple[int, ...]
    beat_seconds: float
    velocity: float
    length: float
    rests: float


def draw_phrase(
    rng: np.random.Generator, *, family: str, low: int, high: int, seconds: float
) -> Phrase:
    """Draw a phrase in one of the styles that suit an instrument.

    Args:
        rng: the stream to draw from.
        family: one of `FAMILIES`; decides styles and bends.
        low: lowest MIDI key, inclusive.
        high: highest MIDI key, inclusive, at least `low` + 12.
        seconds: how long to play, > 0; the last note may ring past it.

    Returns:
        At least one note; every key within `low` to `high`, every start within 0 to `seconds`.

    Raises:
        ValueError: an unknown family, less than an octave, or no time.
    """
    if family not in _STYLES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    if high - low < 12 or not seconds > 0:
        raise ValueError(
            f"an octave and some time are needed, got keys {low} to {high} and {seconds} s"
        )
    styles = _STYLES[family]
    weights = np.array(list(styles.values()), float)
    style = list(styles)[rng.choice(len(styles), p=weights / weights.sum())]
    hand = _Hand(
        low=low,
        high=high,
        root=low + int((high - 11 - low) * rng.beta(1.2, 2.8)),  # players live in the lower half
        scale=_SCALES[rng.integers(len(_SCALES))],
        beat_seconds=60.0 / rng.uniform(60, 180),
        velocity=rng.uniform(45, 115),
        length=rng.uniform(0.3, 1.1),
        rests=rng.choice([0.0, 0.1, 0.3], p=[0.4, 0.4, 0.2]),
    )
    notes = _PLAYERS[style](rng, hand, seconds)
    bending = style in ("line", "held") and rng.random() < _BENDING.get(family, 0.0)
    bends = _bends(rng, notes) if bending else ()
    return Phrase(tuple(sorted(notes, key=lambda note: note.start_seconds)), bends)


def _note(
    rng: np.random.Generator, hand: _Hand, start: float, seconds: float, key: int, accent: float = 0
) -> Note:
    key = int(key)
    while key > hand.high:
        key -= 12
    while key < hand.low:
        key += 12
    velocity = int(np.clip(round(hand.velocity + accent + rng.normal(0, 8)), 15, 127))
    return Note(max(0.0, float(start)), max(0.04, float(seconds)), key, velocity)


def _grid(
    rng: np.random.Generator, hand: _Hand, seconds: float, steps_beats: tuple[float, ...]
) -> list[tuple[float, float]]:
    """(start, step) pairs that fill the time, some left out as rests, starts as uneven as a hand."""
    slots, at = [], 0.0
    while at < seconds:
        step = steps_beats[rng.integers(len(steps_beats))] * hand.beat_seconds
        if not slots or rng.random() >= hand.rests:
            slots.append((float(np.clip(at + rng.normal(0, 0.006), 0, seconds)), step))
        at += step
    return slots


def _degree(hand: _Hand, degree: int) -> int:
    octave, step = divmod(degree, len(hand.scale))
    return hand.root + 12 * octave + hand.scale[step]


def _line(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    degree, notes = int(rng.integers(0, 8)), []
    for start, step in _grid(rng, hand, seconds, (0.25, 0.5, 0.5, 1.0, 1.0)):
        degree += int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
        notes.append(_note(rng, hand, start, step * hand.length, _degree(hand, degree)))
    return notes


def _held(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    slots = _grid(rng, hand, seconds, (2.0, 3.0, 4.0))
    degrees = rng.integers(0, 10, len(slots))
    return [
        _note(rng, hand, start, step * 1.1, _degree(hand, int(degree)))
        for (start, step), degree in zip(slots, degrees, strict=True)
    ]


def _riff(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    steps = rng.choice([0.25, 0.5, 0.5, 1.0], size=int(rng.integers(3, 8)))
    degrees = rng.choice([0, 0, 0, 2, 3, 4, 5, 7], size=len(steps))
    notes, at, turn = [], 0.0, 0
    while at < seconds:
        step = steps[turn % len(steps)] * hand.beat_seconds
        key = _degree(hand, int(degrees[turn % len(steps)]))
        accent = 12 if turn % len(steps) == 0 else 0
        start = min(at + abs(rng.normal(0, 0.004)), seconds)
        notes.append(_note(rng, hand, start, step * hand.length, key, accent))
        at, turn = at + step, turn + 1
    return notes


def _chord(rng: np.random.Generator, hand: _Hand) -> list[int]:
    shape = _CHORDS[rng.integers(len(_CHORDS))]
    base = int(rng.integers(hand.low, min(hand.low + 13, hand.high - 11)))
    return [base + offset for offset in shape if base + offset <= hand.high]


def _strum(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    keys, notes, spread = _chord(rng, hand), [], rng.uniform(0.002, 0.03)
    for start, step in _grid(rng, hand, seconds, (0.5, 1.0, 1.0, 2.0, 4.0)):
        if rng.random() < 0.35:
            keys = _chord(rng, hand)
        strings = keys if rng.random() < 0.6 else keys[::-1]  # down and up strokes
        for place, key in enumerate(strings):
            at = min(start + place * spread, seconds)
            notes.append(_note(rng, hand, at, step * hand.length, key, -place))
    return notes


def _arpeggio(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    keys, notes = _chord(rng, hand), []
    step, ring = rng.choice([0.25, 0.5, 0.5, 1.0]) * hand.beat_seconds, rng.uniform(0.8, 4.0)
    order = rng.permutation(len(keys)) if rng.random() < 0.5 else np.arange(len(keys))
    for turn in range(int(seconds / step) + 1):
        if turn and turn % len(keys) == 0 and rng.random() < 0.4:
            keys = (_chord(rng, hand) * 6)[: len(keys)]
        notes.append(_note(rng, hand, turn * step, step * ring, keys[order[turn % len(keys)]]))
    return notes


def _double(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    notes, interval = [], int(rng.choice(_INTERVALS))
    for start, step in _grid(rng, hand, seconds, (0.5, 1.0, 2.0)):
        key = _degree(hand, int(rng.integers(0, 7)))
        notes += [
            _note(rng, hand, start, step * hand.length, key + offset) for offset in (0, interval)
        ]
    return notes


def _chug(rng: np.random.Generator, hand: _Hand, seconds: float) -> list[Note]:
    shape = ((0,), (0, 7), (0, 7, 12))[rng.integers(3)]
    step, notes = rng.choice([0.25, 0.5]) * hand.beat_seconds, []
    root = hand.low + int(rng.integers(0, 8))
    for turn in range(int(seconds / step) + 1):
        if turn and rng.random() < hand.rests:
            continue
        accent, length = (10 if turn % 4 == 0 else -5), step * hand.length * 0.7
        notes += [_note(rng, hand, turn * step, length, root + offset, accent) for offset in shape]
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
        steps += [
            (note.start_seconds + float(t), float(c)) for t, c in zip(time, curve, strict=True)
        ]
        steps.append((note.start_seconds + float(time[-1]) + 0.012, 0.0))
    return tuple(sorted(steps, key=lambda step: step[0]))


_PLAYERS = {
    "line": _line,
    "held": _held,
    "riff": _riff,
    "strum": _strum,
    "arpeggio": _arpeggio,
    "double": _double,
    "chug": _chug,
}
