"""What a guitarist plays in two seconds: seeded strokes on strings and frets, still without sound."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from labkit.signal.strokes import Hand, Stroke, melody, stop_when_replucked, velocities

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
    "022100", "022000", "020100", "x02220", "x02210", "x02020", "xx0232", "xx0231", "xx0212", "320003",
    "320033", "x32010", "x32030", "x02000", "x21202", "xx3211", "x20230", "x32033", "xx0230", "x00230",
)
_MOVABLE_CHORDS = (
    "133211", "133111", "131211", "x13331", "x13321", "x13121", "x1x222", "1x221x", "1x111x", "xx1232",
    "xxx121", "xx3211", "1x2210", "x12122",
)
# fmt: on
_NATURAL_HARMONICS = (2, 2, 3, 3, 4, 5)


def _line(hand: Hand, weights: dict[float, float] | None = None) -> list[Stroke]:
    weights = weights or hand.pick(
        ({0.5: 3, 1: 2, 0.25: 1}, {1: 2, 2: 1, 0.5: 1}, {0.5: 1}, {1 / 3: 2, 1: 1})
    )
    articulation = hand.articulation()
    mute = float(hand.rng.uniform(0.2, 0.6)) if hand.chance(0.15) else 0.0
    strokes = []
    for (onset, length), midi, velocity in zip(
        hand.slots(weights), melody(hand), velocities(hand), strict=False
    ):
        strokes.append(
            Stroke(onset, length * articulation, (hand.place(midi),), velocity, mute=mute)
        )
    return strokes


def _run(hand: Hand) -> list[Stroke]:
    return _line(hand, hand.pick(({0.25: 1}, {1 / 3: 1}, {0.25: 3, 0.5: 1})))


def _expressive(hand: Hand) -> list[Stroke]:
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
        else:
            bend = {
                "bend": ((start, 0.0), (start + rise, amount)),
                "prebend": ((start, amount), (start + rise, 0.0)),
            }
            bend = bend.get(kind, ())
        shaken = vibrato if kind == "vibrato" or hand.chance(0.3) else (0.0, 0.0)
        out.append(replace(stroke, bend=bend, vibrato=shaken, mute=0.0))
    return out


def _sustain(hand: Hand) -> list[Stroke]:
    vibrato = (
        (float(hand.rng.uniform(4, 7)), float(hand.rng.uniform(3, 40)))
        if hand.chance(0.4)
        else (0.0, 0.0)
    )
    strokes = []
    for (onset, length), midi, velocity in zip(
        hand.slots({2: 1, 4: 2, 6: 1}, 0), melody(hand), velocities(hand), strict=False
    ):
        frets = (hand.place(midi),)
        strokes.append(Stroke(onset, length, frets, velocity, vibrato=vibrato))
    return strokes


def _power_frets(hand: Hand, fret: int) -> tuple[tuple[int, int], ...]:
    string = int(hand.rng.integers(0, 3))
    shape = ((string, fret), (string + 1, fret + 2), (string + 2, fret + (3 if string == 2 else 2)))
    return shape[: 2 + hand.chance(0.6)]


def _power(hand: Hand) -> list[Stroke]:
    weights = hand.pick(({2: 2, 1: 1}, {1: 2, 0.5: 1}, {4: 1}, {0.5: 1}))
    strokes, frets, held = [], _power_frets(hand, hand.fret % 10), hand.articulation()
    for (onset, length), velocity in zip(hand.slots(weights), velocities(hand), strict=False):
        if hand.chance(0.5):
            frets = _power_frets(
                hand, int(np.clip(hand.fret % 10 + hand.pick((-2, 0, 0, 3, 5)), 0, 15))
            )
        spread = float(hand.rng.uniform(0.001, 0.02))
        strokes.append(Stroke(onset, length * held, frets, velocity, spread))
    return strokes


def _riff(hand: Hand) -> list[Stroke]:
    """Palm-muted low notes with accents left to ring."""
    weights = hand.pick(({0.25: 1}, {0.5: 2, 0.25: 1}, {0.25: 2, 0.5: 1}, {1 / 3: 1}))
    mute, accents = float(hand.rng.uniform(0.3, 0.8)), float(hand.rng.uniform(0.1, 0.5))
    pedal = (0, int(hand.pick((0, 0, 0, hand.fret % 8))))
    strokes = []
    for (onset, length), midi, velocity in zip(
        hand.slots(weights), melody(hand), velocities(hand), strict=False
    ):
        if hand.chance(accents):
            frets = (
                _power_frets(hand, hand.fret % 8) if hand.chance(0.5) else (hand.place(midi - 12),)
            )
            strokes.append(Stroke(onset, length * 0.95, frets, min(velocity * 1.2, 1), 0.004))
        else:
            strokes.append(Stroke(onset, length, (pedal,), velocity, mute=mute))
    return strokes


def _chord_frets(hand: Hand) -> tuple[tuple[int, int], ...]:
    movable = hand.chance(0.5)
    shape = hand.pick(_MOVABLE_CHORDS if movable else _OPEN_CHORDS)
    shift = int(hand.rng.integers(0, 9)) if movable else 0
    frets = tuple((s, int(f) + shift) for s, f in enumerate(shape) if f != "x")
    return frets if hand.chance(0.7) else frets[int(hand.rng.integers(0, 2)) :]


def _chords(hand: Hand) -> list[Stroke]:
    strokes, fingered, held = [], hand.chance(0.4), hand.articulation()
    for (onset, length), velocity in zip(
        hand.slots({4: 1, 2: 2, 1: 1}), velocities(hand), strict=False
    ):
        spread = float(hand.rng.uniform(0, 0.008) if fingered else hand.rng.uniform(0.01, 0.12))
        strokes.append(Stroke(onset, length * held, _chord_frets(hand), velocity, spread))
    return strokes


def _strum(hand: Hand) -> list[Stroke]:
    """Down and up strokes over a chord, some of them on dead strings."""
    dead, weights = (
        float(hand.pick((0, 0, 0.15, 0.4))),
        hand.pick(({0.5: 1}, {1: 1, 0.5: 2}, {0.5: 2, 0.25: 1})),
    )
    strokes, frets, base = [], _chord_frets(hand), float(hand.rng.uniform(0.01, 0.04))
    for index, ((onset, length), velocity) in enumerate(
        zip(hand.slots(weights), velocities(hand), strict=False)
    ):
        if index % 4 == 0 and hand.chance(0.4):
            frets = _chord_frets(hand)
        up = index % 2 == 1
        played = frets[::-1][: int(hand.rng.integers(3, 6))] if up else frets
        mute = 1.0 if hand.chance(dead) else 0.0
        spread = base * float(hand.rng.uniform(0.7, 1.4))
        strokes.append(Stroke(onset, length, played, velocity * (0.75 if up else 1), spread, mute))
    return strokes


def _arpeggio(hand: Hand) -> list[Stroke]:
    weights = hand.pick(({0.5: 1}, {1 / 3: 1}, {0.25: 1}, {0.5: 2, 1: 1}))
    frets = _chord_frets(hand)
    order = [*range(len(frets)), *range(len(frets) - 2, 0, -1)]
    order = list(hand.rng.permutation(order)) if hand.chance(0.4) else order
    strokes, ring = [], float(hand.rng.uniform(1.5, 6))
    for index, ((onset, length), velocity) in enumerate(
        zip(hand.slots(weights, 0.03), velocities(hand), strict=False)
    ):
        strokes.append(Stroke(onset, length * ring, (frets[order[index % len(order)]],), velocity))
    return strokes


def _double_stops(hand: Hand) -> list[Stroke]:
    interval, held = int(hand.pick((2, 2, 3, 4, 5))), hand.articulation()
    strokes = []
    for (onset, length), midi, velocity in zip(
        hand.slots({1: 2, 0.5: 2, 2: 1}), melody(hand), velocities(hand), strict=False
    ):
        low = hand.place(midi)
        upper = midi + int(hand.pick((3, 4, 5, 7))) if interval < 4 else midi + interval + 4
        string = min(low[0] + 1 + (interval >= 4), len(hand.tuning) - 1)
        fret = upper - hand.tuning[string]
        pair = (low, (string, fret)) if string != low[0] and 0 <= fret <= 22 else (low,)
        strokes.append(
            Stroke(onset, length * held, pair, velocity, float(hand.rng.uniform(0, 0.012)))
        )
    return strokes


def _harmonics(hand: Hand) -> list[Stroke]:
    strokes = []
    for (onset, length), velocity in zip(
        hand.slots({1: 2, 2: 1, 0.5: 1}), velocities(hand), strict=False
    ):
        frets = ((int(hand.rng.integers(len(hand.tuning))), 0),)
        number = int(hand.pick(_NATURAL_HARMONICS))
        strokes.append(
            Stroke(onset, length * float(hand.pick((1, 2, 3))), frets, velocity, harmonic=number)
        )
    return strokes


_PLAYERS: dict[str, Callable[[Hand], list[Stroke]]] = {
    "line": _line,
    "run": _run,
    "expressive": _expressive,
    "sustain": _sustain,
    "power": _power,
    "riff": _riff,
    "chords": _chords,
    "strum": _strum,
    "arpeggio": _arpeggio,
    "double_stops": _double_stops,
    "harmonics": _harmonics,
}
_ODDS = (4, 1.5, 2.5, 2, 2, 2, 3, 2.5, 3, 1.5, 0.7)

STYLES: tuple[str, ...] = tuple(_PLAYERS)


def draw_style(rng: np.random.Generator) -> str:
    """One of `STYLES`, the common ones more often."""
    return STYLES[int(rng.choice(len(STYLES), p=np.array(_ODDS) / sum(_ODDS)))]


def play(
    rng: np.random.Generator,
    style: str,
    *,
    seconds: float,
    tuning: tuple[int, ...] = STANDARD_TUNING,
) -> list[Stroke]:
    """Strokes that fill a stretch of time; the first often begins before time zero, as in a crop of a recording.

    Args:
        rng: source of every choice.
        style: one of `STYLES`.
        seconds: length of the stretch, > 0.
        tuning: MIDI numbers of the open strings, from the lowest; six of them.

    Returns:
        At least one stroke that sounds within the stretch, in order of onset.

    Raises:
        ValueError: if `style` is unknown.
    """
    if style not in _PLAYERS:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
    hand = Hand(
        rng=rng,
        seconds=seconds,
        beat_seconds=60 / float(rng.triangular(65, 120, 210)),
        fret=int(rng.integers(0, 15)),
        scale=_SCALES[int(rng.integers(len(_SCALES)))],
        root=tuning[0] + int(rng.integers(0, 24)),
        tuning=tuning,
        looseness_seconds=float(rng.uniform(0, 0.015)),
    )
    strokes = stop_when_replucked(_PLAYERS[style](hand))
    heard = [
        s
        for s in strokes
        if -0.3 < s.onset_seconds < max(seconds - 0.1, 0.05) or s.duration_seconds > 1
    ]
    if not heard:
        early = Stroke(
            float(rng.uniform(-0.2, 0.3)) * min(seconds, 1), seconds, (hand.place(hand.root),)
        )
        strokes.append(early)
    return [s for s in strokes if s.onset_seconds + s.duration_seconds > 0]
