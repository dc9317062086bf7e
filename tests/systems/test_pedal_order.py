"""Pedal order end to end: examples, decoding, learning, checkpoint, and anybody's recording."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain
from labkit.learn.checkpoints import CheckpointError
from labkit.signal.files import AudioError, AudioFileError, write_audio
from labkit.signal.pool import build_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import AudioFolder, Clip, GeneratedGuitars
from labkit.systems import pedal_order
from labkit.systems.pedal_order import baselines, decode, unlabelled
from labkit.systems.pedal_order.data import Examples, render, targets, vary
from labkit.systems.pedal_order.front_ends import picture
from labkit.systems.pedal_order.predict import windows
from labkit.systems.pedal_order.tokens import END, PAD
from labkit.systems.pedal_order.train import begin_from, hint_loss, sequence_loss

SMALL = pedal_order.Config(
    seconds=1.0,
    n_mels=32,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    n_examples=6,
    dropout=0.0,
    steps=4,
    batch_size=4,
    n_workers=0,
    warmup_steps=2,
)
RATE = SMALL.sample_rate


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "dry.npy"
    return build_pool(path, GeneratedGuitars(seconds=1.5, sample_rate=RATE), "train", 12, 0)


@pytest.fixture(scope="module")
def small():
    return pedal_order.build(SMALL).eval()


def test_an_example_depends_on_its_number_alone(pool):
    examples = Examples(SMALL, [pool], 3)
    one, again, other = examples[5], Examples(SMALL, [pool], 3)[5], examples[4]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["picture"], other["picture"])
    assert one["picture"].shape == (32, 1 + SMALL.samples // SMALL.hop_length)
    assert one["picture"].dtype == torch.float32


def test_labels_name_what_does_the_same_at_the_usual_level(pool):
    config = replace(SMALL, protocols=("six",), n_examples=40, mask=0.0, tilt_db=0.0)
    examples, compared = Examples(config, [pool], 3), 0
    shifts = [examples._drawn(k).shift_db for k in range(40)]
    assert -12 <= min(shifts) < -8
    assert 8 < max(shifts) <= 12
    for k in range(40):
        draw = examples._drawn(k)
        label = draw.label
        assert torch.equal(
            examples[k]["tokens"], targets(config, label, draw.protocol.pedals)["tokens"]
        )
        moved = label != draw.chain
        assert moved == any(name in label.names for name in ("compressor", "distortion"))
        if (
            moved and label.input_referred(-draw.shift_db) == draw.chain
        ):  # no knob stopped at its end
            given = {"training": True, "chain": label}
            again = render(
                config, draw.pool.clip(draw.clip), draw.protocol, examples._drawn(k).rng, **given
            )
            np.testing.assert_allclose(
                picture(torch.from_numpy(again.wet[0]), config), examples[k]["picture"], atol=0.05
            )
            compared += 1
    assert compared >= 5


def test_a_run_that_goes_on_hears_other_examples(pool):
    first, behind = Examples(SMALL, [pool], 3), Examples(replace(SMALL, first_example=4), [pool], 3)
    assert torch.equal(first[5]["tokens"], behind[1]["tokens"])
    assert first._drawn(1).chain != behind._drawn(1).chain


def test_the_cache_gives_what_was_rendered_and_later_rounds_vary_it(pool, tmp_path):
    plain, cached = Examples(SMALL, [pool], 3), Examples(SMALL, [pool], 3).cached(tmp_path)
    for _ in range(2):
        for index in range(12):
            one, two = plain[index], cached[index]
            assert all(torch.equal(one[key], two[key]) for key in one)
    rounds = [
        [tuple(cached[turn * 6 + i]["tokens"].tolist()) for i in range(6)] for turn in range(3)
    ]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(rounds[2])
    assert rounds[1] != rounds[2]
    mine = rounds[1].index(rounds[0][0])
    assert not torch.equal(cached[0]["picture"], cached[6 + mine]["picture"])
    with pytest.raises(ValueError, match="holds arrays of shape"):
        Examples(replace(SMALL, n_examples=7), [pool], 3).cached(tmp_path)


def test_variation_tilts_and_hides_one_stripe_each_way():
    config = replace(SMALL, mask=0.25, tilt_db=6.0)
    for seed in range(20):
        mel = torch.ones(32, 44)
        vary(mel, config, generator(seed))
        hidden = mel == 0
        assert hidden.all(1).sum() <= 8
        assert hidden.all(0).sum() <= 11
        kept = mel[~hidden.all(1)][:, ~hidden.all(0)]
        assert (kept[:, :1] == kept).all()
        # 6 dB on a scale of 20 dB.
        assert (kept - 1).abs().max() <= 0.3 + 1e-6


def test_hints_are_scored_by_hand():
    """Two pedals of three, the second before the first; all logits 0: 3 ln 2 for presence, and ln 2 for the pair."""
    place, shelf = torch.tensor([[1, 0, -1]]), torch.ones(1, 3)
    assert hint_loss(torch.zeros(1, 3, 4), place, shelf).item() == pytest.approx(
        4 * np.log(2), rel=1e-6
    )
    shelf[0, 2] = 0.0  # nobody asks for a pedal that is not on the shelf
    assert hint_loss(torch.zeros(1, 3, 4), place, shelf).item() == pytest.approx(
        3 * np.log(2), rel=1e-6
    )
    sure = torch.zeros(1, 3, 4)
    sure[0, :, 0] = torch.tensor([30.0, 30.0, -30.0])
    sure[0, 1, 1] = 30.0  # pedal 1 before pedal 0
    sure[0, 0, 2] = -30.0
    assert hint_loss(sure, place, torch.ones(1, 3)).item() == pytest.approx(0.0, abs=1e-6)


def test_fixed_knobs_stay_and_the_others_move():
    three, wide = pedal_order.PROTOCOLS["three"], pedal_order.PROTOCOLS["wide"]
    rng = generator(0, "knobs")
    drawn = [
        step.params for _ in range(60) for step in three.draw(rng).steps if step.effect == "chorus"
    ]
    assert {(p["rate_hz"], p["depth"], p["centre_delay_ms"], p["feedback"]) for p in drawn} == {
        (1.0, 0.25, 7.0, 0.0)
    }
    assert len({p["mix"] for p in drawn}) == len(drawn)
    drawn = [
        step.params for _ in range(60) for step in wide.draw(rng).steps if step.effect == "chorus"
    ]
    assert len({p["depth"] for p in drawn}) == len(drawn)


def test_the_wet_sound_is_the_chain_on_the_dry_sound(pool):
    protocol = pedal_order.PROTOCOLS["six"]
    for index in range(6):
        example = render(
            SMALL, pool.clip(index), protocol, generator(0, "t", index), training=False
        )
        assert example.wet.shape == (1, SMALL.samples)
        assert np.array_equal(example.apply(example.chain, RATE), example.wet)
        level = 10 * np.log10(np.mean(np.square(example.dry, dtype=np.float64)))
        assert level == pytest.approx(-20.0, abs=0.01)
        assert example.chain.canonical() == example.chain


def test_a_short_clip_or_another_rate_is_refused():
    protocol = pedal_order.PROTOCOLS["three"]
    for clip in (
        Clip(np.zeros((1, 10), "f"), RATE, "x", "real"),
        Clip(np.zeros((1, 99_999), "f"), 8000, "x", "real"),
    ):
        with pytest.raises(ValueError, match="a clip must hold 44100 samples at 44100 Hz"):
            render(SMALL, clip, protocol, generator(0), training=False)


def test_targets_are_padded_sentences():
    made = targets(SMALL, Chain(), ("delay",))
    assert made["tokens"].tolist()[:3] == [1, 2, END]
    assert set(made["tokens"].tolist()[3:]) == {PAD}
    assert made["shelf"].tolist() == [0, 0, 0, 0, 1, 0]


def test_the_picture_ignores_level():
    audio = torch.randn(1, SMALL.samples)
    # Float32 rounding of a division; 1e-3 of the unit is 0.02 dB.
    torch.testing.assert_close(
        picture(audio, SMALL), picture(audio * 0.01, SMALL), atol=1e-3, rtol=0
    )
    assert picture(torch.zeros(1, SMALL.samples), SMALL).isfinite().all()


def test_decoding_agrees_with_scoring_every_chain(small):
    """Beam search wide enough for all 16 chains gives the model's own distribution, which sums to one."""
    picture_ = torch.randn(1, 32, 44)
    found = decode.decode(small, picture_, pedal_order.THREE, beams=40)
    assert len(found.alternatives) == 16
    assert sum(share for _, share in found.alternatives) == pytest.approx(1.0, abs=1e-6)
    shares = [share for _, share in found.alternatives]
    assert shares == sorted(shares, reverse=True)
    assert found.probability == shares[0]
    assert found.chain.names == found.alternatives[0][0]
    assert found.presence("reverb") == pytest.approx(
        sum(s for names, s in found.alternatives if "reverb" in names)
    )


