"""The rows of the results table that one examination gives."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from labkit.effects.effect import commutes
from labkit.effects.registry import effect
from labkit.measure.losses import mr_stft
from labkit.measure.metrics import chain_scores, kendall_tau, macro_f1, si_sdr_db
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.baselines import (
    canonical_names,
    canonical_prior,
    inert_pedals,
    oracle_share,
    without,
)
from labkit.systems.pedal_order.config import Config, Protocol
from labkit.systems.pedal_order.decode import Prediction
from labkit.systems.pedal_order.examination import EvaluationSet, predictions
from labkit.systems.pedal_order.model import PedalOrderModel

Names = tuple[str, ...]
METRICS = {
    "exact": "exact chain",
    "set": "right set",
    "order": "order given set",
    "levenshtein": "Levenshtein",
}
# Okita and Katayose 2026 (arXiv 2604.22276): three effects, all orders, 205 h of real guitar, their own sampling.
PUBLISHED = {"exact chain": 0.774, "macro F1": 0.958, "Levenshtein": 0.313}
# Examples of a set that rows are made from which need many renders each.
FEW = 200


def rows_of(
    model: PedalOrderModel,
    tests: EvaluationSet,
    floor: Callable[[Tensor], list[Names]],
    seed: int,
    checkpoint: str,
) -> list[Row]:
    """Every row of one protocol and one kind of sources; the first is the exact chain's.

    Args:
        model: in evaluation mode.
        tests: what it is asked.
        floor: from pictures to orders.
        seed: of controls and intervals.
        checkpoint: name recorded in each row.

    Returns:
        Exactness, sets, orders, nats, F1, knobs and re-rendered sound.
    """
    truth, protocol = tests.orders, tests.protocol
    said = predictions(model, tests.pictures, protocol)
    ours = [canonical_names(prediction.chain.names) for prediction in said]
    rng = generator(seed, "controls", protocol.name, tests.sources)
    answers = {
        "ours": ours,
        "control": [ours[i] for i in rng.permutation(len(truth))],
        "floor": floor(tests.pictures),
        "chance": [canonical_names(protocol.sampler.order(rng)) for _ in truth],
    }
    few = tests.examples[:FEW]
    oracle = float(np.mean([oracle_share(model.config, example) for example in few]))
    shared = {
        "seed": seed,
        "checkpoint": checkpoint or None,
        "name": "transformer",
        "n": len(truth),
    }
    shared |= {"protocol": protocol.name, "sources": tests.sources, "unit": ""}
    scores = {who: chain_scores(truth, names) for who, names in answers.items()}
    constants = [chain_scores(truth, [names] * len(truth)) for names in canonical_prior(protocol)]
    rows = []
    for key, metric in METRICS.items():
        kept = ~np.isnan(scores["ours"][key])
        if not kept.any():  # no set was right: nothing can be said of order
            continue
        groups = [group for group, keep in zip(tests.groups, kept, strict=True) if keep]
        low, high = interval(scores["ours"][key][kept], groups, seed)
        best = min if key == "levenshtein" else max
        beside = {who: _mean(values[key]) for who, values in scores.items()}
        if key != "order":
            beside["prior"] = best(float(constant[key].mean()) for constant in constants)
        limit = {"exact": oracle, "set": 1.0, "levenshtein": 0.0}.get(key)
        facts = {"n": int(kept.sum()), "oracle": limit, "reference": _published(metric, protocol)}
        rows.append(Row(metric=metric, low=low, high=high, **shared | beside | facts))
    rows += _order_rows(tests, answers, shared, seed)
    rows += audible_rows(model.config, tests, answers, shared, seed)
    f1 = {who: macro_f1(truth, names, protocol.pedals) for who, names in answers.items()}
    f1["prior"] = macro_f1(truth, [protocol.pedals] * len(truth), protocol.pedals)
    facts = {
        "low": None,
        "high": None,
        "oracle": 1.0,
        "reference": _published("macro F1", protocol),
    }
    rows.append(Row(metric="macro F1", **shared | f1 | facts))
    return (
        rows + knob_rows(tests, said, shared, seed) + _sound_rows(model, tests, said, shared, seed)
    )


def _order_rows(
    tests: EvaluationSet, answers: Mapping[str, Sequence[Names]], shared: dict, seed: int
) -> list[Row]:
    """Kendall's tau on the pairs that can be told apart, and exact orders if equal-sounding ones counted as errors."""
    taus = {
        who: np.array(
            [kendall_tau(t, p, _joined) for t, p in zip(tests.orders, names, strict=True)]
        )
        for who, names in answers.items()
    }
    kept = ~np.isnan(taus["ours"])
    rows = []
    if kept.sum() >= 20:
        groups = [group for group, keep in zip(tests.groups, kept, strict=True) if keep]
        low, high = interval(taus["ours"][kept], groups, seed)
        facts = {who: _mean(values) for who, values in taus.items()} | {
            "n": int(kept.sum()),
            "oracle": 1.0,
        }
        rows.append(Row(metric="Kendall tau, audible pairs", low=low, high=high, **shared | facts))
    alike = np.array([_n_alike(names) for names in tests.orders])
    raw = {
        who: np.array([t == p for t, p in zip(tests.orders, names, strict=True)]) / alike
        for who, names in answers.items()
    }
    low, high = interval(raw["ours"], tests.groups, seed)
    facts = {who: float(values.mean()) for who, values in raw.items()} | {
        "oracle": float((1 / alike).mean())
    }
    return [*rows, Row(metric="exact chain, raw order", low=low, high=high, **shared | facts)]


