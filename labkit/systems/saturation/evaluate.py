"""The table: every condition, on three kinds of sources, by closed form, least squares, a straight line and network."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from labkit.effects.saturation import SPACE
from labkit.measure.score import SOURCES, Row, bootstrap_interval
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, recordings
from labkit.systems.saturation.baselines import Ridge, hand_features
from labkit.systems.saturation.config import CONDITIONS, MODELS, NAMES, Condition, Config
from labkit.systems.saturation.data import Example, render, targets
from labkit.systems.saturation.model import Answer, SaturationModel
from labkit.systems.saturation.oracles import (
    PairFit,
    closed_form,
    cramer_rao,
    gaps_filled,
    peak_leak,
)
from labkit.systems.saturation.predict import interval, pair_fit, predict, refine
from labkit.systems.saturation.train import answers, pool
from labkit.systems.saturation.views import hear

# The largest mean error (and the least share of curves named right) aimed at before anything was trained.
AIMS = {
    ("exact", "closed form", "depth error"): 1e-3,
    ("noise_40", "light", "depth error"): 0.08,
    ("noise_40", "light, refined", "depth error"): 0.08,
    ("mp3", "light", "depth error"): 0.25,
    ("mp3", "light, refined", "depth error"): 0.25,
    ("wet", "light", "depth error"): 0.30,
    ("wet", "light, refined", "depth error"): 0.30,
    ("curve", "light", "curve named"): 0.97,
    ("curve", "light, refined", "curve named"): 0.97,
    ("wet_curve", "light", "curve named"): 0.85,
}
# Of real recordings, where an aim is another one.
_REAL_AIMS = {"wet": 0.45}
MAIN = tuple(dict.fromkeys(name for name, _, _ in AIMS))
REAL_FOLDERS = ("guitar_di", "guitar_acoustic", "music", "speech")
# Real overdrives, their drive knobs all the way up, by the gain that their makers give them.
PEDALS = ("tubescreamer", "bluesdriver", "rat")
_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high
_SHARES = (0.2, 0.5, 0.8, 0.95)


@dataclass(frozen=True)
class EvaluationSet:
    """Examples of one condition on one kind of sources.

    Attributes:
        condition: what the listener is given.
        sources: ``"generated"``, ``"sampled"`` or ``"real"``.
        examples: with their sound.
    """

    condition: Condition
    sources: str
    examples: list[Example]

    @property
    def depth(self) -> np.ndarray:
        """(n,) the true depths."""
        return np.array([example.depth for example in self.examples])

    @property
    def groups(self) -> list[str]:
        """The source of each example."""
        return [example.source_id for example in self.examples]

    def heard(self, config: Config) -> dict[str, Tensor]:
        """What a model is given of all of them, and its targets."""
        return default_collate(
            [hear(config, e.wet, e.reference) | targets(config, e) for e in self.examples]
        )


def evaluation_set(
    config: Config, condition: Condition, sources: str, n: int, *, seed: int, split: str = "test"
) -> EvaluationSet:
    """`n` examples on sources of one split, without augmentation.

    Args:
        config: rate and lengths.
        condition: what the listener is given.
        sources: ``"generated"``, ``"sampled"`` or ``"real"`` (recordings of `real_data_dir()`, never trained on).
        n: examples.
        seed: of clips, depths and disturbances.
        split: ``"train"`` serves the ridge.

    Returns:
        The set; the same arguments give the same samples.

    Raises:
        FileNotFoundError: if `sources` is real and there are no real recordings here.
    """
    clips = _clips(config, sources, n, seed, split)
    made = []
    for i, clip in enumerate(clips):
        rng = generator(seed, "evaluation", condition.name, sources, split, i)
        made.append(render(config, clip, condition, rng, other=clips[i - 1]))
    return EvaluationSet(condition, sources, made)


def _clips(config: Config, sources: str, n: int, seed: int, split: str) -> list[Clip]:
    if sources != "real":
        dry = pool(config, sources, split, min(n, 300))
        return [dry.clip(i % len(dry)) for i in range(n)]
    rng = generator(seed, "saturation clips", sources, split)
    mixture = recordings(REAL_FOLDERS, seconds=config.clip_seconds, sample_rate=config.sample_rate)
    return [mixture.clip(rng, "test") for _ in range(n)]


def evaluate(
    model: SaturationModel,
    *,
    n: int = 300,
    n_floor: int = 600,
    conditions: Sequence[str] = MAIN,
    sources: Sequence[str] = ("generated", "sampled", "real"),
    seed: int = 1,
    checkpoint: str = "",
    oracles: bool = True,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """The results table of one model; what stands in it of time is in `labkit.systems.saturation.speed`.

    Args:
        model: in evaluation mode.
        n: examples of each condition and source.
        n_floor: examples of each condition that the straight line is fitted to.
        conditions: names in `CONDITIONS`; those with an aim by default.
        sources: kinds of dry sources; ``"real"`` needs real recordings.
        seed: of the evaluation; other than training's.
        checkpoint: name recorded in each row.
        oracles: with the rows of closed form, least squares and peak, which are the same for every model.
        say: told about progress.

    Returns:
        Rows of condition x sources x method x metric.
    """
    rows: list[Row] = []
    for name in conditions:
        ridge = _ridge(
            model.config,
            CONDITIONS[name],
            [kind for kind in sources if kind != "real"],
            n_floor,
            seed,
        )
        for kind in sources:
            started = time.perf_counter()
            tests = evaluation_set(model.config, CONDITIONS[name], kind, n, seed=seed)
            told = _least_squares(tests)
            new = _oracle_rows(tests, told, seed) if oracles else []
            new += _model_rows(model, tests, told, ridge, seed, checkpoint)
            rows += [replace(row, seconds=time.perf_counter() - started) for row in new]
            say(
                f"{name} {kind}: "
                + ", ".join(f"{row.name} {row.metric} {row.ours:.4g}" for row in new)
            )
    return rows + (
        pedal_rows(model, seed, checkpoint) if "real" in sources and real_data_dir() else []
    )


def model_name(model: SaturationModel) -> str:
    """``"light"``, ``"big"`` or ``"big, on an STFT"``, by the width of the encoder and its picture."""
    if model.config.width < MODELS["big"].width:
        return "light"
    return "big, on an STFT" if model.config.picture == "stft" else "big"


def _ridge(
    config: Config, condition: Condition, kinds: Sequence[str], n: int, seed: int
) -> Callable[[EvaluationSet], np.ndarray] | None:
    """The straight line, fitted on training sources; what it says of a set. None without sources to learn from."""
    if not kinds:
        return None
    sets = [
        evaluation_set(config, condition, kind, n // len(kinds), seed=seed, split="train")
        for kind in kinds
    ]
    line = Ridge(
        np.concatenate([_features(config, tests) for tests in sets]),
        np.concatenate([tests.depth for tests in sets]),
    )
    return lambda tests: line(_features(config, tests))


def _features(config: Config, tests: EvaluationSet) -> np.ndarray:
    """The wet sound's figures, and its reference's where there is one."""
    sounds = [[e.wet, *([] if e.reference is None else [e.reference])] for e in tests.examples]
    return np.array(
        [np.concatenate([hand_features(s, config.sample_rate) for s in both]) for both in sounds]
    )


def _least_squares(tests: EvaluationSet) -> list[PairFit] | None:
    """Curve and depth by least squares after alignment: what one who knows the equation says; None without a pair."""
    if tests.condition.reference != "paired":
        return None
    known = "tanh" if tests.condition.curves == ("tanh",) else None
    return [pair_fit(example.reference, example.wet, known) for example in tests.examples]


def _oracle_rows(tests: EvaluationSet, told: list[PairFit] | None, seed: int) -> list[Row]:
    if told is None:
        return []
    if len(tests.condition.curves) > 1:
        right = np.array(
            [fit.curve == e.curve for fit, e in zip(told, tests.examples, strict=True)], float
        )
        errors = np.abs(_depths(told) - tests.depth)
        return [
            _row(tests, "least squares", errors, seed),
            _row(tests, "least squares", right, seed, metric="curve named", chance=1 / len(NAMES)),
        ]
    bounds = [
        cramer_rao(
            e.clean,
            e.depth,
            e.noise_rms,
            wet_amplitude=e.wet_amplitude if e.condition.free_level else None,
        )
        for e in tests.examples
        if e.noise_rms > 0
    ]
    # The mean absolute error of a normal estimate with that deviation.
    bound = math.sqrt(2 / math.pi) * float(np.mean(bounds)) if bounds else None
    closed = [_closed(example) for example in tests.examples]
    peaks = [min(peak_leak(example.wet), _HIGH) for example in tests.examples]
    rows = [
        _row(tests, name, np.abs(np.clip(said, _LOW, _HIGH) - tests.depth), seed, oracle=bound)
        for name, said in (("closed form", closed), ("least squares", _depths(told)))
    ]
    if tests.condition.name in ("exact", "level"):
        rows.append(_row(tests, "peak alone", np.abs(np.maximum(peaks, _LOW) - tests.depth), seed))
    return rows


def _depths(told: list[PairFit]) -> np.ndarray:
    return np.array([fit.depth for fit in told])


def _closed(example: Example) -> float:
    """Without alignment and at the level that is there: as the equation stands."""
    margin = (len(example.reference) - len(example.wet)) // 2
    return closed_form(example.reference[margin : margin + len(example.wet)], example.wet)


def _model_rows(
    model: SaturationModel,
    tests: EvaluationSet,
    told: list[PairFit] | None,
    ridge: Callable[[EvaluationSet], np.ndarray] | None,
    seed: int,
    checkpoint: str,
) -> list[Row]:
    heard = tests.heard(model.config)
    answer = answers(model, heard)
    several = len(tests.condition.curves) > 1
    named = answer.curve_logits.argmax(1) if several else heard["curve"]
    ends = interval(answer, named, float(model.spread_factor)).numpy()
    error = np.abs(ends[:, 1] - tests.depth)
    other = generator(seed, "controls", tests.condition.name, tests.sources).permutation(len(error))
    beside = {
        "prior": float(np.abs(tests.depth - (_LOW + _HIGH) / 2).mean()),
        "control": float(np.abs(ends[other, 1] - tests.depth).mean()),
        "floor": float(np.abs(ridge(tests) - tests.depth).mean()) if ridge else None,
        "oracle": float(np.abs(_depths(told) - tests.depth).mean()) if told else None,
    }
    shared = {"seed": seed, "checkpoint": checkpoint or None}
    name = model_name(model)
    rows = [
        _row(tests, name, error, **shared, **beside),
        _row(tests, name, error / tests.depth, metric="depth error: relative", **shared),
        *(
            _row(
                tests,
                name,
                _inside(model, answer, named, tests, share),
                metric=f"interval: {share:.0%}",
                **shared,
            )
            for share in _SHARES
        ),
    ]
    if several:
        right = (named == heard["curve"]).double().numpy()
        facts = {
            "chance": 1 / len(NAMES),
            "control": float((named[other] == heard["curve"]).double().mean()),
        }
        rows.append(_row(tests, name, right, metric="curve named", **shared, **facts))
    return rows + _refined_rows(f"{name}, refined", tests, told, named, ends[:, 1], shared)


def _refined_rows(
    name: str,
    tests: EvaluationSet,
    told: list[PairFit] | None,
    named: Tensor,
    depth: np.ndarray,
    shared: dict[str, object],
) -> list[Row]:
    """What network and formulas say together."""
    heard = zip(named.tolist(), depth, told or [None] * len(depth), tests.examples, strict=True)
    said = [refine(NAMES[k], float(d), fit, gaps_filled(e.wet)) for k, d, fit, e in heard]
    rows = [_row(tests, name, np.abs(np.array([d for _, d in said]) - tests.depth), **shared)]
    if told and len(tests.condition.curves) > 1:
        right = np.array(
            [curve == e.curve for (curve, _), e in zip(said, tests.examples, strict=True)], float
        )
        rows.append(_row(tests, name, right, metric="curve named", **shared))
    return rows


def _inside(
    model: SaturationModel, answer: Answer, named: Tensor, tests: EvaluationSet, share: float
) -> np.ndarray:
    ends = interval(answer, named, float(model.spread_factor), confidence=share).numpy()
    return ((ends[:, 0] <= tests.depth) & (tests.depth <= ends[:, 2])).astype(float)


def _row(
    tests: EvaluationSet,
    name: str,
    values: np.ndarray,
    seed: int,
    *,
    metric: str = "depth error",
    **facts: object,
) -> Row:
    many = len(set(tests.groups)) > 1
    low, high = bootstrap_interval(values, tests.groups, seed=seed) if many else (None, None)
    where = {
        "protocol": tests.condition.says,
        "sources": tests.sources,
        "unit": "",
        "n": len(values),
        "seed": seed,
    }
    return Row(
        name=name, metric=metric, ours=float(np.mean(values)), low=low, high=high, **where, **facts
    )


def pedal_rows(model: SaturationModel, seed: int, checkpoint: str) -> list[Row]:
    """What the model says of real overdrives, which have no depth: one note after another, with and without clean."""
    rows, folder = [], real_data_dir() / "pairs" / "egfxset"
    for says, paired in (
        ("real overdrives, clean and wet", True),
        ("real overdrives, wet only", False),
    ):
        heard: dict[str, list[float]] = {}
        for pedal in PEDALS:
            for wet_file in sorted(folder.glob(f"{pedal}_*_wet.flac")):
                wet, rate = read_audio(wet_file)
                clean, clean_rate = read_audio(
                    wet_file.with_name(wet_file.name.replace("_wet", "_dry"))
                )
                given = {"clean": clean, "clean_rate": clean_rate} if paired else {}
                heard.setdefault(pedal, []).append(predict(model, wet, rate, **given).depth)
        shared = {
            "protocol": says,
            "name": model_name(model),
            "sources": "real",
            "seed": seed,
            "unit": "",
        }
        shared |= {"low": None, "high": None, "checkpoint": checkpoint or None}
        for pedal, depths in heard.items():
            rows.append(
                Row(
                    metric=f"depth heard: {pedal}",
                    ours=float(np.mean(depths)),
                    n=len(depths),
                    **shared,
                )
            )
        order = [np.mean(a) < np.mean(b) for a, b in pairwise(heard.values())]
        if order:
            rows.append(
                Row(
                    metric="neighbours in order of gain",
                    ours=float(np.mean(order)),
                    n=len(order),
                    **shared,
                )
            )
    return rows


def fixed_score(model: SaturationModel, *, n: int = 16, seed: int = 11) -> dict[str, float]:
    """A short examination on new generated guitars: mean errors of depth, and how many of `n` curves are named.

    What the shipped checkpoint scored is kept beside it, and a test holds it to that.
    """
    scores = {}
    for name in ("level", "wet", "wet_curve"):
        tests = evaluation_set(model.config, CONDITIONS[name], "generated", n, seed=seed)
        heard = tests.heard(model.config)
        answer = answers(model, heard)
        error = (answer.of(heard["curve"]).exp() - heard["log_depth"].exp()).abs()
        scores[name] = round(float(error.mean()), 4)
        if name == "wet_curve":
            scores["curves named"] = int((answer.curve_logits.argmax(1) == heard["curve"]).sum())
    return scores


def against_aims(rows: Sequence[Row]) -> list[str]:
    """One line for each aim and kind of sources: what was reached, and whether that is enough.

    Args:
        rows: of `evaluate`, or of its file; an aim whose condition was not measured is said to be so.
    """
    found = {(row.protocol, row.name, row.metric, row.sources): row for row in rows}
    lines = []
    for (condition, name, metric), aim in AIMS.items():
        for sources in SOURCES:
            wanted = _REAL_AIMS.get(condition, aim) if sources == "real" else aim
            row = found.get((CONDITIONS[condition].says, name, metric, sources))
            named = metric == "curve named"
            verdict = (
                "not measured"
                if row is None
                else f"{row.ours:.3g}, "
                + ("reached" if (row.ours >= wanted if named else row.ours <= wanted) else "missed")
            )
            limit = f"{'at least' if named else 'at most'} {wanted:g}"
            lines.append(
                f"{CONDITIONS[condition].says}, {sources}: {name}, {metric} {limit}: {verdict}"
            )
    return lines
