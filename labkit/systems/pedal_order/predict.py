"""From a recording to a chain: beam search inside the grammar, then the knobs; and refinement."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Step, chain_space
from labkit.learn.transformer import Cache
from labkit.measure.align import lag_of, overlap
from labkit.measure.metrics import si_sdr_db
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.signal.units import amplitude_to_db, rms_dbfs
from labkit.systems.pedal_order.config import (
    MAX_PEDALS,
    SEPARATOR,
    SHELVES,
    START,
    THREE,
    Names,
    canonical_names,
    shelf_number,
)
from labkit.systems.pedal_order.model import Heard, PedalOrderModel, features

# Windows this far below the loudest one of a recording are left out.
QUIET_DB = 30.0
# Above this SI-SDR a fitted chain explains the wet recording.
EXPLAINED_DB = 30.0
# A pedal may cause a lag up to this; a lag needs at least this correlation.
PEDALS_MS, LEAST_LIKENESS = 60.0, 0.2
# Longest time of a search over a shelf, and shortest time for each order.
SHELF_SECONDS, LEAST_SEARCH_SECONDS = 300.0, 5.0
MOST_WINDOWS = 8  # of a recording
_PEAK_DBFS = -0.01  # of what would exceed full scale
# A recording must be this long and, in its loudest 50 ms, this loud.
LEAST_SECONDS, LEAST_DBFS = 0.5, -70.0
# A cabinet is named above this probability. Of validation clips, half of which have one, .48 of
# those with one are named then, and .07 of those without.
CABINET_NAMED = 0.65
# What is said instead of a chain.
NO_PEDALS = "no pedals"
NO_GUITAR, OTHER_PEDAL = "not a guitar that I can judge", "a pedal that I do not know"


@dataclass(frozen=True)
class Prediction:
    """The most probable order with expected knobs, its probability, and all orders, best first.

    `guesses` names, for each pedal, the knobs that the sound hardly shows (six pedals or nine).
    `no_guitar` and `other_pedal` (one not on the shelf) are the probabilities that all are wrong,
    `cabinet` that a guitar cabinet, or a model of one, stands behind the chain.
    """

    chain: Chain
    probability: float
    alternatives: tuple[tuple[Names, float], ...]
    no_guitar: float = 0.0
    other_pedal: float = 0.0
    cabinet: float = 0.0
    guesses: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def refusal(self) -> str | None:
        """Why no chain is given; None if a chain is more likely than that."""
        if self.no_guitar + self.other_pedal <= 0.5:
            return None
        return NO_GUITAR if self.no_guitar > self.other_pedal else OTHER_PEDAL

    @property
    def verdict(self) -> str:
        return self.refusal or " -> ".join(self.chain.names) or NO_PEDALS

    @property
    def names_cabinet(self) -> bool:
        """Whether `cabinet` is high enough to be told."""
        return self.cabinet > CABINET_NAMED

    def presence(self, pedal: str) -> float:
        """The probability that a pedal is in the chain."""
        return sum(share for names, share in self.alternatives if pedal in names)


@dataclass(frozen=True)
class Refined:
    """The best fitted candidate, the SI-SDR of its render, and the (order, SI-SDR) of all tried.

    `lag_ms` is how far the wet recording was behind the dry one.
    """

    chain: Chain
    si_sdr_db: float
    tried: tuple[tuple[Names, float], ...]
    lag_ms: float = 0.0

    @property
    def explained(self) -> bool:
        """Whether a candidate explains the wet recording."""
        return self.si_sdr_db > EXPLAINED_DB


def predict(
    model: PedalOrderModel, audio: np.ndarray, sample_rate: int, *, shelf: Sequence[str] = THREE
) -> Prediction:
    """The chain of pedals behind a wet recording: its windows vote, see `decode`.

    Args:
        audio: (channels, samples) float32, any length, level and channel count.
        shelf: pedals that may occur, of `NINE`.

    Raises AudioError if the audio is empty, too short, too quiet or not finite.
    """
    sound = model.config.sound
    mono = to_mono(check_audio(audio, sample_rate))
    _check_enough(mono, sample_rate)
    mono = resample(mono, sample_rate, sound.sample_rate)
    clips = features(torch.from_numpy(windows(mono, sound.samples, most=MOST_WINDOWS)), sound)
    if not model.can_judge:
        return decode(model, clips, shelf)
    return _with_knobs(_judged(model, clips, shelf), mono, sound.sample_rate, shelf)


def _with_knobs(
    found: Prediction, mono: np.ndarray, sample_rate: int, shelf: Sequence[str]
) -> Prediction:
    """The prediction with the knobs that the shipped reader of knobs finds.

    For the shelf of three the decoder's stay: validation clips are re-created better with them.
    """
    if not found.chain.steps or shelf_number(shelf) == 0:
        return found
    from labkit.systems.knobs import model as knobs  # it imports this module

    reader = knobs.shipped()
    sound = reader.config.sound
    mono = resample(mono, sample_rate, sound.sample_rate)
    clips = windows(mono, sound.samples, most=MOST_WINDOWS)
    reading = knobs.read(reader, clips, found.chain.names)
    return replace(found, chain=reading.chain, guesses=reading.guesses)


def _check_enough(mono: np.ndarray, sample_rate: int) -> None:
    """Raise AudioError unless `LEAST_SECONDS` of the recording lie near its loudest moment."""
    frame = max(1, round(0.05 * sample_rate))
    frames = [part.std() for part in np.split(mono[0], range(frame, mono.shape[1], frame))]
    levels_dbfs = amplitude_to_db(np.array(frames))
    loudest = float(levels_dbfs.max())
    if loudest < LEAST_DBFS:
        raise AudioError(
            f"audio is too quiet: its loudest moment has {loudest:.0f} dBFS RMS, at least "
            f"{LEAST_DBFS:.0f} are needed"
        )
    seconds = min(frame * (levels_dbfs > loudest - 40).sum(), mono.shape[1]) / sample_rate
    if seconds < LEAST_SECONDS:
        raise AudioError(
            f"audio is too short: it holds {seconds:.2f} s of sound, at least {LEAST_SECONDS} s "
            "are needed"
        )


@torch.inference_mode()
def _judged(model: PedalOrderModel, clips: Tensor, shelf: Sequence[str]) -> Prediction:
    """`decode`, and what else the recording may be: no guitar, another pedal, no pedals.

    "No pedals" is decided apart, because the protocols draw the empty chain seldom; and with every
    pedal on the shelf, because whoever may not name a delay would call it none. Pedals that are on
    a longer shelf than this one count as others.
    """
    heard = model.hear(clips.to(next(model.parameters()).device))
    pooled, opening = heard.pooled, start(model, heard, shelf)
    orders = dict(_beam_search(model, opening, shelf, 12))
    empty = orders.pop((), 0.0)
    clean, number = model.clean(no_pedals(model, heard)), shelf_number(shelf)
    kinds = model.judge(pooled)
    other = sum(kinds[name] for name in (*tuple(SHELVES)[number + 1 :], "other"))
    known = 1 - kinds["none"] - other
    factor = known * (1 - clean) / max(1 - empty, 1e-9)
    found = [((), known * clean), *((names, factor * share) for names, share in orders.items())]
    found.sort(key=lambda one: -one[1])
    if clean <= 0.5 and not found[0][0]:  # likelier than each chain, not than all of them
        found[:2] = found[1], found[0]
    doubts = {"no_guitar": kinds["none"], "other_pedal": other}
    if model.judge_cabinet.any():
        doubts["cabinet"] = model.cabinet(pooled)
    return _prediction(model, None if number else opening, found, **doubts)  # see `_with_knobs`


def windows(audio: np.ndarray, samples: int, *, most: int) -> np.ndarray:
    """Up to `most` windows (windows, samples) of mono audio, evenly spread; quiet ones left out."""
    if audio.shape[1] < samples:
        audio = np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))
    count = min(most, 1 + 2 * (audio.shape[1] - samples) // samples)
    starts = np.linspace(0, audio.shape[1] - samples, max(1, count)).astype(int)
    cut = np.stack([audio[0, start : start + samples] for start in starts])
    power = np.square(cut).mean(1)
    return cut[power >= power.max() * 10 ** (-QUIET_DB / 10)]


def with_levels(
    chain: Chain, dry: np.ndarray, sample_rate: int, *, input_rms_dbfs: float | None = -20.0
) -> Chain:
    """The chain with steps of gain that suit one dry recording.

    The first step brings `dry` to the RMS level for which the knobs are predicted (None: no step).
    The last one, where it is needed, keeps the output below full scale; a chain without pedals
    gets no other.
    """
    level_dbfs = rms_dbfs(check_audio(dry, sample_rate))
    if level_dbfs < -120:
        raise AudioError("the dry audio is silent: the chain has no input")
    if chain.steps and input_rms_dbfs is not None:
        chain = Chain((_gain(input_rms_dbfs - level_dbfs), *chain.steps))
    peak_dbfs = amplitude_to_db(np.abs(chain.render(dry, sample_rate)).max())
    return Chain((*chain.steps, _gain(_PEAK_DBFS - peak_dbfs))) if peak_dbfs > 0 else chain


def recreate(chain: Chain, dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """A dry recording through a chain with the steps of `with_levels`."""
    return with_levels(chain, dry, sample_rate).render(dry, sample_rate)


def _gain(gain_db: float) -> Step:
    return Step("gain", {"gain_db": gain_db})


def refine(
    prediction: Prediction,
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    *,
    dry_rate: int | None = None,
    clip_seconds: float = 2.0,
    candidates: int = 4,
    seconds: float = 120.0,
    shelf: Sequence[str] = (),
    method: Literal["gradient", "cma"] = "gradient",
    seed: int = 0,
    on_order: Callable[[Names, float], None] | None = None,
) -> Refined:
    """Fit the knobs of the most probable orders in turn, until one explains the wet recording.

    If none does, the wet recording is shifted by the most likely lag. If none does then, every
    other order of the `shelf` is tried, short ones first.

    Args:
        dry: (channels, samples), as it entered the chain: drive is relative to the input level.
        wet: (channels, samples), from rest.
        dry_rate: sample rate of `dry`; that of `wet` when None.
        clip_seconds: length that is compared, from the start; 2 s hold every echo and oscillation.
        seconds: processor time for `candidates` at each lag; each gets an even share of it.
        shelf: the pedals of a search over all orders, in at most `SHELF_SECONDS`; none by default.
        method: `fit_chain`, or `fit_chain_cma` as Okita and Katayose 2026.
        on_order: called with each order that was tried, and its SI-SDR in dB.
    """
    from labkit.learn import fit  # prediction does not need it

    search = {"gradient": fit.fit_chain, "cma": fit.fit_chain_cma}[method]
    dry_rate = dry_rate or sample_rate
    dry = resample(to_mono(check_audio(dry, dry_rate)), dry_rate, sample_rate)
    wet = to_mono(check_audio(wet, sample_rate))
    n = round(clip_seconds * sample_rate)
    if not wet.any():
        raise ValueError("wet must not be silent, got zeros alone")
    if candidates < 1 and not shelf:
        raise ValueError(f"candidates must be 1 or more without a shelf, got {candidates}")
    found: list[tuple[float, Chain, int]] = []

    def explained() -> bool:
        return bool(found) and max(found, key=lambda one: one[0])[0] > EXPLAINED_DB

    def attempt(orders: Iterable[Names], lag: int, total: float, each: float) -> None:
        parts = [part[None, :n] for part in overlap(wet[0], dry[0], lag)]
        if not parts[0].any():
            return
        until = time.thread_time() + total
        for names in orders:
            if explained() or (found and time.thread_time() > until):
                return
            score, chain = si_sdr_db(*parts), Chain()
            if names:
                fitted = search(parts[1], parts[0], sample_rate, names, seconds=each, seed=seed)
                score, chain = fitted.si_sdr_db, fitted.chain
            found.append((score, chain, lag))
            if on_order:
                on_order(names, score)

    likely = [names for names, _ in prediction.alternatives[:candidates]]
    for lag in _lags(wet[0], dry[0], sample_rate):
        attempt(likely, lag, seconds, seconds / max(1, len(likely)))  # a wrong one fails soon
    if shelf and not explained():
        known = {names: -share for names, share in prediction.alternatives}
        orders = (
            order
            for some in _orders(shelf)
            for order in sorted(some - set(likely), key=lambda o: (known.get(o, 0.0), o))
        )
        best_lag = max(found, key=lambda one: one[0])[2] if found else 0
        n_orders = sum(math.perm(len(shelf), k) for k in range(MAX_PEDALS + 1))
        each = max(LEAST_SEARCH_SECONDS, SHELF_SECONDS / n_orders)
        attempt(orders, best_lag, SHELF_SECONDS, each)
    if not found:
        raise ValueError(f"wet must not be silent in its first {n} samples")
    best, chain, lag = max(found, key=lambda one: one[0])
    tried = tuple((chain.names, score) for score, chain, _ in found)
    return Refined(chain, best, tried, 1000 * lag / sample_rate)


def _orders(shelf: Sequence[str]) -> Iterator[set[Names]]:
    """All canonical orders of no pedals, of one, and so on up to `MAX_PEDALS`."""
    for k in range(min(MAX_PEDALS, len(shelf)) + 1):
        yield {canonical_names(order) for order in itertools.permutations(shelf, k)}


def _lags(wet: np.ndarray, dry: np.ndarray, sample_rate: int) -> list[int]:
    """Lags in samples by which `wet` may be behind `dry`: 0, and the most likely one.

    Pedals delay a sound too: less than `PEDALS_MS` counts as a pedal's at first, and a filter
    moves the likest lag by a sample or two.
    """
    n = 10 * sample_rate
    lag, likeness = lag_of(wet[:n], dry[:n], sample_rate)
    if not lag or abs(likeness) < LEAST_LIKENESS:
        return [0]
    likely = [lag, lag - 1, lag - 2]
    far = abs(lag) > PEDALS_MS / 1000 * sample_rate
    return list(dict.fromkeys([*likely, 0] if far else [0, *likely]))


@torch.inference_mode()
def decoded_knobs(
    model: PedalOrderModel, clips: Tensor, names: Names, shelf: Sequence[str]
) -> Chain:
    """A chain of these pedals with the knobs that the decoder writes; arguments as `decode`."""
    return chain_space(names).from_unit(_knobs(model, start(model, clips, shelf), names))


@torch.inference_mode()
def decode(
    model: PedalOrderModel, clips: Tensor, shelf: Sequence[str], *, beams: int = 12, knobs=True
) -> Prediction:
    """The chain behind one recording, by beam search over the tokens that the grammar allows.

    Its windows, `clips` (windows, rows, frames), vote: the log-probabilities of the next token are
    averaged over them. One beam is greedy. Without `knobs` each stays in the middle of its range.
    """
    opening = start(model, clips, shelf)
    orders = _beam_search(model, opening, shelf, beams)
    return _prediction(model, opening if knobs else None, orders)


def _prediction(
    model: PedalOrderModel, opening: Cache | None, orders: Sequence, **doubts: float
) -> Prediction:
    """The prediction of these orders, best first; with no `opening`, knobs are in the middle."""
    names, probability = orders[0]
    space = chain_space(names)
    unit = np.full(space.n_knobs, 0.5) if opening is None else _knobs(model, opening, names)
    return Prediction(space.from_unit(unit), probability, tuple(orders), **doubts)


@torch.inference_mode()
def no_pedals(model: PedalOrderModel, clips: Tensor | Heard) -> float:
    """The decoder's probability of no pedals, with all that it knows on the shelf; windows vote."""
    tokens = model.config.net.tokens
    opening, mask = start(model, clips, tokens.pedals), tokens.allowed([START], tokens.pedals)
    scores, _ = next_log_probabilities(model, opening, [[START]], mask[None])
    return float(np.exp(scores[0, SEPARATOR]))


