"""The words and figures of a sentence as the settings of a preset."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from labkit.systems.text.grammar import COLOUR_DB, Figure
from labkit.systems.text.lexicon import ANCHORS_HZ, Item, vocabulary, words
from labkit.systems.text.preset import (
    BANDS_HZ,
    PEDALS,
    SPACES,
    Preset,
    clipped,
    fitted_gains_db,
    response_db,
)

_LEAST_MOVE = 0.6  # of a timbre that moves: less is below 1 dB
_RELATIVE_STEP = 0.7  # of "more" and of comparatives, in the unit of a whole word
_MAX_EQ_DB = 14.0
# The lexicon exaggerates, by as much as two corpora of people's settings say.
STRENGTH = 0.6


def wanted_eq_db(items: Sequence[Item]) -> np.ndarray:
    """(40,) dB at `BANDS_HZ`: the sum of what the items ask for, at most 14 dB either way.

    Timbres that are named together overlap: where n of them ask for more, they count as the root
    of n, and so where they ask for less.
    """

    def asked(some: Iterable[Item]) -> np.ndarray:
        rows = [i.weight * np.array(i.meaning.eq_db) for i in some if not i.off]
        return np.array(rows).reshape(-1, len(ANCHORS_HZ))  # "no distortion" is no wish for a tone

    named = asked(i for i in items if i.weight > 0 and not i.relative)
    total = asked(i for i in items if i.weight <= 0 or i.relative).sum(0)
    for part in (named.clip(min=0), named.clip(max=0)):
        total += part.sum(0) / np.maximum(1, (part != 0).sum(0)) ** 0.5
    at_hz = np.log(np.array(BANDS_HZ, float))
    curve = np.interp(at_hz, np.log(ANCHORS_HZ), total)
    return np.clip(STRENGTH * curve, -_MAX_EQ_DB, _MAX_EQ_DB)


def preset_of(
    items: Sequence[Item], current: Preset | None = None, *, level_db: float = -20.0
) -> Preset:
    """The preset that the lexicon alone gives to the items of `parse`, or the present one moved.

    A compressor's threshold counts from `level_db`, the RMS of the audio in dBFS.
    """
    if current is not None:
        items = [replace(i, weight=_moves(i)) for i in items]
    current = current or Preset()
    gains = fitted_gains_db(wanted_eq_db(items))
    semitones = sum(item.weight * item.meaning.semitones for item in items)
    pitch = clipped(SPACES["pitch"]["semitones"], current.pitch["semitones"] + semitones)
    moved = [b.louder(gain) for b, gain in zip(current.eq[: len(gains)], gains, strict=True)]
    return Preset(
        (*moved, *current.eq[len(gains) :]),
        {"semitones": pitch},
        _moved_distortion(items, current.distortion),
        _moved_compressor(items, current.compressor, level_db),
        _moved_reverb(items, current.reverb),
        current.pedals,
    )


def _moves(item: Item) -> float:
    """The weight of a word that moves settings."""
    # More treble is a whole step, as the bands of a desk are moved; brighter is less.
    step = _RELATIVE_STEP if item.relative and item.word not in words()["band_names"] else 1.0
    least = _LEAST_MOVE if item.relative and item.meaning.has_tone else 0.0
    return step * math.copysign(max(abs(item.weight), least), item.weight)


def with_figures(
    preset: Preset, figures: Sequence[Figure], start: Preset | None, *, level_db: float = -20.0
) -> Preset:
    """A preset with the stated settings; gains are met as the whole equaliser's.

    They count from the equaliser of `start`, or from a flat one.
    """
    for figure in figures:
        if figure.effect in PEDALS:
            pedals = dict(preset.pedals)
            present = pedals.pop(figure.effect, None)
            begun = bool(start and present) and present == start.pedals.get(figure.effect)
            if (knobs := _pedal(figure, present, begun=begun)) is not None:
                pedals[figure.effect] = knobs
            preset = replace(preset, pedals=pedals)
        elif figure.effect != "eq":
            base = dict(getattr(preset, figure.effect))
            if figure.effect == "compressor" and base["ratio"] == 1:
                asked = [Item("compressed", vocabulary()["compressed"])]
                base = _moved_compressor(asked, base, level_db)
            if figure.effect == "reverb" and base["wet"] == 0 and not figure.relative:
                base["wet"] = 0.35
            factors = {k: base[k] * v for k, v in figure.knobs.items()} if figure.relative else {}
            if figure.effect == "pitch":
                moved = base["semitones"] + figure.knobs["semitones"]
                factors = {"semitones": clipped(SPACES["pitch"]["semitones"], moved)}
            preset = replace(preset, **{figure.effect: {**base, **figure.knobs, **factors}})
    stated = [figure for figure in figures if figure.effect == "eq"]
    if not stated:
        return preset
    fixed = [b for f in stated if not f.at_hz for b in f.bands]
    bells = [b for f in stated if f.at_hz for b in f.bands]
    at_hz = np.array([f.at_hz for f in stated if f.at_hz])
    wanted = np.array([b.gain_db for b in bells])
    if start is not None:
        wanted = wanted + response_db(start.eq, at_hz)
    for _ in range(30):  # bands overlap: each takes what the others leave
        total = response_db((*preset.eq, *fixed, *bells), at_hz)
        bells = [b.louder(0.7 * e) for b, e in zip(bells, wanted - total, strict=True)]
    return replace(preset, eq=(*preset.eq, *fixed, *bells))


def _pedal(
    figure: Figure, present: Mapping[str, float] | None, *, begun: bool
) -> dict[str, float] | None:
    """The knobs of a pedal after a figure; None takes it away. `begun`: it was there at first."""
    plain = words()["pedals"].get(figure.effect, {"knobs": {"gain_db": 0.0}})["knobs"]
    if figure.relative:
        if not figure.knobs or (present is None and min(figure.knobs.values()) < 1):
            return None
        if present is None:
            return dict(plain)
        ends = {k: max(present[k], 1.0 if k == "depth" else 0.9) for k in figure.knobs}
        return present | {k: min(ends[k], present[k] * v) for k, v in figure.knobs.items()}
    if figure.effect == "gain" and present:
        total_db = present["gain_db"] + figure.knobs["gain_db"]
        return {"gain_db": clipped(PEDALS["gain"]["gain_db"], total_db)}
    if begun and figure.knobs.keys() == plain.keys() and all(plain.values()):
        # "Make the tremolo faster": by how much the named pedal differs from the usual one.
        space = PEDALS[figure.effect]
        return {k: clipped(space[k], present[k] * figure.knobs[k] / plain[k]) for k in plain}
    return {**plain, **(present or {}), **figure.knobs}


def _moved_distortion(items: Sequence[Item], current: Mapping[str, float]) -> dict[str, float]:
    driven = [item for item in items if item.meaning.drive_db]
    if any(item.word == "clean" and item.weight > 0 for item in items):
        driven = [item for item in driven if item.meaning.drive_db >= COLOUR_DB]
    drive_db = current["drive_db"] + sum(item.weight * item.meaning.drive_db for item in driven)
    if any(item.off for item in driven):
        drive_db = 0.0
    colours = [item.meaning.colour for item in driven if item.weight > 0]
    colour = float(np.mean(colours)) if colours else current["colour"]
    return {"drive_db": clipped(SPACES["distortion"]["drive_db"], drive_db), "colour": colour}


def _moved_reverb(items: Sequence[Item], current: Mapping[str, float]) -> dict[str, float]:
    rooms = [item for item in items if item.meaning.room]
    reverb, max_wet = dict(current), SPACES["reverb"]["wet"].high
    if any(item.off for item in rooms):
        return {**reverb, "wet": 0.0}
    if wanted := [item for item in rooms if item.weight > 0]:
        # The wettest place gives the room its size; degrees scale the wet share.
        wettest = max(wanted, key=lambda item: item.weight * item.meaning.room[0])
        wet, size, damping, pre_delay_ms = wettest.meaning.room
        if not any(item.relative for item in rooms) or reverb["wet"] == 0:
            diffusion = 1.0 if pre_delay_ms < 60 else 0.4
            reverb |= {"room_size": size, "damping": damping, "diffusion": diffusion}
            reverb["pre_delay_ms"] = min(SPACES["reverb"]["pre_delay_ms"].high, pre_delay_ms)
        reverb["wet"] = min(max_wet, reverb["wet"] + wettest.weight * wet)
    less = sum(-item.weight for item in rooms if item.weight < 0)
    reverb["wet"] = min(max_wet, reverb["wet"] * (1 - min(0.9, 0.8 * less)))
    return reverb


def _moved_compressor(
    items: Sequence[Item], current: Mapping[str, float], level_db: float
) -> dict[str, float]:
    knobs, moved = SPACES["compressor"], dict(current)
    asked = [item for item in items if item.meaning.compressor]
    if any(item.off and not item.meaning.has_tone for item in asked):
        return {**moved, "ratio": 1.0}
    # Weaker or stronger in the logarithm, so that the opposite undoes it; the strongest counts.
    sizes = [item.weight * math.log(item.meaning.compressor[1]) for item in asked]
    change = max([0.0, *sizes]) + min([0.0, *sizes])
    if change > 0 and all(item.meaning.has_tone for item in asked):
        # A timbre, as "tighter", asks for little more than its own ratio.
        change = max(0.3 * change, change - math.log(moved["ratio"]))
    moved["ratio"] = clipped(knobs["ratio"], moved["ratio"] * math.exp(change))
    for item in asked:
        below_db, _, attack_ms, release_ms = item.meaning.compressor
        if item.weight > 0:
            threshold_db = level_db - below_db * min(item.weight, 1.5)
            moved["threshold_db"] = clipped(knobs["threshold_db"], threshold_db)
            moved |= {"attack_ms": attack_ms, "release_ms": release_ms}
    return moved
