"""How many nats the sound saves of the first draft's chains: 20.27 for one who hears nothing.

    draft.py [--n 300] [--taught 4000]

The draft (its author's labels): a compressor always, distortion, chorus, phaser and reverb each
with probability 1/2, shuffled; every knob one of a few values. The shipped networks were trained on
other chains, so small heads learn these labels from what they hear: set and order from the network
of nine pedals, knobs from the reader of knobs too, which is told set and order. They learn from
chains on training sound and stop by validation sound. Printed for each kind of test sound: nats
saved of set, order and knobs, with their prior, and of the sum with an interval over sources.
Needs `LABKIT_REAL_DATA`. The seed is fixed.
"""

import argparse
import itertools
import math
from typing import NamedTuple

import numpy as np
import pedalboard
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.measure.score import bootstrap_interval
from labkit.signal.pool import dry_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.units import set_rms
from labkit.systems import knobs, pedal_order
from labkit.systems.knobs.model import place_of
from labkit.systems.pedal_order.data import REAL_FOLDERS
from labkit.systems.pedal_order.model import features

RATE, SECONDS, PREROLL = 44_100, 2.0, 0.5
LEVELS = (0.5, 0.7, 1.0)
DRAFT = {
    "compressor": {
        "threshold_db": (-60, -50, -40, -30, -20, -10),
        "ratio": (1.5, 2, 4, 10),
        "attack_ms": (10, 50, 70, 100),
        "release_ms": (50, 100, 150, 300, 500),
    },
    "distortion": {"drive_db": (12, 18, 24)},
    "chorus": {
        "rate_hz": (0.5, 0.8, 1.0),
        "centre_delay_ms": (5, 10, 15, 20, 25, 30),
        "depth": (0.05, 0.15, 0.25),
        "feedback": (0.1, 0.2, 0.4),
        "mix": LEVELS,
    },
    "phaser": {
        "rate_hz": (0.2, 0.5, 1.0, 3.0),
        "depth": (0.2, 0.4, 0.7, 1.0),
        "centre_frequency_hz": (300, 600, 800, 1500, 2000),
        "feedback": (0.0, 0.4, 0.6),
        "mix": (0.5,),
    },
    "reverb": {
        "room_size": (0.1, 0.3, 0.5, 0.7, 1.0),
        "damping": (0.0, 0.5, 1.0),
        "wet_level": LEVELS,
        "dry_level": LEVELS,
        "width": LEVELS,
    },
}
NAMES = tuple(DRAFT)
PAIRS = tuple(itertools.combinations(NAMES, 2))
KNOBS = tuple((name, knob, values) for name in NAMES for knob, values in DRAFT[name].items())
MOST = max(len(values) for *_, values in KNOBS)
ORDERS = tuple(
    order
    for k in range(len(NAMES))
    for some in itertools.combinations(NAMES[1:], k)
    for order in itertools.permutations(("compressor", *some))
)


class Heard(NamedTuple):
    """What both networks hear of some chains, and the labels of these."""

    order: Tensor  # (n, features) of the network of nine
    knobs: Tensor  # (n, features) of the reader, told the chain
    orders: Tensor  # (n,) the number of the order
    values: Tensor  # (n, knobs) the number of each value; -100 where the pedal is not there
    sources: list[str]


def hear(ear: nn.Module, reader: nn.Module, kind: str, split: str, n: int) -> Heard:
    """`n` chains of the draft on one kind of dry sound."""
    size = {"seconds": SECONDS + PREROLL, "sample_rate": RATE}
    rng, inside, parts = generator(1, "draft", kind, split), [], []
    hook = reader.strengths.register_forward_pre_hook(lambda _, given: inside.append(given[0]))
    if kind == "real":
        mixture = recordings(REAL_FOLDERS, **size)
        clips = [mixture.clip(rng, split) for _ in range(n)]
    else:
        pool = dry_pool(kind, split, n, seed=7, **size)
        clips = [pool.clip(k) for k in range(n)]
    for clip in clips:
        kept = [name for name in NAMES if name == "compressor" or rng.random() < 0.5]
        names = tuple(str(name) for name in rng.permutation(kept))
        drawn = {name: [int(rng.integers(len(v))) for v in DRAFT[name].values()] for name in names}
        pedals = [
            getattr(pedalboard, name.capitalize())(
                **{k: v[i] for (k, v), i in zip(DRAFT[name].items(), drawn[name], strict=True)}
            )
            for name in names
        ]
        dry = set_rms(clip.audio, ear.config.sound.input_rms_dbfs)
        wet = pedalboard.Pedalboard(pedals)(dry, RATE)[:, -round(SECONDS * RATE) :]
        wet = torch.from_numpy(wet)
        with torch.inference_mode():
            order = ear.hear(features(wet, ear.config.sound)).pooled
            reader(reader.hear(wet), torch.tensor([place_of(names, reader.config.net.pedals)]))
        values = [
            drawn[name][list(DRAFT[name]).index(k)] if name in names else -100
            for name, k, _ in KNOBS
        ]
        parts.append(
            (
                order,
                torch.cat([inside.pop(), order], 1),
                ORDERS.index(names),
                values,
                clip.source_id,
            )
        )
    hook.remove()
    order, told, orders, values, sources = zip(*parts, strict=True)
    return Heard(
        torch.cat(order), torch.cat(told), torch.tensor(orders), torch.tensor(values), list(sources)
    )


