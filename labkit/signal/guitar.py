"""A seeded electric guitar: endless phrases, no two instruments alike, to train recognisers on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labkit.signal import strings
from labkit.signal.guitar_model import GuitarModel
from labkit.signal.guitar_rig import through_rig
from labkit.signal.phrases import STYLES, Stroke, draw_style, play
from labkit.signal.strings import PREROLL_SECONDS, Pluck
from labkit.signal.units import db_to_amplitude, midi_to_hz

__all__ = ["STYLES", "GuitarModel", "phrase", "pluck"]

_LONGEST_PAST_SECONDS = 0.1


def _work_rate(sample_rate: int) -> tuple[float, int]:
    """A rate at which strings are cheap to make, and the whole factor up to the real one."""
    factor = max(sample_rate // 20000, 1)
    return sample_rate / factor, factor


def pluck(
    frequency_hz: float,
    *,
    sample_rate: int,
    seconds: float,
    model: GuitarModel | None = None,
    velocity: float = 1.0,
    decay_seconds: float | None = None,
    position: float | None = None,
    hardness_hz: float | None = None,
    mute: float = 0.0,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float32]:
    """A single plucked note, without noise and exactly in tune.

    Args:
        frequency_hz: first partial, > 0 and below half the sample rate.
        sample_rate: Hz, >= 8000.
        seconds: length, > 0.
        model: the instrument; default a plain one.
        velocity: how hard, 0 to 1: louder and brighter.
        decay_seconds: T60 of the first partial; default the model's.
        position: pick position, 0 to 0.5; default the model's.
        hardness_hz: corner of the pick's low-pass; default the model's.
        mute: 0 free, 0.6 palm-muted, 1 dead.
        rng: source of attack noise; without one there is none.

    Returns:
        `(1, samples)` float32 with peak `velocity`.

    Raises:
        ValueError: if `frequency_hz`, `sample_rate`, `seconds` or `velocity` is out of range.
    """
    _check(sample_rate, seconds)
    if not 0 < frequency_hz < sample_rate / 2:
        raise ValueError(
            f"frequency_hz must lie between 0 and {sample_rate / 2:g} Hz, got {frequency_hz}"
        )
    if not 0 < velocity <= 1:
        raise ValueError(f"velocity must lie in (0, 1], got {velocity}")
    model = model or GuitarModel()
    note = _note(model, frequency_hz, model.inharmonicity[0], mute=mute, velocity=velocity)
    note = replace(
        note,
        decay_seconds=note.decay_seconds if decay_seconds is None else decay_seconds,
        position=note.position if position is None else position,
        hardness_hz=note.hardness_hz if hardness_hz is None else hardness_hz,
    )
    rate, factor = _work_rate(sample_rate)
    samples = round(seconds * sample_rate)
    dead = tuple(np.array(model.dead_spots).T)
    wave = strings.render(
        [note],
        model.wiring,
        sample_rate=rate,
        seconds=seconds + PREROLL_SECONDS,
        rng=rng,
        decay_curve=dead,
    )
    wave = wave[int(PREROLL_SECONDS * rate) :]
    out = through_rig(wave, model, rate, factor)[:samples]
    return (out * np.float32(velocity / np.abs(out).max()))[None]


def phrase(
    rng: np.random.Generator,
    *,
    model: GuitarModel | None = None,
    sample_rate: int = 44100,
    seconds: float = 2.0,
    style: str | None = None,
) -> NDArray[np.float32]:
    """A random phrase on one instrument, as it comes out of the guitar's cable.

    Args:
        rng: source of every choice; the same stream gives the same samples.
        model: the instrument; default one drawn from `rng`.
        sample_rate: Hz, >= 8000.
        seconds: length, > 0.
        style: one of `STYLES`; default a drawn one.

    Returns:
        `(1, samples)` float32, peak between -33 and -3 dBFS, never silent.

    Raises:
        ValueError: if `style` is unknown, or `sample_rate` or `seconds` is out of range.
    """
    _check(sample_rate, seconds)
    model = GuitarModel.draw(rng) if model is None else model
    strokes = play(rng, style or draw_style(rng), seconds=seconds, tuning=model.tuning)
    rate, factor = _work_rate(sample_rate)
    samples = round(seconds * sample_rate)
    mix = np.zeros(-(-samples // factor) + 1, dtype=np.float32)
    for stroke in strokes:
        _add_stroke(mix, rng, stroke, model, rate)
    _add_handling(mix, rng, model, rate)
    if model.asymmetry:
        mix += np.square(mix) * np.float32(model.asymmetry / max(float(np.abs(mix).max()), 1e-9))
    out = through_rig(mix, model, rate, factor, rng)[:samples]
    peak = db_to_amplitude(float(rng.uniform(-33, -3)))
    return (out * np.float32(peak / max(float(np.abs(out).max()), 1e-9)))[None]


def _check(sample_rate: int, seconds: float) -> None:
    if sample_rate < 8000:
        raise ValueError(f"sample_rate must be at least 8000 Hz, got {sample_rate}")
    if not seconds > 0 or round(seconds * sample_rate) < 1:
        raise ValueError(f"seconds must be > 0, got {seconds}")


def _note(
    model: GuitarModel,
    frequency_hz: float,
    stiffness: float,
    *,
    mute: float,
    velocity: float,
    harmonic: int = 1,
) -> Pluck:
    """How this instrument plays one note: harder is brighter, higher dies sooner, muted dies soonest."""
    decay = np.clip(model.decay_seconds * (frequency_hz / 82.4) ** -model.decay_slope, 0.3, 8)
    damping = model.damping_hz
    if mute:
        decay = decay * (0.25 / decay) ** min(mute * 1.4, 1) * (0.2 if mute >= 1 else 1)
        damping = damping * (400 / damping) ** mute
    return Pluck(
        frequency_hz=frequency_hz * harmonic,
        amplitude=velocity,
        position=model.position if harmonic == 1 else 0.3,
        hardness_hz=model.hardness_hz * 2 ** (1.5 * (velocity - 1)) * (0.6 if mute else 1),
        decay_seconds=float(decay),
        damping_hz=float(damping),
        inharmonicity=stiffness * harmonic**2,
    )


def _pitches(stroke: Stroke, model: GuitarModel, rng: np.random.Generator) -> list[Pluck]:
    notes = []
    position = float(np.clip(model.position * np.exp(rng.normal(0, 0.12)), 0.04, 0.5))
    for index, (string, fret) in enumerate(stroke.frets):
        frequency = midi_to_hz(model.tuning[string] + fret + model.string_cents[string] / 100)
        stiffness = model.inharmonicity[string] * 2 ** (fret / 6)
        velocity = stroke.velocity * float(np.exp(rng.normal(0, 0.1)))
        note = _note(
            model,
            frequency,
            stiffness,
            mute=stroke.mute,
            velocity=velocity,
            harmonic=stroke.harmonic,
        )
        delay = stroke.spread_seconds * index / max(len(stroke.frets) - 1, 1)
        # A stopped string is nearer to the pick in proportion.
        closer = min(position * 2 ** (fret / 12), 0.5) if stroke.harmonic == 1 else note.position
        notes.append(replace(note, delay_seconds=delay, position=closer))
    return notes


def _add_stroke(
    mix: NDArray, rng: np.random.Generator, stroke: Stroke, model: GuitarModel, rate: float
) -> None:
    """Renders one stroke and adds what of it falls inside the phrase."""
    past = max(-stroke.onset_seconds - _LONGEST_PAST_SECONDS, 0.0)
    onset = stroke.onset_seconds + past
    lasting = stroke.duration_seconds - past
    length = min(lasting + model.release_seconds, len(mix) / rate - onset) + PREROLL_SECONDS
    if length <= PREROLL_SECONDS:
        return
    bent = bool(stroke.bend) or stroke.vibrato[1] > 0
    wiring = model.wiring if length > 0.35 else replace(model.wiring, second_level=0.0)
    wave = strings.render(
        _pitches(stroke, model, rng),
        wiring,
        sample_rate=rate,
        seconds=length * (2 ** (max([s for _, s in stroke.bend], default=0) / 12) if bent else 1),
        rng=rng,
        elapsed_seconds=past,
        decay_curve=tuple(np.array(model.dead_spots).T),
    )
    if bent:
        wave = strings.warp(wave, _semitones(stroke, int(length * rate), rate, past))
    wave *= strings.release(
        len(wave),
        sample_rate=rate,
        end_seconds=lasting + PREROLL_SECONDS,
        release_seconds=model.release_seconds,
    )
    if not past:
        _add_touch_noise(wave, rng, model, rate)
    start = round((onset - PREROLL_SECONDS) * rate)
    first, last = max(start, 0), min(start + len(wave), len(mix))
    if last > first:
        mix[first:last] += wave[first - start : last - start]


def _semitones(stroke: Stroke, samples: int, rate: float, past: float) -> NDArray[np.float32]:
    """The pitch curve of a bent or shaken note, sampled coarsely and drawn out."""
    coarse = np.arange(0, samples + 220, 220) / rate
    time = coarse + past - PREROLL_SECONDS
    curve = np.zeros_like(time)
    if stroke.bend:
        curve += np.interp(time, *np.transpose(stroke.bend))
    vibrato_hz, depth_cents = stroke.vibrato
    curve += depth_cents / 100 * np.sin(2 * np.pi * vibrato_hz * time) * np.clip(time / 0.3, 0, 1)
    return np.interp(np.arange(samples) / rate, coarse, curve).astype(np.float32)


def _add_touch_noise(
    wave: NDArray, rng: np.random.Generator, model: GuitarModel, rate: float
) -> None:
    """The pick's own click, and now and then a finger sliding on a wound string."""
    peak = float(np.abs(wave[: int(0.1 * rate)]).max()) * strings.level_db(model.touch_noise_db)
    length = min(int(rng.uniform(0.002, 0.02) * rate), len(wave))
    noise = rng.standard_normal(length, dtype=np.float32)
    noise *= np.exp(np.linspace(0, -5, length, dtype=np.float32)) * np.float32(peak / 2)
    start = min(int(rng.uniform(0, PREROLL_SECONDS) * rate), len(wave) - length)
    wave[start : start + length] += noise
    if rng.random() < 0.04 and len(wave) > 0.3 * rate:
        length = int(rng.uniform(0.05, 0.15) * rate)
        squeak = np.diff(rng.standard_normal(length + 1, dtype=np.float32)) * np.hanning(
            length
        ).astype(np.float32)
        wave[-length:] += squeak * np.float32(peak / 2)


def _add_handling(mix: NDArray, rng: np.random.Generator, model: GuitarModel, rate: float) -> None:
    """Now and then, whether or not a note sounds: a finger slides along a string, or a hand knocks on the guitar."""
    if not np.isfinite(model.handling_db):
        return
    peak = float(np.abs(mix).max()) * strings.level_db(model.handling_db)
    for _ in range(int(rng.poisson(1.5 * len(mix) / rate))):
        length = min(int(rng.uniform(0.02, 0.25) * rate), len(mix))
        noise = rng.standard_normal(length, dtype=np.float32)
        if rng.random() < 0.5:
            noise = np.cumsum(noise, dtype=np.float32) * np.float32(4 / np.sqrt(length))
        start = int(rng.integers(0, len(mix) - length + 1))
        swell = np.sin(
            np.pi * np.linspace(0, 1, length, dtype=np.float32) ** np.float32(rng.uniform(0.3, 2))
        )
        mix[start : start + length] += noise * swell * np.float32(peak / 3 * rng.uniform(0.2, 1))
