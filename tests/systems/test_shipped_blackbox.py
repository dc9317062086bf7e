"""The controllers in data/ are the ones that their cards describe, and still bring sounds nearer to their targets."""

import hashlib
import json

import numpy as np
import pytest
import soundfile

from labkit.cli import main
from labkit.effects.hosts import installed_plugins
from labkit.measure.score import read
from labkit.systems.blackbox import tasks
from labkit.systems.blackbox.config import PROCESSORS, Config
from labkit.systems.blackbox.evaluate import fixed_score

SHIPPED = [name for name in tasks.TASKS if tasks.shipped_path(name).exists()]


def test_every_task_ships():
    assert list(tasks.TASKS) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_is_the_one_described(name):
    path = tasks.shipped_path(name)
    card, content = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] <= 4_000_000
    model = tasks.load(task=name)
    assert model.config == Config(**card["config"])  # what came later stands at its default
    assert model.config.task == name


def missing(name, *more):
    here = {info.name for info in installed_plugins() if info.usable}
    return sorted(({unit.plugin for unit in tasks.TASKS[name].units} | set(more)) - here)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_scores_again_what_its_card_says(name):
    here = {info.name for info in installed_plugins() if info.usable}
    missing = (
        {unit.plugin for unit in tasks.TASKS[name].units}
        | ({"gxts9"} if name == "distortion" else set())
    ) - here
    if missing:
        pytest.skip(
            f"not installed: {sorted(missing)} (Debian: zam-plugins, guitarix-lv2; and dawdreamer)"
        )
    card = json.loads(tasks.shipped_path(name).with_suffix(".json").read_text())["fixed_score"]
    # Other processors round differently, and a knob that moves by a hundredth is heard in the third digit.
    assert fixed_score(tasks.load(task=name)) == pytest.approx(card, abs=0.02)
    assert card["controller"] < min(1.0, card["start"])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_table_says_that_it_beats_rules_draws_and_searches(name):
    rows = {row.name: row for row in read("blackbox") if row.metric == "MR-STFT left" and row.sources == "generated"
            and row.checkpoint == tasks.shipped_path(name).name and "unlike" not in row.protocol}  # fmt: skip
    ours = rows.pop("controller, 1 render")
    assert ours.ours < ours.control
    assert {"rules", "CMA-ES, blind, 10 renders", "CMA-ES, target known, 10 renders"} <= set(rows)
    assert ours.ours < min(row.ours for row in rows.values())


def test_the_table_holds_every_processor_and_every_real_pedal():
    for sources, wanted in (
        ("generated", PROCESSORS),
        ("real", [*PROCESSORS, "Tube Screamer", "BD-2", "RAT2"]),
    ):
        said = {
            row.protocol
            for row in read("blackbox")
            if row.sources == sources and row.name == "rules"
        }
        titles = [PROCESSORS[name].title if name in PROCESSORS else name for name in wanted]
        assert all(any(title in protocol for protocol in said) for title in titles)


def test_the_shell_plays_a_stereo_file_of_another_rate(tmp_path, capsys):
    if missing("mastering"):
        pytest.skip(f"not installed: {missing('mastering')} (Debian: zam-plugins)")
    time = np.arange(48_000) / 48_000
    tones = [0.05 * np.sin(2 * np.pi * f * time) for f in (220, 330)]
    soundfile.write(tmp_path / "mix.wav", np.stack(tones, axis=1), 48_000)
    target = tmp_path / "new" / "out.wav"  # a folder that is not there yet
    assert (
        main(["enhance", str(tmp_path / "mix.wav"), "--task", "mastering", "--out", str(target)])
        == 0
    )
    out, rate = soundfile.read(target)
    assert (out.shape, rate) == ((48_000, 2), 48_000)
    assert np.isfinite(out).all()
    assert np.sqrt((out**2).mean()) > 1.5 * np.sqrt(
        np.mean(np.square(tones))
    )  # a soft mix comes out louder
    facts = json.loads(target.with_suffix(".json").read_text())
    assert set(facts["setting"]) == set(tasks.TASKS["mastering"].names)
    assert "wrote" in capsys.readouterr().out
    assert main(["enhance", str(tmp_path / "none.wav"), "--task", "mastering"]) == 1
    assert "audio expected" in capsys.readouterr().err
