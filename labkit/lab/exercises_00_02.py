"""Exercises of notebooks 00 to 02: fair levels, frames and windows, splits and orders."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from labkit.lab.exercises import Attempt, agree, as_array, as_count, as_number, judge, require
from labkit.signal.seeds import generator
from labkit.signal.units import amplitude_to_db

Alternatives = list[tuple[tuple[str, ...], float]]


def exercise_00_1(attempt: Attempt) -> str:
    """`matched(dry, wet)`: wet, scaled to dry's RMS, for a comparison of the sound alone."""
    rng = generator(0, "exercise 00.1")
    dry = 0.4 * np.exp(-np.arange(6000) / 1500) * rng.standard_normal((1, 6000))
    driven = np.tanh(8 * dry)
    cases = {
        "a loud wet": driven,
        "a quiet wet": 0.01 * driven,
        "a wet with a tail, twice as long": np.pad(driven, ((0, 0), (0, 6000))),
        "a stereo wet": np.concatenate([driven, 0.2 * driven[:, ::-1]]),
    }
    for case, wet in cases.items():
        answer = as_array(attempt(dry.copy(), wet.copy()), wet.shape, f"{case}: matched(dry, wet)")
        level_db, wanted_db = _rms_db(answer), _rms_db(dry)
        levels = f"dry has {wanted_db:.2f} dB RMS, your wet {level_db:.2f}"
        scale = float(np.vdot(wet, answer) / np.vdot(wet, wet))
        # Rounding of float32 is far below 1e-4, an audible change far above.
        off = np.abs(answer - scale * wet).max() / np.abs(answer).max()
        judge(
            case,
            (off <= 1e-4, f"not one constant times wet: off by {off:.3g} of the peak"),
            (abs(level_db - wanted_db) <= 0.01, f"{levels}: {level_db - wanted_db:+.2f} off"),
            (scale > 0, f"{levels}, but the sign turned the wave upside down"),
        )
    return "the louder of two equal sounds is taken for the better one, so match levels first"


def _rms_db(audio: np.ndarray) -> float:
    return 10 * math.log10(float(np.mean(np.square(audio, dtype=np.float64))) + 1e-30)


# Both in either order, one without the other, neither, and a pedal in between.
_SIX: Alternatives = [
    (("distortion", "reverb"), 0.375),
    (("reverb", "distortion"), 0.25),
    (("distortion",), 0.125),
    ((), 0.0625),
    (("distortion", "chorus", "reverb"), 0.125),
    (("chorus", "reverb"), 0.0625),
]
_REVERB_FIRST: Alternatives = [(("reverb", "distortion"), 0.75), (("reverb",), 0.25)]
_THREE_QUARTERS: Alternatives = [(("chorus", "distortion", "reverb"), 0.5), (("chorus",), 0.25)]


def exercise_00_2(attempt: Attempt) -> str:
    """`before(alternatives)`: the probability of a distortion somewhere before a reverb."""
    for case, alternatives, wanted in (
        ("six alternatives", _SIX, 0.5),
        ("the clean sound alone", [((), 1.0)], 0.0),
        ("a reverb that always stands first", _REVERB_FIRST, 0.0),
        ("alternatives that add to 0.75", _THREE_QUARTERS, 0.5),
    ):
        answer = as_number(attempt(list(alternatives)), f"{case}: the probability")
        both = sum(share for names, share in alternatives if {"distortion", "reverb"} <= set(names))
        hint = ""
        if both and math.isclose(answer, wanted / both, abs_tol=1e-6):
            hint = f": you divided by {both:.4g}, the probability that both are there"
        elif math.isclose(answer, both, abs_tol=1e-6):
            hint = ": that is the probability that both are there, in either order"
        elif math.isclose(answer, 0.375, abs_tol=1e-6):
            hint = ": one more alternative has a pedal in between"
        require(
            math.isclose(answer, wanted, abs_tol=1e-6),
            f"{case}: expected {wanted:.4g}, you say {answer:.4g}{hint}",
        )
    return (
        "a question about a chain is answered by the sum over every alternative in which it holds"
    )


# Bins between two equal sines under a Hann window that leave a valley of 3 dB for every phase.
_SEPARATED_BINS = 2.45


