"""Settings from sound, given the order: gradient descent through the torch pedals, from many starting points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.effects.twins.board import from_unit, render_chains
from labkit.measure.losses import log_spectral_distance
from labkit.measure.metrics import si_sdr_db
from labkit.signal.audio import check_audio
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator


@dataclass(frozen=True)
class Fit:
    """What a search for settings found.

    Attributes:
        chain: the pedals with their fitted knobs.
        si_sdr_db: of the fitted chain, rendered by pedalboard, against the wet recording.
        distance: what is left of the loss.
        renders: how many clips were rendered on the way.
    """

    chain: Chain
    si_sdr_db: float
    distance: float
    renders: int


def fit_chain(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    names: Sequence[str],
    *,
    draws: int = 256,
    starts: int = 4,
    steps: int = 100,
    rounds: int = 3,
    learning_rate: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Fit:
    """The knobs of a chain whose pedals and order are known, from dry and wet.

    Three searches in unit space (every knob on its own scale, 0..1), each where it is strong. `draws` random settings
    are rendered and the best `starts` kept. In every round each knob of each start is turned alone, through its whole
    range and ever finer around where it stands (a delay that is some samples off has no slope that leads home), and
    Adam takes all knobs downhill through the twins, held inside by a sine. At last damped Gauss-Newton steps on the
    wave itself polish the best start. The loss of the first two is the log-spectral distance plus, as soon as the
    waves agree, the logarithm of the error of the wave.

    Args:
        dry: (channels, samples), as it entered the chain, aligned with `wet`.
        wet: the same shape, not silent.
        sample_rate: Hz.
        names: the pedals in order, all with twins.
        draws: random settings tried first, >= starts.
        starts: how many of them are followed.
        steps: of Adam in each round.
        rounds: of turning knobs one by one and going downhill.
        learning_rate: of the first round; it falls threefold from round to round, and to a tenth within one.
        seed: of the draws.
        device: torch's.
        progress: show a bar.

    Returns:
        The fit, scored by a render of pedalboard.

    Raises:
        ValueError: if shapes differ, a recording is unusable, or `wet` is silent.
        KeyError: for an unknown pedal.

    Source: for the last step Marquardt 1963, damping tried on a grid in one batch.
    Notebook: 02.
    """
    dry, wet = check_audio(dry, sample_rate), check_audio(wet, sample_rate)
    if dry.shape != wet.shape:
        raise ValueError(f"dry and wet must have one shape, got {dry.shape} and {wet.shape}")
    if not wet.any():
        raise ValueError("wet must not be silent")
    if not 1 <= starts <= draws:
        raise ValueError(f"starts must lie in 1..draws = 1..{draws}, got {starts}")
    search = _Search(dry, wet, sample_rate, names, device)
    unit = torch.rand(draws, search.n_knobs, generator=torch_generator(seed, "fit"), dtype=torch.float32).to(device)
    unit = search.best(unit, starts)
    bar = need("tqdm").tqdm(total=rounds * (steps + starts) + 1, desc="fit", disable=not progress)
    for k in range(rounds):
        rows = []
        for row in unit.split(1):
            rows.append(search.turn_each(row, torch_generator(seed, "fit", k)))
            bar.update()
        unit = search.descend(torch.cat(rows), steps, learning_rate / 3**k, bar.update)
    unit = search.polish(search.best(unit, 1))
    bar.update()
    bar.close()
    chain = search.chain(unit[0])
    return Fit(chain, si_sdr_db(wet, chain.render(dry, sample_rate)), float(search.loss(unit)[0]), search.renders)


class _Search:
    """The loss of a batch of settings, and steps down its slope."""

    def __init__(self, dry: np.ndarray, wet: np.ndarray, sample_rate: int, names: Sequence[str], device: str) -> None:
        self.dry = torch.from_numpy(dry).to(device)
        self.wet = torch.from_numpy(wet).to(device)
        self.sample_rate = sample_rate
        self.spaces = [(name, effect(name).space) for name in names]
        self.n_knobs = sum(len(space) for _, space in self.spaces)
        self.renders = 0

    def render(self, unit: Tensor) -> Tensor:
        """(b, n_knobs) in 0..1 -> (b, channels, samples)."""
        knobs = unit.split([len(space) for _, space in self.spaces], dim=1)
        named = [(name, from_unit(space, u)) for (name, space), u in zip(self.spaces, knobs, strict=True)]
        chains = [[(name, {k: v[i] for k, v in values.items()}) for name, values in named] for i in range(len(unit))]
        self.renders += len(unit)
        return render_chains(self.dry.expand(len(unit), -1, -1), self.sample_rate, chains)

    def loss(self, unit: Tensor) -> Tensor:
        """(b,): spectral distance plus the log of the wave error, which only counts below 0 dB."""
        out = self.render(unit)
        spectral = log_spectral_distance(out, self.wet[None])
        error = (out - self.wet).square().mean((1, 2)) / self.wet.square().mean()
        return spectral + 0.1 * torch.log(error + 1e-7)

    @torch.no_grad()
    def best(self, unit: Tensor, n: int) -> Tensor:
        """The `n` rows with the smallest loss, best first."""
        losses = torch.cat([self.loss(part) for part in unit.split(32)])
        return unit[losses.argsort()[:n]]

    @torch.no_grad()
    def turn_each(self, unit: Tensor, generator: torch.Generator) -> Tensor:
        """One row (1, n_knobs): every knob in random order goes where the loss is lowest, the others held."""
        near = torch.logspace(-5, -0.7, 16)
        for knob in torch.randperm(self.n_knobs, generator=generator).tolist():
            tries = torch.cat([unit[0, knob].cpu() + torch.cat([near, -near]), torch.linspace(0, 1, 32)])
            rows = torch.cat([unit, unit.repeat(len(tries), 1)])
            rows[1:, knob] = tries.clamp(0, 1).to(unit)
            unit = self.best(rows, 1)
        return unit

    def descend(self, unit: Tensor, steps: int, rate: float, tick: Callable[[int], object]) -> Tensor:
        """Adam on every row at once, the rate falling tenfold along a cosine; each row's best point is returned."""
        angle = torch.asin(2 * unit.clamp(1e-4, 1 - 1e-4) - 1).requires_grad_()
        adam = torch.optim.Adam([angle], lr=rate)
        kept, lowest = unit.clone(), torch.full((len(unit),), torch.inf, device=unit.device)
        for step in range(steps):
            share = 0.5 + 0.5 * np.cos(np.pi * step / steps)
            adam.param_groups[0]["lr"] = rate * (0.1 + 0.9 * share)
            now = (torch.sin(angle) + 1) / 2
            losses = self.loss(now)
            better = losses.detach() < lowest
            lowest = torch.where(better, losses.detach(), lowest)
            kept = torch.where(better[:, None], now.detach(), kept)
            adam.zero_grad()
            losses.sum().backward()
            adam.step()
            tick(1)
        return kept

    @torch.no_grad()
    def polish(self, unit: Tensor, *, steps: int = 20, turn: float = 1e-3) -> Tensor:
        """Damped Gauss-Newton on the error of the wave, from one row (1, n_knobs)."""
        smooth = torch.tensor([knob.name != "delay_seconds" for _, space in self.spaces for knob in space.parameters])
        knobs = smooth.nonzero()[:, 0]  # the delay is whole samples: it has no slope, and `turn_each` has set it
        if not len(knobs):
            return unit
        damping = torch.logspace(-6, 1, 8)
        for _ in range(steps):
            here = unit[0].cpu()
            by = torch.where(here[knobs] > 0.5, -turn, turn)
            turned = here.repeat(len(knobs) + 1, 1)
            turned[torch.arange(len(knobs)), knobs] += by
            waves = self.render(turned.to(unit)).flatten(1).double()
            slopes = ((waves[:-1] - waves[-1]) / by[:, None].to(waves)).cpu()
            normal, towards = slopes @ slopes.T, slopes @ (self.wet.flatten().double() - waves[-1]).cpu()
            ridge = torch.diag(normal.diagonal() + 1e-9 * normal.diagonal().max() + 1e-12)
            moves = torch.stack([torch.linalg.solve(normal + share * ridge, towards) for share in damping]).to(here)
            tries = here.repeat(len(damping) + 1, 1)
            tries[1:, knobs] = (tries[1:, knobs] + moves).clamp(0, 1)
            errors = (self.render(tries.to(unit)) - self.wet).square().sum((1, 2))
            if errors.argmin() == 0:
                break
            unit = tries[errors.argmin()][None].to(unit)
        return unit

    def chain(self, unit: Tensor) -> Chain:
        """The chain of one row."""
        values = np.split(unit.double().cpu().numpy(), np.cumsum([len(space) for _, space in self.spaces])[:-1])
        return Chain(
            tuple(
                Step(name, space.from_unit(np.clip(u, 0, 1)))
                for (name, space), u in zip(self.spaces, values, strict=True)
            )
        )
