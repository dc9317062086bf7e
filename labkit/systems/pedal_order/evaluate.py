"""The table: ours beside chance, prior, statistics floor, shuffled audio and oracle, on three kinds of sources."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from labkit.measure.metrics import chain_scores, macro_f1, si_sdr_db
from labkit.measure.score import Row
from labkit.systems.pedal_order.baselines import canonical_names, statistics_floor
from labkit.systems.pedal_order.config import PROTOCOLS, Protocol
from labkit.systems.pedal_order.decode import Prediction, decode
from labkit.systems.pedal_order.examination import EvaluationSet, evaluation_set, predictions
from labkit.systems.pedal_order.front_ends import picture
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import windows
from labkit.systems.pedal_order.refine import Refined, refine
from labkit.systems.pedal_order.rows import audible_rows, interval, knob_rows, rows_of

LONG_SECONDS = 8.0


def evaluate(
    model: PedalOrderModel,
    *,
    n: int = 300,
    n_floor: int = 2000,
    n_refined: int = 0,
    sources: Sequence[str] = ("generated", "sampled", "real"),
    protocols: Sequence[str] = ("three", "wide", "six"),
    seed: int = 1,
    checkpoint: str = "",
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Every figure of the results table.

    Args:
        model: in evaluation mode.
        n: examples of each protocol and source.
        n_floor: clips that the statistics floor is trained on, half generated, half sampled.
        n_refined: clips of each protocol and source that are refined with the dry sound known: about a minute each.
        sources: kinds of dry sources; ``"real"`` needs real recordings.
        protocols: names in `PROTOCOLS`.
        seed: of the evaluation; other than training's.
        checkpoint: name recorded in each row.
        say: told about progress.

    Returns:
        Rows of protocol x sources x metric.
    """
    config, rows = model.config, []
    for name in protocols:
        protocol = PROTOCOLS[name]
        learnt = [evaluation_set(config, protocol, kind, n_floor // 2, seed=seed, split="train")
                  for kind in sources if kind != "real"]  # fmt: skip
        floor = statistics_floor(
            torch.cat([t.pictures for t in learnt]),
            [order for t in learnt for order in t.orders],
            seed=seed,
        )
        for kind in sources:
            started = time.perf_counter()
            new = rows_of(
                model, evaluation_set(config, protocol, kind, n, seed=seed), floor, seed, checkpoint
            )
            new += _level_rows(model, protocol, kind, n, seed, new[0]) if name == "three" else []
            new += _long_rows(model, protocol, kind, max(1, n // 3), seed, new[0])
            new += (
                _refined_rows(model, protocol, kind, n_refined, seed, new[0]) if n_refined else []
            )
            rows += [replace(row, seconds=time.perf_counter() - started) for row in new]
            # Of a handful of clips some figures are left out, see `rows`.
            said = (f"{row.metric} {row.ours:.3f}" for row in new if row.ours is not None)
            say(f"{name} {kind}: " + ", ".join(said))
    return rows


def fixed_score(model: PedalOrderModel, *, n: int = 48, seed: int = 11) -> dict[str, int]:
    """A short examination: how many of `n` chains on new generated guitars are named exactly, by protocol.

    What the shipped checkpoint scored is kept beside it, and a test holds it to that.
    """
    scores = {}
    for name in ("three", "six"):
        tests = evaluation_set(model.config, PROTOCOLS[name], "generated", n, seed=seed)
        said = predictions(model, tests.pictures, tests.protocol)
        scores[name] = sum(
            canonical_names(p.chain.names) == o for p, o in zip(said, tests.orders, strict=True)
        )
    return scores


def _level_rows(
    model: PedalOrderModel, protocol: Protocol, kind: str, n: int, seed: int, exact: Row
) -> list[Row]:
    """The exact share again when the same clips enter the same chains 12 dB softer and 12 dB hotter.

    A drive bends little of a soft sound: so it is also counted without pedals that do nothing at that level.
    """
    kept, rows = ("seed", "checkpoint", "name", "protocol", "sources", "unit"), []
    bare = {name: getattr(exact, name) for name in kept}
    for shift_db in (-12.0, 12.0):
        shifted = replace(model.config, input_rms_dbfs=model.config.input_rms_dbfs + shift_db)
        tests = evaluation_set(shifted, protocol, kind, n, seed=seed)
        said = predictions(model, tests.pictures, protocol)
        rows.append(_exact_again(exact, f"exact chain, dry {shift_db:+.0f} dB", tests, said))
        ours = {"ours": [canonical_names(prediction.chain.names) for prediction in said]}
        audible = audible_rows(shifted, tests, ours, bare, exact.seed)
        rows += [replace(row, metric=f"{row.metric}, dry {shift_db:+.0f} dB") for row in audible]
    return rows


def _long_rows(
    model: PedalOrderModel, protocol: Protocol, kind: str, n: int, seed: int, exact: Row
) -> list[Row]:
    """Exactness, F1, edits and knobs on recordings of `LONG_SECONDS`, whose windows vote."""
    tests = evaluation_set(
        replace(model.config, seconds=LONG_SECONDS), protocol, kind, n, seed=seed
    )
    said = []
    for example in tests.examples:
        heard = torch.from_numpy(windows(example.wet, model.config.samples, most=8))
        said.append(decode(model, picture(heard, model.config), protocol.pedals, beams=6))
    names = [canonical_names(prediction.chain.names) for prediction in said]
    first = _exact_again(exact, "exact chain", tests, said)
    kept = {
        name: getattr(first, name)
        for name in ("seed", "checkpoint", "name", "protocol", "sources", "unit", "n")
    }
    edits = chain_scores(tests.orders, names)["levenshtein"]
    low, high = interval(edits, tests.groups, seed)
    rows = [
        first,
        Row(
            metric="macro F1",
            ours=macro_f1(tests.orders, names, protocol.pedals),
            low=None,
            high=None,
            **kept,
        ),
        Row(metric="Levenshtein", ours=float(edits.mean()), low=low, high=high, **kept),
        *knob_rows(tests, said, kept, seed)[:1],
    ]
    return [replace(row, metric=f"{row.metric}, {LONG_SECONDS:g} s heard") for row in rows]


def _refined_rows(
    model: PedalOrderModel, protocol: Protocol, kind: str, n: int, seed: int, exact: Row
) -> list[Row]:
    """The exact share, and the sound, when the network's candidates are fitted on the true dry clip. From rest."""
    tests = evaluation_set(replace(model.config, preroll_seconds=0.0), protocol, kind, n, seed=seed)
    said = predictions(model, tests.pictures, protocol)
    pairs = zip(said, tests.examples, strict=True)
    found = [
        refine(p, e.dry, e.wet, model.config.sample_rate, seed=seed + i)
        for i, (p, e) in enumerate(pairs)
    ]
    share = _exact_again(exact, "exact chain, dry known, refined", tests, found)
    fitted = float(np.median([min(one.si_sdr_db, 120.0) for one in found]))
    heard = [
        example.apply(p.chain, model.config.sample_rate)
        for p, example in zip(said, tests.examples, strict=True)
    ]
    before = [
        max(si_sdr_db(e.wet, again), -100.0) for e, again in zip(tests.examples, heard, strict=True)
    ]
    published = (
        23.07 if protocol.name == "three" else None
    )  # Okita and Katayose, after CMA-ES on the true dry sound
    facts = {
        "ours": fitted,
        "floor": float(np.median(before)),
        "unit": "dB",
        "low": None,
        "high": None,
    }
    return [
        share,
        replace(share, metric="median SI-SDR, dry known, refined", reference=published, **facts),
    ]


def _exact_again(
    exact: Row, metric: str, tests: EvaluationSet, said: Sequence[Prediction | Refined]
) -> Row:
    """The row `exact` under another condition, its neighbours left out."""
    right = chain_scores(tests.orders, [canonical_names(p.chain.names) for p in said])["exact"]
    low, high = interval(right, tests.groups, exact.seed)
    bare = dict.fromkeys(("control", "floor", "chance", "prior", "oracle", "reference"))
    facts = {"ours": float(right.mean()), "low": low, "high": high, "n": len(right)}
    return replace(exact, metric=metric, **facts, **bare)
