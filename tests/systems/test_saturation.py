"""Saturation as a system: examples, network inputs, learning, training, prediction, score."""

import sys

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from labkit.effects.saturation import MEMORYLESS, saturate
from labkit.signal.files import AudioError, write_audio
from labkit.signal.pool import Clip, FreshClips
from labkit.signal.seeds import generator
from labkit.systems import saturation
from labkit.systems.saturation import model as network
from labkit.systems.saturation.config import CONDITIONS, CURVE_NAMES, Condition
from labkit.systems.saturation.data import BufferedClips, Examples, draw_condition
from labkit.systems.saturation.model import Prediction, build, network_inputs, summary
from labkit.systems.saturation.predict import Identification, least_squares
from labkit.systems.saturation.train import Data, audio_distance, calibrate, collect, loss_of

RATE = 16000
SMALL = saturation.Config().but(
    sample_rate=RATE,
    samples=16384,
    clip_seconds=1.6,
    augment_strength=0.0,
    n_fft=1024,
    hop_length=512,
    n_mels=32,
    high_hz=7500.0,
    width=0.1,
    embedding=16,
    hidden=32,
    batch_size=4,
    steps=4,
    checkpoint_every=2,
    warmup_steps=0,
    n_workers=0,
)
SOUND = SMALL.sound
FIVE = Condition("five", "five curves", curves=CURVE_NAMES, shift_ms=30.0)


class Tones:
    """Decaying harmonics, made in no time; the source is the pitch."""

    kind, seconds, sample_rate = "generated", SOUND.clip_seconds, RATE

    def clip(self, rng, split):
        pitch = int(rng.integers(40)) + {"train": 100, "validation": 200, "test": 300}[split]
        t = np.arange(round(self.seconds * RATE)) / RATE
        partials = [
            np.sin(2 * np.pi * pitch * k * t + 6 * rng.random()) * np.exp(-2 * k * t) / k
            for k in range(1, 9)
        ]
        audio = np.sum(partials, 0) + 1e-3 * rng.standard_normal(len(t))
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
            assert (fit.curve, fit.depth) == (
                example.curve,
                pytest.approx(example.depth, rel=0.02),
            )
    assert seen == set(CURVE_NAMES)
    assert len(shifts) > 10
    assert one(pool, CONDITIONS["wet"]).reference is None


@pytest.mark.parametrize(
    ("changes", "low_db", "high_db"), [({"snr_db": 20.0}, 19.8, 20.2), ({"mp3": True}, 10, 60)]
)
def test_noise_and_codec_are_as_strong_as_stated(pool, changes, low_db, high_db):
    """The power of 16384 draws scatters by sqrt(2 / 16384) = 1.1 %, 0.05 dB; four times that."""
    example = one(pool, Condition("disturbed", "disturbed", **changes))
    bent = saturate(example.clean, example.depth)
    bent = level_of(example.wet, bent) * bent
    snr_db = 10 * np.log10(np.mean(bent**2) / np.mean((example.wet - bent) ** 2))
    assert low_db < snr_db < high_db


def test_least_squares_reaches_the_cramer_rao_bound_under_noise(pool):
    """The bound for an unknown level: the Schur complement of the 2 x 2 Fisher information."""
    clean = one(pool, CONDITIONS["level"]).clean.astype(float)
    rng, depth = generator(0, "noise"), 6.0
    wet = saturate(clean, depth)
    noise_rms = float(np.sqrt(np.mean(wet**2))) / 100  # 40 dB below
    noisy = [wet + noise_rms * rng.standard_normal(len(wet)) for _ in range(24)]
    found = [least_squares(clean, audio, ("tanh",)).depth for audio in noisy]
    by_depth = clean / np.cosh(depth * clean) ** 2
    information = np.sum(by_depth**2) - np.sum(by_depth * wet) ** 2 / np.sum(wet**2)
    # The deviation of 24 draws scatters by 1 / sqrt(48) = 14 %: three times that.
    assert np.std(found) == pytest.approx(noise_rms / np.sqrt(information), rel=0.45)
    assert np.mean(found) == pytest.approx(depth, abs=1e-2)


@pytest.mark.parametrize("change", [{"clip_seconds": 1.0}, {"samples": 30_000}])
def test_clips_must_hold_their_examples(change):
    with pytest.raises(ValueError, match="clip_seconds must hold"):
        SMALL.but(**change)


