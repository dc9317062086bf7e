"""The two hands of a guitarist: what a stroke is, and how time, pitch and force are drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Stroke:
    """One stroke of the picking hand: one note or a chord.

    Attributes:
        onset_seconds: when it begins; negative if it began before the phrase.
        duration_seconds: until the strings are damped.
        frets: (string, fret) in the order in which the pick meets them; string 0 is the lowest.
        velocity: 0 to 1.
        spread_seconds: from the first string to the last.
        mute: 0 rings freely, about 0.6 is a palm mute, 1 a dead string.
        harmonic: 1 a normal note, n the n-th natural harmonic.
        bend: (seconds after the onset, semitones) pairs in ascending time; empty for a steady pitch.
        vibrato: (rate in Hz, depth in cents).
    """

    onset_seconds: float
    duration_seconds: float
    frets: tuple[tuple[int, int], ...]
    velocity: float = 0.8
    spread_seconds: float = 0.0
    mute: float = 0.0
    harmonic: int = 1
    bend: tuple[tuple[float, float], ...] = ()
    vibrato: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Hand:
    """Where and how fast one phrase is played, and the dice that decide what."""

    rng: np.random.Generator
    seconds: float
    beat_seconds: float
    fret: int
    scale: tuple[int, ...]
    root: int
    tuning: tuple[int, ...]
    looseness_seconds: float

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.rng.integers(len(options)))]

    def articulation(self) -> float:
        """How much of its slot a note fills: often nearly all of it, sometimes less than half."""
        return float(
            self.rng.uniform(0.25, 0.7) if self.chance(0.35) else self.rng.uniform(0.7, 1.0)
        )

    def slots(
        self, weights: dict[float, float], rest: float = 0.08
    ) -> Iterator[tuple[float, float]]:
        """(onset, duration) one after another, from before time zero to the end; lengths in beats, by weight."""
        lengths, odds = np.array(list(weights)), np.array(list(weights.values()))
        bar = (
            self.rng.choice(lengths, size=int(self.rng.integers(2, 9)), p=odds / odds.sum())
            * self.beat_seconds
        )
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
        """MIDI number of a degree of the scale, counted from the root through the octaves."""
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


def velocities(hand: Hand) -> Iterator[float]:
    """How hard each stroke is, about one dynamic."""
    base, spread = hand.rng.uniform(0.35, 1.0), hand.rng.uniform(0.02, 0.2)
    while True:
        yield float(np.clip(hand.rng.normal(base, spread), 0.12, 1.0))


def melody(hand: Hand) -> Iterator[int]:
    """Pitches of a random walk on the scale, within reach of the hand."""
    degree = int(hand.rng.integers(0, 2 * len(hand.scale)))
    low, high = hand.tuning[0], hand.tuning[-1] + min(hand.fret + 5, 22)
    while True:
        midi = hand.on_scale(degree)
        if low <= midi <= high:
            yield midi
        step = int(hand.rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
        degree += step if low <= midi <= high else (1 if midi < low else -1) * len(hand.scale)


def stop_when_replucked(strokes: list[Stroke]) -> list[Stroke]:
    """Each stroke ends no later than the next one on any of its strings begins."""
    strokes = sorted(strokes, key=lambda s: s.onset_seconds)
    out: list[Stroke] = []
    next_onset: dict[int, float] = {}
    for stroke in reversed(strokes):
        limit = min((next_onset.get(s, np.inf) for s, _ in stroke.frets)) - stroke.onset_seconds
        out.append(
            replace(stroke, duration_seconds=float(max(min(stroke.duration_seconds, limit), 0.03)))
        )
        next_onset.update({s: stroke.onset_seconds for s, _ in stroke.frets})
    return out[::-1]
