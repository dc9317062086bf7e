"""Where the project keeps what it ships, what it caches, and where real recordings may lie."""

import os
from pathlib import Path


def data_dir() -> Path:
    """The repository's `data/` folder: manifest, shipped checkpoints, results."""
    return Path(__file__).resolve().parents[2] / "data"


def cache_dir() -> Path:
    """Where downloads and rendered pools are kept: `$LABKIT_CACHE`, else `~/.cache/labkit` (created)."""
    path = Path(os.environ.get("LABKIT_CACHE", Path.home() / ".cache" / "labkit"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def real_data_dir() -> Path | None:
    """Real recordings for evaluation: `$LABKIT_REAL_DATA`, else `shared/data` beside the checkout, else None."""
    path = Path(os.environ.get("LABKIT_REAL_DATA", data_dir().parents[1] / "shared" / "data"))
    return path if path.is_dir() else None


def replace_text(path: Path, text: str) -> None:
    """Write `text` to a temporary name beside `path`, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
