"""Sound matching: the network learns, matches are ranked by sound, files open again, the table adds up."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from labkit.cli import main
from labkit.effects.synths.vital import FULL, SIMPLE, Vital
from labkit.effects.synths.voice import VOICE
from labkit.learn.checkpoints import CheckpointError
from labkit.signal.files import AudioError, write_audio
from labkit.signal.seeds import generator
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.checkpoint import load, save
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.data import Notes, exchanges, read_notes, varied
from labkit.systems.synth_matching.evaluate import (
    Neighbours,
    Sound,
    evaluate,
    judge,
    parameter_error,
    rows_of,
)
from labkit.systems.synth_matching.model import build, summary
from labkit.systems.synth_matching.output import write_match, write_note
from labkit.systems.synth_matching.predict import (
    Match,
    patch_of,
    predict,
    prepare,
    propose,
    refined,
    transposed,
)
from labkit.systems.synth_matching.render import render_job, statistics
from labkit.systems.synth_matching.schema import RenderConfig, claim, columns, jobs, write_shard
from labkit.systems.synth_matching.train import train, validate

TINY = Config(
    channels=(8, 8, 16, 16), hidden=32, condition=32, width=32, n_layers=1, draws=1, batch_size=32
)


def patch(seed: int) -> dict[str, float | str]:
    return SIMPLE.draw(generator(seed, "patch"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose lines show the patch through a fixed random matrix: what can be learnt is known."""
    folder = tmp_path_factory.mktemp("toy")
    config = RenderConfig(n_train=512, n_validation=128, n_test=128, shard_size=128)
    matrix = np.random.default_rng(0).standard_normal((SIMPLE.size, features.N_LINES)) / np.sqrt(
        SIMPLE.size
    )
    claim(folder, config)
    for number, job in enumerate(jobs(config)):
        n = job.stop - job.start
        rows = {name: np.zeros((n, *shape)) for name, (shape, _) in columns(config).items()}
        rows["parameters"] = np.stack([SIMPLE.encode(patch(1000 * number + k)) for k in range(n)])
        rows["lines"] = -70 + 20 * rows["parameters"] @ matrix
        write_shard(job.path(folder), job, rows)
    flat = {"mel": features.N_MELS, "lines": features.N_LINES}
    moments = {name: {"mean": [-70.0] * n, "deviation": [20.0] * n} for name, n in flat.items()}
    (folder / "statistics.json").write_text(json.dumps(moments))
    return folder


def test_sizes_of_the_shipped_network() -> None:
    model = build(Config())
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    assert (
        summary(model).splitlines()[-1].split()[-1]
        == f"{sum(p.numel() for p in model.parameters()):,d}"
    )


@pytest.mark.parametrize("kind", [{"field": "mlp"}, {"field": "token"}, {"ear": "patches"}])
def test_every_trainable_tensor_moves(kind: dict) -> None:
    model = build(dataclasses.replace(TINY, drop=0.5, **kind))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for number in range(
        3
    ):  # gates begin at zero: what lies behind them moves from the second step on
        b, rng = 16, torch.Generator().manual_seed(number)
        given = torch.randn(b, 64, TINY.n_frames, generator=rng), torch.randn(b, 312, generator=rng)
        flow, plain = model(*given, torch.randn(b, SIMPLE.size, generator=rng), torch.arange(b))
        (flow + plain).backward()
        optimizer.step()
        optimizer.zero_grad()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_it_learns_what_is_shown_and_not_what_is_shuffled(toy: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY,
        steps=400,
        draws=4,
        noise_db=0.0,
        dropout=0.0,
        swap=False,
        vary=False,
        averaging=0.9,
        learning_rate=3e-3,
    )
    model = train(config, tmp_path, folder=toy)
    kept = read_notes(toy, "validation")
    mixed = dataclasses.replace(kept, lines=np.roll(kept.lines, 1, 0), mel=np.roll(kept.mel, 1, 0))
    shown, shuffled = validate(model, kept), validate(model, mixed)
    constant = kept.parameters.var(0).mean()
    assert shown["validation_regression"] < 0.75 * constant
    assert shuffled["validation_regression"] > constant
    assert (
        shown["validation_flow"] < 0.95 * shuffled["validation_flow"]
    )  # most of it is noise that nothing foretells


