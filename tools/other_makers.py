"""What pedal order says of effects by ffmpeg and SoX, one at a time, on guitars never trained on.

    other_makers.py [--n 25]       n clips of 4 s of recorded test groups for each effect
    other_makers.py --split validation --checkpoint FILE      to choose between networks

Printed: the share in which the family is named (or, for effects that no shelf has, refused as an
unknown pedal), alone, and in the likeliest chain that is not empty, said or not. The shelf is that
of six, or another (`--shelf`). Needs `LABKIT_REAL_DATA` and the two programs. Settings are drawn;
the seed is fixed. With `--split test`, 24 notes through real units (EGFxSet) come last.
"""

import argparse
import itertools
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from labkit.signal.files import read_audio, write_audio
from labkit.signal.paths import real_data_dir
from labkit.signal.pool import dry_pool
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms
from labkit.systems import pedal_order
from labkit.systems.pedal_order.predict import OTHER_PEDAL

RATE = 44_100
# Effect -> families of which one must be named ("other": refused), and its settings with ranges.
FFMPEG = {
    "chorus=0.7:0.9:{}:{}:{}:{}": ("chorus", (20, 50), (0.3, 0.7), (0.3, 2), (1, 4)),
    "aphaser=decay={}:speed={}:delay={}": ("phaser", (0.4, 0.8), (0.3, 1.5), (2, 5)),
    "flanger=depth={}:regen={}:speed={}": ("chorus phaser flanger", (2, 8), (0, 70), (0.2, 1)),
    "vibrato=f={}:d={}": ("chorus vibrato other", (3, 8), (0.3, 0.8)),
    "tremolo=f={}:d={}": ("tremolo other", (3, 9), (0.6, 0.95)),
    "aecho=0.8:0.8:{}:{}": ("delay", (150, 600), (0.3, 0.6)),
    "acompressor=threshold=0.03:ratio={}:attack={}:release=150:makeup=4": (
        *("compressor", (4, 12), (2, 15)),
    ),
    "volume={}dB,asoftclip=type=tanh": ("distortion", (20, 34)),
    "acrusher=bits={}:samples={}:mix=1": ("distortion other", (3, 7), (2, 10)),
}
SOX = {
    "chorus 0.6 0.9 {} 0.5 {} 2 -s": ("chorus", (30, 60), (0.3, 2)),
    "phaser 0.7 0.8 3 {} {} -s": ("phaser", (0.2, 0.45), (0.3, 1.5)),
    "flanger 0 {} {} 90 {} sine": ("chorus phaser flanger", (2, 6), (0, 60), (0.2, 1)),
    "tremolo {} {}": ("tremolo other", (3, 9), (60, 95)),
    "echo 0.8 0.8 {} {}": ("delay", (150, 600), (0.3, 0.6)),
    "reverb {} 50 {}": ("reverb", (40, 90), (30, 100)),
    "overdrive {} 20": ("distortion", (20, 40)),
    "compand 0.005,0.15 6:-50,-35,-{} 5 -20 0.05": ("compressor", (22, 28)),
}
# The beginning of a file name in EGFxSet -> the families of that unit.
UNITS = {
    "bd-2 bluesdriver rat ts_ tubescreamer": "distortion",
    "ch3": "chorus",
    "fl_": "flanger chorus phaser",
    "ph_": "phaser",
    "dd_ se_ te_": "delay",
    "hr_ pr_ sr_": "reverb",
}


def units() -> Iterator[tuple[str, str, np.ndarray]]:
    """Name and families of every unit, and each note through it."""
    for folder, pattern in (("egfxset_wet", "*_string1_*.wav"), ("pairs/egfxset", "*_wet.flac")):
        for file in sorted((real_data_dir() / folder).glob(pattern)):
            wanted = (f for names, f in UNITS.items() if file.name.startswith(tuple(names.split())))
            wet, _ = read_audio(file, sample_rate=RATE, mono=True)
            yield f"unit {file.name.split('_')[0]}", next(wanted), wet


def applied(program: str, effect: str, dry: np.ndarray, folder: Path) -> np.ndarray:
    """The effect on a dry clip (1, samples)."""
    before, after = folder / "before.wav", folder / "after.wav"
    write_audio(before, dry, RATE)
    if program == "ffmpeg":
        command = ["ffmpeg", "-v", "error", "-y", "-i", before, "-af", effect, after]
    else:
        command = ["sox", "-V1", before, after, *effect.split()]
    subprocess.run(command, check=True)
    return read_audio(after, sample_rate=RATE, mono=True)[0]


def main() -> None:
    """Print a line for each effect, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=25)
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--shelf", choices=tuple(pedal_order.SHELVES), default="six")
    parser.add_argument("--checkpoint", type=Path)
    given = parser.parse_args()
    n, shelf = given.n, pedal_order.SHELVES[given.shelf]
    model = pedal_order.load(given.checkpoint)
    pool = dry_pool("recorded", given.split, 0, seconds=4.0, sample_rate=RATE, seed=0)
    everything: list[tuple[bool, bool, bool]] = []

    def heard(title: str, families: str, clips: Iterable[np.ndarray]) -> None:
        """Add what is said of clips, and print it."""
        wanted, hits, said = set(families.split()), [], Counter()
        wanted |= set() if wanted & set(shelf) else {"other"}
        for wet in clips:
            found = pedal_order.predict(model, wet, RATE, shelf=shelf)
            names = set() if found.refusal else set(found.chain.names)
            names |= {"other"} if found.refusal == OTHER_PEDAL else set()
            likeliest = set(next(names for names, _ in found.alternatives if names))
            alone = bool(names) and names <= wanted
            hits.append((bool(names & wanted), alone, bool(likeliest & wanted)))
            said[found.verdict] += 1
        everything.extend(hits)
        shares = np.mean(hits, axis=0)
        most = ", ".join(f"{words} {k}" for words, k in said.most_common(3))
        print(f"{title:18s} {shares.round(2)}  {most}", flush=True)

    programs = [("ffmpeg", FFMPEG), ("sox", SOX)]
    with tempfile.TemporaryDirectory() as folder:
        for program, effects in programs if shutil.which("sox") else programs[:1]:
            for form, (families, *ranges) in effects.items():
                rng = generator(0, "other makers", program, form)
                clips = []
                for _ in range(n):
                    dry = set_rms(pool.clip(int(rng.integers(1 << 30))).audio, -20.0)
                    dry = dry / np.float32(max(1.0, np.abs(dry).max()))
                    settings = [f"{rng.uniform(*one):.3f}" for one in ranges]
                    clips.append(applied(program, form.format(*settings), dry, Path(folder)))
                heard(f"{program} {form.split('=')[0].split()[0]}", families, clips)
    print(f"all: {np.mean(everything, axis=0).round(3)}, n {len(everything)}")
    if given.split == "test":
        everything.clear()
        for title, group in itertools.groupby(units(), key=lambda one: one[:2]):
            heard(*title, [wet for *_, wet in group])
        print(f"units: {np.mean(everything, axis=0).round(3)}, n {len(everything)}")


if __name__ == "__main__":
    main()
