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
    starts: int = 8,
    steps: int = 300,
    learning_rate: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Fit:
    """The knobs of a chain whose pedals and order are known, from dry and wet.

    `draws` random settings are rendered; the best `starts` go downhill by Adam in unit space (knobs on their own
    scale, 0..1, held inside through a sine), all at once as one batch; half of them are dropped half-way. The loss is
    the log-magnitude distance at three STFT sizes plus, as soon as the waves agree, the error of the waves themselves.

    Args:
        dry: (channels, samples), as it entered the chain, aligned with `wet`.
        wet: the same shape, not silent.
        sample_rate: Hz.
        names: the pedals in order, all with twins.
        draws: random settings tried first, >= starts.
        starts: how many of them are followed.
        steps: of Adam.
        learning_rate: at the start; it falls to a hundredth along a cosine.
        seed: of the draws.
        device: torch's.
        progress: show a bar.

    Returns:
        The fit; rendered by pedalboard when it is there, else by the twins.

    Raises:
        ValueError: if shapes differ, a recording is unusable, or `wet` is silent.
        KeyError: for an unknown pedal.

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
    bar = need("tqdm").tqdm(total=steps, desc="fit", disable=not progress)
    unit = search.descend(unit, steps // 2, learning_rate, 0.3 * learning_rate, bar.update)
    unit = search.best(unit, max(1, starts // 2))
    unit = search.descend(unit, steps - steps // 2, 0.3 * learning_rate, 0.01 * learning_rate, bar.update)
    bar.close()
    unit = search.best(unit, 1)
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

    def descend(
        self, unit: Tensor, steps: int, first_rate: float, last_rate: float, tick: Callable[[int], object]
    ) -> Tensor:
        """Adam on every row at once, rates falling along a cosine; each row's best point is returned."""
        angle = torch.asin(2 * unit.clamp(0.01, 0.99) - 1).requires_grad_()
        adam = torch.optim.Adam([angle], lr=first_rate)
        kept, lowest = unit.clone(), torch.full((len(unit),), torch.inf, device=unit.device)
        for step in range(steps):
            share = 0.5 + 0.5 * np.cos(np.pi * step / steps)
            adam.param_groups[0]["lr"] = last_rate + (first_rate - last_rate) * share
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

    def chain(self, unit: Tensor) -> Chain:
        """The chain of one row."""
        values = np.split(unit.double().cpu().numpy(), np.cumsum([len(space) for _, space in self.spaces])[:-1])
        return Chain(
            tuple(
                Step(name, space.from_unit(np.clip(u, 0, 1)))
                for (name, space), u in zip(self.spaces, values, strict=True)
            )
        )