class Heads(nn.Module):
    """Probabilities of the set, of the order in the set, and of the knobs in both."""

    def __init__(self, n_order: int, n_knobs: int) -> None:
        super().__init__()
        n_logits = (len(NAMES) - 1 + len(PAIRS), len(KNOBS) * MOST)
        self.order, self.knobs = (
            nn.Sequential(
                nn.BatchNorm1d(n, affine=False),
                nn.Linear(n, 256),
                nn.GELU(),
                nn.Dropout(0.5),
                nn.Linear(256, m),
            )
            for n, m in zip((n_order, n_knobs), n_logits, strict=True)
        )
        # Of each order and pair: 1 where the first stands before the second, -1 after, 0 not both.
        sign = [
            [np.sign(o.index(b) - o.index(a)) if {a, b} <= set(o) else 0 for a, b in PAIRS]
            for o in ORDERS
        ]
        self.register_buffer("sign", torch.tensor(sign).float())
        self.register_buffer("there", torch.tensor([[name in o for name in NAMES] for o in ORDERS]))
        self.register_buffer(
            "legal", torch.tensor([[i < len(v) for i in range(MOST)] for *_, v in KNOBS])
        )

    def forward(self, heard: Heard) -> Tensor:
        """(n, 3) nats of set, order and knobs."""
        presence, pairs = self.order(heard.order).split((len(NAMES) - 1, len(PAIRS)), 1)
        true = self.there[heard.orders]
        alike = (true[:, None] == self.there).all(-1)
        orders = (pairs @ self.sign.T).masked_fill(~alike, -torch.inf)
        values = (
            self.knobs(heard.knobs).view(len(true), -1, MOST).masked_fill(~self.legal, -torch.inf)
        )
        each = F.cross_entropy(values.transpose(1, 2), heard.values, reduction="none")
        bce = F.binary_cross_entropy_with_logits(presence, true[:, 1:].float(), reduction="none")
        return torch.stack(
            [bce.sum(1), F.cross_entropy(orders, heard.orders, reduction="none"), each.sum(1)], 1
        )


def joined(parts: list[Heard]) -> Heard:
    """Several as one."""
    tensors = (torch.cat([part[k] for part in parts]) for k in range(4))
    return Heard(*tensors, [name for part in parts for name in part.sources])


def rows(heard: Heard, some: Tensor) -> Heard:
    """Some of the chains, without their sources."""
    return Heard(*(part[some] for part in heard[:4]), [])


def taught(heard: Heard, kept: Heard) -> Heads:
    """Heads as they were where they were best on `kept`, order and knobs each for itself."""
    torch.manual_seed(0)
    heads = Heads(heard.order.shape[1], heard.knobs.shape[1])
    optimizer = torch.optim.AdamW(heads.parameters(), 1e-3, weight_decay=0.05)
    best, state = {"order": math.inf, "knobs": math.inf}, {}
    for _ in range(60):
        heads.train()
        for some in torch.randperm(len(heard.orders)).split(64):
            optimizer.zero_grad()
            heads(rows(heard, some)).sum(1).mean().backward()
            optimizer.step()
        heads.eval()
        with torch.inference_mode():
            left = heads(kept).mean(0)
        for name, value in {"order": float(left[:2].sum()), "knobs": float(left[2])}.items():
            if value < best[name]:
                best[name] = value
                state |= {k: v.clone() for k, v in heads.state_dict().items() if k.startswith(name)}
    heads.load_state_dict(state, strict=False)
    return heads.eval()


def main() -> None:
    """Print a line for each kind of test sound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--taught", type=int, default=4000)
    given = parser.parse_args()
    networks = pedal_order.load(), knobs.load()
    kinds = ("generated", "sampled", "recorded")
    each = given.taught // len(kinds)
    lessons = joined([hear(*networks, kind, "train", each) for kind in kinds])
    heads = taught(
        lessons, joined([hear(*networks, kind, "validation", each // 6) for kind in kinds])
    )
    sets = itertools.product((0, 1), repeat=len(NAMES) - 1)
    each = {name: sum(math.log(len(v)) for v in DRAFT[name].values()) for name in NAMES}
    prior = np.array(
        [
            (len(NAMES) - 1) * math.log(2),
            np.mean([math.log(math.factorial(1 + sum(others))) for others in sets]),
            each.pop("compressor") + sum(each.values()) / 2,
        ]
    )
    print(f"prior: {prior.sum():.2f} nats, of set, order, knobs {np.round(prior, 2)}")
    for kind in ("generated", "sampled", "real", "recorded"):
        heard = hear(*networks, kind, "test", given.n)
        with torch.inference_mode():
            left = heads(heard).numpy()
        saved = prior - left.mean(0)
        low, high = bootstrap_interval(prior.sum() - left.sum(1), heard.sources, seed=1)
        print(
            f"{kind:10s} saved {saved.sum():.2f} [{low:.2f}, {high:.2f}] nats; "
            f"set, order, knobs {np.round(saved, 2)}, n {given.n}",
            flush=True,
        )


if __name__ == "__main__":
    main()