def start(model: PedalOrderModel, clips: Tensor | Heard, shelf: Sequence[str]) -> Cache:
    """The decoder's cache before the first token, one row for each window."""
    pedals = model.config.net.tokens.pedals
    if not shelf or not set(shelf) <= set(pedals):
        raise ValueError(f"shelf must name pedals among {pedals}, got {tuple(shelf)}")
    if isinstance(clips, Tensor):
        clips = model.hear(clips.to(next(model.parameters()).device))
    vector = model.shelf_vector(shelf).to(clips.summary)
    return model.decoder.start(model.memory(clips, vector.expand(len(clips.summary), -1)))


def next_log_probabilities(
    model: PedalOrderModel, cache: Cache, unread: Sequence[Sequence[int]], masks: np.ndarray
) -> tuple[np.ndarray, Cache]:
    """Log-probabilities (n, n_tokens) of the next tokens of n sequences, and the longer cache.

    Args:
        cache: one row per sequence and window.
        unread: n equally long lists of the tokens that follow those in the cache.
        masks: (n, n_tokens) bool, see `ChainTokens.allowed`.
    """
    n_windows = len(cache.source[0])
    device = cache.source[0].device
    rows = torch.tensor(unread, device=device).repeat_interleave(n_windows, dim=0)
    logits, cache = model.decoder.step(rows, cache)
    forbidden = ~torch.from_numpy(masks).to(device)
    votes = logits[:, -1].double().view(len(masks), n_windows, -1)
    votes = votes.masked_fill(forbidden[:, None], -torch.inf).log_softmax(-1)
    return votes.mean(1).log_softmax(-1).cpu().numpy(), cache


