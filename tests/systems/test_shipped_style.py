"""The style checkpoint in data/ is the one that its card describes; it copies styles, and from the shell too."""

import hashlib
import json

import numpy as np
import pytest

from labkit.cli import main
from labkit.signal.files import read_audio
from labkit.signal.shipped import phrase_path
from labkit.systems.blackbox import style, style_data, style_evaluate


@pytest.fixture(scope="module")
def model():
    return style.load()


def test_the_file_is_the_one_described_and_scores_again(model):
    path = style.shipped_path()
    card, content = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (card["sha256"], card["bytes"])
    assert card["parameters"] == sum(p.numel() for p in model.parameters()) <= 500_000
    score = style_evaluate.fixed_score(model)
    # Other processors round differently, by far less than this.
    assert score == pytest.approx(card["fixed_score"], abs=0.005)
    assert score["mr_stft"] < 0.5 * score["mr_stft_input"]


def test_it_listens_to_the_reference(model):
    tests = style_data.examples(model.config, ["voices"], "test", 5, n=12, seconds=2.0)
    ours, other = (
        style_evaluate.scores(
            style_evaluate.treated(model, tests, reference=heard), tests.target, 22_050
        )["MR-STFT"]
        for heard in (tests.reference, np.roll(tests.reference, 1, axis=0))
    )
    # Another recording's style is one of two independent draws: about as far away as no treatment.
    assert ours.mean() < 0.6 * other.mean()


def test_it_treats_real_speech_it_never_heard(model, real_data):
    if not (real_data / "speech").is_dir():
        pytest.skip("no recordings of speech here")
    tests = style_data.examples(model.config, ["speech"], "test", 6, n=16, seconds=3.0)
    ours, plain = (
        style_evaluate.scores(sound, tests.target, 22_050)["MR-STFT"].mean()
        for sound in (style_evaluate.treated(model, tests), tests.plain)
    )
    assert ours < 0.75 * plain  # sixteen clips of three seconds; the table has more, of five


def test_the_shell_writes_sound_settings_and_code(tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "style",
        str(phrase_path("riff")),
        "--reference",
        str(phrase_path("strum")),
        "--out",
        str(out),
    ]
    assert main(command) == 0
    assert "treble_db" in capsys.readouterr().out
    dry, rate = read_audio(phrase_path("riff"))
    wet, wet_rate = read_audio(out / "style.wav")
    assert (wet.shape, wet_rate) == (dry.shape, rate)
    assert np.abs(wet).max() == pytest.approx(style.PEAK, rel=1e-4)
    settings = json.loads((out / "style.json").read_text())
    assert len(settings["params_unit"]) == len(settings["settings"]) == 9
    compile((out / "style.py").read_text(), "style.py", "exec")


def test_the_shell_says_what_is_wrong_on_a_line(capsys):
    assert main(["style", "nowhere.wav", "--reference", str(phrase_path("riff"))]) == 1
    message = capsys.readouterr().err
    assert "nowhere.wav" in message
    assert message.count("\n") == 1
