"""`labkit text` from a shell: a folder with sound, preset, code and summary, and plain words for what is wrong."""

from pathlib import Path

import pytest

from labkit.cli import main
from labkit.cli.text import TrainText
from labkit.signal.files import read_audio
from labkit.signal.shipped import phrase_path
from labkit.systems import text_to_effects
from labkit.systems.text_to_effects.preset import Preset


@pytest.fixture
def command(tmp_path):
    return [
        "text",
        "--input-audio",
        str(phrase_path("riff")),
        "--lexicon",
        "--output-path",
        str(tmp_path / "out"),
    ]


def test_a_sentence_leaves_sound_preset_code_and_summary(capsys, tmp_path, command):
    assert main([*command, "--prompt", "Bright, in a cathedral!"]) == 0
    out, folder = capsys.readouterr().out, tmp_path / "out"
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".py", ".txt", ".wav"]
    assert "understood  bright +1.0, cathedral +1.0" in out
    preset = Preset.load(folder / "bright_in_a_cathedral.preset.json")
    assert preset.tilt_db > 3
    assert preset.reverb["wet"] > 0.3
    dry, rate = read_audio(phrase_path("riff"))
    wet, wet_rate = read_audio(folder / "bright_in_a_cathedral.wav")
    assert (wet.shape, wet_rate) == (dry.shape, rate)


def test_length_strength_candidates_and_a_preset_to_start_from(tmp_path, command):
    assert (
        main(
            [
                *command,
                "--prompt",
                "reverb",
                "--audio-length",
                "0.5",
                "--strength",
                "0.5",
                "--n",
                "2",
            ]
        )
        == 0
    )
    first = Preset.load(tmp_path / "out" / "reverb_1.preset.json")
    assert first.reverb["wet"] == pytest.approx(0.175)  # half of the lexicon's .35
    audio, rate = read_audio(tmp_path / "out" / "reverb_2.wav")
    assert audio.shape[1] == rate // 2
    start = str(tmp_path / "out" / "reverb_1.preset.json")
    assert (
        main([*command, "--prompt", "less reverb", "--preset", start, "--audio-length", "0.5"]) == 0
    )
    assert (
        Preset.load(tmp_path / "out" / "less_reverb.preset.json").reverb["wet"]
        < first.reverb["wet"]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "12"], "prompt must hold words"),
        (["--prompt", "warm", "--strength", "5"], "strength must lie in [0, 2]"),
        (["--prompt", "warm", "--n", "99"], "n must lie in 1..16"),
        (["--prompt", "warm", "--audio-length", "-1"], "seconds must be above 0"),
        (["--prompt", "warm", "--input-audio", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_what_is_wrong_is_said_on_a_line(capsys, command, arguments, said):
    assert main([*command, *arguments]) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_the_sentence_encoder_can_be_chosen(monkeypatch, tmp_path):
    configs = []
    monkeypatch.setattr(text_to_effects, "train", lambda config, *_, **__: configs.append(config))
    monkeypatch.setattr(text_to_effects, "save", lambda *_: "")
    for given in ({}, {"sentences": "mpnet", "steps": 3}):
        TrainText(**given).train(Path(tmp_path), tmp_path / "out")
    assert [(config.sentences, config.steps) for config in configs] == [
        ("minilm", 2000),
        ("mpnet", 3),
    ]
