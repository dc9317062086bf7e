"""A chain of pedals as a program in Faust, and what is compiled of it: a renderer, an LV2 plug-in.

The pedals stand in `faust/*.lib`, a file for each family's module. A pedal has a function of its
name there, whose arguments are its knobs in their order; one that joins its channels has a second
function for two channels, NAME_stereo.
"""

import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from labkit.effects.chain import Chain, Step
from labkit.effects.effect import Effect
from labkit.effects.registry import effect
from labkit.signal.files import check_audio
from labkit.signal.paths import replacing

FOLDER = Path(__file__).with_name("faust")
_INCLUDED = [Path("/usr/include"), Path("/usr/local/include"), Path("/opt/homebrew/include")]
_URI = "urn:labkit:chain"
# Debian's package -> what is taken from it.
_LV2_HEADERS = {"lv2-dev": "lv2/lv2plug.in/ns/lv2core/lv2.h", "libboost-dev": "boost/version.hpp"}


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
        knobs = ",\n    ".join(_sliders(record, step, number))
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


def _sliders(record: Effect, step: Step, number: int) -> Iterator[str]:
    for place, knob in enumerate(record.space.parameters):
        value = step.params[knob.name]
        low, high = min(knob.low, value), max(knob.high, value)  # a gain may leave its range
        meta = f" [unit:{knob.unit}]" if knob.unit else ""
        meta += " [scale:log]" if knob.scale == "log" else ""
        label = f"v:{number} {record.name}/[{place}]{knob.name}{meta}"
        yield f'hslider("{label}", {value!r}, {low!r}, {high!r}, {(high - low) / 1000:.0e})'


def missing(*, lv2: bool = False) -> str:
    """What must be installed to compile a program, in words; "" where nothing must."""
    packages = [name for name in ("faust", "g++") if shutil.which(name) is None]
    if lv2:
        for name, header in _LV2_HEADERS.items():
            packages += [] if any((place / header).is_file() for place in _INCLUDED) else [name]
    return f"apt-get install {' '.join(packages)}" if packages else ""


class Renderer:
    """A compiled Faust program, which plays audio as a plug-in would.

    Raises:
        FileNotFoundError: naming the packages, where Faust or a compiler is missing.
        RuntimeError: with what the compiler said, where it fails.
    """

    def __init__(self, text: str) -> None:
        place = Path(tempfile.mkdtemp(prefix="labkit-faust-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        (place / "chain.dsp").write_text(text, encoding="utf-8")
        translate = ["faust", "-a", str(FOLDER / "render.cpp"), "chain.dsp", "-o", "chain.cpp"]
        _run(translate, place, missing())
        _run(["g++", "-O2", "chain.cpp", "-o", "chain"], place, missing())
        self._program = place / "chain"

    def __call__(
        self, audio: np.ndarray, sample_rate: int, values: Iterable[float] = ()
    ) -> np.ndarray:
        """(channels, samples) float32, from rest; `values` are the first sliders', in units."""
        audio = check_audio(audio, sample_rate)
        numbers = [sample_rate, audio.shape[1], *map(float, values)]
        done = subprocess.run(
            [self._program, *map(str, numbers)],
            input=np.ascontiguousarray(audio).tobytes(),
            capture_output=True,
            check=True,
        )
        return np.frombuffer(done.stdout, np.float32).reshape(-1, audio.shape[1]).copy()


def build_lv2(chain: Chain, bundle: Path, *, channels: int = 1) -> None:
    """Compile the chain into an LV2 bundle, the folder NAME.lv2, by Faust's own `faust2lv2`.

    Its URI is ``urn:labkit:chain/NAME``. Raises as `Renderer`.
    """
    text, name = program(chain, channels=channels), re.sub(r"\W", "_", bundle.stem)
    with tempfile.TemporaryDirectory(prefix="labkit-faust-") as folder:
        place = Path(folder)
        (place / f"{name}.dsp").write_text(text, encoding="utf-8")
        _run(
            ["faust2lv2", "-nomidicc", "-uri-prefix", _URI, f"{name}.dsp"], place, missing(lv2=True)
        )
        # Faust writes six digits of the knobs' settings; a delay needs more.
        exact = iter([value for _, params in chain for value in params.values()])
        description = place / f"{name}.lv2" / f"{name}.ttl"
        lines = description.read_text(encoding="utf-8")
        lines = re.sub(r"lv2:default \S+", lambda _: f"lv2:default {next(exact):.9f}", lines)
        description.write_text(lines, encoding="utf-8")
        with replacing(bundle) as temporary:
            shutil.copytree(place / f"{name}.lv2", temporary)


def _run(command: Sequence[str], folder: Path, install: str) -> None:
    if install:
        raise FileNotFoundError(f"Faust cannot compile here: {install}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{command[0]} failed: {said[-1]}")
