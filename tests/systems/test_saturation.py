"""Saturation as a system: examples from seeds, what the network hears, and that it learns."""

import itertools
import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from labkit.cli import main
from labkit.effects.saturation import MEMORYLESS, saturate
from labkit.learn import checkpoints, training
from labkit.learn.checkpoints import CheckpointError
from labkit.measure.score import Row, read, write
from labkit.signal.files import AudioError, write_audio
from labkit.signal.pool import FreshClips
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip
from labkit.systems import saturation
from labkit.systems.saturation import CONDITIONS, data, views
from labkit.systems.saturation.baselines import Ridge, hand_features
from labkit.systems.saturation.buffer import BufferedClips
from labkit.systems.saturation.compare import compare_losses
from labkit.systems.saturation.config import NAMES
from labkit.systems.saturation.evaluate import AIMS, pedal_rows
from labkit.systems.saturation.model import Answer, build, summary
from labkit.systems.saturation.oracles import align, gaps_filled
from labkit.systems.saturation.predict import Identification, interval
from labkit.systems.saturation.train import audio_distance, calibrate, collect, loss_of

RATE = 16000
SMALL = saturation.Config(
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


class Tones:
    """Decaying harmonics, made in no time; the source is the pitch."""

    kind, seconds, sample_rate = "generated", SMALL.clip_seconds, RATE

    def clip(self, rng, split):
        pitch = int(rng.integers(40)) + {"train": 100, "validation": 200, "test": 300}[split]
        t = np.arange(round(self.seconds * RATE)) / RATE
        partials = [
            np.sin(2 * np.pi * pitch * k * t + 6 * rng.random()) * np.exp(-2 * k * t) / k
            for k in range(1, 9)
        ]
        audio = np.sum(partials, 0) + 1e-3 * rng.standard_normal(len(t))
        return Clip((0.3 * audio[None]).astype(np.float32), RATE, f"tone/{pitch}", self.kind)

    def groups(self, split):
        return [split]


@pytest.fixture(scope="module")
def pool():
    return FreshClips(Tones(), "train", 0)


def one(pool, condition, index=0, **changes):
    return data.Examples(
        SMALL, [pool], 0, training=False, condition=replace(CONDITIONS[condition], **changes)
    ).example(index)


def test_an_example_depends_on_seed_and_number_alone(pool):
    first, again = (data.Examples(SMALL, [pool], 3) for _ in range(2))
    [first[i] for i in range(3)]
    for key, value in again[7].items():
        assert torch.equal(value, first[7][key])
    assert not torch.equal(first[7]["wet"], data.Examples(SMALL, [pool], 4)[7]["wet"])


def test_training_meets_every_reference_curve_and_disturbance(pool):
    drawn = [data.draw_condition(generator(0, "draw", i)) for i in range(300)]
    assert {c.reference for c in drawn} == {"paired", "unpaired", "none"}
    assert {c.curves[0] for c in drawn} == set(NAMES)
    for field in ("mp3", "snr_db", "shift_ms"):
        assert len({bool(getattr(c, field)) for c in drawn}) == 2
    depths = [data.Examples(SMALL, [pool], 0).example(i).depth for i in range(60)]
    assert 1 <= min(depths) < 3 < 8 < max(depths) <= 10


def test_a_pair_is_the_curve_of_its_clean_signal(pool):
    for curve in NAMES:
        example = one(pool, "exact", curves=(curve,))
        assert np.abs(example.clean).max() == 1
        assert example.reference.shape == (SMALL.samples + 2 * SMALL.margin,)
        assert np.array_equal(example.reference[SMALL.margin : -SMALL.margin], example.clean)
        if curve in MEMORYLESS:
            # Half a step of 16 bits.
            assert example.wet == pytest.approx(
                saturate(example.clean, example.depth, curve=curve), abs=1.6e-5
            )


def test_disturbances_are_what_they_are_said_to_be(pool):
    noisy = one(pool, "noise_20")
    bent = noisy.wet_amplitude * saturate(noisy.clean, noisy.depth)
    noise = noisy.wet - bent
    # 16384 draws: the power of noise scatters by sqrt(2 / 16384) = 1.1 %, 0.05 dB; four times that.
    assert 10 * np.log10(np.mean(bent**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.2)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(noisy.noise_rms, rel=0.03)
    assert 10 ** (-24 / 20) <= noisy.wet_amplitude <= 10 ** (-3 / 20)
    shifts = []
    for i in range(6):
        shifted = one(pool, "shift", i)
        found, _ = align(shifted.reference, shifted.wet)
        start = next(
            k
            for k in range(2 * SMALL.margin + 1)
            if np.array_equal(shifted.reference[k : k + 99], found[:99])
        )
        assert np.array_equal(found, shifted.clean)
        shifts.append(start - SMALL.margin)
    assert len(set(shifts)) > 3
    assert one(pool, "wet").reference is None
    strange = one(pool, "unpaired")
    assert np.abs(strange.reference).max() == 1
    assert not np.array_equal(strange.reference[SMALL.margin : -SMALL.margin], strange.clean)


def test_a_codec_between_leaves_the_same_sound_in_the_same_place(pool):
    example = one(pool, "mp3", shift_ms=0.0)
    bent = example.wet_amplitude * saturate(example.clean, example.depth)
    error = example.wet - bent
    assert 10 < 10 * np.log10(np.mean(bent**2) / np.mean(error**2)) < 60


def test_a_clip_that_does_not_fit_is_refused(pool):
    for clip in (
        Clip(np.zeros((1, 99), "f"), RATE, "x", "real"),
        Clip(np.zeros((1, 99_999), "f"), 8000, "x", "real"),
    ):
        with pytest.raises(ValueError, match="a clip must hold 18304 samples at 16000 Hz"):
            data.render(SMALL, clip, CONDITIONS["wet"], generator(0))
    with pytest.raises(ValueError, match="other must be a clip"):
        data.render(SMALL, pool.clip(0), CONDITIONS["unpaired"], generator(0))
    silent = Clip(np.zeros((1, 30_000), "f"), RATE, "x", "real")
    assert not data.render(SMALL, silent, CONDITIONS["exact"], generator(0)).wet.any()


def test_a_buffer_keeps_what_fits_and_renews_it():
    clip_gb = 4 * SMALL.clip_seconds * RATE / 1e9
    made = BufferedClips(Tones(), "train", 0, gigabytes=3.5 * clip_gb, reload_every=50)
    ids = [[made.clip(i).audio.tobytes() for i in range(k, k + 50)] for k in (0, 50)]
    assert made.slots == 3
    assert made.megabytes == pytest.approx(3 * clip_gb * 1000)
    assert [len(set(i)) for i in ids] == [3, 3]
    assert not set(ids[0]) & set(ids[1])
    again = BufferedClips(Tones(), "train", 0, gigabytes=3.5 * clip_gb, reload_every=50)
    assert again.clip(57).audio.tobytes() == ids[1][7]
    with pytest.raises(ValueError, match="gigabytes and reload_every must be positive"):
        BufferedClips(Tones(), "train", 0, gigabytes=0)


def test_kept_examples_are_those_that_were_made(pool, tmp_path):
    config = replace(SMALL, n_examples=6)
    made, kept = (
        data.Examples(config, [pool], 3),
        data.Examples(config, [pool], 3).cached(tmp_path / "kept"),
    )
    first, second = [kept[i] for i in range(6)], [kept[6 + i] for i in range(6)]
    for index, one in enumerate(first):
        for name, value in made[index].items():
            assert one[name].dtype == value.dtype
            torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4)
    shown = [[one["log_depth"].item() for one in turn] for turn in (first, second)]
    assert sorted(shown[0]) == sorted(shown[1])
    assert shown[0] != shown[1]
    for other in ({"loss": "audio"}, {"picture": "stft"}):
        with pytest.raises(ValueError, match="kept as log-mel pictures without sound, got"):
            data.Examples(replace(config, **other), [pool], 3).cached(tmp_path / "other")


def test_weights_of_another_version_are_named(tmp_path):
    path = tmp_path / "old.safetensors"
    checkpoints.write(
        build(replace(SMALL, hidden=16)), path, system="saturation", config=asdict(SMALL)
    )
    with pytest.raises(
        CheckpointError,
        match=r"of another version of the model, train it again: size mismatch for views",
    ):
        saturation.load(path)


def test_a_reference_that_is_not_there_is_not_looked_at(pool):
    """Whatever stands in its place: the answer to a wet sound alone is the same in any company."""
    model = saturation.build(SMALL).eval()
    alone = default_collate([views.hear(SMALL, one(pool, "wet", k).wet, None) for k in range(2)])
    pair = default_collate(
        [views.hear(SMALL, (e := one(pool, "level", k)).wet, e.reference) for k in range(2)]
    )
    mixed = {name: torch.cat([alone[name], pair[name]]) for name in alone}
    mixed["reference"][:2] = 9.0
    with torch.no_grad():
        together = model(mixed)
        for part, rows in ((alone, slice(0, 2)), (pair, slice(2, 4))):
            for apart, said in zip(model(part), together, strict=True):
                torch.testing.assert_close(apart, said[rows], rtol=1e-4, atol=1e-5)


def test_what_is_heard_ignores_levels_and_takes_silence(pool):
    example = one(pool, "level")
    heard = views.hear(SMALL, example.wet, example.reference)
    softer = views.hear(SMALL, example.wet * 0.25, example.reference * 0.5)
    for key, value in heard.items():
        assert torch.equal(value, softer[key])  # powers of two: not a bit changes
    assert heard["views"].shape == (views.N_VIEWS,)
    for reference in (None, np.zeros_like(example.reference)):
        silent = views.hear(SMALL, np.zeros_like(example.wet), reference)
        assert all(value.isfinite().all() for value in silent.values())
    assert not views.hear(SMALL, example.wet, None)["views"][views.BLIND :].any()
    with pytest.raises(ValueError, match=r"reference must be \(17344,\)"):
        views.hear(SMALL, example.wet, example.wet)


@pytest.mark.parametrize("curve", MEMORYLESS)
def test_the_view_of_a_pair_is_deepest_at_the_true_curve_and_depth(pool, curve):
    example = one(pool, "level", curves=(curve,))
    remains = views.pair_view(example.clean, example.wet, 1.0)[-97:-1].reshape(4, 24)
    row, column = np.unravel_index(remains.argmin(), remains.shape)
    assert MEMORYLESS[row] == curve
    # Neighbours are a factor of 10^(1/23) = 1.105 apart.
    assert np.logspace(0, 1, 24)[column] == pytest.approx(example.depth, rel=0.11)


@pytest.mark.parametrize("depth", [2.0, 3.0, 4.0, 6.0])
def test_undone_at_the_true_depth_the_sound_is_smoothest(pool, depth):
    """The eight partials of these tones lie below 1.2 kHz: most of what lies above is the curve's own work."""
    for i in range(3):
        wet = np.round(32767 * saturate(one(pool, "exact", i).clean, depth)) / 32767
        share = views.blind_view((wet / np.abs(wet).max()).astype(np.float32), RATE)[
            32 : 32 + 90
        ].reshape(9, 10)
        best = np.logspace(0, 1, 9)[share[:, 4:].mean(1).argmin()]
        # Neighbours are a factor of 10^(1/8) = 1.33 apart: one of them.
        assert best == pytest.approx(depth, rel=0.35)


def test_summits_of_a_parabola_are_exact_and_of_nothing_the_height():
    t = np.arange(-50, 51) / 10.0
    hidden = np.concatenate([3.0 - 0.4 * (t - 0.03) ** 2, 2.0 - t**2]).clip(0)
    # The slope is measured over a sample beside the crossing: 0.1 of 1.8 or 2.2 units of half-width, a few percent.
    assert views.summits(hidden.clip(max=1.5), 1.2) == pytest.approx([3.0, 2.5], rel=0.05)
    assert views.summits(np.zeros(10), 0.5).tolist() == [0.5, 0.5]
    assert views.summits(np.ones(10), 0.5).tolist() == [0.5, 0.5]


def test_sizes_are_the_ones_promised():
    big = summary(build(saturation.BIG))
    assert "encoder        7.14 M" in big
    assert "controller     0.13 M" in big
    assert "total          7.27 M" in big
    assert sum(p.numel() for p in build(saturation.LIGHT).parameters()) <= 1_000_000


@pytest.mark.parametrize(
    "changes", [{}, {"picture": "stft", "standardise": True, "views": False, "in_channels": 3}]
)
def test_every_trainable_weight_moves(pool, changes):
    config = replace(SMALL, loss="both", **changes)
    batch = default_collate([data.Examples(config, [pool], 0)[i] for i in range(8)])
    assert 0 < batch["given"].sum() < 8
    model = build(config)
    before = {name: p.clone() for name, p in model.named_parameters()}
    value, figures = loss_of(config)(model, batch)
    value.backward()
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    assert [name for name, p in model.named_parameters() if torch.equal(before[name], p)] == []
    assert figures["train/loss_step"] == pytest.approx(value.item())


def test_the_loss_switch(pool):
    batch = collect(data.Examples(replace(SMALL, loss="both"), [pool], 0), 6)
    values = {}
    for name in ("parameter", "audio", "both"):
        config = replace(SMALL, loss=name, curve_weight=0.0)
        values[name] = loss_of(config)(build(SMALL).eval(), batch)[0].item()
    assert values["both"] == pytest.approx(values["parameter"] + values["audio"], rel=1e-5)
    with pytest.raises(ValueError, match="loss must be one of parameter, audio, both, got 'image'"):
        replace(SMALL, loss="image")


def test_sound_leads_to_the_depth_and_less_so_where_it_is_deep(pool):
    batch = collect(
        data.Examples(replace(SMALL, loss="audio"), [pool], 0, condition=CONDITIONS["exact"]), 4
    )

    def distance(depth, ratio):
        asked = batch | {"log_depth": torch.full((4,), float(np.log(depth)))}
        log_depth = (
            (asked["log_depth"] + float(np.log(ratio)))[:, None].repeat(1, 5).requires_grad_()
        )
        found = audio_distance(SMALL, Answer(log_depth, torch.zeros(4), torch.zeros(4, 5)), asked)
        found.backward()
        return found.item(), log_depth.grad.sum().item()

    assert distance(3.0, 1.0)[0] == pytest.approx(0.0, abs=1e-5)
    assert distance(3.0, 1.2)[1] > 0 > distance(3.0, 0.8)[1]
    # The published slope falls 4.5-fold along the range, for equal steps of depth; a twofold fall is asked for.
    steps = [distance(depth, 1 + 0.1 / depth)[0] for depth in (1.0, 3.0, 9.0)]
    assert steps[0] > steps[1] > 1.5 * steps[2] > 0
    assert steps[0] > 2 * steps[2]


def test_calibration_mends_a_spread_that_is_wrong_by_a_factor(monkeypatch):
    model = build(SMALL).eval()
    rng = np.random.default_rng(0)
    error = torch.from_numpy(rng.laplace(0, 0.3, 4000).astype(np.float32))
    answer = Answer(
        torch.zeros(4000, 5), torch.full((4000,), float(np.log(0.1))), torch.zeros(4000, 5)
    )
    batch = {"curve": torch.zeros(4000, dtype=torch.long), "log_depth": error}
    monkeypatch.setattr(
        sys.modules["labkit.systems.saturation.train"], "answers", lambda *_: answer
    )
    # The mean of 4000 exponential draws scatters by 1 / sqrt(4000) = 1.6 %.
    assert calibrate(model, batch) == pytest.approx(3.0, rel=0.06)
    ends = interval(answer, batch["curve"], float(model.spread_factor)).log()
    inside = (ends[:, 0] <= error) & (error <= ends[:, 2])
    # Depths below 1 are held at 1, so the lower half of the errors is out of reach: the upper half is asked.
    assert inside[error > 0].float().mean() == pytest.approx(0.8, abs=0.03)


def test_it_learns_and_hears():
    """On 96 pairs it comes far below guessing the mean on others, and with the sounds exchanged it does not."""
    batch, fresh = (
        collect(
            data.Examples(
                SMALL, [FreshClips(Tones(), "train", k)], k, condition=CONDITIONS["level"]
            ),
            n,
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
        said = interval(model.eval()(fresh), fresh["curve"], 1.0)[:, 1]
    true = fresh["log_depth"].exp()
    floor = (true - 5.5).abs().mean()
    assert (said - true).abs().mean() < 0.5 * floor
    assert (said.roll(5) - true).abs().mean() > 0.8 * floor


@pytest.fixture
def tones(monkeypatch):
    """The system's pools are tones."""
    for module in ("train", "evaluate"):
        # By its name in sys.modules: the package's attribute of that name is the function.
        where = sys.modules[f"labkit.systems.saturation.{module}"]
        monkeypatch.setattr(
            where, "pool", lambda _config, _kind, split, _n: FreshClips(Tones(), split, 0)
        )


def test_a_run_that_is_killed_ends_where_an_unbroken_one_does(tones, tmp_path, monkeypatch):
    assert tones is None
    sizes = {"n_validation": 6, "validate_every": 1}
    whole = saturation.train(SMALL, tmp_path / "whole", **sizes)
    kept = training._checkpoint

    def killed(run_dir, step, *others):
        kept(run_dir, step, *others)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        saturation.train(SMALL, tmp_path / "broken", **sizes)
    monkeypatch.setattr(training, "_checkpoint", kept)
    resumed = saturation.train(SMALL, tmp_path / "broken", **sizes)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (tmp_path / "whole" / "best.pt").exists()
    assert list((tmp_path / "whole" / "sounds").iterdir())
    with pytest.raises(ValueError, match="holds a run with another config"):
        saturation.train(replace(SMALL, seed=1), tmp_path / "whole", **sizes)


KILLED = """
import sys
from test_saturation import LONGER, SIZES
from labkit.systems import saturation
saturation.train(LONGER, sys.argv[1], folder=sys.argv[2], **SIZES)
"""
LONGER = replace(SMALL, steps=22, checkpoint_every=6)  # a row of the log is written every 20 steps
SIZES = {"n_validation": 6, "validate_every": 20}


def test_a_run_of_a_folder_that_is_killed_in_the_middle_has_the_same_curves(
    tmp_path, kill_at_checkpoint
):
    (tmp_path / "own").mkdir()
    for k in range(8):
        write_audio(
            tmp_path / "own" / f"tone{k}.wav",
            Tones().clip(generator(k, "tone"), "train").audio,
            RATE,
        )
    own = tmp_path / "own"
    kill_at_checkpoint(KILLED, __file__, tmp_path / "killed", own)
    at = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < at < LONGER.steps
    ends = [
        saturation.train(LONGER, tmp_path / name, folder=own, **SIZES)
        for name in ("killed", "whole")
    ]
    for name, tensor in ends[0].state_dict().items():
        assert torch.equal(tensor, ends[1].state_dict()[name]), name
    curves = []
    for name in ("killed", "whole"):
        rows = [
            json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()
        ]
        curves.append(
            [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        )
    assert curves[0] == curves[1]
    assert [row["step"] for row in curves[0]] == [20, 22]


def test_evaluation_gives_every_method_its_row(tones, tmp_path):
    assert tones is None
    rows = saturation.evaluate(
        build(SMALL).eval(),
        n=24,
        n_floor=24,
        conditions=("exact", "curve", "wet"),
        sources=("generated",),
        say=str,
    )
    assert read("saturation", path=write("saturation", rows, path=tmp_path / "rows.json")) == rows
    found = {(row.protocol, row.name, row.metric): row for row in rows}
    exact, wet, curve = (CONDITIONS[name].says for name in ("exact", "wet", "curve"))
    assert found[exact, "closed form", "depth error"].ours < 1e-3
    assert found[exact, "least squares", "depth error"].ours < 1e-2
    assert found[curve, "light, refined", "curve named"].ours > 0.4
    assert (
        found[exact, "light, refined", "depth error"].ours
        == found[exact, "least squares", "depth error"].ours
    )
    assert (
        found[exact, "light", "depth error"].oracle
        == found[exact, "least squares", "depth error"].ours
    )
    ours = found[wet, "light", "depth error"]
    assert ours.oracle is None
    assert ours.low <= ours.ours <= ours.high
    # 24 uniform draws: 2.25 give or take 1.3 / sqrt(24) = 0.27, three times that.
    assert ours.prior == pytest.approx(2.25, abs=0.8)
    assert 0 < ours.floor <= 9
    assert ours.control > 0
    assert found[curve, "light", "curve named"].chance == 0.2
    assert found[curve, "least squares", "curve named"].ours > 0.6
    assert (
        0
        <= found[wet, "light", "interval: 20%"].ours
        <= found[wet, "light", "interval: 95%"].ours
        <= 1
    )
    assert all(row.n == 24 for row in rows)


def test_aims_are_said_to_be_reached_missed_or_not_measured():
    (condition, name, metric), aim = next(iter(AIMS.items()))
    row = Row(CONDITIONS[condition].says, name, "real", metric, "", 2 * aim, None, None, 8, 1)
    lines = saturation.against_aims([row, replace(row, sources="sampled", ours=aim)])
    assert len(lines) == 3 * len(AIMS)
    assert [line.rsplit(" ", 1)[1] for line in lines[:3]] == ["measured", "reached", "missed"]
    named = Row(
        CONDITIONS["wet_curve"].says, "light", "generated", "curve named", "", 0.9, None, None, 8, 1
    )
    assert [line for line in saturation.against_aims([named]) if line.endswith("0.9, reached")]


def test_losses_are_compared_on_the_same_examples_from_the_same_weights(tones):
    assert tones is None
    small = replace(SMALL, steps=2, samples=8192)
    first, again = (
        compare_losses(small, n_train=6, n_test=4, losses=("parameter", "audio")) for _ in range(2)
    )
    assert first == again
    assert [row.name for row in first] == ["trained by parameter", "trained by audio"]
    assert first[0].ours != first[1].ours
    assert first[0].prior == first[1].prior > 0


def test_speed_is_that_of_both_models_and_a_buffer_saves_some():
    rows = {
        (row.name, row.metric): row.ours for row in saturation.speed_rows(build(SMALL).eval(), n=1)
    }
    light, big = (
        rows[name, "processor time for a second"] for name in ("light", "big, on an STFT")
    )
    assert 0 < light < big
    assert rows["light", "processor time, share of big, on an STFT"] == pytest.approx(light / big)
    clips = {name: ms for (name, metric), ms in rows.items() if metric.endswith("dry clip")}
    assert len(clips) == 2
    assert min(clips, key=clips.get).startswith("buffer")


def test_what_it_says_of_real_pedals(real_data):
    """An untrained ear, but every real pair is read, aligned and answered."""
    assert real_data.is_dir()
    rows = pedal_rows(build(replace(SMALL, sample_rate=16000)).eval(), 1, "")
    assert [row.n for row in rows] == [4, 4, 4, 2] * 2
    assert all(1 <= row.ours <= 10 for row in rows if row.metric.startswith("depth heard"))


def test_ridge_is_a_straight_line_and_features_ignore_level(pool):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    depth = np.clip(5 + x @ [1.0, -0.5, 0.0], 1, 10)
    assert Ridge(x, depth)(x) == pytest.approx(depth, abs=0.1)
    wet = one(pool, "wet").wet
    assert hand_features(wet, RATE) == pytest.approx(
        hand_features(wet * 0.1, RATE), abs=0.01
    )  # dB, in float32
    assert hand_features(wet, RATE).shape == (11,)
    assert np.isfinite(hand_features(np.zeros(100), RATE)).all()


def test_checkpoints_round_trip_and_bad_ones_are_named(tmp_path):
    model = build(SMALL).eval()
    model.spread_factor.fill_(1.7)
    path = tmp_path / "model.safetensors"
    assert len(saturation.save(model, path)) == 64
    again = saturation.load(path)
    assert again.config == SMALL
    assert float(again.spread_factor) == pytest.approx(1.7)
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(
            a.float(), b.float(), atol=1e-3, rtol=1e-3, msg=name
        )  # half precision
    path.write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        saturation.load(path)
    with pytest.raises(CheckpointError, match="labkit train saturation"):
        saturation.load(tmp_path / "no.safetensors")
    with pytest.raises(ValueError, match="name must be one of light, big"):
        saturation.shipped_path("huge")


def test_predicting_takes_any_recording(pool):
    model = build(SMALL).eval()
    example = one(pool, "level")
    stereo = np.stack([example.wet, example.wet])
    found = saturation.predict(model, stereo, RATE)
    assert found == saturation.predict(model, example.wet[None], RATE)
    assert 1 <= found.low <= found.depth <= found.high <= 10
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-5)
    assert found.shares[found.curve] == max(found.shares.values())
    assert (
        saturation.predict(model, stereo, RATE, clean=example.reference[None], curve="cubic").curve
        == "cubic"
    )
    short = saturation.predict(
        model, example.wet[None, :500], 44100, clean=example.clean[None, :600], clean_rate=8000
    )
    assert np.isfinite(short.depth)
    with pytest.raises(AudioError, match="wet is silent"):
        saturation.predict(model, np.zeros((1, 100), np.float32), RATE)
    with pytest.raises(AudioError, match="clean is silent"):
        saturation.predict(model, stereo, RATE, clean=np.zeros((1, 100), np.float32))
    with pytest.raises(ValueError, match="curve must be one of"):
        saturation.predict(model, stereo, RATE, curve="fuzz")


def test_with_a_pair_least_squares_refines_what_has_no_memory(pool):
    model, example = build(SMALL).eval(), one(pool, "level", curves=("cubic",))
    found = saturation.predict(model, example.wet[None], RATE, clean=example.reference[None])
    assert found.fit.curve == "cubic"
    assert found.fit.depth == pytest.approx(example.depth, rel=1e-3)
    assert replace(found, curve="arctan").refined == ("cubic", found.fit.depth)
    assert replace(found, curve="hysteresis").refined == ("hysteresis", found.depth)
    strange = one(pool, "unpaired")
    other = replace(
        saturation.predict(model, strange.wet[None], RATE, clean=strange.reference[None]),
        curve="tanh",
    )
    assert other.fit.residual > 0.2
    assert replace(other, filled=None).refined == ("tanh", other.depth)
    assert saturation.predict(model, example.wet[None], RATE).fit is None


def test_filled_gaps_tell_the_depth_of_flat_peaks_and_nothing_of_others():
    """Three partials at depth 7, in 16 bits and at any level; noise on the peaks silences the formula."""
    t = np.arange(RATE) / RATE
    clean = sum(
        a * np.sin(2 * np.pi * 147 * k * t + k) for k, a in ((1, 1.0), (2, 0.6), (3, 0.3))
    ) * np.exp(-2 * t)
    clean = clean / np.abs(clean).max()
    for amplitude in (0.9, 0.2):
        wet = np.round(amplitude * np.tanh(7 * clean) * 32767) / 32767
        assert gaps_filled(wet) == pytest.approx(7.0, rel=0.05)
    assert gaps_filled(np.tanh(3.0 * clean)) is None
    assert gaps_filled(wet + 0.002 * np.random.default_rng(0).standard_normal(len(wet))) is None
    assert gaps_filled(np.zeros(100)) is None


def test_filled_gaps_move_the_depth_of_tanh_alone():
    found = Identification("tanh", 5.0, 4.0, 6.0, {"tanh": 1.0}, filled=8.0)
    assert found.refined == ("tanh", pytest.approx(5.0**0.5 * 8.0**0.5))
    assert replace(found, curve="cubic").refined == ("cubic", 5.0)
    assert replace(found, filled=None).refined == ("tanh", 5.0)


def test_a_pair_is_heard_where_the_clean_signal_was_at_its_peak():
    """Clipping makes all loud places alike; a depth counts from the loudest one of the clean recording."""
    t = np.arange(4 * RATE) / RATE
    clean = (np.sin(2 * np.pi * 150 * t) * (0.5 + 0.1 * np.floor(t + 1.5))).astype(np.float32)
    clean /= np.abs(clean).max()
    found = saturation.predict(
        build(SMALL).eval(),
        saturate(clean, 6.0, curve="hard_clip")[None],
        RATE,
        clean=clean[None],
        curve="hard_clip",
    )
    assert found.fit.depth == pytest.approx(6.0, rel=1e-3)


def test_conditions_are_named_and_said_once():
    assert [name for name, c in CONDITIONS.items() if name != c.name] == []
    assert all(a.says != b.says for a, b in itertools.combinations(CONDITIONS.values(), 2))


def test_the_shell_names_a_curve_from_one_file_or_two(pool, tmp_path, capsys):
    example, checkpoint = one(pool, "level"), tmp_path / "model.safetensors"
    saturation.save(build(SMALL), checkpoint)
    clean = str(write_audio(tmp_path / "clean.wav", 0.9 * example.clean[None], RATE))
    wet = str(write_audio(tmp_path / "wet.flac", example.wet[None], RATE))
    for files in ([wet], [clean, wet]):
        assert main(["saturation", *files, "--checkpoint", str(checkpoint), "--curve", "tanh"]) == 0
        assert capsys.readouterr().out.startswith("curve: tanh   depth ")
    assert main(["saturation", wet, wet, wet, "--checkpoint", str(checkpoint)]) == 1
    assert "got 3" in capsys.readouterr().err
    assert main(["saturation", wet, "--checkpoint", str(checkpoint), "--curve", "fuzz"]) == 1
    assert "curve must be one of" in capsys.readouterr().err
