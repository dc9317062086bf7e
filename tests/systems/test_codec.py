"""The codec: audio to codes and back, files, training and exam, on a small network."""

import contextlib
import itertools
import math
import sys

import pytest
import torch

from labkit.learn.checkpoints import CheckpointError, file_hash
from labkit.measure.losses import mel_distance_db
from labkit.measure.metrics import si_sdr_db
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator
from labkit.systems.codec import SYSTEM, Config, build, load, model, official, save
from labkit.systems.codec.model import MDCT, descript
from labkit.systems.codec.score import opus, score, visqol_mos
from labkit.systems.codec.train import Clips, Data, begin_linear

RATE = 22_050
SMALL = Config().but(
    sample_rate=RATE,
    clip_seconds=0.5,
    seconds=0.2,
    hop_length=64,
    width=36,
    latent_dim=24,
    dilations=(1, 2),
    n_codebooks=3,
    codebook_size=32,
    quantizer_dropout=0.0,
    steps=16,
    batch_size=2,
    warmup_steps=1,
)
GUITARS = Data(kinds=("generated",), n_clips=8)


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch_generator(seed, "codec test"))


@pytest.fixture(scope="module")
def clips():
    data = Clips(SMALL, GUITARS)
    return torch.stack([data[i]["audio"] for i in range(16)])


@pytest.fixture(scope="module")
def small(clips):
    """The best linear codec of a few clips, its blocks no wires any more."""
    codec = build(SMALL.but(seed=1))
    torch.manual_seed(0)  # k-means draws its first codewords
    begin_linear(codec, clips)
    for name, weight in codec.named_parameters():
        if "point" in name:
            weight.data.normal_(0, 0.01, generator=torch_generator(0, name))
    return codec.eval()


# Audio and codes


def test_the_transform_and_back_is_the_same_sound():
    transform, audio = MDCT(64), noise(2, 1, 640)
    spectrum = transform(audio)
    assert spectrum.shape == (2, 64, 11)
    assert torch.allclose(transform.inverse(spectrum), audio, atol=1e-6)
    assert spectrum.square().sum() == pytest.approx(audio.square().sum().item(), rel=1e-4)
    # A tone of the middle of band 9 lies there.
    tone = torch.sin(math.pi / 64 * 9.5 * torch.arange(6400.0))[None, None]
    assert int(transform(tone)[0, :, 5:-5].square().sum(1).argmax()) == 9


@pytest.mark.parametrize(("sample_rate", "samples"), [(RATE, 1), (RATE, 64), (8000, 999)])
def test_round_trip_keeps_shape_at_any_rate(small, sample_rate, samples):
    audio = noise(2, 2, samples)
    out = small.round_trip(audio, sample_rate)
    assert out.shape == small.unquantised(audio, sample_rate).shape == audio.shape
    assert torch.isfinite(out).all()
    frames = math.ceil(math.ceil(samples * RATE / sample_rate) / 64) + 1  # a window beyond the end
    codes = small.encode(audio, sample_rate)
    assert codes.shape == (4, 3, frames)
    assert torch.equal(codes[2:3], small.encode(audio[1:, :1], sample_rate))
    one, two = (small.decode(codes[:, :k], samples) for k in (1, 2))
    assert not torch.equal(one, two)
    if sample_rate == RATE:
        assert torch.equal(out, small.decode(codes, samples).view(audio.shape))
    assert small.latents(audio, sample_rate).shape == (4, 24, frames)


def test_the_quantiser_is_a_residual_one(small):
    """Each codeword is the nearest to what the codebooks before it left over."""
    left = small.latents(noise(1, 1, 3200), RATE)[0].T
    codes = small.encode(noise(1, 1, 3200), RATE)
    for k, words in enumerate(small.network.quantizer.words):
        assert torch.equal(torch.cdist(left, words).argmin(1), codes[0, k])
        left = left - words[codes[0, k]]
    total = small.latents(noise(1, 1, 3200), RATE)[0].T - left
    assert torch.allclose(small.network.sums(codes)[0].T, total, atol=1e-5)


