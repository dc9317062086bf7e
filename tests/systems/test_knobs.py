"""The reader of knobs: what it hears, what it looks up, what it learns, and who asks it."""

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, Step
from labkit.signal.seeds import generator
from labkit.signal.sources import load_phrase
from labkit.systems import knobs, pedal_order
from labkit.systems.knobs import model as reading
from labkit.systems.knobs.score import _DECODER, _NAME, score
from labkit.systems.knobs.train import Data, knob_nats, knobs_in_unit, loss
from labkit.systems.pedal_order.data import Example

RATE = 44100
CONFIG = knobs.Config().but(hidden=64, encoder_layers=1, width=32, channels=(4, 8, 8, 8, 8))


def bursts(rng, seconds=2.0):
    """Short noises at random times: (1, samples)."""
    sound = np.zeros((1, round(seconds * RATE)), np.float32)
    for start in rng.integers(sound.shape[1] - 4000, size=4):
        sound[0, start : start + 3000] += rng.standard_normal(3000) * np.geomspace(0.3, 1e-3, 3000)
    return sound


def delayed(rng):
    """An example through a delay of random settings."""
    dry, space = bursts(rng), reading.effect("delay").space
    chain = Chain((Step("delay", space.from_unit(rng.uniform(size=len(space)))),))
    return Example(dry, chain.render(dry, RATE), chain, "noise")


def unit_delay(chain):
    return float(knobs_in_unit(chain, ("delay",))[0])


def test_an_echo_shows_at_its_delay_whatever_the_level():
    dry = bursts(generator(0, "echo"))
    for seconds in (0.15, 0.4):
        step = {"delay_seconds": seconds, "feedback": 0.1, "mix": 0.4}
        wet = torch.from_numpy(Chain((Step("delay", step),)).render(dry, RATE))
        heard = reading.delays_of(wet, CONFIG.sound)["echoes"][0]
        edges = np.array(reading.CLIP_EDGES)
        for band in heard:
            cell = int(band.argmax())
            assert edges[max(cell - 1, 0)] <= seconds <= edges[cell + 2]
        torch.testing.assert_close(heard, reading.delays_of(wet / 8, CONFIG.sound)["echoes"][0])


def test_a_comb_shows_at_its_delay_in_every_frame():
    sound = generator(1, "comb").standard_normal((1, 2 * RATE)).astype(np.float32)
    late = round(0.012 * RATE)
    sound[:, late:] += 0.8 * sound[:, :-late].copy()
    heard = reading.delays_of(torch.from_numpy(sound), CONFIG.sound)["ripples"][0]
    edges_ms = 1000 * np.array(reading.FRAME_EDGES)
    cells = heard[:, :, 1:-1].argmax(1)
    assert ((edges_ms[cells] <= 12.1) & (edges_ms[cells + 1] >= 11.9)).all()


def test_each_bin_looks_where_its_value_is():
    model = knobs.build(CONFIG)
    cells = (np.array(reading.CLIP_EDGES[:-1]) + np.array(reading.CLIP_EDGES[1:])) / 2
    at = model.lookups["echoes"].at[0, :, 0].numpy()  # (cells, bins)
    space = reading.effect("delay").space["delay_seconds"]
    wanted = [space.from_unit((b + 0.5) / 16) for b in range(16)]
    np.testing.assert_allclose(cells @ at, wanted, rtol=1e-5)
    np.testing.assert_allclose(at.sum(0), 1.0, rtol=1e-5)


@pytest.mark.slow
def test_it_learns_an_echo_and_falls_to_chance_on_other_sound():
    rng = generator(2, "learns")
    model = knobs.build(CONFIG)
    taught, asked = [delayed(rng) for _ in range(64)], [delayed(rng) for _ in range(32)]
    heard = {
        name: torch.cat([model.hear(torch.from_numpy(one.wet))[name] for one in taught])
        for name in ("frames", "ripples", "echoes")
    }
    pedals = CONFIG.net.pedals
    truth = torch.stack([knobs_in_unit(one.chain, pedals) for one in taught])
    place = torch.tensor([reading.place_of(("delay",), pedals)] * len(taught))
    frozen = {name: weight.clone() for name, weight in model.ear.state_dict().items()}
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], 2e-3)
    model.train()
    for step in range(40):
        rows = torch.from_numpy(generator(step, "rows").permutation(len(taught))[:16])
        batch = {name: part[rows] for name, part in heard.items()}
        value, _ = loss(model, {**batch, "place": place[rows], "knobs": truth[rows]})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    model.eval()
    assert all(torch.equal(frozen[name], weight) for name, weight in model.ear.state_dict().items())
    wanted = torch.tensor([unit_delay(one.chain) for one in asked])
    ours, others = (
        torch.tensor([unit_delay(reading.read(model, one.wet, ("delay",)).chain) for one in heard])
        for heard in (asked, asked[1:] + asked[:1])
    )
    assert (ours - wanted).abs().mean() < 0.1 < 0.2 < (others - wanted).abs().mean()


