"""Rendering data sets: layout, splits, statistics, a kill in the middle."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from labkit.effects.synths.vital import FULL
from labkit.measure.loudness import loudness_lufs
from labkit.signal.seeds import generator
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.data import Examples, exchanges, read_notes, read_statistics
from labkit.systems.synth_matching.render import draw, render, split_patches
from labkit.systems.synth_matching.schema import (
    RenderConfig,
    claim,
    columns,
    jobs,
    read_shard,
    write_shard,
)

SMALL = RenderConfig(
    n_train=6, n_validation=2, n_test=2, shard_size=2, seconds=0.75, audio="float16"
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose rendering was killed after its first file, and gone on with."""
    pytest.importorskip("vita", reason="the package vita is not installed")
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    folder = tmp_path_factory.mktemp("killed")
    (folder / "wanted.json").write_text(json.dumps(dataclasses.asdict(SMALL)))
    out = folder / "set"
    command = [sys.executable, "-m", "labkit.cli", "data", "render-synth", "--workers", "1"]
    command += ["--config", str(folder / "wanted.json"), "--out", str(out)]
    program = "import sys; from labkit.cli import main; sys.exit(main(sys.argv[1:]))"
    run = subprocess.Popen(
        [sys.executable, "-c", program, *command[3:]], process_group=0, stderr=subprocess.DEVNULL
    )
    limit = time.monotonic() + 200
    while not list(out.glob("*.h5")) and run.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    found = len(list(out.glob("*.h5")))
    assert 0 < found < len(jobs(SMALL)), f"the kill came too late or never: {found} files"
    (out / "train-0000000-0000002.tmp").write_bytes(b"half a file")
    report = render(SMALL, out, workers=1)
    assert report.rendered == 10 - 2 * found
    assert not list(out.glob("*.tmp"))
    return out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_killed_and_resumed_equals_what_was_not(killed: Path, tmp_path: Path) -> None:
    render(SMALL, tmp_path, workers=1)
    for job in jobs(SMALL):
        whole, resumed = job.path(tmp_path), job.path(killed)
        rows = [read_shard(path, tuple(columns(SMALL))) for path in (whole, resumed)]
        for name, values in rows[0].items():
            np.testing.assert_array_equal(values, rows[1][name], err_msg=f"{name} of {whole.name}")
        equal = (
            whole.read_bytes() == resumed.read_bytes()
        )  # thousands of bytes would bury the message
        assert equal, f"{whole.name}: equal rows in unequal files"
    assert (tmp_path / "statistics.json").read_text() == (killed / "statistics.json").read_text()


@pytest.mark.timeout(600)
def test_rows_are_the_sound_and_its_patch(killed: Path) -> None:
    notes = read_notes(killed, "train")
    assert len(notes) == 6
    audio = np.concatenate(
        [read_shard(j.path(killed), ("audio",))["audio"] for j in jobs(SMALL) if j.split == "train"]
    )
    for k in range(6):
        views = features.hear(audio[k][None].astype(np.float32))
        # The sound is kept in half precision, 11 bits: 66 dB below its peak the picture shows that.
        loud = notes.mel[k] > notes.mel[k].max() - 40
        np.testing.assert_allclose(views.mel[loud], notes.mel[k][loud], atol=0.5)
        assert views.loudness_lufs == pytest.approx(float(notes.loudness_lufs[k]), abs=0.05)
        values = SMALL.spec.decode(notes.parameters[k])
        assert SMALL.spec.encode(values).tolist() == notes.parameters[k].tolist()
        assert values in [draw(SMALL, "train", k, attempt)[0] for attempt in range(50)]
    assert (notes.loudness_lufs >= SMALL.floor_lufs).all()


@pytest.mark.timeout(600)
def test_statistics_are_those_of_the_training_split(killed: Path) -> None:
    mel = read_notes(killed, "train").mel.astype(np.float64)
    found = read_statistics(killed)["mel"]
    np.testing.assert_allclose(found["mean"], mel.mean((0, 2)), atol=1e-6)
    np.testing.assert_allclose(found["deviation"], np.maximum(mel.std((0, 2)), 1e-3), atol=1e-4)


