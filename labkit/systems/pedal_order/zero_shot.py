"""The network on pedals that it has never heard: recordings of real units, one at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from labkit.measure.results import Row, wilson_interval
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.systems.pedal_order.config import SIX
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import predict

# How the file names of EGFxSet (Pedroza et al. 2022, CC BY 4.0) begin, and what a shelf of six calls that unit.
UNITS = {
    "bd-2": "distortion",
    "rat": "distortion",
    "ts": "distortion",
    "bluesdriver": "distortion",
    "tubescreamer": "distortion",
    "ch3": "chorus",
    "ph": "phaser",
    "dd": "delay",
    "se": "delay",
    "te": "delay",
    "hr": "reverb",
    "pr": "reverb",
    "sr": "reverb",
}


def real_units(folder: Path) -> Iterator[tuple[Path, str]]:
    """The recordings of a single real unit below `folder`, each with the pedal that comes nearest to it."""
    for file in sorted([*(folder / "egfxset_wet").glob("*.wav"), *(folder / "pairs" / "egfxset").glob("*_wet.flac")]):
        pedal = UNITS.get(file.stem.split("_")[0])
        if pedal:
            yield file, pedal


def unit_rows(model: PedalOrderModel, *, checkpoint: str = "", say: Callable[[str], None] = print) -> list[Row]:
    """How the network names real units that stand alone, with six pedals on the shelf.

    Args:
        model: in evaluation mode.
        checkpoint: name recorded in each row.
        say: told what each recording was taken for.

    Returns:
        Rows "the unit is named" and "nothing else is named", with the share of the best constant answer; no rows
        where there are no such recordings.

    Notebook: 04.
    """
    folder = real_data_dir()
    found = []
    for file, pedal in real_units(folder) if folder else ():
        audio, sample_rate = read_audio(file)
        names = predict(model, audio, sample_rate, shelf=SIX).chain.names
        say(f"{file.stem}: {pedal}, heard as {' '.join(names) or 'nothing'}")
        found.append((pedal, names))
    if not found:
        return []
    pedals = [pedal for pedal, _ in found]
    commonest = max(pedals.count(pedal) for pedal in set(pedals)) / len(pedals)
    rows = []
    for metric, right in {
        "the unit is named": [pedal in names for pedal, names in found],
        "and nothing else": [names == (pedal,) for pedal, names in found],
    }.items():
        low, high = wilson_interval(int(np.sum(right)), len(right))
        facts = {"ours": float(np.mean(right)), "low": low, "high": high, "n": len(right), "prior": commonest}
        shared = {"name": "transformer", "sources": "real", "unit": "", "seed": 0, "checkpoint": checkpoint or None}
        rows.append(Row(protocol="real units, one at a time, shelf of 6", metric=metric, **shared | facts))
    return rows
