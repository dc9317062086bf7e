"""Settings from sound, given the order: a window that grows over the clip, and CMA-ES on the whole of it beside it."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Step
from labkit.effects.parameters import ParameterSpace
from labkit.effects.registry import effect
from labkit.effects.twins import twin
from labkit.effects.twins.board import from_unit
from labkit.measure.losses import log_spectral_distance
from labkit.measure.metrics import si_sdr_db
from labkit.signal.audio import check_audio
from labkit.signal.optional import need
from labkit.signal.seeds import generator, torch_generator

# A window with an error below this is explained: the twins come nearer than that to pedalboard.
EXPLAINED = 1e-5
# After a window with an error above this, or after so many windows that steps alone did not explain, a round is lost.
LOST, MOST_PRESSES = 1e-2, 30
ENOUGH_DB = 30.0
# Knobs that say when a sound comes in, with the seconds in one of their units. Their valleys are a sample or a period
# wide; an echo moves in whole samples and has no slope at all.
ARRIVALS = {"delay_seconds": 1.0, "centre_delay_ms": 1e-3}
ECHO = "delay_seconds"
FIRST_SECONDS, LEAST_SECONDS, GROWTH = 0.012, 0.0007, 1.6
# Arrivals are sought this far back; that takes long, so for more than the best row only in windows that are short.
BACK_SECONDS, SHORT_SECONDS = 0.02, 0.06
KIDS = 24
# Of audio rendered in one batch: what a processor's cache and memory like.
BATCH_SECONDS = 4.0


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
    """

    chain: Chain
    si_sdr_db: float
    distance: float
    renders: int
    seconds: float


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
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Fit:
    """The knobs of a chain whose pedals and order are known, from dry and wet.

    Over a whole clip the error is a landscape of valleys: an oscillator half a turn off, an echo some samples late.
    Over its first milliseconds it is not, for an oscillator has hardly moved and no echo has come. So the search fits
    the first 12 ms, then longer and longer windows, each from where the last one ended: damped Gauss-Newton steps, in
    unit space (every knob on its own scale, 0..1), with slopes from the twins. What a window does not tell about a
    knob the next one may; so `starts` settings are carried along while windows are short. Where the
    steps fail, the window ends just behind the place where the error sets in, new settings are drawn from what the
    last window left open (the Laplace approximation of its posterior), and the sample at which a delayed sound
    comes in is tried one by one.

    A round that fails is followed by another, with other draws; every second one begins where the dry sound first gets
    loud. The first round whose end agrees with `wet` ends the search.

    Args:
        dry: (channels, samples), as it entered the chain, aligned with `wet`.
        wet: the same shape, not silent.
        sample_rate: Hz.
        names: the pedals in order, all with twins.
        draws: random settings tried on the first window, >= starts.
        starts: how many are followed, at most; 1 or more.
        steps: of Gauss-Newton in each window, 1 or more.
        rounds: how often the search begins, at most; 1 or more.
        seconds: wall time after which no round begins, and the one under way goes no further.
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
    Notebook: 02.
    """
    dry, wet = _checked(dry, wet, sample_rate, names)
    for name, value, least in (("starts", starts, 1), ("steps", steps, 1), ("rounds", rounds, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if starts > draws:
        raise ValueError(f"starts must lie in 1..draws = 1..{draws}, got {starts}")
    begun = time.perf_counter()
    search = _Search(dry, wet, sample_rate, names, device)
    bar = need("tqdm").tqdm(total=1.0, desc="fit", disable=not progress, bar_format="{desc}: {percentage:3.0f}%|{bar}|")
    found: list[tuple[float, Tensor]] = []
    for k in range(rounds):
        bar.set_description(f"fit, round {k + 1} of at most {rounds}")
        bar.reset(1.0)
        own = torch_generator(seed, "fit", k)
        begin = search.beginnings[k % 2]
        size = {"draws": draws, "starts": starts, "steps": steps, "until": begun + seconds}
        found.append(_grow(search, begin, **size, rng=own, tick=bar.update))
        if found[-1][0] < 10 ** (-ENOUGH_DB / 10) or time.perf_counter() - begun > seconds:
            break
    bar.close()
    row = min(found, key=lambda pair: pair[0])[1]
    chain = _chain(names, search.spaces, row.double().cpu().numpy())
    return _scored(chain, dry, wet, sample_rate, search.renders, begun)


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
    Notebook: 02.
    """
    dry, wet = _checked(dry, wet, sample_rate, names)
    spaces = [effect(name).space for name in names]
    n_knobs = sum(map(len, spaces))
    if renders is None:
        renders = round(20 * n_knobs**1.5) if seconds == np.inf else np.iinfo(np.int64).max
    if renders < 1:
        raise ValueError(f"renders must be at least 1, got {renders}")
    begun, done, best, middle = time.perf_counter(), 0, (np.inf, np.full(n_knobs, 0.5)), np.full(n_knobs, 0.5)
    rng, goal, size = generator(seed, "fit cma"), torch.from_numpy(wet), 4 + int(3 * np.log(n_knobs))
    bar = need("tqdm").tqdm(total=None if seconds < np.inf else renders, desc="CMA-ES", disable=not progress)
    while done < renders and time.perf_counter() - begun < seconds:
        strategy = _strategy(middle, size, rng)
        while not strategy.stop() and done < renders and time.perf_counter() - begun < seconds:
            rows = strategy.ask()
            clips = [_chain(names, spaces, row).render(dry, sample_rate) for row in rows]
            losses = _distance(torch.from_numpy(np.stack(clips)), goal).tolist()
            strategy.tell(rows, losses)
            best = min(best, (min(losses), rows[int(np.argmin(losses))]), key=lambda pair: pair[0])
            done += len(rows)
            bar.update(len(rows))
        middle, size = rng.random(n_knobs), 2 * size
    bar.close()
    return _scored(_chain(names, spaces, best[1]), dry, wet, sample_rate, done, begun)


def _strategy(middle: np.ndarray, size: int, rng: np.random.Generator) -> Any:
    # A seed that is not a number: the package leaves NumPy's global state alone and draws from ours.
    options = {"bounds": [0, 1], "popsize": size, "verbose": -9, "seed": np.nan, "randn": _normal(rng)}
    return need("cma").CMAEvolutionStrategy(middle, 0.3, options)


def _normal(rng: np.random.Generator) -> Callable[..., np.ndarray]:
    return lambda *shape: rng.standard_normal(shape)


def _checked(dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
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


def _scored(chain: Chain, dry: np.ndarray, wet: np.ndarray, sample_rate: int, renders: float, begun: float) -> Fit:
    out = chain.render(dry, sample_rate)
    distance = float(_distance(torch.from_numpy(out)[None], torch.from_numpy(wet))[0])
    return Fit(chain, si_sdr_db(wet, out), distance, round(renders), time.perf_counter() - begun)


def _distance(out: Tensor, wet: Tensor) -> Tensor:
    """(b,): spectral distance plus a tenth of the log error of the wave, which only counts below 0 dB."""
    error = (out - wet).square().mean((1, 2)) / wet.square().mean()
    return log_spectral_distance(out, wet[None]) + 0.1 * torch.log(error + 1e-7)


@torch.no_grad()
def _grow(
    search: "_Search",
    samples: int,
    *,
    draws: int,
    starts: int,
    steps: int,
    until: float,
    rng: torch.Generator,
    tick: Callable[[float], object],
) -> tuple[float, Tensor]:
    """One round from a first window of `samples`: the error over the whole clip and the row (n_knobs,) it ends at."""
    whole = search.wet.shape[-1]
    unit = search.drawn(draws, rng)
    unit, errors = search.newton(search.best(unit, samples, 4 * starts), samples, 2 * steps)
    unit, tick_from, presses = unit[:starts], 0, 0
    while samples < whole:
        tick((samples - tick_from) / whole)
        tick_from, ahead = samples, min(int(GROWTH * samples), whole)
        ahead = whole if ahead > 0.9 * whole else ahead
        n = max(2, min(starts, int(0.6 * search.sample_rate / ahead)))
        moved, errors = search.newton(unit[:n], ahead, steps)
        if errors[0] < EXPLAINED:
            unit, samples = _apart(moved, errors), ahead
            continue
        unit, errors, samples = _press_on(search, unit, moved, samples, ahead, n, steps, rng)
        presses += 1
        if errors[0] > LOST or presses == MOST_PRESSES or time.perf_counter() > until:
            break
        unit = _apart(unit, errors)[:starts]
    unit, errors = search.newton(unit[:2], whole, 2 * steps)
    tick((whole - tick_from) / whole)
    return float(errors[0]), unit[0]


def _press_on(
    search: "_Search",
    unit: Tensor,
    moved: Tensor,
    samples: int,
    ahead: int,
    n: int,
    steps: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, int]:
    """Where steps alone do not explain a longer window: draws and arrivals over a part of it, halved until they do."""
    reach, tried = search.horizon(unit[:1], samples, ahead), []
    fit = float(search.error(unit[:1], samples)[0])
    for k in range(4):
        window = min(samples + max((reach - samples) >> k, int(LEAST_SECONDS * search.sample_rate)), ahead)
        kids = search.kids(unit, samples, max(10 * fit, 10.0 ** (-3 - k)), rng)
        pool = torch.cat([kids, unit, moved])
        errors = search.error(pool, window)
        short = window < SHORT_SECONDS * search.sample_rate
        for row in pool[:KIDS] if short else pool[errors.argsort()[:1]]:
            pool = torch.cat([pool, *search.arrivals(row, samples, window)])
        rows, errors = search.newton(search.best(pool, window, 2 * n), window, 3 * steps)
        tried.append((float(errors[0]), rows, errors, window))
        if errors[0] < EXPLAINED:
            break
    _, rows, errors, window = min(tried, key=lambda item: item[0])
    return rows, errors, window


def _apart(unit: Tensor, errors: Tensor) -> Tensor:
    """Rows, best first, without those 30 dB worse than the first and those that stand where a better one does."""
    kept = unit[:1]
    for row, error in zip(unit[1:], errors[1:], strict=True):
        if error < 1000 * errors[0] + 1e-7 and (row - kept).abs().amax(1).min() > 1e-3:
            kept = torch.cat([kept, row[None]])
    return kept


class _Search:
    """The twins of one chain over the first samples of a clip, for many settings (rows of unit values) at once."""

    def __init__(self, dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str], device: str) -> None:
        self.dry, self.wet = torch.from_numpy(dry).to(device), torch.from_numpy(wet).to(device)
        self.sample_rate, self.names = sample_rate, names
        self.spaces = [effect(name).space for name in names]
        self.knobs = [knob for space in self.spaces for knob in space.parameters]
        ends = np.cumsum([0, *map(len, self.spaces)])
        self.columns = [range(first, stop) for first, stop in itertools.pairwise(ends.tolist())]
        self.smooth = [i for i, knob in enumerate(self.knobs) if knob.name != ECHO]
        self.renders = 0.0

    @property
    def beginnings(self) -> tuple[int, int]:
        """First windows, in samples: from where anything, and from where something loud enters."""
        level = np.abs(self.dry.cpu().numpy()).max(0)
        first = int(FIRST_SECONDS * self.sample_rate)
        starts = (int((level > share * level.max()).argmax()) for share in (0.0, 0.1))
        return tuple(min(start + first, len(level)) for start in starts)

    def through(self, place: int, audio: Tensor, unit: Tensor) -> Tensor:
        """Rows of audio through the pedal at `place`; `unit` holds the knobs of all pedals."""
        self.renders += audio.shape[-1] / self.wet.shape[-1] * len(audio) / len(self.names)
        columns = self.columns[place]
        knobs = from_unit(self.spaces[place], unit[:, columns.start : columns.stop])
        return twin(self.names[place])(audio, self.sample_rate, **knobs)

    def render(self, unit: Tensor, samples: int, *, place: int = 0, audio: Tensor | None = None) -> Tensor:
        """(b, n_knobs) -> (b, channels, samples). Pedals before `place` have made `audio`."""
        out = (self.dry[:, :samples] if audio is None else audio).expand(len(unit), -1, -1)
        for at in range(place, len(self.names)):
            out = self.through(at, out, unit)
        return out

    def error(self, unit: Tensor, samples: int, *, place: int = 0, audio: Tensor | None = None) -> Tensor:
        """(b, n_knobs) -> (b,): energy of the error by that of the wet; arguments as for `render`."""
        wet, errors = self.wet[:, :samples], []
        for part in unit.split(self._rows(samples, 4)):
            out = self.render(part, samples, place=place, audio=audio)
            errors.append((out - wet).square().sum((1, 2)) / (wet.square().sum() + 1e-12))
        return torch.cat(errors)

    def best(self, unit: Tensor, samples: int, n: int) -> Tensor:
        """The `n` rows with the smallest error, best first."""
        return unit[self.error(unit, samples).argsort()[:n]]

    def drawn(self, n: int, rng: torch.Generator) -> Tensor:
        """(n, n_knobs) at random; every echo as late as it goes, out of the first windows."""
        unit = torch.rand(n, len(self.knobs), generator=rng)
        unit[:, [i for i, knob in enumerate(self.knobs) if knob.name == ECHO]] = 1.0
        return unit.to(self.wet.device)

    def slopes(self, unit: Tensor, samples: int, *, turn: float = 1e-5) -> Tensor:
        """(b, n_knobs) -> (b, n_smooth, t): how the wave moves with each smooth knob, in float64.

        Difference quotients of the twins in one batch. A turned knob is rendered from its own pedal on: the pedals
        before it have done their work once. In float64, for a turn must be small (the delay of white noise has a
        straight slope for a fraction of a sample), and the float32 phase of an oscillator moves in stairs.
        """
        exact = unit.double()
        by = torch.where(exact > 0.5, -turn, turn)
        waves = self.dry[None, None, :, :samples].double().expand(1, len(unit), -1, -1)
        for place, columns in enumerate(self.columns):
            turned = [column for column in columns if column in self.smooth]
            entering = torch.cat([waves, waves[:1].expand(len(turned), -1, -1, -1)])
            knobs = exact.repeat(len(entering), 1, 1)
            for i, column in enumerate(turned):
                knobs[len(waves) + i, :, column] += by[:, column]
            out = self.through(place, entering.flatten(0, 1), knobs.flatten(0, 1))
            waves = out.unflatten(0, entering.shape[:2])
        moved = (waves[1:] - waves[0]).flatten(2) / by.T[self.smooth][..., None]
        return moved.transpose(0, 1)

    def normal(self, unit: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """The normal equations of least squares: (b, n_smooth, n_smooth) and (b, n_smooth), by the wet's energy."""
        energy = self.wet[:, :samples].double().square().sum() + 1e-12
        sides = []
        for part in unit.split(self._rows(samples, 1)):
            slopes = self.slopes(part, samples)
            missing = (self.wet[:, :samples] - self.render(part, samples)).flatten(1).double()
            sides.append((slopes @ slopes.mT / energy, (slopes @ missing[..., None])[..., 0] / energy))
        return torch.cat([left for left, _ in sides]), torch.cat([right for _, right in sides])

    def newton(self, unit: Tensor, samples: int, steps: int) -> tuple[Tensor, Tensor]:
        """Damped Gauss-Newton steps on every row that still gains by them: rows and errors, best first."""
        unit, errors = unit.clone(), self.error(unit, samples)
        damping = torch.logspace(-8, 0.5, 7, dtype=torch.float64, device=unit.device)
        live = torch.arange(len(unit), device=unit.device)
        for _ in range(steps):
            if not len(live):
                break
            left, right = self.normal(unit[live], samples)
            size = left.diagonal(dim1=1, dim2=2)
            # The floor keeps a knob that the window says nothing about where it is.
            ridge = torch.diag_embed(size + 1e-6 * size.amax(1, keepdim=True) + 1e-6)
            damped = left + damping[:, None, None, None] * ridge
            moves = torch.linalg.solve(damped, right[..., None].expand(*damped.shape[:-1], 1))[..., 0]
            tries = unit[live].repeat(len(damping), 1, 1)
            tries[..., self.smooth] = (tries[..., self.smooth] + moves.to(unit)).clamp(0, 1)
            lowest, which = self.error(tries.flatten(0, 1), samples).view(len(damping), -1).min(0)
            better = lowest < errors[live]
            rows = tries[which, torch.arange(len(live))]
            gains = lowest < 0.95 * errors[live]
            unit[live[better]], errors[live[better]] = rows[better], lowest[better]
            live = live[gains]
        order = errors.argsort()
        return unit[order], errors[order]

    def kids(self, unit: Tensor, samples: int, error: float, rng: torch.Generator) -> Tensor:
        """(b * KIDS, n_knobs): draws from what a window leaves open at a given error, around every row.

        The Laplace approximation: a normal law whose precision is that of least squares plus that of a knob drawn
        evenly. What would leave 0..1 is reflected. A parent's draws stand together, in the parents' order.
        """
        left, _ = self.normal(unit, samples)
        precision = left * (len(self.smooth) / error) + 12 * torch.eye(len(self.smooth)).to(left)
        factor = torch.linalg.cholesky(precision)
        noise = torch.randn(len(unit), len(self.smooth), KIDS, generator=rng, dtype=torch.float64).to(left)
        offsets = torch.linalg.solve_triangular(factor.mT, noise, upper=True).mT
        drawn = unit[:, None].repeat(1, KIDS, 1)
        place = (drawn[..., self.smooth].double() + offsets).remainder(2.0)
        drawn[..., self.smooth] = torch.minimum(place, 2 - place).to(unit)
        return drawn.flatten(0, 1)

    def horizon(self, row: Tensor, samples: int, ahead: int) -> int:
        """Just behind the place between `samples` and `ahead` where the error of a row (1, n_knobs) sets in."""
        out = self.render(row, ahead)
        hop = max(64, samples // 40)
        error, energy = (
            torch.stack([part.square().sum() for part in x[..., samples:].split(hop, -1)])
            for x in (out[0] - self.wet[:, :ahead], self.wet[:, :ahead])
        )
        wrong = (error > 0.05 * energy.clamp_min(0.01 * energy.mean())).nonzero()
        behind = max(int(0.002 * self.sample_rate), samples // 16)
        return min(samples + int(wrong[0]) * hop + behind, ahead) if len(wrong) else ahead

    def arrivals(self, row: Tensor, samples: int, window: int) -> list[Tensor]:
        """For each pedal that delays: the row (1, n_knobs) with the best sample of arrival, if it helps at all.

        A delay beyond `samples` has not been heard yet: all that the window adds are tried. Others move a little.
        """
        found = []
        for place, columns in enumerate(self.columns):
            for column in columns:
                knob = self.knobs[column]
                if knob.name in ARRIVALS:
                    tries = self._delays(row, column, samples, window)
                    audio = self.dry[None, :, :window]
                    for before in range(place):
                        audio = self.through(before, audio, row[None])
                    errors = self.error(tries, window, place=place, audio=audio)
                    if errors.min() < 0.7 * errors[0]:
                        found.append(tries[errors.argmin()][None])
        return found

    def _delays(self, row: Tensor, column: int, samples: int, window: int) -> Tensor:
        """The row, then copies of it with the delays that `arrivals` tries."""
        knob = self.knobs[column]
        per_unit = ARRIVALS[knob.name] * self.sample_rate
        here, back = knob.from_unit(float(row[column])) * per_unit, int(BACK_SECONDS * self.sample_rate)
        first, stop = (samples - back, window) if here > samples - back else (int(here) - 24, int(here) + 25)
        # The middle of a sample, so that no rounding makes it another.
        values = np.arange(max(first, int(knob.low * per_unit) + 1), min(stop, int(knob.high * per_unit))) + 0.5
        tries = row.repeat(len(values) + 1, 1)
        tries[1:, column] = torch.tensor([knob.to_unit(value / per_unit) for value in values]).to(row)
        return tries

    def _rows(self, samples: int, batches: float) -> int:
        return max(1, int(batches * BATCH_SECONDS * self.sample_rate / samples))
