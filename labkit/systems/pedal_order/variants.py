"""Open questions, asked of one small network: it is trained again and again, alike but for one thing, and examined."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from labkit.learn import codec
from labkit.measure.metrics import chain_scores
from labkit.measure.score import Row
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.baselines import canonical_names, canonical_prior
from labkit.systems.pedal_order.config import PROTOCOLS, Config
from labkit.systems.pedal_order.examination import EvaluationSet, evaluation_set, predictions
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.rows import interval
from labkit.systems.pedal_order.train import train


@dataclass(frozen=True)
class Variant:
    """One thing done otherwise.

    Attributes:
        name: what it is, for tables.
        changes: fields of `Config` that differ from `BASE`.
        kinds: dry sources of its training.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("generated", "sampled")


# A third of the shipped network's size and few examples, so that two cores can train all of them.
BASE = Config(
    protocols=("three",),
    width=128,
    channels=(8, 16, 32, 64, 96),
    encoder_layers=1,
    decoder_layers=2,
    input_jitter_db=3.0,
    n_examples=3200,
    steps=600,
    learning_rate=1e-3,
)
VARIANTS = (
    Variant("log-mel"),
    Variant("DAC codes", {"front_end": "codes"}),
    Variant("DAC latents", {"front_end": "latents"}),
    Variant("log-mel, level as it comes", {"fix_level": False}),
    Variant("DAC codes, level as it comes", {"front_end": "codes", "fix_level": False}),
    Variant("log-mel, dry beside wet", {"hear_dry": True}),
    Variant("log-mel, generated phrases only", kinds=("generated",)),
    Variant("log-mel, generated single notes only", kinds=("notes",)),
    Variant("log-mel, generated notes spliced", kinds=("spliced",)),
    Variant("log-mel, sampled phrases only", kinds=("sampled",)),
    Variant("log-mel, dry sound not augmented", {"augment_strength": 0.0, "input_jitter_db": 0.0}),
    Variant("log-mel, level alone varied", {"augment_strength": 0.0, "input_jitter_db": 12.0}),
    Variant("log-mel, tone alone varied", {"augment_parts": ("tone",), "input_jitter_db": 0.0}),
    Variant("log-mel, noise alone varied", {"augment_parts": ("noise",), "input_jitter_db": 0.0}),
    Variant("log-mel, Vital patches too", kinds=("generated", "sampled", "vital")),
)


def evaluate_variants(
    run_dir: Path,
    *,
    base: Config = BASE,
    variants: Sequence[Variant] = VARIANTS,
    n: int = 300,
    sources: Sequence[str] = ("generated", "sampled", "real"),
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train each variant, or go on where a run stopped, and examine it.

    Args:
        run_dir: a folder for each variant's run lies in it.
        base: what the variants have in common.
        variants: which; those that need the shipped codec are left out, and named, where none ships.
        n: examples of each kind of sources.
        sources: kinds of dry sources to examine on; ``"real"`` needs real recordings.
        seed: of the examination; training's is `base.seed`.
        say: told about progress.

    Returns:
        For each variant and kind of sources the share of exact chains, and of right sets.

    Raises:
        ValueError, FloatingPointError: as `train`.
        FileNotFoundError: as `evaluation_set`.
    """
    rows = []
    for variant in variants:
        config = replace(base, **variant.changes)
        if config.front_end != "mel" and not codec.shipped_path().is_file():
            say(f"{variant.name}: left out, no codec ships")
            continue
        started = time.perf_counter()
        folder = Path(run_dir) / variant.name.replace(", ", "-").replace(" ", "_")
        model = train(config, folder, kinds=variant.kinds)
        task = f"three pedals, {config.steps} steps of {config.batch_size}"
        found = [row for kind in sources for row in _rows(model, variant.name, task, kind, n, seed)]
        rows += [replace(row, seconds=time.perf_counter() - started) for row in found]
        say(
            f"{variant.name}: "
            + ", ".join(f"{row.sources} {row.metric} {row.ours:.3f}" for row in found)
        )
    return rows


def _rows(model: PedalOrderModel, name: str, task: str, kind: str, n: int, seed: int) -> list[Row]:
    tests = evaluation_set(model.config, PROTOCOLS["three"], kind, n, seed=seed)
    return chain_rows(model, tests, task=task, name=name, seed=seed)


def chain_rows(
    model: PedalOrderModel, tests: EvaluationSet, *, task: str, name: str, seed: int
) -> list[Row]:
    """The shares of exact chains and of right sets, beside the most probable chain and shuffled answers.

    Args:
        model: in evaluation mode.
        tests: what it is examined on.
        task: the rows' protocol.
        name: the rows' name.
        seed: of intervals and control.
    """
    kind, protocol = tests.sources, tests.protocol
    said = [canonical_names(p.chain.names) for p in predictions(model, tests.pictures, protocol)]
    shuffled = [said[i] for i in generator(seed, "controls", name, kind).permutation(len(said))]
    ours, control = chain_scores(tests.orders, said), chain_scores(tests.orders, shuffled)
    constants = [
        chain_scores(tests.orders, [names] * len(said)) for names in canonical_prior(protocol)
    ]
    rows = []
    for key, metric in (("exact", "exact chain"), ("set", "right set")):
        low, high = interval(ours[key], tests.groups, seed)
        beside = {
            "control": float(np.mean(control[key])),
            "prior": max(float(c[key].mean()) for c in constants),
        }
        facts = {
            "ours": float(np.mean(ours[key])),
            "low": low,
            "high": high,
            "n": len(said),
            "seed": seed,
        }
        rows.append(
            Row(protocol=task, name=name, sources=kind, metric=metric, unit="", **facts, **beside)
        )
    return rows