def test_a_run_belongs_to_its_config(toy: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, steps=2)
    train(config, tmp_path, folder=toy)
    with pytest.raises(ValueError, match="another config"):
        train(dataclasses.replace(config, dropout=0.5), tmp_path, folder=toy)


def test_a_network_for_another_set_lends_its_ear(toy: Path, tmp_path: Path) -> None:
    lender = build(dataclasses.replace(TINY, parameters="vital_full", seed=1))
    save(lender, tmp_path / "full.safetensors")
    config = dataclasses.replace(TINY, steps=1, learning_rate=1e-9)
    model, fresh = (
        train(config, tmp_path / "run", folder=toy, start=tmp_path / "full.safetensors"),
        build(config),
    )
    for name, value in model.named_parameters():
        before = lender if name.startswith("ear.") else fresh
        torch.testing.assert_close(
            value, before.get_parameter(name), rtol=1e-3, atol=1e-5
        )  # it is half precision
    save(build(dataclasses.replace(TINY, hidden=16)), tmp_path / "small.safetensors")
    with pytest.raises(CheckpointError, match="size mismatch"):
        train(config, tmp_path / "other", folder=toy, start=tmp_path / "small.safetensors")


def test_a_checkpoint_gives_the_same_patches(tmp_path: Path) -> None:
    model = build(TINY).eval()
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == TINY
    rng = np.random.default_rng(0)
    views = rng.normal(-70, 20, (2, 64, TINY.n_frames)), rng.normal(-70, 20, (2, 312))
    first, second = (propose(m, *views, n=3, seed=4) for m in (model, again))
    assert first[0].shape == (2, 3, SIMPLE.size)
    np.testing.assert_allclose(first[1], second[1], atol=5e-3)  # weights are kept in half precision
    np.testing.assert_allclose(
        first[0], second[0], atol=5e-2
    )  # which twelve steps of the solver add up
    with pytest.raises(CheckpointError, match="labkit train synth"):
        load(tmp_path / "none.safetensors")


def test_a_transposed_picture_is_that_of_the_transposed_patch() -> None:
    pytest.importorskip("vita", reason="the package vita is not installed")
    values = SIMPLE.settle(
        patch(0) | {"sample_level": 0.0, "chorus_dry_wet": 0.0, "osc_1_level": 0.65}
    )
    with Vital() as synth:
        plain = features.hear(synth.render(values, seconds=1.5))
        errors = []
        for seed in range(3):
            given = plain.mel.astype(np.float32), plain.lines.astype(np.float32)
            mel, _, changed = varied(*given, values, SIMPLE, np.random.default_rng(seed))
            assert changed != values
            SIMPLE.check(changed)
            true = features.hear(synth.render(changed, seconds=1.5))
            errors.append(
                [np.abs(x - y.astype(float)).mean() for x in (mel, plain.mel) for y in (true.mel,)]
            )
    changed_error, unchanged_error = np.mean(errors, 0)
    assert changed_error < 0.6 * unchanged_error


def test_in_the_full_set_echoes_slow_down_too_and_a_cutoff_that_follows_the_key_is_left_to() -> (
    None
):
    middle = {field.name: field.rest for field in FULL.fields} | {
        "note_pitch": 60.0,
        "note_seconds": 0.5,
    }
    on = {
        "osc_1_level": 0.65,
        "filter_1_type": "low 24",
        "filter_1_keytrack": 0.5,
        "wah": 0.2,
        "delay_dry_wet": 0.25,
    }
    values, views = (
        FULL.settle(middle | {"sample_level": 0.0} | on),
        (np.zeros((64, 65)), np.zeros(312)),
    )
    seen = set()
    for seed in range(20):
        *_, changed = varied(*views, values, FULL, np.random.default_rng(seed))
        moved = {
            name: changed[name] - values[name]
            for name in FULL.names
            if not isinstance(values[name], str)
        }
        slower = np.log2(changed["note_seconds"] / values["note_seconds"])
        assert moved["filter_1_cutoff"] == pytest.approx(
            moved["note_pitch"] / 2, abs=0.02
        )  # a step is 90 / 4096
        for name in ("lfo_2_frequency", "delay_frequency"):
            assert moved[name] == pytest.approx(
                -slower, abs=0.003
            )  # 5 / 4096, and that of the seconds
        seen.add((moved["note_pitch"] != 0, abs(slower) > 0.01))
    assert (True, True) in seen