def audible_rows(
    config: Config,
    tests: EvaluationSet,
    answers: Mapping[str, Sequence[Names]],
    shared: dict,
    seed: int,
) -> list[Row]:
    """How often a clip has a pedal that does nothing, and the exact share when nobody is asked for those.

    Args:
        config: of the rendering.
        tests: what was asked.
        answers: who -> orders; ``"ours"`` and others.
        shared: what the rows have in common.
        seed: of the intervals.
    """
    few = tests.examples[:FEW]
    inert = [inert_pedals(config, example) for example in few]
    lacking = np.array([float(bool(names)) for names in inert])
    truth = [without(names, gone) for names, gone in zip(tests.orders, inert, strict=False)]
    right = {
        who: np.array(
            [t == without(p, gone) for t, p, gone in zip(truth, names, inert, strict=False)], float
        )
        for who, names in answers.items()
    }
    low, high = interval(right["ours"], tests.groups[: len(few)], seed)
    facts = {who: float(values.mean()) for who, values in right.items()} | {"n": len(few)}
    return [
        Row(
            metric="clips with an inert pedal",
            ours=float(lacking.mean()),
            low=None,
            high=None,
            **shared | {"n": len(few)},
        ),
        Row(metric="exact chain, inert pedals left out", low=low, high=high, **shared | facts),
    ]


def _joined(first: str, second: str) -> bool:
    return not commutes(effect(first), effect(second))


def _n_alike(names: Names) -> int:
    """How many raw orders have this canonical one: one who knows it can only guess among them."""
    return sum(canonical_names(order) == names for order in itertools.permutations(names))


def knob_rows(
    tests: EvaluationSet, said: Sequence[Prediction], shared: dict, seed: int
) -> list[Row]:
    """Errors of the knobs that were drawn, as shares of their ranges, where the pedal was heard; then of each knob."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for example, prediction in zip(tests.examples, said, strict=True):
        guesses = {step.effect: step for step in prediction.chain.steps}
        for step in example.chain.steps:
            if step.effect not in guesses:
                continue
            space, fixed = effect(step.effect).space, tests.protocol.fixed.get(step.effect, {})
            for p, true, guess in zip(
                space.parameters,
                space.to_unit(step.params),
                space.to_unit(guesses[step.effect].params),
                strict=True,
            ):
                if p.identifiable and p.name not in fixed:
                    row = (abs(true - guess), abs(true - 0.5), example.source_id)
                    found.setdefault(f"knob error: {step.effect} {p.name}", []).append(row)
    found = {"knob error": [row for rows in found.values() for row in rows]} | dict(
        sorted(found.items())
    )
    rows = []
    for metric, errors in found.items():
        if not errors:  # no pedal was heard that is there
            continue
        ours, middle, groups = zip(*errors, strict=True)
        low, high = interval(np.array(ours), groups, seed)
        facts = {
            "n": len(ours),
            "ours": float(np.mean(ours)),
            "floor": float(np.mean(middle)),
            "oracle": 0.0,
        }
        rows.append(Row(metric=metric, low=low, high=high, **shared | facts))
    return rows


def _sound_rows(
    model: PedalOrderModel,
    tests: EvaluationSet,
    said: Sequence[Prediction],
    shared: dict,
    seed: int,
) -> list[Row]:
    """The predicted chain on the true dry sound. The floor is no effects at all."""
    rate, same, none, sdr, groups = model.config.sample_rate, [], [], [], []
    for example, prediction in list(zip(tests.examples, said, strict=True))[:FEW]:
        start = example.dry.shape[1] - example.wet.shape[1]
        again = example.apply(prediction.chain, rate)
        same.append(mr_stft(again, example.wet, rate))
        sdr.append((si_sdr_db(example.wet, again), si_sdr_db(example.wet, example.dry[:, start:])))
        none.append(mr_stft(example.dry[:, start:], example.wet, rate))
        groups.append(example.source_id)
    low, high = interval(np.array(same), groups, seed)
    facts = {
        "n": len(same),
        "ours": float(np.mean(same)),
        "floor": float(np.mean(none)),
        "oracle": 0.0,
    }
    ours, floor = np.median(np.maximum(sdr, -100.0), axis=0)
    medians = {
        "n": len(sdr),
        "ours": float(ours),
        "floor": float(floor),
        "unit": "dB",
        "low": None,
        "high": None,
    }
    return [
        Row(metric="MR-STFT re-rendered", low=low, high=high, **shared | facts),
        Row(metric="median SI-SDR re-rendered", **shared | medians),
    ]


def _mean(values: np.ndarray) -> float | None:
    # A share of a handful of clips says nothing.
    return float(np.nanmean(values)) if (~np.isnan(values)).sum() >= 20 else None


def interval(
    values: np.ndarray, groups: Sequence[str], seed: int
) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean over sources; none where there is one source."""
    return bootstrap_interval(values, groups, seed=seed) if len(set(groups)) > 1 else (None, None)


def _published(metric: str, protocol: Protocol) -> float | None:
    return PUBLISHED.get(metric) if protocol.name == "three" else None
