"""A chain of pedals as a Faust program, and what is compiled from it: a renderer, plug-ins.

The pedals stand in `faust/*.lib`, a file for each family's module. A pedal has a function of its
name there, whose arguments are its knobs in their order; one that joins its channels has a second
function for two channels, NAME_stereo.
"""

import platform
import re
import shutil
import subprocess
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.effect import Effect
from labkit.effects.registry import effect
from labkit.signal.files import check_audio
from labkit.signal.paths import replacing

FOLDER = Path(__file__).with_name("faust")
_ROOTS = [Path("/usr"), Path("/usr/local"), Path("/opt/homebrew")]
# Kind of plug-in -> Debian's packages that it needs -> what is taken from them.
_NEEDED = {
    "": {},
    ".lv2": {
        "lv2-dev": "include/lv2/lv2plug.in/ns/lv2core/lv2.h",
        "libboost-dev": "include/boost/version.hpp",
    },
    ".vst3": {"dpf-source": "share/dpf/distrho/DistrhoPluginMain.cpp"},
}


def program(chain: Chain, *, channels: int = 1) -> str:
    """One Faust program, which needs no other file: a slider for every knob, set as in the chain.

    Args:
        channels: of the plug-in, 1 or 2. A reverb plays two channels in one room.

    Raises:
        ValueError: for another number of channels, and for a pedal without a Faust function.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, got {channels}")
    records = [effect(step.effect) for step in chain.steps]
    files = dict.fromkeys([FOLDER / "common.lib", *map(_family, records)])
    texts = {file: file.read_text(encoding="utf-8").strip() for file in files}
    parts, played = [f"// {chain}", *texts.values(), "// The chain."], []
    for number, (record, step) in enumerate(zip(records, chain.steps, strict=True), start=1):
        name, function = f"{record.name}_{number}", record.name
        if joined := channels == 2 and _defines(texts[_family(record)], f"{function}_stereo"):
            function = f"{function}_stereo"
        # Faust puts groups in the order of their labels, where 10 comes before 2.
        label = f"{number:0{len(str(len(chain)))}d} {record.name}"
        knobs = ",\n    ".join(_sliders(record, step, label))
        parts.append(f"{name} = {function}(\n    {knobs});")
        played.append(name if joined or channels == 1 else f"par(i, 2, {name})")
    parts.append(f"process = {' : '.join(played) or ', '.join('_' * channels)};")
    return "\n\n".join(parts) + "\n"


def _family(record: Effect) -> Path:
    """The file that holds a pedal's Faust function."""
    module = record.differentiable.__module__ or ""  # a reader's function may have none
    file = FOLDER / f"{module.split('.')[-1]}.lib"
    if not file.is_file() or not _defines(file.read_text(encoding="utf-8"), record.name):
        raise ValueError(f"{record.name} has no Faust function in {FOLDER.name}/*.lib")
    return file


def _defines(text: str, name: str) -> bool:
    return re.search(rf"^{name}\b.*=", text, re.MULTILINE) is not None


def _sliders(record: Effect, step: Step, group: str) -> Iterator[str]:
    for place, knob in enumerate(record.space.parameters):
        value = step.params[knob.name]
        low, high = min(knob.low, value), max(knob.high, value)  # a gain may leave its range
        meta = f" [unit:{knob.unit}]" if knob.unit else ""
        meta += " [scale:log]" if knob.scale == "log" else ""
        label = f"v:{group}/[{place}]{knob.name}{meta}"
        yield f'hslider("{label}", {value!r}, {low!r}, {high!r}, {(high - low) / 1000:.0e})'


def missing(kind: Literal["", ".lv2", ".vst3"] = "") -> str:
    """What to install to compile a program or a plug-in, in words; "" if nothing is missing."""
    packages = [name for name in ("faust", "g++") if shutil.which(name) is None]
    packages += [name for name, file in _NEEDED[kind].items() if _installed(file) is None]
    return f"apt-get install {' '.join(packages)}" if packages else ""


def _installed(file: str) -> Path | None:
    return next((root / file for root in _ROOTS if (root / file).is_file()), None)