def test_refining_goes_down_and_keeps_to_its_budget() -> None:
    start, goal, asked = patch(1), SIMPLE.encode(patch(1)), []
    goal = goal + 0.5

    def cost(values: dict) -> float:
        asked.append(values)
        return float(np.square(SIMPLE.encode(values) - goal).sum())

    found = refined(SIMPLE, start, cost, renders=200)
    assert len(asked) <= 200
    assert cost(found) < 0.8 * cost(start)
    assert {n: v for n, v in found.items() if isinstance(v, str)} == {
        n: v for n, v in start.items() if isinstance(v, str)
    }
    assert refined(SIMPLE, start, cost, renders=1) == start


def test_a_silent_answer_is_given_a_voice() -> None:
    values = SIMPLE.settle(patch(0) | {"osc_1_level": 0.0, "osc_2_level": 0.0, "sample_level": 0.0})
    code = SIMPLE.encode(values)
    code[SIMPLE.columns["osc_2_level"].start + 1] -= 1.0  # least off, in standard deviations
    found = patch_of(SIMPLE, code)
    assert found["osc_2_level"] > 0
    assert found["osc_1_level"] == found["sample_level"] == 0.0
    assert patch_of(SIMPLE, SIMPLE.encode(found)) == found


def test_a_recording_is_heard_from_its_onset_on() -> None:
    time_s = np.arange(22_050) / 22_050
    note = np.sin(2 * np.pi * 440 * time_s).astype(np.float32) * 0.5
    late = np.concatenate([np.zeros(11_025, dtype=np.float32), note])
    heard = prepare(np.stack([late, late]), 22_050, 0.5)
    assert heard.shape == (22_050,)
    assert int(np.argmax(np.abs(heard) > 0.05)) == pytest.approx(
        221, abs=40
    )  # 5 ms, and what the resampler rings
    assert len(prepare(note[None, :2000], 22_050, 1.5)) == 66_150
    with pytest.raises(AudioError, match="silent"):
        prepare(np.zeros((1, 4000), dtype=np.float32), 22_050, 0.5)


def test_the_keys_around_stay_within_the_range() -> None:
    low = patch(0) | {"note_pitch": 38.0}
    others = transposed(SIMPLE, low)
    assert [one["note_pitch"] for one in others] == [36.0, 37.0, *map(float, range(39, 51))]
    assert all({**one, "note_pitch": 38.0} == low for one in others)


