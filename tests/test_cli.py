"""The shell's verbs: what they print, what they write, and that no mistake ends in a traceback."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from labkit.cli import main
from labkit.cli.pedal_order import TrainPedalOrder
from labkit.effects.chain import Chain, Step
from labkit.measure.score import Row, read, write
from labkit.signal import datasets
from labkit.signal.files import read_audio, write_audio
from labkit.signal.shipped import load_phrase, phrase_path
from labkit.systems import pedal_order
from labkit.systems.pedal_order.config import SEPARATOR
from labkit.systems.pedal_order.predict import Refined

TINY = pedal_order.Config().but(
    seconds=1.0,
    n_mels=32,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    dropout=0.0,
)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model that has learnt nothing but to put all three pedals into every chain."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = pedal_order.build(TINY)
    with torch.no_grad():
        model.decoder.logits.bias[SEPARATOR] = -30.0
    pedal_order.save(model, path)
    return path


@pytest.fixture
def wet_file(tmp_path):
    dry, sample_rate = load_phrase("riff")
    wet = Chain((Step("distortion", {"drive_db": 20.0}),)).render(dry, sample_rate)
    return write_audio(tmp_path / "mine.wav", 0.5 * wet, sample_rate)


def fails(capsys, *arguments):
    """The one line that a failing command leaves on stderr."""
    assert main([str(a) for a in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("labkit: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_no_arguments_is_help_with_examples(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "labkit chain wet.flac --dry dry.flac" in out
    assert "labkit train pedal_order --steps 500" in out
    for command in ("chain", "train", "evaluate", "data", "plugins", "results", "doctor"):
        assert re.search(rf"• {command} +\S", out), f"{command} is not explained"


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["chain"], ["chain", "a.wav", "--shelf", "nine"], ["data", "eat"]]
)
def test_a_command_that_cannot_be_read_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert len(out + err) > 40


def test_chain_of_a_missing_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "none.wav" in fails(capsys, "chain", "none.wav")
    assert not list(tmp_path.iterdir())


def test_chain_of_something_that_is_not_audio(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("letter.wav").write_text("Dear reader,\nthis is not a recording.\n" * 50)
    assert "letter.wav" in fails(capsys, "chain", "letter.wav")


def test_chain_of_silence(capsys, tmp_path, checkpoint):
    silent = write_audio(tmp_path / "silent.wav", np.zeros((1, 44100), np.float32), 44100)
    message = fails(capsys, "chain", silent, "--checkpoint", checkpoint, "--out", tmp_path)
    assert "audio is silent (peak below -100 dBFS)" in message
    assert [path.name for path in tmp_path.iterdir()] == ["silent.wav"]


def test_a_bad_dry_file_is_said_before_anything_is_written(capsys, tmp_path, wet_file, checkpoint):
    message = fails(
        capsys, "chain", wet_file, "--dry", tmp_path / "no.wav", "--checkpoint", checkpoint
    )
    assert "no.wav" in message


def test_a_checkpoint_that_is_none(capsys, tmp_path, wet_file):
    message = fails(
        capsys, "chain", wet_file, "--checkpoint", tmp_path / "no.safetensors", "--out", tmp_path
    )
    assert "train one with `labkit train pedal_order`" in message
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"weights")
    assert "not a readable safetensors file" in fails(
        capsys, "chain", wet_file, "--checkpoint", other
    )


def test_chain_prints_and_saves_what_it_found(capsys, tmp_path, wet_file, checkpoint):
    target = tmp_path / "new" / "folder"
    assert (
        main(["chain", str(wet_file), "--checkpoint", str(checkpoint), "--out", str(target)]) == 0
    )
    out = capsys.readouterr().out
    saved = Chain.load(target / "mine.chain.json")
    assert sorted(saved.names) == ["chorus", "distortion", "reverb"]
    assert out.startswith(f"chain: {' -> '.join(saved.names)}   probability 0.")
    for step in saved.steps:
        assert f"  {step}   present " in out
    assert saved.to_code() in out
    assert not list(target.glob("*.wav"))


def test_chain_with_dry_writes_it_recreated_at_the_dry_length(
    capsys, tmp_path, wet_file, checkpoint
):
    dry = phrase_path("line")
    command = [
        "chain",
        str(wet_file),
        "--dry",
        str(dry),
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    assert f"wrote {tmp_path / 'mine.recreated.wav'}" in capsys.readouterr().out
    before, dry_rate = read_audio(dry)
    after, rate = read_audio(tmp_path / "mine.recreated.wav")
    assert (after.shape, rate) == (before.shape, dry_rate)
    assert np.abs(after - before).max() > 0.01


def test_six_pedals_on_the_shelf(capsys, tmp_path, wet_file, checkpoint):
    command = [
        "chain",
        str(wet_file),
        "--shelf",
        "six",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("chain: ")
    assert len(Chain.load(tmp_path / "mine.chain.json")) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "pedal_order", "--memory-bytes", "1"],
        ["train", "saturation", "--adversarial", "0.2"],
        ["train", "text", "--kinds", "generated"],
    ],
)
def test_a_system_refuses_the_options_of_another(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert arguments[2] in "".join(capsys.readouterr())


def test_rows_of_what_is_not_measured_now_stay(capsys, tmp_path, monkeypatch):
    """The synth's two networks are judged one after the other into one file."""

    def row(protocol, ours):
        given = {
            "name": "flow",
            "sources": "generated",
            "metric": "MSS",
            "unit": "dB",
            "low": None,
            "high": None,
        }
        return Row(protocol=protocol, ours=ours, n=1, seed=1, **given)

    out = tmp_path / "r.json"
    judge = importlib.import_module("labkit.systems.synth.score")
    write("synth", [row("small set", 4.0), row("large set", 9.0)], path=out)
    monkeypatch.setattr(
        judge,
        "score",
        lambda model, **_: [row("large set", 5.0 if model.config.net.width == 256 else 0.0)],
    )
    assert main(["evaluate", "synth", "--preset", "vital_full", "--out", str(out)]) == 0
    assert [(one.protocol, one.ours) for one in read("synth", path=out)] == [
        ("small set", 4.0),
        ("large set", 5.0),
    ]
    assert "small set" in capsys.readouterr().out


