"""Public recordings and settings, downloaded on request by pooch and checked by their md5.

Nothing in the course needs them.
"""

import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.signal.optional import need
from labkit.signal.paths import cache_dir, replacing

_BAD_ARCHIVE = (shutil.ReadError, tarfile.TarError, EOFError)


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
            with replacing(unpacked) as temporary:
                safely = {} if archive.suffix == ".zip" else {"filter": "data"}
                shutil.unpack_archive(archive, temporary, **safely)
    # A ValueError is of pooch: another md5.
    except (ValueError, requests.RequestException, *_BAD_ARCHIVE) as error:
        raise DatasetUnavailable(
            f"{file} could not be fetched from {url} ({type(error).__name__}: {error}). "
            f"Fetch it by hand (see {record.page}), put it at {archive} and try again; "
            f"its md5 must be {record.files[file]}."
        ) from error
    if unpacked != archive and not by_hand:
        archive.unlink()
