"""How near the knobs come, with the chain known, beside a constant and another clip's sound."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, chain_space
from labkit.measure.losses import mr_stft
from labkit.measure.score import SOURCES, STRANGERS, Kind, Row, row
from labkit.signal.seeds import generator
from labkit.systems import pedal_order
from labkit.systems.knobs.model import KnobModel, knobs_of, read
from labkit.systems.knobs.train import knob_nats, knobs_in_unit
from labkit.systems.pedal_order.config import PROTOCOLS, Protocol
from labkit.systems.pedal_order.data import Example, examples_for_scoring
from labkit.systems.pedal_order.predict import decoded_knobs

_NAME, _DECODER = "reader of knobs", "decoder of pedal order"
_MIDDLE = 0.5  # the constant that errs least: every knob is drawn evenly
_N_HEARD = 100  # clips whose re-creation is compared with the wet sound


def score(
    model: KnobModel,
    *,
    n: int = 300,
    sources: Sequence[Literal[Kind, "behind"]] = (*SOURCES, *STRANGERS),
    protocols: Sequence[Literal["three", "wide", "six", "nine"]] = ("three", "wide", "six", "nine"),
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
    rows, net, sound = [], model.config.net, model.config.sound
    decoder = pedal_order.load()
    pedals = net.pedals
    for protocol in (PROTOCOLS[one] for one in protocols):
        for kind in (one for one in sources if split == "test" or one != "real"):
            drawn = examples_for_scoring(sound, protocol, kind, n, seed=seed, split=split)
            examples = [example for example in drawn if example.chain.steps]
            if not examples:
                continue
            ids = [example.source_id for example in examples]
            chains = [example.chain for example in examples]
            order = generator(seed, "controls", protocol.name, kind).permutation(len(ids))
            clips = {"ours": examples, "control": [examples[i] for i in order]}
            read_from = {
                who: [read(model, e.wet, c.names) for e, c in zip(heard, chains, strict=True)]
                for who, heard in clips.items()
            }
            answers = {who: [one.chain for one in found] for who, found in read_from.items()}
            answers["decoder"] = [
                decoded_knobs(decoder, e.features(sound)[None], e.chain.names, protocol.pedals)
                for e in examples
            ]
            facts = {"protocol": protocol.name, "sources": kind, "seed": seed}
            if kind != "behind":  # what stands there is not in the chain
                rows += _heard_rows(examples[:_N_HEARD], answers, sound.sample_rate, facts)
            truth = _in_unit(chains, pedals).masked_fill(_not_drawn(protocol, pedals), -1.0)
            there = truth >= 0
            errors = {who: (_in_unit(a, pedals) - truth).abs() for who, a in answers.items()}
            errors["prior"] = (_MIDDLE - truth).abs()
            decoder_errors = {"ours": errors.pop("decoder"), "prior": errors["prior"]}
            rows.append(_row(errors, there, ids, name=_NAME, metric="knob error", **facts))
            beside = {"name": _DECODER, "metric": "knob error"}
            rows.append(_row(decoder_errors, there, ids, **beside, **facts))
            for k, knob in enumerate(model.knobs if protocol.name == "nine" else ()):
                alone = there & (torch.arange(len(model.knobs)) == k)
                if not alone.any():  # of few clips
                    continue
                metric = f"error of {' '.join(knob)}"
                rows.append(_row(errors, alone, ids, name=_NAME, metric=metric, **facts))
            possible = there.sum(1) * math.log(net.n_bins)
            gained = {
                who: possible - knob_nats(torch.stack([r.votes for r in found]), truth)[0].sum(1)
                for who, found in read_from.items()
            }
            ours, gained["oracle"], gained["prior"] = gained.pop("ours"), possible, torch.zeros(1)
            facts |= {"name": _NAME, "metric": "nats of the knobs", "unit": "nats"}
            rows.append(row(ours, ids, beside=gained, **facts))
    return rows


def _heard_rows(
    examples: Sequence[Example],
    answers: Mapping[str, Sequence[Chain]],
    sample_rate: int,
    facts: Mapping[str, Any],
) -> list[Row]:
    """How far the true dry sound through each answer is from the wet sound."""
    middle = [chain_space(e.chain.names) for e in examples]
    tried = {**answers, "prior": [one.from_unit(np.full(one.n_knobs, _MIDDLE)) for one in middle]}
    distance = {
        who: [
            mr_stft(e.apply(chain, sample_rate), e.wet, sample_rate)
            for e, chain in zip(examples, chains[: len(examples)], strict=True)
        ]
        for who, chains in tried.items()
    }
    ids, facts = [e.source_id for e in examples], {**facts, "metric": "MR-STFT of the re-creation"}
    beside = {who: distance[who] for who in ("control", "prior")}
    return [
        row(distance["ours"], ids, name=_NAME, beside=beside, **facts),
        row(distance["decoder"], ids, name=_DECODER, beside={"prior": distance["prior"]}, **facts),
    ]


def _in_unit(chains: Sequence[Chain], pedals: Sequence[str]) -> Tensor:
    """(chains, knobs) in 0..1; -1 where a knob is not there."""
    return torch.stack([knobs_in_unit(chain, pedals) for chain in chains])


def _not_drawn(protocol: Protocol, pedals: Sequence[str]) -> Tensor:
    """(knobs,) whether the protocol gives a knob always the same value."""
    return torch.tensor([knob in protocol.fixed.get(pedal, {}) for pedal, knob in knobs_of(pedals)])


def _row(errors: Mapping[str, Tensor], there: Tensor, ids: Sequence[str], **facts: object) -> Row:
    """The mean error of the knobs `there` (clips, knobs); every clip that has one counts alike."""
    clips = there.any(1)
    groups = [name for name, kept in zip(ids, clips.tolist(), strict=True) if kept]
    means = {who: (x * there).sum(1)[clips] / there.sum(1)[clips] for who, x in errors.items()}
    return row(means.pop("ours"), groups, beside=means, **facts)


def fixed_score(model: KnobModel) -> dict[str, float]:
    """The mean error of the knobs of 48 fixed chains of nine pedals on generated guitars."""
    pedals = model.config.net.pedals
    examples = examples_for_scoring(model.config.sound, PROTOCOLS["nine"], "generated", 48, seed=11)
    truth = _in_unit([example.chain for example in examples], pedals)
    said = _in_unit([read(model, e.wet, e.chain.names).chain for e in examples], pedals)
    return {"knob error": float((said - truth).abs()[truth >= 0].mean())}