@pytest.mark.timeout(600)
def test_a_finished_set_is_left_alone_and_another_config_refused(killed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in killed.glob("*.h5")}
    assert render(SMALL, killed, workers=1).rendered == 0
    assert before == {path: path.stat().st_mtime_ns for path in killed.glob("*.h5")}
    with pytest.raises(ValueError, match="another config"):
        render(dataclasses.replace(SMALL, seed=1), killed)
    with pytest.raises(ValueError, match="workers"):
        render(SMALL, killed, workers=0)
    with pytest.raises(ValueError, match="at most 6"):
        read_notes(killed, "train", n=7)


@pytest.mark.timeout(600)
def test_half_the_oversampling_is_another_sound_but_a_near_one(
    killed: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(SMALL, n_train=1, n_validation=1, n_test=1, oversampling=1)
    render(config, tmp_path, workers=1)
    notes, before = read_notes(tmp_path, "test"), read_notes(killed, "test", n=1)
    np.testing.assert_array_equal(notes.parameters, before.parameters)
    assert 0 < np.abs(notes.mel - before.mel.astype(float)).mean() < 1.0


def test_a_file_names_oversampling_only_where_it_is_not_as_ever(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the package h5py is not installed")
    for oversampling in (2, 1):
        config = RenderConfig(n_test=1, oversampling=oversampling)
        job = jobs(config)[0]
        write_shard(job.path(tmp_path / str(oversampling)), job, rows_of(config, 1))
        with h5py.File(job.path(tmp_path / str(oversampling)), "r") as file:
            assert ("oversampling" in file.attrs["config"]) == (oversampling == 1)
    claim(tmp_path, RenderConfig())
    with pytest.raises(ValueError, match="another config"):
        claim(tmp_path, RenderConfig(oversampling=1))


def test_splits_share_no_patch() -> None:
    found = split_patches(SMALL, 300)
    every = [patch for patches in found.values() for patch in patches]
    assert len(every) == 900
    assert len(set(every)) == 900


def rows_of(config: RenderConfig, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = {name: rng.random((n, *shape)) for name, (shape, _) in columns(config).items()}
    return rows | {
        "parameters": np.stack(
            [config.spec.encode(draw(config, "train", k, 0)[0]) for k in range(n)]
        )
    }


def test_one_schema_writes_and_reads(tmp_path: Path) -> None:
    config = RenderConfig(n_train=4, n_validation=4, n_test=4, shard_size=4)
    claim(tmp_path, config)
    for job in jobs(config):
        write_shard(job.path(tmp_path), job, rows_of(config, 4))
    assert {job.split for job in jobs(config)} == {"train", "validation", "test"}
    notes = read_notes(tmp_path, "validation")
    np.testing.assert_array_equal(notes.parameters, rows_of(config, 4)["parameters"])
    jobs(config)[0].path(tmp_path).unlink()
    with pytest.raises(ValueError, match="lacks 1 files"):
        read_notes(tmp_path, jobs(config)[0].split)
    with pytest.raises(ValueError, match="no data set"):
        read_notes(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="mel must have shape"):
        write_shard(
            tmp_path / "x.h5", jobs(config)[0], rows_of(config, 4) | {"mel": np.zeros((4, 2))}
        )


def test_a_data_set_may_grow_but_not_change(tmp_path: Path) -> None:
    claim(tmp_path, RenderConfig(n_train=128))
    claim(tmp_path, RenderConfig(n_train=256))
    with pytest.raises(ValueError, match="another config"):
        claim(tmp_path, RenderConfig(n_train=256, seconds=2.0))


def test_examples_depend_on_their_number_alone(tmp_path: Path) -> None:
    config = RenderConfig(n_train=8, n_validation=1, n_test=1, shard_size=8)
    claim(tmp_path, config)
    for job in jobs(config):
        write_shard(job.path(tmp_path), job, rows_of(config, job.stop - job.start))
    made = [Examples(read_notes(tmp_path, "train"), Config(vary=False), 100) for _ in range(2)]
    assert len(made[0]) == 100
    made[0][3]
    for name, tensor in made[0][17].items():
        np.testing.assert_array_equal(tensor, made[1][17][name])
    seen = {tuple(made[0][k]["parameters"].tolist()) for k in range(8)}
    order = exchanges(config.spec)[1]
    whole = made[0].notes.parameters
    either = {tuple(row.tolist()) for row in whole} | {tuple(row[order].tolist()) for row in whole}
    assert (
        seen <= either
    )  # every note once in the first round, oscillators as they were or exchanged
    assert len({frozenset((row, tuple(np.array(row)[order].tolist()))) for row in seen}) == 8


def test_exchanged_oscillators_are_another_patch_of_the_same_set() -> None:
    spec = SMALL.spec
    order, values = exchanges(spec)[1], draw(SMALL, "train", 0, 0)[0]
    exchanged = spec.decode(spec.encode(values)[order])
    for name in spec.names:
        other = name.replace("osc_1", "osc_x").replace("osc_2", "osc_1").replace("osc_x", "osc_2")
        assert exchanged[name] == values[other]
    np.testing.assert_array_equal(order[order], np.arange(spec.size))


def test_three_like_oscillators_stand_in_six_orders() -> None:
    orders = exchanges(FULL)
    assert orders.shape == (6, FULL.size)
    assert len({tuple(order) for order in orders}) == 6
    np.testing.assert_array_equal(np.sort(orders, 1), np.tile(np.arange(FULL.size), (6, 1)))
    np.testing.assert_array_equal(orders[0], np.arange(FULL.size))
    values = FULL.draw(generator(0, "patch"))
    levels = [values[f"osc_{k}_level"] for k in (1, 2, 3)]
    assert len(set(levels)) > 1
    patches = [FULL.decode(FULL.encode(values)[order]) for order in orders]
    assert {tuple(p[f"osc_{k}_level"] for k in (1, 2, 3)) for p in patches} == set(
        permutations(levels)
    )
    assert all(
        p[name] == values[name]
        for p in patches
        for name in FULL.names
        if not name.startswith("osc")
    )


def test_what_is_heard_knows_no_level() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, 33_075)).astype(np.float32) * 0.1
    loud, quiet = features.hear(audio), features.hear(0.01 * audio)
    np.testing.assert_allclose(
        loud.mel.astype(float), quiet.mel.astype(float), atol=0.13
    )  # half precision: 2 ** -4 dB
    np.testing.assert_allclose(loud.lines.astype(float), quiet.lines.astype(float), atol=0.13)
    assert loud.loudness_lufs - quiet.loudness_lufs == pytest.approx(40.0, abs=1e-3)
    assert loud.loudness_lufs == pytest.approx(loudness_lufs(audio.mean(0, keepdims=True), 44_100))


def test_a_sine_stands_on_its_line() -> None:
    time_s = np.arange(66_150) / 44_100
    for key in (33, 69, 105):
        hz = 440 * 2 ** ((key - 69) / 12)
        views = features.hear(np.sin(2 * np.pi * hz * time_s)[None].astype(np.float32))
        assert int(views.lines.argmax()) == 3 * (key - 24)  # the first line is C1, three a semitone


def test_silence_has_no_features() -> None:
    with pytest.raises(ValueError, match="silent"):
        features.hear(np.zeros((1, 44_100), dtype=np.float32))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parameters": "moog"}, "vital_simple"),
        ({"audio": "mp3"}, "float16"),
        ({"n_train": 0}, "n_train"),
        ({"oversampling": 3}, "oversampling"),
    ],
)
def test_bad_configs_are_named(changed: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SMALL, **changed)
    (tmp_path / "c.json").write_text('{"colour": 1}')
    with pytest.raises(ValueError, match="colour"):
        RenderConfig.from_file(tmp_path / "c.json")
