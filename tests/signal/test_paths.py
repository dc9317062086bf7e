"""Names of outputs: no file that exists is replaced, and no name leads out of its folder."""

from pathlib import Path

import pytest

from labkit.signal.paths import new_files


def test_outputs_get_a_name_that_is_free_for_all_of_them(tmp_path):
    assert new_files(None, "a", ".wav", ".py") == [Path("output/a/a.wav"), Path("output/a/a.py")]
    for taken, stem in {"a.py": "a_2", "a_2.wav": "a_3"}.items():
        (tmp_path / taken).symlink_to("nowhere")  # not even a broken link is replaced
        assert new_files(tmp_path, "a", ".wav", ".py")[0] == tmp_path / f"{stem}.wav"


@pytest.mark.parametrize(
    "name", ["../../etc/x", "/etc/x", "C:\\x", "..", "", " . ", "a\n\0b", "é" * 99]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (path,) = new_files(tmp_path, name, ".recreated.wav")
    assert path.resolve().parent == tmp_path.resolve()
    path.write_text("it can be written")
    (path,) = new_files(None, name, ".wav")
    assert path.resolve().is_relative_to(Path("output").resolve())