def exercise_01_1(attempt: Attempt) -> str:
    """A frame length, a power of two, that separates two equal sines `spacing_hz` apart."""
    for sample_rate, spacing_hz in ((44100, 20.0), (44100, 50.0), (22050, 20.0), (48000, 100.0)):
        n_fft = as_count(attempt(sample_rate, spacing_hz), "n_fft")
        power = n_fft >= 2 and not n_fft & (n_fft - 1)
        require(power, f"n_fft must be a power of two, got {n_fft}")
        bins = spacing_hz * n_fft / sample_rate
        case = (
            f"sines {spacing_hz:g} Hz apart at {sample_rate} Hz, n_fft = {n_fft}: {bins:.2f} bins"
        )
        require(
            bins >= _SEPARATED_BINS,
            f"{case} apart, and for some phases there is no valley of 3 dB: they look like one",
        )
        require(
            bins < 4 * _SEPARATED_BINS,
            f"{case} are more than enough; your frame lasts {1000 * n_fft / sample_rate:.0f} ms, "
            "and everything within it is smeared",
        )
    return "frequency resolution is sample_rate / n_fft times the width of the main lobe"


def exercise_01_2(attempt: Attempt) -> str:
    """The number of frames of an STFT: `frames(samples, n_fft, hop_length, center)`."""
    cases = [
        (44100, 2048, 512),
        (44100, 1024, 256),
        (2048, 2048, 512),
        (2047, 512, 128),
        (10000, 1000, 300),
    ]
    for (samples, n_fft, hop_length), center in itertools.product(cases, (True, False)):
        counted = torch.stft(
            torch.zeros(samples),
            n_fft,
            hop_length,
            window=torch.ones(n_fft),
            center=center,
            return_complex=True,
        ).shape[-1]
        answer = as_count(attempt(samples, n_fft, hop_length, center), "the number of frames")
        sizes = f"{samples} samples, n_fft = {n_fft}, hop_length = {hop_length}"
        agree(answer, counted, f"{sizes}, center = {center}, frames of torch.stft")
    return "with center the ends are padded by n_fft / 2, so every hop starts a frame"


def exercise_01_3(attempt: Attempt) -> str:
    """The gain by which overlapping windows add up: `gain(window, hop_length)`."""
    hann = np.hanning(1025)[:-1]
    cases = {
        "Hann, hop n_fft/4": (hann, 256),
        "Hann, hop n_fft/2": (hann, 512),
        "Hann squared, hop n_fft/4": (hann**2, 256),
        "square, hop n_fft/8": (np.ones(1024), 128),
    }
    audio = generator(0, "exercise 01.3").normal(0, 0.1, 8192)
    for name, (window, hop_length) in cases.items():
        gain = as_number(attempt(window.copy(), hop_length), "the gain")
        added = np.zeros_like(audio)
        for start in range(0, len(audio) - len(window) + 1, hop_length):
            added[start : start + len(window)] += window * audio[start : start + len(window)]
        inside = slice(len(window), len(audio) - len(window))
        measured = float(added[inside] @ audio[inside] / (audio[inside] @ audio[inside]))
        left = f"{amplitude_to_db(measured / gain):+.2f} dB" if gain > 0 else "no level at all"
        require(
            math.isclose(gain, measured, rel_tol=1e-6),
            f"{name}: the frames add up to {measured:.4f} times the audio, you say {gain:.4f}; "
            f"dividing by it leaves {left}",
        )
    return "copies of a window every hop_length samples add to its sum / hop_length"


def exercise_02_1(attempt: Attempt) -> str:
    """Held-out clips: `held_out(sources, share, seed)` -> True where a clip is of the test set."""
    rng = generator(0, "exercise 02.1")
    sources = [f"guitar-{k:03d}" for k in rng.permutation(np.repeat(np.arange(200), 6))]

    def held_out(share: float, seed: int) -> np.ndarray:
        answer = attempt(list(sources), share, seed)
        return as_array(answer, (len(sources),), "held_out").astype(bool)

    for share in (0.2, 0.5):
        mask = held_out(share, 0)
        split: dict[str, set[bool]] = {}
        for source, held in zip(sources, mask, strict=True):
            split.setdefault(source, set()).add(bool(held))
        leaking = sum(len(sides) == 2 for sides in split.values())
        found = sum(True in sides for sides in split.values()) / len(split)
        changed = int((held_out(share, 0) != mask).sum())
        judge(
            f"share = {share}",
            (not leaking, f"{leaking} of {len(split)} guitars have clips on both sides: a leak"),
            (abs(found - share) <= 0.1, f"{100 * found:.0f} % of the guitars are held out"),
            (not changed, f"the same seed gave another split: {changed} clips changed sides"),
            ((held_out(share, 1) != mask).any(), "seeds 0 and 1 gave the same split"),
        )
    return "draw the guitars, not the clips; renders of one recording are one observation"


