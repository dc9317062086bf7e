"""Answers to the exercises of notebooks 00 to 02: right ones, and the wrong ones people give."""

# ruff: noqa: ARG001, ARG005 - a wrong answer often ignores what it was given

import itertools
import math

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


def power_of_two(ratio):
    return 2 ** math.ceil(math.log2(ratio))


def frames(n, n_fft, hop, center):
    return 1 + (n if center else n - n_fft) // hop


def held_out(sources, share, seed):
    names = sorted(set(sources))
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    return [name in set(drawn) for name in sources]


def by_clip(sources, share, seed):
    return np.random.default_rng(seed).random(len(sources)) < share


def unseeded(sources, share, seed):
    return held_out(sources, share, int(np.random.default_rng().integers(2**31)))


def to_peak(audio, peak_db):
    peak = np.abs(audio).max()
    return audio * (10 ** (peak_db / 20) / peak) if peak > 0 else audio


def example(dry, effect, peak_db):
    return to_peak(effect(dry), peak_db)


def per_channel(dry, effect, peak_db):
    return np.stack([to_peak(channel, peak_db) for channel in effect(dry)])


def unsafe(dry, effect, peak_db):
    wet = effect(dry)
    return wet / np.abs(wet).max() * 10 ** (peak_db / 20)


def count(pedals, pairs):
    def lowest(order):
        """Always the alphabetically first pedal that can move to the front: one form per sound."""
        left, made = list(order), []
        while left:
            free = [p for k, p in enumerate(left) if all({p, q} in pairs for q in left[:k])]
            left.remove(min(free))
            made.append(min(free))
        return tuple(made)

    return len({lowest(order) for order in itertools.permutations(pedals)})


def halved(pedals, pairs):
    return math.ceil(math.factorial(len(pedals)) / 2 ** len(pairs))


def one_swap(pedals, pairs):
    """Orders without a commuting neighbour pair out of the alphabet: misses moves of two steps."""
    return sum(
        not any({a, b} in pairs and a < b for a, b in itertools.combinations(order, 2))
        for order in itertools.permutations(pedals)
    )


RIGHT = {
    "00.1": matched,
    "00.2": before,
    "01.1": lambda rate, hz: power_of_two(2.5 * rate / hz),
    "01.2": frames,
    "01.3": lambda window, hop: window.sum() / hop,
    "02.1": held_out,
    "02.2": example,
    "02.3": count,
}
WRONG = [
    ("00.1", lambda dry, wet: wet, "a loud wet: dry has"),
    ("00.1", lambda dry, wet: wet * np.abs(dry).max() / np.abs(wet).max(), "a loud wet: dry has"),
    ("00.1", lambda dry, wet: wet * np.mean(dry**2) / np.mean(wet**2), "a loud wet: dry has"),
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
    ("01.1", lambda rate, hz: 2048, "0.93 bins apart"),
    ("01.1", lambda rate, hz: power_of_two(rate / hz), "look like one"),
    ("01.1", lambda rate, hz: power_of_two(2 * rate / hz), "2.32 bins apart"),
    ("01.1", lambda rate, hz: 65536, "lasts 1486 ms"),
    ("01.1", lambda rate, hz: math.ceil(2.5 * rate / hz), "must be a power of two, got 5513"),
    ("01.1", lambda rate, hz: rate / 0, "your function raised ZeroDivisionError: division by zero"),
    ("01.1", lambda rate, hz: "8192", "n_fft must be one finite number, got str '8192'"),
    ("01.2", lambda n, n_fft, hop, center: n // hop, "expected 87, you say 86"),
    (
        "01.2",
        lambda n, n_fft, hop, center: 1 + n // hop,
        "center = False, frames of torch.stft: expected 83",
    ),
    ("01.2", lambda n, n_fft, hop, center: 1 + (n - n_fft) // hop, "center = True"),
    ("01.2", lambda n, n_fft, hop, center: 1 + n / hop, "must be a whole number"),
    ("01.3", lambda window, hop: len(window) / hop, "4.0000; dividing by it leaves -6.02 dB"),
    (
        "01.3",
        lambda window, hop: (window**2).sum() / hop,
        "up to 2.0000 times the audio, you say 1",
    ),
    ("01.3", lambda window, hop: 2.0, "Hann, hop n_fft/2: the frames add up to 1.0000"),
    ("01.3", lambda window, hop: window / hop, "must be one finite number, got shape (1024,)"),
    ("02.1", by_clip, "of 200 guitars have clips on both sides"),
    ("02.1", lambda names, *_: [False] * len(names), "share = 0.2: 0 % of the guitars are held"),
    ("02.1", unseeded, "the same seed gave another split"),
    (
        "02.1",
        lambda names, share, _: held_out(names, share, 7),
        "seeds 0 and 1 gave the same split",
    ),
    ("02.1", lambda *_: [True], "held_out must be an array of shape (1200,), got list [True]"),
    ("02.1", lambda *_: [[True], []], "held_out must be an array of shape (1200,)"),
    ("02.2", lambda dry, effect, db: effect(to_peak(dry, db)), "the wet peak is -3.1"),
    ("02.2", lambda dry, effect, db: to_peak(effect(to_peak(dry, 0.0)), db), "at another level"),
    ("02.2", per_channel, "the right channel moved"),
    ("02.2", unsafe, "the wet clip of the silence holds 8000 NaN"),
    ("02.2", lambda dry, effect, db: effect(dry), "dBFS, -1 was asked for"),
    ("02.2", lambda dry, effect, db: to_peak(effect(dry).mean(0), db), "got shape (4000,)"),
    (
        "02.3",
        lambda pedals, pairs: math.factorial(len(pedals)),
        "in 6 orders: expected 1, you say 6",
    ),
    ("02.3", halved, "in 6 orders: expected 4, you say 3"),
    ("02.3", one_swap, "different sounds of"),
    ("02.3", lambda pedals, pairs: 2 ** len(pedals), "no pair commuting, in 6 orders: expected 6"),
]
