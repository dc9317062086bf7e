import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from labkit.measure import score
from labkit.measure.score import Row
from labkit.signal.seeds import generator

ROW = Row(
    "3 pedals",
    "transformer",
    "real",
    "exact chain",
    "",
    0.5,
    0.4,
    0.6,
    100,
    0,
    floor=0.06,
    checkpoint="a.st",
)


def test_written_rows_come_back_equal(tmp_path: Path) -> None:
    rows = [
        ROW,
        dataclasses.replace(ROW, sources="sampled", ours=np.float32(0.25), n=np.int64(7), low=None),
    ]
    path = score.write("pedal_order", rows, path=tmp_path / "deep" / "pedal_order.json")
    assert score.read("pedal_order", path=path) == rows
    assert json.loads(path.read_text())["rows"][0]["checkpoint"] == "a.st"


def read_old(folder: Path) -> list[Row]:
    (folder / "old.json").write_text('{"rows": [{"protocol": "x"}]}')
    return score.read("old", path=folder / "old.json")


ERRORS = [
    (lambda folder: score.read("x", path=folder / "x.json"), "run `labkit evaluate x`"),
    (read_old, r"old.json: fields differ from Row's: \['chance', 'checkpoint'"),
    (lambda _: dataclasses.replace(ROW, sources="reel"), "sources must be one of .*, got 'reel'"),
    (lambda _: dataclasses.replace(ROW, floor=np.nan), "floor must be a finite number or None"),
    (lambda _: dataclasses.replace(ROW, low=0.9), "low must not exceed high"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors(call, message, tmp_path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(tmp_path)


def _coverage(groups: int, repeats: int = 300) -> tuple[float, float]:
    """Share of intervals that hold the true mean 0: over sources, and (wrongly) over clips."""
    inside = np.zeros(2)
    for trial in range(repeats):
        rng = generator(3, "coverage", groups, trial)
        values = (rng.normal(size=(groups, 1)) + rng.normal(size=(groups, 8))).ravel()
        for column, labels in enumerate((np.repeat(np.arange(groups), 8), np.arange(8 * groups))):
            low, high = score.bootstrap_interval(values, labels, seed=trial, n=400)
            inside[column] += low <= 0 <= high
    return tuple(inside / repeats)


@pytest.mark.parametrize("groups", [8, 40])
def test_the_bootstrap_over_sources_covers_and_the_one_over_clips_does_not(groups: int) -> None:
    over_sources, over_clips = _coverage(groups)
    assert abs(over_sources - 0.95) < 0.04  # 3 binomial standard errors of 300 repeats: 0.038
    assert over_clips < 0.75


def test_a_row_holds_means_interval_and_what_stands_beside() -> None:
    groups = ["a", "a", "b", "b", "c", "c"]
    right = np.array([1, 1, 0, 1, 1, 1], dtype=bool)
    given = {"protocol": "p", "name": "m", "sources": "real", "metric": "exact", "seed": 3}
    row = score.row(right, groups, **given, beside={"floor": [0, 1, 0, 0, 0, 1], "chance": 0.1})
    assert (row.ours, row.n, row.floor, row.chance) == (
        pytest.approx(5 / 6),
        6,
        pytest.approx(1 / 3),
        0.1,
    )
    assert (row.low, row.high) == score.bootstrap_interval(right, groups, seed=3)
    alone = score.row(0.5, None, **given)
    assert (alone.ours, alone.n, alone.low, alone.oracle) == (0.5, 1, None, None)
    with pytest.raises(ValueError, match=r"beside must name fields among chance, .*got 'ceiling'"):
        score.row(right, groups, **given, beside={"ceiling": 1.0})
