"""Where the project keeps what it ships, what it caches, and where real recordings may lie."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import itertools
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_HOST = re.sub(r"\W", "_", platform.node())
# Where Linux and macOS keep plug-ins, and the variable that names other folders instead.
_PLUGIN_FOLDERS = {
    "VST3": ("VST3_PATH", "~/.vst3 /usr/local/lib/vst3 /usr/lib/vst3 /Library/Audio/Plug-Ins/VST3"),
    "LV2": ("LV2_PATH", "~/.lv2 /usr/local/lib/lv2 /usr/lib/lv2 /Library/Audio/Plug-Ins/LV2"),
    "VST2": ("VST_PATH", "~/.vst /usr/local/lib/vst /usr/lib/vst /Library/Audio/Plug-Ins/VST"),
}
_SOUNDFONT_FOLDERS = (
    "/usr/share/sounds/sf2 /usr/share/soundfonts /usr/local/share/soundfonts "
    "~/.local/share/sounds/sf2 ~/Library/Audio/Sounds/Banks /Library/Audio/Sounds/Banks "
    "/opt/homebrew/share/soundfonts C:/soundfonts ~/Documents/SoundFonts"
)


def data_dir() -> Path:
    """The repository's `data/` folder: phrases, shipped checkpoints, results."""
    return Path(__file__).resolve().parents[2] / "data"


def cache_dir() -> Path:
    """Where downloads and pools are kept: `$LABKIT_CACHE`, else `~/.cache/labkit` (created)."""
    path = Path(os.environ.get("LABKIT_CACHE") or Path.home() / ".cache" / "labkit")
    path.mkdir(parents=True, exist_ok=True)
    return path


def real_data_dir() -> Path | None:
    """Real recordings: `$LABKIT_REAL_DATA`, else `shared/data` beside the checkout, else None."""
    path = Path(os.environ.get("LABKIT_REAL_DATA") or data_dir().parents[1] / "shared" / "data")
    return path if path.is_dir() else None


def plugin_folders(kind: Literal["VST3", "LV2", "VST2"]) -> list[Path]:
    """The folders here that may hold plug-ins: `$VST3_PATH` and its like, else the usual ones."""
    variable, usual = _PLUGIN_FOLDERS[kind]
    named = os.environ[variable].split(os.pathsep) if os.environ.get(variable) else usual.split()
    return [path for path in (Path(folder).expanduser() for folder in named) if path.is_dir()]


def soundfont_places() -> list[Path]:
    """Where FluidR3_GM.sf2 may lie: `$LABKIT_SOUNDFONT`, else in the usual folders."""
    wanted = os.environ.get("LABKIT_SOUNDFONT")
    folders = [Path(folder).expanduser() for folder in _SOUNDFONT_FOLDERS.split()]
    return [Path(wanted)] if wanted else [folder / "FluidR3_GM.sf2" for folder in folders]


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` to write to: renamed to it at the end, removed after an error.

    A reader sees the old file (or folder) or the whole new one, also after a power cut. Parent
    folders are made. What dead processes left half written beside it is removed. OSError naming
    `path` if it cannot be written: a full disk, a folder that is read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.part{path.suffix}")
    try:
        with named(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            yield temporary
            if temporary.is_file():
                with open(temporary, "rb") as file:
                    os.fsync(file)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


@contextlib.contextmanager
def named(path: Path, *others: Path) -> Iterator[None]:
    """Where writing to `path` or `others` fails: an OSError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        ours = error.filename and Path(error.filename) in (path, *others, *path.parents)
        if ours or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason = os.strerror(error.errno)
            raise OSError(f"{path}: cannot be written ({reason})") from error
        raise
    except RuntimeError as error:
        # libsndfile does not pass on which error of the system it met.
        if type(error).__module__ == "soundfile" and getattr(error, "code", None) == 2:
            raise OSError(f"{path}: cannot be written (is the disk full?)") from error
        raise


def _sweep(folder: Path) -> None:
    """Remove temporary files of processes that are gone; those of other machines after a day."""
    for left in folder.glob(".*.part*"):
        owner = re.search(r"\.(\w+)-(\d+)\.part", left.name)
        with contextlib.suppress(OSError):
            old = left.stat().st_mtime < time.time() - 86_400
            if owner and (old or (owner[1] == _HOST and _is_gone(int(owner[2])))):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's
        pass
    return False


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, by the file `lock` in it that holds the process's id.

    The lock of a process that died is taken over. ValueError if a living one holds it.
    """
    with open(folder / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{folder} is in use by process {file.read().strip()}: wait for it, or give "
                "another folder"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def read_text(path: str | os.PathLike) -> str:
    """A text that a user gave, in UTF-8 with or without a byte order mark.

    Raises ValueError, or OSError, naming it: a pipe or a folder, more than 16 MB, other bytes.
    """
    path = Path(path)
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > 1 << 24:
        raise ValueError(f"{path}: a text file of at most 16 MB was expected")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: text in UTF-8 was expected ({error})") from error


def replace_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 through `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def new_files(folder: Path | None, name: str, *endings: str) -> list[Path]:
    """Paths NAME + ending in a folder (`output/NAME` when None), of which none exists yet.

    So no output replaces an input or an earlier result: where one of the files exists, or another
    process got the same answer, all get a number (NAME_2, NAME_3, ...). What no file system takes
    in `name` becomes an underscore. OSError if nothing can be written there.
    """
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]+', "_", name).strip(" .")[:60]
    # A file system takes 255 bytes, of which endings and temporary names need some.
    name = os.fsencode(name)[:120].decode(errors="ignore").strip(" .") or "sound"
    folder = Path("output") / name if folder is None else Path(folder)
    for number in itertools.count(1):
        stem = name if number == 1 else f"{name}_{number}"
        paths = [folder / f"{stem}{ending}" for ending in endings]
        if _is_claimed(folder / stem) and not any(map(os.path.lexists, paths)):
            check_writable(paths[0])
            return paths


def check_writable(path: Path) -> None:
    """An OSError naming `path` if it is a folder, or no file can be made there."""
    folder = next(one for one in path.absolute().parents if os.path.lexists(one))
    if path.is_dir() or not folder.is_dir():
        reason = "it is a folder" if path.is_dir() else f"{folder} is not a folder"
        raise OSError(f"{path}: cannot be written ({reason})")
    if not os.access(folder, os.W_OK):
        raise OSError(f"{path}: cannot be written (no permission for {folder})")


def _is_claimed(path: Path) -> bool:
    """Whether this process got the path for itself, until it ends; True where there are no locks.

    A claim is the lock of one byte of a file in the cache, so nothing is left of it.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).digest()
    with contextlib.suppress(OSError):
        locks = _locks()
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int.from_bytes(digest[:7], "big"))
        except (BlockingIOError, PermissionError):
            return False
    return True


@functools.cache
def _locks() -> int:
    # It stays open: to close it would give up all claims.
    return os.open(cache_dir() / "claims.lock", os.O_RDWR | os.O_CREAT, 0o600)
