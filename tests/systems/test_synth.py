"""Synth matching: it learns, matches are ranked by sound, files open again, data sets resume."""

import hashlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import permutations, repeat
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from mido import MidiFile

from labkit.cli import main
from labkit.effects.synths.registry import Synth
from labkit.effects.synths.vital import FULL, SIMPLE
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioError
from labkit.signal.seeds import generator
from labkit.systems.synth import SYSTEM, Match, build, describe, predict, write_match
from labkit.systems.synth.model import (
    N_LINES,
    N_MELS,
    harmonic_sum,
    mono,
    n_frames,
    note_features,
    pitch_of,
    played_key,
)
from labkit.systems.synth.predict import patch_of, prepare
from labkit.systems.synth.render import (
    _USER_BLOCK,
    Notes,
    RenderConfig,
    claim,
    draw,
    jobs,
    read_notes,
    render,
    render_job,
    write_shard,
)
from labkit.systems.synth.score import Sound, judge, rows
from labkit.systems.synth.train import Data, exchanges, varied

SIZES = {"channels": (8, 8, 16, 16), "hidden": 32, "condition": 32, "width": 32, "n_layers": 1}
TINY = SYSTEM.presets["vital_simple"].but(**SIZES, batch_size=32, warmup_steps=0)
SMALL = RenderConfig(n_train=6, n_validation=2, n_test=2, shard_size=2, seconds=0.75)
N_FRAMES = n_frames(1.5)


@pytest.fixture(scope="module")
def vital() -> Synth:
    pytest.importorskip("vita", reason="the package vita is not installed")
    with Synth(SIMPLE) as synth:
        yield synth


@pytest.fixture(autouse=True, scope="module")
def _one_transition_matrix():
    """pYIN's, which is always the same here: it takes half of its time."""
    librosa = pytest.importorskip("librosa")
    with pytest.MonkeyPatch.context() as monkeypatch:
        matrix = cache(librosa.sequence.transition_local)
        monkeypatch.setattr(librosa.sequence, "transition_local", matrix)
        yield


def patch(seed: int) -> dict[str, float | str]:
    return SIMPLE.draw(generator(seed, "patch"))


