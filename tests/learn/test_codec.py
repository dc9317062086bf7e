"""The codec: its face, files, laws, training and scores, on a network small enough to run in no time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.learn import codec as codecs
from labkit.learn import codec_scores
from labkit.learn.checkpoints import CheckpointError
from labkit.learn.codec import CodecConfig, CodeEmbedding, build, load, official, save
from labkit.learn.codec_scores import (
    clips,
    evaluate,
    mel_distance_db,
    mel_griffin_lim,
    mu_law,
    scores,
)
from labkit.learn.codec_training import CodecClips, Recipe, Trainee, codec_loss, standardise, train
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator

RATE = 22_050
SMALL = CodecConfig(RATE, (2, 4, 8), 4, 16, 32, n_codebooks=3, codebook_size=32, codebook_dim=4)
RECIPE = Recipe(
    kinds=("generated",), clip_seconds=0.5, seconds=0.2, steps=16, batch_size=2, warmup_steps=1
)


@pytest.fixture(scope="module")
def small():
    return build(SMALL, seed=1).eval()


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch_generator(seed, "codec test"))


# The face


def test_sizes_by_hand():
    ours, descript = CodecConfig(), CodecConfig(44_100, (2, 4, 8, 8), 64, 1024, 1536, 9)
    assert ours.hop_length == descript.hop_length == 512
    assert ours.bits_per_second() == pytest.approx(8 * 10 * 44_100 / 512)
    assert ours.bits_per_second(1) == pytest.approx(861.328125)
    assert descript.bits_per_second() == pytest.approx(7751.953125)  # "8 kbps"


def test_the_embedded_codec_fits_into_10_megabytes():
    with torch.device("meta"):
        parameters = sum(p.numel() for p in codecs.Codec(CodecConfig()).parameters())
    assert 2 * parameters < 10e6


@pytest.mark.parametrize(
    ("sample_rate", "samples"), [(RATE, 1), (RATE, 63), (RATE, 64), (44_100, 1000), (8000, 999)]
)
def test_round_trip_keeps_shape_at_any_rate(small, sample_rate, samples):
    audio = noise(2, 2, samples)
    out = small.round_trip(audio, sample_rate)
    assert out.shape == audio.shape
    assert torch.isfinite(out).all()
    frames = math.ceil(math.ceil(samples * RATE / sample_rate) / 64)
    assert small.encode(audio, sample_rate).shape == (4, 3, frames)
    assert small.latents(audio, sample_rate).shape == (4, 16, frames)


def test_channels_are_folded_into_the_batch(small):
    audio = noise(2, 3, 640)
    alone = [small.encode(audio[i : i + 1, c : c + 1], RATE) for i in range(2) for c in range(3)]
    assert torch.equal(small.encode(audio, RATE), torch.cat(alone))


def test_fewer_codebooks_are_a_prefix(small):
    audio = noise(1, 1, 6400)
    codes = small.encode(audio, RATE)
    assert torch.equal(small.encode(audio, RATE, n_codebooks=2), codes[:, :2])
    one, all_three = small.decode(codes[:, :1], 6400), small.decode(codes, 6400)
    assert torch.equal(one, small.decode(codes, 6400, books=[0]))
    assert torch.equal(all_three, small.decode(codes, 6400, books=[0, 1, 2]))
    assert not torch.allclose(one, all_three)
    assert torch.equal(small.round_trip(audio, RATE, n_codebooks=1), one)


def test_the_quantiser_is_a_residual_one(small):
    """Each book's word, in the network's own space, lies nearest in direction to what the books before it left."""
    left = small.latents(noise(1, 1, 3200), RATE)
    codes = small.encode(noise(1, 1, 3200), RATE)
    for k, stage in enumerate(small.network.quantizer.quantizers):
        looked_up = torch.nn.functional.normalize(stage.in_proj(left)[0], dim=0)
        best = (torch.nn.functional.normalize(stage.codebook.weight) @ looked_up).argmax(0)
        assert torch.equal(best, codes[0, k])
        left = left - stage.out_proj(stage.decode_code(codes[:, k]))


def test_a_frame_hears_no_further_than_its_context(small):
    audio = noise(1, 1, 64 * 64).requires_grad_()
    small.network.encoder(audio)[0, :, 32].sum().backward()
    heard = audio.grad[0, 0].nonzero()[:, 0]
    frames = SMALL.context_frames
    assert heard[0] >= (32 - frames) * 64
    assert heard[-1] < (33 + frames) * 64
    assert heard[-1] - heard[0] > 2 * (frames - 2) * 64  # and the bound is not idle


def test_chunks_with_context_give_the_codes_of_the_whole(small):
    audio = noise(1, 1, 64 * 150)
    whole = small.encode(audio, RATE)
    alone = small.encode_in_chunks(audio, RATE, chunk_frames=20, context_frames=0)
    joined = small.encode_in_chunks(audio, RATE, chunk_frames=20)
    assert joined.shape == alone.shape == whole.shape
    # A convolution of another length may add up in another order, and turn a tie: none in 450 codes is expected.
    assert (joined != whole).float().mean() < 0.01
    assert (alone != whole).float().mean() > 0.05
    middle = alone.reshape(1, 3, -1)[..., 10::20]
    assert (middle != whole[..., 10::20]).float().mean() < (
        alone[..., ::20] != whole[..., ::20]
    ).float().mean()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda c: c.encode(torch.zeros(1, 1, 8, dtype=torch.int16), RATE),
            TypeError,
            "got torch.int16",
        ),
        (lambda c: c.encode(np.zeros((1, 1, 8)), RATE), TypeError, "float tensor"),
        (lambda c: c.encode(torch.zeros(8), RATE), ValueError, r"got \(8,\)"),
        (lambda c: c.encode(torch.zeros(1, 1, 0), RATE), ValueError, "none of them 0"),
        (lambda c: c.encode(torch.full((1, 1, 8), math.nan), RATE), ValueError, "finite"),
        (lambda c: c.encode(torch.zeros(1, 1, 8), 0), ValueError, "sample_rate"),
        (
            lambda c: c.encode(torch.zeros(1, 1, 8), RATE, n_codebooks=4),
            ValueError,
            r"1\.\.3, got 4",
        ),
        (
            lambda c: c.encode_in_chunks(torch.zeros(1, 1, 8), RATE, chunk_frames=0),
            ValueError,
            "chunk_frames >= 1",
        ),
        (lambda c: c.decode(torch.zeros(1, 3, 2), 8), TypeError, "integer tensor"),
        (lambda c: c.decode(torch.zeros(1, 4, 2).long(), 8), ValueError, r"got \(1, 4, 2\)"),
        (lambda c: c.decode(torch.full((1, 1, 2), 32), 8), ValueError, r"0\.\.31, got 32\.\.32"),
        (
            lambda c: c.decode(torch.zeros(1, 1, 2).long(), 129),
            ValueError,
            r"1\.\.128 for 2 frames, got 129",
        ),
        (lambda c: c.decode(torch.zeros(1, 1, 2).long(), 8, books=[1]), ValueError, r"rows 0\.\.0"),
    ],
)
def test_bad_input_is_named(small, call, error, words):
    with pytest.raises(error, match=words):
        call(small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rates": (2, 3)}, r"even strides >= 2, got \(2, 3\)"),
        ({"decoder_dim": 20}, "divisible by 8, got 20"),
        ({"n_codebooks": 0}, "n_codebooks must be at least 1"),
        ({"codebook_size": 1}, "codebook_size >= 2"),
        ({"sample_rate": 0}, "sample_rate"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **change)


def test_codes_are_names(small):
    """Renaming the words, with their vectors, changes nothing; adding one to every name changes everything."""
    embedding = CodeEmbedding(3, 32, 10)
    codes = small.encode(noise(1, 1, 2000), RATE) % 31
    out = embedding(codes)
    assert out.shape == (1, codes.shape[2], 10)
    by_hand = sum(embedding.table.weight[32 * k + codes[0, k]] for k in range(3))
    assert torch.allclose(out[0], by_hand, atol=1e-6)
    names = torch.randperm(32, generator=torch_generator(0, "names"))
    renamed = CodeEmbedding(3, 32, 10)
    with torch.no_grad():
        renamed.table.weight.view(3, 32, 10)[:, names] = embedding.table.weight.view(3, 32, 10)
    assert torch.allclose(renamed(names[codes]), out, atol=1e-6)
    assert not torch.allclose(embedding(codes + 1), out, atol=0.1)
    assert embedding(codes[:, :2]).shape == out.shape
    for wrong in (codes.float(), codes + 32, codes[0], codes.repeat(1, 2, 1)):
        with pytest.raises(ValueError, match="codes must be"):
            embedding(wrong)


# Files


def test_a_saved_codec_comes_back(small, tmp_path):
    path = tmp_path / "codec.safetensors"
    assert len(save(small, path)) == 64
    again = load(path)
    assert again.config == SMALL
    assert not again.training
    assert list(tmp_path.iterdir()) == [path]
    audio = noise(1, 1, 2000)
    latents = small.latents(audio, RATE)
    # Half precision keeps eleven bits of each weight.
    assert (again.latents(audio, RATE) - latents).abs().max() < 0.01 * latents.abs().max()


def test_files_that_are_no_codec_are_named(small, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got codec\.pt"):
        save(small, tmp_path / "codec.pt")
    monkeypatch.setattr(codecs, "shipped_path", lambda: tmp_path / "none.safetensors")
    with pytest.raises(
        CheckpointError,
        match=r"no checkpoint at .*none\.safetensors: train one with `labkit train codec`",
    ):
        load()
    (tmp_path / "text.safetensors").write_text("not at all")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load(tmp_path / "text.safetensors")
    need("safetensors.torch").save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="holds None, expected a codec checkpoint"):
        load(tmp_path / "other.safetensors")


def test_official_weights_that_cannot_be_had_say_where_to_put_them(monkeypatch, tmp_path):
    def offline(*_):
        raise OSError("no network here")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(need("dac.utils"), "download", offline)
    with pytest.raises(
        CheckpointError,
        match=r"no network here.*https://github\.com/descriptinc/.*save it as .*44khz_8kbps",
    ):
        official()
    with pytest.raises(CheckpointError, match=r"no file .*mine\.pth.*save it as .*mine\.pth"):
        official(tmp_path / "mine.pth")
    (tmp_path / "mine.pth").write_bytes(b"half a download")
    with pytest.raises(CheckpointError, match="could not be had"):
        official(tmp_path / "mine.pth")


def test_official_weights_go_through_dacs_own_loader(small, tmp_path):
    """A file as descript publishes them, of a small network."""
    small.network.save(str(tmp_path / "weights.pth"), package=False)
    again = official(tmp_path / "weights.pth")
    assert replace(again.config, quantizer_dropout=0.5) == SMALL
    audio = noise(1, 1, 2000)
    assert torch.equal(again.encode(audio, RATE), small.encode(audio, RATE))


# Training


def test_clips_are_repeatable_and_within_full_scale():
    drawn = CodecClips(SMALL, RECIPE)
    one = drawn[3]["audio"]
    assert one.shape == (1, round(0.2 * RATE / 64) * 64)
    assert one.dtype == torch.float32
    assert torch.equal(one, CodecClips(SMALL, RECIPE)[3]["audio"])
    assert not torch.equal(one, drawn[4]["audio"])
    dry, wet = (
        CodecClips(SMALL, replace(RECIPE, wet_share=share))[3]["audio"] for share in (0.0, 1.0)
    )
    assert not torch.allclose(dry, wet, atol=1e-3)
    assert all(0 < drawn[i]["audio"].abs().max() < 1 for i in range(6))
    assert len(drawn) == 32


def test_expired_words_are_placed_on_frames_and_busy_ones_stay():
    trainee = Trainee(
        build(SMALL), replace(RECIPE, expire_after=10 / 32, word_rate=0.0)
    )  # ten frames: two batches
    stage = trainee.codec.network.quantizer.quantizers[1]
    codes = torch.full((1, 3, 5), 7)
    latents = torch.arange(60.0).reshape(1, 12, 5)
    frames = latents[0, 4:8].T
    trainee.renew(codes, latents)
    placed = stage.codebook.weight.detach().clone()
    others = torch.arange(32) != 7
    assert all((frames == word).all(1).any() for word in placed[others])
    for _ in range(2):
        trainee.renew(codes, latents + 1000)
        assert torch.equal(stage.codebook.weight, placed)
    trainee.renew(codes, latents + 1000)
    assert torch.equal(stage.codebook.weight[7], placed[7])
    assert (stage.codebook.weight[others] >= 1000).all()


def test_words_follow_the_frames_that_said_them():
    trainee = Trainee(build(SMALL), replace(RECIPE, expire_after=100.0, word_rate=0.1))
    trainee.idle.zero_()
    word = trainee.codec.network.quantizer.quantizers[2].codebook.weight
    before = word.detach().clone()
    latents = torch.arange(24.0).reshape(1, 12, 2)
    trainee.renew(torch.tensor([[[0, 0], [0, 0], [5, 5]]]), latents)
    by_hand = 0.9 * before[5] + 0.1 * torch.tensor([16.5, 18.5, 20.5, 22.5])
    assert torch.allclose(word[5], by_hand, atol=1e-5)
    others = torch.arange(32) != 5
    assert torch.equal(word[others], before[others])
    assert trainee.idle[2, 5] == 0
    assert (trainee.idle[2, others] == 2).all()


def test_a_fresh_encoder_is_brought_to_unit_frames():
    codec, audio = (
        build(SMALL),
        torch.stack([CodecClips(SMALL, RECIPE)[i]["audio"] for i in range(3)]),
    )
    assert codec.network.encoder(audio).std((0, 2)).max() < 0.5
    standardise(codec, audio)
    frames = codec.network.encoder(audio)
    assert frames.mean((0, 2)).abs().max() < 1e-3  # rounding, blown up by the scale
    assert torch.allclose(frames.std((0, 2)), torch.ones(16), atol=1e-3)


def test_training_moves_every_tensor_and_lowers_the_distance_on_a_new_clip(tmp_path):
    config, rows = replace(SMALL, quantizer_dropout=0.0), []
    trained = train(config, tmp_path, recipe=RECIPE, on_log=rows.append, log_every=1)
    before, after = build(config, seed=0).state_dict(), trained.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert {"mel", "stft", "wave", "commitment", "codebook", "idle_words"} <= set(rows[0])
    new = CodecClips(config, RECIPE, "test")[0]["audio"][None]
    untrained = build(config, seed=0).eval()
    distance = [
        float(mel_distance_db(codec.round_trip(new, RATE), new, RATE))
        for codec in (untrained, trained)
    ]
    # The untrained network is nearly silent, so this falls by several dB in the first steps.
    assert distance[1] < distance[0] - 2


def test_the_discriminator_is_taught_apart_from_the_codec():
    recipe = replace(RECIPE, adversarial_weight=0.2)
    trainee = Trainee(build(SMALL), recipe).eval()
    value, parts = codec_loss(trainee, recipe)(trainee, {"audio": noise(1, 1, 4096)})
    assert {"critic", "fooled", "features"} <= set(parts)
    value.backward()
    assert all(p.grad is not None and p.requires_grad for p in trainee.critic.parameters())
    critic = [p.grad.clone() for p in trainee.critic.parameters()]
    trainee.zero_grad()
    recipe = replace(
        recipe, mel_weight=0.0, stft_weight=0.0, wave_weight=0.0, adversarial_weight=0.4
    )
    codec_loss(trainee, recipe)(trainee, {"audio": noise(1, 1, 4096)})[0].backward()
    # Twice the weight on what the codec is judged by, and what the discriminator learns is the same.
    for mine, old in zip(trainee.critic.parameters(), critic, strict=True):
        assert torch.allclose(mine.grad, old, rtol=1e-4, atol=1e-4 * float(old.abs().max()))
    assert any(p.grad.abs().max() > 0 for p in trainee.codec.network.decoder.parameters())


def test_bad_recipes_are_refused():
    with pytest.raises(ValueError, match=r"wet_share in 0\.\.1"):
        Recipe(wet_share=1.5)
    with pytest.raises(ValueError, match="kinds must be of generated, sampled"):
        Recipe(kinds=("real",))


# Scores


def test_mel_distance_by_hand():
    audio = noise(2, 1, 8000)
    assert mel_distance_db(audio, audio, RATE).tolist() == [0, 0]
    # Noise lies far above the floor in every band, so a tenth of it is 20 dB away everywhere.
    assert mel_distance_db(0.1 * audio, audio, RATE).tolist() == pytest.approx([20, 20], abs=0.01)
    with pytest.raises(ValueError, match="shapes must agree"):
        mel_distance_db(audio, audio[:1], RATE)


def tone(hz, seconds=1.0):
    at = np.arange(int(RATE * seconds)) / RATE
    return (0.2 * np.sin(2 * np.pi * hz * at))[None].astype(np.float32)


def test_mu_law_spends_its_bits_and_no_more():
    kept, lost = (
        mu_law(tone(hz), RATE, 8000.0) for hz in (300.0, 3000.0)
    )  # 4 bits: 2000 samples a second
    assert kept.shape == (1, RATE)
    assert np.sqrt(np.mean(kept**2)) == pytest.approx(0.1414, rel=0.1)
    assert np.sqrt(np.mean(lost**2)) < 0.01
    assert scores(mu_law(tone(300.0), RATE, 1e6, bits=16), tone(300.0), RATE)["SI-SDR"] > 60
    assert np.isfinite(mu_law(np.zeros((1, 500), np.float32), RATE, 8000.0)).all()
    with pytest.raises(ValueError, match="100 samples a second"):
        mu_law(tone(300.0), RATE, 300.0)


def test_a_coded_mel_picture_keeps_the_pitch_region_and_the_level():
    out = mel_griffin_lim(tone(1000.0), RATE, 8000.0)
    assert out.shape == (1, RATE)
    spectrum = np.abs(np.fft.rfft(out[0]))
    assert np.argmax(spectrum) == pytest.approx(1000, rel=0.15)  # bands are that wide
    assert np.sqrt(np.mean(out**2)) == pytest.approx(0.1414, rel=0.5)
    assert np.array_equal(out, mel_griffin_lim(tone(1000.0), RATE, 8000.0))
    with pytest.raises(ValueError, match="four bands"):
        mel_griffin_lim(tone(1000.0), RATE, 200.0)


def test_scores_of_the_same_sound_are_zero_and_of_noise_are_not():
    audio = noise(1, 4000).numpy()
    same, other = scores(audio, audio, RATE), scores(noise(1, 4000, seed=1).numpy(), audio, RATE)
    assert same == {"mel distance": 0, "log-spectral distance": 0, "MR-STFT": 0, "SI-SDR": 120}
    assert other["SI-SDR"] < -10
    assert other["mel distance"] > 1


def test_real_clips_come_dry_and_wet_at_one_level(real_data, monkeypatch):
    monkeypatch.setenv("LABKIT_REAL_DATA", str(real_data))
    for wet in (False, True):
        for clip in clips("real", 2, wet=wet, seconds=0.3, sample_rate=RATE, seed=0):
            assert clip.audio.shape == (1, round(0.3 * RATE))
            assert 20 * math.log10(np.sqrt(np.mean(clip.audio**2))) == pytest.approx(-20, abs=0.01)
    monkeypatch.setattr(codec_scores, "real_data_dir", lambda: None)
    with pytest.raises(FileNotFoundError, match="set LABKIT_REAL_DATA"):
        clips("real", 1, wet=False, seconds=0.3, sample_rate=RATE, seed=0)


def test_evaluate_writes_rows_that_order_the_coders(small):
    said = []
    rows = evaluate(
        small, n=2, seconds=0.4, sources=("generated",), checkpoint="x", say=said.append
    )
    assert len(said) == 2
    assert {row.protocol for row in rows} == {"dry, 5.2 kbit/s", "through pedals, 5.2 kbit/s"}
    found = {(row.name, row.metric): row for row in rows if row.protocol.startswith("dry")}
    assert len(found) == 3 * 4 + 1 + 3 + 2
    mel = found["mel + Griffin-Lim", "mel distance"]
    assert mel.ours < mel.control  # nearer to its own clip than to another
    assert mel.low <= mel.ours <= mel.high
    assert found["mu-law, low rate", "SI-SDR"].ours > found["mel + Griffin-Lim", "SI-SDR"].ours
    assert found["our codec", "codes changed by 0.5 s chunks: with context"].ours < 0.01
    assert 1 <= found["our codec", "perplexity: codebook 3"].ours <= 32
