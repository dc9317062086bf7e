"""Results tables, made from the results files, so that no number on a page is typed by hand."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.measure.score import SOURCES, Row, read, results_path

_BESIDE = {
    "chance": "chance",
    "prior": "best constant",
    "floor": "floor",
    "control": "shuffled audio",
    "oracle": "oracle",
    "reference": "published",
}


@dataclass(frozen=True)
class Table:
    """A table: `str` is markdown, a notebook shows it as HTML."""

    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = [self.header, tuple("---" for _ in self.header), *self.body]
        escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.header)
        lines = ["".join(f"<td>{html.escape(c)}</td>" for c in line) for line in self.body]
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def table(rows: Sequence[Row]) -> Table:
    """A line for each protocol, model and metric: our score for each kind of source, and its baselines.

    Where a baseline or n differs between the sources, its cell holds one figure for each, in the
    order of the columns. Columns without a figure are left out; of two rows for a cell the last counts.

    Raises:
        ValueError: if there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one Row, got none")
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.protocol, row.name, row.metric, row.unit), {})[row.sources] = row
    kinds = [kind for kind in SOURCES if any(kind in found for found in lines.values())]
    beside = [field for field in _BESIDE if any(getattr(row, field) is not None for row in rows)]
    header = ("task", "model", "metric", *kinds, *(_BESIDE[field] for field in beside), "n")
    body = []
    for (protocol, name, metric, unit), found in lines.items():
        there = [found[kind] for kind in kinds if kind in found]
        body.append((
            protocol,
            name,
            f"{metric} ({unit})" if unit else metric,
            *(_score(found.get(kind)) for kind in kinds),
            *(_joined([getattr(row, field) for row in there]) for field in beside),
            _joined([row.n for row in there]),
        ))  # fmt: skip
    return Table(header, tuple(body))


def shipped_table(system: str, *, details: bool = False) -> Table | str:
    """The results table of a system, or how to make it where there is none.

    Args:
        details: with the rows that split a figure, those with a colon in their metric.
    """
    path = results_path(system)
    rows = read(system) if path.exists() else []
    rows = [row for row in rows if details or ":" not in row.metric]
    return table(rows) if rows else f"no results here yet: run `labkit evaluate {system}`"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _score(row: Row | None) -> str:
    if row is None:
        return "–"
    if row.low is None or row.high is None:
        return _number(row.ours)
    return f"{_number(row.ours)} [{_number(row.low)}, {_number(row.high)}]"


def _joined(values: Sequence[float | None]) -> str:
    texts = [_number(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)
