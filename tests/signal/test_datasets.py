"""Downloads from a server on this machine: success, a wrong md5, no network, a file put by hand."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pooch
import pytest

from labkit.signal import datasets
from labkit.signal.datasets import DatasetUnavailable, LicenceError, get


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("folder/a", "sound " * 50_000)
        archive.writestr("b", "more")
    return out.getvalue()


def tarred(name, kind=tarfile.REGTYPE, target=""):
    out, member = io.BytesIO(), tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(member)
    return out.getvalue()


CONTENT = zipped()
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """The folder of the toy data set; failed downloads are tried again without a pause."""
    monkeypatch.setattr(pooch.core.time, "sleep", lambda _: None)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    folder = tmp_path / "datasets" / "toy"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def fetch(monkeypatch):
    def run(content=CONTENT, file="data.zip", server=NOWHERE, checksum=None):
        files = {file: checksum or md5(content)}
        toy = datasets.Record("toy", "Toy", server, "CC BY 4.0", 0.001, "Small.", files)
        monkeypatch.setattr(datasets, "_RECORDS", (toy,))
        return get("toy", accept_licence=True)

    return run


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith("data.zip"):
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


def test_download_and_unpack(server, fetch, place, capsys):
    folder = fetch(server=server)
    assert folder == place
    assert (folder / "data" / "folder" / "a").read_text() == "sound " * 50_000
    # No archive, nothing half done
    assert sorted(p.name for p in folder.iterdir()) == ["data"]
    assert sorted(p.name for p in (folder / "data").iterdir()) == ["b", "folder"]
    said = capsys.readouterr().out
    assert said.startswith(f"Toy ({server}), 0.001 GB, licence: CC BY 4.0.")
    fetch()  # the second time nothing is asked for


@pytest.mark.parametrize("file", ["gone.zip", "data.zip"])
def test_a_download_that_fails_says_what_to_do(server, fetch, place, file):
    wrong = "0" * 32
    message = f"{file} could not be fetched.*md5 must be {wrong}"
    with pytest.raises(DatasetUnavailable, match=message):
        fetch(file=file, server=server, checksum=wrong)
    assert list(place.iterdir()) == []


def test_offline_says_where_to_put_the_file(fetch, place):
    with pytest.raises(DatasetUnavailable, match=rf"ConnectionError.*put it at {place}/data\.zip"):
        fetch()


def test_a_tar_is_unpacked_too(fetch, place):
    content = tarred("clean/f1.wav")
    (place / "voices.tar.gz").write_bytes(content)
    assert (fetch(content, "voices.tar.gz") / "voices" / "clean" / "f1.wav").exists()


def test_a_file_put_by_hand_is_taken_and_kept_if_it_is_the_right_one(fetch, place):
    (place / "data.zip").write_bytes(b"something else")
    with pytest.raises(DatasetUnavailable, match=r"data\.zip could not be fetched"):
        fetch()
    (place / "data.zip").write_bytes(CONTENT)
    assert (fetch() / "data" / "b").read_text() == "more"
    assert (place / "data.zip").exists()


BAD = {
    "no archive": (b"no archive", ".zip"),
    "a tar cut off": (tarred("a")[:60], ".tar.gz"),
    "a tar that climbs": (tarred("../escaped.wav"), ".tar.gz"),
    "a tar with a link": (tarred("a", kind=tarfile.SYMTYPE, target="/etc/passwd"), ".tar.gz"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_leaves_nothing_behind(fetch, place, case):
    content, suffix = BAD[case]
    (place / f"bad{suffix}").write_bytes(content)
    with pytest.raises(DatasetUnavailable, match="could not be fetched"):
        fetch(content, f"bad{suffix}")
    assert not (place.parent / "escaped.wav").exists()
    assert [path.name for path in place.iterdir()] == [f"bad{suffix}"]


def test_licence_comes_first(tmp_path):
    message = r"CC BY-NC-ND 4\.0.*Warning: no commercial use.*accept_licence=True"
    with pytest.raises(LicenceError, match=message):
        get("idmt-smt-guitar")
    assert [path.name for path in tmp_path.rglob("*")] == ["datasets", "toy"]