def test_systems_may_be_spelt_with_a_hyphen(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "pedal-order", "--help"])
    assert stopped.value.code == 0
    assert "--n-floor" in capsys.readouterr().out


def test_data_list_names_every_set_with_its_licence(capsys):
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(datasets.records())
    for line, record in zip(lines, datasets.records().values(), strict=True):
        assert record.licence in line
        assert f" {record.gigabytes:.1f} GB " in line
        assert record.page in line


def test_data_get_takes_some_files_of_a_set(capsys, monkeypatch):
    monkeypatch.setattr(datasets, "get", lambda name, **options: (name, options["files"]))
    assert main(["data", "get", "egfxset", "--files", "Clean.zip", "RAT.zip"]) == 0
    assert main(["data", "get", "egfxset"]) == 0
    told = capsys.readouterr().out
    assert told == "('egfxset', ('Clean.zip', 'RAT.zip'))\n('egfxset', None)\n"


def test_an_evaluation_of_nothing_is_refused(capsys):
    assert (
        fails(capsys, "evaluate", "pedal_order", "--n", "0")
        == "labkit: --n must be at least 1, got 0\n"
    )


def test_data_get_wants_a_name_and_the_licence(capsys):
    known = next(iter(datasets.records()))
    assert known in fails(capsys, "data", "get")
    assert "no data set is called 'nosuch'" in fails(capsys, "data", "get", "nosuch")
    message = fails(capsys, "data", "get", known)
    assert datasets.records()[known].licence in message
    assert "add --accept-licence" in message


def test_a_key_error_is_said_without_quotes_and_on_one_line(capsys, monkeypatch):
    def broken(_name, **_):
        raise KeyError("no pedal 'fuzz';\nthere are chorus, delay")

    monkeypatch.setattr(datasets, "get", broken)
    assert fails(capsys, "data", "get", "x") == "labkit: no pedal 'fuzz'; there are chorus, delay\n"


def test_an_interrupted_run_says_so(capsys, monkeypatch):
    def interrupted(_name, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "get", interrupted)
    assert main(["data", "get", "x"]) == 130
    assert capsys.readouterr().err.startswith("labkit: stopped")


def test_the_installed_script(tmp_path):
    script = Path(sys.executable).with_name("labkit")
    done = subprocess.run(
        [script, "chain", "none.wav"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "none.wav" in done.stderr


def test_fresh_starts_over_with_nothing_of_the_old_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "cache").mkdir()
    for name in ("checkpoint.pt", "config.json", "log.jsonl", "cache/pictures.npy", "notes.txt"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(TrainPedalOrder, "train", lambda *_args: "abc")
    arguments = ["train", "pedal_order", "--run-dir", str(tmp_path)]
    assert main(arguments) == 0
    assert (tmp_path / "cache" / "pictures.npy").exists()
    assert main([*arguments, "--fresh"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert "pedal_order.safetensors, sha256 abc" in capsys.readouterr().out


@pytest.mark.parametrize(("sdr", "kept"), [(61.5, True), (12.0, False)])
def test_refining_keeps_what_explains_the_recording(
    capsys, tmp_path, wet_file, checkpoint, monkeypatch, sdr, kept
):
    """The search itself is tested where it lives: here, what it is given, and what becomes of its answer."""
    given = {}
    answer = Chain((Step("distortion", {"drive_db": 17.25}),))

    def fake(found, dry, wet, sample_rate, dry_rate):
        given.update(rates=(sample_rate, dry_rate), orders=len(found.alternatives))
        assert dry.ndim == wet.ndim == 2
        return Refined(answer, sdr, ((answer.names, sdr),))

    monkeypatch.setattr("labkit.systems.pedal_order.refine", fake)
    options = [
        "--dry",
        str(phrase_path("riff")),
        "--refine",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(tmp_path),
    ]
    assert main(["chain", str(wet_file), *options]) == 0
    assert given["rates"] == (load_phrase("riff")[1],) * 2
    assert given["orders"] > 1
    assert (Chain.load(tmp_path / "mine.chain.json") == answer) is kept
    out = capsys.readouterr().out
    assert "tried: distortion" in out
    assert ("refined: distortion(drive_db=17.2" in out) is kept
    assert ("none of them explains" in out) is not kept


def test_refining_needs_the_dry_recording(capsys, wet_file):
    assert "give --dry too" in fails(capsys, "chain", wet_file, "--refine")