def noise() -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((2, 66_150)).astype(np.float32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose lines show the patch through a fixed random matrix."""
    folder = tmp_path_factory.mktemp("toy")
    config = RenderConfig(n_train=512, n_validation=128, n_test=128)
    matrix = np.random.default_rng(0).standard_normal((SIMPLE.size, N_LINES))
    claim(folder, config)
    for number, job in enumerate(jobs(config)):
        n = job.stop - job.start
        codes = np.stack([SIMPLE.encode(patch(1000 * number + k)) for k in range(n)])
        lines = -70 + 20 * codes @ matrix / np.sqrt(SIMPLE.size)
        mel = np.random.default_rng(number).normal(-70, 1, (n, N_MELS, N_FRAMES))
        write_shard(job.path(folder), job, Notes(codes, mel, lines, np.zeros((n, 3))))
    return folder


# Learning


def test_every_trainable_tensor_moves():
    model = build(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for number in range(4):  # gates begin at zero: what lies behind them moves from step two on
        b, rng = 16, torch.Generator().manual_seed(number)
        given = torch.randn(b, 64, N_FRAMES, generator=rng), torch.randn(b, 312, generator=rng)
        flow, plain = model(*given, torch.randn(b, SIMPLE.size, generator=rng), torch.arange(b))
        (flow + plain).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_it_learns_what_is_shown_and_not_what_is_shuffled(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = sys.modules["labkit.systems.synth.train"]
    monkeypatch.setattr(module, "varied", lambda mel, lines, values, *_: (mel, lines, values))
    monkeypatch.setattr(module, "exchanges", lambda spec: np.arange(spec.size)[None])
    config = TINY.but(steps=180, dropout=0.0, averaging=0.9, learning_rate=3e-3)
    model = SYSTEM.train(config, tmp_path, data=Data(toy))
    kept = read_notes(toy, "validation")
    given = [
        torch.from_numpy(x.astype(np.float32)) for x in (kept.mel, kept.lines, kept.parameters)
    ]
    mixed = [given[0].roll(1, 0), given[1].roll(1, 0), given[2]]
    with torch.no_grad():
        shown, shuffled = (model(*some, torch.zeros(1)) for some in (given, mixed))
    constant = kept.parameters.var(0).mean()
    assert shown[1] < 0.75 * constant
    assert shuffled[1] > constant
    assert shown[0] < 0.95 * shuffled[0]  # most of the flow's loss is noise
    with pytest.raises(ValueError, match="another config"):
        SYSTEM.train(config.but(dropout=0.5), tmp_path, data=Data(toy))


# Examples


def test_a_transposed_spectrogram_is_that_of_the_transposed_patch(vital: Synth):
    off = {"sample_level": 0.0, "chorus_dry_wet": 0.0, "osc_1_level": 0.65}
    values, errors = SIMPLE.settle(patch(0) | off), []
    plain = note_features(vital.render(values, seconds=1.5))
    given = plain.mel.astype(np.float32), plain.lines.astype(np.float32)
    for seed in range(3):
        mel, _, changed = varied(*given, values, SIMPLE, np.random.default_rng(seed))
        assert changed != values
        SIMPLE.check(changed)
        true = note_features(vital.render(changed, seconds=1.5)).mel.astype(float)
        errors.append([np.abs(x - true).mean() for x in (mel, plain.mel)])
    changed_error, unchanged_error = np.mean(errors, 0)
    assert changed_error < 0.6 * unchanged_error


def test_equal_oscillators_stand_in_every_order():
    orders = exchanges(FULL)
    assert orders.shape == (6, FULL.size)
    np.testing.assert_array_equal(orders[0], np.arange(FULL.size))
    values = FULL.draw(generator(0, "patch"))
    levels = [values[f"osc_{k}_level"] for k in (1, 2, 3)]
    assert len(set(levels)) > 1
    patches = [FULL.decode(FULL.encode(values)[order]) for order in orders]
    found = {tuple(p[f"osc_{k}_level"] for k in (1, 2, 3)) for p in patches}
    assert found == set(permutations(levels))
    rest = [name for name in FULL.names if not name.startswith("osc")]
    assert all(p[name] == values[name] for p in patches for name in rest)


# Prediction


def test_a_silent_answer_gets_its_likeliest_source():
    off = {"osc_1_level": 0.0, "osc_2_level": 0.0, "sample_level": 0.0}
    code = SIMPLE.encode(SIMPLE.settle(patch(0) | off))
    code[SIMPLE.columns["osc_2_level"].start + 1] -= 1.0  # least off, in standard deviations
    found = patch_of(SIMPLE, code)
    assert found["osc_2_level"] > 0
    assert found["osc_1_level"] == found["sample_level"] == 0.0
    assert patch_of(SIMPLE, SIMPLE.encode(found)) == found


def test_a_recording_begins_at_its_onset():
    time_s = np.arange(22_050) / 22_050
    note = np.sin(2 * np.pi * 440 * time_s).astype(np.float32) * 0.5
    late = np.concatenate([np.zeros(11_025, dtype=np.float32), note])
    found = prepare(np.stack([late, late]), 22_050, 0.5)
    assert found.shape == (22_050,)
    # 5 ms, and the ringing of the resampler.
    assert int(np.argmax(np.abs(found) > 0.05)) == pytest.approx(221, abs=40)
    assert len(prepare(note[None, :2000], 22_050, 1.5)) == 66_150
    with pytest.raises(AudioError, match="silent"):
        prepare(np.zeros((1, 4000), dtype=np.float32), 22_050, 0.5)


def test_a_patch_beside_the_key_is_corrected(vital: Synth, monkeypatch: pytest.MonkeyPatch):
    """The network's one patch is the true one, three semitones too low and an octave too high."""
    module = sys.modules["labkit.systems.synth.predict"]
    one = {"osc_1_level": 0.8, "osc_2_level": 0.0, "note_pitch": 55.0}
    truth = SIMPLE.settle(SIMPLE.decode(np.zeros(SIMPLE.size)) | one)
    answer = SIMPLE.encode(truth | {"note_pitch": 52.0, "osc_1_transpose": "12"})[None]
    monkeypatch.setattr(module, "propose", lambda *_, **__: (answer[None], answer))
    audio = vital.render(truth, seconds=1.5, tuning=0.2)
    options = {"n": 1, "refine": 0, "synth": vital}
    found = predict(build(TINY).eval(), audio, 44_100, **options)
    kept = predict(build(TINY).eval(), audio, 44_100, pitch=52, **options)
    assert found.values["note_pitch"] == 55.0
    assert found.tuning == pytest.approx(-11.8, abs=0.1)
    assert abs(found.off) < 0.1
    assert kept.values["note_pitch"] == 52.0
    assert found.distance < kept.distance


@cache
def tone(key: float, weights: tuple[float, ...]) -> np.ndarray:
    """(66 150,): harmonics of a key with these amplitudes, falling by 20 dB a second."""
    turns = 440 * 2 ** ((key - 69) / 12) * np.arange(66_150) / 44_100
    # Harmonic k is the k-th power of the first.
    sound = np.polyval([*weights[::-1], 0], np.exp(2j * np.pi * turns)).imag
    return (sound * 10 ** (-np.arange(66_150) / 44_100)).astype(np.float32)


SAW = tuple(1 / k for k in range(1, 30))
ODD, NO_FUNDAMENTAL = (1, 0, 0.3, 0, 0.2), (0.05, 1.0, 0.7, 0.5, 0.3)
TONES = [(45.55, one) for one in ((1.0,), SAW, ODD, NO_FUNDAMENTAL)]


@pytest.mark.parametrize(("key", "weights"), [*TONES, (28.3, SAW), (83.9, NO_FUNDAMENTAL)])
def test_the_pitch_of_a_note_is_neither_an_octave_off_nor_a_semitone(key: float, weights: tuple):
    found = pitch_of(tone(key, weights))
    assert found.key == pytest.approx(key, abs=0.06)  # the grid's step, and half of one
    assert found.certainty > 0.2
    assert weights is not SAW or pitch_of(tone(key, SAW), near=round(key) + 12).key > key + 11
    assert played_key(tone(key, weights)) == pytest.approx(key, abs=0.06)
    held = np.tile(np.cos(2 * np.pi * 300 / 1024 * np.arange(1024)), 170)  # longer than the FFT
    np.testing.assert_allclose(harmonic_sum(held), harmonic_sum(held[: 1 << 16]), atol=1e-9)


class Detuned:
    """A synthesizer that plays a saw, 3.3 semitones too high."""

    def render(self, values: dict, *, seconds: float, tuning: float = 0, **_: float) -> np.ndarray:
        assert seconds == 1.5
        return np.stack([tone(values["note_pitch"] + tuning + 3.3, SAW)] * 2)

    first_note = render


def test_what_lies_outside_the_keys_or_has_no_pitch_is_said():
    options = {"n": 1, "refine": 8, "synth": Detuned()}
    low = predict(build(TINY).eval(), tone(28.4, SAW)[None], 44_100, **options)
    assert low.values["note_pitch"] == 40.0
    assert low.tuning == pytest.approx(28.4 - 40 - 3.3, abs=0.1)
    assert abs(low.off) <= 0.1
    assert "outside the keys 36 to 84" in describe(low, [])
    hiss = predict(build(TINY).eval(), noise(), 44_100, **options)
    assert hiss.off is None
    assert "no clear pitch" in describe(hiss, [])
    given = predict(build(TINY).eval(), noise(), 44_100, pitch=50, **options)
    assert (given.values["note_pitch"], given.tuning) == (50.0, pytest.approx(-3.3, abs=0.1))


def test_a_refined_patch_whose_first_note_is_further_away_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    class FirstNoteOfRefinedIsNoise(Detuned):
        def first_note(self, values: dict, **setting: float) -> np.ndarray:
            return noise() if "refined" in values else self.render(values, **setting)

    module = sys.modules["labkit.systems.synth.predict"]
    monkeypatch.setattr(module, "refined", lambda _, values, *__, **___: values | {"refined": 1.0})
    options = {"n": 1, "refine": 8, "synth": FirstNoteOfRefinedIsNoise()}
    found = predict(build(TINY).eval(), tone(50, SAW)[None], 44_100, **options)
    assert "refined" not in found.values
    assert found.distance < 3


def test_where_the_nearest_patch_cannot_be_tuned_the_next_ones_are_tried():
    class FirstNoteOfNearestIsAFourthOff(Detuned):
        nearest = None

        def first_note(self, values: dict, **setting: float) -> np.ndarray:
            self.nearest = self.nearest or values
            tuning = 5.0 if values is self.nearest else setting.pop("tuning")
            return self.render(values, **setting | {"tuning": tuning})

    synth = FirstNoteOfNearestIsAFourthOff()
    found = predict(build(TINY).eval(), tone(50, SAW)[None], 44_100, n=3, refine=0, synth=synth)
    assert found.values is not synth.nearest
    assert abs(found.off) < 0.1


@pytest.fixture(scope="module")
def match(vital: Synth) -> Match:
    options = {"n": 3, "refine": 0, "pitch": 50, "synth": vital}
    return predict(build(TINY).eval(), noise(), 44_100, **options)


def test_a_match_is_as_loud_as_the_sound_and_the_best_that_was_tried(match: Match):
    assert match.values["note_pitch"] == 50.0
    assert len(match.tried) == 4  # three draws and the regressor's
    assert match.distance < min(match.tried) + 3  # a first note begins slightly differently
    if match.volume_db < 12:
        wanted = loudness_lufs(noise().mean(0, keepdims=True), 44_100)
        assert loudness_lufs(mono(match.audio), 44_100) == pytest.approx(wanted, abs=1.5)


def test_the_files_of_a_match_open_again(match: Match, vital: Synth, tmp_path: Path):
    files = write_match(match, tmp_path / "deep", name="mine", synth=vital)
    played = vital.play(files[0].read_text(), match.values, seconds=1.5)
    np.testing.assert_allclose(played, match.audio, atol=1e-5)
    notes = [m for m in MidiFile(files[1]).tracks[0] if not m.is_meta]
    assert [(m.type, m.note) for m in notes] == [("note_on", 50), ("note_off", 50)]
    # 960 ticks a second.
    assert notes[1].time / 960 == pytest.approx(match.values["note_seconds"], abs=1e-3)
    assert json.loads(files[2].read_text())["values"] == match.values
    assert SIMPLE.decode(np.load(files[4])) == match.values
    assert len(list((tmp_path / "deep").iterdir())) == 5


# The score


def test_judging_by_hand():
    """A synthesizer that is silent but for one patch, and a patch that is the answer."""
    right, wave = patch(3), np.sin(np.arange(66_150) / 20).astype(np.float32)

    class Silent:
        def render(self, values: dict, *, seconds: float) -> np.ndarray:
            assert seconds == 1.5
            return np.stack([wave, wave]) * (values == right)

    code, heard = SIMPLE.encode(right), note_features(wave[None])
    mels, lines = (np.stack([x, x]) for x in (heard.mel, heard.lines))
    notes = Notes(np.stack([code, code]), mels, lines, np.zeros((2, 3)))
    sounds = [Sound(str(k), wave, code) for k in range(2)]
    scores = judge(build(TINY).eval(), sounds, Silent(), notes)
    assert scores["oracle"]["MSS"][0] == scores["nearest neighbour"]["MSS"][1] == 0.0
    assert scores["regression"]["MSS"][0] > 1
    assert scores["flow, best of 8"]["RMS cosine"][0] == 0.0
    found = rows(scores, ["a", "b"], protocol="p", sources="real", seed=0)
    ways = ["8 neighbours, best kept", "regression", "flow, one draw", "flow, best of 8"]
    assert [row.name for row in found[::2]] == ways
    first = found[2]
    assert (first.metric, first.unit, first.floor, first.oracle) == ("MSS", "dB", 0.0, 0.0)
    assert first.prior == pytest.approx(np.mean(scores["mean patch"]["MSS"]))
    assert first.control == pytest.approx(np.mean(scores["shuffled sound"]["MSS"]))


def test_recordings_are_matched_in_tune_and_judged_by_their_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["labkit.systems.synth.score"], "predict", partial(predict, n=2))
    codes = np.stack([SIMPLE.encode(patch(k)) for k in range(2)])
    sounds = [Sound("a", tone(50.0, SAW), key=50.0)]
    sounds.append(Sound("b", tone(57.4, SAW), key=57.4, refined=False))
    heard = [note_features(sound.audio[None]) for sound in sounds]
    notes = Notes(codes, *(np.stack(x) for x in zip(*heard, strict=True)), np.zeros((2, 3)))
    scores = judge(build(TINY).eval(), sounds, Detuned(), notes, refine=8)
    found = rows(scores, ["a", "b"], protocol="p", sources="recorded", seed=0)
    tuned = {row.name: row for row in found if row.metric == "in tune"}
    quick, ours = tuned["labkit synth --refine 0"], tuned["labkit synth"]
    assert (quick.n, quick.ours, quick.prior) == (2, 1.0, 0.0)
    assert (ours.n, ours.ours, ours.prior) == (1, 1.0, 0.0)
    assert [row.n for row in found if row.name == "flow, best of 8"] == [2, 2]


