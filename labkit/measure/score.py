"""Scores: one row beside everything it must be read with, its interval, and the results files."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from labkit.signal.paths import data_dir, replace_text
from labkit.signal.seeds import generator

SOURCES = ("generated", "sampled", "real")
BESIDE = ("chance", "prior", "floor", "control", "oracle", "reference")


@dataclass(frozen=True)
class Row:
    """The score of one model, on one task and one kind of source, beside its baselines.

    Attributes:
        protocol: the task and how its examples are drawn, in words.
        name: the model, e.g. ``"transformer"``.
        sources: ``"generated"``, ``"sampled"`` or ``"real"``.
        metric: e.g. ``"exact chain"``.
        unit: ``""`` for a share.
        ours: the model's score.
        low: lower end of its 95 % interval.
        high: upper end.
        n: number of clips.
        seed: of the evaluation.
        chance: the score of random answers drawn from the prior.
        prior: the score of the best constant answer.
        floor: the score of a trivial model.
        control: the model's score on audio that belongs to another example.
        oracle: the score of an answer that knows everything except what cannot be heard.
        reference: the best published score.
        seconds: duration of the evaluation.
        checkpoint: name of the checkpoint file.
    """

    protocol: str
    name: str
    sources: str
    metric: str
    unit: str
    ours: float
    low: float | None
    high: float | None
    n: int
    seed: int
    chance: float | None = None
    prior: float | None = None
    floor: float | None = None
    control: float | None = None
    oracle: float | None = None
    reference: float | None = None
    seconds: float | None = None
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if self.sources not in SOURCES:
            raise ValueError(f"sources must be one of {', '.join(SOURCES)}, got {self.sources!r}")
        for field in ("ours", "low", "high", *BESIDE, "seconds"):
            value = getattr(self, field)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{field} must be a finite number or None, got {value}")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"low must not exceed high, got {self.low} and {self.high}")


def row(
    values: ArrayLike,
    groups: Sequence[object] | None,
    *,
    protocol: str,
    name: str,
    sources: str,
    metric: str,
    seed: int,
    unit: str = "",
    beside: Mapping[str, ArrayLike | None] | None = None,
    checkpoint: str | None = None,
    seconds: float | None = None,
) -> Row:
    """One row from the scores of single clips.

    Args:
        values: (clips,) the model's scores. Booleans count as 0 and 1.
        groups: (clips,) the source of each clip: the interval is over sources. None gives no
            interval, for a metric that has one value for all clips (then `values` is a scalar).
        beside: scores of others, by the field of `Row` (``"floor"``, ``"oracle"`` ...): an array
            of clips, which is averaged, or one number.

    Raises:
        ValueError: if a field of `beside` is unknown or a score is not finite.
    """
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    several = groups is not None and len(set(groups)) > 1
    low, high = bootstrap_interval(values, groups, seed=seed) if several else (None, None)
    others = {}
    for field, scores in (beside or {}).items():
        if field not in BESIDE:
            raise ValueError(f"beside must name fields among {', '.join(BESIDE)}, got {field!r}")
        others[field] = None if scores is None else float(np.mean(np.asarray(scores, dtype=float)))
    return Row(
        protocol=protocol,
        name=name,
        sources=sources,
        metric=metric,
        unit=unit,
        ours=float(values.mean()),
        low=low,
        high=high,
        n=len(values) if groups is None else len(groups),
        seed=seed,
        seconds=seconds,
        checkpoint=checkpoint,
        **others,
    )


def results_path(system: str) -> Path:
    """Where the results of one system are kept: `data/results/SYSTEM.json`."""
    return data_dir() / "results" / f"{system}.json"


def write(system: str, rows: Sequence[Row], *, path: Path | None = None) -> Path:
    """Replace the results file of a system (or `path`) by these rows; returns the file."""
    path = path or results_path(system)
    plain = [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]
    text = json.dumps({"system": system, "rows": plain}, indent=1, allow_nan=False)
    replace_text(path, text + "\n")
    return path


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def read(system: str, *, path: Path | None = None) -> list[Row]:
    """The rows of one system, as `write` left them.

    Raises:
        FileNotFoundError: naming the command that makes the file.
        ValueError: if the file has other fields than `Row`.
    """
    path = path or results_path(system)
    if not path.is_file():
        raise FileNotFoundError(
            f"no results for {system!r} at {path}: run `labkit evaluate {system}`"
        )
    known = {field.name for field in fields(Row)}
    rows = json.loads(path.read_text())["rows"]
    for row in rows:
        if set(row) != known:
            raise ValueError(f"{path.name}: fields differ from Row's: {sorted(set(row) ^ known)}")
    return [Row(**row) for row in rows]


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[object] | np.ndarray,
    *,
    seed: int,
    n: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """An interval for a mean, by drawing whole sources: clips of one source are not independent.

    Args:
        values: (clips,) finite scores.
        groups: (clips,) the source of each clip; at least two different ones.
        n: number of draws.
        confidence: in (0, 1).

    Returns:
        (low, high).

    Raises:
        ValueError: if the lengths differ, a value is not finite, or there is only one source.

    Source: Efron & Tibshirani 1993, ch. 13 (percentile); widened for few sources as in Hesterberg,
        The American Statistician 69(4), 2015, sec. 5.3 ("expanded percentile").
    """
    values = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    if values.ndim != 1 or values.shape != index.shape:
        raise ValueError(
            f"values and groups must be equally long vectors, got {values.shape} and {index.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    counts = np.bincount(index)
    size = len(counts)
    if size < 2:
        raise ValueError(f"groups must name at least two sources, got {size}")
    draws = generator(seed, "bootstrap").integers(0, size, (n, size))
    means = np.bincount(index, values)[draws].sum(1) / counts[draws].sum(1)
    # The t quantile takes the place of the normal one: with few sources the percentile is too
    # narrow.
    t = stats.t.ppf((1 - confidence) / 2, size - 1)
    tail = stats.norm.cdf(np.sqrt(size / (size - 1)) * t)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def wilson_interval(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (low, high) for the share of k successes in n independent trials.

    Raises:
        ValueError: if not 0 <= k <= n with n >= 1.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n and n >= 1, got k={k}, n={n}")
    interval = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)