def test_a_buffer_keeps_what_fits_and_renews_it():
    clip_gb = 4 * SOUND.clip_seconds * RATE / 1e9
    made, again = (BufferedClips(Tones(), "train", 0, gigabytes=3.5 * clip_gb) for _ in range(2))
    first, second = (
        [made.clip(i).audio.tobytes() for i in range(start, start + 50)] for start in (0, 2000)
    )
    assert made.slots == len(set(first)) == len(set(second)) == 3
    assert not set(first) & set(second)
    assert again.clip(2007).audio.tobytes() == second[7]


def test_kept_examples_are_those_that_were_made(pool, tmp_path):
    config = SMALL.but(n_examples=6)
    made = Examples(config, [pool], 3)
    kept = Examples(config, [pool], 3).cached(tmp_path / "kept")
    first, second = [kept[i] for i in range(6)], [kept[6 + i] for i in range(6)]
    for index, example in enumerate(first):
        for name, value in made[index].items():
            assert example[name].dtype == value.dtype
            torch.testing.assert_close(example[name], value, rtol=1e-3, atol=1e-4)
    shown = [[example["log_depth"].item() for example in turn] for turn in (first, second)]
    assert sorted(shown[0]) == sorted(shown[1])
    assert shown[0] != shown[1]


def test_a_missing_reference_does_not_change_the_prediction(pool):
    model = build(SMALL).eval()
    alone = default_collate(
        [network_inputs(SMALL, one(pool, CONDITIONS["level"], k).wet, None) for k in range(2)]
    )
    pairs = [one(pool, CONDITIONS["level"], k) for k in range(2)]
    pair = default_collate([network_inputs(SMALL, e.wet, e.reference) for e in pairs])
    mixed = {name: torch.cat([alone[name], pair[name]]) for name in alone}
    mixed["reference"][:2] = 9.0
    with torch.no_grad():
        together = model(mixed)
        for part, rows in ((alone, slice(0, 2)), (pair, slice(2, 4))):
            for apart, joint in zip(model(part), together, strict=True):
                torch.testing.assert_close(apart, joint[rows], rtol=1e-4, atol=1e-5)


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


def test_both_is_the_sum_of_the_two_losses(pool):
    batch = collect(Examples(SMALL.but(loss="both"), [pool], 0), 6)
    model = build(SMALL).eval()
    parameter, audio, both = (
        loss_of(SMALL.but(loss=loss))(model, batch)[0].item()
        for loss in ("parameter", "audio", "both")
    )
    curve = 0.3 * torch.nn.functional.cross_entropy(model(batch).curve_logits, batch["curve"])
    assert both == pytest.approx(parameter + audio - curve.item(), rel=1e-5)


def test_audio_distance_has_a_gradient_to_the_depth_that_falls_with_it(pool):
    batch = collect(Examples(SMALL.but(loss="audio"), [pool], 0, condition=CONDITIONS["level"]), 4)

    def distance(depth, ratio):
        target = {**batch, "log_depth": torch.full((4,), float(np.log(depth)))}
        log_depth = target["log_depth"] + float(np.log(ratio))
        log_depth = log_depth[:, None].repeat(1, 5).requires_grad_()
        prediction = Prediction(log_depth, torch.zeros(4), torch.zeros(4, 5))
        found = audio_distance(RATE, prediction, target)
        found.backward()
        return found.item(), log_depth.grad.sum().item()

    assert distance(3.0, 1.0)[0] == pytest.approx(0.0, abs=1e-5)
    assert distance(3.0, 1.2)[1] > 0 > distance(3.0, 0.8)[1]
    # For equal steps of depth the published slope falls 4.5-fold along the range; twofold here.
    steps = [distance(depth, 1 + 0.1 / depth)[0] for depth in (1.0, 3.0, 9.0)]
    assert steps[0] > steps[1] > 1.5 * steps[2] > 0
    assert steps[0] > 2 * steps[2]


def test_calibration_corrects_a_spread_that_is_wrong_by_a_factor(monkeypatch):
    model = build(SMALL).eval()
    error = generator(0, "errors").laplace(0, 0.3, 4000).astype(np.float32)
    error = torch.from_numpy(error)
    spread = torch.full((4000,), float(np.log(0.1)))
    prediction = Prediction(torch.zeros(4000, 5), spread, torch.zeros(4000, 5))
    batch = {"curve": torch.zeros(4000, dtype=torch.long), "log_depth": error}
    train = sys.modules["labkit.systems.saturation.train"]
    monkeypatch.setattr(train, "predict_batch", lambda *_: prediction)
    # The mean of 4000 exponential draws scatters by 1 / sqrt(4000) = 1.6 %.
    assert calibrate(model, batch) == pytest.approx(3.0, rel=0.06)


