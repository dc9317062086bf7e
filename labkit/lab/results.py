"""Tables made from the results files, so that no number in a page is typed by hand."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from labkit.measure.score import SOURCES, Row, read
from labkit.signal.paths import data_dir, replace_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_BESIDE = {
    "chance": "chance",
    "prior": "best constant",
    "floor": "floor",
    "control": "shuffled audio",
    "oracle": "oracle",
    "reference": "published",
}
# Systems first, in the order of the notebooks; then their parts.
_ORDER = (
    "pedal_order",
    "saturation",
    "blackbox",
    "style",
    "synth",
    "text",
    "codec",
)
# What the front page shows of each system, as patterns of task/model/metric; the whole is in data/results/README.md.
HEADLINES = {
    "blackbox": ("*/controller, 1 render/MR-STFT left",),
    "codec": ("*/mel distance",),
    "pedal_order": (
        "*/exact chain",
        "*/macro F1",
        "*/exact chain, 8 s heard",
        "three/*/exact chain, inert pedals left out, dry -12 dB",
        "*/exact chain, dry known, refined",
        "*/exact chain, inert pedals left out",
        "*/the unit is named",
        "*/the pedal is named",
    ),
    "saturation": (
        "clean and wet, up to 10 ms*/*/depth error",
        "clean and wet, one of five*/*/curve named",
        "wet only/*/depth error",
        "wet only, one of five*/*/curve named",
        "real overdrives*/*/neighbours*",
        "speed/*/*share*",
    ),
    "style": ("*, real speech/autodiff/MR-STFT*",),
    "text": (
        "EQ curve of a word never seen*/network/*",
        "EQ curve of a word seen*/network/*",
        "tilt of a word never seen/network/*",
        "room of a word never seen, as its listeners*/network/*",
        "rendered sound*/network/right direction",
        "word never seen, from*/contrastive encoder/top 5 of the fold*",
        "*searches beside answers/*/RMSE*",
    ),
    "synth": (
        "*/flow, best of 8/MSS",
        "*/flow, best of 8/RMS cosine",
        "*/flow*/MSS, over*",
    ),
}


@dataclass(frozen=True)
class Table:
    """A results table: `str` is markdown, a notebook shows it as HTML."""

    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = [self.header, tuple("---" for _ in self.header), *self.body]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.header)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>"
            for line in self.body
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def table(rows: Sequence[Row]) -> Table:
    """One line for each protocol, model and metric; our score on each kind of source, and what it must be read beside.

    Where a baseline or n differs between the sources, its cell gives one figure for each, in the order of the columns.

    Args:
        rows: what `measure.results.read` gives; of several rows for one cell the last counts.

    Returns:
        The table; columns without a single figure are left out.

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
    body = [
        (
            protocol,
            name,
            f"{metric} ({unit})" if unit else metric,
            *(_score(found.get(kind)) for kind in kinds),
            *(
                _joined([getattr(found[kind], field) for kind in kinds if kind in found])
                for field in beside
            ),
            _joined([found[kind].n for kind in kinds if kind in found]),
        )
        for (protocol, name, metric, unit), found in lines.items()
    ]
    return Table(header, tuple(body))


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return (
        str(value)
        if isinstance(value, int)
        else f"{value:.3f}"
        if abs(value) < 10
        else f"{value:.1f}"
    )


def _score(row: Row | None) -> str:
    if row is None:
        return "–"
    interval = (
        f" [{_number(row.low)}, {_number(row.high)}]"
        if row.low is not None and row.high is not None
        else ""
    )
    return _number(row.ours) + interval


def _joined(values: Sequence[float | int | None]) -> str:
    texts = [_number(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def shipped_tables(*, details: bool = False, headlines: bool = False) -> dict[str, Table]:
    """System -> table, for every results file under `data/results`.

    Args:
        details: with the rows that split a figure, those with a colon in their metric.
        headlines: only the rows of the front page, details among them, see `HEADLINES`; a system that is not there
            shows all.
    """
    found = {}
    for file in sorted((data_dir() / "results").glob("*.json"), key=_place):
        rows = read(file.stem, path=file)
        if headlines and file.stem in HEADLINES:
            rows = [
                row
                for row in rows
                if any(fnmatchcase(_path(row), one) for one in HEADLINES[file.stem])
            ]
        elif not details:
            rows = [row for row in rows if ":" not in row.metric]
        if rows:
            found[file.stem] = table(rows)
    return found


def _place(file: Path) -> tuple[int, str]:
    return _ORDER.index(file.stem) if file.stem in _ORDER else len(_ORDER), file.stem


def _path(row: Row) -> str:
    return f"{row.protocol}/{row.name}/{row.metric}"


def update_pages() -> list[Path]:
    """Write the headlines into the repository's README.md, and every row into data/results/README.md."""
    whole = data_dir() / "results" / "README.md"
    return [
        update_page(data_dir().parent / "README.md", shipped_tables(headlines=True)),
        update_page(whole, shipped_tables(details=True)),
    ]


def update_page(path: Path, tables: Mapping[str, Table]) -> Path:
    """Put tables between the two marks of a page, and leave everything else as it is.

    Args:
        path: the page.
        tables: heading -> table.

    Returns:
        The page written.

    Raises:
        ValueError: if the page does not hold the marks `<!-- results:begin -->` and `<!-- results:end -->` once each.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{path.name} must hold {BEGIN} and {END} once each, in this order")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    made = "\n\n".join(
        f"### {name.replace('_', ' ').capitalize()}\n\n{made}" for name, made in tables.items()
    )
    replace_text(
        path, f"{before}{BEGIN}\n{made or 'No results yet: run `make results`.'}\n{END}{after}"
    )
    return path
