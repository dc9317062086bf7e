"""What the exercises of notebook 00 ask for: each compares an attempt with a reference or a law."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, as_array, compare, require
from labkit.signal.seeds import generator


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio**2)))


def exercise_00_1(attempt: Attempt) -> str:
    """`matched(dry, wet)`: wet, scaled to dry's RMS, for a comparison of the sound alone."""
    rng = generator(0, "exercise 00.1")
    dry = 0.4 * np.exp(-np.arange(6000) / 1500) * rng.standard_normal((1, 6000))
    driven = np.tanh(8 * dry)
    for case, wet in {
        "a loud wet": driven,
        "a quiet wet": 0.01 * driven,
        "a wet with a tail, twice as long": np.pad(driven, ((0, 0), (0, 6000))),
        "a stereo wet": np.concatenate([driven, 0.2 * driven[:, ::-1]]),
    }.items():
        answer = as_array(attempt(dry, wet), wet.shape, f"{case}: matched(dry, wet)")
        off_db = 20 * math.log10(_rms(answer) / _rms(dry) + 1e-30)
        require(abs(off_db) <= 0.01, f"{case}: your wet is {off_db:+.2f} dB off the RMS of dry")
        expected = wet * _rms(dry) / _rms(wet)
        hints = [(-expected, "the sign turned the wave upside down")]
        what = f"{case}: right level, but not one constant times wet"
        compare(answer, expected, what, near=1e-4 * np.abs(expected).max(), hints=hints)
    return "the louder of two equal sounds is taken for the better one, so match levels first"


# Both in either order, one without the other, neither, and a pedal in between.
_SIX = [
    (("distortion", "reverb"), 0.375),
    (("reverb", "distortion"), 0.25),
    (("distortion",), 0.125),
    ((), 0.0625),
    (("distortion", "chorus", "reverb"), 0.125),
    (("chorus", "reverb"), 0.0625),
]


def exercise_00_2(attempt: Attempt) -> str:
    """`before(alternatives)`: the probability of a distortion somewhere before a reverb."""
    for case, alternatives, wanted in (
        ("six alternatives", _SIX, 0.5),
        ("the clean sound alone", [((), 1.0)], 0.0),
        ("a reverb that stands first", [(("reverb", "distortion"), 0.75)], 0.0),
        ("a chain of four", [(("chorus", "distortion", "reverb", "delay"), 0.75)], 0.75),
    ):
        both = sum(share for names, share in alternatives if {"distortion", "reverb"} <= set(names))
        hints = [
            (both, "that is the probability that both are there, in either order"),
            (0.375, "that is the first one alone: another one has a pedal in between"),
        ]
        if both:
            hints.append((wanted / both, f"you divided by {both:g}, the probability of both"))
        compare(attempt(alternatives), wanted, case, near=1e-6, hints=hints)
    return "a question about a chain is answered by a sum over all alternatives in which it holds"
