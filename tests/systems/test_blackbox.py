"""The controller, on plug-ins that are pedalboard's pedals; on the real ones where installed."""

import json
import runpy
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import lfilter, resample_poly

from labkit.cli import main
from labkit.effects.hosts.listing import installed_plugins
from labkit.effects.hosts.plugin import HostedPlugin, Rack, Unit
from labkit.effects.registry import STAND_INS
from labkit.measure.losses import mr_stft
from labkit.measure.loudness import loudness_lufs, peak_db
from labkit.measure.metrics import relative_error_db
from labkit.signal.files import AudioFileError
from labkit.signal.packaged import Packaged
from labkit.signal.seeds import generator
from labkit.signal.units import rms_dbfs
from labkit.systems.blackbox import (
    SYSTEM,
    TASKS,
    Config,
    build,
    config,
    curve,
    data,
    enhance,
    enhance_file,
    replay,
    rules,
    score,
)
from labkit.systems.blackbox.config import Task
from labkit.systems.blackbox.train import Data, DrawnExamples, Validation, loss_of

RATE = 22_050
PREDICT = sys.modules["labkit.systems.blackbox.predict"]
GAIN = Unit("gain", {"gain_db": 0.5})
TONE = Unit("high_shelf", {"gain_db": 0.4, "cutoff_frequency_hz": 0.6})
START = [0.5, 0.4, 0.6]
LEVEL = Task((GAIN,), (1,), (-15.0, 15.0))
PAIR = Task((GAIN, TONE), (1, 2), (-6.0, 6.0), level_moves_target=True)
SMALL = {
    "sample_rate": RATE,
    "seconds": 0.5,
    "n_clips": 24,
    "width": 0.25,
    "n_mels": 32,
    "embedding": 16,
    "hidden": 32,
    "batch_size": 8,
    "n_copies": 1,
    "imitation": 0.0,
}


@pytest.fixture
def small(monkeypatch):
    """A config for a task of the lab's own pedals."""
    monkeypatch.setattr(config, "TASKS", {**TASKS, "level": LEVEL, "pair": PAIR})
    return lambda **given: Config().but(**{**SMALL, "task": "pair", **given})


def untrained(settings, std=3.0):
    """A model whose output depends on the sound."""
    model, rng = build(settings).eval(), torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.head[-1].weight, std=std, generator=rng)
    return model


def noise(*shape, seed=0):
    return (0.1 * generator(seed, "tasks").standard_normal(shape)).astype(np.float32)


def write(path, audio, rate=RATE):
    soundfile.write(path, audio.T, rate, subtype="FLOAT")


class Wire:
    """A rack that does nothing, in no time."""

    def __init__(self, units, sample_rate, *, workers):  # noqa: ARG002 - as a rack is made
        self.sample_rate = sample_rate

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def render(self, audio, params_unit):
        assert len(audio) == len(params_unit)
        return np.stack(audio)

    def shown(self, params_unit):
        return [f"{value:.2f} dB" for value in params_unit]


class Slow(Wire):
    """A smoothing filter with a memory of 0.1 s, from rest at every call."""

    def render(self, audio, params_unit):  # noqa: ARG002 - it has no parameters
        pole = np.exp(-1 / (0.1 * RATE))
        wet = [lfilter([1 - pole], [1, -pole], sound) for sound in audio]
        return np.stack(wet).astype(np.float32)


@pytest.fixture
def wire(monkeypatch):
    """No plug-ins."""
    monkeypatch.setattr(PREDICT, "Rack", Wire)


# Tasks


@pytest.mark.parametrize("name", TASKS)
def test_a_task_starts_in_the_middle_and_grows_to_its_whole_row(name):
    task, settings = TASKS[name], SYSTEM.presets[name].but(imitation=0.5)
    assert ((task.start > 0) & (task.start < 1)).all()
    assert len(set(task.names)) == len(task.names) == len(task.start)
    stages = [settings.units_playing(step) for step in range(settings.plan.steps)]
    assert stages == sorted(stages, key=len)
    first = round(settings.net.imitation * settings.plan.steps)
    assert stages[first - 1 : first + 1] == [(), task.units[: task.stages[0]]]
    assert stages[-1] == task.units
    assert sum(p.numel() for p in build(settings).parameters()) <= 500_000


