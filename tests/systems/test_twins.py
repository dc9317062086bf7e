"""What `labkit evaluate twins` measures: a broken twin shows, speeds are of the same work, and fits are scored."""

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, Step
from labkit.effects.twins import NAMES
from labkit.measure.metrics import si_sdr_db
from labkit.measure.score import read
from labkit.systems import twins

LTI_DB, MOVING_DB = -80.0, -60.0
MOVING = ("compressor", "limiter", "noise_gate", "chorus", "phaser", "ladder_filter")


def test_settings_are_all_corners_then_draws():
    found = list(twins.settings("delay", 3, 0))
    assert len(found) == 2**3 + 3
    assert found[0] == {"delay_seconds": 0.12, "feedback": 0.1, "mix": 0.2}
    assert found[7] == {"delay_seconds": 0.6, "feedback": 0.6, "mix": 0.5}
    assert all(0.12 <= params["delay_seconds"] <= 0.6 for params in found)


def test_a_wrong_twin_is_found_out(monkeypatch):
    assert max(twins.parity("gain", 44_100, n_draws=2).values()) < LTI_DB
    monkeypatch.setattr(
        twins, "twin", lambda _name: lambda audio, _rate, *, gain_db: audio * 10 ** (gain_db / 20.1)
    )
    assert max(twins.parity("gain", 44_100, n_draws=2).values()) > LTI_DB


def test_shipped_parity_keeps_its_bounds():
    rows = [row for row in read("twins") if row.metric == "worst error"]
    assert sorted(row.name for row in rows) == sorted(NAMES) == sorted(twins.COMPARED)
    for row in rows:
        assert row.ours <= (MOVING_DB if row.name in MOVING else LTI_DB), row.name


def test_all_ways_to_render_do_the_same_work():
    chain = Chain((Step("distortion", {"drive_db": 12.0}), Step("gain", {"gain_db": -3.0})))
    dry = 0.1 * np.random.default_rng(0).standard_normal((2, 1, 2000)).astype(np.float32)
    runs = twins.render_runs(dry, 44_100, [chain, chain])
    assert len(runs) == (6 if torch.cuda.is_available() else 4)
    assert all(twins.wall_seconds(run, repeats=1) > 0 for run in runs.values())


def test_speed_is_audio_seconds_by_wall_seconds(monkeypatch):
    monkeypatch.setattr(twins, "wall_seconds", lambda _run: 0.5)
    rows = twins.throughput_rows(batch=3, seconds=0.1, seed=0)
    assert [row.ours for row in rows] == pytest.approx([0.6] * len(rows))


def test_fit_problems_are_audible_seeded_and_hold_five_pedals():
    dry, wet, chain = twins.fit_problem(0, 1)
    again = twins.fit_problem(0, 1)
    assert len(set(chain.names)) == 5
    assert chain == again[2]
    np.testing.assert_array_equal(wet, again[1])
    assert dry.shape == wet.shape == (1, 44_100)
    assert si_sdr_db(wet, dry) < 20.0


def test_knob_errors_by_hand():
    truth = Chain((Step("delay", {"delay_seconds": 0.12, "feedback": 0.1, "mix": 0.2}),))
    found = Chain((Step("delay", {"delay_seconds": 0.6, "feedback": 0.15, "mix": 0.2}),))
    np.testing.assert_allclose(twins.knob_errors(truth, found), [1.0, 0.1, 0.0], atol=1e-9)


def test_fit_rows_score_what_the_fits_found(monkeypatch):
    """A fit that answers the truth has no error; the sound is rendered by pedalboard, not believed."""
    given = []

    def oracle(_dry, _wet, _rate, _names, *, seed):
        return twins.Fit(twins.fit_problem(seed - 1, 1)[2], -99.0, 0.0, 7, 3.0)

    def blind(_dry, _wet, _rate, names, *, seed, seconds):
        given.append((seed, seconds))
        middle = [(name, twins.effect(name).space) for name in names]
        chain = Chain(
            tuple(Step(name, space.from_unit(np.full(len(space), 0.5))) for name, space in middle)
        )
        return twins.Fit(chain, 120.0, 0.0, 9, seconds)

    monkeypatch.setattr(twins, "fit_chain", oracle)
    monkeypatch.setattr(twins, "fit_chain_cma", blind)
    rows = {(row.name, row.metric): row for row in twins.fit_rows(n=2, seed=1)}
    assert {metric: row.ours for (name, metric), row in rows.items() if name == "gradient"} == {
        "median knob error": 0.0,
        "knobs within 1 % of range": 1.0,
        "SI-SDR, lowest tenth": 120.0,
        "median SI-SDR": 120.0,
        "SI-SDR above 30 dB": 1.0,
        "renders for a chain, median": 7.0,
        "time for a chain, median": 3.0,
    }
    assert given == [(1, 3.0), (2, 3.0)]  # CMA-ES got the time that the other search took
    assert rows["CMA-ES", "SI-SDR above 30 dB"].ours == 0.0
    assert (
        0.1 < rows["CMA-ES", "median knob error"].ours < 0.4
    )  # of two points at random, one of them the middle
    assert rows["CMA-ES", "SI-SDR above 30 dB"].high == pytest.approx(
        0.658, abs=1e-3
    )  # Wilson, 0 of 2
