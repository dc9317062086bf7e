"""The protocol of this system's first draft: five pedals, a compressor always, each knob one of a few values.

Its author's model stood at .71 nats a word, where one that hears nothing stands at .65 (20.27 nats a chain over 31
words). So the figure of merit is what the sound saves of these 20.27. The network was trained on other chains; what it
has heard is read by a small head that is taught these labels, the network itself is left alone.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.examination import dry_clips
from labkit.systems.pedal_order.front_ends import picture
from labkit.systems.pedal_order.model import PedalOrderModel

Names = tuple[str, ...]
ALWAYS = "compressor"
_LEVELS = (0.5, 0.7, 1.0)
# pedal -> knob of pedalboard -> its values, as the draft lists them.
VALUES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "compressor": {
        "threshold_db": (-60.0, -50.0, -40.0, -30.0, -20.0, -10.0),
        "ratio": (1.5, 2.0, 4.0, 10.0),
        "attack_ms": (10.0, 50.0, 70.0, 100.0),
        "release_ms": (50.0, 100.0, 150.0, 300.0, 500.0),
    },
    "distortion": {"drive_db": (12.0, 18.0, 24.0)},
    "chorus": {
        "rate_hz": (0.5, 0.8, 1.0),
        "centre_delay_ms": (5.0, 10.0, 15.0, 20.0, 25.0, 30.0),
        "depth": (0.05, 0.15, 0.25),
        "feedback": (0.1, 0.2, 0.4),
        "mix": _LEVELS,
    },
    "phaser": {
        "rate_hz": (0.2, 0.5, 1.0, 3.0),
        "depth": (0.2, 0.4, 0.7, 1.0),
        "centre_frequency_hz": (300.0, 600.0, 800.0, 1500.0, 2000.0),
        "feedback": (0.0, 0.4, 0.6),
        "mix": (0.5,),
    },
    "reverb": {
        "room_size": (0.1, 0.3, 0.5, 0.7, 1.0),
        "damping": (0.0, 0.5, 1.0),
        "wet_level": _LEVELS,
        "dry_level": _LEVELS,
        "width": _LEVELS,
    },
}


@dataclass(frozen=True)
class DraftChain:
    """Pedals in the order in which they were drawn, with the values of their knobs."""

    names: Names
    values: Mapping[str, Mapping[str, float]]

    def render(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """(1, samples) -> (1, samples), by pedalboard."""
        library = need("pedalboard")
        plugins = [getattr(library, name.capitalize())(**self.values[name]) for name in self.names]
        return library.Pedalboard(plugins)(audio, sample_rate)


def draw(rng: np.random.Generator) -> DraftChain:
    """The compressor, each other pedal with probability 1/2, shuffled; every value evenly."""
    kept = [name for name in VALUES if name == ALWAYS or rng.random() < 0.5]
    values = {
        name: {knob: float(rng.choice(given)) for knob, given in VALUES[name].items()}
        for name in kept
    }
    return DraftChain(tuple(str(name) for name in rng.permutation(kept)), values)


def prior() -> dict[str, float]:
    """Nats of a chain that nobody has heard: ``set``, ``order`` given the set, ``knobs`` given both."""
    others = len(VALUES) - 1
    sizes = [math.comb(others, k) / 2**others for k in range(others + 1)]
    each = {
        name: sum(math.log(len(given)) for given in knobs.values())
        for name, knobs in VALUES.items()
    }
    return {
        "set": others * math.log(2),
        "order": sum(share * math.lgamma(k + 2) for k, share in enumerate(sizes)),
        "knobs": each[ALWAYS] + sum(nats for name, nats in each.items() if name != ALWAYS) / 2,
    }


# Everything that can be drawn: which pedals stand in an order, and who stands before whom.
_OTHERS = tuple(name for name in VALUES if name != ALWAYS)
_PAIRS = tuple(itertools.combinations(VALUES, 2))
_KNOBS = tuple(
    (name, knob, given) for name, knobs in VALUES.items() for knob, given in knobs.items()
)
_ORDERS = tuple(
    order
    for k in range(len(_OTHERS) + 1)
    for rest in itertools.combinations(_OTHERS, k)
    for order in itertools.permutations((ALWAYS, *rest))
)


class Reading(nn.Module):
    """A head on what the network heard: a probability for every chain of the draft.

    Pedals are there independently; an order's weight is the product of those of its pairs, over all orders of its set;
    each knob has a softmax over its values.

    Args:
        n_features: of `features`.
        width: of the hidden layer.
    """

    def __init__(self, n_features: int, *, width: int = 256) -> None:
        super().__init__()
        self.sizes = [len(_OTHERS), len(_PAIRS), sum(len(given) for _, _, given in _KNOBS)]
        self.scale = nn.BatchNorm1d(n_features, affine=False)
        self.layers = nn.Sequential(
            nn.Linear(n_features, width),
            nn.GELU(),
            nn.Dropout(0.5),
            nn.Linear(width, sum(self.sizes)),
        )
        sign = {True: 1.0, False: -1.0}
        before = [
            [
                sign[order.index(a) < order.index(b)] if a in order and b in order else 0.0
                for a, b in _PAIRS
            ]
            for order in _ORDERS
        ]
        self.register_buffer("before", torch.tensor(before))
        self.register_buffer(
            "member", torch.tensor([[name in order for name in VALUES] for order in _ORDERS])
        )
        counts = [len(given) for _, _, given in _KNOBS]
        ends = list(itertools.accumulate(counts))
        where = [
            [*range(end - size, end), *[-1] * (max(counts) - size)]
            for end, size in zip(ends, counts, strict=True)
        ]
        self.register_buffer(
            "where", torch.tensor(where)
        )  # a knob's logits among all; -1 where it has no more

    def forward(self, heard: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The nats of each chain after (b, n_features): ``set``, ``order``, ``knobs``, each (b,); `truth`: `labels`."""
        there, pairs, knobs = self.layers(self.scale(heard)).split(self.sizes, -1)
        order, values = truth[:, 0], truth[:, 1:]
        present = self.member[order][:, 1:].float()
        alike = (self.member[order][:, None] == self.member).all(-1)
        scores = (pairs @ self.before.T).masked_fill(~alike, -torch.inf)
        logits = knobs[:, self.where.clamp(min=0)].masked_fill(self.where < 0, -torch.inf)
        nats = functional.cross_entropy(logits.transpose(1, 2), values, reduction="none")
        return {
            "set": functional.binary_cross_entropy_with_logits(
                there, present, reduction="none"
            ).sum(-1),
            "order": functional.cross_entropy(scores, order, reduction="none"),
            "knobs": nats.sum(1),
        }


