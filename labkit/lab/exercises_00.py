"""Exercises of notebook 00: a fair comparison, and a probability read off a list of alternatives."""

import math

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_number
from labkit.signal.seeds import generator

Alternatives = list[tuple[tuple[str, ...], float]]
_LEVEL_TOLERANCE_DB = 0.01  # rounding of float32 is 1000 times finer, the ear 50 times coarser
_SHAPE_TOLERANCE = 1e-4


def _rms_db(audio: np.ndarray) -> float:
    return 10 * math.log10(float(np.mean(np.square(audio, dtype=np.float64))) + 1e-30)


def _pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Case -> (dry, wet) at levels, lengths and channel counts that differ."""
    rng = generator(0, "exercise 00.1")
    decay = np.exp(-np.arange(6000) / 1500)
    plucked = 0.4 * decay * rng.standard_normal((1, 6000))
    squashed = np.tanh(8 * plucked)
    return {
        "a loud wet": (plucked, squashed),
        "a quiet wet": (plucked, 0.01 * squashed),
        "a wet with a tail, twice as long": (plucked, np.pad(squashed, ((0, 0), (0, 6000)))),
        "a stereo wet": (plucked, np.concatenate([squashed, 0.2 * squashed[:, ::-1]])),
    }


def exercise_00_1(attempt: Attempt) -> str:
    """`matched(dry, wet)`: wet, scaled to dry's RMS, so that a comparison is about the sound alone."""
    for case, (dry, wet) in _pairs().items():
        answer = as_array(attempt(dry.copy(), wet.copy()), wet.shape, f"{case}: matched(dry, wet)")
        level_db, wanted_db = _rms_db(answer), _rms_db(dry)
        scale = float(np.vdot(wet, answer) / np.vdot(wet, wet))
        if np.abs(answer - scale * wet).max() > _SHAPE_TOLERANCE * np.abs(answer).max():
            raise NotYet(
                f"{case}: what comes back is not one constant times wet (the nearest is {scale:.3g} times); "
                "a different gain at different samples is an effect of its own"
            )
        if abs(level_db - wanted_db) > _LEVEL_TOLERANCE_DB:
            raise NotYet(
                f"{case}: dry has {wanted_db:.2f} dB RMS, your wet {level_db:.2f}: {level_db - wanted_db:+.2f} dB off"
            )
        if scale < 0:
            raise NotYet(
                f"{case}: right level, but multiplied by {scale:.3g}: the sign turned the wave upside down"
            )
    return "the louder of two equal sounds is taken for the better one, so levels are made equal before anything else"


# By hand: two ways round, one without the other, neither, and a pedal in between.
_BY_HAND: Alternatives = [
    (("distortion", "reverb"), 0.375),
    (("reverb", "distortion"), 0.25),
    (("distortion",), 0.125),
    ((), 0.0625),
    (("distortion", "chorus", "reverb"), 0.125),
    (("chorus", "reverb"), 0.0625),
]
_CASES: dict[str, tuple[Alternatives, float]] = {
    "six alternatives": (_BY_HAND, 0.5),
    "the clean sound alone": ([((), 1.0)], 0.0),
    "a reverb that always stands first": (
        [(("reverb", "distortion"), 0.75), (("reverb",), 0.25)],
        0.0,
    ),
    "alternatives that add to 0.75": (
        [(("chorus", "distortion", "reverb"), 0.5), (("chorus",), 0.25)],
        0.5,
    ),
}


def exercise_00_2(attempt: Attempt) -> str:
    """`before(alternatives)`: the probability that the distortion stands before the reverb, both being there."""
    for case, (alternatives, wanted) in _CASES.items():
        answer = as_number(attempt(list(alternatives)), f"{case}: the probability")
        if math.isclose(answer, wanted, abs_tol=1e-6):
            continue
        both = sum(share for names, share in alternatives if {"distortion", "reverb"} <= set(names))
        hint = ""
        if both and math.isclose(answer, wanted / both, abs_tol=1e-6):
            hint = f": you divided by {both:.4g}, the probability that both are there, which answers another question"
        elif math.isclose(answer, both, abs_tol=1e-6):
            hint = ": that is the probability that both are there, in either order"
        elif case == "six alternatives" and math.isclose(answer, 0.375, abs_tol=1e-6):
            hint = ": one more alternative has the distortion before the reverb, with a pedal in between"
        raise NotYet(f"{case}: expected {wanted:.4g}, you say {answer:.4g}{hint}")
    return "a question about a chain is answered by adding up every alternative in which it holds, not by the best alone"