@pytest.mark.parametrize("name", TASKS)
def test_every_parameter_of_a_task_changes_the_sound(name):
    here = {info.name for info in installed_plugins() if not info.why_not}
    missing = {unit.plugin for unit in TASKS[name].units} - here
    if missing:
        pytest.skip(f"not installed: {sorted(missing)} (Debian: zam-plugins)")
    task, n = TASKS[name], len(TASKS[name].start)
    # Bursts over a soft floor: a gate closes between them.
    bursts = np.where(np.arange(RATE) % 7350 < 3000, 2.0, 0.02).astype(np.float32)
    turned = np.tile(task.start, (2 * n, 1))
    turned[np.arange(n), np.arange(n)] = 0.05
    turned[n + np.arange(n), np.arange(n)] = 0.95
    with Rack(task.units, 44_100) as rack:
        low, high = np.split(rack.render([noise(1, RATE) * bursts] * 2 * n, turned), 2)
    change = np.abs(low - high).max((1, 2))
    inert = {task.names[k] for k in np.flatnonzero(change < 1e-5)}
    assert inert == set()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Config().but(task="mixing"), "one of distortion, speech, mastering, got 'mixing'"),
        (lambda: Config().but(seconds=0.1), "seconds must be above 0.25"),
        (lambda: Config().but(n_clips=0), "n_clips positive"),
        (lambda: Config().but(real_share=1.5), "real_share 0 to 1"),
        (lambda: Data(dry="a"), "dry and wet must be given together"),
        (lambda: data.examples(Config(), "all", 3, n=1), "split must be one of"),
        (lambda: curve(build(Config()), noise(1, 9), RATE, hop_s=0.0), "hop_s must be above 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Network and training


def test_a_controller_begins_at_the_start_and_all_of_it_learns(small):
    model, sound = build(small()), torch.from_numpy(noise(4, 1, 11_025))
    torch.testing.assert_close(model(sound), torch.tensor([START]).expand(4, -1))
    before = {name: value.clone() for name, value in model.named_parameters()}
    wanted = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2):  # the last layer begins at zero: what lies before it moves in step two
        optimizer.zero_grad()
        (model(sound) - wanted).square().sum().backward()
        optimizer.step()
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == []


def test_a_step_depends_on_its_number_alone_and_plays_its_stage(small):
    settings = small()
    sounds = (noise(4, 1, 11_025, seed=seed) for seed in (0, 2, 3))
    drawn = DrawnExamples(settings, data.Examples(*sounds, ("a",) * 4))
    gradients = []
    with Rack(PAIR.units, RATE) as rack:
        for _ in range(2):
            model = build(settings)
            batch = torch.utils.data.default_collate([drawn[k] for k in range(8, 16)])
            loss_of(settings, rack)(model, batch)[0].backward()
            gradients.append(model.head[-1].bias.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0][0] != 0
    assert (gradients[0][1:] == 0).all()  # step 1 of 700 plays the first unit alone


def test_first_it_imitates_what_is_known_and_renders_nothing(small):
    settings = small(task="level", imitation=1.0)
    drawn = DrawnExamples(settings, data.Examples(noise(4, 1, 11_025), None, None))
    batch = torch.utils.data.default_collate([drawn[k] for k in range(8)])
    assert batch["answer"].std() > 0.1
    model = build(settings)
    loss, optimizer = loss_of(settings, None), torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        losses.append(loss(model, batch)[0])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]
    batch["answer"][:] = torch.nan
    assert loss(model, batch)[0] == 0  # nothing is known


def test_an_anchor_goes_on_imitating_while_the_plug_ins_play(small, monkeypatch):
    settings, drawn = small(task="level"), data.Examples(noise(4, 1, 11_025), None, None)
    batch = torch.utils.data.default_collate([DrawnExamples(settings, drawn)[k] for k in range(8)])
    losses = []
    for anchor in (0.0, 1.0, 2.0):
        monkeypatch.setitem(config.TASKS, "level", replace(LEVEL, anchor=anchor))
        with Rack(LEVEL.units, RATE) as rack:
            losses.append(loss_of(settings, rack)(build(settings), batch)[0].item())
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)


def test_answers_are_trusted_as_far_as_validation_clips_bear_them_out(small):
    """A controller that turns the gain the wrong way is held at its mean setting."""
    settings = small(task="level")
    clips = data.Examples(noise(6, 1, 11_025), None, None)
    model = build(settings).eval()
    with Rack((GAIN,), RATE) as rack:
        validation = Validation(settings, clips, rack)
        for sign, trust in ((-1.0, 1.0), (1.0, 0.0)):
            # The first statistic is the level, in units of 30 dB; the knob's range is 36 dB.
            with torch.no_grad():
                model.linear.weight[0, 0] = sign * 4 * 30 / 36
            model.set_output_range(validation.dry)
            validation.set_trust(model)
            assert model.trust == trust
        knobs = model(validation.dry)
        torch.testing.assert_close(knobs, model.mean_setting.expand_as(knobs))


