"""The page where a visitor plays: every pedal as a WebAssembly module, by Faust, beside a board."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parents[2]
PAGE = """# Play the pedals

Put pedals in an order, turn their knobs, and play a riff or your own instrument through them. All
of it happens in this page, and nothing is sent anywhere. The pedals are those of the course.

<div id="labkit-live"></div>
<script type="module" src="_static/live/live.js"></script>
"""


def write_live(source):
    """Write `play.md` and its files where Sphinx reads; False where Faust is missing."""
    if shutil.which("faust") is None:
        print("The page with the pedals is left out: it needs Faust (apt-get install faust).")
        return False
    from labkit.effects.registry import EFFECTS
    from labkit.lab.board import INPUT_DBFS, _description
    from labkit.signal.sources import load_phrase
    from labkit.signal.units import set_rms

    folder = source / "_static" / "live"
    shutil.copytree(Path(__file__).with_name("live"), folder)
    shutil.copy(ROOT / "labkit" / "lab" / "board.js", folder)
    pedals = {name: {**_description(name), **compiled(name, folder)} for name in EFFECTS}
    (folder / "pedals.json").write_text(json.dumps(pedals), encoding="utf-8")
    riff, rate = load_phrase("riff")
    soundfile.write(folder / "riff.flac", set_rms(riff, INPUT_DBFS).mean(0), rate)
    (source / "play.md").write_text(PAGE, encoding="utf-8")
    return True


def compiled(name, folder):
    """Write NAME.wasm; the bytes of its state, and the place of every slider in it."""
    from labkit.effects.chain import Chain, Step
    from labkit.effects.faust import program
    from labkit.effects.registry import effect

    space = effect(name).space
    chain = Chain((Step(name, space.from_unit([0.5] * len(space))),))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "pedal.dsp").write_text(program(chain, channels=2), encoding="utf-8")
        # What decays must not become subnormal, which is a hundred times slower.
        command = ["faust", "-lang", "wasm", "-ftz", "2", "pedal.dsp", "-o", "pedal.wasm"]
        subprocess.run(command, cwd=place, check=True)
        shutil.copy(Path(place) / "pedal.wasm", folder / f"{name}.wasm")
        text = (Path(place) / "pedal.js").read_text(encoding="utf-8")
    facts = json.loads(re.search(r"return '(.*)'", text)[1])
    sliders = {slider["label"]: slider["index"] for slider in facts["ui"][0]["items"]}
    return {"size": facts["size"], "sliders": sliders}
