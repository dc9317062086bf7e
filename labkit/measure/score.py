"""Scores: a row with its baselines and its interval, and the results files."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit

from labkit.signal.paths import data_dir, replace_text
from labkit.signal.seeds import generator

Kind = Literal["generated", "sampled", "real", "recorded"]
SOURCES = ("generated", "sampled", "real")
# Players that nothing was chosen on; and the same behind a speaker, a room, a codec.
STRANGERS = ("recorded", "behind")
BESIDE = ("chance", "prior", "floor", "control", "oracle", "reference")


@dataclass(frozen=True)
class Row:
    """The score of one model, on one task and one kind of source, beside its baselines."""

    protocol: str  # the task and how its examples are drawn, in words
    name: str  # of the model
    sources: str  # of `SOURCES` or `STRANGERS`
    metric: str
    unit: str  # "" for a share
    ours: float
    low: float | None  # ends of the 95 % interval over sources
    high: float | None
    n: int  # clips
    seed: int
    chance: float | None = None  # random answers drawn from the prior
    prior: float | None = None  # the best constant answer
    floor: float | None = None  # a trivial model
    control: float | None = None  # the model on another example's audio
    oracle: float | None = None  # an answer that is told more, e.g. the dry sound
    reference: float | None = None  # the best published score
    seconds: float | None = None
    checkpoint: str | None = None  # file name

    def __post_init__(self) -> None:
        known = (*SOURCES, *STRANGERS)
        if self.sources not in known:
            raise ValueError(f"sources must be one of {', '.join(known)}, got {self.sources!r}")
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
    seed: int,
    unit: str = "",
    beside: Mapping[str, ArrayLike | None] | None = None,
    **facts: str,
) -> Row:
    """One row from the scores (clips,) of single clips; booleans count as 0 and 1.

    The interval is over `groups` (clips,), the sources of the clips. None gives no interval, for a
    metric that has one value for all clips (then `values` is a scalar). `beside` maps a field of
    `Row` (floor, control, ...) to its scores: an array over clips, which is averaged, or one
    number. `facts` are protocol, name, sources and metric. Raises ValueError if a field is unknown
    or a score is not finite.
    """
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    several = groups is not None and len(set(groups)) > 1
    low, high = bootstrap_interval(values, groups, seed=seed) if several else (None, None)
    others = {}
    for field, scores in (beside or {}).items():
        if field not in BESIDE:
            raise ValueError(f"beside must name fields among {', '.join(BESIDE)}, got {field!r}")
        others[field] = None if scores is None else float(np.mean(np.asarray(scores, dtype=float)))
    n, ours = len(values if groups is None else groups), float(values.mean())
    return Row(ours=ours, low=low, high=high, n=n, seed=seed, unit=unit, **facts, **others)


def results_path(system: str) -> Path:
    """Where the results of one system are kept: `data/results/SYSTEM.json`.

    Raises ValueError for the name of no system.
    """
    if not system.isidentifier():
        raise ValueError(f"system must be a name such as pedal_order, got {system!r}")
    return data_dir() / "results" / f"{system}.json"


def write(system: str, rows: Sequence[Row], *, path: Path | None = None) -> Path:
    """Replace the results file of a system (or `path`) by these rows; returns the file."""
    path = path or results_path(system)
    content = {"system": system, "rows": [asdict(row) for row in rows]}
    text = json.dumps(content, indent=1, allow_nan=False, default=lambda number: number.item())
    replace_text(path, text + "\n")
    return path


def read(system: str, *, path: Path | None = None) -> list[Row]:
    """The rows of one system, as `write` left them.

    Raises FileNotFoundError naming the command that makes the file; ValueError if the file has
    other fields than `Row`.
    """
    path = path or results_path(system)
    if not path.is_file():
        raise FileNotFoundError(
            f"no results for {system!r} at {path}: run `labkit evaluate {system}`"
        )
    known = {field.name for field in fields(Row)}
    try:
        rows = [{**row} for row in json.loads(path.read_bytes())["rows"]]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} holds no results ({error})") from error
    for row in rows:
        if set(row) != known:
            raise ValueError(f"{path.name}: fields differ from Row's: {sorted(set(row) ^ known)}")
    return [Row(**row) for row in rows]


def bootstrap_interval(
    values: ArrayLike, groups: Sequence[object] | np.ndarray, *, seed: int, n: int = 2000
) -> tuple[float, float]:
    """A 95 % interval for the mean of (clips,), by `n` draws of whole sources: the groups (clips,).

    Clips of one source are not independent; there are two sources at least.

    Source: Efron & Tibshirani 1993, ch. 13 (percentile); widened for few sources as in Hesterberg,
        The American Statistician 69(4), 2015, sec. 5.3 ("expanded percentile").
    """
    values = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(index)
    size = len(counts)
    draws = generator(seed, "bootstrap").integers(0, size, (n, size))
    means = np.bincount(index, values)[draws].sum(1) / counts[draws].sum(1)
    # The t quantile takes the place of the normal one: with few sources the percentile is too
    # narrow.
    t = stdtrit(size - 1, (1 - 0.95) / 2)
    tail = ndtr(np.sqrt(size / (size - 1)) * t)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
