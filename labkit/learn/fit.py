"""Settings from sound, given the order: a window that grows over the clip, and CMA-ES on the whole of it beside it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Step
from labkit.effects.parameters import ParameterSpace
from labkit.effects.registry import effect
from labkit.learn.evolution import strategy
from labkit.learn.fit_search import Search, grow
from labkit.measure.losses import log_spectral_distance
from labkit.measure.metrics import si_sdr_db
from labkit.signal.files import check_audio
from labkit.signal.optional import need
from labkit.signal.seeds import generator, torch_generator

# An answer whose render comes this near to the wet recording has explained it.
ENOUGH_DB = 30.0


@dataclass(frozen=True)
class Fit:
    """What a search for settings found.

    Attributes:
        chain: the pedals with their fitted knobs.
        si_sdr_db: of the fitted chain, rendered by pedalboard, against the wet recording. Dry and wet being known,
            this is what a search knows about itself: below 30 dB it has not arrived.
        distance: what is left of the loss (spectral distance in nepers plus a tenth of the log error of the wave).
        renders: how much was rendered on the way, in clips of full length through the whole chain.
        seconds: wall time.
        lag_samples: by how much the wet recording was found to be late, and was moved; negative where it was early.
    """

    chain: Chain
    si_sdr_db: float
    distance: float
    renders: int
    seconds: float
    lag_samples: int = 0


def fit_chain(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    *,
    draws: int = 1024,
    starts: int = 8,
    steps: int = 8,
    rounds: int = 4,
    seconds: float = np.inf,
    max_lag_seconds: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Fit:
    """The knobs of a chain whose pedals and order are known, from dry and wet.

    Over a whole clip the error is a landscape of valleys: an oscillator half a turn off, an echo some samples late.
    Over its first milliseconds it is not, for an oscillator has hardly moved and no echo has come. So the search fits
    the first 12 ms, then longer and longer windows, each from where the last one ended: damped Gauss-Newton steps, in
    unit space (every knob on its own scale, 0..1), with slopes from the twins: difference quotients in float64, all of
    a pedal's in one batch. What a window does not tell about a knob the next one may; so `starts` settings are carried
    along while windows are short. Where the steps fail, the window ends just behind the place where the error sets in,
    new settings are drawn from what the last window left open (the Laplace approximation of its posterior), and the
    sample at which a delayed sound comes in is tried one by one.

    A round that fails is followed by another, with other draws; every second one begins where the dry sound first gets
    loud. The first round whose end agrees with `wet` ends the search.

    Args:
        dry: (channels, samples), as it entered the chain, aligned with `wet` but for `max_lag_seconds`.
        wet: the same shape, not silent.
        sample_rate: Hz.
        names: the pedals in order, all with twins.
        draws: random settings tried on the first window, >= starts.
        starts: how many are followed, at most; 1 or more.
        steps: of Gauss-Newton in each window, 1 or more.
        rounds: how often the search begins, at most; 1 or more.
        seconds: wall time after which no round begins, and the one under way goes no further.
        max_lag_seconds: how late or early the wet recording may lie, by a converter's latency, say. Where the fit as
            it lies does not arrive, others follow with the recording moved to where its whitened correlation with the
            dry one peaks; they share `seconds`. 0: they are aligned.
        seed: of the draws.
        device: torch's.
        progress: show a bar.

    Returns:
        The best fit of all rounds, scored by a render of pedalboard.

    Raises:
        ValueError: if shapes differ, a recording is unusable, `wet` is silent, or a number is out of range.
        KeyError: for an unknown pedal.

    Source: the steps are Marquardt 1963 with the damping tried on a grid in one batch. Windows that grow are a
        continuation method (Allgower and Georg 1990); settings carried along and drawn anew where they cannot explain
        the next samples are a particle filter for constants (Chopin 2002), with steps where that one has random moves.
    """
    dry, wet = _checked(dry, wet, sample_rate, names)
    for name, value, least in (("starts", starts, 1), ("steps", steps, 1), ("rounds", rounds, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if starts > draws:
        raise ValueError(f"starts must lie in 1..draws = 1..{draws}, got {starts}")
    if max_lag_seconds:
        given = {
            "draws": draws,
            "starts": starts,
            "steps": steps,
            "rounds": rounds,
            "seconds": seconds,
        }
        given |= {"seed": seed, "device": device, "progress": progress}
        return _fit_at_lags(
            dry, wet, sample_rate, names, _lag(dry, wet, sample_rate, max_lag_seconds), given
        )
    begun = time.perf_counter()
    search = Search(dry, wet, sample_rate, names, device)
    bar = need("tqdm").tqdm(
        total=1.0, desc="fit", disable=not progress, bar_format="{desc}: {percentage:3.0f}%|{bar}|"
    )
    found: list[tuple[float, Tensor]] = []
    for k in range(rounds):
        bar.set_description(f"fit, round {k + 1} of at most {rounds}")
        bar.reset(1.0)
        own = torch_generator(seed, "fit", k)
        begin = search.beginnings[k % 2]
        size = {"draws": draws, "starts": starts, "steps": steps, "until": begun + seconds}
        found.append(grow(search, begin, **size, rng=own, tick=bar.update))
        if found[-1][0] < 10 ** (-ENOUGH_DB / 10) or time.perf_counter() - begun > seconds:
            break
    bar.close()
    row = min(found, key=lambda pair: pair[0])[1]
    chain = _chain(names, search.spaces, row.double().cpu().numpy())
    return _scored(chain, dry, wet, sample_rate, search.renders, begun)


def _fit_at_lags(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    lag: int,
    given: Mapping[str, Any],
) -> Fit:
    """The first fit that arrives, or the best: as the recordings lie, moved by `lag`, by a sample less.

    A filter is half a sample late itself, which may round up.
    """
    found: list[Fit] = []
    shifts = list(dict.fromkeys((0, lag, lag - 1)))
    ends = time.perf_counter() + given["seconds"]
    for k, shift in enumerate(shifts):
        early, late = max(0, -shift), max(0, shift)
        pair = dry[:, early : dry.shape[1] - late], wet[:, late : wet.shape[1] - early]
        share = max(0.0, ends - time.perf_counter()) / (len(shifts) - k)
        found.append(
            replace(
                fit_chain(*pair, sample_rate, names, **given | {"seconds": share}),
                lag_samples=shift,
            )
        )
        if found[-1].si_sdr_db >= ENOUGH_DB:
            break
    spent = {
        "renders": sum(fit.renders for fit in found),
        "seconds": sum(fit.seconds for fit in found),
    }
    return replace(max(found, key=lambda fit: fit.si_sdr_db), **spent)


def _lag(dry: np.ndarray, wet: np.ndarray, sample_rate: int, max_lag_seconds: float) -> int:
    """Samples by which `wet` is late: the highest peak, of either sign, of the whitened cross-correlation.

    Source: the phase transform, Knapp and Carter 1976. A filter's own delay moves the plain correlation's peak.
    """
    most, samples = round(max_lag_seconds * sample_rate), dry.shape[1]
    if not 0 <= most < samples // 2:
        raise ValueError(
            f"max_lag_seconds must be in 0..{samples / 2 / sample_rate:g}, got {max_lag_seconds}"
        )
    cross = np.fft.rfft(wet.sum(0), 2 * samples) * np.fft.rfft(dry.sum(0), 2 * samples).conj()
    floor = max(1e-12 * np.abs(cross).max(), np.finfo(np.float64).tiny)  # dry may be silence
    product = np.abs(np.fft.irfft(cross / np.maximum(np.abs(cross), floor)))
    lags = np.arange(-most, most + 1)
    return int(lags[product[lags].argmax()])


def fit_chain_cma(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    *,
    renders: int | None = None,
    seconds: float = np.inf,
    seed: int = 0,
    progress: bool = False,
) -> Fit:
    """As `fit_chain`, without slopes: CMA-ES on the loss of the whole clip, rendered by pedalboard.

    It needs no twin, so it fits any pedal that can be rendered. It begins in the middle of every knob; when it stands
    still before the budget is spent it begins again at a random place with twice the population.

    Args:
        dry: (channels, samples), as it entered the chain, aligned with `wet`.
        wet: the same shape, not silent.
        sample_rate: Hz.
        names: the pedals in order.
        renders: budget; by default 20 d^1.5 for d knobs, or none where `seconds` is given.
        seconds: wall time after which no generation begins.
        seed: of the draws.
        progress: show a bar.

    Returns:
        The best fit met.

    Raises:
        ValueError: if shapes differ, a recording is unusable, `wet` is silent, or `renders` is below 1.
        KeyError: for an unknown pedal.
        ModuleNotFoundError: without the `cma` package.

    Source: Hansen and Ostermeier 2001 by the `cma` package; the restarts are those of Auger and Hansen 2005.
    """
    dry, wet = _checked(dry, wet, sample_rate, names)
    spaces = [effect(name).space for name in names]
    n_knobs = sum(map(len, spaces))
    if renders is None:
        renders = round(20 * n_knobs**1.5) if seconds == np.inf else np.iinfo(np.int64).max
    if renders < 1:
        raise ValueError(f"renders must be at least 1, got {renders}")
    begun, done, best, middle = (
        time.perf_counter(),
        0,
        (np.inf, np.full(n_knobs, 0.5)),
        np.full(n_knobs, 0.5),
    )
    rng, goal, size = (
        generator(seed, "fit cma"),
        torch.from_numpy(wet),
        4 + int(3 * np.log(n_knobs)),
    )
    bar = need("tqdm").tqdm(
        total=None if seconds < np.inf else renders, desc="CMA-ES", disable=not progress
    )
    while done < renders and time.perf_counter() - begun < seconds:
        search = strategy(middle, 0.3, rng, population=size)
        while not search.stop() and done < renders and time.perf_counter() - begun < seconds:
            rows = search.ask()
            clips = [_chain(names, spaces, row).render(dry, sample_rate) for row in rows]
            losses = _distance(torch.from_numpy(np.stack(clips)), goal).tolist()
            search.tell(rows, losses)
            best = min(best, (min(losses), rows[int(np.argmin(losses))]), key=lambda pair: pair[0])
            done += len(rows)
            bar.update(len(rows))
        middle, size = rng.random(n_knobs), 2 * size
    bar.close()
    return _scored(_chain(names, spaces, best[1]), dry, wet, sample_rate, done, begun)


def _checked(
    dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    dry, wet = check_audio(dry, sample_rate), check_audio(wet, sample_rate)
    if dry.shape != wet.shape:
        raise ValueError(f"dry and wet must have one shape, got {dry.shape} and {wet.shape}")
    if not wet.any():
        raise ValueError("wet must not be silent")
    if not len(names):
        raise ValueError("names must hold at least one pedal")
    return dry, wet


def _chain(names: Sequence[str], spaces: Sequence[ParameterSpace], unit: np.ndarray) -> Chain:
    """The chain of one row of unit values."""
    parts = np.split(np.clip(unit, 0, 1), np.cumsum([len(space) for space in spaces])[:-1])
    steps = zip(names, spaces, parts, strict=True)
    return Chain(tuple(Step(name, space.from_unit(part)) for name, space, part in steps))


def _scored(
    chain: Chain, dry: np.ndarray, wet: np.ndarray, sample_rate: int, renders: float, begun: float
) -> Fit:
    out = chain.render(dry, sample_rate)
    distance = float(_distance(torch.from_numpy(out)[None], torch.from_numpy(wet))[0])
    return Fit(chain, si_sdr_db(wet, out), distance, round(renders), time.perf_counter() - begun)


def _distance(out: Tensor, wet: Tensor) -> Tensor:
    """(b,): spectral distance plus a tenth of the log error of the wave, which only counts below 0 dB."""
    error = (out - wet).square().mean((1, 2)) / wet.square().mean()
    return log_spectral_distance(out, wet[None]) + 0.1 * torch.log(error + 1e-7)
