"""Electric (and some acoustic) guitars as records of numbers, drawn at random: what `guitar` renders."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labkit.signal.phrases import STANDARD_TUNING
from labkit.signal.strings import Wiring

DEFAULT_INHARMONICITY = (1e-4, 7e-5, 6e-5, 9e-5, 5e-5, 3e-5)


@dataclass(frozen=True)
class GuitarModel:
    """One instrument, with its player's touch and its cable's noise. The defaults are a plain, clean guitar.

    Attributes:
        tuning: MIDI numbers of the open strings.
        string_cents: how far each string is out of tune.
        inharmonicity: stiffness B of each open string.
        wiring: pickups, polarisations and attack noise, shared by the strings.
        decay_seconds: T60 of the low open string's first partial, when undamped.
        decay_slope: decay times fall as frequency to minus this power.
        damping_hz: where partials die twice as fast as the lowest.
        dead_spots: (frequency in Hz, factor on the decay rate), a curve over the fingerboard.
        position: usual pick position, as a fraction of the string, 0.05 to 0.5.
        hardness_hz: usual low-pass corner of the pick at full velocity.
        resonance_hz: pickup resonance.
        resonance_q: its quality factor.
        tone_hz: corner of the tone knob's one-pole low-pass.
        lowcut_hz: corner of the input's one-pole high-pass.
        tilt_db: spectral tilt per octave about 1 kHz.
        body: (centre in Hz, Q, gain) of body resonances; empty for a solid body.
        room_seconds: T60 of the room that a microphone hears with it; 0 for a cable.
        room_db: the room's reflections relative to the direct sound.
        asymmetry: share of second-order distortion from the magnet, 0 to about 0.1.
        release_seconds: time for a damped string to fall by 60 dB.
        touch_noise_db: pick clicks and finger noise, peak relative to a note's peak.
        noise_db: noise floor, RMS relative to the phrase's peak.
        noise_slope: the floor falls as frequency to minus this power (0 white, 0.5 pink).
        hum_db: mains hum relative to the phrase's peak; minus infinity for none.
        hum_hz: mains frequency.
        whine_db: a steady high tone from a nearby supply, as `hum_db`.
        handling_db: sliding fingers and knocks between the notes, as `hum_db`.
    """

    tuning: tuple[int, ...] = STANDARD_TUNING
    string_cents: tuple[float, ...] = (0.0,) * 6
    inharmonicity: tuple[float, ...] = DEFAULT_INHARMONICITY
    wiring: Wiring = field(default_factory=Wiring)
    decay_seconds: float = 5.0
    decay_slope: float = 0.4
    damping_hz: float = 2000.0
    dead_spots: tuple[tuple[float, float], ...] = ((40.0, 1.0), (11025.0, 1.0))
    position: float = 0.15
    hardness_hz: float = 4000.0
    resonance_hz: float = 4000.0
    resonance_q: float = 1.5
    tone_hz: float = 20000.0
    lowcut_hz: float = 20.0
    tilt_db: float = 0.0
    body: tuple[tuple[float, float, float], ...] = ()
    room_seconds: float = 0.0
    room_db: float = -20.0
    asymmetry: float = 0.0
    release_seconds: float = 0.08
    touch_noise_db: float = -40.0
    noise_db: float = -80.0
    noise_slope: float = 0.0
    hum_db: float = -np.inf
    hum_hz: float = 50.0
    whine_db: float = -np.inf
    handling_db: float = -np.inf

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "GuitarModel":
        """A random instrument, player and input, wide enough that real direct-input guitars lie inside.

        Args:
            rng: source of every choice.

        Returns:
            A model; the same stream gives the same one.
        """
        stiffness = (
            np.array(DEFAULT_INHARMONICITY) * _log_uniform(rng, 0.5, 2.2) * rng.uniform(0.7, 1.4, 6)
        )
        dead = np.exp(rng.normal(0, rng.uniform(0.05, 0.45), 48))
        microphone = rng.random() < 0.25
        return cls(
            tuning=_draw_tuning(rng),
            string_cents=tuple((rng.uniform(-30, 30) + rng.uniform(-5, 5, 6)).tolist()),
            inharmonicity=tuple(stiffness.tolist()),
            wiring=_draw_wiring(rng, microphone),
            decay_seconds=_log_uniform(rng, 1.5, 8),
            decay_slope=float(rng.uniform(0.1, 0.6)),
            damping_hz=_log_uniform(rng, 600, 9000),
            dead_spots=tuple(zip(np.geomspace(60, 11025, 48).tolist(), dead.tolist(), strict=True)),
            position=float(np.clip(rng.beta(2, 4.5) * 0.5, 0.05, 0.5)),
            hardness_hz=_log_uniform(rng, 700, 11000),
            release_seconds=_log_uniform(rng, 0.015, 0.3),
            touch_noise_db=float(rng.uniform(-50, -18)),
            handling_db=float(rng.uniform(-60, -22)) if rng.random() < 0.7 else -np.inf,
            **_draw_output(rng, microphone),
        )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_tuning(rng: np.random.Generator) -> tuple[int, ...]:
    shift = int(rng.choice([0, 0, 0, 0, -1, -2, 1, 2, -4]))
    lowest = STANDARD_TUNING[0] - (2 if rng.random() < 0.15 else 0)
    return tuple(n + shift for n in (lowest, *STANDARD_TUNING[1:]))


def _draw_wiring(rng: np.random.Generator, microphone: bool) -> Wiring:
    """Pickups, or for a microphone the bridge, which is driven by the force at the very end of the string."""
    if microphone:
        pickups = [(_log_uniform(rng, 0.004, 0.05), 1.0)]
    else:
        pickups = [(float(rng.uniform(0.04, 0.27)), 1.0)]
        if rng.random() < 0.4:
            sign = -1.0 if rng.random() < 0.1 else 1.0
            pickups.append((float(rng.uniform(0.04, 0.3)), sign * float(rng.uniform(0.3, 1))))
        if rng.random() < 0.4:
            # A humbucker: a second coil close by.
            pickups += [(place + 0.028, weight) for place, weight in pickups]
    return Wiring(
        pickups=tuple(pickups),
        damping_power=float(rng.uniform(0.8, 2)),
        second_level=float(rng.uniform(0.05, 0.6)) if rng.random() < 0.8 else 0.0,
        second_decay=float(rng.uniform(1.2, 4)),
        second_cents=float(rng.uniform(-1.5, 1.5)),
        scrape=_log_uniform(rng, 0.02, 1.0),
        scrape_seconds=_log_uniform(rng, 0.001, 0.015),
    )


def _draw_output(rng: np.random.Generator, microphone: bool) -> dict[str, Any]:
    """What follows the strings: electronics or a body in a room, and the noise that comes with either."""
    noise_db = float(rng.uniform(-80, -38)) if microphone else float(rng.uniform(-95, -50))
    return {
        "resonance_hz": _log_uniform(rng, 6000, 16000)
        if microphone
        else _log_uniform(rng, 2000, 9000),
        "resonance_q": float(rng.uniform(0.6, 1)) if microphone else _log_uniform(rng, 0.6, 4),
        "tone_hz": _log_uniform(rng, 500, 5000)
        if not microphone and rng.random() < 0.3
        else 20000.0,
        "lowcut_hz": _log_uniform(rng, 5, 80),
        "tilt_db": float(rng.uniform(-4, 2)),
        "body": _draw_body(rng, microphone) if microphone or rng.random() < 0.15 else (),
        "room_seconds": _log_uniform(rng, 0.1, 0.6) if microphone else 0.0,
        "room_db": float(rng.uniform(-30, -8)),
        "asymmetry": float(rng.uniform(0, 0.08)) if rng.random() < 0.5 else 0.0,
        "noise_db": noise_db,
        "noise_slope": float(rng.uniform(0, 0.9)),
        "hum_db": float(rng.uniform(-80, -45)) if rng.random() < 0.3 else -np.inf,
        "hum_hz": 50.0 if rng.random() < 0.5 else 60.0,
        "whine_db": float(rng.uniform(-95, -60)) if rng.random() < 0.25 else -np.inf,
    }


def _draw_body(rng: np.random.Generator, acoustic: bool) -> tuple[tuple[float, float, float], ...]:
    """A few resonances anywhere, and for an acoustic guitar its air and its top, which carry most of the sound."""
    count = int(rng.integers(3, 12))
    strength = rng.uniform(0.2, 1.5)
    centres = np.exp(rng.uniform(np.log(80), np.log(5000), count)).tolist()
    gains = rng.normal(0, strength, count).tolist()
    peaks = [
        (centre, float(rng.uniform(3, 25)), gain)
        for centre, gain in zip(centres, gains, strict=True)
    ]
    if acoustic:
        for low_hz, high_hz in ((90, 130), (180, 260)):
            peaks.append(
                (
                    float(rng.uniform(low_hz, high_hz)),
                    float(rng.uniform(2, 12)),
                    float(rng.uniform(1, 8)),
                )
            )
    return tuple(peaks)
