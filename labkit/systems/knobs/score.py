"""How near the knobs come, with the chain known, beside a constant and another clip's sound."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labkit.effects.registry import effect
from labkit.measure.score import SOURCES, STRANGERS, Kind, Row, row
from labkit.signal.seeds import generator
from labkit.systems import pedal_order
from labkit.systems.knobs.model import KnobModel, place_of, spread
from labkit.systems.knobs.train import knob_nats, knobs_in_unit
from labkit.systems.pedal_order.config import PROTOCOLS, Names, Protocol
from labkit.systems.pedal_order.data import Example, examples_for_scoring
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import decoded_knobs

_MIDDLE = 0.5  # the constant that errs least: every knob is drawn evenly
_NAME = "reader of knobs"


def score(
    model: KnobModel,
    *,
    n: int = 300,
    sources: Sequence[Literal[Kind, "behind"]] = (*SOURCES, *STRANGERS),
    protocols: Sequence[Literal["three", "wide", "six", "nine"]] = tuple(PROTOCOLS),
    split: Literal["test", "validation"] = "test",
    seed: int = 1,
) -> list[Row]:
    """Score the knobs of chains whose order is told: errors on 0 to 1, and nats that are learnt.

    Args:
        n: test clips for each task and kind of dry sound; those without pedals are left out.
        sources: generated, sampled, real, recorded; behind: recorded, then a speaker, room, codec.
        protocols: tasks, see pedal order; for nine, each knob is scored by itself too.
        split: use validation to choose anything; it has no real recordings.
        seed: random seed of clips and chains.
    """
    rows, pedals, sound = [], model.config.net.pedals, model.config.sound
    for protocol in (PROTOCOLS[name] for name in protocols):
        decoder = pedal_order.load(preset="nine" if protocol.name == "nine" else None)
        for kind in (one for one in sources if split == "test" or one != "real"):
            drawn = examples_for_scoring(sound, protocol, kind, n, seed=seed, split=split)
            examples = [example for example in drawn if example.chain.steps]
            ids = [example.source_id for example in examples]
            chains = [example.chain.names for example in examples]
            order = generator(seed, "controls", protocol.name, kind).permutation(len(ids))
            truth = torch.stack([_drawn(example, protocol, pedals) for example in examples])
            logits = knob_logits(model, examples, chains)
            shuffled = knob_logits(model, [examples[i] for i in order], chains)
            decoded = torch.stack(
                [_decoded(decoder, example, protocol, pedals) for example in examples]
            )
            facts = {"protocol": protocol.name, "sources": kind, "seed": seed}
            said = {"ours": logits, "control": shuffled}
            said = {who: spread(one)[0] for who, one in said.items()}
            said["prior"] = torch.full_like(truth, _MIDDLE)
            errors = {who: (one - truth).abs() for who, one in said.items()}
            there = truth >= 0
            rows.append(_error_row(errors, there, ids, name=_NAME, metric="knob error", **facts))
            others = {"ours": (decoded - truth).abs(), "prior": errors["prior"]}
            name = "decoder of pedal order"
            rows.append(_error_row(others, there, ids, name=name, metric="knob error", **facts))
            for k, knob in enumerate(model.knobs if protocol.name == "nine" else ()):
                alone = there & (torch.arange(len(model.knobs)) == k)
                metric = f"error of {' '.join(knob)}"
                rows.append(_error_row(errors, alone, ids, name=_NAME, metric=metric, **facts))
            possible = there.sum(1) * math.log(model.config.net.n_bins)
            gained, control = (
                possible - knob_nats(one, truth)[0].sum(1) for one in (logits, shuffled)
            )
            beside = {"prior": 0.0, "control": control, "oracle": possible}
            facts |= {"name": _NAME, "metric": "nats of the knobs", "unit": "nats"}
            rows.append(row(gained, ids, beside=beside, **facts))
    return rows


@torch.inference_mode()
def knob_logits(model: KnobModel, examples: Sequence[Example], chains: Sequence[Names]) -> Tensor:
    """(clips, knobs, n_bins) for the sound of `examples` and the pedals of `chains`."""
    places = torch.tensor([place_of(names, model.config.net.pedals) for names in chains])
    found = []
    for first in range(0, len(examples), 32):
        clips = np.concatenate([one.wet for one in examples[first : first + 32]])
        found.append(model(model.hear(torch.from_numpy(clips)), places[first : first + 32]))
    return torch.cat(found)


def _drawn(example: Example, protocol: Protocol, pedals: Sequence[str]) -> Tensor:
    """(knobs,) in 0..1; -1 where one is not there, or the protocol does not draw it."""
    drawn = [
        name not in protocol.fixed.get(pedal, {})
        for pedal in pedals
        for name in effect(pedal).space.names
    ]
    return knobs_in_unit(example.chain, pedals).where(torch.tensor(drawn), torch.tensor(-1.0))


def _decoded(
    decoder: PedalOrderModel, example: Example, protocol: Protocol, pedals: Sequence[str]
) -> Tensor:
    """(knobs,) as the decoder of pedal order writes them for the true chain."""
    clips = example.features(decoder.config.sound)[None]
    return knobs_in_unit(
        decoded_knobs(decoder, clips, example.chain.names, protocol.pedals), pedals
    )


def _error_row(
    errors: dict[str, Tensor], there: Tensor, ids: Sequence[str], **facts: object
) -> Row:
    """The row of the knobs in `there` (clips, knobs); every clip that has one counts alike."""
    clips = there.any(1)
    groups = [name for name, kept in zip(ids, clips.tolist(), strict=True) if kept]
    errors = {who: ((error * there).sum(1) / there.sum(1))[clips] for who, error in errors.items()}
    return row(errors.pop("ours"), groups, beside=errors, **facts)


def fixed_score(model: KnobModel) -> dict[str, float]:
    """The mean error of the knobs of 48 fixed chains of nine pedals on generated guitars."""
    sound, pedals = model.config.sound, model.config.net.pedals
    examples = examples_for_scoring(sound, PROTOCOLS["nine"], "generated", 48, seed=11)
    truth = torch.stack([knobs_in_unit(example.chain, pedals) for example in examples])
    logits = knob_logits(model, examples, [example.chain.names for example in examples])
    error = (spread(logits)[0] - truth).abs()[truth >= 0]
    return {"knob error": round(float(error.mean()), 4)}
