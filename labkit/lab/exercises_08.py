"""Exercises of notebook 08: a bell's curve, attention as a memory, and a sentence with a not in it."""

import numpy as np

from labkit.lab.exercises import Attempt, NotYet, as_array, as_number
from labkit.signal.seeds import generator


def exercise_08_1(attempt: Attempt) -> str:
    """A bell without a filter: `bell_db(hz, centre_hz, gain_db, q)` -> its gain in dB at one frequency."""
    rng = generator(0, "exercise 08.1")
    for _ in range(30):
        centre, gain, q = 100 * 2 ** rng.uniform(0, 6), rng.uniform(-12, 12), rng.uniform(0.4, 4)
        said = as_number(attempt(centre, centre, gain, q), "bell_db at the centre")
        if abs(said - gain) > 1e-6:
            raise NotYet(
                f"at its centre a bell of {gain:.2f} dB gives {gain:.2f} dB; you say {said:.2f}"
            )
        ratio = 2 ** rng.uniform(0.2, 3)
        up, down = (
            as_number(attempt(hz, centre, gain, q), "bell_db")
            for hz in (centre * ratio, centre / ratio)
        )
        if abs(up - down) > 1e-6:
            raise NotYet(
                f"{np.log2(ratio):.2f} octaves above and below the centre must be alike: {up:.3f}, {down:.3f}"
            )
        cut = as_number(attempt(centre * ratio, centre, -gain, q), "bell_db")
        if abs(up + cut) > 1e-6:
            raise NotYet(
                f"a cut must undo the boost of the same size: {up:.3f} and {cut:.3f} dB do not cancel"
            )
        expected = _bell_db(ratio, gain, q)
        if abs(up - expected) > 1e-6:
            raise NotYet(
                f"{np.log2(ratio):.2f} octaves from a {gain:.2f} dB bell of Q {q:.2f}: {expected:.3f}, not {up:.3f}"
            )
    return "gradients pass through this formula, so a network can learn an equaliser without ever filtering a sound"


def _bell_db(ratio: float, gain_db: float, q: float) -> float:
    """|H(jx)| of (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), by complex arithmetic."""
    s, amplitude = 1j * ratio, 10 ** (gain_db / 40)
    return 20 * float(
        np.log10(abs((s * s + s * amplitude / q + 1) / (s * s + s / (amplitude * q) + 1)))
    )


def exercise_08_2(attempt: Attempt) -> str:
    """Attention as a memory: `recall(asked, keys, values, width)` -> values averaged by softmax of nearness."""
    rng = generator(0, "exercise 08.2")
    for _ in range(20):
        keys, values = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
        asked = keys[2] + 0.01 * rng.normal(size=3)
        sharp = as_array(attempt(asked, keys, values, 0.02), (4,), "recall")
        if (off := np.abs(sharp - values[2]).max()) > 1e-3:
            raise NotYet(
                f"with width 0.02 the nearest memory must be recalled as it is; you are {off:.3f} off"
            )
        wide = as_array(attempt(asked, keys, values, 1e4), (4,), "recall")
        if (off := np.abs(wide - values.mean(0)).max()) > 1e-3:
            raise NotYet(
                f"with width 10000 all memories count alike: the mean was expected; you are {off:.3f} off"
            )
        logits = -((keys - asked) ** 2).sum(1) / (2 * 0.8**2)
        weights = np.exp(logits) / np.exp(logits).sum()
        middle = as_array(attempt(asked, keys, values, 0.8), (4,), "recall")
        if (off := np.abs(middle - weights @ values).max()) > 1e-6:
            raise NotYet(
                f"at width 0.8 weights are softmax(-distance^2 / (2 width^2)); you are {off:.3f} off"
            )
    return "kernel regression is attention with distances for scores: it knows nothing beyond what it remembers"


def exercise_08_3(attempt: Attempt) -> str:
    """Not, less, and how much: `degree(words)` -> the signed weight of the last word."""
    cases = {
        ("bright",): 1.0,
        ("very", "bright"): 1.5,
        ("slightly", "bright"): 0.5,
        ("less", "bright"): -1.0,
        ("slightly", "less", "bright"): -0.5,
        ("not", "bright"): -0.5,
        ("not", "very", "bright"): -0.75,
        ("not", "less", "bright"): 0.5,
    }
    for words, expected in cases.items():
        said = as_number(attempt(list(words)), "degree")
        if abs(said - expected) > 1e-9:
            raise NotYet(f"{' '.join(words)!r} must weigh {expected:+.2f}, you say {said:+.2f}")
    return "signs and degrees multiply: one rule answers sentences that no data set holds"
