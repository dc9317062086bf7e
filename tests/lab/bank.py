"""Answers to the exercises: `RIGHT` name -> solution, `WRONG` (name, answer, part of its message).

The wrong ones are those that people give.
"""

# ruff: noqa: ARG001, ARG005 - a wrong answer often ignores what it was given

import itertools
import math

import numpy as np
from scipy.optimize import linear_sum_assignment


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


def bits_per_second(rate, hop, n_codebooks, size):
    return rate / hop * n_codebooks * math.log2(size)


def expire(book, codes, vectors, seed):
    idle = np.setdiff1d(np.arange(len(book)), codes)
    book[idle] = vectors[np.random.default_rng(seed).integers(len(vectors), size=len(idle))]
    return book


def all_moved(book, codes, vectors, seed):
    return vectors[np.random.default_rng(seed).integers(len(vectors), size=len(book))]


def to_zero(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = 0
    return book


def all_on_one(book, codes, vectors, seed):
    book[np.setdiff1d(np.arange(len(book)), codes)] = vectors[seed]
    return book


def stacked(codes, tables):
    return tables[np.arange(len(codes))[:, None], codes]


def embed(codes, tables):
    return stacked(codes, tables).sum(0)


def may_follow(so_far, shelf, longest):
    left = set(shelf) - set(so_far) if len(so_far) < longest else set()
    return left | {"separator"}


def repeats(so_far, shelf, longest):
    return {*shelf, "separator"} if len(so_far) < longest else {"separator"}


def endless(so_far, shelf, longest):
    return {*shelf, "separator"} - set(so_far)


def never_clean(so_far, shelf, longest):
    found = may_follow(so_far, shelf, longest)
    return found if so_far else found - {"separator"}


def distance(truth, said):
    row = list(range(len(said) + 1))
    for i, a in enumerate(truth, start=1):
        above, row = row, [i]
        for j, b in enumerate(said, start=1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (a != b)))
    return row[-1]


def places_that_differ(truth, said):
    return sum(a != b for a, b in itertools.zip_longest(truth, said))


def n_chains(n):
    return sum(math.perm(n, k) for k in range(n + 1))


def depth_of(clean, wet):
    kept = np.abs(wet) < 0.9
    weight = (1 - wet[kept] ** 2) ** 2
    return (weight * clean[kept] * np.arctanh(wet[kept])).sum() / (weight * clean[kept] ** 2).sum()


def every_sample(clean, wet):
    inner = np.clip(wet, -0.99999, 0.99999)
    return (clean * np.arctanh(inner)).sum() / (clean**2).sum()


def depth_and_level(clean, wet):
    best = (np.inf, 1.0, 1.0)
    for depth in np.geomspace(1, 10, 400):
        bent = np.tanh(depth * clean)
        level = (bent * wet).sum() / (bent * bent).sum()
        best = min(best, (((wet - level * bent) ** 2).sum(), depth, level))
    return best[1:]


def level_from_the_peak(clean, wet):
    level = np.abs(wet).max()
    return depth_of(clean, wet / level), level


def slope(x, depth):
    return depth * x * (1 - np.tanh(depth * x) ** 2)


def toss(params, eps, rng):
    signs = 2 * rng.integers(0, 2, len(params)) - 1
    return signs, np.clip(params + eps * signs, 0, 1), np.clip(params - eps * signs, 0, 1)


def spsa(f, params, eps, rng):
    _, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / (up - down)


def halved_at_walls(f, params, eps, rng):
    signs, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / (2 * eps * signs)


def through_the_wall(f, params, eps, rng):
    signs, *_ = toss(params, eps, rng)
    return (f(params + eps * signs) - f(params - eps * signs)) / (2 * eps * signs)


def sign_forgotten(f, params, eps, rng):
    _, up, down = toss(params, eps, rng)
    return (f(up) - f(down)) / np.abs(up - down)


