"""k oscillators as a system: its sounds, its heads, its table; what a regression cannot do, and resuming."""

import dataclasses

import numpy as np
import pytest
import torch

from labkit.effects.synths.kosc import render
from labkit.learn.flow import flow_loss
from labkit.signal.seeds import torch_generator
from labkit.systems.synth_matching import kosc
from labkit.systems.synth_matching.kosc import data, model
from labkit.systems.synth_matching.kosc.evaluate import METRICS
from labkit.systems.synth_matching.kosc.train import loss_of, ranked

SIZES = {"encoder_width": 32, "width": 24, "n_layers": 1, "batch_size": 8, "sampler_steps": 2}
TINY = kosc.Config(k=3, n_train=500, encoder_steps=2, steps=2, **SIZES)


def rng(*purpose):
    return torch_generator(0, "k-osc tests", *purpose)


@pytest.mark.parametrize("broken", [False, True])
def test_a_mixture_from_the_bank_is_what_would_be_rendered(broken):
    settings, spectra = data.Bank(400).draw(6, 3, rng("bank"), broken=broken)
    rendered = data.spectrum(render(settings, broken=broken))
    if not broken:
        # Float32: the phase of the last of 1024 samples is known to 1e-4 of a turn.
        torch.testing.assert_close(spectra, rendered, atol=2e-4, rtol=0)
    else:  # a few were held at the edge of their band
        assert ((spectra - rendered).abs().amax(1) < 1e-3).float().mean() > 0.6


def test_settings_and_values_go_back_and_forth():
    settings = torch.rand(50, 4, 3, generator=rng("s"))
    values = data.to_values(settings)
    assert values.var().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(data.to_settings(values), settings, atol=1e-6, rtol=0)
    assert data.to_settings(torch.full((1, 12), 9.0)).max() == 1


def test_splits_share_no_sound():
    test, audio = kosc.examples(TINY, "test", 1, n=20)
    validation, _ = kosc.examples(TINY, "validation", 1, n=20)
    trained = kosc.training_set(TINY, torch.nn.Linear(513, 4)).settings
    assert torch.cdist(test.flatten(1), validation.flatten(1)).min() > 1e-3
    assert torch.cdist(test.flatten(1), trained.flatten(1)).min() > 1e-3
    assert audio.shape == (20, 1024)
    with pytest.raises(ValueError, match="split"):
        kosc.examples(TINY, "train", 1)


def test_the_nearest_sound_is_found():
    known = kosc.training_set(TINY, torch.nn.Linear(513, 4))
    spectra = data.spectrum(data.render_many(known.settings[7:9], broken=False))
    assert torch.equal(known.nearest(spectra), known.settings[7:9])


def test_the_distance_of_sounds_by_hand():
    sound = torch.randn(2, 1024, generator=rng("sound"))
    # Ten times louder is 20 dB in every bin, wherever the floor does not hide it.
    assert kosc.log_spectral_distance(sound, 10 * sound).tolist() == pytest.approx(
        [20, 20], abs=0.3
    )
    assert kosc.log_spectral_distance(sound, sound).tolist() == [0, 0]


def test_the_map_knows_no_order():
    settings = torch.rand(5, 3, 3, generator=rng("map"))
    torch.testing.assert_close(
        model.true_map(settings, TINY), model.true_map(settings.flip(1), TINY), atol=1e-5, rtol=0
    )
    one = torch.tensor([[[0.5, 1.0, 1.0]]])
    drawn = model.true_map(one, dataclasses.replace(TINY, k=1))[0].unflatten(0, (2, -1))
    assert abs(drawn[0].argmax().item() / (TINY.n_map - 1) - 0.5) < 0.01
    torch.testing.assert_close(drawn[0], drawn[1])


def test_the_filters_hear_where_an_oscillator_is():
    filters = model.FilterBank()
    place = torch.rand(20, 1, 3, generator=rng("one"))
    place[..., 1], place[..., 2] = 1.0, (place[..., 2] > 0.5).float()
    found = filters(data.spectrum(render(place)).abs())[:, :400].argmax(1) % 200 / 200
    # Ridge regression mistakes an octave now and then: that is left to the network.
    assert ((found - place[:, 0, 0]).abs() < 0.02).float().mean() >= 0.9


@pytest.mark.parametrize("head", ["equivariant flow", "mlp flow"])
def test_an_exchange_of_oscillators_exchanges_velocities_of_one_head_only(head):
    built = kosc.build(dataclasses.replace(TINY, head=head)).best.double().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(head)).double())
    x = torch.randn(2, 9, generator=rng("x")).double()
    time, condition = (
        torch.rand(2).double(),
        torch.rand(2, 2 * TINY.n_map, generator=rng("c")).double(),
    )
    swapped = x.unflatten(1, (3, 3)).flip(1).flatten(1)
    there = built(swapped, time, condition)
    back = built(x, time, condition).unflatten(1, (3, 3)).flip(1).flatten(1)
    assert ((there - back).abs().max() < 1e-9).item() is (head == "equivariant flow")
    assert (there - built(x, time, condition)).abs().max() > 1e-3


def test_without_a_condition_nothing_of_it_is_seen():
    built = kosc.build(TINY).best.eval()
    x, time = torch.randn(2, 9, generator=rng("x")), torch.rand(2)
    kept = torch.tensor([False, True])
    first, second = (
        built(x, time, torch.rand(2, 2 * TINY.n_map, generator=rng("c", i)), kept) for i in range(2)
    )
    assert torch.equal(first[0], second[0])
    torch.testing.assert_close(first[:1], built(x[:1], time[:1], None))


