"""The doctor: each faked fault is red, and names the command that mends it."""

import subprocess
import sys
import time
import tomllib

import pytest

from labkit import doctor
from labkit.doctor import Check


@pytest.mark.parametrize(
    ("torch", "torchaudio", "state"),
    [
        ("2.11.0", "2.11.0", "ok"),
        ("2.11.0+cu128", "2.11.0+cu128", "ok"),
        ("2.13.0", "2.11.0", "note"),  # imports, but is not the pinned pair
        ("2.15.0", "2.11.0", "bad"),  # "compiled with different CUDA versions"
        ("2.11.0+cpu", "2.11.0", "bad"),  # libc10_cuda.so is not there
        ("2.8.0", "2.11.0", "bad"),
        ("2.8.0", "2.8.0", "ok"),
        ("2.8.0", "2.7.1", "bad"),
        (None, "2.11.0", "bad"),
        ("2.11.0", None, "bad"),
        (None, None, "bad"),
    ],
)
def test_pair_of_torch_and_torchaudio(torch, torchaudio, state):
    check = doctor.check_pair(torch, torchaudio)
    assert check.state == state
    assert (check.mend == "pip install torch==2.11.0 torchaudio==2.11.0") == (state != "ok")


def test_missing_pair_is_named():
    assert doctor.check_pair(None, None).found == "torch and torchaudio missing"
    assert doctor.check_pair("2.11.0", None).found == "torchaudio missing"


def test_mend_of_the_pair_is_the_pinned_pair():
    pins = doctor.pinned_dependencies()
    assert (
        doctor.check_pair(None, None).mend
        == f"pip install torch=={pins['torch']} torchaudio=={pins['torchaudio']}"
    )


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10), "bad"), ((3, 11), "ok"), ((3, 12), "ok"), ((3, 13), "bad"), ((4, 0), "bad")],
)
def test_python(version, state):
    check = doctor.check_python(version)
    assert check.state == state
    assert check.mend == ("make lab PYTHON=python3.11" if state == "bad" else "")


def test_package_absent_other_and_pinned():
    absent = doctor.check_package("soxr", "1.1.0", None)
    assert (absent.state, absent.found, absent.mend) == (
        "bad",
        "missing",
        "pip install soxr==1.1.0",
    )
    other = doctor.check_package("soxr", "1.1.0", "1.0.0")
    assert (other.state, other.found) == ("note", "1.0.0, the tests use 1.1.0")
    assert doctor.check_package("torch", "2.11.0", "2.11.0+cu128").state == "ok"


@pytest.mark.parametrize(
    ("policy", "state"),
    [("PASSIVE", "ok"), ("passive", "ok"), ("ACTIVE", "bad"), (None, "bad"), ("", "bad")],
)
def test_omp_policy(policy, state):
    check = doctor.check_omp(policy)
    assert check.state == state
    assert ("make lab" in check.mend) == (state == "bad")


def test_memory_and_disk_thresholds():
    gib = 1 << 30
    assert [doctor.check_memory(4 * gib - n).state for n in (0, 1)] == ["ok", "note"]
    assert [doctor.check_disk(gib - n).state for n in (0, 1)] == ["ok", "bad"]
    assert doctor.check_memory(3 * gib // 2).found == "1.5 GiB free"


def test_checkpoints_are_found_or_missed(tmp_path):
    missing = doctor.check_checkpoints(tmp_path)
    assert (missing.state, missing.mend) == ("bad", "git checkout -- data")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pedal_order.safetensors").touch()
    assert doctor.check_checkpoints(tmp_path) == Check("checkpoints", "pedal_order")


def test_plug_ins_need_a_host():
    assert doctor.check_plug_ins("LV2", 0, None).mend == "apt-get install guitarix-lv2 calf-plugins"
    homeless = doctor.check_plug_ins("LV2", 3, None)
    assert (homeless.state, homeless.mend) == ("note", "pip install dawdreamer")
    found = doctor.check_plug_ins("VST3", 17, "0.9.26")
    assert (found.state, found.mend) == ("ok", "")
    assert "17 bundles, hosted by pedalboard 0.9.26" in found.found


def test_every_red_or_optional_line_of_this_machine_says_what_mends_it():
    checks = doctor.report()
    assert all(check.mend for check in checks if check.state == "bad")
    assert not any(check.mend for check in checks if check.state == "ok")
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    expected = {
        "python",
        "labkit",
        "torch + torchaudio",
        "numpy",
        "OMP_WAIT_POLICY",
        "threads",
        "memory",
        "disk",
        "GPU",
    }
    assert expected | {
        "soundfont",
        "fluidsynth",
        "ffmpeg",
        "sentence encoder",
        "Chromium",
        "VST3 plug-ins",
        "LV2 plug-ins",
        "checkpoints",
    } <= set(names)


def test_no_direct_dependency_is_forgotten():
    project = tomllib.loads(
        (doctor.data_dir().parent / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    direct = {line.split("==")[0] for line in project["dependencies"]} - {"torch", "torchaudio"}
    assert direct <= {check.name for check in doctor.report()}


def test_a_part_that_cannot_be_examined_is_a_red_line(monkeypatch):
    def broken():
        raise PermissionError("no entry")

    monkeypatch.setattr(doctor, "_data", broken)
    assert (
        Check("examination", "no entry", "bad", "follow the message on the left") in doctor.report()
    )


def test_soundfont_is_the_one_that_the_sampler_finds(monkeypatch, tmp_path):
    bank = tmp_path / "own.sf2"
    bank.touch()
    monkeypatch.setenv("LABKIT_SOUNDFONT", str(bank))
    assert next(check for check in doctor.report() if check.name == "soundfont") == Check(
        "soundfont", "own.sf2"
    )
    monkeypatch.setenv("LABKIT_SOUNDFONT", str(tmp_path / "absent.sf2"))
    assert next(check for check in doctor.report() if check.name == "soundfont").state == "note"


def test_render_aligns_and_counts():
    table = doctor.render(
        [
            Check("a", "1"),
            Check("long name", "gone", "bad", "pip install it"),
            Check("b", "?", "note"),
        ]
    )
    assert table.splitlines() == [
        "ok    a          1",
        "MEND  long name  gone  -> pip install it",
        "note  b          ?",
        "1 to mend",
    ]
    assert doctor.render([]) == "all there"


def test_doctor_prints_the_table_and_returns_the_verdict(monkeypatch, capsys):
    monkeypatch.setattr(
        doctor, "report", lambda: [Check("a", "1"), Check("b", "?", "note", "maybe")]
    )
    assert doctor.doctor() is True
    assert "all there" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "report", lambda: [Check("a", "gone", "bad", "mend it")])
    assert doctor.doctor() is False


def test_report_is_quick_and_imports_nothing_heavy():
    code = "import sys; from labkit.doctor import report; report(); print(sorted(sys.modules))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    assert seconds < 3  # what a reader of notebook 00 waits for; 0.2 s on an idle machine
    for module in ("torch", "numpy", "librosa", "pedalboard"):
        assert f"'{module}'" not in done.stdout
