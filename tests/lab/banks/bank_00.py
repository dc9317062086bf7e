"""Answers to the exercises of notebook 00: `RIGHT`, and `WRONG` ones that people give, with what is said."""

# ruff: noqa: ARG005 - a wrong answer often ignores what it was given

import numpy as np


def rms(audio):
    return np.sqrt(np.mean(audio**2))


def matched(dry, wet):
    return wet * rms(dry) / rms(wet)


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def before(found):
    return sum(share for names, share in found if holds(names))


def both_there(found):
    return sum(share for names, share in found if {"distortion", "reverb"} <= set(names))


def given_both(found):
    return before(found) / both_there(found) if both_there(found) else 0.0


def share_of_names(found):
    return sum(holds(names) for names, _ in found) / len(found)


RIGHT = {
    "00.1": matched,
    "00.2": before,
}
WRONG = [
    ("00.1", lambda dry, wet: wet, "a loud wet: your wet is +10.68 dB off"),
    ("00.1", lambda dry, wet: wet * np.abs(dry).max() / np.abs(wet).max(), "+12.43 dB off"),
    ("00.1", lambda dry, wet: wet * np.mean(dry**2) / np.mean(wet**2), "-10.68 dB off"),
    ("00.1", lambda d, w: w * np.linalg.norm(d) / np.linalg.norm(w), "a wet with a tail"),
    ("00.1", lambda dry, wet: -matched(dry, wet), "the sign turned the wave upside down"),
    ("00.1", lambda dry, wet: matched(dry, wet)[:, ::-1], "not one constant times wet"),
    ("00.1", lambda dry, wet: rms(dry) / rms(wet), "must be an array of shape (1, 6000)"),
    ("00.1", lambda dry, wet: wet * np.nan, "holds 6000 NaN or infinite values"),
    ("00.2", lambda found: found[0][1], "a pedal in between"),
    ("00.2", given_both, "you divided by 0.75"),
    ("00.2", both_there, "in either order"),
    ("00.2", share_of_names, "expected 0.5, you say 0.3333"),
    ("00.2", lambda found: found[3][0].index("reverb"), "your function raised ValueError"),
    ("00.2", lambda found: 0.5, "the clean sound alone: expected 0, you say 0.5"),
]
