"""Training the reader of knobs: chains as for pedal order, and the settings as labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.effects.chain import Chain
from labkit.effects.registry import effect
from labkit.learn.checkpoints import fill
from labkit.learn.training import Batch
from labkit.systems import pedal_order
from labkit.systems.knobs.model import Config, KnobModel, knobs_of, place_of, spread
from labkit.systems.pedal_order import data, train
from labkit.systems.system import Training


@dataclass(frozen=True)
class Data(train.Source):
    """Where the training sound comes from."""

    # network of pedal order whose convolutions and encoder it hears with; by default those of
    # --start, or of the shipped network
    ear: Path | None = None


class Examples(data.Examples):
    """Examples as for pedal order; the labels are knobs in 0..1, -1 where there is none."""

    def __init__(self, model: KnobModel, pools: list, cache: Path | None = None) -> None:
        self.model = model
        super().__init__(model.config, pools, cache=cache)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        silence = torch.zeros(1, self.config.sound.samples)
        return {name: tuple(part.shape[1:]) for name, part in self.model.hear(silence).items()}

    def heard(self, example: data.Example) -> dict[str, Tensor]:
        return {n: part[0] for n, part in self.model.hear(torch.from_numpy(example.wet)).items()}

    def targets(self, chain: Chain, _shelf: Sequence[str], others: bool) -> dict[str, Tensor]:
        pedals = self.config.net.pedals
        place = torch.tensor(place_of(chain.names, pedals))
        return {"place": place, "knobs": knobs_in_unit(Chain() if others else chain, pedals)}


def knobs_in_unit(chain: Chain, pedals: Sequence[str]) -> Tensor:
    """(knobs,) the settings of a chain in 0..1; -1 where the pedal is not there."""
    unit = {}
    for step in chain.steps:
        values = effect(step.effect).space.to_unit(step.params)
        unit |= {(step.effect, name): x for name, x in zip(step.params, values, strict=True)}
    return torch.tensor([unit.get(knob, -1.0) for knob in knobs_of(pedals)])


@contextmanager
def training(config: Config, data: Data, model: KnobModel, run_dir: Path) -> Iterator[Training]:
    """Rendered examples, heard with the ear of a network of pedal order."""
    if data.ear is not None or not model.has_ear:
        trained = pedal_order.load(data.ear).state_dict()
        names = trained.keys() & model.ear.state_dict().keys()
        fill(model.ear, {name: trained[name] for name in names})
    examples = Examples(model.eval(), train.dry_pools(config, data), run_dir / "cache")
    yield Training(examples, loss)


def begin_from(model: KnobModel, start: KnobModel) -> None:
    """Begin with the weights of another reader, and hear with its ear."""
    fill(model, start.state_dict())
    model.has_ear = True


def loss(model: KnobModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Nats per chain that its knobs still hold, and the mean error of a knob, 0 to 1."""
    logits = model(batch, batch["place"]).float()
    nats, there = knob_nats(logits, batch["knobs"])
    error = ((spread(logits)[0] - batch["knobs"]).abs() * there).sum() / there.sum().clamp(min=1)
    total = nats.sum() / len(nats)
    return total, {"knob_nats": total.item(), "knob_error": error.item()}


def knob_nats(logits: Tensor, knobs: Tensor) -> tuple[Tensor, Tensor]:
    """(b, knobs) nats of the true bins, 0 where a knob is not there; and where one is, 1 or 0."""
    n_bins = logits.shape[-1]
    there = (knobs >= 0).float()
    bins = (knobs.clamp(min=0) * n_bins).long().clamp(max=n_bins - 1)
    return F.cross_entropy(logits.transpose(1, 2), bins, reduction="none") * there, there