def test_a_patch_that_lies_beside_the_key_is_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one patch that the network says is the true one, three semitones too low."""
    pytest.importorskip("vita", reason="the package vita is not installed")
    module = sys.modules[
        "labkit.systems.synth_matching.predict"
    ]  # the package's `predict` is the function
    truth = SIMPLE.decode(np.zeros(SIMPLE.size)) | {"osc_1_level": 0.8, "note_pitch": 55.0}
    said = SIMPLE.encode(truth | {"note_pitch": 52.0})[None]
    monkeypatch.setattr(module, "propose", lambda *_, **__: (said[None], said))
    with Vital() as synth:
        audio = synth.render(truth, seconds=TINY.seconds)
        found = predict(build(TINY).eval(), audio, 44_100, n=1, synth=synth)
        kept = predict(build(TINY).eval(), audio, 44_100, n=1, pitch=52, synth=synth)
    assert found.values["note_pitch"] == 55.0
    assert found.renders == 2 + 24 + 2
    assert kept.values["note_pitch"] == 52.0
    assert found.distance < kept.distance


@pytest.fixture(scope="module")
def match() -> Match:
    pytest.importorskip("vita", reason="the package vita is not installed")
    audio = 0.1 * np.random.default_rng(0).standard_normal((2, 44_100)).astype(np.float32)
    with Vital() as synth:
        return predict(build(TINY).eval(), audio, 44_100, n=3, pitch=50, synth=synth)


def test_a_match_is_as_loud_as_the_sound_and_the_best_that_was_tried(match: Match) -> None:
    from labkit.measure.loudness import loudness_lufs

    assert match.values["note_pitch"] == 50.0
    assert len(match.tried) == 4  # three draws and the regressor's
    assert match.renders == 6
    assert (
        match.distance < min(match.tried) + 3
    )  # a new synthesizer begins its first note otherwise
    if match.volume_db < 12:
        loud = loudness_lufs(features.mono(match.audio), 44_100)
        assert loud == pytest.approx(loudness_lufs(match.target[None], 44_100), abs=1.5)


def test_the_files_of_a_match_open_again(match: Match, tmp_path: Path) -> None:
    mido = pytest.importorskip("mido", reason="the package mido is not installed")
    with Vital() as synth:
        files = write_match(match, SIMPLE, tmp_path / "deep", name="mine", synth=synth)
        played = synth.play(files.preset.read_text(), match.values, seconds=1.5)
    np.testing.assert_allclose(played, match.audio, atol=1e-5)  # the preset is the predicted sound
    notes = [m for m in mido.MidiFile(files.midi).tracks[0] if not m.is_meta]
    assert [(m.type, m.note) for m in notes] == [("note_on", 50), ("note_off", 50)]
    assert notes[1].time / 960 == pytest.approx(
        match.values["note_seconds"], abs=1e-3
    )  # 960 ticks a second
    assert SIMPLE.decode(np.load(files.vector)) == match.values
    assert json.loads(files.parameters.read_text())["values"] == match.values
    assert files.audio.stat().st_size > 44_100
    assert not list((tmp_path / "deep").glob("*.tmp"))


def test_our_own_voice_goes_the_whole_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no synthesizer is installed: notes, a training, an evaluation, a match, and its files."""
    rendering = RenderConfig(
        parameters="voice", seconds=0.5, n_train=4, n_validation=2, n_test=2, shard_size=4
    )
    claim(tmp_path / "notes", rendering)
    for job in jobs(rendering):
        render_job(job, str(tmp_path / "notes"))
    (tmp_path / "notes" / "statistics.json").write_text(
        json.dumps(statistics(rendering, tmp_path / "notes"))
    )
    assert len(exchanges(VOICE)) == 1  # its oscillators are not alike
    config = dataclasses.replace(TINY, parameters="voice", seconds=0.5, steps=2, batch_size=4)
    model = train(config, tmp_path / "run", folder=tmp_path / "notes")
    rows = evaluate(model, folder=tmp_path / "notes", n=2)
    assert {row.protocol for row in rows} == {"our own voice, 15 parameters"}
    save(model, tmp_path / "m.safetensors")
    time_s = np.arange(44_100) / 44_100
    write_audio(
        tmp_path / "note.wav",
        0.3 * np.sin(2 * np.pi * 220 * time_s)[None].astype(np.float32),
        44_100,
    )
    given = [
        "--checkpoint",
        str(tmp_path / "m.safetensors"),
        "--n",
        "1",
        "--output-path",
        str(tmp_path / "out"),
    ]
    assert main(["synth", str(tmp_path / "note.wav"), *given]) == 0
    assert "dB (MSS) away" in capsys.readouterr().out
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {
        ".voice",
        ".mid",
        ".json",
        ".npy",
        ".wav",
    }


def test_the_command_writes_a_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vita", reason="the package vita is not installed")
    save(build(TINY).eval(), tmp_path / "m.safetensors")
    time_s = np.arange(44_100) / 44_100
    write_audio(
        tmp_path / "note.wav",
        0.3 * np.sin(2 * np.pi * 220 * time_s)[None].astype(np.float32),
        44_100,
    )
    given = [
        "--checkpoint",
        str(tmp_path / "m.safetensors"),
        "--n",
        "1",
        "--output-path",
        str(tmp_path / "out"),
    ]
    assert main(["synth", str(tmp_path / "note.wav"), *given]) == 0
    assert "dB (MSS) away" in capsys.readouterr().out
    names = {file.suffix for file in (tmp_path / "out").iterdir()}
    assert names == {".vital", ".mid", ".json", ".npy", ".wav"}


