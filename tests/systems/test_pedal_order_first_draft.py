"""The first draft's protocol: its entropy by hand, and a head that reads what the network heard."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.signal.seeds import generator
from labkit.systems import pedal_order
from labkit.systems.pedal_order import first_draft
from labkit.systems.pedal_order.first_draft import VALUES, DraftChain, Reading, draw, prior


def test_a_chain_that_nobody_heard_costs_the_published_nats():
    found = prior()
    assert sum(found.values()) == pytest.approx(20.27, abs=0.005)  # the reference has two decimals
    assert found["set"] == pytest.approx(2.77, abs=0.005)
    assert found["order"] == pytest.approx(1.94, abs=0.005)
    assert found["knobs"] == pytest.approx(15.56, abs=0.005)


def test_what_is_drawn_has_that_entropy():
    drawn = [draw(generator(0, "drawn", k)) for k in range(4000)]
    assert all(
        "compressor" in chain.names and len(set(chain.names)) == len(chain.names) for chain in drawn
    )
    assert len(first_draft._ORDERS) == 261
    assert {chain.names for chain in drawn} <= set(first_draft._ORDERS)
    shares = np.array([sum(name in chain.names for chain in drawn) for name in VALUES]) / len(drawn)
    assert shares[1:] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(4000))  # four standard errors
    for chain in drawn[:200]:
        assert all(
            chain.values[name][knob] in VALUES[name][knob]
            for name in chain.names
            for knob in VALUES[name]
        )


def test_a_head_that_knows_nothing_pays_the_priors_nats():
    reading = Reading(5).eval()
    for parameter in reading.layers.parameters():
        parameter.data.zero_()
    chains = [draw(generator(1, "even", k)) for k in range(3000)]
    spent = reading(torch.randn(len(chains), 5), first_draft.labels(chains))
    for part, nats in prior().items():
        error = 4 * spent[part].std().item() / math.sqrt(len(chains)) + 1e-4
        assert spent[part].mean().item() == pytest.approx(nats, abs=error), part


def test_the_orders_of_a_set_share_one_probability():
    torch.manual_seed(0)
    reading, heard = Reading(6).eval(), torch.randn(1, 6)
    values = {
        name: {knob: given[0] for knob, given in knobs.items()} for name, knobs in VALUES.items()
    }
    orders = list(itertools.permutations(("compressor", "phaser", "reverb")))
    chains = [DraftChain(names, {name: values[name] for name in names}) for names in orders]
    with torch.no_grad():
        spent = reading(heard.expand(len(chains), -1), first_draft.labels(chains))
    assert torch.exp(-spent["order"]).sum().item() == pytest.approx(1.0, abs=1e-5)
    assert spent["order"].std() > 0.01
    assert spent["set"].std() < 1e-6


def test_the_sound_is_pedalboards():
    import pedalboard

    audio = np.random.default_rng(0).standard_normal((1, 4410)).astype(np.float32) * 0.1
    values = {
        "distortion": {"drive_db": 18.0},
        "compressor": {k: v[0] for k, v in VALUES["compressor"].items()},
    }
    wet = DraftChain(("distortion", "compressor"), values).render(audio, 44100)
    settings = {"threshold_db": -60.0, "ratio": 1.5, "attack_ms": 10.0, "release_ms": 50.0}
    by_hand = pedalboard.Pedalboard(
        [pedalboard.Distortion(18.0), pedalboard.Compressor(**settings)]
    )(audio, 44100)
    np.testing.assert_array_equal(wet, by_hand)


def test_a_head_learns_what_the_features_tell_and_pays_for_another_clips(monkeypatch):
    # A memory that tells the pedals of a chain, and which comes first.
    def heard(_, kind, n, seed, split):
        chains = [draw(generator(seed, kind, split, k)) for k in range(n)]
        told = torch.tensor([[float(name in chain.names) for name in VALUES] for chain in chains])
        first = torch.tensor(
            [[float(chain.names[0] == name) for name in VALUES] for chain in chains]
        )
        return first_draft._Heard(
            torch.cat([told, first], 1), first_draft.labels(chains), [str(k) for k in range(n)]
        )

    monkeypatch.setattr(first_draft, "_heard", heard)
    rows = first_draft.draft_rows(
        None, n=60, n_taught=400, sources=["generated"], say=lambda _: None
    )
    found = {row.metric: row for row in rows}
    assert found["nats recovered: set"].ours > 2.3  # of 2.77
    assert 0.3 < found["nats recovered: order"].ours < 1.94
    assert abs(found["nats recovered: knobs"].ours) < 1.0
    assert found["nats recovered"].control < 0 < found["nats recovered"].low
    assert found["nats recovered"].ours == pytest.approx(
        sum(found[f"nats recovered: {part}"].ours for part in ("set", "order", "knobs")), abs=1e-4
    )


def test_every_row_from_a_small_network():
    config = replace(
        pedal_order.Config(), seconds=0.3, width=16, n_heads=2, channels=(4, 4, 4, 4, 4)
    )
    model = pedal_order.build(config).eval()
    rows = first_draft.draft_rows(
        model, n=3, n_taught=20, sources=["generated"], say=lambda _: None
    )
    assert [row.metric for row in rows] == [
        "nats recovered", "nats recovered: set", "nats recovered: order", "nats recovered: knobs",
    ]  # fmt: skip
    assert all(np.isfinite([row.ours, row.control]).all() for row in rows)