def test_it_learns_one_level_on_a_users_folders_without_a_gradient(small, tmp_path):
    """DeepAFx's toy. Shuffled, each sound gets another's gain: worse than the mean setting."""
    for index in range(12):
        sound = noise(1, 20_000, seed=index)
        write(tmp_path / f"s{index}_dry.wav", sound)
        write(tmp_path / f"s{index}_wet.wav", sound)
    settings = small(task="level", steps=60, learning_rate=1e-2, warmup_steps=5)
    run, rows = tmp_path / "run", []
    model = SYSTEM.train(settings, run, data=Data(tmp_path, tmp_path), on_log=rows.append)
    assert json.loads((run / "config.json").read_text())["dry"] == str(tmp_path)
    assert rows[-1]["val/left"] < 0.8
    lines = [json.loads(line) for line in (run / "gradients.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(60))
    assert all(set(line) == {"step", "gain: gain_db"} for line in lines)
    assert np.std([line["gain: gain_db"] for line in lines]) > 0
    rng, tests = generator(5, "level tests"), noise(12, 1, 11_025, seed=99)
    tests = tests * 10 ** (rng.uniform(-0.75, 0.75, (12, 1, 1)).astype(np.float32))
    knobs = model(torch.from_numpy(tests)).detach().double().numpy()
    with Rack((GAIN,), RATE) as rack:

        def spread_db(setting):
            return np.std(20 * np.log10(rack.render(tests, setting).std((1, 2))))

        middle = spread_db(np.full_like(knobs, 0.5))
        assert spread_db(knobs) < 0.4 * middle < 0.5 * spread_db(np.roll(knobs, 1, 0))
    SYSTEM.save(model, tmp_path / "c.safetensors")
    again = SYSTEM.load(tmp_path / "c.safetensors")
    assert again.config == model.config
    # Half precision: 11 bits a weight.
    sound = torch.from_numpy(tests)
    torch.testing.assert_close(again(sound), model(sound), atol=5e-3, rtol=0)


def test_unfamiliar_sounds_stay_in_the_range_of_the_training(small):
    model = untrained(small())
    usual = torch.from_numpy(noise(40, 1, 11_025))
    unfamiliar = torch.from_numpy(30 * noise(2, 1, 11_025))
    free, wild = model(usual), model(unfamiliar)
    model.set_output_range(usual)
    assert ((wild < free.min(0).values) | (wild > free.max(0).values)).any()
    kept = model(unfamiliar)
    assert (kept >= free.quantile(0.02, 0) - 1e-6).all()
    assert (kept <= free.quantile(0.98, 0) + 1e-6).all()


# Data


@pytest.mark.parametrize("task", ["speech", "mastering"])
def test_examples_are_repeatable_and_keep_to_their_split(task):
    settings = SYSTEM.presets[task].but(real_share=0.0)
    made, again = (data.examples(settings, "test", 3, n=2, seconds=0.6) for _ in range(2))
    np.testing.assert_array_equal(made.sound, again.sound)
    assert made.sound.shape == (2, 1, 26_460)
    train = data.examples(settings, "train", 3, n=2, seconds=0.6)
    assert not set(train.groups) & set(made.groups)


def test_examples_are_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    settings = SYSTEM.presets["speech"].but(seconds=0.6, real_share=0.0)
    made = data.cached(settings, "validation", n=2)
    monkeypatch.setattr(data, "_material", None)  # it is not made again
    again = data.cached(settings, "validation", n=2)
    np.testing.assert_array_equal(made.disturbance, again.disturbance)


@pytest.mark.parametrize("task", ["speech", "mastering"])
def test_the_answer_is_the_engineers_setting_and_some_recordings_keep_their_colour(task):
    """By the lab's own stand-ins for the plug-ins, so everywhere."""
    settings = SYSTEM.presets[task]
    rate = settings.sound.sample_rate
    quiet = 0.01 * noise(1, rate, seed=1) if task == "speech" else None
    sound = bursts(0, 1.0, rate)
    draws = [data.spoilt(settings, sound, generator(k, "draws"), noise=quiet) for k in range(20)]
    known = np.isfinite(draws[0][2])
    names = [name for name, there in zip(settings.task.names, known, strict=True) if there]
    assert {f"ZamEQ2: boost_cut_{band}_db" for band in "l12h"} <= set(names)
    answers = np.stack([rules.known_or(draw[2], settings.task.start) for draw in draws])
    units = [Unit(f"built-in for {u.plugin}", u.knobs, u.fixed) for u in settings.task.units]
    with Rack(units, rate) as rack:
        wet = rack.render([dry for dry, *_ in draws], answers)
    left, before = (
        np.array([mr_stft(sound, d[1], rate) for sound, d in zip(sounds, draws, strict=True)])
        for sounds in (wet, [d[0] for d in draws])
    )
    assert left.mean() < 0.6 * before.mean()
    # One in five keeps its colour and noise: its level alone is another.
    alike = [np.corrcoef(dry[0], sound[0])[0, 1] > 0.9999 for dry, *_ in draws]
    assert 1 <= sum(alike) <= 8


def test_an_engineer_corrects_what_lies_outside_and_leaves_the_rest(monkeypatch):
    assert data.outside_db([-20.0, -7.0, 0.0, 9.0], -5.0, 5.0) == pytest.approx([15, 2, 0, -4])
    assert 0 < data.outside_db(-5.0, -5.0, 5.0) < 1  # softly at an end
    assert data.outside_db([-3.0, 4.0], 1.0, 1.0) == pytest.approx([4, -3])
    settings, sound = SYSTEM.presets["mastering"], bursts(0, 1.0, 44_100)
    around = [(db - 5, db + 5) for db in data.band_levels_db(sound, 44_100)]
    level_dbfs, highest = rms_dbfs(sound), data.crest_db(sound) + 5

    def engineered(rms_dbfs):
        task = replace(settings.task, balance_db=around, crest_db=highest, rms_dbfs=rms_dbfs)
        monkeypatch.setattr(config, "TASKS", {**TASKS, "mastering": task})
        return data.engineered(settings, sound, sound)[0]

    np.testing.assert_allclose(engineered((level_dbfs - 5, level_dbfs + 5)), sound, atol=1e-5)
    louder = engineered((level_dbfs + 6, level_dbfs + 9))
    np.testing.assert_allclose(louder, sound * 10 ** (6 / 20), rtol=0.06, atol=1e-5)


def test_what_the_engineer_leaves_holds_about_eight_tenths_of_finished_music():
    """The ends are those of 2 s pieces of the albums for training and validation."""
    music, pieces = Packaged("music", seconds=2.0, sample_rate=44_100), []
    for split in ("train", "validation"):
        rng = generator(0, "finished music", split)
        try:
            pieces += [music.clip(rng, split).audio for _ in range(60)]
        except FileNotFoundError as error:
            pytest.skip(str(error))
    task, levels_db = TASKS["mastering"], [data.band_levels_db(one, 44_100) for one in pieces]
    low_db, high_db = np.transpose(task.balance_db)
    inside = ((levels_db > low_db) & (levels_db < high_db)).mean(0)
    assert ((inside > 0.65) & (inside < 0.9)).all()
    assert 0.8 < np.mean([data.crest_db(one) < task.crest_db for one in pieces]) < 1


def test_dynamics_grow_at_the_same_level():
    sound = bursts()
    grown = data.expanded(sound, 0.5, RATE)
    assert grown.std() == pytest.approx(sound.std(), rel=1e-4)
    ratio = [
        np.log(np.quantile(np.abs(x), 0.95) / np.quantile(np.abs(x), 0.2)) for x in (sound, grown)
    ]
    assert ratio[1] > 1.1 * ratio[0]
    np.testing.assert_allclose(data.expanded(sound, 0.0, RATE), sound, atol=1e-6)


def test_pairs_are_found_by_their_names(tmp_path):
    raw, clean, sound = tmp_path / "cleanraw", tmp_path / "clean", noise(1, 11_025)
    raw.mkdir(), clean.mkdir()
    for name in ("f1_script1", "m2_script1"):
        write(raw / f"{name}_cleanraw.wav", sound)
        write(clean / f"{name}_clean.wav", 0.5 * sound)
    write(raw / "alone_cleanraw.wav", sound)
    for folder in (raw, clean):
        (folder / f"._f1_script1_{folder.name}.wav").write_bytes(b"what a Mac adds")
    pairs = data.paired_files(raw, clean)
    names = [(a.name, b.name) for a, b in pairs]
    assert names[0] == ("f1_script1_cleanraw.wav", "f1_script1_clean.wav")
    assert len(names) == 2
    made = data.from_pairs(Config().but(sample_rate=RATE, seconds=0.4), pairs, n=9)
    np.testing.assert_allclose(made.target, 0.5 * made.sound, atol=1e-7)
    assert not made.drawn
    assert set(made.groups) == {"f1", "m2"}
    for kind in ("dry", "wet"):
        write(tmp_path / f"riff_{kind}.wav", sound)
    (pair,) = data.paired_files(tmp_path, tmp_path)
    assert [p.name for p in pair] == ["riff_dry.wav", "riff_wet.wav"]
    with pytest.raises(AudioFileError, match="has the name of one in"):
        data.paired_files(tmp_path, clean)
    with pytest.raises(AudioFileError, match="a folder of audio files was expected"):
        data.paired_files(tmp_path / "nowhere", clean)


def test_validation_keeps_whole_sources_for_itself():
    names = [f"{voice}_script{k}" for voice in ("f10", "f1", "f2", "m1") for k in range(5)]
    pairs = [(Path(f"{name}_cleanraw.wav"), Path(f"{name}_clean.wav")) for name in names]
    train, kept = data.held_out(pairs)
    assert [len(train), len(kept)] == [15, 5]
    assert {data.source_of(pair) for pair in kept} == {"f10"}
    assert data.held_out(pairs[:1]) == (pairs[:1], pairs[:1])


def test_clips_are_from_one_place_of_both_and_short_ones_end_in_silence(tmp_path):
    settings, sound = Config().but(sample_rate=RATE, seconds=0.4), noise(1, 22_050)
    for name, audio in {"a_dry": sound, "a_wet": -sound, "b_dry": sound[:, :4000]}.items():
        write(tmp_path / f"{name}.wav", audio)
    write(tmp_path / "b_wet.wav", sound[:, :4100])
    made = data.from_pairs(settings, data.paired_files(tmp_path, tmp_path), n=12)
    for dry, wet, group in zip(made.sound, made.target, made.groups, strict=True):
        np.testing.assert_array_equal(wet, -dry if group == "a" else dry)
        assert dry[:, 4000:].any() == (group == "a")
    starts = {float(dry[0, 0]) for dry in made.sound}
    assert len(starts) > 3
    write(tmp_path / "b_wet.wav", sound)
    with pytest.raises(ValueError, match="must be equally long"):
        data.from_pairs(settings, data.paired_files(tmp_path, tmp_path), n=12)


# Use


def test_a_curve_is_smooth_and_bridges_silence(small):
    model = untrained(small())
    loudness = np.repeat([0.1, 3.0, 0.0, 3.0, 0.1], RATE).astype(np.float32)
    found = curve(model, noise(2, 5 * RATE) * loudness, RATE, hop_s=0.2)
    assert found.smooth.shape == (25, 3)
    np.testing.assert_allclose(found.seconds[:3], [0.1, 0.3, 0.5], atol=1e-6)
    steps = np.abs(np.diff(found.smooth, axis=0)).max(1)
    assert 0 < steps[11:14].max() < 3 * steps.mean()  # three windows there are silent
    silent = curve(model, np.zeros((1, RATE), np.float32), RATE)
    np.testing.assert_allclose(silent.smooth, np.tile(START, (2, 1)), atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "channels", "samples"), [(RATE, 1, 40_001), (44_100, 2, 70_000), (8000, 1, 300)]
)
@pytest.mark.usefixtures("wire")
def test_without_plug_ins_a_file_comes_out_as_it_went_in(small, tmp_path, rate, channels, samples):
    model, time = build(small()).eval(), np.arange(samples) / rate
    tones = [0.3 * np.sin(2 * np.pi * (300 + 200 * c) * time) for c in range(channels)]
    audio = np.stack(tones).astype(np.float32)
    write(tmp_path / "in.wav", audio, rate)
    facts = enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav")
    out, out_rate = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    assert (out.T.shape, out_rate) == (audio.shape, rate)
    # There and back through soxr; a file begins and ends abruptly.
    edge, tolerance = (0, 1e-6) if rate == RATE else (min(200, samples // 4), 2e-3)
    inner = slice(edge, samples - edge)
    np.testing.assert_allclose(out.T[:, inner], audio[:, inner], atol=tolerance)
    assert json.loads((tmp_path / "out.json").read_text()) == facts
    assert set(facts["setting"]) == set(PAIR.names)
    in_memory, _ = enhance(model, audio, rate)
    np.testing.assert_allclose(in_memory, out.T, atol=1e-6)


def test_blocks_of_a_constant_setting_render_as_one(small, monkeypatch):
    model, audio = build(small()).eval(), noise(1, 3 * RATE)
    blocks, _ = enhance(model, audio, RATE)
    with Rack(PAIR.units, RATE) as rack:
        whole = rack.render([audio], np.array([START]))[0]
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    # Half a second before each block plays too: after five time constants 0.7 % is left.
    audio = np.full((1, 3 * RATE), 0.5, np.float32)
    monkeypatch.setattr(PREDICT, "Rack", Slow)
    blocks, _ = enhance(model, audio, RATE)
    whole = Slow((), RATE, workers=1).render([audio], None)[0]
    np.testing.assert_allclose(blocks, whole, atol=0.5 * 0.007)


def test_a_loud_file_is_turned_down_and_its_script_plays_it_again(small, tmp_path, monkeypatch):
    model = build(small(task="level")).eval()
    torch.nn.init.constant_(model.head[-1].bias, 2.0)  # a gain of 14 dB
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    time = np.arange(3 * RATE) / RATE
    # Between its samples a sine of a quarter of the rate, at 45 degrees, is 3 dB higher than in them.
    loud = np.sin(2 * np.pi * RATE / 4 * time + np.pi / 4)[None].astype(np.float32)
    write(source, loud * np.linspace(1.0, 2.0, loud.shape[1], dtype=np.float32))
    facts = enhance_file(model, source, target)
    out, _ = soundfile.read(target)
    assert -1.4 < peak_db(resample_poly(out, 16, 1)) <= -1.0
    assert facts["true_peak_dbtp"] == pytest.approx(-1.1, abs=1e-6)
    assert facts["gain_db"] < -3
    gain_db = facts["setting"]["gain: gain_db"] * 36 - 18
    assert facts["setting_in_units"]["gain: gain_db"] == f"{gain_db:.2f} dB"
    again = tmp_path / "again.wav"
    script = tmp_path / "out.board.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(source), str(again)])
    runpy.run_path(str(script), run_name="__main__")
    assert relative_error_db(out, soundfile.read(again)[0]) < -80
    with pytest.raises(ValueError, match="target must be a new file"):
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.usefixtures("wire")
def test_the_facts_of_silence_are_json(small, tmp_path):
    write(tmp_path / "in.wav", np.zeros((1, RATE), np.float32))
    enhance_file(build(small(task="level")).eval(), tmp_path / "in.wav", tmp_path / "out.wav")
    json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.usefixtures("wire")
@pytest.mark.parametrize(("wanted", "reached"), [(-30.0, -30.0), (-3.0, None)])
def test_a_file_gets_the_loudness_that_is_asked_for_as_far_as_its_peaks_allow(
    small, tmp_path, wanted, reached
):
    write(tmp_path / "in.wav", noise(1, 3 * RATE))
    facts = enhance_file(
        build(small()).eval(), tmp_path / "in.wav", tmp_path / "out.wav", lufs=wanted
    )
    out, rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert facts["loudness_lufs"] == pytest.approx(loudness_lufs(out.T, rate), abs=0.1)
    if reached is None:  # noise has peaks 13 dB above its level
        assert facts["loudness_lufs"] < wanted - 5
        assert facts["true_peak_dbtp"] == pytest.approx(-1.1, abs=1e-6)
    else:
        assert facts["loudness_lufs"] == pytest.approx(reached, abs=0.01)


@pytest.mark.usefixtures("wire")
def test_memory_does_not_grow_with_the_file(small, tmp_path):
    """Five minutes against one, in Python's arrays; the file itself would take 6 MB more."""
    model = build(small()).eval()

    def peak(minutes):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.tile(noise(60 * 6000), minutes), 6000)
        tracemalloc.start()
        enhance_file(model, path, tmp_path / "out.wav", hop_s=4.0)
        assert soundfile.info(tmp_path / "out.wav").frames == minutes * 60 * 6000
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    limit = peak(1) + 500_000
    # A thread left over from another test may allocate, too: then the second run counts.
    assert any(peak(5) < limit for _ in range(2))


@pytest.mark.usefixtures("wire")
def test_bad_files_are_refused(small, tmp_path):
    model, target = build(small()).eval(), tmp_path / "out.wav"
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "whole.flac", noise(40_000), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:9000])
    spoilt = noise(1, 40_000)
    spoilt[0, 39_000] = np.nan
    write(tmp_path / "nan.wav", spoilt)
    for name, message in {
        "text.wav": "audio expected",
        "cut.flac": r"cut\.flac: broken or cut off after \d+ samples",
        "nan.wav": r"nan\.wav: samples up to 1e\+10 expected, found NaN",
    }.items():
        with pytest.raises(AudioFileError, match=message):
            enhance_file(model, tmp_path / name, target)
    with pytest.raises(ValueError, match=r"target must be another file .* end in \.wav"):
        enhance_file(model, tmp_path / "text.wav", tmp_path / "text.wav")
    assert not target.exists()


