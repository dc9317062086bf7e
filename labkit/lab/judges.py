"""What each exercise asks for: `exercise_NN_k` compares an attempt with a reference or a law.

The inputs are seeded; hints name the mistake behind a wrong answer that people give.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from labkit.effects.saturation import saturate
from labkit.lab.exercises import Attempt, as_array, as_count, as_number, compare, require
from labkit.measure.metrics import levenshtein
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude


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


def exercise_01_1(attempt: Attempt) -> str:
    """A frame length, a power of two, that separates two equal sines `spacing_hz` apart."""
    for sample_rate, spacing_hz in ((44100, 20.0), (44100, 50.0), (22050, 20.0), (48000, 100.0)):
        n_fft = as_count(attempt(sample_rate, spacing_hz), "n_fft")
        power = n_fft >= 2 and not n_fft & (n_fft - 1)
        require(power, f"n_fft must be a power of two, got {n_fft}")
        bins = spacing_hz * n_fft / sample_rate
        case = f"two sines {spacing_hz:g} Hz apart at {sample_rate} Hz, n_fft = {n_fft}"
        # From 2.5 bins on there is a valley of 3 dB between them, whatever their phases.
        require(
            bins >= 2.5,
            f"{case}: they are {bins:.2f} bins apart under a main lobe of 4, and for some phases "
            "there is no valley between them, so they look like one",
        )
        require(
            bins < 10,
            f"{case}: separated, but a quarter of that already is; your frame lasts "
            f"{1000 * n_fft / sample_rate:.0f} ms, and everything within it is smeared",
        )
    return "frequency resolution is sample_rate / n_fft times the width of the main lobe"


def exercise_01_2(attempt: Attempt) -> str:
    """The number of frames of an STFT: `frames(samples, n_fft, hop_length, center)`."""
    sizes = ((44100, 2048, 512), (44100, 1024, 256), (2048, 2048, 512), (10000, 1000, 300))
    for (samples, n_fft, hop), center in itertools.product(sizes, (True, False)):
        options = {"window": torch.ones(n_fft), "center": center, "return_complex": True}
        counted = torch.stft(torch.zeros(samples), n_fft, hop, **options).shape[-1]
        case = f"{samples} samples, n_fft = {n_fft}, hop_length = {hop}, center = {center}"
        compare(attempt(samples, n_fft, hop, center), counted, f"{case}, frames of torch.stft")
    return "with center the ends are padded by n_fft / 2, so every hop starts a frame"


def exercise_01_3(attempt: Attempt) -> str:
    """The gain by which overlapping windows add up: `gain(window, hop_length)`."""
    hann = np.hanning(1025)[:-1]
    for name, window, hop_length in (
        ("Hann, hop n_fft/4", hann, 256),
        ("Hann, hop n_fft/2", hann, 512),
        ("Hann squared, hop n_fft/4", hann**2, 256),
        ("square, hop n_fft/8", np.ones(1024), 128),
    ):
        added = np.zeros(8192)
        for start in range(0, 8192 - 1023, hop_length):
            added[start : start + 1024] += window
        case = f"{name}, the factor by which the frames add up"
        compare(attempt(window, hop_length), float(added[4096]), case)
    return "copies of a window every hop_length samples add to its sum / hop_length"


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
    """`example(dry, effect, peak_db)` -> the wet clip, its peak at `peak_db`."""
    rng = generator(0, "exercise 02.2")
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


def exercise_02_3(attempt: Attempt) -> str:
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


def exercise_03_1(attempt: Attempt) -> str:
    """`bits_per_second(sample_rate, hop_length, n_codebooks, codebook_size)` of plain codes."""
    for sample_rate, hop_length, n_codebooks, codebook_size in (
        (44_100, 512, 9, 1024),
        (44_100, 512, 1, 1024),
        (16_000, 320, 4, 2),
    ):
        bits = codebook_size.bit_length() - 1  # counted, not taken from a logarithm
        expected = sample_rate * n_codebooks * bits / hop_length
        case = f"{sample_rate} Hz, hop {hop_length}, {n_codebooks} codebooks of {codebook_size}"
        answer = attempt(sample_rate, hop_length, n_codebooks, codebook_size)
        compare(answer, expected, f"{case}, where a word needs {bits} bits")
    return "frames a second, times codebooks, times the logarithm of the number of words"


def exercise_03_2(attempt: Attempt) -> str:
    """Give idle words work: `expire(book, codes, vectors, seed)` -> a new book (size, d)."""
    rng = generator(0, "exercise 03.2")
    vectors = rng.normal(size=(200, 3))
    book = np.concatenate([rng.normal(size=(5, 3)), 50 + rng.normal(size=(11, 3))])
    codes = ((vectors[:, None] - book) ** 2).sum(-1).argmin(1)
    used = np.isin(np.arange(len(book)), codes)

    def expired(seed: int) -> np.ndarray:
        return as_array(attempt(book, codes, vectors, seed), book.shape, "the new book")

    new = expired(0)
    moved = int((new[used] != book[used]).any(1).sum())
    require(not moved, f"{moved} words that are in use have moved: only idle ones may")
    on_vectors = (new[~used][:, None] == vectors).all(-1)  # (idle words, vectors)
    lost = int((~on_vectors.any(1)).sum())
    require(not lost, f"{lost} idle words do not lie on one of the vectors: nothing is near them")
    n_places = len(set(on_vectors.argmax(1)))
    require(n_places >= 3, f"idle words were put on {n_places} vector: draw one for each")
    require(
        np.array_equal(expired(0), new) and not np.array_equal(expired(1), new),
        "seeds 0, 0 and 1 must give one book twice and another once: draw with the seed",
    )
    before, after = (((vectors[:, None] - b) ** 2).sum(-1).min(1).mean() for b in (book, new))
    return f"the mean squared error of these vectors fell from {before:.2f} to {after:.2f}"


def exercise_03_3(attempt: Attempt) -> str:
    """`embed(codes, tables)`: codes (n, frames), tables (n, size, width) -> (frames, width)."""
    rng = generator(0, "exercise 03.3")
    for n, size, width, frames in ((1, 4, 3, 5), (3, 8, 4, 6), (9, 16, 2, 1)):
        codes, tables = rng.integers(size, size=(n, frames)), rng.normal(size=(n, size, width))
        found = as_array(attempt(codes, tables), (frames, width), "the embedding")
        names = rng.permutation(size)
        renamed = np.empty_like(tables)
        renamed[:, names] = tables
        again = attempt(names[codes], renamed)
        compare(again, found, "words and vectors renamed alike: it uses the names as numbers")
        vectors = np.array([[tables[k, code] for code in codes[k]] for k in range(n)])
        hints = [(vectors.mean(0), "a frame is the sum"), (tables[0][codes].sum(0), "all from one")]
        case = f"{n} codebooks, each codebook has a table of its own"
        compare(found, vectors.sum(0), case, hints=hints)
    return "a code is a name; a model can add, compare and scale only the vectors it looks up"


SHELF = ("chorus", "delay", "distortion", "reverb")


def exercise_04_1(attempt: Attempt) -> str:
    """`may_follow(pedals_so_far, shelf, longest)` -> the set of next words, e.g. `"separator"`."""
    for length, longest in ((0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (3, 3)):
        for so_far in itertools.permutations(SHELF, length):
            found = attempt(list(so_far), list(SHELF), longest)
            words = isinstance(found, set | list | tuple) and all(isinstance(w, str) for w in found)
            require(words, f"a set of words was expected after {length} pedals, got {found!r:.60}")
            legal = {"separator", *(set(SHELF) - set(so_far) if length < longest else ())}
            where = f"after {' '.join(so_far) or 'nothing'} (longest {longest})"
            wrong, missing = sorted(set(found) - legal), sorted(legal - set(found))
            reason = "the board is full" if length == longest else "a board holds each pedal once"
            require(not wrong, f"{where} {wrong} cannot follow: {reason}")
            require(not missing, f"{where} {missing} may follow too; the clean sound is a chain")
    return "with all else masked before the softmax, every decoded sentence is a chain"


def exercise_04_2(attempt: Attempt) -> str:
    """`distance(truth, predicted)` -> fewest insertions, deletions, substitutions of pedals."""
    rng = generator(0, "exercise 04.2")
    for _ in range(60):
        truth = list(rng.permutation(SHELF)[: rng.integers(5)])
        other = list(rng.permutation(SHELF)[: rng.integers(5)])
        case = f"edits from {' '.join(truth) or '(clean)'} to {' '.join(other) or '(clean)'}"
        compare(attempt(truth, other), levenshtein(truth, other), case)
    return "two pedals swapped cost 2: an order mistake weighs twice as much as a missing pedal"


def exercise_04_3(attempt: Attempt) -> str:
    """`prior_nats(n_pedals)` -> nats per chain when all ordered subsets are equally likely."""
    for n_pedals in (1, 2, 3, 5):
        chains = sum(math.perm(n_pedals, k) for k in range(n_pedals + 1))
        case = f"{n_pedals} pedals make {chains} chains with the clean sound, nats of a guess"
        compare(attempt(n_pedals), math.log(chains), case)
    return "a model whose loss stops there has learnt the list of chains and nothing of the sound"


DEPTHS = (1.3, 2.8, 6.4, 9.5)


def _tone(name: str, n: int = 4000) -> np.ndarray:
    """A decaying tone with peak 1 and a silent beginning."""
    phases = generator(0, "exercise", name).random(5)
    t, k = np.arange(n) / n, np.arange(1, 6)[:, None]
    tone = (np.sin(2 * np.pi * (31 * k * t + phases[:, None])) * np.exp(-3 * k * t) / k).sum(0)
    tone[: n // 20] = 0.0
    return tone / np.abs(tone).max()


def exercise_05_1(attempt: Attempt) -> str:
    """`depth_of(clean, wet)` -> the depth of wet = tanh(depth clean), (samples,), 16 bits."""
    clean = _tone("05.1")
    for depth in DEPTHS:
        wet = np.round(saturate(clean, depth) * 32767) / 32767
        share = f"{np.mean(np.abs(wet) > 0.999):.0%}"
        case = f"the depth of a wet sound of which {share} are above .999, where 16 bits are coarse"
        # Weighted, 16 bits leave an error of 1e-3; plain sums of ratios more than ten times that.
        compare(attempt(clean, wet), depth, case, near=5e-3)
    return "three lines and no training: whatever is learnt must be worth more than this"


def exercise_05_2(attempt: Attempt) -> str:
    """`depth_and_level(clean, wet)` -> (depth, level) of wet = level * tanh(depth clean)."""
    clean = _tone("05.2")
    for depth, level in zip(DEPTHS, (0.31, 0.9, 0.12, 0.55), strict=True):
        wet = level * saturate(clean, depth)
        found = as_array(attempt(clean, wet), (2,), "(depth, level)")
        peak = f"the peak of wet is {np.abs(wet).max():.3f}"
        compare(found[0], depth, f"depth at level {level}; {peak}", near=0.03 * depth)
        compare(found[1], level, f"level at depth {depth}", near=0.03 * level)
    return "the best level of each depth is a quotient of two sums: only the depth is searched"


def exercise_05_3(attempt: Attempt) -> str:
    """`slope(x, depth)` -> d tanh(depth x) / d log(depth) for samples x, shape of x."""
    x = _tone("05.3", 600)
    step = 1e-5
    for depth in DEPTHS:
        up, down = (np.tanh(depth * math.exp(sign * step) * x) for sign in (1, -1))
        hints = [
            (depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
            (x * (1 - np.tanh(depth * x) ** 2), "that is the slope over depth, not its logarithm"),
        ]
        case = f"depth {depth}: what a small step of log(depth) moves the output by, a unit"
        compare(attempt(x, depth), (up - down) / (2 * step), case, near=1e-6, hints=hints)
    return "a sample deep in the curve moves no more: only quiet samples tell the depth there"


def exercise_06_1(attempt: Attempt) -> str:
    """`spsa(f, params, eps, rng)` -> (d,), the gradient of f estimated with two renders."""
    rng = generator(0, "exercise 06.1")
    eps = 0.01
    n_trials = 4000
    slope = np.array([2.0, -1.0, 0.5, 1.5])
    factor = rng.standard_normal((4, 4))
    hessian = factor @ factor.T / 4
    asked = []

    def f(params: np.ndarray) -> float:
        params = as_array(params, slope.shape, "what you give to f")
        inside = params.min() >= 0 and params.max() <= 1
        require(inside, f"f was asked at {params.round(3).tolist()}: a knob stops at 0 and at 1")
        asked.append(params)
        return float(0.5 * params @ hessian @ params + slope @ params)

    for params in (np.array([0.3, 0.6, 0.5, 0.4]), np.array([0.0, 0.6, 1.0, 0.4])):
        found = np.empty((n_trials, 4))
        for trial in range(n_trials):
            asked.clear()
            found[trial] = as_array(attempt(f, params, eps, rng), (4,), "the estimate")
            n = len(asked)
            require(n <= 2, f"{n} renders for 4 knobs: SPSA turns all at once and needs 2")
        require(np.ptp(found, axis=0).any(), f"{n_trials} estimates are the same: toss with rng")
        # At a wall the knob moves half the way, so the middle of the move is no longer params.
        center = (np.clip(params + eps, 0, 1) + np.clip(params - eps, 0, 1)) / 2
        exact = hessian @ center + slope
        # An estimate scatters by at most twice the gradient's length, their mean by the root of
        # their number less; 4.5 of that are allowed.
        allowed = 9 * np.linalg.norm(exact) / math.sqrt(n_trials)
        ratios = np.round(found.mean(0) / exact, 2).tolist()
        case = f"the mean of {n_trials} estimates at {params.tolist()}, {ratios} of the slopes"
        compare(found.mean(0), exact, case, near=allowed)
    return "right on average with two renders, however many knobs; at a wall by the real move"


def exercise_06_2(attempt: Attempt) -> str:
    """`pairs_needed(cosine, d)` -> SPSA pairs to average until the mean cosine is that high."""
    for wanted, d in ((0.5, 10), (0.9, 10), (0.9, 32), (0.7, 4), (0.95, 100)):
        found = as_count(attempt(wanted, d), "pairs_needed")
        require(found >= 1, f"{found} pairs cannot be rendered, 1 is the least")
        reached, fewer = (math.sqrt(n / (n + d - 1)) for n in (found, found - 1))
        case = f"d = {d}: averaged over {found} pairs the tosses reach a cosine of {reached:.4f}"
        require(reached > wanted - 1e-9, f"{case}, {wanted} was asked for")
        require(
            fewer < wanted, f"{case}; one pair less reaches {fewer:.4f}, and {wanted} was asked for"
        )
    return "two renders a pair: beyond a cosine of .7 differences one by one are cheaper"


def exercise_07_1(attempt: Attempt) -> str:
    """`matched_error(said, truth)` -> mean squared error of the best pairing; both (k, v)."""
    rng = generator(0, "exercise 07.1")
    for trial in range(40):
        k, v = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        truth = rng.random((k, v))
        same = attempt(truth[rng.permutation(k)], truth)
        compare(same, 0.0, f"the same {k} parts in another order are no error")
        # Parts near one of the true ones: an answer that takes the nearest takes it twice.
        guess = truth[:1] + 0.1 * rng.standard_normal((k, v)) if trial % 2 else rng.random((k, v))
        found = as_number(attempt(guess, truth), "matched_error")
        orders = itertools.permutations(range(k))
        best = min(((guess[list(order)] - truth) ** 2).mean() for order in orders)
        low = "less: does every part have a partner of its own?"
        hints = [(found, low if found < best else "more: is it the best pairing?")]
        compare(found, best, f"{k} parts of {v} values, the best of all pairings", hints=hints)
    return (
        "exchangeable parts are compared as sets; of k! pairings Kuhn finds the best in k^3 steps"
    )


def exercise_07_2(attempt: Attempt) -> str:
    """`midpoint(velocity, x, time, size)` -> x after one step; velocity(x, time) -> (d,)."""
    rng = generator(0, "exercise 07.2")
    for _ in range(20):
        a, b, c, x = rng.standard_normal((4, 3))
        time, size = float(rng.random()), float(rng.uniform(0.05, 0.5))
        asked = []

        def velocity(at: object, when: object, a=a, b=b, c=c, asked=asked) -> np.ndarray:
            asked.append(as_number(when, "the moment you ask for"))
            return a * np.sin(as_array(at, (3,), "the point you ask at")) + b * asked[-1] + c

        found = as_array(attempt(velocity, x, time, size), (3,), "midpoint")
        times = ", ".join(f"{one - time:.3f}" for one in asked)
        n = len(asked)
        require(n == 2, f"the field was asked {n} times for one step: midpoint asks 2 times")
        right = x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)
        compare(found, right, f"a step of {size:.3f}; you asked {times} after its start")
    return "two questions a step, and half the step leaves a quarter of the error; Euler's a half"


def exercise_08_1(attempt: Attempt) -> str:
    """`bell_db(hz, centre_hz, gain_db, q)` -> the gain in dB of a bell at one frequency."""
    rng = generator(0, "exercise 08.1")
    for _ in range(30):
        centre, gain, q = 100 * 2 ** rng.uniform(0, 6), rng.uniform(-12, 12), rng.uniform(0.4, 4)
        compare(
            attempt(centre, centre, gain, q), gain, "the gain of a bell at its centre", near=1e-6
        )
        ratio = 2 ** rng.uniform(0.2, 3)
        # |H(jx)| of (s^2 + s A/Q + 1) / (s^2 + s/(A Q) + 1), by complex arithmetic.
        s, amplitude = 1j * ratio, 10 ** (gain / 40)
        response = (s * s + s * amplitude / q + 1) / (s * s + s / (amplitude * q) + 1)
        expected = 20 * math.log10(abs(response))
        place = f"{np.log2(ratio):.2f} octaves"
        up = as_number(attempt(centre * ratio, centre, gain, q), "bell_db")
        down = attempt(centre / ratio, centre, gain, q)
        compare(down, up, f"{place} below the centre must be as {place} above", near=1e-6)
        compare(up, expected, f"{place} from a bell of {gain:.2f} dB and Q {q:.2f}", near=1e-6)
    return "gradients pass through this formula, so a network learns an equaliser without filtering"


def exercise_08_2(attempt: Attempt) -> str:
    """`recall(asked, keys, values, width)` -> values averaged by softmax of nearness."""
    rng = generator(0, "exercise 08.2")
    for _ in range(20):
        keys, values = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
        asked = keys[2] + 0.01 * rng.normal(size=3)
        weights = np.exp(-((keys - asked) ** 2).sum(1) / (2 * 0.8**2))
        for width, expected, near, rule in (
            (0.02, values[2], 1e-3, "the nearest memory is recalled as it is"),
            (1e4, values.mean(0), 1e-3, "all memories count alike, in a mean"),
            (0.8, weights @ values / weights.sum(), 1e-6, "softmax(-distance^2 / (2 width^2))"),
        ):
            compare(
                attempt(asked, keys, values, width), expected, f"{width = :g}, {rule}", near=near
            )
    return "kernel regression is attention with distances for scores: it knows what it remembers"


def exercise_08_3(attempt: Attempt) -> str:
    """`degree(words)` -> the signed weight of the last word."""
    for words, expected in {
        "bright": 1.0,
        "very bright": 1.5,
        "slightly bright": 0.5,
        "less bright": -1.0,
        "slightly less bright": -0.5,
        "not bright": -0.5,
        "not very bright": -0.75,
        "not less bright": 0.5,
    }.items():
        compare(attempt(words.split()), expected, f"the weight of {words!r}")
    return "signs and degrees multiply: one rule answers sentences that no data set holds"
