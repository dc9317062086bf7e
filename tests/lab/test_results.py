import dataclasses

import pytest

from labkit.lab import results
from labkit.measure import score as measured
from labkit.measure.score import Row

NUMBERS = {"ours": 0.5, "low": 0.4, "high": 0.6, "n": 122, "seed": 0, "floor": 0.3, "oracle": 0.95}
REAL = Row("3 | pedals", "transformer", "real", "exact chain", "", **NUMBERS)
MORE = {"ours": 0.9, "low": 0.88, "high": 0.92, "n": 1000, "floor": 0.48}
ROWS = [REAL, dataclasses.replace(REAL, sources="generated", **MORE)]


def test_the_table_by_hand():
    assert str(results.table(ROWS)) == (
        "| task | model | metric | generated | real | floor | oracle | n |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| 3 \\| pedals | transformer | exact chain | 0.900 [0.880, 0.920] | 0.500 [0.400, 0.600]"
        " | 0.480 / 0.300 | 0.950 | 1000 / 122 |"
    )


def test_missing_cells_units_and_markup():
    other = dataclasses.replace(
        REAL, metric="<delay>", unit="ms", ours=123.456, low=None, high=None, sources="sampled"
    )
    made = results.table([*ROWS, other])
    assert made.body[1][2:6] == ("<delay> (ms)", "–", "123.5", "–")
    assert "&lt;delay&gt; (ms)" in made._repr_html_()
    assert "<delay>" not in made._repr_html_()
    with pytest.raises(ValueError, match="at least one Row"):
        results.table([])


def test_shipped_tables_come_from_the_files_without_details(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "data_dir", lambda: tmp_path)
    split = dataclasses.replace(REAL, metric="knob error: chorus depth")
    with pytest.raises(FileNotFoundError, match="labkit evaluate demo"):
        results.shipped_table("demo")
    measured.write("demo", [*ROWS, split])
    assert results.shipped_table("demo") == results.table(ROWS)
    assert results.tables("demo") == {"demo": results.table([*ROWS, split])}