# Data sets


def some_notes(config: RenderConfig, n: int) -> Notes:
    codes = [config.spec.encode(draw(config.parameters, "train", k, 0)[0]) for k in range(n)]
    rng = np.random.default_rng(0)
    mel, lines = rng.random((n, N_MELS, n_frames(config.seconds))), rng.random((n, N_LINES))
    return Notes(np.stack(codes), mel, lines, rng.random((n, 3)))


def filled(folder: Path, config: RenderConfig) -> None:
    claim(folder, config)
    for job in jobs(config):
        write_shard(job.path(folder), job, some_notes(config, job.stop - job.start))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("vita", reason="the package vita is not installed")
    out = tmp_path_factory.mktemp("whole")
    claim(out, SMALL)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # a cluster takes twice as long
        assert sum(pool.map(render_job, jobs(SMALL), repeat(str(out)))) == 10
    return out


@pytest.mark.timeout(600)
def test_what_is_missing_or_damaged_is_rendered_again_and_the_rest_left_alone(whole: Path):
    before = {job.path(whole): job.path(whole).read_bytes() for job in jobs(SMALL)}
    times = {path: path.stat().st_mtime_ns for path in before}
    missing, damaged, *others = before
    missing.unlink()
    damaged.write_bytes(before[damaged][:-1])
    assert render(SMALL, whole, workers=1) == 4
    for path, content in before.items():
        equal = path.read_bytes() == content  # too many bytes for a message
        assert equal, path.name
    assert [path for path in others if path.stat().st_mtime_ns != times[path]] == []
    assert render(SMALL, whole, workers=1) == 0