WRONG = {
    "NaN": (lambda c: c.encode(torch.full((1, 1, 8), math.nan), RATE), "finite"),
    "code shape": (
        lambda c: c.decode(torch.zeros(1, 4, 2).long(), 8),
        r"got torch.int64 0\.\.0 \(1, 4",
    ),
    "code": (lambda c: c.decode(torch.full((1, 1, 2), 32), 8), r"0\.\.31 .* 32\.\.32"),
    "first books": (lambda _: SMALL.but(mel_codebooks=4), "1 to n_codebooks 3, got 4"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(small, case):
    call, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        call(small)


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


def test_a_file_as_descript_publishes_it_is_read(tmp_path, monkeypatch):
    """Of a small network, under its own hash."""
    sizes = {"encoder_dim": 4, "encoder_rates": [2, 4], "decoder_rates": [4, 2], "latent_dim": 16}
    sizes |= {"decoder_dim": 32, "n_codebooks": 3, "codebook_size": 32, "sample_rate": RATE}
    theirs = descript(**sizes).eval()
    path = tmp_path / "weights.pth"
    theirs.network.dac.save(str(path), package=False)
    monkeypatch.setattr(model, "_OFFICIAL_SHA256", file_hash(path))
    again, audio = official(path), noise(1, 2, 2001)
    assert again.config.hop_length == 8
    codes = again.encode(audio, RATE)
    assert codes.shape == (2, 3, math.ceil(2001 / 8))
    assert torch.equal(codes, theirs.encode(audio, RATE))
    decoded, *_ = again.network.dac.quantizer(again.latents(audio, RATE))
    expected = again.network.dac.decode(decoded)[..., :2001].view(1, 2, 2001)
    assert torch.allclose(again.round_trip(audio, RATE), expected, atol=1e-5)


# Training


def test_the_linear_codec_is_a_codec_and_training_moves_every_tensor(tmp_path, clips):
    def distance(codec):
        return float(mel_distance_db(codec.round_trip(clips, RATE), clips, RATE).mean())

    linear, rows = build(SMALL), []
    before = distance(linear.eval())
    torch.manual_seed(0)
    begin_linear(linear, clips)
    assert distance(linear) < before - 3
    trained = SYSTEM.train(SMALL, tmp_path, data=GUITARS, on_log=rows.append)
    first, after = build(SMALL).state_dict(), trained.state_dict()
    assert [name for name in first if torch.equal(first[name], after[name])] == []
    assert {"mel", "wave", "first", "commitment"} <= set(rows[-1])
    assert distance(trained) < before - 3
    # A training that starts from it keeps its weights and codewords.
    start = tmp_path / "codec.safetensors"
    save(trained, start)
    config = SMALL.but(steps=1, learning_rate=0.0)
    again = SYSTEM.train(config, tmp_path / "again", data=GUITARS, start=start)
    saved = load(start)
    assert torch.equal(saved.mel_head.weight, again.mel_head.weight)
    apart = (saved.network.quantizer.words - again.network.quantizer.words).abs().mean()
    assert apart < 0.1 * saved.network.quantizer.words.abs().mean()


# The exam


def test_the_exam_tells_a_clip_from_another(small, monkeypatch):
    module = sys.modules["labkit.systems.codec.score"]  # a real opinion takes seconds, see below
    monkeypatch.setattr(module, "find_spec", lambda _: True)
    stand_in = lambda ours, dry, **_: si_sdr_db(dry.numpy(), ours.numpy())  # noqa: E731
    monkeypatch.setattr(module, "visqol_mos", stand_in)
    rows = score(small, n=2, sources=("generated",))
    heads = {(row.protocol, row.metric): row for row in rows}
    opinion = heads["dry, 5.2 kbit/s", "ViSQOL"]
    assert opinion.ours == pytest.approx(heads["dry, 5.2 kbit/s", "SI-SDR"].ours)
    assert opinion.reference > opinion.ours
    for task, metric in itertools.product(("dry", "through pedals"), ("mel distance", "SI-SDR")):
        row = heads[f"{task}, 5.2 kbit/s", metric]
        assert row.n == 2
        assert row.low <= row.ours <= row.high
        sign = 1 if metric == "SI-SDR" else -1
        assert sign * row.oracle > sign * row.ours > sign * row.control
    whole = heads["through pedals, 5.2 kbit/s", "mel distance"]
    by_books = [heads[f"first {k} codebooks, through pedals", "mel distance"] for k in (1, 2)]
    assert len({row.ours for row in (*by_books, whole)}) == 3
    assert 0 <= heads["three, before and after coding", "same chain"].ours <= 1


def test_opus_keeps_a_tone_and_visqol_prefers_more_bits(monkeypatch):
    at = torch.arange(44_100) / 44_100
    tone = 0.1 * sum(torch.sin(2 * math.pi * k * 220.0 * at) / k for k in range(1, 12))[None, None]
    low, high = (opus(tone, 44_100, bits) for bits in (6000, 96_000))
    assert low.shape == tone.shape
    assert float((high - tone).square().mean() / tone.square().mean()) < 0.05
    # Without numba ViSQOL gives the same, and a second of sound is not worth compiling it.
    monkeypatch.setitem(sys.modules, "numba", None)
    pytest.importorskip("visqol.api", reason="pip install visqol-python")
    worse, better = (visqol_mos(one, tone, sample_rate=44_100) for one in (low, high))
    assert 1 <= worse < better <= 5
