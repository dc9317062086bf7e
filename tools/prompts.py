"""Does a sentence do what its author meant? A list of prompts, measured in the rendered sound.

    prompts.py LIST.csv [--lexicon] [--summary]

The list has the columns id, prompt, check, right; the checks of a prompt are joined by ";":

    eq(hz,low,high)             gain of the equaliser at hz, in dB
    tilt(up|down)               mean of 2 to 8 kHz less that of 100 to 500 Hz, beyond 1 dB
    band(low,high,up|down|flat) mean of a band in Hz less that of 100 Hz to 10 kHz, against 1 dB
    pitch(semitones,tolerance)  reverb(low,high)  comp(ratio,low,high)  delay(ms,low,high)
    comp(on|none), and the same of reverb, drive, delay, chorus, phaser, tremolo, tape, width
    refused                     nothing is changed, and the answer says why
    says(word)                  the word is in what the answer says of what it does not do
    notopposite(check)          anything but the contrary

White noise goes through the equaliser and the gain; the curve is the ratio of the power spectra.
What other effects do is read from their settings. "Opposite" is the other way by 1 dB, or in pitch.
"""

import argparse
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import welch

from labkit.effects.chain import Chain
from labkit.signal.seeds import generator
from labkit.systems import text

RATE = 44_100
RIGHT, WRONG, OPPOSITE = "right", "wrong", "opposite"
# "On" and "none" -> effects in the chain; tape is a drive that a word for tape asked for, and a
# limiter is a compressor with a ratio beyond any that a list asks for.
EFFECTS = {"comp": ("compressor", "limiter"), "drive": ("distortion",), "tape": ("distortion",)}
MOST_RATIO = 100.0


@dataclass(frozen=True)
class Heard:
    """What a preset does to white noise, and what the answer says that it does not do."""

    preset: text.Preset
    chain: Chain
    hz: np.ndarray
    gain_db: np.ndarray
    said: str

    def mean_db(self, low_hz: float, high_hz: float) -> float:
        """Mean gain of a band, every octave alike."""
        at = np.geomspace(low_hz, high_hz, 100)
        return float(np.interp(np.log(at), np.log(self.hz), self.gain_db).mean())


def heard(
    model: text.TextToEffects | None, prompt: str, noise: np.ndarray, of_noise: np.ndarray
) -> Heard:
    """The answer to a prompt, measured on noise (1, samples) with a spectrum `of_noise`.

    A sentence that is refused as a whole changes nothing.
    """
    try:
        found = text.predict(model, noise[:, : RATE // 10], RATE, prompt)
        preset, said = found.preset, " ".join(found.reading.missed)
    except ValueError as error:
        preset, said = text.Preset(), str(error)
    level = {name: knobs for name, knobs in preset.pedals.items() if name == "gain"}
    wet = text.Preset(preset.eq, pedals=level).board(RATE)(noise, RATE)
    hz, power = welch(wet[0], RATE, nperseg=8192)
    gain_db = 10 * np.log10(power[1:] / of_noise[1:])
    return Heard(preset, preset.chain(RATE), hz[1:], gain_db, said.lower())


def between(value: float, low: float, high: float, slack: float) -> str:
    """Right within the range; opposite where the sign is another, by more than `slack`."""
    if low <= value <= high:
        return RIGHT
    other_way = (low >= 0 and value < -slack) or (high <= 0 and value > slack)
    return OPPOSITE if other_way else WRONG


def towards(change_db: float, way: str) -> str:
    """Whether a change goes up, down, or stays within 1 dB."""
    ranges = {"up": (1.0, np.inf), "down": (-np.inf, -1.0), "flat": (-1.0, 1.0)}
    return between(change_db, *ranges[way], 1.0)


def verdict(check: str, of: Heard) -> str:
    """One check of the list. Raises ValueError for one that is not in the language."""
    if inner := re.fullmatch(r"notopposite\((.*)\)", check):
        return OPPOSITE if verdict(inner[1], of) == OPPOSITE else RIGHT
    told = re.fullmatch(r"(\w+)(?:\((.*)\))?", check)
    name, given = told[1], (told[2] or "").split(",")
    pedals, reverb = of.preset.pedals, of.preset.reverb["wet"]
    match name, given:
        case "eq", [hz, low, high]:
            gain_db = float(np.interp(float(hz), of.hz, of.gain_db))
            return between(gain_db, float(low), float(high), 1.0)
        case "tilt", [way]:
            return towards(of.mean_db(2000, 8000) - of.mean_db(100, 500), way)
        case "band", [low, high, way]:
            return towards(of.mean_db(float(low), float(high)) - of.mean_db(100, 10_000), way)
        case "pitch", [semitones, tolerance]:
            low, high = (float(semitones) + k * float(tolerance) for k in (-1, 1))
            return between(of.preset.pitch["semitones"], low, high, 0.0)
        case "comp", ["ratio", low, high]:
            ratio = math.inf if "limiter" in pedals else of.preset.compressor["ratio"]
            return between(min(ratio, MOST_RATIO), float(low), float(high), 0.0)
        case "delay", ["ms", low, high]:
            delay_ms = 1000 * pedals.get("delay", {"delay_seconds": 0.0})["delay_seconds"]
            return between(delay_ms, float(low), float(high), 0.0)
        case "reverb", [low, high]:
            return between(reverb, float(low), float(high), 0.0)
        case _, ["on" | "none" as state]:
            is_on = not {name, *EFFECTS.get(name, ())}.isdisjoint(of.chain.names)
            return RIGHT if is_on == (state == "on") else WRONG
        case "refused", _:
            return RIGHT if of.preset == text.Preset() and of.said else WRONG
        case "says", [word]:
            return RIGHT if word.lower() in of.said else WRONG
    raise ValueError(f"check must be one of those that --help lists, got {check!r}")


def judged(path: Path, model: text.TextToEffects | None) -> Iterator[tuple]:
    """Row, verdict, failed checks, and what the answer says, of each prompt of a list."""
    noise = 0.1 * generator(0, "prompts").standard_normal((1, 4 * RATE)).astype(np.float32)
    _, of_noise = welch(noise[0], RATE, nperseg=8192)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            of = heard(model, row["prompt"], noise, of_noise)
            found = {check: verdict(check.strip(), of) for check in row["check"].split(";")}
            worst = max(found.values(), key=(RIGHT, WRONG, OPPOSITE).index)
            yield row, worst, [check for check, said in found.items() if said != RIGHT], of.said


def main() -> None:
    """Print what is not right, and how many are."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("list", type=Path)
    parser.add_argument("--lexicon", action="store_true", help="without the network")
    parser.add_argument("--summary", action="store_true", help="the counts alone")
    given = parser.parse_args()
    counts = {RIGHT: 0, WRONG: 0, OPPOSITE: 0}
    model = None if given.lexicon else text.load_if_possible()
    for row, worst, failed, said in judged(given.list, model):
        counts[worst] += 1
        if failed and not given.summary:
            print(f"{row['id']} {worst}: {row['prompt']!r} fails {'; '.join(failed)}  {said}")
    n = sum(counts.values())
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{told} of {n}: {counts[RIGHT] / max(n, 1):.2f} right")


if __name__ == "__main__":
    main()
