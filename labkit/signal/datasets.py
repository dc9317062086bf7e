"""Public recordings and settings, downloaded on request by pooch and checked by their md5.

Nothing in the course needs them.
"""

import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, replacing

_BAD_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
# What an archive may unpack to: so many bytes, and so many times its own size.
_LEAST_UNPACKED, _EXPANSION = 100_000_000, 20


class DatasetUnavailable(RuntimeError):  # noqa: N818 - the world's state, not an error
    """A file could not be fetched, or has another md5; the message says how to place it."""


class LicenceError(ValueError):
    """The licence was not accepted; the message says what it is and how to accept it."""


@dataclass(frozen=True)
class Record:
    """A published data set."""

    name: str
    title: str
    page: str  # where a person reads about it and its licence
    licence: str
    gigabytes: float  # size of all files
    note: str
    files: Mapping[str, str]  # name -> published md5 of those that the course can use
    source: str = ""  # the folder of its files; below its page, as on Zenodo, when empty


# What can be had, in a file beside this one. Size and md5 of DAPS are as three public programs that
# download it have them; nobody here has.
_RECORDS = tuple(
    Record(**row) for row in json.loads(Path(__file__).with_suffix(".json").read_text())
)


def records() -> dict[str, Record]:
    """All data sets by name."""
    return {record.name: record for record in _RECORDS}


def get(name: str, *, accept_licence: bool = False, files: tuple[str, ...] | None = None) -> Path:
    """The folder of a data set: what is missing is downloaded, checked by its md5, and unpacked.

    Each archive has a subfolder of its name, which `AudioFolder` reads. A file that you put into
    the folder by hand is taken, and kept, when its md5 matches.

    `files` are the names wanted, None is all. Raises LicenceError without `accept_licence`, and
    DatasetUnavailable offline or for a wrong md5, with the name, address and place of the file.
    """
    record = _find(records(), name, "data set")
    for file in files or ():
        _find(record.files, file, f"file of {record.name}")
    terms = (
        f"{record.title} ({record.page}), {record.gigabytes:g} GB, licence: {record.licence}. "
        f"{record.note}"
    )
    if "NC" in record.licence:
        terms += " Warning: no commercial use, and nothing derived from it may be published."
    if not accept_licence:
        how = "add --accept-licence, or in Python accept_licence=True"
        raise LicenceError(f"{terms} Read the licence, then {how}.")
    print(terms)
    folder = cache_dir() / "datasets" / record.name
    for file in files or record.files:
        unpacked = folder / file.removesuffix(".zip").removesuffix(".tar.gz")
        if not unpacked.is_dir():
            print(f"{file}: from {record.page}")
            _have(record, file, folder / file, unpacked)
    return folder


def _find(known: Mapping, name: str, what: str):
    if name not in known:
        raise ValueError(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return known[name]


def _have(record: Record, file: str, archive: Path, unpacked: Path) -> None:
    """Download one file where it is missing, and unpack it where it is an archive."""
    pooch, requests = need("pooch"), need("requests")
    pooch.get_logger().setLevel("WARNING")
    by_hand = archive.exists()
    known = {file: f"md5:{record.files[file]}"}
    url = record.source or f"{record.page}/files/"
    fetcher = pooch.create(
        archive.parent, url, registry=known, retry_if_failed=3, allow_updates=False
    )
    try:
        fetcher.fetch(file, downloader=pooch.HTTPDownloader(timeout=30))
        if unpacked != archive:
            _unpack(archive, unpacked)
    # A ValueError is of pooch: another md5.
    except (ValueError, requests.RequestException, *_BAD_ARCHIVE) as error:
        raise DatasetUnavailable(
            f"{file} could not be fetched from {url} ({type(error).__name__}: {error}). "
            f"Fetch it by hand (see {record.page}), put it at {archive} and try again; "
            f"its md5 must be {record.files[file]}."
        ) from error
    if unpacked != archive and not by_hand:
        archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack whole or not at all, without what a Mac adds to archives.

    ValueError for what is neither file nor folder, for a name that leaves the folder, and for more
    than 20 times the archive's size and 100 MB.
    """
    left = _LEAST_UNPACKED + _EXPANSION * archive.stat().st_size

    def check(name: str, size: int, *, plain: bool) -> None:
        nonlocal left
        left -= size
        path = PurePosixPath(name.replace("\\", "/"))
        if not plain or path.is_absolute() or ".." in path.parts or left < 0:
            raise ValueError(f"files and folders of a data set were expected, got {name!r}, {size}")

    with replacing(folder) as temporary:
        temporary.mkdir()
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as file:
                for member in file.infolist():
                    kind = stat.S_IFMT(member.external_attr >> 16)
                    plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                    check(member.filename, member.file_size, plain=plain)
                    file.extract(member, temporary)
        else:
            with tarfile.open(archive) as file:
                for member in file:
                    check(member.name, member.size, plain=member.isreg() or member.isdir())
                    file.extract(member, temporary, filter="data")
        shutil.rmtree(temporary / "__MACOSX", ignore_errors=True)
        for resource_fork in temporary.rglob("._*"):
            resource_fork.unlink()