class Renderer:
    """A compiled Faust program, which plays audio as a plug-in would.

    Raises:
        FileNotFoundError: naming the packages, where Faust or a compiler is missing.
        RuntimeError: with what the compiler said, where it fails.
    """

    def __init__(self, text: str) -> None:
        if install := missing():
            raise FileNotFoundError(f"Faust cannot compile here: {install}")
        place = Path(tempfile.mkdtemp(prefix="labkit-faust-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        (place / "chain.dsp").write_text(text, encoding="utf-8")
        translate = ["faust", "-a", str(FOLDER / "render.cpp"), "chain.dsp", "-o", "chain.cpp"]
        _run(translate, place)
        _run(["g++", "-O2", "chain.cpp", "-o", "chain"], place)
        self._program = place / "chain"

    def __call__(
        self, audio: np.ndarray, sample_rate: int, values: Iterable[float] = ()
    ) -> np.ndarray:
        """(channels, samples) float32, from rest; `values` are the first sliders', in units.

        More values than sliders turn the knobs: they are set anew after equal parts of the audio.
        """
        audio = check_audio(audio, sample_rate)
        numbers = [sample_rate, audio.shape[1], *map(float, values)]
        done = subprocess.run(
            [self._program, *map(str, numbers)],
            input=np.ascontiguousarray(audio).tobytes(),
            capture_output=True,
            check=True,
        )
        return np.frombuffer(done.stdout, np.float32).reshape(-1, audio.shape[1]).copy()


def build_plugin(chain: Chain, bundle: Path, *, channels: int = 1) -> None:
    """Compile the chain into a plug-in, the folder NAME.lv2 or NAME.vst3.

    An LV2 is made by Faust's own `faust2lv2`, and its URI is ``urn:labkit:chain/NAME``; a VST3 by
    the DISTRHO Plugin Framework. Raises as `Renderer`, and ValueError for another ending.
    """
    if bundle.suffix not in (".lv2", ".vst3"):
        raise ValueError(f"bundle must end in .lv2 or .vst3, got {bundle.name}")
    if install := missing(bundle.suffix):
        raise FileNotFoundError(f"Faust cannot compile here: {install}")
    name = re.sub(r"\W", "_", bundle.stem)
    with tempfile.TemporaryDirectory(prefix="labkit-faust-") as folder:
        source = Path(folder) / f"{name}.dsp"
        source.write_text(program(chain, channels=channels), encoding="utf-8")
        built = source.with_suffix(bundle.suffix)
        if bundle.suffix == ".lv2":
            _build_lv2(source, [value for _, params in chain for value in params.values()])
        else:  # a host looks for a file of the bundle's name
            binary = built / "Contents" / f"{platform.machine()}-linux" / f"{bundle.stem}.so"
            _build_vst3(source, binary, channels)
        with replacing(bundle) as temporary:
            shutil.copytree(built, temporary)


def _build_lv2(source: Path, values: Iterable[float]) -> None:
    _run(["faust2lv2", "-nomidicc", "-uri-prefix", "urn:labkit:chain", source.name], source.parent)
    # Faust writes six digits of the knobs' settings; a delay needs more.
    exact = iter(values)
    description = source.with_suffix(".lv2") / f"{source.stem}.ttl"
    lines = description.read_text(encoding="utf-8")
    lines = re.sub(r"lv2:default \S+", lambda _: f"lv2:default {next(exact):.9f}", lines)
    description.write_text(lines, encoding="utf-8")


def _build_vst3(source: Path, binary: Path, channels: int) -> None:
    _run(["faust", "-a", FOLDER / "vst3.cpp", source.name, "-o", "chain.cpp"], source.parent)
    binary.parent.mkdir(parents=True)
    name, framework = source.stem, _installed(_NEEDED[".vst3"]["dpf-source"])
    facts = {"NAME": f'"{name}"', "CHANNELS": channels, "ID": zlib.crc32(name.encode())}
    command = ["g++", "-O2", "-std=gnu++17", "-shared", "-fPIC", "-fvisibility=hidden"]
    command += ["-DDISTRHO_PLUGIN_TARGET_VST3", *(f"-DCHAIN_{k}={v}" for k, v in facts.items())]
    command += [f"-I{FOLDER}", f"-I{framework.parent}", "chain.cpp", framework]
    _run([*command, "-o", binary], source.parent)


def _run(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        said = next((line for line in said if "error" in line.lower()), said[-1])
        raise RuntimeError(f"{command[0]} failed: {said}")