def test_a_delay_is_found_to_a_quarter_of_a_millisecond_where_it_is_looked_for():
    chain = Chain((Step("delay", {"delay_seconds": 0.3141, "feedback": 0.3, "mix": 0.3}),))
    wet = torch.from_numpy(chain.render(load_phrase("strum")[0][:, : 2 * RATE], RATE))
    for around in (0.29, 0.33):
        assert abs(reading.exact_delay(wet, CONFIG.sound, around) - 0.3141) < 5e-4


def test_it_hears_wet_sound_alone():
    with pytest.raises(ValueError, match="use_dry must be off"):
        knobs.Config().but(use_dry=True)


def test_knobs_that_are_not_there_cost_nothing():
    logits = torch.zeros(2, 3, 16)
    nats, there = knob_nats(logits, torch.tensor([[0.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    assert there.tolist() == [[1, 0, 1], [0, 0, 0]]
    torch.testing.assert_close(nats, there * float(np.log(16)))


def test_a_run_hears_with_the_ear_that_it_is_given(tmp_path):
    ear = pedal_order.SYSTEM.shipped_path()
    config = knobs.Config().but(n_examples=4, steps=1, batch_size=4, n_workers=0)
    trained = knobs.SYSTEM.train(config, tmp_path, data=Data(("generated",), n_dry=2, ear=ear))
    given = pedal_order.load(ear).state_dict()
    for name, weight in trained.ear.state_dict().items():
        assert torch.equal(weight, given[name])
    start = knobs.build(config.but(seed=1))  # another ear
    knobs.save(start, tmp_path / "start.safetensors")
    data, start_file = Data(("generated",), n_dry=2), tmp_path / "start.safetensors"
    again = knobs.SYSTEM.train(config, tmp_path / "again", data=data, start=start_file)
    start = knobs.load(start_file)  # kept in half precision
    for name, weight in again.ear.state_dict().items():
        assert torch.equal(weight, start.ear.state_dict()[name])


@pytest.mark.parametrize("names", [("delay",), ("distortion", "chorus", "reverb")])
def test_the_windows_vote_and_guesses_are_named(names):
    model = knobs.build(knobs.Config())
    clips = np.concatenate([bursts(generator(k, "vote")) for k in range(2)])
    chain, guesses, _ = reading.read(model, clips, names)
    assert chain.names == names
    # With random weights nothing is known: the middle of each range, and a guess.
    assert guesses == {name: list(reading.effect(name).space.names) for name in names}
    unit = knobs_in_unit(chain, names)
    assert ((unit - 0.5).abs() < 0.1).all()


def test_a_finished_network_asks_it_for_the_knobs_of_six_pedals(monkeypatch):
    model, (dry, rate) = pedal_order.load(), load_phrase("riff")
    wet = Chain((Step("distortion", {"drive_db": 24.0}),)).render(dry, rate)
    asked = []
    answer = (Chain((Step("distortion", {"drive_db": 9.0}),)), {"distortion": ["drive_db"]}, None)
    monkeypatch.setattr(
        reading, "read", lambda *given: asked.append(given[2]) or reading.Reading(*answer)
    )
    found = pedal_order.predict(model, wet, rate, shelf=pedal_order.SIX)
    assert asked == [("distortion",)]
    assert (found.chain, found.guesses) == answer[:2]
    assert pedal_order.predict(model, wet, rate).guesses == {}
    model.forget_judge()  # as a network in training
    assert pedal_order.predict(model, wet, rate, shelf=pedal_order.SIX).guesses == {}
    assert len(asked) == 1


def test_the_exam_scores_few_clips_beside_constant_decoder_and_another_clips_sound():
    rows = score(knobs.load(), n=4, sources=("generated",), protocols=("nine",), seed=3)
    found = {(row.name, row.metric): row for row in rows}
    ours, decoder = (found[name, "knob error"] for name in (_NAME, _DECODER))
    assert ours.ours < ours.prior == decoder.prior
    assert ours.ours < ours.control
    nats = found[_NAME, "nats of the knobs"]
    assert 0 < nats.ours < nats.oracle
    assert nats.control < nats.ours
    assert (_NAME, "MR-STFT of the re-creation") in found
    alone = [metric for _, metric in found if metric.startswith("error of ")]
    assert 0 < len(alone) < len(knobs.load().knobs)