def test_ranking_exchanges_parts_of_the_noise_and_no_more():
    noise, target = (torch.randn(40, 12, generator=rng(name)) for name in ("noise", "target"))
    own, goal = ranked(noise, target).unflatten(1, (4, 3)), target.unflatten(1, (4, 3))
    assert torch.equal(own[..., 0].argsort(1), goal[..., 0].argsort(1))
    for row, before in zip(own, noise.unflatten(1, (4, 3)), strict=True):
        assert sorted(map(tuple, row.tolist())) == sorted(map(tuple, before.tolist()))


@pytest.mark.parametrize("head", kosc.HEADS)
def test_every_head_learns_on_a_handful(head):
    """80 steps on 32 sounds: well below the loss of one who always says the middle."""
    config = dataclasses.replace(TINY, head=head, k=2, batch_size=32, width=48, n_layers=2)
    settings = torch.rand(32, 2, 3, generator=rng("few"))
    condition = model.true_map(settings, config)
    built, loss = kosc.build(config).train(), loss_of(config)
    batch = {"values": data.to_values(settings)[None], "condition": condition[None]}
    optimizer = torch.optim.Adam(built.online.parameters(), lr=3e-3)
    losses = []
    for step in range(80):
        value, _ = loss(built, batch | {"index": torch.tensor([step])})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    # One who says 0: a flow's velocity has variance 2, a setting 1 (Chamfer takes the nearest of two: less).
    floor = {"chamfer": 0.7}.get(head, 2.0 if head in kosc.FLOWS else 1.0)
    assert np.mean(losses[-10:]) < 0.85 * floor


def test_a_regression_of_two_alike_cannot_pass_one_half():
    """The answer with the least error is the mean of both oscillators, in both places: R2 = 1/k."""
    truth = torch.rand(4000, 2, 3, generator=rng("truth"))
    mean = truth.mean(1, keepdim=True).expand_as(truth)
    found = 1 - ((mean - truth).square().mean() / (1 / 12)).item()
    assert found == pytest.approx(0.5, abs=0.02)


def test_evaluate_gives_every_row_and_takes_up_what_is_done(tmp_path):
    said = []
    given = {"ks": (2,), "seeds": (0, 1), "n": 6, "say": said.append}
    rows = kosc.evaluate(TINY, tmp_path, **given)
    # Alike: three heads; in bands: two. Best-of figures for flows alone.
    assert len(rows) == 3 * len(METRICS) - 2 + 2 * len(METRICS) - 2
    assert len(said) == 10
    assert {row.protocol for row in rows} == {
        "2 oscillators, alike; 2 seeds",
        "2 oscillators, each in a band of its own; 2 seeds",
    }
    for row in rows:
        assert row.low <= row.ours <= row.high
        assert row.n == 12
        assert None not in (row.floor, row.prior, row.control, row.oracle)
    limit = [row.oracle for row in rows if row.metric == "R2" and row.name == "regression"]
    assert limit == [0.5, 1.0]
    lines = kosc.ratios(rows)
    assert any("of the perceptron flow's" in line for line in lines)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores.json")}
    again = kosc.evaluate(TINY, tmp_path, **given)
    assert [row.ours for row in again] == [row.ours for row in rows]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores.json")} == stamps
    more = kosc.evaluate(TINY, tmp_path, **(given | {"n": 8, "seeds": (0,)}))
    assert more[0].n == 8


@pytest.mark.parametrize("given", [{"k": 0}, {"head": "oracle"}, {"pairing": "best"}, {"steps": 0}])
def test_a_config_says_what_is_wrong(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        kosc.Config(**given)


def test_a_flow_head_gives_several_answers_and_a_regression_one():
    condition = torch.rand(3, 2 * TINY.n_map)
    for head, n in (("equivariant flow", 4), ("regression", 1)):
        config = dataclasses.replace(TINY, head=head)
        built = kosc.build(config).eval().best
        found = kosc.predict(built, condition, config, n=n)
        assert found.shape == (3, n, 3, 3)
        assert found.min() >= 0
        assert found.max() <= 1
    assert (
        flow_loss(lambda x, *_: 0 * x, torch.zeros(4, 9), None, rng("l"), pairing=ranked).item() > 0
    )


def test_the_command_keeps_the_rows_of_other_numbers(tmp_path, capsys):
    from labkit.cli import main
    from labkit.measure.score import Row, read, write

    out = tmp_path / "kosc.json"
    old = Row(
        "3 oscillators, alike; 1 seed", "regression", "generated", "LSD", "dB", 1.0, 0.9, 1.1, 4, 1
    )
    write(
        "kosc", [old, dataclasses.replace(old, protocol="2 oscillators, alike; 1 seed")], path=out
    )
    tiny = ["--seeds", "0", "--n", "4", "--steps", "1", "--encoder-steps", "1", "--n-train", "500"]
    assert (
        main(
            [
                "evaluate",
                "kosc",
                "--k",
                "2",
                *tiny,
                "--run-dir",
                str(tmp_path / "runs"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert "of the perceptron flow's" in capsys.readouterr().out
    rows = read("kosc", path=out)
    assert [row for row in rows if row.protocol.startswith("3")] == [old]
    assert 1.0 not in [row.ours for row in rows if row.protocol.startswith("2")]
    assert rows[-1] == old
