"""Scores of pedal order: exact chains and F1 beside baselines, oracle and shuffled audio."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from scipy.fft import dct

from labkit.effects.chain import Chain
from labkit.measure.metrics import (
    calibration_error,
    calibration_noise,
    chain_scores,
    macro_f1,
    si_sdr_db,
)
from labkit.measure.score import SOURCES, STRANGERS, Kind, Row, row
from labkit.signal.behind import behind_chain
from labkit.signal.files import AudioError
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedMixes, Mixture, recordings
from labkit.signal.speech import GeneratedSpeech
from labkit.systems.pedal_order.config import PROTOCOLS, Names, Protocol, Sound, canonical_names
from labkit.systems.pedal_order.data import Example, examples_for_scoring
from labkit.systems.pedal_order.model import PedalOrderModel, features
from labkit.systems.pedal_order.predict import (
    EXPLAINED_DB,
    NO_PEDALS,
    Prediction,
    decode,
    predict,
    refine,
    windows,
)

# Okita and Katayose 2026 (arXiv 2604.22276): three effects in all orders, their own sampling.
PUBLISHED = {("three", "exact chain"): 0.774, ("three", "macro F1"): 0.958}


def score(
    model: PedalOrderModel,
    *,
    n: int = 300,
    n_floor: int = 2000,
    n_refined: int = 0,
    sources: Sequence[Literal[Kind, "behind"]] = (*SOURCES, *STRANGERS),
    protocols: Sequence[Literal["three", "wide", "six", "nine", "single"]] = tuple(PROTOCOLS),
    split: Literal["test", "validation"] = "test",
    seconds: float | None = None,
    seed: int = 1,
) -> list[Row]:
    """Score the chains that the network names, beside its baselines and a shuffled control.

    Args:
        n: test clips for each task and kind of dry sound.
        n_floor: other clips, from which the simple baseline learns.
        n_refined: clips for which to score `--refine` too; each takes seconds to minutes.
        sources: generated, sampled, real, recorded; behind: recorded, then a speaker, room, codec.
        protocols: tasks; those that the network was not trained on are skipped.
        split: use validation to choose anything; it has no real recordings.
        seconds: score longer clips, read in windows that vote, by the rate of exact chains only.
        seed: random seed of clips and chains.

    Raises ValueError where `seconds` are not more than the network reads at once.
    """
    sound, rows, late = model.config.sound, [], []
    trained = [name for name in protocols if name in sound.protocols]
    sources = [one for one in sources if split == "test" or one != "real"]
    if seconds is not None and not seconds > sound.seconds:
        raise ValueError(f"seconds must be above {sound.seconds:g}, got {seconds:g}")
    heard = sound if seconds is None else replace(sound, seconds=seconds)
    network = "transformer" + ("" if sound.front_end == "mel" else f" on {sound.front_end}")
    for protocol in (PROTOCOLS[name] for name in trained):
        draw = partial(examples_for_scoring, heard, protocol, seed=seed)
        kinds = [kind for kind in ("generated", "sampled") if kind in sources] or ["generated"]
        if seconds is None:
            taught = [e for kind in kinds for e in draw(kind, n=n_floor // 2, split="train")]
        for kind in sources:
            examples = draw(kind, n=n, split=split)
            truth = [example.chain.names for example in examples]
            found = predictions(model, protocol, examples)
            ours = [canonical_names(one.chain.names) for one in found]
            rng = generator(seed, "controls", protocol.name, kind)
            ids = [e.source_id for e in examples]
            facts = {"protocol": protocol.name, "name": network, "sources": kind, "seed": seed}
            answers = {"ours": ours, "control": [ours[i] for i in rng.permutation(len(ours))]}
            if seconds is not None:
                exact = {who: chain_scores(truth, a)["exact"] for who, a in answers.items()}
                beside = {"control": exact["control"], "prior": max(Counter(truth).values()) / n}
                metric = f"exact chain, {seconds:g} s"
                rows.append(row(exact["ours"], ids, metric=metric, beside=beside, **facts))
                continue
            answers["floor"] = _floor(taught, examples, sound, seed)
            answers["chance"] = [canonical_names(protocol.sampler.order(rng)) for _ in ours]
            exact = {who: chain_scores(truth, a)["exact"] for who, a in answers.items()}
            f1 = {who: macro_f1(truth, a, protocol.pedals) for who, a in answers.items()}
            stated = [one.probability for one in found]
            gaps = {"ours": calibration_error(stated, exact["ours"])}
            gaps["oracle"] = calibration_noise(stated, rng)
            exact["prior"] = max(Counter(truth).values()) / n
            exact["oracle"] = [_oracle(example, sound.sample_rate) for example in examples[:200]]
            f1["prior"] = macro_f1(truth, [protocol.pedals] * n, protocol.pedals)
            scores = {"exact chain": exact, "macro F1": f1, "calibration error": gaps}
            for metric, values in scores.items():
                groups = ids if metric == "exact chain" else ["all"] * n  # no mean: no interval
                values["reference"] = PUBLISHED.get((protocol.name, metric))
                ours = values.pop("ours")
                rows.append(row(ours, groups, metric=metric, beside=values, **facts))
            if n_refined:
                pairs = list(zip(found, examples, strict=True))[:n_refined]
                right = [_refined(*pair, protocol, sound.sample_rate) for pair in pairs]
                late.append(row(right, ids[:n_refined], metric="exact chain, dry known", **facts))
            if model.can_judge and protocol.name == "three":
                for metric, answers in _refusals(model, examples[:100], kind, seed).items():
                    late.append(row(*answers, metric=metric, **facts))
    return rows + late


def _refusals(
    model: PedalOrderModel, examples: Sequence[Example], kind: str, seed: int
) -> dict[str, tuple[list[bool], list[str]]]:
    """Metric -> the answer to each clip, and its source; for guitars, and for other sounds."""
    rate, rng = model.config.sound.sample_rate, generator(seed, "refusals", kind)
    dry = [(e.aligned_dry, e.source_id) for e in examples]
    if kind == "behind":
        dry = [(behind_chain(clip, rate, rng, split="test"), name) for clip, name in dry]
    given = {"dry": dry, "wet": [(e.wet, e.source_id) for e in examples if e.chain.steps]}
    sizes = {"seconds": 8.0, "sample_rate": rate}
    if kind in ("real", "generated"):
        generated = Mixture([GeneratedSpeech(**sizes), GeneratedMixes(**sizes)])
        source = recordings(("music", "speech"), **sizes) if kind == "real" else generated
        clips = [source.clip(rng, "test") for _ in examples]
        given["music and speech"] = [(clip.audio, clip.source_id) for clip in clips]
    scores = {}
    for name, pairs in given.items():
        said, ids = [_said(model, clip) for clip, _ in pairs], [one for _, one in pairs]
        if name in ("dry", "wet"):
            scores[f"{name} said to be clean"] = [one.verdict == NO_PEDALS for one in said], ids
            scores[f"{name} refused"] = [one.refusal is not None for one in said], ids
        else:
            named = [one.probability >= 0.5 and len(one.chain) > 0 for one in said]
            scores[f"a pedal named in {name}"] = named, ids
    for there, where in ((True, "there is one"), (False, "there is none")):
        pairs = given["wet"] if kind != "behind" and model.judge_cabinet.any() else ()
        heard = [behind_chain(c, rate, rng, split="test", cabinet=there) for c, _ in pairs]
        if heard:
            named = [_said(model, clip).names_cabinet for clip in heard]
            scores[f"a cabinet named where {where}"] = named, [name for _, name in pairs]
    return scores


def _said(model: PedalOrderModel, clip: np.ndarray) -> Prediction:
    try:
        return predict(model, clip, model.config.sound.sample_rate)
    except AudioError:  # too quiet or too short: refused
        return Prediction(Chain(), 0.0, (((), 0.0),), no_guitar=1.0)


def fixed_score(model: PedalOrderModel) -> dict[str, int]:
    """How many of 48 fixed chains on generated guitars are named exactly, by protocol."""
    sound, right = model.config.sound, {}
    for name in (one for one in ("three", "six", "nine", "single") if one in sound.protocols):
        examples = examples_for_scoring(sound, PROTOCOLS[name], "generated", 48, seed=11)
        pairs = zip(examples, predictions(model, PROTOCOLS[name], examples), strict=True)
        right[name] = sum(e.chain.names == canonical_names(f.chain.names) for e, f in pairs)
    return right


def predictions(
    model: PedalOrderModel, protocol: Protocol, examples: Sequence[Example]
) -> list[Prediction]:
    """The network's orders for each example, without knobs; the windows of a longer one vote."""
    sound, found = model.config.sound, []
    for example in examples:
        if example.wet.shape[1] > sound.samples:
            clips = features(torch.from_numpy(windows(example.wet, sound.samples, most=8)), sound)
        else:
            clips = example.features(sound)[None]
        found.append(decode(model, clips, protocol.pedals, beams=6, knobs=False))
    return found


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


def _refined(found: Prediction, example: Example, protocol: Protocol, sample_rate: int) -> bool:
    """Whether order and knobs are found if the dry sound is known."""
    wet = example.chain.render(example.dry, sample_rate)  # from rest
    answer = refine(found, example.dry, wet, sample_rate, shelf=protocol.pedals)
    return answer.explained and canonical_names(answer.chain.names) == example.chain.names


def _oracle(example: Example, sample_rate: int) -> float:
    """Probability of the right order, given dry sound and all settings: some orders sound alike."""
    chains = [Chain(steps).canonical() for steps in itertools.permutations(example.chain.steps)]
    others = {chain.names: chain for chain in chains if chain.names != example.chain.names}
    renders = (example.apply(chain, sample_rate) for chain in others.values())
    heard = example.apply(example.chain, sample_rate)  # without what stands behind the chain
    return 1.0 / (1 + sum(si_sdr_db(heard, wet) > EXPLAINED_DB for wet in renders))
