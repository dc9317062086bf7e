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
        archive.writestr("__MACOSX/._junk", "junk")
    return out.getvalue()


def tarred(*names, content=b"sound", kind=tarfile.REGTYPE, target=""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, len(content)
            tar.addfile(member, io.BytesIO(content))
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
    # No archive, no junk, nothing half done
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


def test_a_file_put_by_hand_is_taken_and_kept_if_it_is_the_right_one(fetch, place):
    (place / "data.zip").write_bytes(b"something else")
    with pytest.raises(DatasetUnavailable, match=r"data\.zip could not be fetched"):
        fetch()
    (place / "data.zip").write_bytes(CONTENT)
    assert (fetch() / "data" / "b").read_text() == "more"
    assert (place / "data.zip").exists()


def test_a_tar_comes_without_a_macs_resource_forks(fetch, place):
    content = tarred("clean/f1.wav", "clean/._f1.wav", "cleanraw/f1.wav")
    (place / "voices.tar.gz").write_bytes(content)
    fetch(content, "voices.tar.gz")
    found = sorted(str(path.relative_to(place)) for path in place.rglob("*.wav"))
    assert found == ["voices/clean/f1.wav", "voices/cleanraw/f1.wav"]


def zip_of(name, mode=0o100644, content=b"sound"):
    out, info = io.BytesIO(), zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, content)
    return out.getvalue()


BAD = {
    "no archive": b"no archive",
    "a tar cut off": tarred("a")[:60],
    "a tar that climbs": tarred("../escaped.wav"),
    "a tar with an absolute name": tarred("/tmp/escaped.wav"),
    "a tar with a link": tarred("a", content=b"", kind=tarfile.SYMTYPE, target="/etc/passwd"),
    "a tar with a hard link": tarred("a", content=b"", kind=tarfile.LNKTYPE, target="b"),
    "a tar with a device": tarred("a", content=b"", kind=tarfile.CHRTYPE),
    "a tar bomb": tarred("a", content=bytes(2_000_000)),
    "a zip that climbs": zip_of("../escaped.wav"),
    "a zip with a link": zip_of("a.wav", 0o120777, b"/etc/passwd"),
    "a zip bomb": zip_of("a.wav", content=bytes(2_000_000)),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("file", ["bad.tar.gz", "bad.zip"])
def test_a_bad_archive_leaves_nothing_behind(fetch, place, monkeypatch, file, case):
    monkeypatch.setattr(datasets, "_LEAST_UNPACKED", 1_000_000)
    (place / file).write_bytes(BAD[case])
    with pytest.raises(DatasetUnavailable, match="could not be fetched"):
        fetch(BAD[case], file)
    assert not (place.parent / "escaped.wav").exists()
    assert [path.name for path in place.iterdir()] == [file]


def test_licence_comes_first(tmp_path):
    message = r"CC BY-NC-ND 4\.0.*Warning: no commercial use.*accept_licence=True"
    with pytest.raises(LicenceError, match=message):
        get("idmt-smt-guitar")
    assert [path.name for path in tmp_path.rglob("*")] == ["datasets", "toy"]
