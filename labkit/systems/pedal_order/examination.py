"""What a model is examined on: rendered chains on sources that nobody trained on, and what it says of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, recordings
from labkit.systems.pedal_order.config import Config, Protocol
from labkit.systems.pedal_order.data import Example, render, seen
from labkit.systems.pedal_order.decode import Prediction, decode
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.train import pool

REAL_FOLDERS = ("guitar_di", "guitar_acoustic")


@dataclass(frozen=True)
class EvaluationSet:
    """Rendered examples of one protocol and one kind of sources.

    Attributes:
        protocol: what the chains were drawn from.
        sources: ``"generated"``, ``"sampled"`` or ``"real"``.
        examples: with dry and wet sound.
        pictures: (n, rows, frames).
    """

    protocol: Protocol
    sources: str
    examples: list[Example]
    pictures: Tensor

    @property
    def orders(self) -> list[tuple[str, ...]]:
        """The true canonical orders."""
        return [example.chain.names for example in self.examples]

    @property
    def groups(self) -> list[str]:
        """The source of each example."""
        return [example.source_id for example in self.examples]


def evaluation_set(
    config: Config, protocol: Protocol, sources: str, n: int, *, seed: int, split: str = "test"
) -> EvaluationSet:
    """`n` examples on sources of one split, rendered without augmentation.

    Args:
        config: front end and levels.
        protocol: of the chains.
        sources: ``"generated"``, ``"sampled"`` or ``"real"`` (recordings of `real_data_dir()`, never trained on).
        n: examples.
        seed: of clips, chains and crops.
        split: ``"train"`` serves the statistics floor.

    Returns:
        The set; the same arguments give the same samples.

    Raises:
        FileNotFoundError: if `sources` is real and there are no real recordings here.
    """
    clips = dry_clips(config, sources, n, seed, split)
    examples = []
    for i, clip in enumerate(clips):
        rng = generator(seed, "evaluation", protocol.name, sources, split, i)
        examples.append(render(config, clip, protocol, rng, training=False))
    pictures = torch.stack([seen(example, config) for example in examples])
    return EvaluationSet(protocol, sources, examples, pictures)


def dry_clips(config: Config, sources: str, n: int, seed: int, split: str) -> list[Clip]:
    """`n` dry clips of one kind and split, ``config.seconds`` and its pre-roll long; see `evaluation_set`."""
    rng = generator(seed, "clips", sources, split)
    if sources != "real":
        dry = pool(config, sources, split, min(n, 6000))
        return [dry.clip(int(rng.integers(len(dry)))) for _ in range(n)]
    mixture = recordings(
        REAL_FOLDERS,
        seconds=config.seconds + config.preroll_seconds,
        sample_rate=config.sample_rate,
    )
    return [mixture.clip(rng, "test") for _ in range(n)]


def predictions(
    model: PedalOrderModel, pictures: Tensor, protocol: Protocol, *, beams: int = 6
) -> list[Prediction]:
    """One prediction for each picture, each decoded alone."""
    return [decode(model, one[None], protocol.pedals, beams=beams) for one in pictures]
