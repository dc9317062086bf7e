"""The controller and all around it, on chains of pedalboard's own effects; the real plug-ins where they are."""

import json
import tracemalloc
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import lfilter

from labkit.cli import main
from labkit.effects.hosts import installed_plugins
from labkit.learn.training import Plan, fit
from labkit.signal.files import AudioFileError
from labkit.signal.seeds import generator
from labkit.systems.blackbox import config as tasks_config
from labkit.systems.blackbox import evaluate, tasks
from labkit.systems.blackbox.config import PROCESSORS, TASKS, Config, Knob, Task, Unit
from labkit.systems.blackbox.data import (
    Examples,
    driven,
    examples,
    from_pairs,
    held_out,
    mastered,
    opened,
    paired_files,
)
from labkit.systems.blackbox.predict import curve, enhance, enhance_file
from labkit.systems.blackbox.rack import Rack
from labkit.systems.blackbox.rules import style_of
from labkit.systems.blackbox.search import known_style, known_target, search
from labkit.systems.blackbox.train import Dressed, loss_of

RATE = 22_050
GAIN = Unit("gain", (Knob("gain_db", ("gain_db",), 0.5),))
TONE = Unit(
    "high_shelf",
    (Knob("treble", ("gain_db", "q"), 0.4), Knob("corner", ("cutoff_frequency_hz",), 0.6)),
)
LEVELLER = Task("level", (GAIN,), (1,), (-15.0, 15.0), False)
PAIR = Task("pair", (GAIN, TONE), (1, 2), (-6.0, 6.0), True)
SMALL = {
    "sample_rate": RATE,
    "seconds": 0.5,
    "n_clips": 24,
    "width": 0.25,
    "n_mels": 32,
    "embedding": 16,
    "hidden": 32,
}


@pytest.fixture
def small(monkeypatch):
    """A config for a task of the house's own effects, and nothing that must be installed."""
    monkeypatch.setattr(tasks_config, "TASKS", MappingProxyType({"level": LEVELLER, "pair": PAIR}))
    return lambda task="pair", **given: Config(
        task=task, **(SMALL | {"batch_size": 8, "n_workers": 1} | given)
    )


def noise(*shape, seed=0):
    return (0.1 * generator(seed, "tasks").standard_normal(shape)).astype(np.float32)


class Wire:
    """A chain that does nothing, in no time."""

    sample_rate = RATE

    def render(self, audio, params_unit):
        assert len(audio) == len(params_unit)
        return np.stack(audio)


# The tasks as they are


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_begins_inside_the_box_and_grows_to_its_whole_chain(name):
    task = TASKS[name]
    assert all(0 < knob.start < 1 for knob in task.knobs)
    assert len(set(task.names)) == len(task.names)
    assert list(task.stages) == sorted(task.stages)
    assert task.stages[-1] == len(task.units)
    config = tasks.CONFIGS[name]
    assert config.task == name
    assert [config.units_heard(step) for step in (0, config.steps - 1)] == [
        task.stages[0],
        len(task.units),
    ]
    assert sum(p.numel() for p in tasks.build(config).parameters()) <= 500_000


@pytest.mark.parametrize("name", list(TASKS))
def test_the_chain_of_a_task_opens_and_every_knob_is_heard(name):
    here = {info.name for info in installed_plugins() if info.usable}
    missing = {unit.plugin for unit in TASKS[name].units} - here
    if missing:
        pytest.skip(f"not installed: {sorted(missing)} (Debian: zam-plugins)")
    task = TASKS[name]
    start = np.array([knob.start for knob in task.knobs])
    # Bursts over a soft floor: a gate closes between them.
    dry = noise(1, 22_050) * np.where(np.arange(22_050) % 7350 < 3000, 2.0, 0.02).astype(np.float32)
    with Rack(task.units, 44_100) as rack:
        turned = np.tile(start, (2 * len(start) + 1, 1))
        for k in range(len(start)):
            turned[2 * k + 1, k], turned[2 * k + 2, k] = 0.05, 0.95
        wet = rack.render([dry] * len(turned), turned)
    heard = [np.abs(wet[2 * k + 1] - wet[2 * k + 2]).max() for k in range(len(start))]
    # What only matters once another knob is elsewhere: a limiter's release, while it does not limit.
    dead = {task.names[k] for k, change in enumerate(heard) if change < 1e-5}
    assert dead <= {"ZamComp: release_ms"}


