"""Saturation as a system: examples, network inputs, learning, training, prediction, score."""

import sys

import numpy as np
import pytest
import torch

from labkit.effects.saturation import MEMORYLESS, saturate
from labkit.signal.files import write_audio
from labkit.signal.pool import Clip, FreshClips
from labkit.signal.seeds import generator
from labkit.systems import saturation
from labkit.systems.saturation import model as network
from labkit.systems.saturation.data import BufferedClips, Examples, draw_condition
from labkit.systems.saturation.model import (
    CONDITIONS,
    CURVE_NAMES,
    Condition,
    build,
    network_inputs,
    summary,
)
from labkit.systems.saturation.predict import least_squares
from labkit.systems.saturation.train import Data, collect, loss_of

RATE = 16000
SIZES = {"samples": 16384, "clip_seconds": 1.6, "n_fft": 1024, "hop_length": 512, "n_mels": 32}
SIZES |= {"high_hz": 7500.0, "width": 0.1, "embedding": 16, "hidden": 32}
PLAN = {"batch_size": 4, "steps": 4, "checkpoint_every": 2, "warmup_steps": 0, "n_workers": 0}
SMALL = saturation.Config().but(sample_rate=RATE, augment_strength=0.0, **SIZES, **PLAN)
SOUND = SMALL.sound
FIVE = Condition("five", "five curves", curves=CURVE_NAMES, shift_ms=30.0)


class Tones:
    """Decaying harmonics, made in no time; the source is the pitch."""

    kind, seconds, sample_rate = "generated", SOUND.clip_seconds, RATE

    def clip(self, rng, split):
        pitch = int(rng.integers(40)) + {"train": 100, "validation": 200, "test": 300}[split]
        t = np.arange(round(self.seconds * RATE)) / RATE
        partials = np.exp(6j * rng.random(8)) / np.arange(1, 9)
        # Partial k falls by 2 k nepers a second: it is the k-th power of the first.
        audio = np.polyval([*partials[::-1], 0], np.exp((2j * np.pi * pitch - 2) * t)).imag
        audio += 1e-3 * rng.standard_normal(len(t))
        return Clip((0.3 * audio[None]).astype(np.float32), RATE, f"tone/{pitch}", self.kind)


@pytest.fixture(scope="module")
def pool():
    return FreshClips(Tones(), "train", 0)


def one(pool, condition, index=0):
    return Examples(SMALL, [pool], 0, training=False, condition=condition).example(index)


def test_an_example_depends_on_seed_and_number_alone(pool):
    first, again = (Examples(SMALL, [pool], 3) for _ in range(2))
    [first[i] for i in range(3)]
    for key, value in again[7].items():
        assert torch.equal(value, first[7][key])
    assert not torch.equal(first[7]["wet"], Examples(SMALL, [pool], 4)[7]["wet"])


def test_training_draws_every_curve_and_disturbance(pool):
    drawn = [draw_condition(generator(0, "draw", i)) for i in range(300)]
    assert {c.curves[0] for c in drawn} == set(CURVE_NAMES)
    for field in ("paired", "mp3", "snr_db", "shift_ms"):
        assert len({bool(getattr(c, field)) for c in drawn}) == 2
    depths = [Examples(SMALL, [pool], 0).example(i).depth for i in range(60)]
    assert 1 <= min(depths) < 3 < 8 < max(depths) <= 10


def level_of(wet, bent):
    return float(wet.astype(np.float64) @ bent) / float(bent.astype(np.float64) @ bent)


def test_a_pair_is_the_curve_of_its_clean_signal_shifted(pool):
    seen, shifts = set(), set()
    for index in range(30):
        example = one(pool, FIVE, index)
        seen.add(example.curve)
        assert np.abs(example.clean).max() == 1
        windows = np.lib.stride_tricks.sliding_window_view(example.reference, SOUND.samples)
        shifts.add(int((windows[:, :99] == example.clean[:99]).all(1).argmax()))
        if example.curve in MEMORYLESS:
            bent = saturate(example.clean, example.depth, curve=example.curve)
            level = level_of(example.wet, bent)
            assert -24.1 < 20 * np.log10(level) < -2.9
            # Half a step of 16 bits, and as much in the level.
            assert example.wet == pytest.approx(level * bent, abs=3.2e-5)
            fit = least_squares(example.reference, example.wet)
            assert (fit.curve, fit.depth) == (example.curve, pytest.approx(example.depth, rel=0.02))
    assert seen == set(CURVE_NAMES)
    assert len(shifts) > 10
    assert one(pool, CONDITIONS["wet"]).reference is None
    near = SMALL.but(margin_ms=2.0, samples=25_000)  # less than the largest shift of `FIVE`
    for index in range(5):
        example = Examples(near, [pool], 0, training=False, condition=FIVE).example(index)
        assert example.reference.shape == (25_000 + 2 * near.sound.margin,)


