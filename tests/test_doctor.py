"""The doctor: each fault is shown as bad, with the command that fixes it."""

import subprocess
import sys
import time
import tomllib

import pytest

from labkit import doctor
from labkit.doctor import Check

PAIR = "pip install torch==2.11.0 torchaudio==2.11.0"


@pytest.mark.parametrize(
    ("check", "state", "fix"),
    [
        (doctor.check_pair("2.11.0", "2.11.0"), "ok", ""),
        (doctor.check_pair("2.13.0", "2.11.0"), "note", PAIR),  # imports, but is another pair
        (doctor.check_pair("2.15.0", "2.11.0"), "bad", PAIR),  # "different CUDA versions"
        (doctor.check_pair("2.11.0+cpu", "2.11.0"), "bad", PAIR),  # libc10_cuda.so is not there
        (doctor.check_pair(None, "2.11.0"), "bad", PAIR),
        (doctor.check_pair("2.11.0", None), "bad", PAIR),
        (doctor.check_python((3, 10)), "bad", "make lab PYTHON=python3.11"),
        (doctor.check_python((3, 13)), "bad", "make lab PYTHON=python3.11"),
        (doctor.check_package("soxr", "1.1.0", None), "bad", "pip install soxr==1.1.0"),
        (doctor.check_package("soxr", "1.1.0", "1.0.0"), "note", "pip install soxr==1.1.0"),
        (doctor.check_package("torch", "2.11.0", "2.11.0+cu128"), "ok", ""),
        (doctor.check_omp("ACTIVE"), "bad", "make lab"),
        (doctor.check_space("memory", 4 << 30), "ok", ""),
        (doctor.check_space("memory", (4 << 30) - 1), "note", "LAB_BUDGET=smoke"),
        (doctor.check_space("disk", 1 << 30), "ok", ""),
        (doctor.check_space("disk", (1 << 30) - 1), "bad", "delete old files"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_a_fault_has_a_state_and_a_fix(check, state, fix):
    assert check.state == state
    assert fix in check.fix
    assert bool(check.fix) == (state != "ok")


def test_the_report_of_this_machine_forgets_nothing():
    checks = doctor.report()
    assert all(check.fix for check in checks if check.state == "bad")
    assert not any(check.fix for check in checks if check.state == "ok")
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    text = (doctor.data_dir().parent / "pyproject.toml").read_text(encoding="utf-8")
    direct = {line.split("==")[0] for line in tomllib.loads(text)["project"]["dependencies"]}
    expected = {"python", "torch + torchaudio", "OMP_WAIT_POLICY", "threads", "memory"}
    expected |= {"disk", "GPU", "soundfont", "fluidsynth", "ffmpeg", "sentence encoder"}
    expected |= {"Chromium", "Zam plug-ins", "LV2 plug-ins", "checkpoints", "real recordings"}
    assert expected | (direct - {"torch", "torchaudio"}) <= set(names)


def test_a_part_that_cannot_be_examined_is_bad(monkeypatch):
    def broken():
        raise PermissionError("no entry")

    monkeypatch.setattr(doctor, "_optional_parts", broken)
    line = Check("examination", "no entry", "bad", "follow the message on the left")
    assert line in doctor.report()


def test_one_line_tells_that_all_is_there_and_more_what_is_not(monkeypatch, capsys):
    bad = Check("long name", "gone", "bad", "get it")
    fine = [Check("a", "1"), Check("b", "?", "note")]
    monkeypatch.setattr(doctor, "report", lambda: [*fine, bad])
    assert doctor.doctor() is False
    assert capsys.readouterr().out.splitlines() == ["FIX   long name  gone  -> get it", "1 to fix"]
    assert doctor.doctor(table=True) is False
    assert capsys.readouterr().out.splitlines() == [
        "ok    a          1",
        "note  b          ?",
        "FIX   long name  gone  -> get it",
        "1 to fix",
    ]
    monkeypatch.setattr(doctor, "report", lambda: fine)
    assert doctor.doctor() is True
    assert capsys.readouterr().out == "everything needed is here\n"


def test_what_the_lab_lacks_is_counted_and_named_with_its_package(monkeypatch, tmp_path, capsys):
    for name in ("VST3_PATH", "LV2_PATH", "LABKIT_SOUNDFONT"):
        monkeypatch.setenv(name, str(tmp_path / "nothing here"))
    monkeypatch.setenv("PATH", str(tmp_path))
    doctor.doctor()
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert "; optional and not here: " in verdict
    for package in ("zam-plugins", "guitarix-lv2", "fluid-soundfont-gm", "ffmpeg"):
        assert f"apt-get install {package}" in verdict
    assert "chromium" not in verdict  # only tests use it
    (tmp_path / "ZamGate.vst3").touch()
    monkeypatch.setenv("VST3_PATH", str(tmp_path))
    doctor.doctor()
    assert "zam-plugins" not in capsys.readouterr().out


def test_the_report_is_quick_and_imports_nothing_heavy():
    code = "import sys; from labkit.doctor import report; report(); print(sorted(sys.modules))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    assert seconds < 5  # what a reader of notebook 00 waits for; 0.2 s on an idle machine
    for module in ("torch", "numpy", "librosa", "pedalboard"):
        assert f"'{module}'" not in done.stdout
