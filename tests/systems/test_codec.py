"""The codec: audio to codes and back, files, training and exam, on a small network."""

import contextlib
import math

import pytest
import torch

from labkit.learn.checkpoints import CheckpointError, file_hash
from labkit.learn.encoders import CodeEmbedding
from labkit.measure.losses import mel_distance_db
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator
from labkit.systems.codec import SYSTEM, Config, build, load, model, official, save, train
from labkit.systems.codec.score import draw, mel_griffin_lim, score
from labkit.systems.codec.train import Clips, Data, Renewal, loss_of, standardise

RATE = 22_050
SMALL = Config().but(
    sample_rate=RATE,
    clip_seconds=0.5,
    seconds=0.2,
    rates=(2, 4, 8),
    encoder_dim=4,
    latent_dim=16,
    decoder_dim=32,
    n_codebooks=3,
    codebook_size=32,
    codebook_dim=4,
    quantizer_dropout=0.0,
    steps=16,
    batch_size=2,
    warmup_steps=1,
)
GUITARS = Data(kinds=("generated",))


@pytest.fixture(scope="module")
def small():
    return build(SMALL.but(seed=1)).eval()


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch_generator(seed, "codec test"))


# Audio and codes


@pytest.mark.parametrize(("sample_rate", "samples"), [(RATE, 1), (RATE, 64), (8000, 999)])
def test_round_trip_keeps_shape_at_any_rate(small, sample_rate, samples):
    audio = noise(2, 2, samples)
    out = small.round_trip(audio, sample_rate)
    assert out.shape == audio.shape
    assert torch.isfinite(out).all()
    frames = math.ceil(math.ceil(samples * RATE / sample_rate) / 64)
    codes = small.encode(audio, sample_rate)
    assert codes.shape == (4, 3, frames)
    assert torch.equal(codes[2:3], small.encode(audio[1:, :1], sample_rate))
    one, two = (small.decode(codes[:, :k], samples) for k in (1, 2))
    assert not torch.equal(one, two)
    assert small.latents(audio, sample_rate).shape == (4, 16, frames)


def test_the_quantiser_is_a_residual_one(small):
    """Each codeword is the nearest in direction to what the codebooks before it left over."""
    left = small.latents(noise(1, 1, 3200), RATE)
    codes = small.encode(noise(1, 1, 3200), RATE)
    for k, stage in enumerate(small.network.quantizer.quantizers):
        looked_up = torch.nn.functional.normalize(stage.in_proj(left)[0], dim=0)
        best = (torch.nn.functional.normalize(stage.codebook.weight) @ looked_up).argmax(0)
        assert torch.equal(best, codes[0, k])
        left = left - stage.out_proj(stage.decode_code(codes[:, k]))


