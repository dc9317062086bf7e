"""What the exercises of notebook 02 ask for: each compares an attempt with a reference or a law."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.effects.registry import SHIPPED
from labkit.lab.exercises import Attempt, NotYet, as_array, compare, require
from labkit.measure.metrics import relative_error_db
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude


def exercise_02_1(attempt: Attempt) -> str:
    """Held-out clips: `held_out(sources, share, seed)` -> True where a clip is of the test set."""
    rng = generator(0, "exercise 02.1")
    sources = np.array([f"guitar-{k:03d}" for k in rng.permutation(np.repeat(np.arange(200), 6))])

    def held_out(share: float, seed: int) -> np.ndarray:
        answer = attempt(sources.tolist(), share, seed)
        return as_array(answer, sources.shape, "held_out").astype(bool)

    for share in (0.2, 0.5):
        mask = held_out(share, 0)
        tested = set(sources[mask])
        leaking = len(tested & set(sources[~mask]))
        require(
            not leaking,
            f"{leaking} of 200 guitars have clips on both sides; a model can know the "
            "guitar instead of the effect, and the test will not show it",
        )
        near = abs(len(tested) / 200 - share) <= 0.1
        require(near, f"share = {share}: {len(tested) / 2:.0f} % of the guitars are held out")
        changed = int((held_out(share, 0) != mask).sum())
        require(not changed, f"the same seed gave another split: {changed} clips changed sides")
        other = (held_out(share, 1) != mask).any()
        require(other, "seeds 0 and 1 gave the same split: use the seed")
    return "draw the guitars, not the clips; renders of one recording are one observation"


def exercise_02_2(attempt: Attempt) -> str:
    """A knob with a log scale: `knob_value(position, low, high)`."""
    for position, low, high in ((0.0, 80.0, 5120.0), (1.0, 80.0, 5120.0), (0.5, 0.12, 0.6)):
        middle, log = low + position * (high - low), low + (high - low) * np.log1p(position)
        hints = [(middle, "that is the linear scale"), (log, "equal steps must be equal ratios")]
        hints += [(low * 10**position, "the ratio of the ends is high / low, not 10")]
        expected = Parameter("knob", "", low, high, "log").from_unit(position)
        case = f"position {position:g} between {low:g} and {high:g}"
        compare(attempt(position, low, high), expected, case, hints=hints if position else ())
    return "equal steps of the knob are equal ratios: an octave takes as much way anywhere"


def exercise_02_3(attempt: Attempt) -> str:
    """`tremolo(audio, sample_rate, rate_hz, depth)`, in torch, a batch at once."""
    sample_rate, seconds = 8000, np.arange(8000) / 8000
    rate_hz, depth = np.array([4.0, 2.5]), np.array([1.0, 0.4])
    guitar = generator(0, "exercise 02.3").normal(0, 0.1, (2, 2, 8000)).astype(np.float32)
    swing = (1 - np.cos(2 * np.pi * rate_hz[:, None] * seconds)) / 2
    gain = (1 - depth[:, None] * swing)[:, None]
    for what, dry in (("a constant 1", np.ones_like(guitar)), ("a guitar", guitar)):
        knobs = (torch.tensor(knob, dtype=torch.float32) for knob in (rate_hz, depth))
        answer = attempt(torch.from_numpy(dry), sample_rate, *knobs)
        wet = as_array(answer, dry.shape, f"the tremolo of {what}", of=torch.Tensor)
        low, high = wet[1].min(), wet[1].max()
        least = f"depth 0.4 turns 1 down to {low:.2f} and up to {high:.2f}, expected 0.60 and 1.00"
        require(what == "a guitar" or (abs(low - 0.6) < 0.01 and abs(high - 1) < 0.01), least)
        first = (
            f"{what}: the first sample is multiplied by {wet[1, 0, 0] / dry[1, 0, 0]:.2f}, not 1"
        )
        require(abs(wet[1, 0, 0] - dry[1, 0, 0]) < 1e-3, first)
        off = np.abs(wet - gain * dry).max((1, 2))
        words = (
            f"{what}: off by up to {off.max():.2g} (item {off.argmax()}): is a period 1 / rate_hz?"
        )
        require(off.max() < 1e-3, words)
    return "a gain that moves with time; every item of the batch has its own knobs"


def exercise_02_4(attempt: Attempt) -> str:
    """`my_pedal()` -> an `Effect` whose record keeps the laws of all pedals."""
    pedal = attempt()
    require(isinstance(pedal, Effect), f"the answer must be an Effect, got {type(pedal).__name__}")
    knobs = isinstance(pedal.space, ParameterSpace)
    require(knobs, f"its knobs must be a `space(...)`, got {type(pedal.space).__name__}")
    taken = pedal.name in SHIPPED
    require(
        not taken, f"the name {pedal.name!r} is taken by one of {len(SHIPPED)} pedals of labkit"
    )
    rng = generator(0, "exercise 02.4")
    one, two = rng.normal(0, 0.1, (2, 1, 22050)) * np.exp(-np.arange(22050) / 9000)

    def play(audio: np.ndarray, params: dict[str, float]) -> np.ndarray:
        try:
            wet = pedal.render(audio, 22050, **params)
        except Exception as error:
            raise NotYet(f"rendering 1 clip raised {type(error).__name__}: {error}") from error
        return as_array(wet, audio.shape, "the rendered clip")

    past = int(pedal.memory_ms * 22.05) if 0 < pedal.memory_ms < 400 else 0  # samples at 22050 Hz
    off = {"linear": [], "time_invariant": [], "memory_ms": [], "older": []}
    middle = pedal.space.from_unit(np.full(len(pedal.space), 0.5))
    for params in (middle, *pedal.space.corners()[:16]):
        require(not play(0 * one, params).any(), f"silence does not stay 0 at {params}")
        wet, both = play(one, params), play(one + two, params)
        off["linear"].append(relative_error_db(both, wet + play(two, params)))
        later = play(np.pad(one, ((0, 0), (4999, 0))), params)[:, 4999:]
        off["time_invariant"].append(relative_error_db(wet, later))
        present = np.where(np.arange(22050) < 9000, 0, one)
        alone = play(present, params)
        off["memory_ms"].append(relative_error_db(wet[:, 9000:], alone[:, 9000:]))
        off["older"].append(relative_error_db(wet[:, 9000 + past :], alone[:, 9000 + past :]))
    for field, law in _LAWS.items():
        worst_db, value = max(off[field]), getattr(pedal, field)
        keeps = not value if field == "memory_ms" else value
        words = f"{field}={value} is declared, but {law} differ by {worst_db:.0f} dB"
        require((worst_db < -60) == keeps, f"{words} (below -60 dB counts as the same)")
    words = f"memory_ms={pedal.memory_ms} is declared, but what is older still makes"
    older_db = max(off["older"])
    require(not past or older_db < -50, f"{words} a difference of {older_db:.0f} dB")
    for knob in pedal.space.parameters:
        ends = (play(one, {**middle, knob.name: end}) for end in (knob.low, knob.high))
        require(relative_error_db(*ends) > -80, f"turning {knob.name} changes nothing (-80 dB)")
    found = ", ".join(f"{field}={getattr(pedal, field)}" for field in _LAWS)
    return f"{pedal.name} keeps every law of the shipped pedals with {found}: `register` it"


_LAWS = {
    "linear": "two clips together and the sum of their renders",
    "time_invariant": "a clip and the same clip 0.2 s later",
    "memory_ms": "renders with and without the sound 0.4 s ago",
}


def exercise_02_5(attempt: Attempt) -> str:
    """How many orders can be told apart: `count(pedals, commuting)`, a set of frozensets of two."""
    linear = list(itertools.combinations(("reverb", "delay", "EQ"), 2))
    for pedals, pairs in (
        (("distortion", "chorus", "reverb"), []),
        (("gain", "EQ", "delay"), [("gain", "EQ"), ("gain", "delay"), ("EQ", "delay")]),
        (("distortion", "reverb", "delay"), [("reverb", "delay")]),
        (("distortion", "chorus", "reverb", "delay", "EQ"), [*linear, ("chorus", "EQ")]),
        (("distortion",), []),
    ):
        commuting = {frozenset(pair) for pair in pairs}
        words = ", ".join("-".join(pair) for pair in pairs) or "no pair"
        orders = math.factorial(len(pedals))
        case = f"different sounds of {', '.join(pedals)} with {words} commuting, in {orders} orders"
        compare(attempt(list(pedals), commuting), count_sounds(pedals, commuting), case)
    return "nobody can name more orders than there are sounds; score against that count, not n!"


def count_sounds(pedals: Sequence[str], commuting: set[frozenset[str]]) -> int:
    """Orders that differ in at least one pair of pedals that do not commute."""
    pairs = [p for p in itertools.combinations(pedals, 2) if frozenset(p) not in commuting]
    orders = itertools.permutations(pedals)
    return len({tuple(order.index(a) < order.index(b) for a, b in pairs) for order in orders})


def exercise_02_6(attempt: Attempt) -> str:
    """`example(dry, effect, peak_db)` -> the wet clip, its peak at `peak_db`."""
    rng = generator(0, "exercise 02.6")
    guitar = rng.normal(0, 0.08, (2, 4000)) * np.exp(-np.arange(4000) / 1500)
    guitar[1] *= 0.5
    cases = {"stereo guitar": guitar, "quiet guitar": 0.01 * guitar, "silence": 0 * guitar}
    for (name, dry), peak_db in itertools.product(cases.items(), (-1.0, -6.0)):
        wet = as_array(attempt(dry, _drive, peak_db), dry.shape, f"the wet clip of the {name}")
        peak = db_to_amplitude(peak_db)
        expected = _drive(dry)
        if name == "silence":
            compare(wet, expected, "silence in, silence out")
            continue
        reached_db = 20 * math.log10(np.abs(wet).max() + 1e-30)
        require(
            abs(reached_db - peak_db) <= 0.01,
            f"{name}: the wet peak is {reached_db:.2f} dBFS, {peak_db:g} was asked for",
        )
        alone = expected / np.abs(expected).max(1, keepdims=True) * peak
        expected *= peak / np.abs(expected).max()
        hints = [(alone, "the right channel moved: use one factor for both")]
        what = f"{name}: right peak, but no constant times effect(dry): was dry at another level?"
        compare(wet, expected, what, near=1e-4 * peak, hints=hints)
    return "effects depend on the player's level; normalise after the last one, all channels alike"


def _drive(audio: np.ndarray) -> np.ndarray:
    """An effect whose sound depends on the level of its input."""
    return np.tanh(6.0 * np.asarray(audio, dtype=np.float64)) * 0.7


def exercise_02_7(attempt: Attempt) -> str:
    """`at_snr(audio, noise, snr_db)` -> audio plus noise that much softer."""
    rng = generator(0, "exercise 02.7")
    audio, noise = rng.normal(0, 0.1, (2, 4000)), rng.normal(0, 3.0, (2, 4000)) ** 3
    for snr_db in (20.0, 0.0, -6.0):
        rms = np.sqrt(np.mean(audio**2) / np.mean(noise**2))
        peak = np.abs(audio).max() / np.abs(noise).max()
        each = np.sqrt(np.mean(audio**2, 1) / np.mean(noise**2, 1))[:, None]
        factor = db_to_amplitude(-snr_db)
        hints = [
            (audio + noise * factor, "the level of the noise itself counts: divide by its RMS"),
            (audio + noise * rms * factor**2, "10 ** (dB / 20) for amplitudes"),
            (audio + noise * rms / factor, "the sign: a high SNR is little noise"),
            (audio + noise * peak * factor, "levels are RMS, not peaks"),
            (audio + noise * each * factor, "take one RMS, over both channels"),
        ]
        case = f"{snr_db:g} dB"
        found = as_array(attempt(audio, noise, snr_db), audio.shape, case, of=np.ndarray)
        compare(found, audio + noise * rms * factor, case, hints=hints)
    return "the ratio is stated, so quiet and loud clips are disturbed alike"


def exercise_02_8(attempt: Attempt) -> str:
    """`cabinet(audio, impulse_response)`: convolution, as long as the audio."""
    rng = generator(0, "exercise 02.8")
    for samples, taps in ((3000, 800), (500, 2000), (1000, 1)):
        audio, impulse = rng.normal(0, 0.1, (2, samples)), rng.normal(0, 1, taps)
        full = np.stack([np.convolve(channel, impulse) for channel in audio])
        wrapped = full[:, :samples].copy()
        rest = full[:, samples : 2 * samples]
        wrapped[:, : rest.shape[1]] += rest
        start = (min(samples, taps) - 1) // 2
        hints = [
            (wrapped, "the end came round to the start: pad to samples + taps - 1 before the FFT"),
            (full[:, start : start + samples], "that is the middle: keep the first samples"),
        ]
        case = f"{samples} samples through {taps} taps"
        compare(attempt(audio, impulse), full[:, :samples], case, near=1e-5, hints=hints)
    return "a product of spectra is a convolution, once there is room for the tail"
