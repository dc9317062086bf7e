"""Settings of a chain from dry and wet audio, given the order of its pedals: by gradient or CMA-ES.

Over a whole clip the error has many local minima: an oscillator half a period off, an echo some
samples late. Over the first milliseconds it has few: no oscillator has moved far, and no echo has
begun. So `fit_chain` fits the first 12 ms, then longer and longer windows, each from the end of the
one before, by damped Gauss-Newton steps through the differentiable versions of the pedals. Where
the steps fail, an evolutionary search over the next piece of sound runs beside them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, chain_space
from labkit.effects.registry import effect
from labkit.learn.minimise import minimise
from labkit.measure.losses import log_spectral_distance
from labkit.measure.metrics import si_sdr_db
from labkit.signal.files import check_audio
from labkit.signal.seeds import generator, torch_generator

# A fit above this SI-SDR has found the chain.
ENOUGH_DB = 30.0
# Random settings tried on the first window, how many are followed at most, Gauss-Newton steps in
# each window, and rounds until a fit is good enough.
DRAWS, STARTS, STEPS, ROUNDS = 1024, 8, 8, 4
# A window with a relative error energy below this is explained: the differentiable pedals are
# nearer than that to pedalboard.
EXPLAINED = 1e-5
# A round ends after a window above this error, or after so many windows that needed a search.
TOO_LARGE = 1e-2
MAX_SEARCHES = 30
# Parameters that decide when a sound comes in, with the seconds in one of their units. Their
# minima are a sample wide. An echo moves in whole samples, so it has no gradient at all.
DELAYS = {"delay_seconds": 1.0, "centre_delay_ms": 1e-3}
ECHO = "delay_seconds"
FIRST_SECONDS = 0.012
LEAST_SECONDS = 0.0007
GROWTH = 1.6
# Delays are tried this far back. That is slow: for all offspring only in short windows.
BACK_SECONDS = 0.02
SHORT_SECONDS = 0.06
OFFSPRING = 24
BATCH_SECONDS = 4.0  # audio rendered in one batch: limits memory


@dataclass(frozen=True)
class Fit:
    """What a search found."""

    chain: Chain
    si_sdr_db: float


def fit_chain(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    *,
    seconds: float = np.inf,
    seed: int = 0,
) -> Fit:
    """The settings of a chain whose pedals and order are known.

    `dry` and `wet` (channels, samples) are aligned, `wet` is not silent. After `seconds` of this
    thread's processor time the current round stops and no other begins: a busy machine does not
    change the answer.

    Source: Marquardt 1963 (steps); Allgower and Georg 1990 (continuation); Chopin 2002 (particles).
    """
    dry, wet = _checked(dry, wet, sample_rate)
    begun = time.thread_time()
    search = _Search(dry, wet, sample_rate, names)
    best: tuple[float, Tensor] | None = None
    for k in range(ROUNDS):
        rng = torch_generator(seed, "fit", k)
        found = search.run(search.first_windows()[k % 2], begun + seconds, rng)
        if best is None or found[0] < best[0]:
            best = found
        if found[0] < 10 ** (-ENOUGH_DB / 10) or time.thread_time() - begun > seconds:
            break
    chain = search.space.from_unit(best[1].double().numpy())
    return Fit(chain, si_sdr_db(wet, chain.render(dry, sample_rate)))


def fit_chain_cma(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    *,
    renders: int = 1_000_000,
    seconds: float = np.inf,
    seed: int = 0,
) -> Fit:
    """As `fit_chain`, for any pedal and without gradients: CMA-ES on the loss of the whole clip.

    It ends after `renders` or `seconds`, or where it converges.
    """
    dry, wet = _checked(dry, wet, sample_rate)
    space = chain_space(names)

    def loss(rows: np.ndarray) -> np.ndarray:
        clips = [space.from_unit(row).render(dry, sample_rate) for row in rows]
        out, goal = torch.from_numpy(np.stack(clips)), torch.from_numpy(wet)
        error = (out - goal).square().mean((1, 2)) / goal.square().mean()
        return (log_spectral_distance(out, goal[None]) + 0.1 * torch.log(error + 1e-7)).numpy()

    start, rng = np.full(space.n_knobs, 0.5), generator(seed, "fit cma")
    found = minimise(loss, start, evaluations=renders, rng=rng, seconds=seconds)
    chain = space.from_unit(found.point)
    return Fit(chain, si_sdr_db(wet, chain.render(dry, sample_rate)))


def _checked(dry: np.ndarray, wet: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    dry, wet = check_audio(dry, sample_rate), check_audio(wet, sample_rate)
    if dry.shape != wet.shape:
        raise ValueError(f"dry and wet must have one shape, got {dry.shape} and {wet.shape}")
    return dry, wet


class _Search:
    """The differentiable chain over the first samples of a clip, for rows of unit values.

    Axis letters: b rows of settings, n parameters, t samples.
    """

    def __init__(
        self, dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str]
    ) -> None:
        self.dry = torch.from_numpy(dry)
        self.wet = torch.from_numpy(wet)
        self.sample_rate = sample_rate
        self.names = names
        self.space = chain_space(names)
        self.knobs = [knob for space in self.space.spaces for knob in space.parameters]
        self.columns = [range(one.start, one.stop) for one in self.space.columns]
        self.smooth = [i for i, knob in enumerate(self.knobs) if knob.name != ECHO]

    def first_windows(self) -> tuple[int, int]:
        """Samples of two first windows: from the first sound, and from the first loud sound."""
        level = np.abs(self.dry.numpy()).max(0)
        first = int(FIRST_SECONDS * self.sample_rate)
        starts = (int((level > share * level.max()).argmax()) for share in (0.0, 0.1))
        return tuple(min(start + first, len(level)) for start in starts)

    def through(self, place: int, audio: Tensor, unit: Tensor) -> Tensor:
        """(b, channels, t) through the pedal at `place`; `unit` (b, n) holds all pedals."""
        knobs = self.space.spaces[place].from_unit_batch(unit[:, self.space.columns[place]])
        return effect(self.names[place]).differentiable(audio, self.sample_rate, **knobs)

    def render(
        self, unit: Tensor, samples: int, place: int = 0, audio: Tensor | None = None
    ) -> Tensor:
        """(b, n) -> (b, channels, t). `audio` is the output of the pedals before `place`."""
        out = (self.dry[:, :samples] if audio is None else audio).expand(len(unit), -1, -1)
        for at in range(place, len(self.names)):
            out = self.through(at, out, unit)
        return out

    def error(
        self, unit: Tensor, samples: int, place: int = 0, audio: Tensor | None = None
    ) -> Tensor:
        """(b, n) -> (b,): energy of the error relative to that of the wet audio."""
        wet = self.wet[:, :samples]
        errors = []
        for part in unit.split(self._rows(samples, 4)):
            out = self.render(part, samples, place, audio)
            errors.append((out - wet).square().sum((1, 2)) / (wet.square().sum() + 1e-12))
        return torch.cat(errors)

    def best(self, unit: Tensor, samples: int, n: int) -> Tensor:
        """The `n` rows with the smallest error, best first."""
        return unit[self.error(unit, samples).argsort()[:n]]

    def slopes(self, unit: Tensor, samples: int, step: float = 1e-5) -> Tensor:
        """(b, n) -> (b, n_smooth, channels * t): derivatives by difference quotients.

        In float64, because delayed noise is straight only within a sample. A changed parameter is
        rendered from its own pedal on.
        """
        exact = unit.double()
        by = torch.where(exact > 0.5, -step, step)
        # Axis 0: the unchanged row, then one copy for each parameter changed so far.
        waves = self.dry[None, None, :, :samples].double().expand(1, len(unit), -1, -1)
        for place, columns in enumerate(self.columns):
            changed = [column for column in columns if column in self.smooth]
            entering = torch.cat([waves, waves[:1].expand(len(changed), -1, -1, -1)])
            knobs = exact.repeat(len(entering), 1, 1)
            for i, column in enumerate(changed):
                knobs[len(waves) + i, :, column] += by[:, column]
            out = self.through(place, entering.flatten(0, 1), knobs.flatten(0, 1))
            waves = out.unflatten(0, entering.shape[:2])
        moved = (waves[1:] - waves[0]).flatten(2) / by.T[self.smooth][..., None]
        return moved.transpose(0, 1)

    def normal_equations(self, unit: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Both sides of least squares: (b, n_smooth, n_smooth) and (b, n_smooth)."""
        energy = self.wet[:, :samples].double().square().sum() + 1e-12
        left, right = [], []
        for part in unit.split(self._rows(samples, 1)):
            slopes = self.slopes(part, samples)
            missing = (self.wet[:, :samples] - self.render(part, samples)).flatten(1).double()
            left.append(slopes @ slopes.mT / energy)
            right.append((slopes @ missing[..., None])[..., 0] / energy)
        return torch.cat(left), torch.cat(right)

    def newton(self, unit: Tensor, samples: int, steps: int) -> tuple[Tensor, Tensor]:
        """Damped Gauss-Newton steps while a row gains 5 % by them: rows and errors, best first."""
        unit, errors = unit.clone(), self.error(unit, samples)
        damping = torch.logspace(-8, 0.5, 7, dtype=torch.float64)
        live = torch.arange(len(unit))
        for _ in range(steps):
            if not len(live):
                break
            left, right = self.normal_equations(unit[live], samples)
            size = left.diagonal(dim1=1, dim2=2)
            # The floor holds a parameter that this window does not depend on.
            ridge = torch.diag_embed(size + 1e-6 * size.amax(1, keepdim=True) + 1e-6)
            damped = left + damping[:, None, None, None] * ridge
            wanted = right[..., None].expand(*damped.shape[:-1], 1)
            moves = torch.linalg.solve(damped, wanted)[..., 0]
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

    def _rows(self, samples: int, batches: float) -> int:
        return max(1, int(batches * BATCH_SECONDS * self.sample_rate / samples))

    @torch.no_grad()
    def run(self, samples: int, until: float, rng: torch.Generator) -> tuple[float, Tensor]:
        """The error over the whole clip, and the row (n,) of the best settings."""
        whole = self.wet.shape[-1]
        unit = torch.rand(DRAWS, len(self.knobs), generator=rng)
        # Every echo begins as late as possible: outside the first windows.
        unit[:, [i for i, knob in enumerate(self.knobs) if knob.name == ECHO]] = 1.0
        unit, errors = self.newton(self.best(unit, samples, 4 * STARTS), samples, 2 * STEPS)
        unit, searches = unit[:STARTS], 0
        while samples < whole:
            ahead = min(int(GROWTH * samples), whole)
            ahead = whole if ahead > 0.9 * whole else ahead
            n = max(2, min(STARTS, int(0.6 * self.sample_rate / ahead)))
            moved, errors = self.newton(unit[:n], ahead, STEPS)
            if errors[0] < EXPLAINED:
                unit, samples = _apart(moved, errors), ahead
                continue
            unit, errors, samples = self._evolve(unit, moved, samples, ahead, n, rng)
            searches += 1
            late = time.thread_time() > until
            if errors[0] > TOO_LARGE or searches == MAX_SEARCHES or late:
                break
            unit = _apart(unit, errors)[:STARTS]
        unit, errors = self.newton(unit[:2], whole, 2 * STEPS)
        return float(errors[0]), unit[0]

    def _evolve(
        self, unit: Tensor, moved: Tensor, samples: int, ahead: int, n: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, int]:
        """Where steps fail: offspring and delays over a part, halved until it is explained.

        Returns rows, errors and the part's samples.
        """
        tried = []
        reach = self._horizon(unit[:1], samples, ahead)
        fit = float(self.error(unit[:1], samples)[0])
        for k in range(4):
            longer = max((reach - samples) >> k, int(LEAST_SECONDS * self.sample_rate))
            window = min(samples + longer, ahead)
            offspring = self._offspring(unit, samples, max(10 * fit, 10.0 ** (-3 - k)), rng)
            pool = torch.cat([offspring, unit, moved])
            errors = self.error(pool, window)
            short = window < SHORT_SECONDS * self.sample_rate
            for row in pool[:OFFSPRING] if short else pool[errors.argsort()[:1]]:
                pool = torch.cat([pool, *self._delayed(row, samples, window)])
            rows, errors = self.newton(self.best(pool, window, 2 * n), window, 3 * STEPS)
            tried.append((float(errors[0]), rows, errors, window))
            if errors[0] < EXPLAINED:
                break
        _, rows, errors, window = min(tried, key=lambda item: item[0])
        return rows, errors, window

    def _offspring(self, unit: Tensor, samples: int, error: float, rng: torch.Generator) -> Tensor:
        """(b * OFFSPRING, n), grouped by parent: draws as wide as this error allows.

        A normal distribution with the precision of least squares plus that of a uniform prior.
        """
        smooth = self.smooth
        left, _ = self.normal_equations(unit, samples)
        precision = left * (len(smooth) / error) + 12 * torch.eye(len(smooth)).to(left)
        factor = torch.linalg.cholesky(precision)
        shape = len(unit), len(smooth), OFFSPRING
        noise = torch.randn(*shape, generator=rng, dtype=torch.float64)
        offsets = torch.linalg.solve_triangular(factor.mT, noise, upper=True).mT
        drawn = unit[:, None].repeat(1, OFFSPRING, 1)
        place = (drawn[..., smooth].double() + offsets).remainder(2.0)
        drawn[..., smooth] = torch.minimum(place, 2 - place).to(unit)
        return drawn.flatten(0, 1)

    def _horizon(self, row: Tensor, samples: int, ahead: int) -> int:
        """Just behind the first place between `samples` and `ahead` where `row` (1, n) errs."""
        hop = max(64, samples // 40)
        error, energy = (
            torch.stack([part.square().sum() for part in x[..., samples:].split(hop, -1)])
            for x in (self.render(row, ahead)[0] - self.wet[:, :ahead], self.wet[:, :ahead])
        )
        wrong = (error > 0.05 * energy.clamp_min(0.01 * energy.mean())).nonzero()
        behind = max(int(0.002 * self.sample_rate), samples // 16)
        return min(samples + int(wrong[0]) * hop + behind, ahead) if len(wrong) else ahead

    def _delayed(self, row: Tensor, samples: int, window: int) -> list[Tensor]:
        """For each delay parameter: `row` (n,) as (1, n) with its best delay, if that helps."""
        found = []
        for place, columns in enumerate(self.columns):
            for column in columns:
                if self.knobs[column].name not in DELAYS:
                    continue
                tries = self._delays(row, column, samples, window)
                audio = self.dry[None, :, :window]
                for before in range(place):
                    audio = self.through(before, audio, row[None])
                errors = self.error(tries, window, place, audio)
                if errors.min() < 0.7 * errors[0]:
                    found.append(tries[errors.argmin()][None])
        return found

    def _delays(self, row: Tensor, column: int, samples: int, window: int) -> Tensor:
        """The row, then copies with other delays: those that the window adds, or near ones."""
        knob = self.knobs[column]
        per_unit = DELAYS[knob.name] * self.sample_rate
        here = knob.from_unit(float(row[column])) * per_unit
        back = int(BACK_SECONDS * self.sample_rate)
        first, stop = int(here) - 24, int(here) + 25
        if here > samples - back:
            first, stop = samples - back, window
        first = max(first, int(knob.low * per_unit) + 1)
        stop = min(stop, int(knob.high * per_unit))
        values = np.arange(first, stop) + 0.5  # the middle of a sample, safe from rounding
        tries = row.repeat(len(values) + 1, 1)
        tries[1:, column] = torch.tensor([knob.to_unit(v / per_unit) for v in values]).to(row)
        return tries


def _apart(unit: Tensor, errors: Tensor) -> Tensor:
    """Rows, best first, without duplicates and without those 30 dB worse than the first."""
    kept = unit[:1]
    for row, error in zip(unit[1:], errors[1:], strict=True):
        if error < 1000 * errors[0] + 1e-7 and (row - kept).abs().amax(1).min() > 1e-3:
            kept = torch.cat([kept, row[None]])
    return kept