def test_midi_of_the_shortest_note(tmp_path: Path) -> None:
    mido = pytest.importorskip("mido", reason="the package mido is not installed")
    write_note(tmp_path / "a.mid", {"note_pitch": 60.0, "note_seconds": 0.0})
    assert mido.MidiFile(tmp_path / "a.mid").length > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [({"n": 0}, "n must be"), ({"refine": -1}, "refine"), ({"pitch": 20}, "note_pitch")],
)
def test_bad_requests_are_named(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        predict(build(TINY), np.ones((1, 44_100), dtype=np.float32), 44_100, **given)


def test_exchanged_oscillators_are_no_error() -> None:
    values = SIMPLE.settle(patch(0) | {"osc_1_level": 0.65, "osc_2_level": 0.475})
    other = {
        name.translate(str.maketrans("12", "21")) if name.startswith("osc") else name: v
        for name, v in values.items()
    }
    assert parameter_error(SIMPLE, other, values) == 0.0
    assert (
        parameter_error(SIMPLE, values | {"note_pitch": 84.0}, values | {"note_pitch": 36.0}) > 0.0
    )


def test_the_nearest_note_is_the_note_itself() -> None:
    rng, n = np.random.default_rng(0), 20
    codes = np.stack([SIMPLE.encode(patch(k)) for k in range(n)])
    views = rng.normal(-70, 20, (n, 64, TINY.n_frames)), rng.normal(-70, 20, (n, 312))
    notes = Notes(codes, *views, np.zeros(n), np.zeros((n, 3)), np.arange(n))
    nearest = Neighbours(notes, build(TINY))
    for k in (0, 7, 19):
        near = nearest(views[0][k] + rng.normal(0, 1, views[0][k].shape), views[1][k])
        np.testing.assert_array_equal(near, codes[[k]])
    several = nearest(views[0][7], views[1][7], n)
    np.testing.assert_array_equal(several[0], codes[7])
    assert {tuple(row) for row in several} == {tuple(row) for row in codes}


def test_judging_by_hand() -> None:
    """A synthesizer that is silent but for one patch, and a patch that is the answer."""
    right = patch(3)
    wave = np.sin(np.arange(66_150) / 20).astype(np.float32)

    class Silent:
        def render(self, values: dict, *, seconds: float) -> np.ndarray:
            return (
                np.stack([wave, wave]) * (values == right) if seconds == 1.5 else np.zeros((2, 1))
            )

    sounds = [
        Sound(str(k), wave, np.full((64, TINY.n_frames), -70.0 - k), np.full(312, -70.0), right)
        for k in range(2)
    ]
    codes = np.stack([SIMPLE.encode(right)] * 2)
    notes = Notes(
        codes,
        *(np.stack([getattr(s, name) for s in sounds]) for name in ("mel", "lines")),
        *np.zeros((3, 2)),
    )
    scores = judge(build(TINY).eval(), sounds, Silent(), notes)
    assert scores[0]["oracle"]["MSS"] == scores[1]["nearest neighbour"]["MSS"] == 0.0
    assert scores[0]["oracle"]["parameters"] == 0.0
    assert scores[0]["regression"]["MSS"] > 1
    assert scores[0]["flow, best of 8"]["RMS cosine"] == 0.0


def test_the_table_adds_up() -> None:
    def one(mss: float) -> dict[str, float]:
        return {"MSS": mss, "wMFCC": 1.0, "SOT": 0.1, "RMS cosine": 0.9, "LSD": 5.0}

    ways = {
        "mean patch": 9.0,
        "nearest neighbour": 5.0,
        "regression": 8.0,
        "flow, one draw": 4.0,
        "shuffled sound": 9.5,
        "shuffled sound, best of 8": 7.0,
        "8 neighbours, best kept": 4.5,
    }
    scores = [
        {way: one(mss + k) for way, mss in ways.items()} | {"flow, best of 8": one(2.0 + k)}
        for k in (0, 2)
    ]
    rows = rows_of(
        scores, ["a", "b"], protocol="p", sources="real", seed=0, checkpoint="c", seconds=1.0
    )
    found = {(row.name, row.metric): row for row in rows}
    assert found["flow, best of 8", "MSS"].ours == pytest.approx(3.0)
    assert found["regression", "MSS"].floor == pytest.approx(6.0)
    assert found["regression", "MSS"].control == pytest.approx(10.5)
    assert found["flow, best of 8", "MSS"].control == pytest.approx(8.0)
    assert found[
        "flow, best of 8", "MSS, over that of the best of 8 neighbours"
    ].ours == pytest.approx(3.0 / 5.5)
    assert found["regression", "MSS"].oracle is None
    assert found["flow, one draw", "MSS, over that of regression"].ours == pytest.approx(5 / 9)
    assert found[
        "flow, best of 8", "MSS, over that of the nearest neighbour"
    ].ours == pytest.approx(3 / 6)
    assert not any(row.name == "refined" for row in rows)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"field": "cnn"}, "mlp or token"),
        ({"channels": (8,)}, "four"),
        ({"steps": 0}, "steps"),
        ({"parameters": "x"}, "vital"),
    ],
)
def test_bad_configs_are_named(changed: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(TINY, **changed)