def one_by_one(f, params, eps, rng):
    steps = eps * np.eye(len(params))
    pairs = [(np.clip(params + s, 0, 1), np.clip(params - s, 0, 1)) for s in steps]
    return np.array([(f(up) - f(down)) / (2 * eps) for up, down in pairs])


def never_tossed(f, params, eps, rng):
    up, down = np.clip(params + eps, 0, 1), np.clip(params - eps, 0, 1)
    return (f(up) - f(down)) / (up - down)


def pairs_needed(cosine, d):
    return math.ceil(cosine**2 * (d - 1) / (1 - cosine**2))


def costs(said, truth):
    return ((said[:, None] - truth[None]) ** 2).mean(-1)


def matched_error(said, truth):
    cost = costs(said, truth)
    return cost[linear_sum_assignment(cost)].mean()


def in_order(said, truth):
    return ((said - truth) ** 2).mean()


def sorted_by_first(said, truth):
    return in_order(said[said[:, 0].argsort()], truth[truth[:, 0].argsort()])


def midpoint(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time + size / 2)


def clock_forgotten(velocity, x, time, size):
    return x + size * velocity(x + size / 2 * velocity(x, time), time)


def heun(velocity, x, time, size):
    first = velocity(x, time)
    return x + size / 2 * (first + velocity(x + size * first, time + size))


def bell_db(hz, centre_hz, gain_db, q):
    x, amplitude = hz / centre_hz, 10 ** (gain_db / 40)
    near = (1 - x * x) ** 2
    return 10 * math.log10((near + (x * amplitude / q) ** 2) / (near + (x / (amplitude * q)) ** 2))


def gaussian(hz, centre_hz, gain_db, q):
    return gain_db * math.exp(-((q * math.log2(hz / centre_hz)) ** 2))


def in_hertz(hz, centre_hz, gain_db, q):
    return gain_db / (1 + (q * (hz - centre_hz) / centre_hz) ** 2)


def softmax_mean(scores, values):
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def recall(asked, keys, values, width):
    return softmax_mean(-((keys - asked) ** 2).sum(1) / (2 * width**2), values)


def nearest(asked, keys, values, width):
    return values[((keys - asked) ** 2).sum(1).argmin()]


def without_square(asked, keys, values, width):
    return softmax_mean(-np.linalg.norm(keys - asked, axis=1) / width, values)


def dot_products(asked, keys, values, width):
    return softmax_mean(keys @ asked / width, values)


def degree(words):
    factors = {"very": 1.5, "slightly": 0.5, "less": -1.0, "not": -0.5}
    return math.prod(factors[word] for word in words[:-1])