def test_it_learns_and_falls_to_chance_on_shuffled_sound():
    """After 96 pairs the error on others is half the best constant's; on shuffled sound not."""
    batch, fresh = (
        collect(
            Examples(SMALL, [FreshClips(Tones(), "train", k)], k, condition=CONDITIONS["level"]), n
        )
        for k, n in ((0, 96), (1, 32))
    )
    model, order = build(SMALL).train(), generator(0, "order")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(60):
        some = order.permutation(96)[:32]
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


@pytest.mark.parametrize("source", ["pools", "folder"])
def test_a_stopped_run_ends_where_an_unbroken_one_does(source, tones, tmp_path):
    assert tones is None
    if source == "folder":
        (tmp_path / "own").mkdir()
        for k in range(8):
            tone = Tones().clip(generator(k, "tone"), "train").audio
            write_audio(tmp_path / "own" / f"tone{k}.wav", tone, RATE)
    folder = tmp_path / "own" if source == "folder" else None
    data = Data(folder=folder, n_validation=6)

    def run(name, on_log=None, **changes):
        config = SMALL.but(steps=21, **changes)
        return saturation.SYSTEM.train(config, tmp_path / name, data=data, on_log=on_log)

    def stop(_row):
        raise KeyboardInterrupt

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", stop)
    resumed = run("broken")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    with pytest.raises(ValueError, match="holds a run with another config"):
        run("whole", seed=1)


def test_score_has_a_row_for_every_method(tones):
    assert tones is None
    sizes = {"n": 24, "n_floor": 24, "sources": ("generated",)}
    rows = saturation.SYSTEM.score(build(SMALL).eval(), **sizes)
    assert all(row.n == 24 for row in rows)
    found = {(row.protocol, row.name, row.metric): row for row in rows}
    mp3, curve, wet = (CONDITIONS[name].description for name in ("mp3", "curve", "wet"))
    assert found[mp3, "least squares", "depth error"].ours < 0.5
    ours = found[mp3, "network", "depth error"]
    assert ours.oracle == found[mp3, "least squares", "depth error"].ours
    assert found[mp3, "network, refined", "depth error"].ours == ours.oracle
    assert found[curve, "least squares", "curve named"].ours > 0.6
    assert found[curve, "network", "curve named"].chance == 0.2
    ours = found[wet, "network", "depth error"]
    assert ours.oracle is None
    assert ours.low <= ours.ours <= ours.high
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
    with pytest.raises(AudioError, match=r"wet is too short: 0.1 s or more expected, got 0.011"):
        saturation.predict(model, example.wet[None, :500], 44100)
    silence = np.zeros((1, RATE), np.float32)
    with pytest.raises(AudioError, match="wet is silent"):
        saturation.predict(model, silence, RATE)
    with pytest.raises(AudioError, match="clean is silent"):
        saturation.predict(model, stereo, RATE, clean=silence)
    with pytest.raises(ValueError, match="curve must be one of"):
        saturation.predict(model, stereo, RATE, curve="fuzz")


def test_a_constant_part_of_a_wet_recording_is_taken_away(pool):
    model = build(SMALL).eval()
    wet = one(pool, CONDITIONS["level"]).wet[None]
    found = [saturation.predict(model, wet + np.float32(offset), RATE) for offset in (0.4, -0.7)]
    assert found[0].depth == pytest.approx(found[1].depth, rel=1e-4)
    assert found[0].depth == pytest.approx(saturation.predict(model, wet, RATE).depth, rel=0.02)


def test_a_pair_is_cut_where_the_clean_signal_is_loudest():
    """Clipping makes all loud places alike; the depth counts from the highest clean peak."""
    t = np.arange(4 * RATE) / RATE
    clean = (np.sin(2 * np.pi * 150 * t) * (0.5 + 0.1 * np.floor(t + 1.5))).astype(np.float32)
    clean = clean[None] / np.abs(clean).max()
    wet = saturate(clean, 6.0, curve="hard_clip")
    model = build(SMALL).eval()
    found = saturation.predict(model, wet, RATE, clean=clean, curve="hard_clip")
    assert found.fit.depth == pytest.approx(6.0, rel=1e-3)


def test_of_a_pair_the_network_decides_memory_and_least_squares_the_rest(pool):
    example = one(pool, Condition("level", "cubic", curves=("cubic",)))
    fit = least_squares(example.reference, example.wet)

    def refined(curve, fit):
        return Identification(curve, 5.0, 4.0, 6.0, {}, fit).refined

    assert refined("arctan", fit) == ("cubic", fit.depth)
    assert refined("hysteresis", fit) == ("hysteresis", 5.0)
    other = least_squares(one(pool, CONDITIONS["level"], 1).reference, example.wet)
    assert other.residual > 0.2
    assert refined("tanh", other) == ("tanh", 5.0)
