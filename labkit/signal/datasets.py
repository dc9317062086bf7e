"""Public recordings of guitars and voices, downloaded on request: checksummed, resumable, their licence said aloud.

Nothing here runs by itself and nothing in the course needs it; whoever has a connection can train or test on
more.
"""

import hashlib
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.signal.optional import need
from labkit.signal.paths import cache_dir

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30


class DatasetUnavailable(RuntimeError):  # noqa: N818 - the world's state, not an error
    """A file could not be fetched or is not what it should be; the message says how to place it by hand."""


class LicenceError(ValueError):
    """The licence was not accepted; the message says what it is and how to accept it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: its name, its published md5, and its size in MB where known."""

    name: str
    md5: str
    megabytes: float | None = None


@dataclass(frozen=True)
class Record:
    """A published data set.

    Attributes:
        name: how `get` calls it.
        title: its full name.
        page: where a person reads about it and its licence.
        url: where its files lie; a file is at `url` + its name.
        licence: short name of the licence.
        gigabytes: size of all files.
        files: the files that the course can use.
        note: what to know before using it.
        restricted: the licence forbids commercial use or derivatives; `get` warns.
    """

    name: str
    title: str
    page: str
    url: str
    licence: str
    gigabytes: float
    files: tuple[RemoteFile, ...]
    note: str
    restricted: bool = False


def _zenodo(number: int, **facts: object) -> Record:
    page = f"https://zenodo.org/records/{number}"
    return Record(page=page, url=f"{page}/files/", **facts)


_EGFXSET = _zenodo(
    7044411,
    name="egfxset",
    title="EGFxSet: electric guitar tones processed through real effects",
    licence="CC BY 4.0",
    gigabytes=5.8,
    note="Single notes, one setting per pedal. Clean.zip holds the dry notes.",
    files=(
        RemoteFile("Clean.zip", "cdb1b401960f56becc8640387910e78a"),
        RemoteFile("BluesDriver.zip", "b1d6dce9064a25a1cff2a0c40c30a2e4"),
        RemoteFile("Chorus.zip", "3698b3b1756917f93dadf27517d48479"),
        RemoteFile("Digital-Delay.zip", "4a25d57bcb0083667bade7b3c42460bc"),
        RemoteFile("Flanger.zip", "f3f7b39c895a400d35c5b1314a1122bd"),
        RemoteFile("Hall-Reverb.zip", "c173bebdcbed50d4bc8803e0b30d6517"),
        RemoteFile("Phaser.zip", "1842e2643dd34d7285a77506ca540df3"),
        RemoteFile("Plate-Reverb.zip", "abbcc68d692f323e8af6aeb8d478c40d"),
        RemoteFile("RAT.zip", "afe9fc757a51d04126c23159706f4e8e"),
        RemoteFile("Spring-Reverb.zip", "21afc47594ed8f37db008f313e50c634"),
        RemoteFile("Sweep-Echo.zip", "ea6dda440e9af6a19173facdf2bf17ac"),
        RemoteFile("TapeEcho.zip", "77adf4a6a8ed4eb566b2b8e77735c7dc"),
        RemoteFile("TubeScreamer.zip", "b9c46ed65037d0bd17bdf82dc3125beb"),
        RemoteFile("egfxset_metadata.csv", "ec8d160fe79469c7de8cad528d7d35e1"),
    ),
)
_GUITAR_TECHS = _zenodo(
    14963133,
    name="guitar-techs",
    title="Guitar-TECHS: electric guitar techniques, excerpts, chords and scales",
    licence="CC BY 4.0",
    gigabytes=4.1,
    note="Direct input and microphones; split by player (P1, P2, P3), not by file.",
    files=(
        RemoteFile("P1_chords.zip", "be9ef8bbdceb1912d565254e607a6d94", 981.7),
        RemoteFile("P1_scales.zip", "9c0b98e8fb42a522df727ea8bf545e4f", 453.3),
        RemoteFile("P1_singlenotes.zip", "ca0c4674dde3805574685a313f7c39eb", 108.6),
        RemoteFile("P1_techniques.zip", "18634a41a6db5a8de10d07eb3122a872", 326.3),
        RemoteFile("P2_chords.zip", "eb6f74dd19162237189281688ad7ad2e", 1150.8),
        RemoteFile("P2_scales.zip", "96664853872f51e5f8aa4447313b7cf5", 471.3),
        RemoteFile("P2_singlenotes.zip", "40fbf03d8b04bb2cf42df20f36dc2254", 116.1),
        RemoteFile("P2_techniques.zip", "f4189251ce50be25f06a173b2c2bba00", 395.8),
        RemoteFile("P3_music.zip", "071ba80aecf00f4a31fbd167b3f22198"),
    ),
)
_GUITARSET = _zenodo(
    3371780,
    name="guitarset",
    title="GuitarSet: acoustic guitar with a microphone and a hexaphonic pickup",
    licence="CC BY 4.0",
    gigabytes=1.4,
    note="Six players, the first two digits of a file name; split by player.",
    files=(
        RemoteFile("audio_mono-mic.zip", "275966d6610ac34999b58426beb119c3", 656.9),
        RemoteFile("audio_mono-pickup_mix.zip", "aecce79f425a44e2055e46f680e10f6a", 683.1),
        RemoteFile("annotation.zip", "b39b78e63d3446f2e54ddb7a54df9b10", 39.1),
    ),
)
_IDMT_GUITAR = _zenodo(
    7544110,
    name="idmt-smt-guitar",
    title="IDMT-SMT-Guitar",
    licence="CC BY-NC-ND 4.0",
    gigabytes=1.3,
    note="For evaluation only, says its publisher; no changed copies may be shared.",
    restricted=True,
    files=(RemoteFile("IDMT-SMT-GUITAR_V2.zip", "06796e08731bccffaed6ae59361486e4", 1300.0),),
)