@pytest.mark.timeout(600)
def test_rows_are_the_sound_and_its_patch(whole: Path, vital: Synth):
    notes = read_notes(whole, "train")
    assert len(notes.parameters) == 6
    for k in range(6):
        values = SIMPLE.decode(notes.parameters[k])
        assert values in [draw("vital_simple", "train", k, attempt)[0] for attempt in range(50)]
        audio = vital.render(values, seconds=SMALL.seconds, phases=notes.phases[k])
        # Chorus and reverb run free, and a first note begins slightly differently.
        assert np.abs(note_features(audio).lines - notes.lines[k].astype(float)).mean() < 6


def test_what_is_rendered_trains_a_network_that_is_scored(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LABKIT_REAL_DATA", str(tmp_path / "nowhere"))
    config = TINY.but(seconds=0.75, steps=2, batch_size=4)
    model = SYSTEM.train(config, tmp_path / "run", data=Data(whole))
    found = SYSTEM.score(model, n=2, folder=whole)
    assert {row.protocol for row in found} == {"Vital, 30 parameters"}
    for row in found:
        assert None not in (row.floor, row.prior, row.control, row.oracle)


@pytest.mark.parametrize(("n", "to_train"), [(24, 18), (3, 1), (21_504, 20_480)])
def test_the_command_plays_as_many_notes_as_asked(n, to_train, tmp_path, monkeypatch, capsys):
    module = sys.modules["labkit.systems.synth.render"]
    played = lambda missing, *_: sum(job.stop - job.start for job in missing)  # noqa: E731
    monkeypatch.setattr(module, "_render_missing", played)
    monkeypatch.setattr(module, "synthesizer_of", lambda _: SimpleNamespace(needed=list))
    assert main(["data", "render-synth", "--n", str(n), "--out", str(tmp_path)]) == 0
    assert f"{n} notes rendered; {to_train} to train on" in capsys.readouterr().out
    assert main(["data", "render-synth", "--n", "2", "--out", str(tmp_path)]) == 1


def test_splits_share_no_patch():
    splits = ("train", "validation", "test")
    found = [SIMPLE.encode(draw("vital_simple", s, k, 0)[0]) for s in splits for k in range(300)]
    assert len(np.unique(found, axis=0)) == 900


# Errors


def _claimed_again(folder: Path) -> None:
    claim(folder, RenderConfig())
    claim(folder, RenderConfig(seconds=2.0))


def _claimed_from_another_program(folder: Path) -> None:
    (folder / "config.json").write_text('{"mine": 1}')
    claim(folder, RenderConfig())


def _damaged(folder: Path) -> None:
    filled(folder, SMALL)
    file = next(folder.glob("train*.h5"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    read_notes(folder, "train")


def _damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"parameters": "vit')
    render(SMALL, folder)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda _: TINY.but(parameters="moog"), "parameters must be one of vital_simple"),
        (lambda _: predict(build(TINY), noise(), 44_100, synth=None, n=0), "n must be at least 1"),
        (lambda _: predict(build(TINY), noise(), 44_100, synth=None, pitch=20), "^pitch must lie"),
        (lambda _: note_features(0 * noise()), "audio must not be silent"),
        (lambda _: RenderConfig(n_train=0), "n_train must be positive"),
        (lambda folder: render(SMALL, folder, workers=0), "workers must be at least 1"),
        (_damaged, r"\.h5 is damaged.*: continue with `labkit data render-synth`"),
        (_damaged_config, r"config\.json describes no data set .*delete it and continue"),
        (_claimed_again, "data set of another config"),
        (_claimed_from_another_program, "config.json describes no data set"),
        (lambda folder: read_notes(folder, "train"), "holds no data set: make one"),
    ],
)
def test_errors_name_what_is_wrong(act, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        act(tmp_path)


def object_column(file, column):
    file["mel"] = np.array(["a pickle"] * len(column), dtype=h5py.string_dtype())


def other_shape(file, column):
    file["mel"] = column[:, :-1]


def link_outside(file, column):  # noqa: ARG001
    file["mel"] = h5py.ExternalLink("elsewhere.h5", "mel")


def bytes_outside(file, column):
    kept = [("elsewhere.bin", 0, column.nbytes)]
    file.create_dataset("mel", column.shape, column.dtype, external=kept)


@pytest.mark.parametrize("spoil", [object_column, other_shape, link_outside, bytes_outside])
def test_a_column_of_another_kind_is_refused(spoil, tmp_path: Path):
    config = RenderConfig(n_train=4, n_validation=4, n_test=4)
    claim(tmp_path, config)
    (job,) = (job for job in jobs(config) if job.split == "train")
    write_shard(job.path(tmp_path), job, some_notes(config, 4))
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["mel"] = read_notes(tmp_path, "train").mel
    (tmp_path / "elsewhere.bin").write_bytes(bytes(1_000_000))
    with h5py.File(job.path(tmp_path), "r+") as file:
        column = file["mel"][:]
        del file["mel"]
        spoil(file, column)
    # Whoever made the file can give it a hash that fits.
    content = job.path(tmp_path).read_bytes()
    digest = hashlib.sha256(content[_USER_BLOCK:]).digest()
    job.path(tmp_path).write_bytes(digest + content[len(digest) :])
    with pytest.raises(ValueError, match=r"train-.*\.h5: a column mel of float16 \(4, .* expected"):
        read_notes(tmp_path, "train")
