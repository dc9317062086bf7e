"""The board, the zoo and the first controller: what they claim is computed again, small."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.cli.gradients import EvaluateGradients
from labkit.learn.gradients import (
    SPSA,
    CentralDifferences,
    ForwardDifferences,
    Surrogate,
    black_box,
    each,
)
from labkit.measure.score import Row
from labkit.signal.seeds import generator
from labkit.systems.blackbox import match, zoo
from labkit.systems.blackbox.board import Board, Pedal, equaliser

RATE = 22_050
TINY = match.Config(seconds=0.5, n_clips=12, steps=60, batch_size=4, width=32, learning_rate=1e-2)


def noise(n=4000):
    return (0.1 * generator(0, "blackbox").standard_normal((1, n))).astype(np.float32)


def test_board_and_twin_are_one_effect():
    board = Board(
        (Pedal("distortion"), Pedal("peak", {"q": 1.0}), Pedal("reverb", {"mix": 0.4})), RATE
    )
    assert board.names == (
        "distortion.drive_db",
        "peak.cutoff_frequency_hz",
        "peak.gain_db",
        "reverb.room_size",
        "reverb.damping",
    )
    knobs = np.array([0.3, 0.6, 0.9, 0.2, 0.5])
    assert board.settings(knobs)[1] == pytest.approx(
        {"q": 1.0, "cutoff_frequency_hz": 300 * (4000 / 300) ** 0.6, "gain_db": 14.4}
    )
    with torch.no_grad():
        given = board.twin(torch.from_numpy(noise())[None], torch.from_numpy(knobs)[None])[
            0
        ].numpy()
    np.testing.assert_allclose(given, board.render(noise(), knobs), atol=1e-6)


def test_equaliser_spans_the_ear():
    board = equaliser(5, RATE)
    assert [round(pedal.fixed["cutoff_frequency_hz"]) for pedal in board.pedals] == [
        80,
        253,
        800,
        2530,
        8000,
    ]
    np.testing.assert_allclose(board.render(noise(), np.full(5, 0.5)), noise(), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: Pedal("peak", {"drive_db": 1.0}),
            r"fixed must name knobs of peak, got \['drive_db'\]",
        ),
        (lambda: equaliser(1, RATE), "n_bands must be at least 2"),
        (lambda: equaliser(4, RATE).render(noise(), np.zeros(3)), "must hold 4 values, got 3"),
        (lambda: zoo.evaluate(n=1), "must be at least 2, got 1, 12 and 8"),
        (
            lambda: zoo.descend(easy_problem(), SPSA(), renders=2, seed=0),
            "must pay for one gradient, got 2",
        ),
        (lambda: match.Config(reach=0.7), r"reach must lie in \(0, 0.5\]"),
        (
            lambda: match.predict(match.build(TINY), noise(), noise(), 48_000),
            "sample_rate must be 22050 Hz, got 48000",
        ),
    ],
)
def test_mistakes_are_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def easy_problem():
    return zoo.Problem(equaliser(4, RATE), noise(), noise(), np.full(4, 0.5))


@pytest.fixture(scope="module")
def problem():
    return zoo.Problem.draw(equaliser(4, RATE), 0, 1)


def test_exact_is_the_slope_of_the_loss_of_the_real_effect(problem):
    """Central differences of the loss itself, not of its linear part: curvature leaves about eps squared."""

    def loss(at):
        return float(
            problem.loss(torch.from_numpy(problem.board.render(problem.dry, at))[None].double())
        )

    eps = 1e-2
    moves = eps * np.eye(4)
    slopes = [(loss(problem.at + m) - loss(problem.at - m)) / (2 * eps) for m in moves]
    np.testing.assert_allclose(
        problem.exact(), slopes, rtol=0.05, atol=0.02 * np.linalg.norm(slopes)
    )


def test_point_and_layer_give_the_same_gradient(problem):
    found = CentralDifferences(1e-2).estimate(problem.point(), generator(0))[0]
    _, layered = zoo.gradient(problem, problem.at, CentralDifferences(1e-2), generator(0))
    np.testing.assert_allclose(layered, found, rtol=1e-4, atol=1e-5)
    _, twins = zoo.gradient(
        problem, problem.at, Surrogate(problem.board.twin, forward=True), generator(0)
    )
    np.testing.assert_allclose(twins, problem.exact(), rtol=1e-3, atol=1e-4)


def test_central_differences_through_a_float32_plug_in():
    rows = zoo.eps_rows(equaliser(4, RATE), "EQ", n=2, seed=1, eps=(1e-7, 1e-2, 1e-1))
    found = {(row.name, row.metric): row.ours for row in rows}
    assert found["central differences", "cosine, worst of eps 1e-3 to 1e-1"] > 0.99
    assert (
        found["central differences", "cosine: eps 1e-07"]
        < found["central differences", "cosine: eps 1e-02"]
    )
    assert len(rows) == 8


def test_tosses_of_a_known_gradient():
    """One knob that matters of four: every toss gives 1 / sqrt(4). All alike: the mean of |sum of four coins| / 4."""
    assert zoo._toss(np.array([0.0, 3.0, 0.0, 0.0]), generator(0)) == pytest.approx(0.5)
    assert zoo._toss(np.ones(4), generator(0)) == pytest.approx(1.5 / 4)


def test_spsa_keeps_to_theory(problem):
    """256 tosses of one gradient: the mean cosine within 3 standard errors of what its tosses must give."""
    found = SPSA(1e-2).estimate(problem.point(256), generator(5))
    cosines = zoo._cosines(found, problem.exact())
    error = cosines.std() / math.sqrt(256)
    assert abs(cosines.mean() - zoo._toss(problem.exact(), generator(0))) < 3 * error


def test_wall_rows_tell_ours_from_the_biased_one():
    ours, theirs = zoo.wall_rows(n=30)
    assert ours.ours == pytest.approx(1.0, abs=0.05)  # half the step times the curvature
    assert theirs.ours == pytest.approx(0.5 * ours.ours)


def test_descent_spends_what_it_is_given_and_gets_there(problem):
    count = 0

    class Counting(Board):
        def render(self, audio, params_unit):
            nonlocal count
            count += 1
            return super().render(audio, params_unit)

    board = Counting(problem.board.pedals, RATE)
    knobs, left = zoo.descend(
        replace(problem, board=board), ForwardDifferences(), renders=152, seed=0
    )
    assert count == 151  # 30 steps of 1 + 4 renders, and the last look
    assert left < 0.6
    assert ((knobs >= 0) & (knobs <= 1)).all()


def test_a_proxy_is_taught_and_judged():
    rows = zoo.proxy_rows(equaliser(2, RATE), "EQ", n=2, steps=2, seed=0, batch=2)
    assert [row.name for row in rows] == ["proxy, heard", "proxy, gradient alone", "proxy, heard"]
    assert all(
        row.metric == "cosine, taught by 4 renders" and -1 <= row.ours <= 1 for row in rows[:2]
    )


def test_examples_are_seeded_and_their_guitars_belong_to_one_split():
    tests = match.examples(TINY, "test", 3, n=3)
    again = match.examples(TINY, "test", 3, n=3)
    np.testing.assert_array_equal(tests.wet, again.wet)
    np.testing.assert_array_equal(tests.wet, each(match.tone(RATE).render)(tests.dry, tests.truth))
    assert not set(tests.groups) & set(match.examples(TINY, "train", 3, n=3).groups)


def test_what_is_heard_is_the_curve_of_the_equaliser():
    """Ten dB everywhere are a one in every band of noise."""
    heard = match.hear(TINY, noise()[None], (10**0.5 * noise())[None])
    np.testing.assert_allclose(heard, np.ones((1, TINY.n_mels)), atol=1e-3)


def test_an_untrained_controller_does_nothing():
    model = match.build(TINY)
    found = match.predict(model, noise(), 0.3 * noise(), RATE)
    assert found == pytest.approx(dict.fromkeys(match.tone(RATE).names, 0.5))
    assert torch.equal(model.layers[0].weight, match.build(TINY).layers[0].weight)


def test_a_controller_learns_through_the_real_equaliser():
    """Sixty steps of four recordings. On unseen guitars it beats the best constant; on shuffled ones it does not."""
    written = []

    class Writer:
        def add_scalar(self, name, value, step):
            written.append((name, step, value))

    dry = match.dry_clips(TINY, "train", TINY.n_clips, 0)[0]
    model, rows = match.train(TINY, SPSA(), dry=dry, writer=Writer(), log_every=30)
    assert [row["step"] for row in rows] == [30, 60]
    assert rows[-1]["renders"] == 60 * 4 * 3
    assert all(-1 <= row["cosine"] <= 1 for row in rows)
    assert [step for name, step, _ in written if name == "gradient/cosine"] == [30, 60]
    assert [value for name, _, value in written if name == "loss"] == [row["loss"] for row in rows]
    (row,) = match.evaluate({"SPSA": model}, match.examples(TINY, "test", 1, n=16))
    assert row.oracle < 0.01
    assert row.ours < 0.8 * row.floor
    assert row.control > row.floor


def test_all_weights_of_the_controller_move():
    model = match.build(TINY)
    torch.nn.init.normal_(model.layers[-1].weight, std=0.1, generator=torch.manual_seed(0))
    tests = match.examples(TINY, "test", 1, n=2)
    knobs = model(match.hear(TINY, tests.dry, tests.wet))
    out = black_box(
        each(match.tone(RATE).render), torch.from_numpy(tests.dry), knobs, SPSA(), generator(0)
    )
    match.distance(out, torch.from_numpy(tests.wet)).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_the_command_passes_its_sizes_on(monkeypatch):
    row = Row("p", "n", "generated", "m", "", 1.0, None, None, 1, 1)
    monkeypatch.setattr(
        zoo, "evaluate", lambda **sizes: [replace(row, n=sizes["n_eps"], seed=sizes["seed"])]
    )
    assert EvaluateGradients(n_eps=7, seed=5).rows() == [replace(row, n=7, seed=5)]
