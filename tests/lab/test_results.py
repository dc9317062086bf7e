import dataclasses
from pathlib import Path

import pytest

from labkit.lab import results
from labkit.measure import score as measured
from labkit.measure.score import Row

REAL = Row(
    "3 | pedals",
    "transformer",
    "real",
    "exact chain",
    "",
    0.5,
    0.4,
    0.6,
    122,
    0,
    floor=0.3,
    oracle=0.95,
)
ROWS = [
    REAL,
    dataclasses.replace(
        REAL, sources="generated", ours=0.9, low=0.88, high=0.92, n=1000, floor=0.48
    ),
]


def test_the_table_by_hand() -> None:
    assert str(results.table(ROWS)) == (
        "| task | model | metric | generated | real | floor | oracle | n |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| 3 \\| pedals | transformer | exact chain | 0.900 [0.880, 0.920] | 0.500 [0.400, 0.600]"
        " | 0.480 / 0.300 | 0.950 | 1000 / 122 |"
    )


def test_missing_cells_units_and_markup() -> None:
    other = dataclasses.replace(
        REAL, metric="<delay>", unit="ms", ours=123.456, low=None, high=None, sources="sampled"
    )
    made = results.table([*ROWS, other])
    assert made.body[1][2:6] == ("<delay> (ms)", "–", "123.5", "–")
    assert "&lt;delay&gt; (ms)" in made._repr_html_()
    assert "<delay>" not in made._repr_html_()
    with pytest.raises(ValueError, match="at least one Row"):
        results.table([])


def test_a_page_changes_between_its_marks_only(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"top\n{results.BEGIN}\nold\n{results.END}\nbottom\n")
    assert results.update_page(page, {"pedal_order": results.table(ROWS)}) == page
    once = page.read_text()
    assert once.startswith(f"top\n{results.BEGIN}\n### Pedal order\n\n| task |")
    assert once.endswith(f"1000 / 122 |\n{results.END}\nbottom\n")
    results.update_page(page, {"pedal_order": results.table(ROWS)})
    assert page.read_text() == once


@pytest.mark.parametrize(
    "text", ["", results.BEGIN, results.END + results.BEGIN, 2 * (results.BEGIN + results.END)]
)
def test_a_page_without_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"README.md must hold <!-- results:begin -->"):
        results.update_page(page, {})
    assert page.read_text() == text


def test_tables_come_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "data_dir", lambda: tmp_path)
    measured.write("pedal_order", ROWS, path=tmp_path / "results" / "pedal_order.json")
    assert results.shipped_tables() == {"pedal_order": results.table(ROWS)}


def test_the_front_page_has_the_headlines_of_each_system_and_the_other_page_all(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(results, "data_dir", lambda: tmp_path / "data")
    files = tmp_path / "data" / "results"
    split = dataclasses.replace(REAL, metric="knob error: chorus depth")
    order = dataclasses.replace(REAL, metric="order given set")
    measured.write("pedal_order", [*ROWS, order, split], path=files / "pedal_order.json")
    measured.write("another", [order, split], path=files / "another.json")
    pages = tmp_path / "README.md", files / "README.md"
    for page in pages:
        page.write_text(f"{results.BEGIN}{results.END}")
    assert tuple(results.update_pages()) == pages
    front, whole = (page.read_text() for page in pages)
    assert [
        front.count(metric) for metric in ("exact chain", "order given set", "chorus depth")
    ] == [1, 1, 0]
    assert [
        whole.count(metric) for metric in ("exact chain", "order given set", "chorus depth")
    ] == [1, 2, 2]


def test_every_headline_is_a_row_that_ships() -> None:
    """A metric renamed must not leave the front page in silence."""
    for system, patterns in results.HEADLINES.items():
        paths = [results._path(row) for row in measured.read(system)]
        for pattern in patterns:
            assert any(results.fnmatchcase(path, pattern) for path in paths), f"{system}: {pattern}"
