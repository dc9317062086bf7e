"""Pedal order: tokens and grammar, protocols, examples, front ends, loss, training, exam."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from labkit.effects.chain import Chain, ChainSampler, Step
from labkit.effects.registry import effect
from labkit.signal.files import AudioError, write_audio
from labkit.signal.pool import DryPool
from labkit.signal.recorded import recorded_groups
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.sources import AudioFolder, GeneratedGuitars
from labkit.systems import codec, pedal_order
from labkit.systems.pedal_order import NINE, PROTOCOLS, SIX, SYSTEM, Config, model, train
from labkit.systems.pedal_order.config import (
    END,
    PAD,
    SEPARATOR,
    START,
    ChainTokens,
    canonical_names,
)
from labkit.systems.pedal_order.data import Examples, examples_for_scoring
from labkit.systems.pedal_order.train import Data, dry_pools, sequence_loss

SMALL = Config().but(
    seconds=1.0,
    n_mels=32,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    n_examples=6,
    steps=4,
    batch_size=4,
    n_workers=0,
    warmup_steps=2,
)
SOUND = SMALL.sound
DRY = SMALL.but(use_dry=True)
RATE = SOUND.sample_rate
TOKENS = ChainTokens(SIX)


@pytest.fixture(scope="module")
def pool():
    return DryPool(GeneratedGuitars(seconds=1.5, sample_rate=RATE), "train", 12, 0)


@pytest.fixture(scope="module")
def small():
    return pedal_order.build(SMALL).eval()


@pytest.fixture
def tiny_codec(monkeypatch):
    """A tiny codec in place of the shipped one."""
    sizes = {"width": 16, "latent_dim": 24, "n_codebooks": 3, "codebook_size": 32}
    tiny = codec.build(codec.Config().but(**sizes)).eval()
    tiny.network.quantizer.words.normal_(generator=torch_generator(0, "words"))
    monkeypatch.setattr(codec, "load", lambda: tiny)
    model.codec.cache_clear()
    yield
    model.codec.cache_clear()


def noise(seed, seconds, level=0.1, channels=1):
    samples = generator(seed, "noise").standard_normal((channels, round(seconds * RATE)))
    return (level * samples).astype(np.float32)


def collated(examples, indices):
    return default_collate([examples[i] for i in indices])


@given(seed=st.integers(0, 10_000), prior=st.sampled_from(["subsets", "shuffled"]))
def test_any_chain_survives_to_half_a_bin(seed, prior):
    chain = ChainSampler(SIX, prior, 5).sample(np.random.default_rng(seed))
    tokens = TOKENS.encode(chain)
    back = TOKENS.decode(tokens)
    assert back.names == chain.names
    assert len(tokens) <= TOKENS.max_length
    for before, after in zip(chain.steps, back.steps, strict=True):
        space = effect(before.effect).space
        apart = np.abs(space.to_unit(before.params) - space.to_unit(after.params))
        assert apart.max() <= 0.5 / 16 + 1e-9
    assert TOKENS.encode(back) == tokens


def test_the_prior_is_enumerated():
    """Three pedals: 16 equal chains. Six: a Monte-Carlo estimate of one chain agrees."""
    three = PROTOCOLS["three"]
    six = PROTOCOLS["six"]
    assert three.entropy_nats() == pytest.approx(np.log(16))
    prior = six.probabilities()
    assert sum(prior.values()) == pytest.approx(1.0)
    # Length 1, then one of six; no longer chain is more probable.
    assert next(iter(prior.values())) == pytest.approx(1 / 30)
    rng = generator(0, "prior")
    drawn = [canonical_names(six.sampler.order(rng)) for _ in range(3000)]
    share = np.mean([names == ("delay", "reverb") for names in drawn])
    assert share == pytest.approx(2 / 150, abs=0.008)
    assert prior["delay", "reverb"] == pytest.approx(2 / 150)
    assert ("reverb", "delay") not in prior
    single = PROTOCOLS["single"].probabilities()
    assert single == pytest.approx({(): 0.1} | {(name,): 0.1 for name in NINE})


def test_pedals_that_are_drawn_must_be_known():
    with pytest.raises(ValueError, match="pedals must hold all that the protocols draw, flanger"):
        SMALL.but(protocols=("nine",), pedals=SIX)
    assert PROTOCOLS["nine"].draw(generator(0, "chain")).names
    assert SMALL.but(protocols=("nine",), pedals=NINE).net.tokens.n_tokens == 4 + 9 + 16


def test_an_example_depends_on_its_number_alone(pool):
    examples = Examples(SMALL, [pool])
    one = examples[5]
    again = Examples(SMALL, [pool])[5]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["features"], examples[4]["features"])
    assert one["features"].shape == (32, 1 + SOUND.samples // SOUND.hop_length)
    behind = Examples(SMALL.but(first_example=4), [pool])  # to continue a training
    assert torch.equal(examples[5]["tokens"], behind[1]["tokens"])
    assert examples.draw(1).chain != behind.draw(1).chain


def test_the_knobs_of_other_makers_are_not_taught(pool):
    config = SMALL.but(protocols=("single",))
    plain, others = (Examples(config.but(others_share=share), [pool]) for share in (0.0, 1.0))
    moved = []
    for k in range(6):
        chain = others.draw(k).chain
        assert chain == plain.draw(k).chain
        tokens = others[k]["tokens"]
        assert tokens[tokens != PAD].tolist() == config.net.tokens.encode_order(chain.names)
        moved += [not torch.equal(plain[k]["features"], others[k]["features"])]
    assert any(moved)


def test_a_share_of_the_examples_has_no_pedals_and_the_rest_is_as_before(pool):
    plain, some = (Examples(SMALL.but(dry_share=share), [pool]) for share in (0.0, 0.5))
    emptied = [k for k in range(40) if some.draw(k).chain != plain.draw(k).chain]
    assert 8 <= len(emptied) <= 32
    assert not any(some.draw(k).chain.steps for k in emptied)
    tokens = some[emptied[0]]["tokens"]
    assert tokens[tokens != PAD].tolist() == SMALL.net.tokens.encode(Chain())


@pytest.mark.parametrize("use_dry", [False, True])
def test_it_trains_with_the_dry_sound_and_without(use_dry, pool):
    config = SMALL.but(use_dry=use_dry)
    examples = Examples(config, [pool])
    assert examples[0]["features"].shape == model.feature_shape(config.sound)
    network = pedal_order.build(config)
    loss, figures = sequence_loss(network, collated(examples, range(4)))
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert [name for name, g in gradients.items() if not (g.any() and g.isfinite().all())] == []
    weighted = config.net.knob_weight * figures["knob_nats"]
    weighted += config.net.hint_weight * figures["hint_nats"]
    assert loss.item() == pytest.approx(figures["order_nats"] + weighted, rel=1e-5)


@pytest.mark.usefixtures("tiny_codec")
def test_codes_are_read_as_the_sound_that_the_codec_decodes():
    audio = torch.from_numpy(noise(1, 1.0))[None]
    audio *= 0.1 / audio.square().mean().sqrt()
    tiny = model.codec()
    decoded = {"codes": tiny.round_trip(audio, RATE), "latents": tiny.unquantised(audio, RATE)}
    for front_end, sound in decoded.items():
        plain = model.features(audio[0], SOUND)
        found = model.features(audio[0], SMALL.but(front_end=front_end).sound)
        level = sound.square().mean().sqrt() / 0.1  # which is set before coding, not after
        wanted = model.features(sound[0], SOUND) + float(20 * level.log10()) / 20
        assert torch.allclose(found, wanted, atol=1e-3)
        assert not torch.allclose(found, plain, atol=0.1)


@pytest.mark.usefixtures("tiny_codec")
@pytest.mark.parametrize("front_end", ["mel", "codes"])
def test_features_ignore_the_level(front_end):
    sound = SMALL.but(front_end=front_end).sound
    audio = torch.from_numpy(noise(1, 1.0))
    loud = model.features(audio, sound)
    soft = model.features(0.01 * audio, sound)
    # Rounding may move a code across the border of two.
    assert torch.isclose(loud, soft, atol=1e-2).float().mean() > 0.95
    assert model.features(torch.zeros(1, SOUND.samples), sound).isfinite().all()


def test_a_folder_of_ones_own_is_a_source_beside_the_others(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for k in range(12):
        write_audio(folder / f"take{k}.wav", noise(k, 0.1, channels=2), RATE)
    pools = dry_pools(SMALL, Data(("generated",), folder=folder))
    others = [GeneratedGuitars().groups(split) for split in ("validation", "test")]
    assert not any(pools[0].clip(5).source_id in groups for groups in others)
    own = {pools[1].clip(k).source_id for k in range(40)}
    assert own == set(AudioFolder(folder).groups("train"))
    assert not own & set(AudioFolder(folder).groups("validation"))
    kinds = {Examples(SMALL, pools).draw(k).clip.kind for k in range(6)}
    assert kinds == {"generated", "real"}


def test_confident_chains_of_unlabelled_recordings_are_learnt(small, tmp_path, monkeypatch, capsys):
    takes = tmp_path / "takes"
    takes.mkdir()
    write_audio(takes / "noise.wav", noise(1, 6.0, channels=2), 2 * RATE)
    write_audio(takes / "silence.wav", np.zeros((1, RATE), "f"), RATE)
    with pytest.raises(AudioError, match="start from a trained network"):
        train.pseudo_labels(small, takes)
    monkeypatch.setattr(train, "MIN_PROBABILITY", 0.0)
    (label,) = train.pseudo_labels(small, takes)
    assert "1 of 2 recordings have a confident chain" in capsys.readouterr().out
    assert label.clips.shape == (5, 32, 44)  # 3 s in windows of 1 s, half a window apart
    data = Data(("generated",), unlabelled=takes)
    judging = pedal_order.build(SMALL)
    judging.judge_out.fill_(1.0)
    start = tmp_path / "start.safetensors"
    pedal_order.save(judging, start)
    trained = SYSTEM.train(SMALL.but(steps=1), tmp_path / "run", data=data, start=start)
    assert all(weight.isfinite().all() for weight in trained.parameters())
    assert judging.can_judge
    assert not trained.can_judge  # that was fitted to other weights


def test_the_exam_of_an_untrained_network(small, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    rows = SYSTEM.score(small, n=24, n_floor=48, sources=("generated",), protocols=("three", "six"))
    found = {(row.protocol, row.metric): row for row in rows}
    exact = found["three", "exact chain"]
    assert exact.ours < 0.5 < exact.oracle <= 1
    assert exact.low <= exact.ours <= exact.high
    assert (exact.n, found["three", "macro F1"].n) == (24, 24)
    assert exact.prior >= 1 / 24
    for row in rows:
        if row.metric != "calibration error":
            for other in (row.chance, row.prior, row.floor, row.control):
                assert 0 <= other <= 1
    assert found["six", "exact chain"].reference is None
    assert 0 <= found["six", "calibration error"].ours <= 1


def test_the_windows_of_longer_clips_vote(small, monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    seconds = 2.5 * SMALL.sound.seconds
    size = {"n": 6, "sources": ("generated",), "protocols": ("three",)}
    (row,) = SYSTEM.score(small, **size, seconds=seconds)
    assert (row.metric, row.n) == (f"exact chain, {seconds:g} s", 6)
    longer = replace(small.config.sound, seconds=seconds)
    examples = examples_for_scoring(longer, PROTOCOLS["three"], "generated", 6, seed=1)
    said = [
        canonical_names(
            pedal_order.predict(small, e.wet, small.config.sound.sample_rate).chain.names
        )
        for e in examples
    ]
    right = [e.chain.names == names for e, names in zip(examples, said, strict=True)]
    assert row.ours == np.mean(right)
    with pytest.raises(ValueError, match="seconds must be above"):
        SYSTEM.score(small, **size, seconds=SMALL.sound.seconds)


@pytest.mark.usefixtures("real_data")
def test_what_is_chosen_is_chosen_on_instruments_of_validation(small):
    size = {"n": 8, "n_floor": 48, "protocols": ("three",), "split": "validation"}
    rows = SYSTEM.score(small, sources=("recorded", "behind", "real"), **size)
    assert {row.sources for row in rows} == {"recorded", "behind"}
    heard, coded = (
        examples_for_scoring(
            small.config.sound, PROTOCOLS["three"], kind, 8, seed=1, split="validation"
        )
        for kind in ("recorded", "behind")
    )
    named = set(recorded_groups("validation"))
    assert {example.source_id.removeprefix("recorded/") for example in heard} <= named
    assert [one.chain for one in heard] == [one.chain for one in coded]
    assert not all(np.array_equal(a.wet, b.wet) for a, b in zip(heard, coded, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TOKENS.decode([START, 5, SEPARATOR, 4, END]), "has 1 knobs and an end"),
        (lambda: TOKENS.decode([5, SEPARATOR, 12, END]), "a sequence is start"),
        (lambda: TOKENS.encode(Chain((Step("gain", {"gain_db": 0.0}),))), "5 distinct pedals"),
        (lambda: SMALL.but(protocols=("four",)), "protocols must be among"),
        (lambda: SMALL.but(front_end="wave"), "front_end must be mel, codes or latents, got 'wav"),
        (lambda: SMALL.but(n_devices=3), "n_devices must divide batch_size 4, got 3"),
        (lambda: model.features(torch.zeros(1, 9), DRY.sound), r"dry must be \(1, 9\), got none"),
        (lambda: dry_pools(SMALL, Data(())), "at least one source of dry sound, got none"),
        (lambda: dry_pools(SMALL, Data((), folder="nowhere")), "nowhere: no folder with files"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
