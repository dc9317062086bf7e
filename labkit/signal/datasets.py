"""Public recordings and settings, downloaded on request by pooch and checked by their md5.

Nothing in the course needs them.
"""

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


_RECORDS = (
    Record(
        "egfxset",
        "EGFxSet: electric guitar tones processed through real effects",
        "https://zenodo.org/records/7044411",
        "CC BY 4.0",
        5.8,
        "Single notes, one setting per pedal. Clean.zip holds the dry notes.",
        {
            "Clean.zip": "cdb1b401960f56becc8640387910e78a",
            "BluesDriver.zip": "b1d6dce9064a25a1cff2a0c40c30a2e4",
            "Chorus.zip": "3698b3b1756917f93dadf27517d48479",
            "Digital-Delay.zip": "4a25d57bcb0083667bade7b3c42460bc",
            "Flanger.zip": "f3f7b39c895a400d35c5b1314a1122bd",
            "Hall-Reverb.zip": "c173bebdcbed50d4bc8803e0b30d6517",
            "Phaser.zip": "1842e2643dd34d7285a77506ca540df3",
            "Plate-Reverb.zip": "abbcc68d692f323e8af6aeb8d478c40d",
            "RAT.zip": "afe9fc757a51d04126c23159706f4e8e",
            "Spring-Reverb.zip": "21afc47594ed8f37db008f313e50c634",
            "Sweep-Echo.zip": "ea6dda440e9af6a19173facdf2bf17ac",
            "TapeEcho.zip": "77adf4a6a8ed4eb566b2b8e77735c7dc",
            "TubeScreamer.zip": "b9c46ed65037d0bd17bdf82dc3125beb",
            "egfxset_metadata.csv": "ec8d160fe79469c7de8cad528d7d35e1",
        },
    ),
    Record(
        "guitar-techs",
        "Guitar-TECHS: electric guitar techniques, excerpts, chords and scales",
        "https://zenodo.org/records/14963133",
        "CC BY 4.0",
        4.1,
        "Direct input and microphones; split by player (P1, P2, P3), not by file.",
        {
            "P1_chords.zip": "be9ef8bbdceb1912d565254e607a6d94",
            "P1_scales.zip": "9c0b98e8fb42a522df727ea8bf545e4f",
            "P1_singlenotes.zip": "ca0c4674dde3805574685a313f7c39eb",
            "P1_techniques.zip": "18634a41a6db5a8de10d07eb3122a872",
            "P2_chords.zip": "eb6f74dd19162237189281688ad7ad2e",
            "P2_scales.zip": "96664853872f51e5f8aa4447313b7cf5",
            "P2_singlenotes.zip": "40fbf03d8b04bb2cf42df20f36dc2254",
            "P2_techniques.zip": "f4189251ce50be25f06a173b2c2bba00",
            "P3_music.zip": "071ba80aecf00f4a31fbd167b3f22198",
        },
    ),
    Record(
        "guitarset",
        "GuitarSet: acoustic guitar with a microphone and a hexaphonic pickup",
        "https://zenodo.org/records/3371780",
        "CC BY 4.0",
        1.4,
        "Six players, the first two digits of a file name; split by player.",
        {
            "audio_mono-mic.zip": "275966d6610ac34999b58426beb119c3",
            "audio_mono-pickup_mix.zip": "aecce79f425a44e2055e46f680e10f6a",
            "annotation.zip": "b39b78e63d3446f2e54ddb7a54df9b10",
        },
    ),
    Record(
        "idmt-smt-guitar",
        "IDMT-SMT-Guitar",
        "https://zenodo.org/records/7544110",
        "CC BY-NC-ND 4.0",
        1.3,
        "For evaluation only, says its publisher; no changed copies may be shared.",
        {"IDMT-SMT-GUITAR_V2.zip": "06796e08731bccffaed6ae59361486e4"},
    ),
    # Size and md5 as three public programs that download it have them; nobody here has.
    Record(
        "daps",
        "DAPS: device and produced speech",
        "https://zenodo.org/records/4660670",
        "CC BY-NC 4.0",
        16.1,
        "Twenty speakers, the first word of a file name; cleanraw holds breaths and lip smacks.",
        {"daps.tar.gz": "303c130b7ce2e02b59c7ca5cd595a89c"},
    ),
    Record(
        "audealize",
        "Audealize: what listeners of SocialEQ set for a word",
        "https://github.com/interactiveaudiolab/audealize_api",
        "not stated",
        0.001,
        "Equaliser curves for 394 words, published for research without a licence file.",
        {"eqdescriptors.json": "bcb3cd898d49b2316fa9bcfff8dc015b"},
        "https://raw.githubusercontent.com/interactiveaudiolab/audealize_api/"
        "01c59eaf6e5f0015084b8591e850e88f400d921a/static/data/",
    ),
)


def records() -> dict[str, Record]:
    """All data sets by name."""
    return {record.name: record for record in _RECORDS}


def get(name: str, *, accept_licence: bool = False, files: tuple[str, ...] | None = None) -> Path:
    """The folder of a data set: what is missing is downloaded, checked by its md5, and unpacked.

    Each archive has a subfolder of its name, which `AudioFolder` reads. A file that you put into
    the folder by hand is taken, and kept, when its md5 matches.

    Args:
        files: the names wanted; None is all files of the record.

    Raises:
        LicenceError: without `accept_licence`.
        DatasetUnavailable: offline, or a wrong md5; with the name, address and place of the file.
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
        raise LicenceError(f"{terms} Read the licence, then pass accept_licence=True.")
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
