"""The search behind `fit`: the twins of one chain over a window that grows from the first milliseconds of a clip."""

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from labkit.effects.registry import effect

# A window with an error below this is explained: the twins come nearer than that to pedalboard.
EXPLAINED = 1e-5
# After a window with an error above this, or after so many windows that steps alone did not explain, a round is lost.
LOST, MOST_PRESSES = 1e-2, 30
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


class Search:
    """The twins of one chain over the first samples of a clip, for many settings (rows of unit values) at once."""

    def __init__(
        self, dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str], device: str
    ) -> None:
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
        knobs = self.spaces[place].from_unit_batch(unit[:, columns.start : columns.stop])
        return effect(self.names[place]).differentiable(audio, self.sample_rate, **knobs)

    def render(
        self, unit: Tensor, samples: int, *, place: int = 0, audio: Tensor | None = None
    ) -> Tensor:
        """(b, n_knobs) -> (b, channels, samples). Pedals before `place` have made `audio`."""
        out = (self.dry[:, :samples] if audio is None else audio).expand(len(unit), -1, -1)
        for at in range(place, len(self.names)):
            out = self.through(at, out, unit)
        return out

    def error(
        self, unit: Tensor, samples: int, *, place: int = 0, audio: Tensor | None = None
    ) -> Tensor:
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
            sides.append(
                (slopes @ slopes.mT / energy, (slopes @ missing[..., None])[..., 0] / energy)
            )
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
            moves = torch.linalg.solve(damped, right[..., None].expand(*damped.shape[:-1], 1))[
                ..., 0
            ]
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
        noise = torch.randn(
            len(unit), len(self.smooth), KIDS, generator=rng, dtype=torch.float64
        ).to(left)
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
        here, back = (
            knob.from_unit(float(row[column])) * per_unit,
            int(BACK_SECONDS * self.sample_rate),
        )
        first, stop = (
            (samples - back, window) if here > samples - back else (int(here) - 24, int(here) + 25)
        )
        # The middle of a sample, so that no rounding makes it another.
        values = (
            np.arange(
                max(first, int(knob.low * per_unit) + 1), min(stop, int(knob.high * per_unit))
            )
            + 0.5
        )
        tries = row.repeat(len(values) + 1, 1)
        tries[1:, column] = torch.tensor([knob.to_unit(value / per_unit) for value in values]).to(
            row
        )
        return tries

    def _rows(self, samples: int, batches: float) -> int:
        return max(1, int(batches * BATCH_SECONDS * self.sample_rate / samples))


@torch.no_grad()
def grow(
    search: Search,
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
    search: Search,
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
        window = min(
            samples + max((reach - samples) >> k, int(LEAST_SECONDS * search.sample_rate)), ahead
        )
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
