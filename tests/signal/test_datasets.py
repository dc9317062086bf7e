"""Downloads against a server on this machine: success, resume, a wrong md5, no network, a file put by hand."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import replace

import pytest

from labkit.signal import datasets
from labkit.signal.datasets import (
    DatasetUnavailable,
    LicenceError,
    Record,
    RemoteFile,
    get,
    records,
)

pytest.importorskip("pooch")


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
        archive.writestr("__MACOSX/._junk", "junk")
    return out.getvalue()


CONTENT = zipped(folder__a="sound " * 50_000, b="more")
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """Serves one file, with ranges; can break off after some bytes, and remembers what was asked for."""

    def __init__(self):
        self.asked, self.break_after, self.ranges = [], None, True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/files/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if not request.path.endswith("data.zip"):
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(CONTENT):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(CONTENT) - start))
        request.end_headers()
        stop = (
            len(CONTENT)
            if self.break_after is None
            else min(len(CONTENT), start + self.break_after)
        )
        request.wfile.write(CONTENT[start:stop])

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(datasets.time, "sleep", lambda _: None)
    serving = Server()
    yield serving
    serving.close()


def record(url, md5=MD5, name="data.zip"):
    return Record(
        name="toy", title="Toy", page="https://example.org/toy", url=url, licence="CC BY 4.0", gigabytes=0.001,
        files=(RemoteFile(name, md5),), note="Small.",
    )  # fmt: skip


def fetch(of, folder, **options):
    said = []
    return get(of, accept_licence=True, folder=folder, say=said.append, **options), said


def test_download_and_unpack(server, tmp_path):
    folder, said = fetch(record(server.url), tmp_path / "toy")
    assert (folder / "data" / "folder" / "a").read_text() == "sound " * 50_000
    assert sorted(p.name for p in folder.iterdir()) == [
        "data"
    ]  # no archive, no junk, nothing half done
    assert not (folder / "data" / "__MACOSX").exists()
    assert said[0].startswith("Toy (https://example.org/toy), 0.001 GB, is licensed CC BY 4.0.")
    fetch(record(server.url), folder)
    assert len(server.asked) == 1  # the second time nothing is asked for


def test_an_interrupted_download_is_resumed(server, tmp_path):
    server.break_after = 70_000  # one block of 64 KiB arrives whole, what follows it is lost
    folder, _ = fetch(record(server.url), tmp_path)
    assert (folder / "data" / "b").read_text() == "more"
    assert [asked for _, asked in server.asked] == [
        None,
        *(f"bytes={65_536 * k}-" for k in range(1, 5)),
    ]


def test_a_download_resumes_in_a_later_session(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:500])
    folder, _ = fetch(record(server.url), tmp_path)
    assert server.asked == [("/files/data.zip", "bytes=500-")]
    assert (folder / "data" / "b").exists()


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "data.zip.part").write_bytes(b"old rubbish")
    folder, _ = fetch(record(server.url), tmp_path)
    assert (folder / "data" / "b").exists()


def test_a_complete_part_is_taken(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    folder, _ = fetch(record(server.url), tmp_path)
    assert (folder / "data" / "b").exists()


def test_wrong_md5(server, tmp_path):
    wrong = "0" * 32
    with pytest.raises(
        DatasetUnavailable, match=f"another md5 than published.*by hand.*its md5 must be {wrong}"
    ):
        fetch(record(server.url, md5=wrong), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.time, "sleep", lambda _: None)
    url = "http://127.0.0.1:9/files/"  # the discard port: nobody listens
    expected = rf"{url}data\.zip could not be reached .*put it at {tmp_path}/data\.zip and try again; its md5 must be {MD5}"
    with pytest.raises(DatasetUnavailable, match=expected):
        fetch(record(url), tmp_path)


def test_a_missing_file_on_the_server(server, tmp_path):
    with pytest.raises(DatasetUnavailable, match=r"gone\.zip could not be reached \(HTTPError\)"):
        fetch(record(server.url, name="gone.zip"), tmp_path)


def test_a_file_put_by_hand_is_taken_and_kept(tmp_path):
    (tmp_path / "data.zip").write_bytes(CONTENT)
    folder, _ = fetch(record("http://127.0.0.1:9/"), tmp_path)
    assert (folder / "data" / "b").read_text() == "more"
    assert (folder / "data.zip").exists()


def test_a_wrong_file_put_by_hand_is_refused(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"something else")
    with pytest.raises(DatasetUnavailable, match=r"has md5 .* not the published one: delete it"):
        fetch(record("http://127.0.0.1:9/"), tmp_path)
    assert not (tmp_path / "data").exists()


def test_what_is_not_a_zip_leaves_nothing_behind(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"not a zip")
    with pytest.raises(DatasetUnavailable, match="is not a zip file"):
        fetch(record("http://127.0.0.1:9/", md5=hashlib.md5(b"not a zip").hexdigest()), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["data.zip"]


def test_a_plain_file_is_kept_as_it_is(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n")
    of = record("http://127.0.0.1:9/", md5=hashlib.md5(b"a,b\n").hexdigest(), name="table.csv")
    folder, _ = fetch(of, tmp_path)
    assert (folder / "table.csv").read_text() == "a,b\n"


def test_licence_comes_first(tmp_path):
    with pytest.raises(
        LicenceError, match=r"CC BY-NC-ND 4\.0.*Warning: no commercial use.*accept_licence=True"
    ):
        get("idmt-smt-guitar", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names(tmp_path):
    with pytest.raises(
        ValueError, match="no data set is called 'nope'; there are egfxset, guitar-techs, guitarset"
    ):
        get("nope", accept_licence=True)
    with pytest.raises(
        ValueError, match=r"no file of guitarset is called 'x\.zip'; there are audio_mono-mic\.zip"
    ):
        get("guitarset", accept_licence=True, files=("x.zip",), folder=tmp_path)


def test_records_are_complete():
    known = records()
    assert set(known) == {"egfxset", "guitar-techs", "guitarset", "idmt-smt-guitar", "daps"}
    for found in known.values():
        assert found.url.startswith("https://zenodo.org/records/")
        assert found.licence.startswith("CC BY")
        names = [file.name for file in found.files]
        assert len(set(names)) == len(names)
        assert len({file.md5 for file in found.files}) == len(names)
        assert all(len(file.md5) == 32 and int(file.md5, 16) >= 0 for file in found.files)
    assert len(known["egfxset"].files) == 14
    assert len(known["guitar-techs"].files) == 9
    assert known["idmt-smt-guitar"].restricted
    assert known["daps"].restricted
    assert known["daps"].url == "https://zenodo.org/records/4660670/files/"


def test_a_tar_lies_there_without_its_outer_folder_and_without_twins(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in (
            "voices/clean/f1_clean.wav",
            "voices/clean/._f1_clean.wav",
            "voices/cleanraw/f1_cleanraw.wav",
        ):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"sound"))
    (tmp_path / "voices.tar.gz").write_bytes(packed.getvalue())
    file = RemoteFile("voices.tar.gz", hashlib.md5(packed.getvalue()).hexdigest())
    folder, _ = fetch(replace(record("http://nowhere/"), files=(file,)), tmp_path)
    found = sorted(str(path.relative_to(folder)) for path in (folder / "voices").rglob("*.wav"))
    assert found == ["voices/clean/f1_clean.wav", "voices/cleanraw/f1_cleanraw.wav"]
    assert {path.name for path in tmp_path.iterdir()} == {"voices.tar.gz", "voices"}


def test_a_tar_that_leads_outside_or_is_none_is_refused(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped.wav"))
    for number, content in enumerate((packed.getvalue(), b"no archive", packed.getvalue()[:60])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "bad.tar.gz").write_bytes(content)
        file = RemoteFile("bad.tar.gz", hashlib.md5(content).hexdigest())
        with pytest.raises(DatasetUnavailable, match=r"bad\.tar\.gz is not a tar file"):
            fetch(replace(record("http://nowhere/"), files=(file,)), folder)
        assert not (tmp_path / "escaped.wav").exists()
        assert [path.name for path in folder.iterdir()] == ["bad.tar.gz"]