_DAPS = _zenodo(
    4660670,
    name="daps",
    title="DAPS: device and produced speech",
    licence="CC BY-NC 4.0",
    gigabytes=16.1,
    note="Twenty speakers, the first word of a file name; cleanraw holds breaths and lip smacks, clean does not.",
    restricted=True,
    # Size and md5 as three public programs that download it have them; nobody here has downloaded it.
    files=(RemoteFile("daps.tar.gz", "303c130b7ce2e02b59c7ca5cd595a89c", 16_055.8),),
)


def records() -> dict[str, Record]:
    """All data sets by name."""
    return {
        record.name: record for record in (_EGFXSET, _GUITAR_TECHS, _GUITARSET, _IDMT_GUITAR, _DAPS)
    }


def get(
    name: str | Record,
    *,
    accept_licence: bool = False,
    files: tuple[str, ...] | None = None,
    folder: str | os.PathLike | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Have a data set on disk: what is missing is downloaded, checked against its md5, and unpacked.

    An interrupted download goes on where it stopped. A file that you put into the folder by hand is taken
    after its md5 matches. Unpacking is atomic: a folder is there whole or not at all.

    Args:
        name: a key of `records()`, or a `Record` of your own.
        accept_licence: say that you have read the licence and keep to it.
        files: the names wanted; None is all files of the record.
        folder: where to keep it; None is `cache_dir() / "datasets" / name`.
        say: takes lines of progress, the licence among them.

    Returns:
        The folder; each archive is unpacked into a subfolder of its name. `AudioFolder` reads it.

    Raises:
        ValueError: an unknown data set or file.
        LicenceError: without `accept_licence`.
        DatasetUnavailable: offline, or a wrong md5; with the name, address and place of the file.
    """
    record = name if isinstance(name, Record) else _find(records(), name, "data set")
    wanted = {file.name: file for file in record.files}
    chosen = [_find(wanted, file, f"file of {record.name}") for file in files or wanted]
    terms = f"{record.title} ({record.page}), {record.gigabytes:g} GB, is licensed {record.licence}. {record.note}"
    if record.restricted:
        terms += " Warning: no commercial use, and nothing derived from it may be published."
    if not accept_licence:
        raise LicenceError(f"{terms} Read the licence, then pass accept_licence=True.")
    say(terms)
    folder = Path(folder) if folder is not None else cache_dir() / "datasets" / record.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        _have(record, file, folder, say)
    return folder


def _find(known: dict, name: str, what: str):
    if name not in known:
        raise ValueError(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return known[name]


def _have(record: Record, file: RemoteFile, folder: Path, say: Callable[[str], None]) -> None:
    archive, unpacked = (
        folder / file.name,
        folder / file.name.removesuffix(".zip").removesuffix(".tar.gz"),
    )
    packed = file.name.endswith((".zip", ".tar.gz"))
    if packed and unpacked.is_dir():
        return
    by_hand = archive.exists()
    if by_hand:
        _check_md5(record, file, archive)
    else:
        size = f", {file.megabytes:.0f} MB" if file.megabytes else ""
        say(f"{file.name}{size}: from {record.url}")
        _download(record, file, archive)
    if packed:
        _unpack(archive, unpacked)
        if not by_hand:
            archive.unlink()


def _advice(record: Record, file: RemoteFile, archive: Path) -> str:
    return (
        f"Fetch {record.url}{file.name} (see {record.page}) by hand, put it at {archive} and try again; "
        f"its md5 must be {file.md5}."
    )


def _check_md5(record: Record, file: RemoteFile, archive: Path) -> None:
    with open(archive, "rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != file.md5:
        advice = _advice(record, file, archive)
        raise DatasetUnavailable(
            f"{archive} has md5 {found}, not the published one: delete it. {advice}"
        )


def _download(record: Record, file: RemoteFile, archive: Path) -> None:
    pooch, requests = need("pooch"), need("requests")
    part = archive.with_name(archive.name + ".part")

    def fetch(url: str, output: str, _: object) -> None:
        _resume(requests, url, part)
        os.replace(part, output)

    address = f"{record.url}{file.name}"
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(
            address, f"md5:{file.md5}", fname=archive.name, path=archive.parent, downloader=fetch
        )
    except requests.RequestException as error:
        reason = f"{address} could not be reached ({type(error).__name__})"
        raise DatasetUnavailable(f"{reason}. {_advice(record, file, archive)}") from error
    except ValueError as error:  # pooch: the hash of what arrived is not the one asked for
        reason = f"what {address} sent has another md5 than published, and was deleted"
        raise DatasetUnavailable(f"{reason}. {_advice(record, file, archive)}") from error


def _resume(requests, url: str, part: Path) -> None:
    """Download into `part`, going on after what it holds; gives up after several attempts without a byte."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _append(requests, url, part)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ):
            progress = part.exists() and part.stat().st_size > before
            failures = 0 if progress else failures + 1
            if failures == _ATTEMPTS:
                raise
            time.sleep(0.2 * 4**failures)


def _append(requests, url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if (
            answer.status_code == 416
        ):  # nothing after what is there: complete, which the md5 decides
            return
        answer.raise_for_status()
        with open(part, "ab" if answer.status_code == 206 else "wb") as out:
            for block in answer.iter_content(1 << 16):
                out.write(block)


def _unpack(archive: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                members = [name for name in zipped.namelist() if not name.startswith("__MACOSX/")]
                zipped.extractall(temporary, members)
            os.replace(temporary, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter=_no_twins)
            # A folder around everything, with the archive's own name, is left out.
            os.replace(
                temporary / folder.name if (temporary / folder.name).is_dir() else temporary, folder
            )
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        kind = "zip" if archive.suffix == ".zip" else "tar"
        raise DatasetUnavailable(f"{archive} is not a {kind} file ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _no_twins(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """The filter of tarfile, without the ._twins that a Mac adds to every file."""
    return None if Path(member.name).name.startswith("._") else tarfile.data_filter(member, path)
