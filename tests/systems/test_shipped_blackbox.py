"""The shipped controllers and the style network are the ones that their cards describe."""

import hashlib
import json

import numpy as np
import pytest
import soundfile

from labkit.cli import main
from labkit.effects.hosts.listing import installed_plugins
from labkit.measure.score import read
from labkit.signal.files import read_audio
from labkit.signal.shipped import phrase_path
from labkit.systems import blackbox, style
from labkit.systems.blackbox import data as blackbox_data
from labkit.systems.style import data
from labkit.systems.style.model import PEAK
from labkit.systems.style.score import mr_stft, predicted, rendered

FILES = [(blackbox.SYSTEM, task) for task in blackbox.TASKS] + [(style.SYSTEM, "autodiff")]


def need_plugins(task, *more):
    here = {
        word for info in installed_plugins() if not info.why_not for word in (info.name, info.where)
    }
    wanted = {unit.plugin for unit in blackbox.TASKS[task].units} | set(more)
    if missing := sorted(wanted - here):
        pytest.skip(f"not installed: {missing} (Debian: zam-plugins, guitarix-lv2; and dawdreamer)")


@pytest.mark.parametrize(("system", "preset"), FILES)
def test_the_file_is_the_one_described(system, preset):
    path = system.shipped_path(preset)
    card, content = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (card["sha256"], card["bytes"])
    model = system.load(preset=preset)
    assert model.config == type(model.config).from_flat(card["config"])
    assert card["parameters"] == sum(p.numel() for p in model.parameters()) <= 500_000


@pytest.mark.parametrize(("system", "preset"), FILES)
def test_it_scores_again_what_its_card_says(system, preset):
    if system is blackbox.SYSTEM:
        need_plugins(preset, *([blackbox_data.TS9] if preset == "distortion" else []))
    card = json.loads(system.shipped_path(preset).with_suffix(".json").read_text())["fixed_score"]
    score = system.part("score:fixed_score")(system.load(preset=preset))
    # The plug-ins repeat themselves: two runs here agree in all four digits.
    assert score == pytest.approx(card, abs=1e-3)
    ours, untreated = card.values()
    assert ours < 0.85 * untreated


@pytest.mark.parametrize("system", [blackbox.SYSTEM, style.SYSTEM])
def test_the_table_says_that_it_beats_its_baselines(system):
    metric = "MR-STFT left" if system is blackbox.SYSTEM else "MR-STFT"
    files = {path.name for path in map(system.shipped_path, system.checkpoints)}
    rows = [row for row in read(system.name) if row.metric == metric and row.name != "rules"]
    assert {row.sources for row in rows} >= {"generated", "real"}
    for row in rows:
        assert row.checkpoint in files
        assert row.ours < row.floor
        if row.sources == "generated":
            assert row.ours < min(row.prior, row.control)


def test_style_uses_the_reference():
    model = style.load()
    tests = data.examples(model.config, ["voices"], "test", 5, n=12, seconds=2.0)
    distance = []
    for reference in (tests.reference, np.roll(tests.reference, 1, axis=0)):
        wet = rendered(model, tests.plain, predicted(model, tests.plain, reference))
        distance.append(mr_stft(wet, tests.target).mean())
    # Another recording's style is an independent draw: about as far away as no treatment.
    assert distance[0] < 0.6 * distance[1]


def test_the_shell_plays_a_stereo_file_of_another_rate(tmp_path, capsys):
    need_plugins("mastering")
    time, source = np.arange(48_000) / 48_000, tmp_path / "mix.wav"
    tones = [0.05 * np.sin(2 * np.pi * f * time) for f in (220, 330)]
    soundfile.write(source, np.stack(tones, axis=1), 48_000)
    folder = tmp_path / "new"  # it is not there yet
    assert main(["enhance", str(source), "--preset", "mastering", "--out", str(folder)]) == 0
    target = folder / "mix_mastering.wav"
    out, rate = soundfile.read(target)
    assert (out.shape, rate) == ((48_000, 2), 48_000)
    assert np.isfinite(out).all()
    assert np.sqrt((out**2).mean()) > 1.5 * np.sqrt(np.mean(np.square(tones)))  # it is louder
    facts = json.loads(target.with_suffix(".json").read_text())
    assert set(facts["setting"]) == set(blackbox.TASKS["mastering"].names)
    assert "wrote" in capsys.readouterr().out
    assert main(["enhance", str(tmp_path / "none.wav"), "--preset", "mastering"]) == 1
    assert "audio expected" in capsys.readouterr().err


def test_the_shell_copies_a_style(tmp_path, capsys):
    riff, strum, out = phrase_path("riff"), phrase_path("strum"), tmp_path / "out"
    assert main(["style", str(riff), "--reference", str(strum), "--out", str(out)]) == 0
    assert "treble_db" in capsys.readouterr().out
    (dry, rate), (wet, wet_rate) = read_audio(riff), read_audio(out / "style.wav")
    assert (wet.shape, wet_rate) == (dry.shape, rate)
    assert np.abs(wet).max() == pytest.approx(PEAK, rel=1e-4)
    settings = json.loads((out / "style.json").read_text())
    assert len(settings["params_unit"]) == len(settings["settings"]) == 9
    compile((out / "style.py").read_text(), "style.py", "exec")
    assert main(["style", "nowhere.wav", "--reference", str(riff)]) == 1
    message = capsys.readouterr().err
    assert "nowhere.wav" in message
    assert message.count("\n") == 1
