"""Pictures of saturation say in words what they show, and harmonics are those of the formula."""

import urllib.request

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from labkit.lab import curves
from labkit.lab.board import board
from labkit.measure.score import Row


def row(metric, ours, protocol="wet only"):
    return Row(protocol, "light", "generated", metric, "", ours, None, None, 8, 1)


def test_harmonics_of_a_deep_clip_are_a_square_wave_and_of_none_nothing():
    square = curves.harmonics_db("hard_clip", 10.0)
    # A square wave: odd harmonics at 1/k, even ones absent. At depth 10 the flanks take 6 % of the period.
    assert square[[2, 4]] == pytest.approx(20 * np.log10([1 / 3, 1 / 5]), abs=0.5)
    assert (square[1::2] < -100).all()
    assert (curves.harmonics_db("hard_clip", 1.0)[1:] < -100).all()


def test_hysteresis_has_a_loop_and_tanh_has_none():
    for curve, open_loop in (("tanh", False), ("hysteresis", True)):
        dry, wet = curves._cycle(curve, 4.0, 0.3)
        zero = np.flatnonzero(np.abs(dry) < 1e-9)
        assert len(zero) == 2
        assert bool(np.ptp(wet[zero]) > 0.1) is open_loop


def test_figures_describe_themselves():
    assert repr(curves.transfer("tanh", 3.0)).startswith("tanh at depth 3.0; harmonics 3 -")
    drawn = curves.lines(
        [1, 2], {"a": [3.0, 4.0]}, xlabel="x", ylabel="y", log_x=True, diagonal=True
    )
    assert repr(drawn) == "y over x: a 3 to 4"
    flat = curves.surface(
        [[2, 1], [4, 3]], [1, 2], [5, 6], xlabel="depth", ylabel="level", label="error", mark=(2, 5)
    )
    assert repr(flat) == "error over depth and level; least at 2, 5"
    assert flat.png().startswith(b"\x89PNG")


def test_coverage_reads_the_intervals():
    rows = [row(f"interval: {share}%", share / 100 - 0.1) for share in (20, 50)] + [
        row("depth error", 3.0)
    ]
    assert (
        repr(curves.coverage(rows))
        == "share held over stated share: wet only, generated 0.1 to 0.4"
    )
    with pytest.raises(ValueError, match="rows must hold the same intervals"):
        curves.coverage(rows[-1:])
    with pytest.raises(ValueError, match="rows must hold the same intervals"):
        curves.coverage([*rows, row("interval: 20%", 0.2, "another")])


def test_misfits_are_named():
    with pytest.raises(ValueError, match=r"series must hold lines of 2 values, got \[1\]"):
        curves.lines([1, 2], {"a": [3.0]}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match=r"values must be finite and \(1, 2\)"):
        curves.surface([[1.0]], [1, 2], [1], xlabel="x", ylabel="y", label="z")


def test_a_board_lists_what_a_run_has_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="train there first"):
        board(tmp_path)
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("val/loss", 0.5, 1)
    writer.close()
    page = board(tmp_path)
    assert repr(page) == "TensorBoard: 1 scalars (val/loss)"
    with urllib.request.urlopen(page.url, timeout=60) as answer:
        assert b"TensorBoard" in answer.read()
