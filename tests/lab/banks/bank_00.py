"""Answers to the exercises of notebook 00: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG005 - a wrong answer often ignores what it was given

import numpy as np


def rms(audio: np.ndarray) -> float:
    return np.sqrt(np.mean(audio**2))


def matched_solution(dry: np.ndarray, wet: np.ndarray) -> np.ndarray:
    return wet * rms(dry) / rms(wet)


def before_solution(alternatives: list) -> float:
    return sum(
        share
        for names, share in alternatives
        if {"distortion", "reverb"} <= set(names)
        and names.index("distortion") < names.index("reverb")
    )


def _holds(names: tuple) -> bool:
    return {"distortion", "reverb"} <= set(names) and names.index("distortion") < names.index(
        "reverb"
    )


def _given_both(alternatives: list) -> float:
    both = sum(share for names, share in alternatives if {"distortion", "reverb"} <= set(names))
    return before_solution(alternatives) / both if both else 0.0


BANK = {
    "00.1": (
        matched_solution,
        [
            (lambda dry, wet: wet, "a loud wet: dry has"),
            (lambda dry, wet: wet * np.abs(dry).max() / np.abs(wet).max(), "a loud wet: dry has"),
            (lambda dry, wet: wet * np.mean(dry**2) / np.mean(wet**2), "a loud wet: dry has"),
            (
                lambda dry, wet: wet * np.linalg.norm(dry) / np.linalg.norm(wet),
                "a wet with a tail, twice as long: dry has",
            ),
            (lambda dry, wet: -wet * rms(dry) / rms(wet), "the sign turned the wave upside down"),
            (lambda dry, wet: wet[:, ::-1] * rms(dry) / rms(wet), "not one constant times wet"),
            (lambda dry, wet: rms(dry) / rms(wet), "must be an array of shape (1, 6000)"),
            (
                lambda dry, wet: wet * rms(dry) / rms(wet[:, : dry.shape[1]]),
                "a wet with a tail, twice as long: dry has",
            ),
            (lambda dry, wet: wet * np.nan, "holds 6000 NaN or infinite values"),
        ],
    ),
    "00.2": (
        before_solution,
        [
            (lambda alternatives: alternatives[0][1], "a pedal in between"),
            (_given_both, "you divided by 0.75"),
            (
                lambda alternatives: sum(
                    p for names, p in alternatives if {"distortion", "reverb"} <= set(names)
                ),
                "in either order",
            ),
            (
                lambda alternatives: (
                    sum(_holds(names) for names, _ in alternatives) / len(alternatives)
                ),
                "expected 0.5, you say 0.3333",
            ),
            (
                lambda alternatives: sum(
                    p
                    for names, p in alternatives
                    if names.index("distortion") < names.index("reverb")
                ),
                "your function raised ValueError",
            ),
            (lambda alternatives: 0.5, "the clean sound alone: expected 0, you say 0.5"),
        ],
    ),
}