def _beam_search(
    model: PedalOrderModel, cache: Cache, shelf: Sequence[str], beams: int
) -> list[tuple[Names, float]]:
    """The orders found and their probabilities, best first."""
    tokens = model.config.net.tokens
    complete = []
    totals = [0.0]
    beginnings = [[START]]
    while beginnings:
        masks = np.stack([tokens.allowed(sequence, shelf) for sequence in beginnings])
        last = [sequence[-1:] for sequence in beginnings]
        scores, cache = next_log_probabilities(model, cache, last, masks)
        grown = [
            (totals[row] + float(scores[row, token]), row, [*beginnings[row], int(token)])
            for row, token in zip(*np.nonzero(masks), strict=True)
        ]
        grown.sort(key=lambda item: -item[0])
        best = grown[:beams]
        complete += [(total, seq) for total, _, seq in best if seq[-1] == SEPARATOR]
        kept = [item for item in best if item[2][-1] != SEPARATOR]
        totals = [total for total, _, _ in kept]
        beginnings = [sequence for _, _, sequence in kept]
        cache = _rows(cache, [row for _, row, _ in kept])
    complete.sort(key=lambda item: -item[0])
    return [(tokens.decode_order(sequence), float(np.exp(total))) for total, sequence in complete]


def _knobs(model: PedalOrderModel, cache: Cache, names: Names) -> np.ndarray:
    """Expected unit values (the mean errs less than the best bin, which is fed back)."""
    tokens = model.config.net.tokens
    centres = (np.arange(tokens.n_bins) + 0.5) / tokens.n_bins
    sequence = tokens.encode_order(names)
    unread = sequence
    values = []
    for _ in range(tokens.n_knobs(names)):
        mask = tokens.allowed(sequence, tokens.pedals)
        scores, cache = next_log_probabilities(model, cache, [unread], mask[None])
        share = np.exp(scores[0, tokens.bins])
        values.append(float(share @ centres / share.sum()))
        unread = [int(np.argmax(scores[0]))]
        sequence = sequence + unread
    return np.array(values)


def _rows(cache: Cache, sequences: Sequence[int]) -> Cache:
    """The cache of these sequences, each with all its windows."""
    n_windows = len(cache.source[0])
    first = torch.tensor(sequences, dtype=torch.long)[:, None] * n_windows
    rows = first + torch.arange(n_windows)
    return cache.pick(rows.flatten().to(cache.source[0].device))
