"""Wrong answers to notebook 00 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import numpy as np

matched = RIGHT["00.1"]
before = RIGHT["00.2"]


def rms(audio):
    return np.sqrt(np.mean(audio**2))


def holds(names):
    both = {"distortion", "reverb"} <= set(names)
    return both and names.index("distortion") < names.index("reverb")


def both_there(found):
    return sum(share for names, share in found if {"distortion", "reverb"} <= set(names))


def given_both(found):
    return before(found) / both_there(found) if both_there(found) else 0.0


def share_of_names(found):
    return sum(holds(names) for names, _ in found) / len(found)


def at_the_ends(found):
    return sum(p for names, p in found if (*names[:1], *names[-1:]) == ("distortion", "reverb"))


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
    ("00.2", at_the_ends, "a chain of four: expected 0.75, you say 0"),
    ("00.2", lambda found: found[3][0].index("reverb"), "your function raised ValueError"),
    ("00.2", lambda found: 0.5, "the clean sound alone: expected 0, you say 0.5"),
]