RIGHT = {
    "00.1": matched,
    "00.2": before,
    "01.1": lambda rate, hz: power_of_two(2.5 * rate / hz),
    "01.2": frames,
    "01.3": lambda window, hop: window.sum() / hop,
    "02.1": held_out,
    "02.2": example,
    "02.3": count,
    "03.1": bits_per_second,
    "03.2": expire,
    "03.3": embed,
    "04.1": may_follow,
    "04.2": distance,
    "04.3": lambda n: math.log(n_chains(n)),
    "05.1": depth_of,
    "05.2": depth_and_level,
    "05.3": slope,
    "06.1": spsa,
    "06.2": pairs_needed,
    "07.1": matched_error,
    "07.2": midpoint,
    "08.1": bell_db,
    "08.2": recall,
    "08.3": degree,
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
    ("01.1", lambda rate, hz: 2048, "0.93 bins apart"),
    ("01.1", lambda rate, hz: power_of_two(rate / hz), "look like one"),
    ("01.1", lambda rate, hz: power_of_two(2 * rate / hz), "2.32 bins apart"),
    ("01.1", lambda rate, hz: 65536, "lasts 1486 ms"),
    ("01.1", lambda rate, hz: math.ceil(2.5 * rate / hz), "must be a power of two, got 5513"),
    ("01.1", lambda rate, hz: rate / 0, "your function raised ZeroDivisionError: division by zero"),
    ("01.1", lambda rate, hz: "8192", "n_fft must be one finite number, got str '8192'"),
    ("01.2", lambda n, n_fft, hop, center: n // hop, "expected 87, you say 86"),
    ("01.2", lambda n, _, hop, center: 1 + n // hop, "center = False, frames of torch.stft"),
    ("01.2", lambda n, n_fft, hop, center: 1 + (n - n_fft) // hop, "center = True"),
    ("01.2", lambda n, n_fft, hop, center: 1 + n / hop, "must be a whole number"),
    ("01.3", lambda window, hop: len(window) / hop, "the frames add up: expected 2, you say 4"),
    ("01.3", lambda window, hop: (window**2).sum() / hop, "expected 2, you say 1.5"),
    ("01.3", lambda window, hop: 2.0, "Hann, hop n_fft/2, the factor by which"),
    ("01.3", lambda window, hop: window / hop, "must be one finite number, got shape (1024,)"),
    ("02.1", by_clip, "of 200 guitars have clips on both sides"),
    ("02.1", lambda names, *_: [False] * len(names), "share = 0.2: 0 % of the guitars are held"),
    ("02.1", unseeded, "the same seed gave another split"),
    ("02.1", lambda names, share, _: held_out(names, share, 7), "seeds 0 and 1 gave the same"),
    ("02.1", lambda *_: [True], "held_out must be an array of shape (1200,), got list [True]"),
    ("02.1", lambda *_: [[True], []], "held_out must be an array of shape (1200,)"),
    ("02.2", lambda dry, effect, db: effect(to_peak(dry, db)), "the wet peak is -3.1"),
    ("02.2", lambda dry, effect, db: to_peak(effect(to_peak(dry, 0.0)), db), "at another level"),
    ("02.2", per_channel, "the right channel moved"),
    ("02.2", unsafe, "the wet clip of the silence holds 8000 NaN"),
    ("02.2", lambda dry, effect, db: effect(dry), "dBFS, -1 was asked for"),
    ("02.2", lambda dry, effect, db: to_peak(effect(dry).mean(0), db), "got shape (4000,)"),
    ("02.3", lambda pedals, _: math.factorial(len(pedals)), "in 6 orders: expected 1, you say 6"),
    ("02.3", halved, "in 6 orders: expected 4, you say 3"),
    ("02.3", one_swap, "different sounds of"),
    ("02.3", lambda pedals, pairs: 2 ** len(pedals), "no pair commuting, in 6 orders: expected 6"),
    ("03.1", lambda rate, hop, n, size: rate / hop * n * size, "a word needs 10 bits"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(size), "9 codebooks of 1024"),
    ("03.1", lambda rate, hop, n, size: rate / hop * math.log2(n * size), "you say"),
    ("03.1", lambda *_: "8 kbit/s", "must be one finite number"),
    ("03.2", all_moved, "words that are in use have moved"),
    ("03.2", to_zero, "idle words do not lie on one of the vectors"),
    ("03.2", all_on_one, "draw one for each"),
    ("03.2", lambda book, codes, vectors, _: expire(book, codes, vectors, 7), "seeds 0, 0 and 1"),
    ("03.2", lambda book, *_: book[:3], "must be an array of shape (16, 3)"),
    ("03.3", lambda codes, t: codes.T.astype(float) @ t.mean(1), "it uses the names as numbers"),
    ("03.3", lambda codes, tables: tables[0][codes].sum(0), "each codebook has a table of its own"),
    ("03.3", lambda codes, tables: stacked(codes, tables).mean(0), "a frame is the sum"),
    ("03.3", stacked, "must be an array of shape (5, 3)"),
    ("04.1", repeats, "a board holds each pedal once"),
    ("04.1", endless, "cannot follow: the board is full"),
    ("04.1", never_clean, "the clean sound is a chain"),
    ("04.1", lambda *_: 3, "a set of words was expected"),
    ("04.2", lambda truth, said: len(set(truth) ^ set(said)), "you say"),
    ("04.2", places_that_differ, "you say"),
    ("04.3", lambda n: math.log(2**n), "you say"),
    ("04.3", lambda n: math.log(math.factorial(n)), "nats of a guess: expected"),
    ("04.3", lambda n: math.log2(n_chains(n)), "nats"),
    ("05.1", lambda clean, wet: np.mean(np.arctanh(wet) / clean), "holds 1 NaN or infinite"),
    ("05.1", every_sample, "expected 6.4, you say 6.393"),
    ("05.1", lambda x, wet: (x * wet).sum() / (x**2).sum(), "expected 1.3, you say 1.1274"),
    ("05.1", lambda _, wet: np.arctanh(min(np.abs(wet).max(), 0.99999)), "you say 6.103"),
    ("05.2", lambda clean, wet: (depth_of(clean, wet), 1.0), "the peak of wet is"),
    ("05.2", level_from_the_peak, "the peak of wet is"),
    ("05.2", lambda x, wet: (depth_and_level(x, wet)[0], 1.0), "level at depth 1.3: expected 0.31"),
    ("05.2", lambda *_: 3, "(depth, level) must be an array of shape (2,), got int 3"),
    ("05.3", lambda x, depth: slope(x, depth) / depth, "the slope over depth"),
    ("05.3", lambda x, depth: depth * (1 - np.tanh(depth * x) ** 2), "that is the slope over x"),
    ("05.3", lambda x, depth: depth * x, "moves the output by"),
    ("06.1", halved_at_walls, "at [0.0, 0.6, 1.0, 0.4], [0.5, 0.99, 0.5, 1.01] of the slopes"),
    ("06.1", through_the_wall, "a knob stops at 0 and at 1"),
    ("06.1", sign_forgotten, "of the slopes: expected 2.1621, you say 0.066505 at 3"),
    ("06.1", one_by_one, "needs 2"),
    ("06.1", never_tossed, "toss with rng"),
    ("06.2", lambda _, d: d, "one pair less reaches 0.7071, and 0.5 was asked for"),
    ("06.2", lambda cosine, d: math.ceil(cosine * d), "the tosses reach a cosine of"),
    ("06.2", lambda c, d: math.floor(c**2 * (d - 1) / (1 - c**2)), "0.8992, 0.9 was asked for"),
    ("06.2", lambda cosine, d: pairs_needed(cosine, d) + 1, "one pair less reaches 0.5000"),
    ("06.2", lambda *_: 0, "cannot be rendered"),
    ("07.1", in_order, "in another order are no error"),
    ("07.1", lambda said, truth: costs(said, truth).min(1).mean(), "a partner of its own"),
    ("07.1", sorted_by_first, "is it the best pairing"),
    ("07.1", lambda said, truth: matched_error(said, truth) * said.size, "you say"),
    ("07.1", lambda said, truth: np.array([in_order(said, truth)] * 2), "one finite number"),
    ("07.2", lambda velocity, x, time, size: x + size * velocity(x, time), "asked 1 times"),
    ("07.2", clock_forgotten, "you asked 0.000, 0.000 after its start"),
    ("07.2", heun, "you asked 0.000, 0.348 after its start"),
    ("07.2", lambda f, x, t, size: midpoint(f, x, t, size / 2), "you asked 0.000, 0.087 after"),
    ("08.1", gaussian, "octaves from a bell of"),
    ("08.1", in_hertz, "below the centre must be as"),
    ("08.1", lambda hz, centre, gain, q: 2 * bell_db(hz, centre, gain, q), "at its centre"),
    ("08.2", nearest, "all memories count alike, in a mean"),
    ("08.2", without_square, "softmax"),
    ("08.2", dot_products, "nearest memory"),
    ("08.3", lambda _: 1.0, "the weight of"),
    ("08.3", lambda words: -0.5 if "not" in words else degree(words), "expected -0.75"),
    ("08.3", lambda words: abs(degree(words)), "expected -1,"),
]