def labels(chains: Sequence[DraftChain]) -> Tensor:
    """(b, 1 + 20): the number of the order, and of each knob's value; -100, which costs nothing, without the pedal."""
    rows = [
        [_ORDERS.index(chain.names)]
        + [
            given.index(chain.values[name][knob]) if name in chain.names else -100
            for name, knob, given in _KNOBS
        ]
        for chain in chains
    ]
    return torch.tensor(rows)


@torch.no_grad()
def features(model: PedalOrderModel, pictures: Tensor) -> Tensor:
    """(b, rows, frames) -> (b, features): mean and spread of what the network keeps of a clip, and its hints."""
    shelf = model.shelf_vector(tuple(VALUES)).expand(len(pictures), -1)
    memory, hints = model.hear(pictures, shelf)
    return torch.cat([memory.mean(1), memory.std(1), hints.flatten(1)], -1)


@dataclass(frozen=True)
class _Heard:
    """Draft chains on dry clips, and what the network keeps of each."""

    features: Tensor
    labels: Tensor
    groups: list[str]


def _heard(model: PedalOrderModel, kind: str, n: int, seed: int, split: str) -> _Heard:
    config, chains, found, groups = model.config, [], [], []
    for i, clip in enumerate(dry_clips(config, kind, n, seed, split)):
        chain = draw(generator(seed, "first draft", kind, split, i))
        wet = chain.render(set_rms(clip.audio, config.input_rms_dbfs), config.sample_rate)[
            :, -config.samples :
        ]
        found.append(features(model, picture(torch.from_numpy(wet), config)))
        chains.append(chain)
        groups.append(clip.source_id)
    return _Heard(torch.cat(found), labels(chains), groups)