def exercise_02_2(attempt: Attempt) -> str:
    """`example(dry, effect, peak_db)` -> the wet clip, its peak at `peak_db`."""
    rng = generator(0, "exercise 02.2")
    guitar = rng.normal(0, 0.08, (2, 4000)) * np.exp(-np.arange(4000) / 1500)
    guitar[1] *= 0.5
    cases = {"stereo guitar": guitar, "quiet guitar": 0.01 * guitar, "silence": 0 * guitar}
    for (name, dry), peak_db in itertools.product(cases.items(), (-1.0, -6.0)):
        answer = attempt(dry.copy(), _drive, peak_db)
        wet = as_array(answer, dry.shape, f"the wet clip of the {name}")
        peak = max(float(np.abs(wet).max()), 1e-30)
        if name == "silence":
            require(not wet.any(), f"silence in, but a peak of {peak:.3g} out")
            continue
        expected = _drive(dry)
        factors = np.array([w @ e / (e @ e) for w, e in zip(wet, expected, strict=True)])
        off = np.abs(wet - factors[:, None] * expected).max() / peak
        found_db = amplitude_to_db(peak)
        shift_db = amplitude_to_db(factors[1]) - amplitude_to_db(factors[0]) if factors.all() else 0
        judge(
            name,
            (abs(found_db - peak_db) <= 0.01,
             f"the wet peak is {found_db:.2f} dBFS, {peak_db:g} was asked for"),
            (off <= 1e-4, f"{100 * off:.1f} % off: the effect was played at another level"),
            (abs(shift_db) <= 1e-3, f"the right channel moved {shift_db:+.1f} dB to the left one"),
        )  # fmt: skip
    return "effects depend on the player's level; normalise after the last one, all channels alike"


def _drive(audio: np.ndarray) -> np.ndarray:
    """An effect whose sound depends on the level of its input."""
    return np.tanh(6.0 * np.asarray(audio, dtype=np.float64)) * 0.7


def exercise_02_3(attempt: Attempt) -> str:
    """How many orders can be told apart: `count(pedals, commuting)`, a set of frozensets of two."""
    linear = [frozenset(pair) for pair in itertools.combinations(("reverb", "delay", "EQ"), 2)]
    cases = [
        (("distortion", "chorus", "reverb"), []),
        (("gain", "EQ", "delay"), [("gain", "EQ"), ("gain", "delay"), ("EQ", "delay")]),
        (("distortion", "reverb", "delay"), [("reverb", "delay")]),
        (("distortion", "reverb", "delay", "EQ"), linear),
        (("distortion", "chorus", "reverb", "delay", "EQ"), [*linear, ("chorus", "EQ")]),
        (("compressor", "EQ", "phaser", "gain"), [("EQ", "gain"), ("phaser", "gain")]),
        (("distortion",), []),
    ]
    for pedals, pairs in cases:
        commuting = {frozenset(pair) for pair in pairs}
        answer = as_count(attempt(list(pedals), set(commuting)), "the number of orders")
        counted = count_sounds(pedals, commuting)
        words = ", ".join("-".join(sorted(pair)) for pair in commuting) or "no pair"
        case = f"different sounds of {', '.join(pedals)} with {words} commuting"
        agree(answer, counted, f"{case}, in {math.factorial(len(pedals))} orders")
    return "nobody can name more orders than there are sounds; score against that count, not n!"


def count_sounds(pedals: Sequence[str], commuting: set[frozenset[str]]) -> int:
    """Classes of orders that swaps of commuting neighbours turn into each other."""
    unseen, classes = set(itertools.permutations(pedals)), 0
    while unseen:
        classes += 1
        reach = [unseen.pop()]
        while reach:
            order = reach.pop()
            for k in range(len(order) - 1):
                swapped = (*order[:k], order[k + 1], order[k], *order[k + 2 :])
                if frozenset(order[k : k + 2]) in commuting and swapped in unseen:
                    unseen.remove(swapped)
                    reach.append(swapped)
    return classes