# Config, rack


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task": "mixing"}, "task must be one of distortion, speech, mastering, got 'mixing'"),
        ({"seconds": 0.1}, "seconds must be above 0.25"),
        ({"n_clips": 0}, "n_clips must be positive"),
    ],
)
def test_bad_configs_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Config(**given)


def test_a_rack_turns_tied_sliders_together_and_plays_part_of_the_chain():
    dry, setting = (
        [noise(1, 4000), noise(1, 4000, seed=1)],
        np.array([[0.75, 0.2, 0.5], [0.5, 0.9, 0.1]]),
    )
    with Rack((GAIN, TONE), RATE) as rack:
        assert (rack.n_knobs, rack.columns(1), rack.columns(2)) == (3, 1, 3)
        np.testing.assert_allclose(
            rack.render(dry, setting[:, :1], n_units=1)[0], dry[0] * 10 ** (9 / 20), rtol=1e-5
        )
        whole = rack.render(dry, setting)
        with pytest.raises(ValueError, match=r"params_unit must have shape \(2, 3\), got \(2, 1\)"):
            rack.render(dry, setting[:, :1])
    from labkit.effects.registry import effect

    shelf = effect("high_shelf")
    order = dict(zip(shelf.space.names, (0.1, 0.9, 0.9), strict=True))  # corner, gain, q
    assert list(order) == ["cutoff_frequency_hz", "gain_db", "q"]
    by_hand = shelf.render(dry[1], RATE, **shelf.space.from_unit(list(order.values())))
    np.testing.assert_allclose(whole[1], by_hand, atol=1e-6)


# Controller and training


def test_a_controller_begins_at_the_start_and_all_of_it_learns(small):
    config = small()
    model = tasks.build(config)
    sound = torch.from_numpy(noise(4, 1, 11_025))
    torch.testing.assert_close(model(sound), torch.tensor([[0.5, 0.4, 0.6]]).expand(4, -1))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(
        2
    ):  # the last layer begins at zero, so what lies before it moves in the second step
        optimizer.zero_grad()
        (
            model(sound) - torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
        ).square().sum().backward()
        optimizer.step()
    assert [
        name for name, value in model.named_parameters() if torch.equal(value, before[name])
    ] == []


def levelled(n):
    """Noise that should come out at one level, whatever it comes in at."""
    sound = noise(n, 1, 11_025)
    return Examples(sound, None, sound.copy(), tuple(map(str, range(n))))


def test_it_learns_to_bring_sounds_to_one_level_through_a_box_without_gradient(small, tmp_path):
    """DeepAFx's toy. Shuffled, each sound gets another's gain, and is worse off than at the mean setting."""
    config = small("level", steps=60, learning_rate=1e-2, warmup_steps=5, checkpoint_every=60)
    model = tasks.build(config)
    plan = Plan(60, 8, 1e-2, warmup_steps=5)
    with Rack((GAIN,), RATE) as rack:
        fit(model, Dressed(config, levelled(24)), loss_of(config, rack), plan, tmp_path)
        rng, tests = generator(5, "level tests"), levelled(12)
        dry = np.stack([tests.dressed(LEVELLER, k, rng)[0] for k in range(12)])
        knobs = model.eval()(torch.from_numpy(dry)).detach().double().numpy()
        spread = {
            name: np.std(20 * np.log10(rack.render(list(dry), k).std((1, 2))))
            for name, k in {
                "ours": knobs,
                "mean": np.full_like(knobs, 0.5),
                "shuffled": np.roll(knobs, 1, 0),
            }.items()
        }
    assert spread["ours"] < 0.4 * spread["mean"] < 0.5 * spread["shuffled"]


def test_a_step_depends_on_its_number_alone(small):
    config = small()
    made = Examples(
        noise(4, 1, 11_025), noise(4, 1, 11_025, seed=2), noise(4, 1, 11_025, seed=3), ("a",) * 4
    )
    data = Dressed(config, made)
    batch = torch.utils.data.default_collate([data[k] for k in range(8, 16)])
    again = torch.utils.data.default_collate([data[k] for k in range(8, 16)])
    torch.testing.assert_close(batch, again)
    gradients = []
    with Rack(PAIR.units, RATE) as rack:
        for _ in range(2):
            model = tasks.build(config)
            loss_of(config, rack)(model, batch)[0].backward()
            gradients.append(model.head[-1].bias.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0][0] != 0
    assert (gradients[0][1:] == 0).all()  # step 1 of 700 plays the first unit alone


