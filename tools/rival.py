"""syntheon, another program from a sound to a Vital preset, on the recorded notes of our exam.

    rival.py PYTHON [--n 20]       PYTHON runs an environment with syntheon

syntheon needs old versions of other packages, so it has an environment of its own: `python3.11 -m
venv --system-site-packages rival`, then `rival/bin/pip install --no-deps syntheon==0.1.0 nnAudio
torchvision==0.26.0`. It is given each note's key, which ours
has to find. Writes its row into data/results/synth.json beside ours on the same notes: every third
recorded note, `labkit evaluate synth`. Needs `LABKIT_REAL_DATA`.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.registry import Synth
from labkit.measure.losses import multi_scale_spectral
from labkit.measure.score import read, row, write
from labkit.signal.files import write_audio
from labkit.systems import synth as system
from labkit.systems.synth.model import SAMPLE_RATE, mono
from labkit.systems.synth.score import sounds_of

_NAME = "syntheon 0.1.0, key given"
_OURS = ("recorded", "labkit synth", "MSS")
# Its tracker of pitch is replaced by the key; librosa's arguments had no names when it was written.
_ASK = """
import sys, types
import librosa
import numpy as np
hz = float(sys.argv[1])
class Known:
    def predict(self, audio, step_size, sr, **_):
        return np.full(1 + 1000 * len(audio) // (sr * step_size), hz)
sys.modules["torchcrepeV2"] = types.SimpleNamespace(ONNXTorchCrepePredictor=Known)
load = librosa.load
librosa.load = lambda path, sr=22050, **more: load(path, sr=sr, **more)
from syntheon import infer_params
infer_params("note.wav", "vital", enable_eval=False)
"""


def preset(python: str, audio: np.ndarray, key: float, folder: Path) -> str:
    """The preset of syntheon for a note (samples,) of a MIDI key, as text."""
    write_audio(folder / "note.wav", audio[None], SAMPLE_RATE)
    hz = str(440 * 2 ** ((key - 69) / 12))
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-c", _ASK, hz], cwd=folder, check=True, env=own)
    return (folder / "vital_output.vital").read_text(encoding="utf-8")


def main() -> None:
    """Ask about every note, and write the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python")
    parser.add_argument("--n", type=int, default=1000, help="notes, to try it")
    given = parser.parse_args()
    heard = system.load().config.sound
    values, names = [], []
    with Synth(heard.spec) as synth, tempfile.TemporaryDirectory() as folder:
        notes = sounds_of("recorded", heard, synth, Path("nowhere"), 0)
        for sound in [one for one in notes if one.refined][: given.n]:
            text = preset(given.python, sound.audio, sound.key, Path(folder))
            note = {"note_pitch": sound.key, "note_seconds": heard.seconds}
            try:
                audio = mono(synth.play(text, note, seconds=heard.seconds))[0]
                values.append(multi_scale_spectral(audio, sound.audio, SAMPLE_RATE))
            except (PluginError, ValueError) as error:
                print(f"{sound.name}, key {sound.key}: {error}")
                continue
            names.append(sound.name)
            print(f"{sound.name}, key {sound.key}: {values[-1]:.2f} dB", flush=True)
    rows = read("synth")
    ours = next(one for one in rows if (one.sources, one.name, one.metric) == _OURS)
    facts = {"protocol": ours.protocol, "sources": "recorded", "seed": ours.seed}
    found = row(values, names, name=_NAME, metric="MSS", unit="dB", **facts)
    print(f"syntheon {found.ours:.2f} dB, ours {ours.ours:.2f} dB, n {found.n} and {ours.n}")
    if found.n == ours.n:
        write("synth", [*(one for one in rows if one.name != _NAME), found])


if __name__ == "__main__":
    main()