def teach(
    heard: Sequence[_Heard], kept: Sequence[_Heard], *, seed: int, epochs: int = 60
) -> Reading:
    """Fit a `Reading`, and keep the epoch that was best on `kept`."""
    inputs, truth = (
        torch.cat([one.features for one in heard]),
        torch.cat([one.labels for one in heard]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reading = Reading(inputs.shape[1])
        optimizer = torch.optim.AdamW(reading.parameters(), lr=1e-3, weight_decay=0.05)
        best, state = math.inf, reading.state_dict()
        for _ in range(epochs):
            reading.train()
            for rows in torch.randperm(len(truth)).split(64):
                if len(rows) == 1:  # batch statistics need two
                    continue
                loss = sum(part.mean() for part in reading(inputs[rows], truth[rows]).values())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            reading.eval()
            with torch.no_grad():
                left = float(
                    sum(
                        part.mean()
                        for one in kept
                        for part in reading(one.features, one.labels).values()
                    )
                )
            if left < best:
                best, state = (
                    left,
                    {name: value.clone() for name, value in reading.state_dict().items()},
                )
    reading.load_state_dict(state)
    return reading.eval()


def draft_rows(
    model: PedalOrderModel,
    *,
    n: int = 200,
    n_taught: int = 4000,
    sources: Sequence[str] = ("generated", "sampled", "real"),
    seed: int = 1,
    checkpoint: str = "",
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Nats recovered of the draft's 20.27 a chain, whole and in parts; the control hears another clip.

    Args:
        model: in evaluation mode.
        n: chains of each kind of sources, never trained on.
        n_taught: chains that the head is taught on, half generated, half sampled, and a tenth of it again to stop by.
        sources: kinds of dry sources to examine on.
        seed: of everything drawn.
        checkpoint: name recorded in each row.
        say: told about progress.

    Returns:
        A row for each part and kind; the oracle column is what there is to recover.
    """
    kinds, whole = ("generated", "sampled"), prior()
    taught = [_heard(model, kind, n_taught // 2, seed, "train") for kind in kinds]
    reading = teach(
        taught,
        [_heard(model, kind, n_taught // 20, seed, "validation") for kind in kinds],
        seed=seed,
    )
    whole, rows = {"chain": sum(whole.values()), **whole}, []
    for kind in sources:
        tests, saved = _heard(model, kind, n, seed, "test"), {}
        for who, inputs in (("ours", tests.features), ("control", tests.features.roll(1, 0))):
            with torch.no_grad():
                spent = {part: nats.numpy() for part, nats in reading(inputs, tests.labels).items()}
            spent["chain"] = sum(spent.values())
            saved[who] = {part: whole[part] - spent[part] for part in whole}
        for part, nats in saved["ours"].items():
            low, high = bootstrap_interval(nats, tests.groups, seed=seed)
            facts = {
                "low": low,
                "high": high,
                "control": float(saved["control"][part].mean()),
                "oracle": whole[part],
            }
            metric = "nats recovered" if part == "chain" else f"nats recovered: {part}"
            shared = {
                "protocol": "first draft",
                "sources": kind,
                "seed": seed,
                "unit": "nats",
                "n": n,
            }
            shared |= {"checkpoint": checkpoint or None, "name": "transformer, read by a head"}
            rows.append(Row(metric=metric, ours=float(nats.mean()), **shared, **facts))
        say(
            f"first draft {kind}: "
            + ", ".join(f"{part} {nats.mean():.2f}" for part, nats in saved["ours"].items())
        )
    return rows
