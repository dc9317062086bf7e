"""Where the project keeps what it ships, what it caches, and where real recordings may lie."""

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

# Where Linux and macOS keep plug-ins, and the variable that names other folders instead.
_PLUGIN_FOLDERS = {
    "VST3": ("VST3_PATH", "~/.vst3 /usr/local/lib/vst3 /usr/lib/vst3 /Library/Audio/Plug-Ins/VST3"),
    "LV2": ("LV2_PATH", "~/.lv2 /usr/local/lib/lv2 /usr/lib/lv2 /Library/Audio/Plug-Ins/LV2"),
    "VST2": ("VST_PATH", "~/.vst /usr/local/lib/vst /usr/lib/vst /Library/Audio/Plug-Ins/VST"),
}


def data_dir() -> Path:
    """The repository's `data/` folder: phrases, shipped checkpoints, results."""
    return Path(__file__).resolve().parents[2] / "data"


def cache_dir() -> Path:
    """Where downloads and pools are kept: `$LABKIT_CACHE`, else `~/.cache/labkit` (created)."""
    path = Path(os.environ.get("LABKIT_CACHE", Path.home() / ".cache" / "labkit"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def real_data_dir() -> Path | None:
    """Real recordings: `$LABKIT_REAL_DATA`, else `shared/data` beside the checkout, else None."""
    path = Path(os.environ.get("LABKIT_REAL_DATA", data_dir().parents[1] / "shared" / "data"))
    return path if path.is_dir() else None


def plugin_folders(kind: Literal["VST3", "LV2", "VST2"]) -> list[Path]:
    """The folders here that may hold plug-ins: `$VST3_PATH` and its like, else the usual ones."""
    variable, usual = _PLUGIN_FOLDERS[kind]
    named = os.environ[variable].split(os.pathsep) if os.environ.get(variable) else usual.split()
    return [path for path in (Path(folder).expanduser() for folder in named) if path.is_dir()]


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` to write to: renamed to it at the end, removed after an error.

    A reader sees the old file (or folder) or the whole new one. Parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 through `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def new_files(folder: Path | None, name: str, *endings: str) -> list[Path]:
    """Paths NAME + ending in a folder (`output/NAME` when None), of which none exists yet.

    So no output replaces an input or an earlier result: where one of the files exists, all get a
    number (NAME_2, NAME_3, ...). What no file system takes in `name` becomes an underscore.
    """
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]+', "_", name).strip(" .")[:60] or "sound"
    folder = Path("output") / name if folder is None else folder
    for number in itertools.count(1):
        stem = name if number == 1 else f"{name}_{number}"
        paths = [folder / f"{stem}{ending}" for ending in endings]
        if not any(map(os.path.lexists, paths)):
            return paths