def test_every_device_decodes_the_same(small, device):
    heard = torch.randn(2, 32, 44, generator=torch.manual_seed(1))
    here = decode.decode(small, heard, pedal_order.SIX)
    there = decode.decode(copy.deepcopy(small).to(device), heard, pedal_order.SIX)
    assert there.chain.names == here.chain.names
    # Float32 sums in another order.
    assert there.probability == pytest.approx(here.probability, rel=1e-3)


def test_a_shelf_of_one_is_respected(small):
    for seed in range(5):
        found = decode.decode(
            small, torch.randn(2, 32, 44, generator=torch.manual_seed(seed)), ("phaser",)
        )
        assert found.chain.names in {(), ("phaser",)}
    with pytest.raises(ValueError, match="shelf must name pedals among"):
        decode.decode(small, torch.randn(1, 32, 44), ("wah",))


def test_every_trainable_weight_moves(pool):
    model = pedal_order.build(SMALL)
    before = {name: p.clone() for name, p in model.named_parameters()}
    batch = torch.utils.data.default_collate(
        [Examples(replace(SMALL, n_examples=8), [pool], 0)[i] for i in range(8)]
    )
    loss, figures = sequence_loss(SMALL)(model, batch)
    loss.backward()
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    assert [name for name, p in model.named_parameters() if torch.equal(before[name], p)] == []
    weighted = SMALL.knob_weight * figures["knob_nats"] + SMALL.hint_weight * figures["hint_nats"]
    assert loss.item() == pytest.approx(figures["order_nats"] + weighted, rel=1e-5)