WRONG = {
    "NaN": (lambda c: c.encode(torch.full((1, 1, 8), math.nan), RATE), "finite"),
    "code shape": (lambda c: c.decode(torch.zeros(1, 4, 2).long(), 8), r"got torch.int64 \(1, 4"),
    "code": (lambda c: c.decode(torch.full((1, 1, 2), 32), 8), r"0\.\.31, got 32\.\.32"),
    "strides": (lambda _: SMALL.but(rates=(2, 3)), r"even strides >= 2, got \(2, 3\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(small, case):
    call, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        call(small)


def test_codes_are_names(small):
    """Renamed codewords with renamed vectors change nothing; one added to every code does."""
    embedding = CodeEmbedding(3, 32, 10)
    codes = small.encode(noise(1, 1, 2000), RATE) % 31
    out = embedding(codes)
    assert out.shape == (1, codes.shape[2], 10)
    names = torch.randperm(32, generator=torch_generator(0, "names"))
    renamed = CodeEmbedding(3, 32, 10)
    with torch.no_grad():
        renamed.table.weight.view(3, 32, 10)[:, names] = embedding.table.weight.view(3, 32, 10)
    assert torch.allclose(renamed(names[codes]), out, atol=1e-6)
    assert not torch.allclose(embedding(codes + 1), out, atol=0.1)
    assert embedding(codes[:, :2]).shape == out.shape
    for wrong in (codes.float(), codes + 32):
        with pytest.raises(ValueError, match="codes must be"):
            embedding(wrong)


def test_a_weights_file_from_elsewhere_is_not_opened(tmp_path, payload):
    """The loader of descript-audio-codec runs what a file of torch.package asks for."""
    path = str(tmp_path / "weights.pth")
    with torch.package.PackageExporter(path) as exporter:
        exporter.extern("**")
        exporter.save_pickle("DAC", "DAC.pth", payload)
    with pytest.raises(CheckpointError, match=r"its sha256 is .*, not that of the published file"):
        official(path)
    assert not payload.folder.exists()
    with contextlib.suppress(Exception):
        need("dac").DAC.load(path)
    assert payload.folder.exists()


def test_official_weights_that_cannot_be_had_say_where_to_put_them(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no network here")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(need("pooch"), "retrieve", offline)
    where = r"no network here.*https://github\.com/descriptinc/.*save it as .*44khz_8kbps"
    with pytest.raises(CheckpointError, match=where):
        official()
    with pytest.raises(CheckpointError, match="could not be had"):
        official(tmp_path / "nowhere.pth")


def test_a_file_as_descript_publishes_it_is_read(small, tmp_path, monkeypatch):
    """Of a small network, under its own hash."""
    path = tmp_path / "weights.pth"
    small.network.save(str(path), package=False)
    monkeypatch.setattr(model, "_OFFICIAL_SHA256", file_hash(path))
    again = official(path)
    assert again.config.but(quantizer_dropout=0.0).net == small.config.net
    audio = noise(1, 1, 2000)
    assert torch.equal(again.encode(audio, RATE), small.encode(audio, RATE))


# Training


def test_unused_codewords_are_placed_on_frames_and_used_ones_stay(monkeypatch):
    codec = build(SMALL)
    monkeypatch.setattr(train, "CODEWORD_RATE", 0.0)
    monkeypatch.setattr(train, "EXPIRE_AFTER", 10 / 32)  # ten frames: two batches
    renewal = Renewal(SMALL, fresh=True)
    word = codec.network.quantizer.quantizers[1].codebook.weight
    codes = torch.full((1, 3, 5), 7)
    latents = torch.arange(60.0).reshape(1, 12, 5)
    frames = latents[0, 4:8].T
    renewal(codec, codes, latents)
    placed = word.detach().clone()
    others = torch.arange(32) != 7
    assert all((frames == one).all(1).any() for one in placed[others])
    for _ in range(2):
        renewal(codec, codes, latents + 1000)
        assert torch.equal(word, placed)
    renewal(codec, codes, latents + 1000)
    assert torch.equal(word[7], placed[7])
    assert (word[others] >= 1000).all()


def test_codewords_follow_their_frames():
    codec = build(SMALL)
    renewal = Renewal(SMALL, fresh=False)
    word = codec.network.quantizer.quantizers[2].codebook.weight
    before = word.detach().clone()
    latents = torch.arange(24.0).reshape(1, 12, 2)
    renewal(codec, torch.tensor([[[0, 0], [0, 0], [5, 5]]]), latents)
    by_hand = 0.9 * before[5] + 0.1 * torch.tensor([16.5, 18.5, 20.5, 22.5])
    assert torch.allclose(word[5], by_hand, atol=1e-5)
    others = torch.arange(32) != 5
    assert torch.equal(word[others], before[others])
    assert renewal.idle[2, 5] == 0
    assert (renewal.idle[2, others] == 2).all()


def test_a_fresh_encoder_is_brought_to_unit_frames():
    codec = build(SMALL)
    audio = torch.stack([Clips(SMALL, GUITARS)[i]["audio"] for i in range(3)])
    assert codec.network.encoder(audio).std((0, 2)).max() < 0.5
    standardise(codec, audio)
    frames = codec.network.encoder(audio)
    assert frames.mean((0, 2)).abs().max() < 1e-3  # rounding, multiplied by the scale
    assert torch.allclose(frames.std((0, 2)), torch.ones(16), atol=1e-3)


def test_a_perfect_copy_costs_nothing_but_its_codes():
    codec, target = build(SMALL), noise(2, 1, 4096)

    def perfect(audio):
        return {**codec(audio), "audio": audio.clone()}

    loss = loss_of(SMALL, codec, Renewal(SMALL, fresh=False))
    value, figures = loss(perfect, {"audio": target})
    assert figures["mel"] == figures["wave"] == 0
    assert figures["stft"] == pytest.approx(0, abs=1e-6)
    assert value.item() == pytest.approx(figures["codebook"] + figures["commitment"])


def test_training_moves_every_tensor_and_lowers_the_distance_on_a_new_clip(tmp_path, monkeypatch):
    rows = []
    trained = SYSTEM.train(SMALL, tmp_path, data=GUITARS, on_log=rows.append)
    before, after = build(SMALL).state_dict(), trained.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert {"mel", "stft", "wave", "commitment", "codebook", "idle_codewords"} <= set(rows[-1])
    new = torch.from_numpy(
        draw("generated", 1, wet=True, seconds=0.4, sample_rate=RATE, seed=0)[0].audio
    )
    new = new[None]
    untrained, mine = (
        float(mel_distance_db(codec.round_trip(new, RATE), new, RATE))
        for codec in (build(SMALL).eval(), trained)
    )
    # The untrained network is nearly silent, so this falls by several dB in the first steps.
    assert mine < untrained - 2
    # A training that starts from it keeps its frames and codewords.
    start = tmp_path / "codec.safetensors"
    save(trained, start)
    monkeypatch.setattr(train, "CODEWORD_RATE", 0.0)
    config = SMALL.but(steps=1, learning_rate=0.0)
    again = SYSTEM.train(config, tmp_path / "again", data=GUITARS, start=start)
    saved = load(start).state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in again.state_dict().items())


# The exam


def test_a_coded_spectrogram_keeps_the_pitch_region_and_the_level():
    at = torch.arange(RATE) / RATE
    tone = 0.2 * torch.sin(2 * math.pi * 1000.0 * at)[None]
    out = mel_griffin_lim(tone, RATE, 8000.0)
    assert out.shape == tone.shape
    assert int(torch.fft.rfft(out[0]).abs().argmax()) == pytest.approx(1000, rel=0.15)
    assert float(out.square().mean().sqrt()) == pytest.approx(0.1414, rel=0.5)
    assert torch.equal(out, mel_griffin_lim(tone, RATE, 8000.0))


def test_the_exam_tells_a_clip_from_another(small):
    rows = score(small, n=2, sources=("generated",))
    assert [row.protocol for row in rows] == ["dry, 5.2 kbit/s", "through pedals, 5.2 kbit/s"]
    for row in rows:
        assert (row.metric, row.unit, row.n) == ("mel distance", "dB", 2)
        assert row.floor < row.ours  # the small network is untrained
        assert row.low <= row.ours <= row.high
        assert row.control > row.floor
