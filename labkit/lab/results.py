"""Results tables, made from the results files, so that no number on a page is typed by hand."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labkit.measure.score import SOURCES, STRANGERS, Row, read, results_path

_BESIDE = {
    "chance": "chance",
    "prior": "best constant",
    "floor": "floor",
    "control": "shuffled audio",
    "oracle": "oracle",
    "reference": "published",
}

# On a narrow page every row becomes a paragraph, and every cell carries the name of its column.
_STYLE = """
.labkit-COLUMNS { container-type: inline-size; }
.labkit-COLUMNS :is(td, th) { padding: .3em .5em; }
.labkit-COLUMNS.labkit-COLUMNS .words { text-align: left; }
@container (max-width: WIDTHem) {
  .labkit-COLUMNS thead { display: none; }
  .labkit-COLUMNS :is(table, tbody, tr) { display: block; }
  .labkit-COLUMNS.labkit-COLUMNS tbody tr { padding: .4em 0; text-align: left; }
  .labkit-COLUMNS td { display: inline-block; padding: 0 1em 0 0; text-align: left; }
  .labkit-COLUMNS td::before { content: attr(data-name) " "; opacity: .7; }
}"""
_COLUMN_EM = 6.5  # a table with less room for each of its columns breaks every cell into lines


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
        names = [html.escape(cell) for cell in self.header]
        first = (self.body or [names])[0]  # it tells a column of numbers, which stand at the right
        kinds = ("number" if cell[:1] in "–-+.0123456789" else "words" for cell in first)
        named = [*zip(kinds, names, strict=True)]
        head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for kind, name in named)
        rows = ""
        for line in self.body:
            cells = zip(named, map(html.escape, line), strict=True)
            row = "".join(f'<td class="{k}" data-name="{n}">{cell}</td>' for (k, n), cell in cells)
            rows += f"<tr>{row}</tr>"
        columns = f"columns-{len(names)}"
        style = _STYLE.replace("COLUMNS", columns).replace("WIDTH", f"{_COLUMN_EM * len(names):g}")
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f'<style>{style}</style><div class="labkit-{columns}">{table}</div>'


def table(rows: Sequence[Row]) -> Table:
    """A line for each protocol, model and metric: our score for each kind of source, and baselines.

    Where a baseline or n differs between the sources, its cell holds one figure for each, in the
    order of the columns. Empty columns are left out; of two rows for a cell the last counts. Raises
    ValueError if there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one Row, got none")
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.protocol, row.name, row.metric, row.unit), {})[row.sources] = row
    there = set().union(*lines.values())
    kinds = [kind for kind in (*SOURCES, *STRANGERS) if kind in there]
    beside = [field for field in _BESIDE if any(getattr(row, field) is not None for row in rows)]
    header = ("task", "model", "metric", *kinds, *(_BESIDE[field] for field in beside), "n")
    body = []
    for (protocol, name, metric, unit), found in lines.items():
        metric = f"{metric} ({unit})" if unit else metric
        body.append((protocol, name, metric, *cells(found, kinds, beside)))
    return Table(header, tuple(body))


def shipped_table(system: str) -> Table:
    """The table of a system without the rows that split a figure (a colon in the metric)."""
    return table([row for row in read(system) if ":" not in row.metric])


def tables(system: str | None = None) -> dict[str, Table]:
    """Every row of one system, or of all, by its name; ValueError for the name of no system."""
    found = sorted(path.stem for path in results_path("x").parent.glob("*.json"))
    if system not in (None, *found):
        raise ValueError(f"system must be one of {', '.join(found)}, got {system!r}")
    return {name: table(read(name)) for name in ([system] if system else found)}


def cells(
    found: Mapping[str, Row], kinds: Iterable[str], beside: Iterable[str], *, short: bool = False
) -> Iterator[str]:
    """The cells of a line: our score for each kind of source, the baselines `beside`, and n."""
    rows = [found[kind] for kind in kinds if kind in found]
    yield from (_score(found.get(kind), short) for kind in kinds)
    yield from (_joined([getattr(row, field) for row in rows], short) for field in (*beside, "n"))


def _number(value: float | None, short: bool) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.{2 if short else 3}f}" if abs(value) < 10 else f"{value:.1f}"


def _score(row: Row | None, short: bool) -> str:
    if row is None:
        return "–"
    figures = [_number(value, short) for value in (row.ours, row.low, row.high)]
    return "{} [{}, {}]".format(*figures) if "–" not in figures else figures[0]


def _joined(values: Sequence[float | None], short: bool) -> str:
    """One figure for each source, or their range; a figure that all share stands there once."""
    known = [value for value in values if value is not None]
    if short and known:
        values = [min(known), max(known)]
    texts = [_number(value, short) for value in values]
    return texts[0] if len(set(texts)) == 1 else (" to " if short else " / ").join(texts)