def test_a_fresh_model_starts_at_the_uniform_loss(pool, small):
    """Before training, each order token costs about ln(26), the size of the vocabulary."""
    batch = torch.utils.data.default_collate(
        [Examples(replace(SMALL, n_examples=12), [pool], 0)[i] for i in range(12)]
    )
    with torch.no_grad():
        _, figures = sequence_loss(SMALL)(small, batch)
    words = batch["tokens"]
    per_chain = ((words == 2).int().argmax(1)).float().mean().item()
    assert figures["order_nats"] / per_chain == pytest.approx(np.log(26), abs=0.7)


def test_checkpoints_round_trip_and_bad_ones_are_named(small, tmp_path):
    path = tmp_path / "model.safetensors"
    digest = pedal_order.save(small, path)
    again = pedal_order.load(path)
    assert len(digest) == 64
    assert again.config == SMALL
    for (name, a), (_, b) in zip(
        small.state_dict().items(), again.state_dict().items(), strict=True
    ):
        # Half precision keeps 11 bits.
        torch.testing.assert_close(a, b, rtol=2**-11, atol=1e-7, msg=name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        pedal_order.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        pedal_order.load(path)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_any_recording_gets_a_chain(small, channels, rate):
    audio = np.random.default_rng(0).normal(0, 0.05, (channels, rate)).astype(np.float32)
    found = pedal_order.predict(small, audio, rate)
    assert set(found.chain.names) <= set(pedal_order.THREE)
    assert 0 < found.probability <= 1


def test_training_goes_on_from_a_checkpoint_with_fresh_guitars_of_its_own(small, tmp_path):
    path = tmp_path / "old.safetensors"
    pedal_order.save(small, path)
    config = replace(
        SMALL,
        steps=1,
        n_examples=SMALL.batch_size,
        learning_rate=1e-12,
        weight_decay=0.0,
        n_workers=0,
    )
    trained = pedal_order.train(config, tmp_path / "run", kinds=("generated",), start=path)
    old = pedal_order.load(path).state_dict()
    for name, weight in trained.named_parameters():
        torch.testing.assert_close(weight.detach(), old[name], rtol=0, atol=1e-9)
    fresh = (
        pedal_order.examples(config, "train", 0, kinds=("generated",)).pools[0].clip(5).source_id
    )
    assert fresh not in {
        name for split in ("validation", "test") for name in GeneratedGuitars().groups(split)
    }
    with pytest.raises(ValueError, match="another config"):
        pedal_order.train(config, tmp_path / "run", kinds=("generated",))


def test_a_folder_of_ones_own_is_a_source_beside_the_others(tmp_path):
    (tmp_path / "own").mkdir()
    for k in range(12):
        noise = 0.1 * np.random.default_rng(k).standard_normal((2, 3000)).astype(np.float32)
        write_audio(tmp_path / "own" / f"take{k}.wav", noise, RATE)
    made = pedal_order.examples(SMALL, "train", 0, kinds=("generated",), folder=tmp_path / "own")
    own = {made.pools[1].clip(k).source_id for k in range(40)}
    assert own == set(AudioFolder(tmp_path / "own").groups("train"))
    assert not own & set(AudioFolder(tmp_path / "own").groups("validation"))
    assert {made._drawn(k).pool is made.pools[1] for k in range(6)} == {True, False}
    config = replace(SMALL, steps=1)
    trained = pedal_order.train(config, tmp_path / "run", kinds=(), folder=tmp_path / "own")
    assert all(weight.isfinite().all() for weight in trained.parameters())
    with pytest.raises(ValueError, match="holds a run with another config"):
        pedal_order.train(config, tmp_path / "run", kinds=("generated",))


def test_recordings_without_labels_teach_what_they_are_sure_of(small, pool, tmp_path):
    rng = np.random.default_rng(1)
    sounds = [
        (0.1 * rng.standard_normal((2, 3 * RATE)).astype(np.float32), 2 * RATE),
        (np.zeros((1, RATE), "f"), RATE),
    ]
    found = unlabelled.heard(small, sounds, shelf=pedal_order.THREE, most_windows=2)
    assert [len(one.pictures) for one in found] == [2]  # nothing is heard in silence
    voted = decode.decode(small, found[0].pictures, pedal_order.THREE)
    assert (found[0].chain, found[0].probability) == (voted.chain, voted.probability)
    sure, unsure = (
        replace(found[0], probability=p) for p in (unlabelled.SURE, unlabelled.SURE - 0.01)
    )
    made = Examples(SMALL, [pool], 3)
    both = unlabelled.Beside(made, [unsure, sure], 5)
    assert both.kept == [sure]
    plain = unlabelled.targets(SMALL, sure.chain, pedal_order.THREE)
    for index in range(8):
        item = both[index]
        if index % 2 == 0:
            assert torch.equal(item["picture"], made[index // 2]["picture"])
        else:
            assert torch.equal(item["tokens"], plain["tokens"])
            assert torch.equal(item["picture"], both[index]["picture"])
            assert not any(torch.equal(item["picture"], picture) for picture in sure.pictures)
    assert both.digest != unlabelled.Beside(made, [replace(sure, shelf=pedal_order.SIX)], 5).digest
    with pytest.raises(
        AudioError, match=r"of 1 recordings none is heard with a probability of 0\.5"
    ):
        unlabelled.Beside(made, [unsure], 5)
    config = replace(SMALL, steps=1)
    trained = pedal_order.train(config, tmp_path / "run", kinds=("generated",), recordings=[sure])
    assert all(weight.isfinite().all() for weight in trained.parameters())
    with pytest.raises(ValueError, match="another config"):
        pedal_order.train(config, tmp_path / "run", kinds=("generated",))


@pytest.mark.parametrize("missing", [{"kinds": ()}, {"kinds": (), "folder": "nowhere"}])
def test_training_without_a_source_says_so(missing, tmp_path):
    with pytest.raises(
        (ValueError, AudioFileError),
        match=r"a folder of audio files was expected|at least one source",
    ):
        pedal_order.train(SMALL, tmp_path, **missing)


def test_a_deeper_model_begins_where_a_shallower_one_stands(small):
    deeper = pedal_order.build(replace(SMALL, encoder_layers=3, decoder_layers=2, seed=9)).eval()
    heard = torch.randn(2, SMALL.n_mels, 1 + SMALL.samples // SMALL.hop_length)
    shelf, words = torch.ones(2, 6), torch.tensor([[1, 5, 6]]).expand(2, -1)
    with torch.no_grad():
        assert not torch.allclose(
            deeper(heard, shelf, words)[0], small(heard, shelf, words)[0], atol=1e-2
        )
        begin_from(deeper, small)
        for ours, theirs in zip(
            deeper(heard, shelf, words), small(heard, shelf, words), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    deeper.train()
    deeper(heard, shelf, words)[0].square().mean().backward()
    last = deeper.encoder.layers[-1]
    assert last.attention.output.weight.grad.abs().max() > 0
    assert last.feed_forward[-1].weight.grad.abs().max() > 0
    with pytest.raises(RuntimeError, match="lacks: "):
        begin_from(small, deeper)
    with pytest.raises(RuntimeError, match="size mismatch"):
        begin_from(pedal_order.build(replace(SMALL, width=64)), small)


def test_bad_recordings_are_named(small):
    for audio, message in (
        (np.zeros((1, 44100), "f"), "silent"),
        (np.full((1, 100), np.nan, "f"), "(?i)nan|finite"),
        (np.zeros((1, 0), "f"), "(?i)empty|no samples"),
    ):
        with pytest.raises(AudioError, match=message):
            pedal_order.predict(small, audio, 44100)


def test_windows_cover_the_recording_and_leave_out_silence():
    audio = np.concatenate([np.zeros((1, 40)), np.ones((1, 60))], axis=1).astype("f")
    cut = windows(audio, 10, most=8)
    assert cut.shape[1] == 10
    assert (np.abs(cut).max(1) > 0).all()
    assert windows(np.ones((1, 4), "f"), 10, most=8).shape == (1, 10)


def test_recreate_plays_the_chain_at_the_trained_level(small):
    audio = np.random.default_rng(0).normal(0, 0.003, (2, 30_000)).astype(np.float32)
    found = pedal_order.predict(small, audio, 44100)
    wet = pedal_order.recreate(found, audio, 44100)
    assert wet.shape == audio.shape
    assert np.isfinite(wet).all()
    assert np.abs(wet).max() <= 1.0
    with pytest.raises(AudioError, match="silent"):
        pedal_order.recreate(found, np.zeros((1, 100), "f"), 44100)


def test_the_prior_is_enumerated():
    """Three pedals: 16 equal chains, ln 16. Six: a Monte-Carlo estimate of the commonest chain agrees."""
    three, six = (pedal_order.PROTOCOLS[name] for name in ("three", "six"))
    assert baselines.prior_nats(three) == pytest.approx(np.log(16))
    prior = baselines.canonical_prior(six)
    assert sum(prior.values()) == pytest.approx(1.0)
    # Length 1, then one of six; no longer chain is more probable, though delay and reverb may be swapped.
    assert next(iter(prior.values())) == pytest.approx(1 / 30)
    rng = generator(0, "prior")
    drawn = [baselines.canonical_names(six.sampler.order(rng)) for _ in range(3000)]
    assert np.mean([names == ("delay", "reverb") for names in drawn]) == pytest.approx(
        2 / 150, abs=0.008
    )
    assert prior["delay", "reverb"] == pytest.approx(2 / 150)
    assert ("reverb", "delay") not in prior
    with pytest.raises(ValueError, match="prior must be subsets or shuffled"):
        baselines.canonical_prior(replace(six, prior="realistic"))


def test_every_figure_of_an_untrained_network_is_there_and_none_is_good(
    small, tmp_path, monkeypatch
):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    options = {
        "n": 24,
        "n_floor": 60,
        "sources": ("generated",),
        "protocols": ("three",),
        "say": lambda _line: None,
    }
    rows = {row.metric: row for row in pedal_order.evaluate(small, **options)}
    assert {
        "exact chain",
        "right set",
        "Levenshtein",
        "macro F1",
        "exact chain, raw order",
    } <= set(rows)
    assert {
        "exact chain, dry -12 dB",
        "exact chain, dry +12 dB",
        "median SI-SDR re-rendered",
    } <= set(rows)
    inert = "clips with an inert pedal"
    assert (
        rows[f"{inert}, dry +12 dB"].ours <= rows[inert].ours <= rows[f"{inert}, dry -12 dB"].ours
    )
    assert (rows["exact chain, 8 s heard"].n, rows["exact chain, dry +12 dB"].n) == (8, 24)
    assert {"macro F1, 8 s heard", "Levenshtein, 8 s heard"} <= set(rows)
    assert rows["exact chain"].ours < 0.5 < rows["exact chain"].oracle <= 1
    assert rows["exact chain, raw order"].ours <= rows["exact chain"].ours
    assert 0 <= rows["clips with an inert pedal"].ours < 0.5
    assert rows["exact chain, inert pedals left out"].ours >= rows["exact chain"].ours


def test_the_oracle_cannot_tell_delay_from_reverb_but_tells_drive(pool):
    """Canonical orders merge delay and reverb already; distortion and delay differ by ear, so the oracle is sure."""
    from labkit.effects.chain import Step

    drive = Step("distortion", {"drive_db": 25.0})
    delay = Step("delay", {"delay_seconds": 0.2, "feedback": 0.4, "mix": 0.5})
    clip, protocol = pool.clip(0), pedal_order.PROTOCOLS["six"]
    example = render(SMALL, clip, protocol, generator(0), training=False)
    chain = Chain((drive, delay))
    known = replace(example, chain=chain, wet=chain.render(example.dry, RATE)[:, -SMALL.samples :])
    assert baselines.oracle_share(SMALL, known) == 1.0
    assert baselines.inert_pedals(SMALL, known) == set()
    settings = {"threshold_db": -20.0, "ratio": 2.0, "attack_ms": 80.0, "release_ms": 40.0}
    inert = Chain((Step("compressor", settings), delay))
    quiet = example.dry * np.float32(1e-3)
    silent = replace(
        example, dry=quiet, chain=inert, wet=inert.render(quiet, RATE)[:, -SMALL.samples :]
    )
    assert baselines.oracle_share(SMALL, silent) == 0.5
    assert baselines.inert_pedals(SMALL, silent) == {"compressor"}
    assert baselines.without(("reverb", "compressor", "distortion"), {"compressor"}) == (
        "reverb",
        "distortion",
    )