def test_dressing_moves_the_target_where_the_task_says_so():
    made = Examples(noise(1, 1, 100), None, noise(1, 1, 100, seed=1), ("a",))
    still = made.dressed(LEVELLER, 0, generator(0, "d"))
    moved = made.dressed(PAIR, 0, generator(0, "d"))
    np.testing.assert_array_equal(still[1], made.target[0])
    np.testing.assert_allclose(moved[1] / made.target[0], moved[0] / made.signal[0], rtol=1e-5)


# Data


@pytest.mark.parametrize("task", ["speech", "mastering"])
def test_examples_are_repeatable_and_keep_to_their_split(task):
    config = Config(task=task)
    made, again = (examples(config, "test", 3, n=2, seconds=0.6) for _ in range(2))
    np.testing.assert_array_equal(made.signal, again.signal)
    np.testing.assert_array_equal(made.target, again.target)
    assert made.signal.shape == made.target.shape == (2, 1, 26_460)
    train = examples(config, "train", 3, n=2, seconds=0.6)
    assert not set(train.groups) & set(made.groups)
    with pytest.raises(ValueError, match="split must be one of"):
        examples(config, "held out", 3, n=1)


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_a_processor_distorts_at_the_level_that_it_meets_whatever_it_is_given(name):
    here = {key for info in installed_plugins() if info.usable for key in (info.name, info.where)}
    if PROCESSORS[name].plugin not in here:
        pytest.skip(
            f"{PROCESSORS[name].plugin} is not installed (Debian: guitarix-lv2, zam-plugins; and dawdreamer)"
        )
    time = np.arange(RATE) / RATE
    dry = (0.1 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)[None]
    with opened(name) as plugin:
        wet, again = (driven(PROCESSORS[name], plugin, k * dry, RATE) for k in (1, 0.01))
    np.testing.assert_allclose(wet, again, atol=1e-4)
    spectrum = np.abs(np.fft.rfft(wet[0, RATE // 2 :] * np.hanning(RATE - RATE // 2)))
    fundamental, harmonics = (
        spectrum[105:116].max(),
        max(spectrum[215:226].max(), spectrum[325:336].max()),
    )
    assert 0.001 < harmonics / fundamental < 0.5  # a window's leakage lies below 1e-5
    assert -32 < 20 * np.log10(np.sqrt((wet**2).mean())) < -12


def test_tests_are_what_was_taught_then_what_was_not(monkeypatch):
    monkeypatch.delenv("LABKIT_REAL_DATA", raising=False)
    monkeypatch.setattr(evaluate, "real_data_dir", lambda: None)
    sound = np.zeros((1, 8), np.float32)
    monkeypatch.setattr(
        evaluate, "generated_tests",
        lambda config, **_: evaluate.Tests(evaluate._protocol(config), "generated", [sound], [sound], ["a"]),
    )  # fmt: skip
    said = [test.protocol for test in evaluate._every_test(Config(processor="zamtube"), 1, 4, 0)]
    assert said == [
        "distortion: any level of guitar, as a ZamTube has it",
        "distortion: any level of guitar, as a TS9 has it, unlike what was taught",
    ]
    assert [test.protocol for test in evaluate._every_test(Config(task="speech"), 1, 4, 0)] == [
        "speech: without breaths, clicks and room"
    ]
    with pytest.raises(
        ValueError, match="only must be part of the name of a protocol, got 'Marshall'"
    ):
        evaluate.evaluate(tasks.build(Config()), only="Marshall")
    assert "STOI" in evaluate.metrics_of("speech")
    assert evaluate.metrics_of("mastering") == evaluate.METRICS


def test_a_master_is_loud_and_below_full_scale():
    from labkit.measure.loudness import loudness_lufs

    mix = noise(1, 88_200) * np.repeat([0.2, 1.0, 0.5, 1.0], 22_050).astype(np.float32)
    out = mastered(mix, 44_100)
    assert np.abs(out).max() <= 1
    assert loudness_lufs(out, 44_100) == pytest.approx(-14, abs=2)  # the limiter takes some


def write(path, audio, rate=RATE):
    soundfile.write(path, audio.T, rate, subtype="FLOAT")


def test_pairs_are_found_by_their_names(tmp_path):
    raw, clean = tmp_path / "cleanraw", tmp_path / "clean"
    raw.mkdir(), clean.mkdir()
    sound = noise(1, 11_025)
    for name in ("f1_script1", "m2_script1"):
        write(raw / f"{name}_cleanraw.wav", sound)
        write(clean / f"{name}_clean.wav", 0.5 * sound)
    write(raw / "alone_cleanraw.wav", sound)
    pairs = paired_files(raw, clean)
    assert next((a.name, b.name) for a, b in pairs) == (
        "f1_script1_cleanraw.wav",
        "f1_script1_clean.wav",
    )
    assert len(pairs) == 2
    (raw / "._f1_script1_cleanraw.wav").write_bytes(b"what a Mac adds")
    (clean / "._f1_script1_clean.wav").write_bytes(b"what a Mac adds")
    assert len(paired_files(raw, clean)) == 2
    made = from_pairs(Config(sample_rate=RATE, seconds=0.4), pairs, 0, n=9)
    np.testing.assert_allclose(made.target, 0.5 * made.signal, atol=1e-7)
    assert set(made.groups) == {"f1", "m2"}
    for kind in ("dry", "wet"):
        write(tmp_path / f"riff_{kind}.wav", sound)
    assert [p.name for p in paired_files(tmp_path, tmp_path)[0]] == ["riff_dry.wav", "riff_wet.wav"]
    with pytest.raises(AudioFileError, match="has the name of one in"):
        paired_files(tmp_path, clean)
    with pytest.raises(AudioFileError, match="a folder of audio files was expected"):
        paired_files(tmp_path / "nowhere", clean)


def test_validation_keeps_whole_sources_for_itself():
    names = [f"{voice}_script{k}" for voice in ("f10", "f1", "f2", "m1") for k in range(5)]
    pairs = [(Path(f"{name}_cleanraw.wav"), Path(f"{name}_clean.wav")) for name in names]
    train, kept = held_out(pairs, 0.3)
    assert [len(train), len(kept)] == [10, 10]  # two voices of five each are the least that is 6
    assert not {dry.stem.split("_")[0] for dry, _ in train} & {
        dry.stem.split("_")[0] for dry, _ in kept
    }
    train, kept = held_out(pairs[:5])
    assert [len(train), len(kept)] == [4, 1]
    assert held_out(pairs[:1]) == (pairs[:1], pairs[:1])


def test_it_trains_on_a_users_own_folders(small, tmp_path, monkeypatch, capsys):
    """Recordings and what a gain of 6 dB made of them; by the shell, as a user would."""
    folders = tmp_path / "before", tmp_path / "after"
    for folder, loud in zip(folders, (1, 2), strict=True):
        folder.mkdir()
        for name in ("ann_1", "ann_2", "bob_1"):
            write(folder / f"{name}.wav", loud * noise(2, 44_100, seed=len(name)), 44_100)
    monkeypatch.setattr(tasks, "CONFIGS", {"distortion": small("level", n_clips=8, batch_size=2)})
    options = ["--run-dir", tmp_path / "run", "--steps", 2, "--workers", 1]
    command = ["train", "blackbox", "--dry", folders[0], "--wet", folders[1], *options]
    assert main([str(word) for word in command]) == 0
    model = tasks.load(tmp_path / "run" / "blackbox.safetensors")
    assert model.config.steps == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["folders"] == [
        str(folder) for folder in folders
    ]
    assert main(["train", "blackbox", "--dry", str(folders[0])]) == 1
    assert "dry and wet must be given together" in capsys.readouterr().err
    assert main(["evaluate", "blackbox", "--only", "speech"]) == 1
    assert "only must come with task or checkpoint" in capsys.readouterr().err


def test_a_short_pair_ends_in_silence_and_every_clip_is_from_one_place_of_both(tmp_path):
    sound = noise(1, 22_050)
    write(tmp_path / "a_dry.wav", sound)
    write(tmp_path / "a_wet.wav", -sound)
    write(tmp_path / "b_dry.wav", sound[:, :4000])
    write(tmp_path / "b_wet.wav", sound[:, :4100])
    made = from_pairs(
        Config(sample_rate=RATE, seconds=0.4), paired_files(tmp_path, tmp_path), 0, n=12
    )
    for dry, wet, group in zip(made.signal, made.target, made.groups, strict=True):
        np.testing.assert_array_equal(wet, -dry if group == "a" else dry)
        assert not dry[:, 4000:].any() if group == "b" else dry[:, 4000:].any()
    places = {
        float(dry[0, 0])
        for dry, group in zip(made.signal, made.groups, strict=True)
        if group == "a"
    }
    assert len(places) > 3


def test_pairs_of_different_lengths_are_refused(tmp_path):
    write(tmp_path / "a_dry.wav", noise(1, 22_050))
    write(tmp_path / "a_wet.wav", noise(1, 11_025))
    with pytest.raises(ValueError, match="must be equally long"):
        from_pairs(Config(sample_rate=RATE, seconds=0.4), paired_files(tmp_path, tmp_path), 0, n=1)


# Search


def test_searches_find_what_is_there_and_count_what_they_spend():
    asked = []

    def cost(settings):
        asked.append(len(settings))
        return ((settings - 0.7) ** 2).sum(1)

    start = np.full(3, 0.5)
    assert search("cma", cost, start, 1, generator(0, "s")).setting.tolist() == start.tolist()
    found = search("cma", cost, start, 150, generator(0, "s"))
    assert found.cost < 1e-3
    assert found.renders <= 150
    few = search("random", cost, start, 10, generator(0, "s"))
    assert few.cost == pytest.approx(((few.setting - 0.7) ** 2).sum())
    assert sum(asked) == 1 + found.renders + 10
    with pytest.raises(ValueError, match="renders must be at least 1"):
        search("random", cost, start, 0, generator(0, "s"))


def test_costs_are_least_at_the_right_gain():
    """The target is 9 dB louder: .75 of the gain's travel of 36 dB, by either cost."""
    dry = noise(1, RATE)
    loud = dry * np.float32(10 ** (9 / 20))
    tried = np.array([[0.25], [0.5], [0.75], [0.9]])
    with Rack((GAIN,), RATE) as rack:
        known, blind = (
            known_target(rack, dry, loud)(tried),
            known_style(rack, dry, style_of([loud], RATE))(tried),
        )
    assert np.argmin(known) == np.argmin(blind) == 2
    assert known[2] == pytest.approx(0, abs=1e-3)
    assert blind[2] == pytest.approx(0, abs=0.01)
    assert blind[1] == pytest.approx(18, abs=0.1)  # 9 dB of spectrum and 9 LU


# Use


def test_a_curve_is_smooth_and_bridges_silence(small):
    model = tasks.build(small()).eval()
    torch.nn.init.normal_(
        model.head[-1].weight, std=3.0, generator=torch.Generator().manual_seed(0)
    )
    audio = noise(2, 5 * RATE) * np.repeat([0.1, 3.0, 0.0, 3.0, 0.1], RATE).astype(np.float32)
    found = curve(model, audio, RATE, hop_s=0.2)
    assert found.raw.shape == found.smooth.shape == (25, 3)
    np.testing.assert_allclose(found.seconds[:3], [0.1, 0.3, 0.5], atol=1e-6)
    assert np.abs(np.diff(found.smooth, axis=0)).max() < np.abs(np.diff(found.raw, axis=0)).max()
    steps = np.diff(
        found.raw[10:15], axis=0
    )  # three windows hear silence alone: a straight line over them
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-6)
    silent = curve(model, np.zeros((1, RATE), np.float32), RATE)
    np.testing.assert_allclose(silent.smooth, np.tile([0.5, 0.4, 0.6], (2, 1)), atol=1e-7)
    with pytest.raises(ValueError, match="hop_s must be above 0"):
        curve(model, audio, RATE, hop_s=0.0)


@pytest.mark.parametrize(
    ("rate", "channels", "samples"), [(RATE, 1, 40_001), (44_100, 2, 70_000), (8000, 1, 300)]
)
def test_through_a_wire_a_file_comes_out_as_it_went_in(small, tmp_path, rate, channels, samples):
    model = tasks.build(small()).eval()
    time = np.arange(samples) / rate
    audio = np.stack(
        [0.3 * np.sin(2 * np.pi * (300 + 200 * c) * time) for c in range(channels)]
    ).astype(np.float32)
    write(tmp_path / "in.wav", audio, rate)
    facts = enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav", rack=Wire())
    out, out_rate = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    assert (out.T.shape, out_rate) == (audio.shape, rate)
    tolerance = (
        1e-6 if rate == RATE else 2e-3
    )  # there and back through soxr; a file begins and ends abruptly
    inner = slice(None) if rate == RATE else slice(min(200, samples // 4), -min(200, samples // 4))
    np.testing.assert_allclose(out.T[:, inner], audio[:, inner], atol=tolerance)
    assert json.loads((tmp_path / "out.json").read_text()) == facts
    assert set(facts["setting"]) == set(PAIR.names)
    in_memory, _ = enhance(model, audio, rate, rack=Wire())
    np.testing.assert_allclose(in_memory, out.T, atol=1e-6)


def test_a_setting_that_stands_still_renders_as_one(small):
    """Blocks with a pre-roll and cross-fades against the whole recording in one go, through a filter with a memory."""
    model = tasks.build(small()).eval()
    audio = noise(1, 3 * RATE)
    with Rack(PAIR.units, RATE) as rack:
        blocks, _ = enhance(model, audio, RATE, rack=rack)
        whole = rack.render([audio], np.array([[0.5, 0.4, 0.6]]))[0]
    np.testing.assert_allclose(blocks, whole, atol=1e-5)


class Slow(Wire):
    """A smoothing filter that forgets in 0.1 s, from rest at every call."""

    def render(self, audio, params_unit):  # noqa: ARG002 - it has no knobs
        pole = np.exp(-1 / (0.1 * RATE))
        return np.stack(
            [lfilter([1 - pole], [1, -pole], sound).astype(np.float32) for sound in audio]
        )


def test_blocks_begin_where_the_plug_in_would_stand_by_then(small):
    """Half a second before each block is played, too: after five time constants 0.7 % of the rest is left."""
    audio = np.full((1, 3 * RATE), 0.5, np.float32)
    blocks, _ = enhance(tasks.build(small()).eval(), audio, RATE, rack=Slow())
    np.testing.assert_allclose(blocks, Slow().render([audio], None)[0], atol=0.5 * 0.007)


def test_memory_does_not_grow_with_the_file(small, tmp_path):
    """Ten minutes against one, in arrays that Python allocates; the file itself would take 13 MB more.

    Ten minutes are played twice and the lesser peak counts: a thread left over from another test may allocate, too.
    """
    model = tasks.build(small()).eval()
    peaks = []
    for minutes in (1, 10, 10):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 6000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(noise(60 * 6000))
        tracemalloc.start()
        enhance_file(model, path, tmp_path / "out.wav", hop_s=4.0, rack=Wire())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert soundfile.info(tmp_path / "out.wav").frames == 10 * 60 * 6000
    assert min(peaks[1:]) < peaks[0] + 500_000


def test_bad_files_are_refused(small, tmp_path):
    model = tasks.build(small()).eval()
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioFileError, match="audio expected"):
        enhance_file(model, tmp_path / "text.wav", tmp_path / "out.wav", rack=Wire())
    with pytest.raises(
        ValueError, match=r"target must be another file than the source and end in \.wav"
    ):
        enhance_file(model, tmp_path / "text.wav", tmp_path / "text.wav", rack=Wire())
    soundfile.write(tmp_path / "whole.flac", noise(40_000), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:9000])
    with pytest.raises(AudioFileError, match=r"cut\.flac: broken or cut off after \d+ samples"):
        enhance_file(model, tmp_path / "cut.flac", tmp_path / "out.wav", rack=Wire())
    spoilt = noise(1, 40_000)
    spoilt[0, 39_000] = np.nan
    write(tmp_path / "nan.wav", spoilt)
    with pytest.raises(
        AudioFileError, match=r"nan\.wav: finite audio expected, found NaN or infinity"
    ):
        enhance_file(model, tmp_path / "nan.wav", tmp_path / "out.wav", rack=Wire())
    write(tmp_path / "in.wav", noise(1, 3000))
    with pytest.raises(ValueError, match="hop_s must be above 0"):
        enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav", hop_s=-1, rack=Wire())
    assert not (tmp_path / "out.wav").exists()


def test_rails_keep_strange_sounds_where_the_training_was(small):
    model = tasks.build(small()).eval()
    torch.nn.init.normal_(
        model.head[-1].weight, std=3.0, generator=torch.Generator().manual_seed(0)
    )
    usual, strange = (
        torch.from_numpy(noise(40, 1, 11_025)),
        torch.from_numpy(30 * noise(2, 1, 11_025)),
    )
    free, wild = model(usual), model(strange)
    model.set_rails(usual, share=0.1)
    assert ((wild < free.min(0).values) | (wild > free.max(0).values)).any()
    kept = model(strange)
    assert (kept >= free.quantile(0.1, 0) - 1e-6).all()
    assert (kept <= free.quantile(0.9, 0) + 1e-6).all()


# Tables, checkpoints


def test_rows_say_what_is_left_and_what_stands_beside():
    sounds = [noise(1, RATE, seed=k) for k in range(4)]
    tests = evaluate.Tests("p", "generated", sounds, sounds, ("a", "a", "b", "b"))
    other = [s + noise(1, RATE, seed=9) for s in sounds]
    worse = [s + 3 * noise(1, RATE, seed=9) for s in sounds]
    near = [s + 0.1 * noise(1, RATE, seed=9) for s in sounds]
    made = {
        "nothing": worse,
        "rules": near,
        "constant": other,
        "controller": other,
        "shuffled": worse,
    }
    made |= {"random, 1 render": worse, "CMA-ES, blind, 10 renders": other, "oracle": sounds}
    rows = evaluate.rows_of(
        tests,
        made,
        evaluate.METRICS,
        sample_rate=RATE,
        seed=1,
        seconds=0.1,
        checkpoint="x.safetensors",
    )
    first = rows[0]
    assert (first.name, first.metric, first.n) == ("controller, 1 render", "MR-STFT left", 4)
    assert first.oracle == pytest.approx(0, abs=1e-6)
    assert 0.1 < first.ours < 0.9 < first.control == first.chance == pytest.approx(1)
    assert first.floor < first.ours  # shares of doing nothing, not of the rules
    assert {row.name for row in rows} == {
        "controller, 1 render", "rules", "random, 1 render", "CMA-ES, blind, 10 renders", "nothing"
    }  # fmt: skip


def test_shuffled_is_each_recording_at_the_next_ones_setting(small):
    model = tasks.build(small()).eval()
    torch.nn.init.normal_(
        model.head[-1].weight, std=2.0, generator=torch.Generator().manual_seed(0)
    )
    sounds = [10.0**-k * noise(1, RATE, seed=k) for k in range(3)]
    tests = evaluate.Tests("p", "generated", sounds, sounds, ("a", "b", "c"))
    effort = evaluate.Effort(few=1, oracle=1)
    with Rack(PAIR.units, RATE) as rack:
        made = evaluate.answers(
            model, rack, tests, style_of(sounds[:1], RATE), np.full(3, 0.5), effort=effort, seed=0
        )
        own = np.stack([list(evaluate.predict(model, sound, RATE).values()) for sound in sounds])
        wanted = rack.render(sounds, np.roll(own, -1, axis=0))
    np.testing.assert_allclose(made["shuffled"], wanted, atol=1e-6)
    assert np.abs(made["shuffled"][0] - made["controller"][0]).max() > 1e-3


def test_a_checkpoint_gives_the_same_knobs(small, tmp_path):
    model = tasks.build(small()).eval()
    torch.nn.init.normal_(
        model.head[-1].weight, std=0.5, generator=torch.Generator().manual_seed(0)
    )
    tasks.save(model, tmp_path / "c.safetensors")
    again = tasks.load(tmp_path / "c.safetensors")
    sound = torch.from_numpy(noise(2, 1, 11_025))
    assert again.config == model.config
    torch.testing.assert_close(
        again(sound), model(sound), atol=5e-3, rtol=0
    )  # half precision: 11 bits a weight
    with pytest.raises(ValueError, match="task must be one of distortion, speech, mastering"):
        tasks.shipped_path("mixing")
