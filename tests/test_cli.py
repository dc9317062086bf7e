"""The shell's commands: what they print, what they write, and that no mistake ends in a traceback."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch

from labkit.cli import main
from labkit.commands import COMMANDS
from labkit.effects.chain import Chain, Step
from labkit.effects.faust import program
from labkit.effects.saturation import CURVES
from labkit.measure.metrics import relative_error_db
from labkit.measure.score import Row, read, write
from labkit.signal import datasets
from labkit.signal.files import read_audio, write_audio
from labkit.signal.sources import load_phrase, phrase_path
from labkit.signal.units import rms_dbfs
from labkit.systems import blackbox, pedal_order, saturation, synth
from labkit.systems.pedal_order.config import SEPARATOR
from labkit.systems.pedal_order.model import KINDS
from labkit.systems.system import SYSTEMS, System, system

TINY = pedal_order.Config().but(
    seconds=1.0,
    n_mels=32,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained model that puts all pedals into every chain."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = pedal_order.SYSTEM.build(TINY)
    with torch.no_grad():
        model.decoder.logits.bias[SEPARATOR] = -30.0
        model.hints.bias.fill_(9.0)
    pedal_order.save(model, path)
    return path


@pytest.fixture
def wet_file(tmp_path):
    dry, sample_rate = load_phrase("riff")
    wet = Chain((Step("distortion", {"drive_db": 20.0}),)).render(dry, sample_rate)
    return write_audio(tmp_path / "mine.wav", 0.5 * wet, sample_rate)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_choices_are_those_of_the_systems():
    synths = [preset for preset in synth.SYSTEM.checkpoints if preset != "kosc"]
    preset = [("enhance", "preset", blackbox.TASKS), ("synth", "preset", synths)]
    for command, flag, names in [("saturation", "curve", CURVES), *preset]:
        hint = str(get_type_hints(COMMANDS[command])[flag])
        assert re.findall(r"'(\w+)'", hint) == list(names)


def fails(capsys, *arguments):
    """The one line that a failing command leaves on stderr."""
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("labkit: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# The shell


EXPLAINED = ["chain", "text", "train", "evaluate", "data get", "plugins", "results"]
PAGES = {
    (): ["labkit chain wet.flac --dry dry.flac", *(f"• {name} " for name in EXPLAINED)],
    **{("train", name, "--help"): ["--steps", "--run-dir", "--learning-rate"] for name in SYSTEMS},
    **{("evaluate", name, "--help"): ["--seed", "--out"] for name in SYSTEMS},
}
UNREADABLE = [
    ("nosuch",),
    ("chain",),
    ("chain", "a.wav", "--shelf", "twelve"),
    ("train", "text", "--kinds", "generated"),
    ("evaluate", "pedal_order", "--memory-bytes", "1"),
    ("evaluate", "pedal_order", "--sources", "radio"),
    ("evaluate", "pedal_order", "--protocols", "ten"),
    ("evaluate", "saturation", "--sources", "radio"),
    ("evaluate", "saturation", "--conditions", "wetter"),
    ("evaluate", "style", "--kinds", "radio"),
    ("evaluate", "codec", "--sources", "radio"),
    ("evaluate", "synth", "--sources", "radio"),
]


@pytest.mark.parametrize("arguments", [*PAGES, *UNREADABLE])
def test_help_explains_and_what_cannot_be_read_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == (0 if arguments in PAGES else 2)
    out, err = capsys.readouterr()
    assert [words for words in PAGES.get(arguments, ()) if words not in out] == []
    assert "Traceback" not in out + err
    assert len(out + err) > 40


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_preset_comes_back_from_its_flat_settings(name):
    for config in system(name).presets.values():
        records = (config.sound, config.net, config.plan)
        assert len(config.flat()) == sum(len(vars(record)) for record in records)
        assert type(config)().but(**config.flat()) == config


def test_errors_are_one_line_and_an_interruption_says_so(capsys, monkeypatch, tmp_path):
    def broken(_name, **_):
        raise KeyError("no pedal 'fuzz';\nthere are chorus, delay")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "get", broken)
    assert fails(capsys, "data", "get", "x") == "labkit: no pedal 'fuzz'; there are chorus, delay\n"
    monkeypatch.setattr(datasets, "get", interrupted)
    assert run("data", "get", "x") == 130
    assert capsys.readouterr().err == "labkit: stopped\n"
    monkeypatch.setattr(System, "train", interrupted)
    assert run("train", "saturation") == 130
    assert capsys.readouterr().err == "labkit: stopped; the last checkpoint is kept\n"
    for words in (("train", "nosuch"), ("train", "saturaton", "--steps", 5), ("train", "--", "x")):
        assert "system must be one of pedal_order" in fails(capsys, *words)
    assert "by list, get or render-synth" in fails(capsys, "data", "--help")
    assert "--preset must be one of" in fails(capsys, "train", "saturation", "--preset", "huge")
    assert fails(capsys, "evaluate", "pedal_order", "--n", 1).endswith("at least 2, got 1\n")
    script = Path(sys.executable).with_name("labkit")
    command = [script, "data", "get", "nosuch"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no data set is called 'nosuch'" in done.stderr
    read, write_end = os.pipe()
    os.close(read)  # a reader that has seen enough, as `head -1`
    done = subprocess.run([script, "data", "list"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


# Outputs


@pytest.fixture
def controller(tmp_path_factory, monkeypatch):
    """An untrained controller of a pedal that needs no plug-in."""
    from labkit.effects.hosts.plugin import Unit
    from labkit.systems.blackbox import SYSTEM, Config, config

    task = config.Task((Unit("gain", {"gain_db": 0.5}),), (1,), (-15.0, 15.0))
    monkeypatch.setattr(config, "TASKS", {**config.TASKS, "speech": task})
    path = tmp_path_factory.mktemp("controller") / "gain.safetensors"
    SYSTEM.save(SYSTEM.build(Config().but(task="speech", width=0.25)), path)
    return path


WRITING = {
    "chain": ("--dry", "FILE", "--checkpoint", "CHECKPOINT"),
    "saturation": ("--clean", "FILE"),
    "enhance": ("--preset", "speech", "--checkpoint", "CONTROLLER"),
    "style": ("--reference", "FILE"),
    "text": ("--lexicon", "--prompt", "Warm, distorted!"),
    "synth": ("--n", "1", "--refine", "0"),
}


@pytest.mark.parametrize("command", WRITING)
def test_no_recording_and_no_earlier_result_is_replaced(
    command, capsys, tmp_path, monkeypatch, checkpoint, controller
):
    if command == "synth":
        pytest.importorskip("vita", reason="the package vita is not installed")
    # Of these the second run writes the first one's answer.
    if slow := {"saturation": saturation, "synth": synth}.get(command):
        made, real = [], slow.predict
        again = lambda *given, **named: (made or made.append(real(*given, **named)) or made)[0]  # noqa: E731
        monkeypatch.setattr(slow, "predict", again)
    dry, sample_rate = load_phrase("riff")
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    file = write_audio(folder / "warm_distorted.wav", dry[:, :sample_rate], sample_rate)
    named = {"FILE": file, "CHECKPOINT": checkpoint, "CONTROLLER": controller}
    given = [named.get(word, word) for word in WRITING[command]]
    kept = {file: file.read_bytes()}
    for _ in range(2):
        assert run(command, file, *given, "--out", folder) == 0
        told = re.findall(r"^wrote ([^,\n]+)", capsys.readouterr().out, re.MULTILINE)
        assert all(Path(path).is_file() for path in told)
        assert {path: path.read_bytes() for path in kept} == kept
        now = {path: path.read_bytes() for path in folder.iterdir()}
        assert len(now) > len(kept)
        assert {str(path) for path in now.keys() - kept.keys()} >= set(told) != set()
        kept = now
    assert list(tmp_path.iterdir()) == [folder]


def test_every_command_that_writes_says_where_by_the_same_flag():
    for name in (*WRITING, "data render-synth"):
        flags = inspect.signature(COMMANDS[name]).parameters
        assert [flag for flag in flags if re.search("out|folder|path|dir|target", flag)] == ["out"]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("chain", WRITING["chain"]),
        ("style", WRITING["style"]),
        ("text", WRITING["text"]),
        ("text", ("--lexicon", "--prompt", "an octave down in a cathedral")),
    ],
)
def test_the_code_makes_the_file_of_the_recording(
    command, given, channels, capsys, tmp_path, checkpoint
):
    dry, sample_rate = load_phrase("strum")
    dry = 0.1 * np.concatenate([dry, 0.5 * dry[:, ::-1]])[:channels, : 2 * sample_rate]
    file = write_audio(tmp_path / "in.wav", dry, sample_rate)
    named = {"FILE": file, "CHECKPOINT": checkpoint}
    assert run(command, file, *(named.get(w, w) for w in given), "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    if command == "chain":
        code = printed[printed.index("from pedalboard") : printed.index("wrote ")]
        chain = Chain.load(tmp_path / "out" / "in.chain.json")
    else:
        code = next((tmp_path / "out").glob("*.board.py")).read_text()
    scope: dict = {}
    exec(code, scope)
    audio, _ = read_audio(file)
    written, _ = read_audio(next((tmp_path / "out").glob("*.wav")))
    assert relative_error_db(written, scope["board"](audio, sample_rate)) < -60
    if command == "chain":
        assert relative_error_db(written, chain.render(audio, sample_rate)) < -60
    assert relative_error_db(written, audio) > -20  # which it is not already


# labkit chain


def test_chain_says_what_is_wrong_before_it_writes(
    capsys, tmp_path, wet_file, checkpoint, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as bare:
        bare.setenv("PATH", "")
        compiled = fails(capsys, "chain", wet_file, "--export", "lv2", "--out", "bundle")
    assert "--export lv2 compiles the chain: apt-get install faust" in compiled
    assert "mine.wav is not a folder" in fails(capsys, "chain", wet_file, "--out", wet_file)
    assert not Path("bundle").exists()
    assert "none.wav" in fails(capsys, "chain", "none.wav")
    Path("letter.wav").write_text("Dear reader,\nthis is not a recording.\n" * 50)
    assert "letter.wav" in fails(capsys, "chain", "letter.wav")
    silent = write_audio(tmp_path / "silent.wav", np.zeros((1, 44100), np.float32), 44100)
    given = ("--checkpoint", checkpoint)
    assert "audio is too quiet" in fails(capsys, "chain", silent, *given)
    assert "no.wav" in fails(capsys, "chain", wet_file, "--dry", "no.wav", *given)
    assert "give --dry too" in fails(capsys, "chain", wet_file, "--refine")
    missing = fails(capsys, "chain", wet_file, "--checkpoint", "no.safetensors")
    assert "train one with `labkit train pedal_order`" in missing
    Path("other.safetensors").write_bytes(b"weights")
    damaged = fails(capsys, "chain", wet_file, "--checkpoint", "other.safetensors")
    assert "not a readable safetensors file" in damaged
    enhance = ("enhance", "none.wav", "--preset", "mastering")
    assert "none.wav" in fails(capsys, *enhance)
    assert "lufs must lie in -70 to 0" in fails(capsys, *enhance, "--lufs", "nan")
    assert not Path("output").exists()


def test_chain_prints_and_saves_its_answer(capsys, tmp_path, wet_file, checkpoint, monkeypatch):
    target = tmp_path / "new" / "folder"
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    assert run("chain", wet_file, "--checkpoint", checkpoint) == 0
    assert "wrote" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == before
    assert run("chain", wet_file, "--checkpoint", checkpoint, "--out", target) == 0
    out = capsys.readouterr().out
    saved = Chain.load(target / "mine.chain.json")
    assert sorted(saved.names) == ["chorus", "distortion", "reverb"]
    assert out.startswith(f"chain: {' -> '.join(saved.names)}   probability 0.")
    for step in saved.steps:
        assert f"  {step}   present " in out
    assert saved.to_code() in out
    assert not list(target.glob("*.wav"))


def test_chain_may_say_no(capsys, tmp_path, wet_file, checkpoint):
    model = pedal_order.load(checkpoint)
    model.judge_out[KINDS.index("none"), -1] = 9.0
    pedal_order.save(model, tmp_path / "no.safetensors")
    given = ("--checkpoint", tmp_path / "no.safetensors", "--out", tmp_path)
    assert run("chain", wet_file, "--dry", phrase_path("line"), *given) == 0
    out = capsys.readouterr().out
    assert out.startswith("chain: not a guitar that I can judge   probability 1.00")
    assert "Pedalboard" not in out
    saved = json.loads((tmp_path / "mine.chain.json").read_text())
    assert (saved["steps"], saved["verdict"]) == ([], "not a guitar that I can judge")
    assert saved["no_guitar"] > 0.99
    assert not list(tmp_path.glob("*recreated*"))


def test_chain_names_a_cabinet(capsys, tmp_path, wet_file, checkpoint):
    model = pedal_order.load(checkpoint)
    model.judge_out[KINDS.index("three"), -1] = model.judge_cabinet[-1] = 9.0
    pedal_order.save(model, tmp_path / "cabinet.safetensors")
    given = ("--checkpoint", tmp_path / "cabinet.safetensors", "--out", tmp_path)
    assert run("chain", wet_file, *given) == 0
    assert "behind it: a guitar cabinet   1.00" in capsys.readouterr().out
    assert json.loads((tmp_path / "mine.chain.json").read_text())["cabinet"] > 0.99


def test_chain_with_dry_recreates_it_at_its_own_length(capsys, tmp_path, wet_file, checkpoint):
    dry = phrase_path("line")
    given = ("--checkpoint", checkpoint, "--out", tmp_path, "--shelf", "six")
    assert run("chain", wet_file, "--dry", dry, *given, "--export", "faust", "card") == 0
    written = {line[6:] for line in capsys.readouterr().out.splitlines() if line[:5] == "wrote"}
    kinds = ("chain.json", "recreated.wav", "dsp", "card.svg", "card.pdf")
    assert written == {str(tmp_path / f"mine.{kind}") for kind in kinds}
    before, dry_rate = read_audio(dry)
    after, rate = read_audio(tmp_path / "mine.recreated.wav")
    assert (after.shape, rate) == (before.shape, dry_rate)
    assert np.abs(after - before).max() > 0.01
    chain = Chain.load(tmp_path / "mine.chain.json")
    names = chain.names
    assert (tmp_path / "mine.dsp").read_text() == program(chain, channels=len(before))
    assert f"input: {rms_dbfs(before):.0f} dBFS RMS" in (tmp_path / "mine.card.svg").read_text()
    assert (names[0], len([name for name in names if name != "gain"])) == ("gain", 5)


def test_a_saved_chain_is_written_for_other_places_and_nothing_is_replaced(tmp_path, capsys):
    chain = Chain((Step("gain", {"gain_db": 3.0}), Step("gain", {"gain_db": 3.0})))
    saved = tmp_path / "two.chain.json"
    chain.save(saved)
    for stem in ("two", "two_2"):
        assert (
            run("export", saved, "faust", "card", "faust", "--channels", "1", "--out", tmp_path)
            == 0
        )
        files = [tmp_path / f"{stem}.{kind}" for kind in ("dsp", "card.svg", "card.pdf")]
        assert capsys.readouterr().out.splitlines() == [f"wrote {path}" for path in files]
        assert files[0].read_text() == program(chain)
        assert "dBFS" not in files[1].read_text()  # it may be fitted to any level
    assert "kinds must be among faust, lv2" in fails(capsys, "export", saved)
    saved.write_text('[{"effect": "pitch_shift", "params": {}}]')
    assert "no effect called 'pitch_shift'" in fails(capsys, "export", saved, "lv2")


def test_predicting_a_chain_loads_few_modules(tmp_path, wet_file, checkpoint):
    """The product must not import the exam: at most 40 modules of labkit."""
    code = (
        "import sys; from labkit.cli import main; main(sys.argv[1:]); "
        "print(*[n for n in sys.modules if n.split('.')[0] == 'labkit'], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "chain", wet_file, "--out", tmp_path]
    done = subprocess.run(
        [*map(str, command), "--checkpoint", str(checkpoint)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules = done.stderr.split()
    assert len(modules) <= 40, sorted(modules)
    assert not [name for name in modules if name.endswith((".score", ".train"))]


# labkit train and evaluate


def test_a_training_writes_checkpoint_and_facts_and_fresh_starts_over(
    tmp_path, monkeypatch, capsys
):
    trained = []

    def fake(self, config, _run_dir, *, data, start, on_log):
        trained.append((self.name, config.plan.steps, data.kinds, start))
        on_log({"step": 1, "loss": 0.5})
        return self.build(TINY)

    monkeypatch.setattr(System, "train", fake)
    (tmp_path / "cache").mkdir()
    old = ("checkpoint.pt", "config.json", "cache/pictures.npy")
    for name in (*old, "notes.txt"):
        (tmp_path / name).write_text("old")
    command = ("train", "pedal_order", "--run-dir", tmp_path, "--steps", 7, "--kinds", "generated")
    assert run(*command) == 0
    assert trained == [("pedal_order", 7, ("generated",), None)]
    facts = json.loads((tmp_path / "pedal_order.json").read_text())
    assert facts["command"].startswith("labkit train pedal_order --run-dir")
    assert facts["sha256"] in capsys.readouterr().out
    assert "batch_size must" in fails(capsys, *command, "--fresh", "--batch-size", 0)
    assert (tmp_path / "cache" / "pictures.npy").exists()
    assert run(*command, "--fresh") == 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["notes.txt", "pedal_order.json", "pedal_order.safetensors"]


def test_an_evaluation_replaces_only_the_rows_that_it_made(capsys, tmp_path, monkeypatch):
    given = {"name": "flow", "sources": "generated", "metric": "MSS", "unit": "dB", "n": 1}
    given |= {"low": None, "high": None, "seed": 1}
    old = [
        Row(protocol="small", ours=4.0, checkpoint="synth.safetensors", **given),
        Row(protocol="other", ours=7.0, checkpoint="synth_vital_full.safetensors", **given),
        Row(protocol="large", ours=9.0, checkpoint="synth_vital_full.safetensors", **given),
    ]
    out = write("synth", old, path=tmp_path / "rows.json")
    monkeypatch.setattr(System, "load", lambda _self, path: path.name)
    monkeypatch.setattr(
        System, "score", lambda *_, **__: [Row(protocol="large", ours=5.0, **given)]
    )
    assert run("evaluate", "synth", "--preset", "vital_full", "--out", out) == 0
    rows = [(row.protocol, row.ours, row.checkpoint) for row in read("synth", path=out)]
    assert rows == [
        ("small", 4.0, "synth.safetensors"),
        ("other", 7.0, "synth_vital_full.safetensors"),
        ("large", 5.0, "synth_vital_full.safetensors"),
    ]
    assert "small" in capsys.readouterr().out
    own = tmp_path / "synth.safetensors"  # the shipped one's name
    assert run("evaluate", "synth", "--checkpoint", own) == 0
    assert len(read("synth", path=tmp_path / "synth.results.json")) == 1


def test_what_an_evaluation_could_not_write_or_do_is_said_before_it_begins(capsys, tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"steps": []}')
    before = ("evaluate", "synth", "--checkpoint", "not read yet")
    assert "other.json holds no results" in fails(capsys, *before, "--out", other)
    assert "(it is a folder)" in fails(capsys, *before, "--out", tmp_path)
    assert "other.json is not a folder" in fails(capsys, *before, "--out", other / "rows.json")
    assert "--refine must be at least 0, got -1" in fails(capsys, *before, "--refine", -1)
    assert "got both" in fails(capsys, *before, "--preset", "vital_full")
    assert "--n-refined must be" in fails(capsys, "evaluate", "pedal_order", "--n-refined", -1)


# labkit text


def test_length_strength_candidates_and_a_preset_to_start_from(tmp_path, capsys):
    from labkit.systems.text import Preset

    command = ("text", phrase_path("riff"), "--lexicon", "--out", tmp_path, "--seconds", 0.5)
    assert run(*command, "--prompt", "reverb", "--strength", 0.5, "--n", 2) == 0
    assert "reverb" in capsys.readouterr().out.partition("wrote ")[0]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".py", ".txt", ".wav"}
    first = Preset.load(tmp_path / "reverb_1.preset.json")
    assert first.reverb["wet"] == pytest.approx(0.175)  # half of the lexicon's .35
    audio, rate = read_audio(tmp_path / "reverb_2.wav")
    assert audio.shape[1] == rate // 2
    start = tmp_path / "reverb_1.preset.json"
    assert run(*command, "--prompt", "less reverb", "--start-from", start) == 0
    assert Preset.load(tmp_path / "less_reverb.preset.json").reverb["wet"] < first.reverb["wet"]
    capsys.readouterr()
    plan = (*command[:3], "--prompt", "+3 dB at 2k, wah", "--plan")
    assert "seconds must be above 0" in fails(capsys, *plan, "--seconds", 0)
    assert "n must lie in 1..16" in fails(capsys, *plan, "--n", 0)
    assert run(*plan) == 0
    out = capsys.readouterr().out
    assert "understood  +3 dB at 2000 Hz: figure\nanswered by lexicon\nnot done    wah" in out
    assert not list(tmp_path.glob("*wah*"))
    assert "n must lie in 1..16" in fails(capsys, *command, "--prompt", "warm", "--n", 99)


# labkit data, plugins, results


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_no_name_becomes_a_path(name, capsys, monkeypatch, tmp_path):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for command in (
        ["results", name],
        ["evaluate", name],
        ["data", "get", name],
        ["data", "render-synth", "--preset", name, "--n", "3"],
    ):
        assert main(command) == 1
        assert " must be " in (said := capsys.readouterr().err) or "is called" in said
    write_audio(tmp_path / "in" / "a.wav", np.zeros((1, 4000), np.float32), 8000)
    assert main(["text", "a.wav", "--prompt", f"warm {name}", "--lexicon"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert {path.parent.parent.name for path in tmp_path.rglob("*.wav")} == {
        "output",
        tmp_path.name,
    }


def test_data_lists_every_set_and_gets_one(capsys, monkeypatch):
    assert run("data", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(datasets.records())
    for line, record in zip(lines, datasets.records().values(), strict=True):
        assert record.licence in line
        assert f" {record.gigabytes:.1f} GB " in line
        assert record.page in line
    assert "no data set is called 'nosuch'" in fails(capsys, "data", "get", "nosuch")
    assert "add --accept-licence" in fails(capsys, "data", "get", next(iter(datasets.records())))
    monkeypatch.setattr(datasets, "get", lambda *_, **__: os.fsdecode(b"no UTF-8: \xff"))
    assert run("data", "get", "egfxset") == 0
    assert capsys.readouterr().out == "no UTF-8: \\udcff\n"
    monkeypatch.setattr(datasets, "get", lambda name, **options: (name, options["files"]))
    assert run("data", "get", "egfxset", "--files", "Clean.zip", "RAT.zip") == 0
    assert capsys.readouterr().out == "('egfxset', ('Clean.zip', 'RAT.zip'))\n"


def test_plugins_are_listed_checked_and_shown(capsys, monkeypatch):
    from labkit.effects.hosts import listing

    listed = [
        listing.PluginInfo("compressor", "builtin", "compressor"),
        listing.PluginInfo("Gone", "VST3", "gone.vst3"),
        listing.PluginInfo("Warm", "LV2", "urn:maker:Warm"),
    ]
    monkeypatch.setattr(listing, "installed_plugins", lambda: listed)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "dawdreamer")
    assert run("plugins", "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["compressor", "Gone", "Warm"]
    assert "4 knobs" in lines[0]
    assert "gone.vst3" in lines[1]
    assert "not usable: dawdreamer is not installed" in lines[2]
    assert run("plugins", "compressor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("compressor (builtin, compressor): 4 knobs")
    assert lines[1].split()[:5] == ["threshold_db", "-50", "to", "-20", "dB"]
    assert "no plug-in 'nosuch' here" in fails(capsys, "plugins", "nosuch")


def test_results_prints_one_table_or_all(capsys):
    assert run("results", "saturation") == 0
    one = capsys.readouterr().out
    assert one.startswith("saturation\n\n| task | ")
    assert run("results") == 0
    assert one in capsys.readouterr().out
    assert "system must be one of blackbox" in fails(capsys, "results", "nosuch")
