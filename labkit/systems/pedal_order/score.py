"""The exam of pedal order: exact chains and F1 beside baselines, oracle and shuffled audio."""

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from scipy.fft import dct

from labkit.effects.chain import Chain
from labkit.measure.metrics import calibration_error, chain_scores, macro_f1, si_sdr_db
from labkit.measure.score import SOURCES, STRANGERS, Row, row
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.config import PROTOCOLS, Names, Protocol, Sound, canonical_names
from labkit.systems.pedal_order.data import Example, examples_for_scoring
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import EXPLAINED_DB, Prediction, decode

# Okita and Katayose 2026 (arXiv 2604.22276): three effects in all orders, their own sampling.
PUBLISHED = {("three", "exact chain"): 0.774, ("three", "macro F1"): 0.958}


def score(
    model: PedalOrderModel,
    *,
    n: int = 300,
    n_floor: int = 2000,
    sources: Sequence[str] = (*SOURCES, *STRANGERS),
    protocols: Sequence[str] = tuple(PROTOCOLS),
    split: Literal["test", "validation"] = "test",
    seed: int = 1,
) -> list[Row]:
    """The rows of the results table: `n` clips each; the floor learns from `n_floor` others.

    Args:
        split: whatever is chosen is chosen on validation, which has no real recordings.
    """
    sound = model.config.sound
    rows = []
    for protocol in (PROTOCOLS[name] for name in protocols):
        draw = partial(examples_for_scoring, sound, protocol, seed=seed)
        kinds = [kind for kind in ("generated", "sampled") if kind in sources] or ["generated"]
        taught = [e for kind in kinds for e in draw(kind, n=n_floor // 2, split="train")]
        for kind in (one for one in sources if split == "test" or one != "real"):
            examples = draw(kind, n=n, split=split)
            truth = [example.chain.names for example in examples]
            found = predictions(model, protocol, examples)
            ours = [canonical_names(one.chain.names) for one in found]
            rng = generator(seed, "controls", protocol.name, kind)
            answers = {
                "ours": ours,
                "control": [ours[i] for i in rng.permutation(len(ours))],
                "floor": _floor(taught, examples, sound, seed),
                "chance": [canonical_names(protocol.sampler.order(rng)) for _ in ours],
            }
            exact = {who: chain_scores(truth, a)["exact"] for who, a in answers.items()}
            exact["prior"] = max(Counter(truth).values()) / len(truth)
            exact["oracle"] = [_oracle(example, sound.sample_rate) for example in examples[:200]]
            f1 = {who: macro_f1(truth, a, protocol.pedals) for who, a in answers.items()}
            f1["prior"] = macro_f1(truth, [protocol.pedals] * n, protocol.pedals)
            stated = {"ours": calibration_error([one.probability for one in found], exact["ours"])}
            scores = {"exact chain": exact, "macro F1": f1, "calibration error": stated}
            facts = {"protocol": protocol.name, "name": "transformer", "sources": kind}
            for metric, values in scores.items():
                # Only the first is a mean over clips, and has an interval.
                groups = [e.source_id for e in examples] if values is exact else ["all"] * n
                values["reference"] = PUBLISHED.get((protocol.name, metric))
                facts |= {"metric": metric, "seed": seed}
                rows.append(row(values.pop("ours"), groups, beside=values, **facts))
    return rows


def fixed_score(model: PedalOrderModel) -> dict[str, int]:
    """How many of 48 fixed chains on generated guitars are named exactly, by protocol."""
    sound, right = model.config.sound, {}
    for name in ("three", "six"):
        examples = examples_for_scoring(sound, PROTOCOLS[name], "generated", 48, seed=11)
        found = predicted_orders(model, PROTOCOLS[name], examples)
        right[name] = sum(e.chain.names == f for e, f in zip(examples, found, strict=True))
    return right


def predictions(
    model: PedalOrderModel, protocol: Protocol, examples: Sequence[Example]
) -> list[Prediction]:
    """What the network says of each example."""
    clips = [example.features(model.config.sound)[None] for example in examples]
    return [decode(model, clip, protocol.pedals, beams=6) for clip in clips]


def predicted_orders(
    model: PedalOrderModel, protocol: Protocol, examples: Sequence[Example]
) -> list[Names]:
    """The canonical order of each example as the network predicts it."""
    found = predictions(model, protocol, examples)
    return [canonical_names(one.chain.names) for one in found]


def _floor(taught: list[Example], examples: list[Example], sound: Sound, seed: int) -> list[Names]:
    """Orders by MFCC statistics and a small perceptron, see Guo and McFee 2023; one class each."""

    def statistics(clips: list[Example]) -> np.ndarray:
        log_mel = torch.stack([clip.features(sound) for clip in clips]).numpy()
        mfcc = dct(log_mel, type=2, norm="ortho", axis=1)[:, :30]
        slopes = np.diff(mfcc, axis=-1)
        return np.concatenate([mfcc.mean(-1), mfcc.std(-1), slopes.std(-1)], axis=1)

    perceptron = need("sklearn.neural_network").MLPClassifier(
        (256, 128), max_iter=40, early_stopping=True, n_iter_no_change=6, random_state=seed
    )
    scaler = need("sklearn.preprocessing").StandardScaler()
    model = need("sklearn.pipeline").make_pipeline(scaler, perceptron)
    model.fit(statistics(taught), [" ".join(clip.chain.names) for clip in taught])
    return [tuple(answer.split()) for answer in model.predict(statistics(examples))]


def _oracle(example: Example, sample_rate: int) -> float:
    """The chance to name the order from the dry sound and all settings: some orders sound alike."""
    chains = [Chain(steps).canonical() for steps in itertools.permutations(example.chain.steps)]
    others = {chain.names: chain for chain in chains if chain.names != example.chain.names}
    renders = (example.apply(chain, sample_rate) for chain in others.values())
    heard = example.apply(example.chain, sample_rate)  # without what stands behind the chain
    return 1.0 / (1 + sum(si_sdr_db(heard, wet) > EXPLAINED_DB for wet in renders))
