"""Training pedal order: the dry sound, the loss, and wet recordings without labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from labkit.effects.chain import Chain
from labkit.learn.pool import number_of
from labkit.learn.training import Batch
from labkit.signal.files import AudioError, read_audio, resample, to_mono
from labkit.signal.pool import DryPool, FreshClips, dry_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import AudioFolder
from labkit.systems.pedal_order.config import PAD, SEPARATOR, Config
from labkit.systems.pedal_order.data import Examples, targets, vary
from labkit.systems.pedal_order.model import PedalOrderModel, features
from labkit.systems.pedal_order.predict import decode, windows
from labkit.systems.system import Training

# A recording without a label is used if the network gives its order at least this probability.
MIN_PROBABILITY = 0.5


@dataclass(frozen=True)
class Source:
    """Where the dry sound comes from."""

    # kinds of dry sound, drawn equally often: generated, sampled (needs a soundfont) or recorded
    # (needs recordings). A kind given twice is drawn twice as often
    kinds: tuple[Literal["generated", "sampled", "recorded"], ...] = ("generated", "sampled")
    n_dry: int = 0  # dry clips of each kind, used repeatedly; 0: a new one for every example
    folder: Path | None = None  # folder of your own dry recordings, used beside the kinds
    # which files belong together, e.g. because one player made them; such files are never split
    # between training and validation. folder: first folder of their path (folder:2: first two);
    # prefix: name up to "_" (prefix:- up to "-"); or a CSV file with the columns file and group
    groups: str | None = None

    def __post_init__(self) -> None:
        if self.groups is not None and self.folder is None:
            raise ValueError(f"groups needs a folder, got groups {self.groups!r} and no folder")


@dataclass(frozen=True)
class Data(Source):
    """Where the training sound comes from."""

    # folder of wet recordings with unknown pedals, one chain per file. The network in --start names
    # their chains; its confident answers are the labels of half of every batch. Use a tenth of the
    # usual learning rate.
    unlabelled: Path | None = None


def dry_pools(config: Config, data: Source) -> list[DryPool | FreshClips]:
    """The dry clips to train on, one pool for each source."""
    sound = config.sound
    seconds = sound.seconds + sound.preroll_seconds
    size = {"seconds": seconds, "sample_rate": sound.sample_rate}
    seed = config.plan.seed
    pools = [dry_pool(kind, "train", data.n_dry, seed=seed, **size) for kind in data.kinds]
    if data.folder is not None:
        own = AudioFolder(data.folder, **size, group=data.groups)
        pools.append(FreshClips(own, "train", seed))
    if not pools:
        raise ValueError("kinds and folder must give at least one source of dry sound, got none")
    return pools


@contextmanager
def training(
    config: Config, data: Data, model: PedalOrderModel, run_dir: Path
) -> Iterator[Training]:
    """Rendered examples and, if `data` names some, recordings without labels."""
    dataset: Dataset = Examples(config, dry_pools(config, data), cache=run_dir / "cache")
    if data.unlabelled is not None:
        dataset = MixedExamples(dataset, pseudo_labels(model.eval(), data.unlabelled))
    yield Training(dataset, sequence_loss, finish=PedalOrderModel.forget_judge)


def sequence_loss(model: PedalOrderModel, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Nats per chain of the order, plus the weighted nats of the knobs and of the hints.

    A decoder that ignores the audio cannot bring `order_nats` below `Protocol.entropy_nats`.
    """
    net = model.config.net
    length = int((batch["tokens"] != PAD).sum(1).max())
    tokens = batch["tokens"][:, : length - 1]
    following = batch["tokens"][:, 1:length]
    logits, hints = model(batch["features"], batch["shelf"], tokens)
    nats = F.cross_entropy(
        logits.float().transpose(1, 2), following, reduction="none", ignore_index=PAD
    )
    in_order = ((tokens == SEPARATOR).cumsum(1) == 0).float()
    order = (nats * in_order).sum() / len(tokens)
    knobs = (nats * (1 - in_order)).sum() / len(tokens)
    hint = hint_loss(hints.float(), batch["place"], batch["shelf"])
    loss = order + net.knob_weight * knobs + net.hint_weight * hint
    figures = {"order_nats": order.item(), "knob_nats": knobs.item(), "hint_nats": hint.item()}
    return loss, figures


def hint_loss(hints: Tensor, place: Tensor, shelf: Tensor) -> Tensor:
    """Nats per chain of the hints: presence of each pedal, and the order of each present pair.

    The encoder does not know the shelf, so pedals that are not on it are not scored.
    """
    present = (place >= 0).float()
    other = 1 - torch.eye(place.shape[1], device=place.device)
    both = present.unsqueeze(2) * present.unsqueeze(1) * other
    before = (place.unsqueeze(2) < place.unsqueeze(1)).float()
    bce = F.binary_cross_entropy_with_logits
    presence = bce(hints[..., 0], present, weight=shelf, reduction="sum")
    order = bce(hints[..., 1:], before, weight=both, reduction="sum")
    return (presence + 0.5 * order) / len(place)  # each pair is counted twice


@dataclass(frozen=True)
class PseudoLabel:
    """The windows of a wet recording (windows, rows, frames), and the chain that was predicted."""

    clips: Tensor
    chain: Chain


def pseudo_labels(model: PedalOrderModel, folder: Path) -> list[PseudoLabel]:
    """The recordings in `folder` whose order has a probability of `MIN_PROBABILITY` or more."""
    sound = model.config.sound
    size = {"seconds": sound.seconds, "sample_rate": sound.sample_rate}
    files = AudioFolder(folder, **size, split_all="train").files("train")
    found = []
    for file in files:
        audio, sample_rate = read_audio(file)
        mono = resample(to_mono(audio), sample_rate, sound.sample_rate)
        if float(np.abs(mono).max()) < 1e-5:
            continue
        clips = features(torch.from_numpy(windows(mono, sound.samples, most=8)), sound)
        prediction = decode(model, clips, model.config.net.pedals)
        if prediction.probability >= MIN_PROBABILITY:
            found.append(PseudoLabel(clips, prediction.chain))
    print(f"{len(found)} of {len(files)} recordings have a confident chain and are used")
    if not found:
        raise AudioError(
            f"no recording in {folder} has an order with a probability of {MIN_PROBABILITY} or "
            "more: start from a trained network (--start)"
        )
    return found


class MixedExamples(Dataset):
    """Rendered examples, alternating with tilted and masked windows of wet recordings.

    Source: Sohn et al. 2020 (FixMatch): labels from a plain view, learnt on an augmented one.
    """

    def __init__(self, examples: Examples, labels: Sequence[PseudoLabel]) -> None:
        self.examples = examples
        self._windows = [(label, k) for label in labels for k in range(len(label.clips))]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        half, odd = divmod(index, 2)
        if not odd:
            return self.examples[half]
        config = self.examples.config
        seed = config.plan.seed
        label, k = self._windows[number_of(half, len(self._windows), seed)]
        clip = label.clips[k].clone()
        vary(clip, config.sound, generator(seed, "unlabelled", index))
        return {"features": clip, **targets(config, label.chain, config.net.pedals)}