def test_a_buffer_keeps_what_fits_and_renews_it():
    clip_gb = 4 * SOUND.clip_seconds * RATE / 1e9
    made, again = (BufferedClips(Tones(), "train", 0, gigabytes=3.5 * clip_gb) for _ in range(2))
    first, second = (
        [made.clip(i).audio.tobytes() for i in range(start, start + 50)] for start in (0, 2000)
    )
    assert made.slots == len(set(first)) == len(set(second)) == 3
    assert not set(first) & set(second)
    assert again.clip(2007).audio.tobytes() == second[7]


def test_half_of_the_wet_clips_pass_what_stands_behind_the_pedals(pool):
    config = SMALL.but(behind_share=0.5)
    examples = Examples(config, [pool], 0, training=False, condition=CONDITIONS["wet"])
    made = [examples.example(k) for k in range(24)]
    left = [least_squares(e.clean, e.wet, ("tanh",)).residual for e in made]
    # Alone, 16 bits and a level leave 1e-6 at most.
    assert 6 <= sum(share > 1e-4 for share in left) <= 18
    assert max(e.depth for e in made) <= 10
    assert all(np.isfinite(e.wet).all() and e.wet.dtype == np.float32 for e in made)


def test_network_inputs_ignore_levels_and_accept_silence(pool):
    example = one(pool, CONDITIONS["level"])
    inputs = network_inputs(SMALL, example.wet, example.reference)
    softer = network_inputs(SMALL, example.wet * 0.25, example.reference * 0.5)
    for key, value in inputs.items():
        assert torch.equal(value, softer[key])  # powers of two: not a bit changes
    assert inputs["features"].shape == (network.N_FEATURES,)
    for reference in (None, np.zeros_like(example.reference)):
        silent = network_inputs(SMALL, np.zeros_like(example.wet), reference)
        assert all(value.isfinite().all() for value in silent.values())
    wet_only = network_inputs(SMALL, example.wet, None)["features"]
    assert not wet_only[network.N_WET :].any()


def test_the_big_preset_has_the_size_of_its_model():
    big = summary(build(saturation.BIG))
    for line in ("encoder        7.14 M", "controller     0.13 M", "total          7.27 M"):
        assert line in big
    assert sum(p.numel() for p in build(saturation.LIGHT).parameters()) <= 1_000_000


@pytest.mark.parametrize("changes", [{}, {"features": False, "in_channels": 3, "dropout": 0.3}])
def test_every_trainable_tensor_moves(pool, changes):
    config = SMALL.but(loss="both", **changes)
    batch = collect(Examples(config, [pool], 0), 8)
    assert 0 < batch["given"].sum() < 8
    model = build(config)
    before = {name: p.clone() for name, p in model.named_parameters()}
    loss_of(config)(model, batch)[0].backward()
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    assert [name for name, p in model.named_parameters() if torch.equal(before[name], p)] == []


def test_it_learns_and_falls_to_chance_on_shuffled_sound():
    """After 48 pairs the error on others is half the best constant's; on shuffled sound not."""
    batch, fresh = (
        collect(
            Examples(SMALL, [FreshClips(Tones(), "train", k)], k, condition=CONDITIONS["level"]), n
        )
        for k, n in ((0, 48), (1, 24))
    )
    model, order = build(SMALL).train(), generator(0, "order")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(40):
        some = order.permutation(48)[:24]
        value, _ = loss_of(SMALL)(model, {key: tensor[some] for key, tensor in batch.items()})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    with torch.no_grad():
        depth = model.eval()(fresh).of(fresh["curve"]).exp()
    true = fresh["log_depth"].exp()
    constant = (true - 5.5).abs().mean()
    assert (depth - true).abs().mean() < 0.5 * constant
    assert (depth.roll(5) - true).abs().mean() > 0.8 * constant


@pytest.fixture
def tones(monkeypatch):
    """The dry sounds of training and score are tones."""
    for name in ("train", "data"):
        saturation.SYSTEM.part(f"{name}:np")
        module = sys.modules[f"labkit.systems.saturation.{name}"]
        monkeypatch.setattr(
            module, "dry_pool", lambda _kind, split, _n, **_: FreshClips(Tones(), split, 0)
        )


