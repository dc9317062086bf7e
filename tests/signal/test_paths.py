"""Files that are written: whole or not at all, no other replaced, none outside its folder."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labkit.signal import paths
from labkit.signal.files import write_audio
from labkit.signal.paths import alone, check_writable, new_files, replace_text, replacing


def test_an_empty_variable_names_no_folder(tmp_path, monkeypatch):
    for name in ("LABKIT_REAL_DATA", "LABKIT_CACHE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.real_data_dir() != Path()
    assert paths.cache_dir() == tmp_path / ".cache" / "labkit"


def test_outputs_get_a_name_that_is_free_for_all_of_them(tmp_path):
    assert new_files(None, "a", ".wav", ".py") == [Path("output/a/a.wav"), Path("output/a/a.py")]
    for taken, stem in {"a.py": "a_2", "a_2.wav": "a_3"}.items():
        (tmp_path / taken).symlink_to("nowhere")  # not even a broken link is replaced
        assert new_files(tmp_path, "a", ".wav", ".py")[0] == tmp_path / f"{stem}.wav"


def test_two_processes_never_get_the_same_name(tmp_path):
    code = (
        "import sys; from pathlib import Path; from labkit.signal.paths import new_files\n"
        "print(new_files(Path(sys.argv[1]), 'a', '.wav')[0].name, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    others = [subprocess.Popen(command, **pipes) for _ in range(3)]
    names = [other.stdout.readline().strip() for other in others]
    names += [path.name for _ in range(2) for path in new_files(tmp_path, "a", ".wav")]
    for other in others:
        other.communicate("\n")
    assert sorted(names) == ["a.wav", "a_2.wav", "a_3.wav", "a_4.wav", "a_4.wav"]
    assert names[-1] == "a_4.wav"
    assert list(tmp_path.iterdir()) == []
    del others
    assert (
        subprocess.run([*command], input="\n", **{"stdout": -1, "text": True}).stdout == "a.wav\n"
    )


def test_where_nothing_can_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here")
    for folder in ("file", "file/further"):
        with pytest.raises(OSError, match=r"a\.wav: cannot be written \(.*file is not a folder\)"):
            new_files(tmp_path / folder, "a", ".wav")
    with pytest.raises(OSError, match=r"cannot be written \(it is a folder\)"):
        check_writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(OSError, match=rf"a\.wav: cannot be written \(no permission for {tmp_path}"):
        new_files(tmp_path / "new", "a", ".wav")


@pytest.mark.parametrize(
    "name",
    ["../../etc/x", "/etc/x", "C:\\x", "..", "", " . ", "a\n\0b", "é" * 99, "🎸" * 60, "\udcff"],
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (path,) = new_files(tmp_path, name, ".recreated.wav")
    assert path.resolve().parent == tmp_path.resolve()
    replace_text(path, "it can be written, and named in UTF-8")
    str(path).encode()
    (path,) = new_files(None, name, ".wav")
    assert path.resolve().is_relative_to(Path("output").resolve())


def test_what_a_dead_process_left_half_written_is_swept_and_a_living_one_keeps_its_own(tmp_path):
    code = (
        "import os, sys; from labkit.signal.paths import replacing\n"
        "with replacing(sys.argv[1]) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False)
    (left,) = tmp_path.iterdir()
    living = left.with_name(left.name.replace(left.name.split("-")[-1], f"{os.getppid()}.part.txt"))
    foreign = tmp_path / ".b.other_machine-1.part.txt"
    ours = tmp_path / ".my.part.txt"
    for path in (living, foreign, ours):
        path.write_text("half")
    replace_text(tmp_path / "c.txt", "whole")
    assert {living, foreign, ours, tmp_path / "c.txt"} == set(tmp_path.iterdir())
    os.utime(foreign, (0, 0))
    replace_text(tmp_path / "c.txt", "whole")
    assert not foreign.exists()


def test_a_full_disk_and_a_folder_that_takes_no_files_are_one_line_and_the_old_file_stays(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # or compiled files are cut, too, and stay
    path = tmp_path / "a.txt"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"a\.txt: cannot be written \(File too large\)$"):
            replace_text(path, "x" * 10_000)
        with pytest.raises(OSError, match=r"a\.wav: cannot be written \(is the disk full\?\)$"):
            write_audio(tmp_path / "a.wav", np.zeros((1, 50_000), np.float32), 44_100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    full = pytest.raises(OSError, match=r"a\.txt: cannot be written \(No space left on device\)$")
    with full, replacing(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    with pytest.raises(OSError, match=r"b\.txt: cannot be written \(File exists\)$"):
        replace_text(path / "b.txt", "new")
    with pytest.raises(FileNotFoundError, match="elsewhere"), replacing(path):
        (tmp_path / "elsewhere").read_text()  # an error of something else stays what it is
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_process_at_a_time_has_a_folder_and_a_dead_ones_lock_is_taken_over(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from labkit.signal.paths import alone\n"
        "with alone(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        refused = pytest.raises(ValueError, match=f"is in use by process {other.pid}: wait")
        with refused, alone(tmp_path):
            pass
        other.kill()
    for _ in range(2):
        with alone(tmp_path):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
