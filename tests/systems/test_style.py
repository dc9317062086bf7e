"""Style transfer: the box and its twin, what is heard, that it learns by every gradient, and what it writes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from labkit.learn.proxy import fresh_proxy
from labkit.signal.files import AudioError
from labkit.signal.seeds import generator
from labkit.signal.speech import utterance
from labkit.systems.blackbox import style, style_data, style_evaluate
from labkit.systems.blackbox.style_train import Loss, train

SMALL = style.Config(
    n_mels=32, width=16, seconds=0.25, heard_seconds=0.6, n_examples=8, renders=96, batch_size=4
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "style_cache"))


@pytest.fixture(scope="module")
def voice():
    return style.at_peak(utterance(generator(0, "style test"), sample_rate=22_050, seconds=1.6))


@pytest.fixture
def batch():
    drawn = style_data.Drawn(SMALL)
    return default_collate([drawn[k] for k in range(SMALL.batch_size)])


def test_box_and_twin_sound_alike_at_the_peak(voice):
    box, rng = style.Box(22_050), generator(0, "box")
    knobs = rng.uniform(0, 1, (4, len(box.board)))
    real = np.stack([box.render(voice, row) for row in knobs])
    twin = box.twin(
        torch.from_numpy(voice).expand(4, 1, -1), torch.from_numpy(knobs).float()
    ).numpy()
    assert np.abs(real).max((1, 2)) == pytest.approx(style.PEAK, rel=1e-5)
    # The parity tests of the twins allow -60 dB; both sides are scaled by their own peaks here.
    assert np.abs(real - twin).max() < 1e-3 * style.PEAK


def test_renders_buy_steps():
    steps = {
        gradient: replace(style.Config(), gradient=gradient).steps for gradient in style.GRADIENTS
    }
    assert steps["autodiff"] == steps["regression"] == 3 * steps["spsa"]
    proxy = replace(style.Config(), gradient="proxy")
    assert (proxy.steps + proxy.proxy_steps) * proxy.batch_size == proxy.renders


@pytest.mark.parametrize("wrong", [{"gradient": "none"}, {"proxy_share": 1.0}, {"renders": 1}])
def test_config_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(style.Config(), **wrong)


def test_both_halves_are_treated_alike_and_the_same_again():
    one, again = (
        style_data.examples(SMALL, ["voices"], "test", 3, n=2, seconds=0.5) for _ in range(2)
    )
    assert np.array_equal(one.target, again.target)
    box = style.Box(SMALL.sample_rate)
    assert np.array_equal(box.render(one.plain[1][None], one.truth[1])[0], one.target[1])
    assert not np.array_equal(one.reference, one.target)
    assert set(one.groups) <= set(
        style_data.sources("voices", seconds=1.0, sample_rate=22_050).groups("test")
    )


def test_an_example_of_training_is_its_piece_treated(batch):
    box = style.Box(SMALL.sample_rate)
    for plain, target, truth in zip(batch["plain"], batch["target"], batch["truth"], strict=True):
        # The knobs were rounded to float32 since.
        assert box.render(plain.numpy(), truth.double().numpy()) == pytest.approx(
            target.numpy(), abs=1e-4
        )


def test_it_begins_in_the_middle_whatever_it_hears(batch):
    model = style.build(SMALL)
    assert model(
        batch["heard_plain"], batch["heard_reference"][..., :10]
    ).detach().numpy() == pytest.approx(0.5)
    other = style.build(replace(SMALL, gradient="spsa"))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("gradient", style.GRADIENTS)
def test_every_tensor_learns_by_every_gradient(gradient, batch):
    config = replace(SMALL, gradient=gradient)
    model = style.build(config)
    for layer in (model.straight, model.bent[-1]):  # zeros let nothing through to what lies before
        torch.nn.init.normal_(layer.weight, std=0.1)
    loss = Loss(config, fresh_proxy(9, 0) if gradient == "proxy" else None)
    if loss.proxy is not None:  # nor does a fresh proxy
        torch.nn.init.normal_(loss.proxy.straight.weight, std=0.1)
    loss(model, batch)[0].backward()
    still = [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert still == []


def test_spsa_is_autodiff_on_average(batch):
    model = style.build(SMALL)
    knobs = torch.full((SMALL.batch_size, 9), 0.4, requires_grad=True)
    found = {}
    for gradient in ("autodiff", "spsa"):
        config, total = replace(SMALL, gradient=gradient), torch.zeros_like(knobs)
        for index in range(1 if gradient == "autodiff" else 60):
            wet = Loss(config).treated(model, batch | {"index": torch.tensor([index])}, knobs)
            total += torch.autograd.grad((wet - batch["target"]).square().sum(), knobs)[0]
        found[gradient] = total
    # 60 tosses for 9 knobs: sqrt(60 / (60 + 8)) = .94 on average over gradients, for each of four items.
    assert torch.cosine_similarity(found["spsa"], found["autodiff"]).min() > 0.75


def test_it_learns_and_resumes(tmp_path):
    config = replace(SMALL, renders=8 * 140, batch_size=8, learning_rate=3e-3, warmup_steps=5)
    rows = []
    model = train(config, tmp_path, on_log=rows.append)
    # Eight examples are learnt by heart: of what the knobs in the middle leave, about half (as many threads as may be).
    assert np.mean([row["magnitudes"] for row in rows[-3:]]) < 0.65 * rows[0]["magnitudes"]
    again = train(config, tmp_path)  # a finished run is only read
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    style.save(model, tmp_path / "style.safetensors")
    assert style.load(tmp_path / "style.safetensors").config == config


def test_a_copy_is_judged_by_what_was_wanted(voice):
    model = style.build(SMALL).eval()
    copy = style_evaluate.copied(model, voice, 22_050, "telephone")
    plain, reference, ours, wanted = copy.clips.values()
    assert plain.shape == ours.shape == wanted.shape
    assert plain.shape[1] + reference.shape[1] == voice.shape[1]
    score = style_evaluate.scores(plain, wanted, 22_050)["MR-STFT"].item()
    assert copy.before == pytest.approx(score)
    assert copy.before > 0.5  # a telephone takes all but two octaves away


def test_a_proxy_is_taught_and_kept(tmp_path):
    config = replace(SMALL, gradient="proxy", renders=16)
    train(config, tmp_path)
    assert (tmp_path / "proxy.pt").exists()


def test_predict_takes_any_recording_and_its_code_is_the_sound(voice, tmp_path):
    model = style.build(SMALL).eval()
    stereo = np.concatenate([voice, 0.5 * voice])
    found = style.predict(model, stereo, 44_100, reference=0.1 * voice, reference_rate=22_050)
    assert found.audio.shape == stereo.shape
    assert found.settings["bass_db"] == pytest.approx(0.0, abs=1e-4)
    names = {}
    exec(found.code, names)
    again = names["board"](style.at_peak(stereo), 44_100, reset=True)
    assert again == pytest.approx(
        found.audio, abs=1e-4
    )  # the gain is printed with the digits of float32
    files = style.write(found, 44_100, tmp_path / "out")
    assert [file.name for file in files] == ["style.wav", "style.json", "style.py"]


@pytest.mark.parametrize("which", ["audio", "reference"])
def test_silence_has_no_style(voice, which):
    given = {"audio": voice, "reference": voice} | {which: np.zeros_like(voice)}
    with pytest.raises(AudioError, match=f"{which} is silent"):
        style.predict(style.build(SMALL), given["audio"], 22_050, reference=given["reference"])


def test_low_rates_are_refused(voice):
    with pytest.raises(ValueError, match="16000"):
        style.predict(style.build(SMALL), voice, 8000, reference=voice)


def test_styles_are_what_their_names_say(voice):
    rng, hz = generator(0, "styles"), np.fft.rfftfreq(voice.shape[1], 1 / 22_050)

    def treble_db(audio):
        power = np.abs(np.fft.rfft(audio[0])) ** 2
        return 10 * np.log10(power[hz > 4000].sum() / power[(hz > 500) & (hz < 2000)].sum())

    found = {
        name: treble_db(style_data.in_style(name, voice, 22_050, rng))
        for name in style_data.style_names()
    }
    plain = treble_db(voice)
    assert found["neutral"] == pytest.approx(plain, abs=2)
    assert found["telephone"] < plain - 3
    assert found["warm"] < plain - 3
    assert min(found["bright"], found["broadcast"]) > plain + 2


def test_scores_of_what_is_known(voice):
    same = style_evaluate.scores(voice, voice, 22_050)
    assert all(values == pytest.approx(0.0, abs=1e-6) for values in same.values())
    half = style_evaluate.scores(0.5 * voice, voice, 22_050)
    assert half["loudness error"] == pytest.approx(
        6.02, abs=0.05
    )  # gating moves with the level by a block at most
    assert half["spectral centroid error"] == pytest.approx(0.0, abs=1e-3)


def test_probe_names_what_can_be_told_apart_only():
    rng = generator(0, "probe")
    label, groups = np.tile(np.arange(5), 30), np.repeat(np.arange(10), 15)
    noise = rng.normal(0, 1, (150, 8))
    assert (
        style_evaluate.probe(noise, label, groups).mean() < 0.4
    )  # chance is .2; 150 trials scatter by .033
    assert style_evaluate.probe(noise + 5 * np.eye(5, 8)[label], label, groups).mean() > 0.9


def test_rows_stand_beside_what_they_must():
    config = replace(SMALL, heard_seconds=1.0)
    models = [
        style.build(replace(config, gradient=gradient)).eval() for gradient in ("autodiff", "spsa")
    ]
    rows = style_evaluate.evaluate(models, n=4, kinds=["voices"], say=lambda _: None)
    row = next(r for r in rows if (r.name, r.metric) == ("autodiff", "MR-STFT"))
    assert row.oracle == pytest.approx(0.0, abs=1e-6)
    assert row.ours == pytest.approx(row.prior)  # untrained, it leaves the knobs in the middle
    assert row.floor > 0
    times = next(r for r in rows if r.metric == "MR-STFT, times that of autodiff")
    assert times.ours == pytest.approx(1.0)


def test_the_peak_is_12_db_below_full_scale():
    for level in (0.01, 3.0):
        assert np.abs(style.at_peak(np.full((1, 4), level))).max() == pytest.approx(
            0.251189, abs=1e-6
        )
