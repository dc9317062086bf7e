"""The one results format, its file, and the intervals that stand beside every score."""

import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy import stats

from labkit.signal.paths import data_dir
from labkit.signal.seeds import generator

SOURCES = ("generated", "sampled", "real")


@dataclass(frozen=True)
class Row:
    """One score of one protocol on one kind of source, with everything it must be read beside.

    Attributes:
        protocol: the task and its sampling in words, e.g. ``"3 pedals, 16 ordered subsets, uniform"``.
        name: the model or row, e.g. ``"transformer"``.
        sources: ``"generated"``, ``"sampled"`` or ``"real"``.
        metric: e.g. ``"exact chain"``.
        unit: ``""`` for a share.
        ours: our score.
        low: lower end of its interval.
        high: upper end.
        n: clips scored.
        seed: the seed of the evaluation.
        chance: the score of random draws from the prior.
        prior: the score of the best constant answer.
        floor: the trivial baseline's score.
        control: our score on shuffled audio.
        oracle: the score of one who knows the answer up to what cannot be heard.
        reference: the best published figure.
        seconds: wall-clock time of the evaluation.
        checkpoint: the file's name or hash.
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
        for field in (
            "ours",
            "low",
            "high",
            "chance",
            "prior",
            "floor",
            "control",
            "oracle",
            "reference",
            "seconds",
        ):
            value = getattr(self, field)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{field} must be a finite number or None, got {value}")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"low must not exceed high, got {self.low} and {self.high}")


def results_path(system: str) -> Path:
    """Where the results of one system are kept: `data/results/SYSTEM.json`."""
    return data_dir() / "results" / f"{system}.json"


def write(system: str, rows: Sequence[Row], *, path: Path | None = None) -> Path:
    """Write all the rows of one system; a reader sees the old file or the new one, never a part.

    Args:
        system: the system's name, e.g. ``"pedal_order"``.
        rows: what was measured.
        path: another place than `results_path(system)`.

    Returns:
        The file written.
    """
    path = path or results_path(system)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]
    text = json.dumps({"system": system, "rows": plain}, indent=1, allow_nan=False) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
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
    values: Sequence[float] | np.ndarray,
    groups: Sequence[object] | np.ndarray,
    *,
    seed: int,
    n: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """An interval for the mean when clips of one source go together: whole sources are drawn, not clips.

    Args:
        values: `(clips,)`, the score of each clip, finite.
        groups: `(clips,)`, the source of each clip; at least two different ones.
        seed: of the draws.
        n: number of draws.
        confidence: in (0, 1).

    Returns:
        (low, high).

    Raises:
        ValueError: if the lengths differ, a value is not finite, or there are fewer than two sources.

    Source: Efron & Tibshirani 1993, ch. 13 (percentile); widened for few sources by the t quantile as in Hesterberg,
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
    widened = stats.norm.cdf(
        np.sqrt(size / (size - 1)) * stats.t.ppf((1 - confidence) / 2, size - 1)
    )
    low, high = np.quantile(means, [widened, 1 - widened])
    return float(low), float(high)


def wilson_interval(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """An interval for a share, k of n independent trials; sensible at 0 and n too.

    Args:
        k: successes, 0..n.
        n: trials, >= 1.
        confidence: in (0, 1).

    Returns:
        (low, high) within 0..1.

    Raises:
        ValueError: if k or n is out of range.

    Source: Wilson, JASA 22, 1927.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"need 0 <= k <= n and n >= 1, got k={k}, n={n}")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)
