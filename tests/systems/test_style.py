"""Style transfer: the processor and its differentiable version, every gradient, its output."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from labkit.learn.gradients import fresh_proxy
from labkit.measure.metrics import relative_error_db
from labkit.signal.files import AudioError
from labkit.signal.seeds import generator
from labkit.signal.speech import Voice, utterance
from labkit.systems import style
from labkit.systems.style import data, score
from labkit.systems.style.model import GRADIENTS, NAMES, PEAK, at_peak, differentiable, render
from labkit.systems.style.train import loss_of

SMALL = style.Config().but(
    n_mels=32,
    width=16,
    seconds=0.25,
    encoder_seconds=0.6,
    n_examples=8,
    batch_size=4,
    steps=24,
    proxy_steps=2,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "style_cache"))


@pytest.fixture(scope="module")
def voice():
    rng = generator(0, "style test")
    return at_peak(utterance(rng, Voice.draw(rng), sample_rate=22_050, seconds=1.6))


@pytest.fixture
def batch():
    drawn = data.DrawnExamples(SMALL)
    return default_collate([drawn[k] for k in range(SMALL.plan.batch_size)])


def test_both_versions_of_the_processor_sound_alike_at_the_peak(voice):
    params = generator(0, "box").uniform(0, 1, (4, len(NAMES)))
    real = np.stack([render(voice, 22_050, row) for row in params])
    audio = torch.from_numpy(voice).expand(4, 1, -1)
    ours = differentiable(audio, 22_050, torch.from_numpy(params).float()).numpy()
    assert np.abs(real).max((1, 2)) == pytest.approx(PEAK, rel=1e-5)
    # The parity tests allow -60 dB; both sides are scaled by their own peaks here.
    assert np.abs(real - ours).max() < 1e-3 * PEAK
    for level in (0.01, 3.0):
        assert np.abs(at_peak(np.full((1, 4), level))).max() == pytest.approx(0.251189, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: SMALL.but(gradient="none"), ValueError, "gradient must be one of"),
        (lambda x: predicted(x, x, 8000), ValueError, "16000"),
        (lambda x: predicted(0 * x, x), AudioError, "audio is silent"),
        (lambda x: predicted(x, 0 * x), AudioError, "reference is silent"),
    ],
)
def test_wrong_arguments_are_refused(voice, call, error, message):
    with pytest.raises(error, match=message):
        call(voice)


def predicted(audio, reference, rate=22_050):
    return style.predict(style.build(SMALL), audio, rate, reference=reference)


def test_an_example_of_training_is_its_piece_treated(batch):
    for plain, target, truth in zip(batch["plain"], batch["target"], batch["truth"], strict=True):
        # Both are kept in half precision.
        wet = render(plain.numpy(), 22_050, truth.double().numpy())
        assert wet == pytest.approx(target.numpy(), abs=2e-3)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_tensor_learns_by_every_gradient(gradient, batch):
    settings = SMALL.but(gradient=gradient)
    model = style.build(settings)
    for layer in (model.linear, model.nonlinear[-1]):  # zeros let nothing through to the rest
        torch.nn.init.normal_(layer.weight, std=0.1)
    proxy = fresh_proxy(9, 0) if gradient == "proxy" else None
    if proxy is not None:  # nor does a fresh proxy
        torch.nn.init.normal_(proxy.straight.weight, std=0.1)
    loss_of(settings, proxy)(model, batch)[0].backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None or not grad.abs().sum() > 0] == []


def test_it_learns_and_its_file_gives_it_back(tmp_path):
    settings = SMALL.but(steps=100, batch_size=8, learning_rate=3e-3, warmup_steps=5)
    rows = []
    model = style.SYSTEM.train(settings, tmp_path, on_log=rows.append)
    # Eight examples are learnt by heart: about half of what the middle leaves.
    assert np.mean([row["magnitudes"] for row in rows[-3:]]) < 0.65 * rows[0]["magnitudes"]
    again = style.SYSTEM.train(settings, tmp_path)  # a finished run is only read
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    style.save(model, tmp_path / "style.safetensors")
    assert style.load(tmp_path / "style.safetensors").config == settings


def test_a_proxy_is_taught_first(tmp_path):
    style.SYSTEM.train(SMALL.but(gradient="proxy", steps=2), tmp_path)
    assert (tmp_path / "proxy" / "config.json").exists()


def test_predict_takes_any_recording_and_its_code_is_the_sound(voice, tmp_path):
    model, stereo = style.build(SMALL).eval(), np.concatenate([voice, 0.5 * voice])
    found = style.predict(model, stereo, 44_100, reference=0.1 * voice, reference_rate=22_050)
    assert found.audio.shape == stereo.shape
    assert found.settings["bass_db"] == pytest.approx(0.0, abs=1e-4)
    assert np.abs(found.audio).max() == pytest.approx(PEAK, rel=1e-4)
    names = {}
    exec(found.chain.to_code(), names)
    assert relative_error_db(found.audio, names["board"](stereo, 44_100)) < -100
    files = [tmp_path / name for name in ("like.wav", "like.json", "like.board.py")]
    style.write(found, 44_100, *files)
    settings = json.loads(files[1].read_text())
    assert len(settings["params_unit"]) == len(settings["settings"]) == 9


def test_rows_stand_beside_what_they_must():
    model, few = style.build(SMALL.but(encoder_seconds=1.0)).eval(), {"n_presets": 4, "renders": 30}
    rows = {(r.name, r.metric): r for r in score.score(model, n=4, kinds=["voices"], **few)}
    ours = rows["autodiff", "MR-STFT"]
    assert ours.oracle == pytest.approx(0.0, abs=1e-6)
    # Untrained, it leaves the parameters in the middle.
    assert ours.ours == pytest.approx(ours.prior) == pytest.approx(ours.control)
    assert 0 < rows["rules", "MR-STFT"].ours != ours.floor
    # A search hears the reference; a preset of another recording is no help.
    assert rows["search with a prior", "MR-STFT"].ours < ours.prior
    assert rows["nearest preset by MFCC", "MR-STFT"].ours > ours.oracle