@pytest.mark.usefixtures("tones")
def test_a_run_of_ones_own_recordings_goes_on_and_is_calibrated(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for k in range(8):
        tone = Tones().clip(generator(k, "tone"), "train").audio
        write_audio(folder / f"tone{k}.wav", tone, RATE)

    def run(steps):
        data, rows = Data(folder=folder, n_validation=6), []
        config = SMALL.but(steps=steps, batch_size=2, checkpoint_every=20)
        trained = saturation.SYSTEM.train(config, tmp_path, data=data, on_log=rows.append)
        return trained.spread_factor, rows[0]["step"]

    assert run(20)[1] == 20
    factor, first = run(21)
    assert first == 21
    assert factor != 1


@pytest.mark.usefixtures("tones")
def test_score_has_a_row_for_every_method():
    sizes = {"n": 24, "n_floor": 24, "sources": ("generated",)}
    heard = ("mp3", "curve", "wet")
    rows = saturation.SYSTEM.score(build(SMALL).eval(), conditions=heard, **sizes)
    assert all(row.n == 24 for row in rows)
    found = {(row.protocol, row.name, row.metric): row for row in rows}
    mp3, curve, wet = (CONDITIONS[name].description for name in heard)
    assert found[mp3, "least squares", "depth error"].ours < 0.5
    ours = found[mp3, "network", "depth error"]
    assert ours.oracle == found[mp3, "least squares", "depth error"].ours
    assert found[mp3, "network, refined", "depth error"].ours == ours.oracle
    assert found[curve, "least squares", "curve named"].ours > 0.6
    assert found[curve, "network", "curve named"].chance == 0.2
    ours = found[wet, "network", "depth error"]
    assert ours.oracle is None
    # 24 uniform draws: 2.25 give or take 1.3 / sqrt(24) = 0.27, three times that.
    assert ours.prior == pytest.approx(2.25, abs=0.8)
    assert 0 < ours.floor < ours.prior
    assert ours.control > 0


def test_predicting_takes_any_recording(pool):
    model = build(SMALL).eval()
    example = one(pool, CONDITIONS["level"])
    stereo = np.stack([example.wet, example.wet])
    found = saturation.predict(model, stereo, RATE)
    assert found == saturation.predict(model, example.wet[None], RATE)
    assert 1 <= found.low <= found.depth <= found.high <= 10
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-5)
    assert found.shares[found.curve] == max(found.shares.values())
    clean = example.reference[None]
    assert saturation.predict(model, stereo, RATE, clean=clean, curve="cubic").curve == "cubic"


def test_a_constant_part_of_a_wet_recording_is_taken_away(pool):
    model = build(SMALL).eval()
    wet = one(pool, CONDITIONS["level"]).wet[None]
    found = [saturation.predict(model, wet + np.float32(offset), RATE) for offset in (0.4, -0.7)]
    assert found[0].depth == pytest.approx(found[1].depth, rel=1e-4)
    assert found[0].depth == pytest.approx(saturation.predict(model, wet, RATE).depth, rel=0.02)


def test_a_pair_is_explained_wherever_it_lies_or_it_is_said_why_not(pool):
    model = build(SMALL).eval()
    clean = np.concatenate([one(pool, CONDITIONS["level"], k).clean for k in range(2)])[None]
    bent = saturate(clean, 5.0, curve="cubic")
    noise = generator(0, "noise").standard_normal(bent.shape).astype(np.float32)
    late = np.pad(0.1 - 0.5 * bent, ((0, 0), (RATE // 5, 0)))  # and inverted, on a constant part
    found = saturation.predict(model, late, RATE, clean=clean)
    assert found.answer == ("cubic", pytest.approx(5.0, rel=0.02))
    assert found.pair.lag_ms == pytest.approx(200, abs=0.1)
    line = np.round(1e4 * clean) / 2e4  # half the sound, rounded as a file rounds it
    told = "no curve explains", "no saturation", "not aligned"
    for wet, verdict in zip((line, clean / 2, noise), told, strict=True):
        found = saturation.predict(model, wet, RATE, clean=clean)
        assert found.answer is None
        assert found.verdict.startswith(verdict)
    assert found.refined == (found.curve, found.depth)  # the network's: no fit is near


NOISE = generator(0, "noise").standard_normal((1, RATE)).astype(np.float32)


def predicted(wet, **options):
    return saturation.predict(build(SMALL).eval(), wet, RATE, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: predicted(NOISE[:, :500]), r"wet is too short: 0.1 s or more expected, got 0.031"),
        (lambda: predicted(0 * NOISE), "wet is silent"),
        (lambda: predicted(NOISE, clean=0 * NOISE), "clean is silent"),
        (lambda: predicted(NOISE, curve="fuzz"), "curve must be one of"),
        (lambda: SMALL.but(clip_seconds=1.0), "clip_seconds must hold"),
        (lambda: SMALL.but(samples=30_000), "clip_seconds must hold"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