@pytest.fixture
def without_plug_ins(tmp_path, monkeypatch):
    """A machine on which nobody has installed any."""
    for variable in ("VST3_PATH", "LV2_PATH", "VST_PATH"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.mark.usefixtures("without_plug_ins")
@pytest.mark.parametrize("task", TASKS)
def test_where_no_plug_in_is_installed_pedalboards_effects_stand_in_and_say_so(
    task, tmp_path, capsys
):
    write(tmp_path / "in.wav", noise(2, 30_000), 44_100)
    out = tmp_path / "out"
    assert main(["enhance", str(tmp_path / "in.wav"), "--preset", task, "--out", str(out)]) == 0
    said, *_ = capsys.readouterr().out.splitlines()
    absent = [unit.plugin for unit in TASKS[task].units if unit.plugin.startswith("Za")]
    assert said.startswith(
        f"{', '.join(absent)} cannot be hosted here (Debian: apt-get install zam"
    )
    facts = json.loads((out / f"in_{task}.json").read_text())
    assert facts["remark"] == said
    wet, _ = soundfile.read(out / f"in_{task}.wav")
    assert wet.shape == (30_000, 2)
    replay(out / f"in_{task}.json", tmp_path / "in.wav", tmp_path / "again.wav")
    np.testing.assert_allclose(soundfile.read(tmp_path / "again.wav")[0], wet, atol=1e-4)
    model, audio = SYSTEM.load(preset=task), noise(1, 30_000)
    with pytest.warns(UserWarning, match="stand in, near them but not the same"):
        enhance(model, audio, 44_100)


@pytest.mark.parametrize(
    ("name", "turn"), [("ZamEQ2", 0.15), ("ZaMultiComp", -0.4), ("ZamComp", -0.15)]
)
def test_a_stand_in_is_nearer_to_its_plug_in_than_the_dry_sound(name, turn):
    if name not in {info.name for info in installed_plugins() if not info.why_not}:
        pytest.skip(f"{name} is not installed (Debian: zam-plugins)")
    (unit, *_) = (u for task in TASKS.values() for u in task.units if u.plugin == name)
    bursts = np.where(np.arange(2 * RATE) % RATE < 6000, 2.0, 0.02).astype(np.float32)
    dry, turned = noise(1, 2 * RATE) * bursts, np.array([*unit.knobs.values()])
    turned = np.clip(turned + turn * (-1.0) ** np.arange(len(turned)), 0, 1)
    given = {"parameters": [*unit.knobs], "fixed": unit.fixed}
    with HostedPlugin(name, **given) as real:
        wanted = real.process(dry, 44_100, turned)
        ends = {p.name: (float(p.low), float(p.high.split()[0])) for p in real.parameters}
    space = STAND_INS[name].space
    assert ends == {knob: (space[knob].low, space[knob].high) for knob in unit.knobs}
    played = HostedPlugin(f"built-in for {name}", **given).process(dry, 44_100, turned)
    error, change = (mr_stft(sound, wanted, 44_100) for sound in (played, dry))
    assert error < 0.7 * change


# Rules and score


def bursts(seed=0, seconds=3.0, rate=RATE):
    """Noise that swells and fades twice a second, at -20 dBFS: it has dynamics to compress."""
    samples = int(seconds * rate)
    swell = 0.05 + np.abs(np.sin(2 * np.pi * np.arange(samples) / rate)) ** 4
    sound = generator(seed, "bursts").standard_normal((1, samples)) * swell
    return (0.1 * sound / sound.std()).astype(np.float32)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_rules_bring_a_recording_to_its_own_style_by_a_gain_alone(gain):
    audio = bursts()
    wet = rules.match(audio, RATE, rules.style_of([gain * audio], RATE))
    np.testing.assert_allclose(wet, gain * audio, atol=1e-5)  # the filter's rounding


def test_rules_compress_for_a_louder_reference_of_the_same_peak():
    audio = bursts()
    loud = np.tanh(20 * audio)
    loud = (loud * np.abs(audio).max() / np.abs(loud).max()).astype(np.float32)
    wet = rules.match(audio, RATE, rules.style_of([loud], RATE))
    assert loudness_lufs(wet, RATE) > loudness_lufs(audio, RATE) + 2
    assert peak_db(wet) < 0.01  # what compression lacks is added up to full scale
    assert np.isfinite(wet).all()


@pytest.fixture
def dulled(monkeypatch):
    """Two pairs, which one softer treble explains, are the score's examples."""
    clips = noise(2, 1, 2 * RATE)
    dull = lfilter([0.6, 0.4], [1.0], clips).astype(np.float32)
    made = data.Examples(clips, None, dull, ("a", "b"), drawn=False)
    monkeypatch.setattr(data, "examples", lambda *_, **__: made)
    monkeypatch.setattr(score, "_PROTOCOLS", {"pair": "pairs"})
    monkeypatch.setattr(rules, "_N_CONSTANT", 2)


@pytest.mark.usefixtures("dulled")
def test_rows_stand_beside_what_they_must(small):
    """The searches find the treble and an untrained network does not."""
    rows = score.score(untrained(small()), n=2, n_real=0, renders=20)
    left, _, loudness = rows
    assert (left.metric, left.n, loudness.metric) == ("MR-STFT left", 2, "loudness error")
    assert left.oracle <= left.prior < 0.95 * left.ours
    assert left.floor < 0.7  # the rules filter
    # An untrained network gives every clip nearly the same setting, so another clip's is as good.
    assert left.control == pytest.approx(left.ours, abs=1e-3)
    assert loudness.unit == "LU"
    assert loudness.ours > 0.5


def test_speech_is_also_scored_by_the_noise_in_its_pauses(small, monkeypatch):
    monkeypatch.setitem(config.TASKS, "speech", PAIR)
    words = np.where(np.arange(2 * RATE) % RATE < RATE // 2, noise(2, 1, 2 * RATE), 0)
    hiss = np.float32(0.003) * noise(2, 1, 2 * RATE, seed=1)
    words, noisy = words.astype(np.float32), (words + 10 * hiss).astype(np.float32)
    made = data.Examples(noisy, None, words + hiss, ("a", "b"), drawn=False)
    monkeypatch.setattr(data, "examples", lambda *_, **__: made)
    monkeypatch.setattr(rules, "_N_CONSTANT", 2)
    rows = score.score(untrained(small(task="speech")), n=2, n_real=0, renders=2)
    (pauses,) = [row for row in rows if row.metric == "noise in pauses"]
    assert (pauses.unit, pauses.n) == ("dB", 2)
    assert pauses.floor == pytest.approx(-30.0, abs=1.0)  # doing nothing
    assert pauses.ours == pytest.approx(-30.0, abs=6.0)  # a gain and a shelf


@pytest.mark.usefixtures("dulled")
def test_headroom_is_what_a_setting_for_each_clip_gains(small):
    settings = small()
    with Rack(PAIR.units, RATE) as rack:
        clips = data.examples(settings, "validation", 0, n=2)
        found = rules.headroom(settings, rack, clips, 12)
    assert found["oracle"] <= found["constant"] < found["nothing"]
    assert found["headroom"] == pytest.approx(1 - found["oracle"] / found["constant"])


@pytest.mark.usefixtures("dulled")
def test_the_first_plug_ins_are_scored_alone_and_sounds_and_curves_are_saved(small, tmp_path):
    model, options = untrained(small()), {"n": 2, "n_real": 0, "renders": 2}
    rows = score.score(model, n_units=1, save=tmp_path / "heard", **options)
    assert rows[0].protocol == "pairs, by the first 1 of 2 plug-ins"
    assert len(list((tmp_path / "heard").iterdir())) == 2 * 4
    dry, target, wet = (
        soundfile.read(tmp_path / "heard" / f"generated_1_{kind}.wav")[0]
        for kind in ("dry", "target", "wet")
    )
    gain = np.dot(wet, dry) / np.dot(dry, dry)
    np.testing.assert_allclose(wet, gain * dry, atol=1e-6)  # the first plug-in is a gain
    curves = json.loads((tmp_path / "heard" / "generated_1.json").read_text())
    assert set(curves) == {"seconds", *PAIR.names}
    mean = np.mean(curves["gain: gain_db"])
    assert gain == pytest.approx(10 ** ((-18 + 36 * mean) / 20), rel=1e-3)
    assert not np.array_equal(target, wet)
    with pytest.raises(ValueError, match=r"n_units must lie in 1\.\.2, got 3"):
        score.score(model, n_units=3, **options)
